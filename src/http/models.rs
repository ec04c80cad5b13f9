//! `GET /v1/models`: what may be asked for, in a form that OpenAI's and Anthropic's SDKs both read.

use std::sync::Arc;

use axum::extract::State;
use axum::response::Response;
use serde::Serialize;

use super::json;
use super::state::AppState;
use crate::gateway::ListedModel;

/// OpenAI's list, with the fields of Anthropic's pages; there is only ever one page.
#[derive(Serialize)]
struct List {
    object: &'static str,
    first_id: Option<String>,
    last_id: Option<String>,
    has_more: bool,
    data: Vec<Model>,
}

#[derive(Serialize)]
struct Model {
    id: String,
    object: &'static str,
    r#type: &'static str,
    display_name: String,
    /// Unix seconds, and the same as a date. Nobody knows; SDKs insist on both.
    created: i64,
    created_at: &'static str,
    owned_by: String,
}

/// Lists the models.
pub(super) async fn models(State(state): State<Arc<AppState>>) -> Response {
    let listed = state.gateway.load().models();
    let model = |ListedModel { id, owned_by }| Model {
        display_name: id.clone(),
        id,
        object: "model",
        r#type: "model",
        created: 0,
        created_at: "1970-01-01T00:00:00Z",
        owned_by,
    };
    let data: Vec<_> = listed.into_iter().map(model).collect();
    let id = |model: Option<&Model>| model.map(|model| model.id.clone());
    json::respond(&List {
        object: "list",
        first_id: id(data.first()),
        last_id: id(data.last()),
        has_more: false,
        data,
    })
}
