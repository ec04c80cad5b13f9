//! `POST /v1/messages`, Anthropic's format.

use std::sync::Arc;

use axum::extract::{Request, State};
use axum::response::Response;

use super::generation;
use super::state::AppState;
use crate::chat::Dialect;

/// Answers a request of Anthropic's SDKs, whole or as a stream.
pub(super) async fn messages(State(state): State<Arc<AppState>>, request: Request) -> Response {
    generation::answer(Dialect::Anthropic, state, request).await
}
