//! `POST /admin/reload`: the configuration, loaded once more.

use std::sync::Arc;

use axum::extract::State;
use axum::response::Response;
use futures_util::future::BoxFuture;
use serde::Serialize;

use super::error::HttpError;
use super::json;
use super::state::AppState;

/// Loads the configuration again and puts what can be exchanged into force; made by the composition root. An error says
/// why everything stayed as it was.
pub type Reload = Arc<dyn Fn() -> BoxFuture<'static, Result<Reloaded, String>> + Send + Sync>;

/// What became of a configuration that was loaded again.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Reloaded {
    /// The keys that have changed and count only after a restart.
    pub needs_restart: Vec<&'static str>,
}

#[derive(Serialize)]
struct ReloadedJson {
    reloaded: bool,
    needs_restart: Vec<&'static str>,
}

/// Loads the configuration again; one that is broken changes nothing.
pub(super) async fn reload(State(state): State<Arc<AppState>>) -> Result<Response, HttpError> {
    // A task of its own inside: whoever hangs up leaves nothing half exchanged.
    match (state.reload)().await {
        Ok(Reloaded { needs_restart }) => Ok(json::respond(&ReloadedJson { reloaded: true, needs_restart })),
        Err(reason) => Err(HttpError::bad_request(reason).code("invalid_configuration")),
    }
}
