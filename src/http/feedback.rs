//! `POST /v1/feedback` and `POST /admin/feedback`: an answer was wrong, or right. `GET /admin/feedback`: what was said.

use std::sync::Arc;

use axum::Extension;
use axum::body::Body;
use axum::extract::{Query, Request, State};
use axum::http::{Uri, header};
use axum::response::{IntoResponse, Response};
use serde::{Deserialize, Serialize};

use super::auth::Caller;
use super::error::HttpError;
use super::json;
use super::state::AppState;
use crate::chat::TenantId;
use crate::gateway::{About, Done, RequestName, Verdict};
use crate::store::JudgedPair;

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
    alias: bool,
}

/// Takes a caller's word about an answer it was given. That one answer serves two prompts is for everybody of the
/// tenant, so it is not for a caller to say.
pub(super) async fn public_feedback(
    State(state): State<Arc<AppState>>,
    Extension(caller): Extension<Caller>,
    request: Request,
) -> Result<Response, HttpError> {
    let PublicFeedback { request_id, verdict } = json::receive(&state, request).await?;
    if matches!(verdict, VerdictJson::Right) {
        return Err(HttpError::bad_request(
            "`right` is for administrators to say, with POST /admin/feedback; a caller may say `wrong`",
        ));
    }
    take(&state, Some(&caller.tenant), About::Request(RequestName::Id(request_id)), verdict).await
}

/// Takes an administrator's word about any answer.
pub(super) async fn admin_feedback(
    State(state): State<Arc<AppState>>,
    request: Request,
) -> Result<Response, HttpError> {
    let AdminFeedback { tenant, request_id, key, entry, verdict } = json::receive(&state, request).await?;
    let request = match (request_id, key) {
        (Some(id), None) => Some(RequestName::Id(id)),
        (None, Some(key)) => Some(RequestName::Key(json::fingerprint("key", &key)?)),
        (None, None) => None,
        (Some(_), Some(_)) => return Err(HttpError::bad_request(NAMES)),
    };
    let entry = entry.map(|entry| json::fingerprint("entry", &entry)).transpose()?;
    let about = match (request, entry) {
        (Some(request), None) => About::Request(request),
        (None, Some(entry)) => About::Entry(entry),
        (Some(request), Some(entry)) => About::Pair(request, entry),
        (None, None) => return Err(HttpError::bad_request(NAMES)),
    };
    take(&state, tenant.map(TenantId::new).as_ref(), about, verdict).await
}

const NAMES: &str = "expected one of `request_id` and `key`, or `entry`, or `entry` with one of the others";

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
    let Done { removed, pair_blocked, alias } = gateway.feedback(tenant, about, verdict).await?;
    Ok(json::respond(&Answer { removed, pair_blocked, alias }))
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct ExportQuery {
    tenant: Option<String>,
}

/// A pair as `calibrate` reads it.
#[derive(Serialize)]
struct PairJson<'a> {
    a: &'a str,
    b: &'a str,
    label: u8,
    category: &'static str,
    tenant: Option<&'a str>,
    at: Option<String>,
    keys: [String; 2],
}

/// Hands out what was said of pairs, a line of JSON each; not those of whose prompts nothing but the key is known.
pub(super) async fn export(State(state): State<Arc<AppState>>, uri: Uri) -> Result<Response, HttpError> {
    let Query(ExportQuery { tenant }) =
        Query::try_from_uri(&uri).map_err(|error| HttpError::bad_request(error.body_text()))?;
    let pairs = state.gateway.load_full().judged_pairs(tenant.map(TenantId::new).as_ref()).await?;
    let mut lines = Vec::new();
    for pair in pairs.iter().filter_map(pair_json) {
        serde_json::to_writer(&mut lines, &pair).expect("strings and numbers become JSON");
        lines.push(b'\n');
    }
    Ok(([(header::CONTENT_TYPE, "application/x-ndjson")], Body::from(lines)).into_response())
}

fn pair_json(pair: &JudgedPair) -> Option<PairJson<'_>> {
    let JudgedPair { keys, verdict, tenant, asked, stored, at } = pair;
    Some(PairJson {
        a: asked.as_deref()?,
        b: stored.as_deref()?,
        label: u8::from(*verdict == Verdict::Right),
        category: "feedback",
        tenant: tenant.as_ref().map(TenantId::as_str),
        at: at.and_then(json::moment),
        keys: [keys.0.to_string(), keys.1.to_string()],
    })
}
