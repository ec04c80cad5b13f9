//! `GET /admin/ai` and `PUT /admin/ai`: the switch between the server and everybody it could ask.

use std::sync::Arc;

use axum::extract::{Request, State};
use axum::response::Response;
use serde::{Deserialize, Serialize};

use super::error::HttpError;
use super::json;
use super::state::AppState;

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Wish {
    enabled: bool,
}

#[derive(Serialize)]
struct Position {
    enabled: bool,
}

/// Says whether upstreams are asked.
pub(super) async fn show(State(state): State<Arc<AppState>>) -> Response {
    json::respond(&Position { enabled: state.ai.is_on() })
}

/// Has upstreams asked, or not, from the next miss on and until the process ends.
pub(super) async fn turn(
    State(state): State<Arc<AppState>>,
    request: Request,
) -> Result<Response, HttpError> {
    let Wish { enabled } = json::receive(&state, request).await?;
    state.ai.turn(enabled);
    Ok(json::respond(&Position { enabled }))
}
