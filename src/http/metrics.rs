//! `GET /metrics`, in Prometheus' text format.

use std::sync::Arc;

use axum::extract::State;
use axum::http::header::CONTENT_TYPE;
use axum::response::{IntoResponse, Response};

use super::state::AppState;

/// Renders all metrics.
pub(super) async fn metrics(State(state): State<Arc<AppState>>) -> Response {
    state.gateway.load().measure();
    ([(CONTENT_TYPE, "text/plain; version=0.0.4; charset=utf-8")], state.telemetry.render()).into_response()
}
