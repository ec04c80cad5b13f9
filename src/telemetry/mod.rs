//! Stub.

#[derive(Clone, Debug, Default)]
pub struct Telemetry {}

impl Telemetry {
    pub fn render(&self) -> String {
        String::new()
    }

    pub fn request_done(&self, _route: &str, _dialect: &'static str, _source: &'static str, _seconds: f64) {}
}
