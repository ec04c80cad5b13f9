//! Stub.
use crate::config::Config;
use bytes::Bytes;
use http::{Request, Response};
pub struct App {}
pub struct Finding {
    pub part: &'static str,
    pub ok: bool,
    pub detail: String,
    pub remedy: Option<String>,
}
impl App {
    pub async fn open(_config: &Config) -> anyhow::Result<Self> {
        anyhow::bail!("stub")
    }
    pub async fn ask_admin(&self, _request: Request<Bytes>) -> Response<Bytes> {
        Response::new(Bytes::new())
    }
    pub async fn close(self) {}
}
pub async fn serve(_config: Config) -> anyhow::Result<()> {
    anyhow::bail!("stub")
}
pub async fn check(_config: &Config) -> Vec<Finding> {
    Vec::new()
}
