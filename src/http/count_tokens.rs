//! `POST /v1/messages/count_tokens`: how long a prompt is, as Anthropic counts, else by estimate.

use std::sync::Arc;

use axum::body::Body;
use axum::extract::{Request, State};
use axum::response::Response;

use super::error::HttpError;
use super::state::AppState;
use super::{anthropic_headers, body, headers};
use crate::wire::anthropic;

/// Counts the tokens of a request.
pub(super) async fn count_tokens(
    State(state): State<Arc<AppState>>,
    request: Request,
) -> Result<Response, HttpError> {
    let (parts, body) = request.into_parts();
    let bytes = body::read(&parts.headers, body, state.edge().body).await?;
    let mut request = anthropic::parse_count(&bytes)?.request;
    request.betas = anthropic_headers::betas(&parts.headers)?;
    let gateway = state.gateway.load_full();
    let count = gateway.count_tokens(&Arc::new(request)).await?;
    let mut response = Response::new(Body::from(anthropic::write_count(count.tokens, count.is_estimated)));
    headers::write_json_type(response.headers_mut());
    Ok(response)
}
