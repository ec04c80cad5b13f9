//! `POST /v1/chat/completions`, OpenAI's format.

use std::sync::Arc;

use axum::extract::{Request, State};
use axum::response::Response;

use super::generation;
use super::state::AppState;
use crate::chat::Dialect;

/// Answers a request of OpenAI's SDKs, whole or as a stream.
pub(super) async fn chat_completions(State(state): State<Arc<AppState>>, request: Request) -> Response {
    generation::answer(Dialect::OpenAi, state, request).await
}
