//! `GET /admin/stats`: numbers, for people and for `refrain stats` and `refrain check`.

use std::sync::Arc;

use axum::extract::State;
use axum::response::Response;
use serde::Serialize;

use super::json;
use super::state::AppState;
use crate::gateway::Stats;

#[derive(Serialize)]
struct StatsJson {}

/// Says what the cache holds and has done.
pub(super) async fn stats(State(state): State<Arc<AppState>>) -> Response {
    let gateway = state.gateway.load_full();
    let Stats {} = gateway.stats().await;
    json::respond(&StatsJson {})
}
