//! `GET /admin/semantic` and `PUT /admin/semantic`: which routes answer similar requests, and the switch of each.

use std::sync::Arc;

use axum::extract::{Request, State};
use axum::response::Response;
use serde::{Deserialize, Serialize};

use super::checks::ChecksJson;
use super::error::HttpError;
use super::json;
use super::state::AppState;
use crate::checks::{ExactOnly, RouteReading};

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Wish {
    /// A route, or `other` for all names that are none; `default` is the route of requests that name no model.
    model: String,
    enabled: bool,
}

#[derive(Serialize)]
struct RoutesJson {
    routes: Vec<RouteJson>,
}

#[derive(Serialize)]
struct RouteJson {
    model: String,
    /// How the switch stands; what `mode` allows is another matter.
    enabled: bool,
    /// Since when it is off.
    since: Option<String>,
    /// Why it is off: `checks` found too many wrong answers, or a `person` said so.
    reason: Option<&'static str>,
    checks: Option<ChecksJson>,
}

impl From<&RouteReading> for RouteJson {
    fn from(reading: &RouteReading) -> Self {
        let off = reading.exact_only;
        Self {
            model: reading.route.to_string(),
            enabled: off.is_none(),
            since: off.and_then(|ExactOnly { since, .. }| json::moment(since)),
            reason: off.map(|ExactOnly { reason, .. }| reason.name()),
            checks: ChecksJson::of_checked(reading),
        }
    }
}

/// Says of every route how its switch stands.
pub(super) async fn list(State(state): State<Arc<AppState>>) -> Response {
    let routes = state.gateway.load().routes();
    json::respond(&RoutesJson { routes: routes.iter().map(RouteJson::from).collect() })
}

/// Switches a route, from the next request on that memory cannot answer, restarts included. Switching it on forgets what
/// was counted.
pub(super) async fn turn(
    State(state): State<Arc<AppState>>,
    request: Request,
) -> Result<Response, HttpError> {
    let Wish { model, enabled } = json::receive(&state, request).await?;
    let gateway = state.gateway.load_full();
    Ok(json::respond(&RouteJson::from(&gateway.turn_route(&model, enabled).await?)))
}
