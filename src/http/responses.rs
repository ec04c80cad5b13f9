//! `POST /v1/responses`, OpenAI's newer format, as far as it keeps no state.

use std::sync::Arc;

use axum::extract::{Request, State};
use axum::response::Response;

use super::generation;
use super::state::AppState;
use crate::chat::Dialect;

/// Answers a request of OpenAI's SDKs, whole or as a stream.
pub(super) async fn responses(State(state): State<Arc<AppState>>, request: Request) -> Response {
    generation::answer(Dialect::Responses, state, request).await
}
