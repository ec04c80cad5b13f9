//! How does the journey begin and end?
//!
//! The only folder that knows axum. [`public`] and [`admin`] list every route and every layer; below a handler there
//! are plain structs. One endpoint per file, one mapping from errors to statuses in `error.rs`.

mod auth;
mod body;
mod chat_completions;
mod clock;
mod directives;
mod entries;
mod error;
mod explain;
mod feedback;
mod generate;
mod generation;
mod headers;
mod health;
mod inside;
mod invalidate;
mod json;
mod listener;
mod live;
mod loopback;
mod metrics;
mod models;
mod patience;
mod record;
mod request_id;
mod sandbox;
mod state;
mod stats;
mod writer;

use std::sync::Arc;

use axum::Router;
use axum::extract::Request;
use axum::middleware::{from_fn, from_fn_with_state};
use axum::routing::{any, get, post};
use tower_http::catch_panic::CatchPanicLayer;

pub use auth::Keys;
pub use body::BodyLimits;
pub use inside::ask;
pub use listener::{Limits, Shutdown, serve};
pub use sandbox::Sandbox;
pub use state::AppState;

use crate::config::KeyScope::{Admin, Generate, Metrics};
use auth::{Door, admit};
use error::HttpError;

/// Returns what the public listener answers. It has no administrative route at all.
pub fn public(state: Arc<AppState>, keys: &Keys) -> Router {
    let generations = Router::new()
        .route("/v1/generate", post(generate::generate))
        .route("/v1/chat/completions", post(chat_completions::chat_completions));
    let others = Router::new()
        .route("/v1/models", get(models::models))
        .route("/v1/feedback", post(feedback::public_feedback))
        .route("/v1/{*rest}", any(not_built))
        .route_layer(from_fn(record::log));
    let callers = Door { keys: keys.clone(), scopes: &[Generate] };
    let guarded = generations.merge(others).route_layer(from_fn_with_state(callers, admit));
    layered(guarded.merge(health()), keys).with_state(state)
}

/// Returns what the admin listener answers.
pub fn admin(state: Arc<AppState>, keys: &Keys) -> Router {
    let administrators = Door { keys: keys.clone(), scopes: &[Admin] };
    let administration = Router::new()
        .route("/admin/stats", get(stats::stats))
        .route("/admin/entries", get(entries::list))
        .route("/admin/entries/{key}", get(entries::show).delete(entries::remove))
        .route("/admin/invalidate", post(invalidate::invalidate))
        .route("/admin/explain", post(explain::explain))
        .route("/admin/feedback", post(feedback::admin_feedback))
        .route_layer(from_fn(record::log))
        .route_layer(from_fn_with_state(administrators, admit));
    let observers = Door { keys: keys.clone(), scopes: &[Metrics, Admin] };
    let observation = Router::new()
        .route("/metrics", get(metrics::metrics))
        .route_layer(from_fn_with_state(observers, admit));
    layered(administration.merge(observation).merge(health()), keys).with_state(state)
}

fn health() -> Router<Arc<AppState>> {
    Router::new().route("/health/live", get(health::live)).route("/health/ready", get(health::ready))
}

/// Puts the layers that every request passes around the routes; the last one is the outermost.
fn layered(routes: Router<Arc<AppState>>, keys: &Keys) -> Router<Arc<AppState>> {
    routes
        .fallback(not_found)
        .method_not_allowed_fallback(method_not_allowed)
        .layer(from_fn_with_state(keys.clone(), loopback::check))
        .layer(CatchPanicLayer::custom(error::panicked))
        .layer(from_fn(request_id::identify))
}

async fn not_built() -> HttpError {
    HttpError::not_found(
        "no such endpoint: forwarding other /v1 paths ([passthrough] provider) is not available in this version",
    )
}

async fn not_found() -> HttpError {
    HttpError::not_found("no such endpoint")
}

/// axum adds `allow` to this.
async fn method_not_allowed(request: Request) -> HttpError {
    HttpError::method_not_allowed(request.method())
}
