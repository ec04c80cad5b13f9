//! Any other `/v1/*` path: passed on, uncached, to the provider that `[passthrough]` names.

use std::sync::Arc;

use axum::body::Body;
use axum::extract::{Request, State};
use axum::http::header::{
    ACCEPT, ACCEPT_RANGES, CONTENT_DISPOSITION, CONTENT_RANGE, CONTENT_TYPE, HeaderName, RANGE, RETRY_AFTER,
};
use axum::http::{HeaderMap, Method, StatusCode};
use axum::response::Response;
use futures_util::stream;

use super::body::{self, BodyLimits};
use super::error::HttpError;
use super::headers::{self, CACHE_STATUS};
use super::state::AppState;
use crate::chat::{CacheStatus, Source};
use crate::router::Passing;
use crate::transport;

/// What of the caller's headers the vendor is to see. Nothing of a browser's, and nothing that says who the caller is
/// to us: a leaked `Origin` is refused by Anthropic, and a leaked key is worse.
const TO_VENDOR: [HeaderName; 8] = [
    ACCEPT,
    CONTENT_TYPE,
    RANGE,
    HeaderName::from_static("anthropic-beta"),
    HeaderName::from_static("anthropic-version"),
    HeaderName::from_static("idempotency-key"),
    HeaderName::from_static("openai-beta"),
    HeaderName::from_static("openai-safety-identifier"),
];
/// What of the vendor's headers the caller is to see; nothing that names our account with it.
const TO_CALLER: [HeaderName; 7] = [
    ACCEPT_RANGES,
    CONTENT_DISPOSITION,
    CONTENT_RANGE,
    CONTENT_TYPE,
    RETRY_AFTER,
    HeaderName::from_static("openai-processing-ms"),
    HeaderName::from_static("openai-version"),
];
/// Beginnings of names that the caller is to see, too.
const TO_CALLER_PREFIXES: [&str; 2] = ["x-ratelimit-", "anthropic-ratelimit-"];

/// Passes a call on and its answer back, piece by piece.
pub(super) async fn forward(
    State(state): State<Arc<AppState>>,
    request: Request,
) -> Result<Response, HttpError> {
    let (parts, body) = request.into_parts();
    let is_bare = matches!(parts.method, Method::GET | Method::HEAD | Method::DELETE);
    let limits = state.edge().body;
    if limits.is_json_only && !is_bare && !parts.headers.get(CONTENT_TYPE).is_some_and(body::is_json_or_form)
    {
        let message = "header `content-type`: expected application/json or multipart/form-data";
        return Err(HttpError::refused(StatusCode::UNSUPPORTED_MEDIA_TYPE, message));
    }
    let limits = BodyLimits { is_json_only: false, ..limits };
    let body = body::read(&parts.headers, body, limits).await?;
    let path = parts.uri.path_and_query().map_or("", |path| path.as_str());
    let passing = Passing {
        method: parts.method,
        path: path.strip_prefix("/v1/").unwrap_or(path).to_owned(),
        headers: to_vendor(&parts.headers),
        body,
    };
    let gateway = state.gateway.load_full();
    let (provider, incoming) = gateway.forward(passing).await?;
    let mut response = Response::new(passed_on(incoming.body));
    *response.status_mut() = incoming.status;
    let fields = response.headers_mut();
    for (name, value) in &incoming.headers {
        let is_seen = TO_CALLER.contains(name)
            || TO_CALLER_PREFIXES.iter().any(|prefix| name.as_str().starts_with(prefix));
        if is_seen {
            fields.insert(name.clone(), value.clone());
        }
    }
    fields.insert(CACHE_STATUS, headers::written(CacheStatus::Bypass));
    fields.insert(headers::CACHE_SOURCE, headers::written(Source::Upstream.name()));
    fields.insert(headers::PROVIDER, headers::written(provider));
    Ok(response)
}

fn to_vendor(headers: &HeaderMap) -> HeaderMap {
    let lines = headers.iter().filter(|(name, _)| TO_VENDOR.contains(name));
    let mut kept = HeaderMap::new();
    for (name, value) in lines {
        kept.append(name.clone(), value.clone());
    }
    kept
}

/// A body that breaks off ends the connection, so that the caller does not take what came for all there is.
fn passed_on(body: transport::Body) -> Body {
    Body::from_stream(stream::unfold(Some(body), |body| async {
        let mut body = body?;
        match body.chunk().await {
            Ok(Some(chunk)) => Some((Ok(chunk), Some(body))),
            Ok(None) => None,
            Err(error) => Some((Err(error), None)),
        }
    }))
}
