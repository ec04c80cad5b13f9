//! `GET /health/live` and `GET /health/ready`, on both listeners and without a key.

use std::sync::Arc;

use axum::extract::State;
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use serde::Serialize;

use super::json;
use super::state::AppState;

#[derive(Serialize)]
struct Health {
    status: &'static str,
}

/// The process runs.
pub(super) async fn live() -> Response {
    json::respond(&Health { status: "live" })
}

/// The core can serve. Providers, embedder and index have no say in this: without them hits are served all the same.
pub(super) async fn ready(State(state): State<Arc<AppState>>) -> Response {
    if state.shutdown.is_draining() {
        return (StatusCode::SERVICE_UNAVAILABLE, json::respond(&Health { status: "draining" }))
            .into_response();
    }
    let gateway = state.gateway.load_full();
    if gateway.is_ready().await {
        json::respond(&Health { status: "ready" })
    } else {
        (StatusCode::SERVICE_UNAVAILABLE, json::respond(&Health { status: "store unavailable" }))
            .into_response()
    }
}
