//! How does the journey begin and end?
//!
//! The only folder that knows axum. [`public`] and [`admin`] list every route and every layer; below a handler there
//! are plain structs. One endpoint per file, one mapping from errors to statuses in `error.rs`.

mod ai;
mod ai_health;
mod anthropic_headers;
mod auth;
mod body;
mod chat_completions;
mod checks;
mod clock;
mod count_tokens;
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
mod jobs;
mod json;
mod key_limit;
mod listener;
mod live;
mod loopback;
mod messages;
mod metrics;
mod models;
mod passthrough;
mod patience;
mod precompute;
mod prefer;
mod record;
mod reload;
mod request_id;
mod responses;
mod sandbox;
mod semantic;
mod state;
mod stats;
mod writer;
mod wrong_keys;

use std::sync::Arc;

use axum::Router;
use axum::extract::Request;
use axum::middleware::{from_fn, from_fn_with_state};
use axum::routing::{any, get, post};
use tower_http::catch_panic::CatchPanicLayer;

pub use auth::Keys;
pub use body::BodyLimits;
pub use inside::ask;
pub use jobs::write_job_end;
pub use listener::{Limits, Shutdown, serve};
pub use precompute::read_line;
pub use reload::{Reload, Reloaded};
pub use sandbox::Sandbox;
pub use state::{AppState, Edge};

use crate::config::KeyScope::{self, Admin, Generate, Metrics};
use auth::{Door, admit};
use error::HttpError;

/// Returns what the public listener answers. It has no administrative route at all.
pub fn public(state: Arc<AppState>, keys: &Keys) -> Router {
    let generations = Router::new()
        .route("/v1/generate", post(generate::generate))
        .route("/v1/chat/completions", post(chat_completions::chat_completions))
        .route("/v1/responses", post(responses::responses))
        .route("/v1/messages", post(messages::messages));
    let passed_on =
        Router::new().route("/v1/{*rest}", any(passthrough::forward)).route_layer(from_fn(record::log));
    let others = Router::new()
        .route("/v1/models", get(models::models))
        .route("/v1/messages/count_tokens", post(count_tokens::count_tokens))
        .route("/v1/feedback", post(feedback::public_feedback))
        .route("/v1/jobs/{id}", get(jobs::show).delete(jobs::cancel))
        .route_layer(from_fn(record::log));
    let callers = door(&state, keys, &[Generate]);
    let metered = Door { is_metered: true, ..callers.clone() };
    let guarded = generations
        .merge(passed_on)
        .route_layer(from_fn_with_state(Arc::new(metered), admit))
        .merge(others.route_layer(from_fn_with_state(Arc::new(callers), admit)));
    let health = health().route("/health/ai", get(ai_health::public));
    layered(guarded.merge(health), keys).with_state(state)
}

/// Returns what the admin listener answers.
pub fn admin(state: Arc<AppState>, keys: &Keys) -> Router {
    let administrators = door(&state, keys, &[Admin]);
    let administration = Router::new()
        .route("/admin/stats", get(stats::stats))
        .route("/admin/entries", get(entries::list))
        .route("/admin/entries/{key}", get(entries::show).delete(entries::remove))
        .route("/admin/invalidate", post(invalidate::invalidate))
        .route("/admin/explain", post(explain::explain))
        .route("/admin/feedback", get(feedback::export).post(feedback::admin_feedback))
        .route("/admin/precompute", get(precompute::list).post(precompute::start))
        .route("/admin/precompute/{run}", get(precompute::show).delete(precompute::stop))
        .route("/admin/ai", get(ai::show).put(ai::turn))
        .route("/admin/semantic", get(semantic::list).put(semantic::turn))
        .route("/admin/reload", post(reload::reload))
        .route_layer(from_fn(record::log))
        .route_layer(from_fn_with_state(Arc::new(administrators), admit));
    let observers = door(&state, keys, &[Metrics, Admin]);
    let observation = Router::new()
        .route("/metrics", get(metrics::metrics))
        .route_layer(from_fn_with_state(Arc::new(observers), admit));
    let health = health().route("/health/ai", get(ai_health::admin));
    layered(administration.merge(observation).merge(health), keys).with_state(state)
}

fn door(state: &AppState, keys: &Keys, scopes: &'static [KeyScope]) -> Door {
    Door { keys: keys.clone(), scopes, is_metered: false, telemetry: Some(Arc::clone(&state.telemetry)) }
}

fn health() -> Router<Arc<AppState>> {
    Router::new().route("/health/live", get(health::live)).route("/health/ready", get(health::ready))
}

/// Puts the layers that every request passes around the routes; the last one is the outermost.
fn layered<S: Clone + Send + Sync + 'static>(routes: Router<S>, keys: &Keys) -> Router<S> {
    routes
        .fallback(not_found)
        .method_not_allowed_fallback(method_not_allowed)
        .layer(from_fn_with_state(keys.clone(), loopback::check))
        .layer(CatchPanicLayer::custom(error::panicked))
        .layer(from_fn(request_id::identify))
}

async fn not_found() -> HttpError {
    HttpError::not_found("no such endpoint")
}

/// axum adds `allow` to this.
async fn method_not_allowed(request: Request) -> HttpError {
    HttpError::method_not_allowed(request.method())
}

#[cfg(test)]
mod tests {
    use axum::body::Body;
    use axum::http::request::Builder;
    use axum::http::{Request, Response};
    use http_body_util::BodyExt;
    use sha2::{Digest, Sha256};
    use tower::ServiceExt;

    use super::*;
    use crate::config::{AuthConfig, KeyConfig, Secret, Sha256Hex};

    async fn boom() -> &'static str {
        panic!("a bug")
    }

    async fn ask(auth: &AuthConfig, request: Builder) -> Response<Body> {
        let keys = Keys::public(auth);
        let door = Door { keys: keys.clone(), scopes: &[Admin], is_metered: false, telemetry: None };
        let guarded =
            Router::new().route("/boom", get(boom)).route_layer(from_fn_with_state(Arc::new(door), admit));
        let router: Router = layered(guarded, &keys);
        router.oneshot(request.body(Body::empty()).expect("a valid request")).await.expect("never fails")
    }

    async fn keyless(request: Builder) -> Response<Body> {
        ask(&AuthConfig::default(), request.header("host", "localhost")).await
    }

    async fn code_of(response: Response<Body>) -> serde_json::Value {
        let body = response.into_body().collect().await.expect("a body").to_bytes();
        let body: serde_json::Value = serde_json::from_slice(&body).expect("JSON");
        body["error"]["code"].clone()
    }

    #[tokio::test]
    async fn a_panic_is_a_500_with_the_requests_name() {
        let response = keyless(Request::get("/boom").header("x-request-id", "mine")).await;
        assert_eq!(response.status().as_u16(), 500);
        assert_eq!(response.headers()["x-request-id"], "mine");
        assert_eq!(response.headers()["content-type"], "application/json");
        assert_eq!(code_of(response).await, "internal");
    }

    #[tokio::test]
    async fn an_unknown_path_is_a_404_and_a_wrong_method_a_405_that_says_which_are_right() {
        assert_eq!(keyless(Request::get("/nowhere")).await.status().as_u16(), 404);
        let response = keyless(Request::post("/boom")).await;
        assert_eq!(response.status().as_u16(), 405);
        assert_eq!(response.headers()["allow"], "GET,HEAD");
        assert_eq!(code_of(response).await, "method_not_allowed");
    }

    #[tokio::test]
    async fn without_keys_a_foreign_page_is_refused_everywhere() {
        for path in ["/boom", "/nowhere"] {
            let response = keyless(Request::get(path).header("origin", "https://evil.example")).await;
            assert_eq!(response.status().as_u16(), 403, "{path}");
        }
        let rebound = ask(&AuthConfig::default(), Request::get("/boom").header("host", "evil.example")).await;
        assert_eq!(rebound.status().as_u16(), 403);
    }

    #[tokio::test]
    async fn with_keys_a_door_opens_to_its_scope_alone() {
        let auth = AuthConfig { keys: Vec::new(), environment_key: Some(Secret::new("all".into())) };
        let from = |key: &str| Request::get("/boom").header("host", "x.example").header("x-api-key", key);
        assert_eq!(ask(&auth, from("all")).await.status().as_u16(), 500);
        let unknown = ask(&auth, from("other")).await;
        assert_eq!(unknown.status().as_u16(), 401);
        assert_eq!(unknown.headers()["www-authenticate"], "Bearer");
        let narrow = KeyConfig {
            name: "narrow".into(),
            tenant: "t".into(),
            scopes: vec![Generate],
            sha256: Sha256Hex(Sha256::digest("narrow").into()),
            expires: None,
            requests_per_minute: None,
        };
        let narrow = AuthConfig { keys: vec![narrow], environment_key: None };
        assert_eq!(ask(&narrow, from("narrow")).await.status().as_u16(), 403);
    }
}
