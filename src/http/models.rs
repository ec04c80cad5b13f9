//! `GET /v1/models`: what may be asked for, as OpenAI lists it.

use std::sync::Arc;

use axum::extract::State;
use axum::response::Response;
use serde::Serialize;

use super::json;
use super::state::AppState;
use crate::gateway::ListedModel;

#[derive(Serialize)]
struct List {
    object: &'static str,
    data: Vec<Model>,
}

#[derive(Serialize)]
struct Model {
    id: String,
    object: &'static str,
    /// Unix seconds. Nobody knows; SDKs insist on a number.
    created: i64,
    owned_by: String,
}

/// Lists the models.
pub(super) async fn models(State(state): State<Arc<AppState>>) -> Response {
    let listed = state.gateway.load().models();
    let model = |ListedModel { id, owned_by }| Model { id, object: "model", created: 0, owned_by };
    json::respond(&List { object: "list", data: listed.into_iter().map(model).collect() })
}
