//! `POST /v1/feedback` and `POST /admin/feedback`: an answer was wrong, or right.

use std::sync::Arc;

use axum::Extension;
use axum::extract::{Request, State};
use axum::response::Response;
use serde::{Deserialize, Serialize};

use super::auth::Caller;
use super::error::HttpError;
use super::json;
use super::state::AppState;
use crate::chat::TenantId;
use crate::gateway::{About, Removed, Verdict};

#[derive(Clone, Copy, Deserialize)]
#[serde(rename_all = "snake_case")]
enum VerdictJson {
    Wrong,
    Right,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct PublicFeedback {
    request_id: String,
    verdict: VerdictJson,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct AdminFeedback {
    /// Whose it was; without it `default` for a request id, anybody for a key or an entry.
    tenant: Option<String>,
    request_id: Option<String>,
    key: Option<String>,
    entry: Option<String>,
    verdict: VerdictJson,
}

#[derive(Serialize)]
struct Answer {
    removed: u64,
    pair_blocked: bool,
}

/// Takes a caller's word about an answer it was given.
pub(super) async fn public_feedback(
    State(state): State<Arc<AppState>>,
    Extension(caller): Extension<Caller>,
    request: Request,
) -> Result<Response, HttpError> {
    let PublicFeedback { request_id, verdict } = json::receive(&state, request).await?;
    take(&state, Some(&caller.tenant), About::Request(request_id), verdict).await
}

/// Takes an administrator's word about any answer.
pub(super) async fn admin_feedback(
    State(state): State<Arc<AppState>>,
    request: Request,
) -> Result<Response, HttpError> {
    let AdminFeedback { tenant, request_id, key, entry, verdict } = json::receive(&state, request).await?;
    let about = match (request_id, key, entry) {
        (Some(id), None, None) => About::Request(id),
        (None, Some(key), None) => About::Key(json::fingerprint("key", &key)?),
        (None, None, Some(entry)) => About::Entry(json::fingerprint("entry", &entry)?),
        _ => return Err(HttpError::bad_request("expected just one of `request_id`, `key` and `entry`")),
    };
    take(&state, tenant.map(TenantId::new).as_ref(), about, verdict).await
}

async fn take(
    state: &AppState,
    tenant: Option<&TenantId>,
    about: About,
    verdict: VerdictJson,
) -> Result<Response, HttpError> {
    let verdict = match verdict {
        VerdictJson::Wrong => Verdict::Wrong,
        VerdictJson::Right => Verdict::Right,
    };
    let gateway = state.gateway.load_full();
    let Removed { removed, pair_blocked } = gateway.feedback(tenant, about, verdict).await?;
    Ok(json::respond(&Answer { removed, pair_blocked }))
}
