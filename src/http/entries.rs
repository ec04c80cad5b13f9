//! `GET /admin/entries`, and one of them to look at or to remove.

use std::sync::Arc;

use axum::extract::{Path, Query, State};
use axum::http::Uri;
use axum::response::Response;
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;

use super::error::HttpError;
use super::json;
use super::state::AppState;
use crate::chat::{EndUser, Entry, ModelAlias, Namespace, TenantId};
use crate::store::{Cursor, EntrySummary, Selection};
use crate::wire::openai;

/// How many entries a page has unless asked otherwise, and at most.
const LIMIT: u32 = 50;
const LIMIT_MAX: u32 = 1_000;

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Wanted {
    tenant: Option<String>,
    namespace: Option<String>,
    user: Option<String>,
    model: Option<String>,
    tag: Option<String>,
    prompt_prefix: Option<String>,
    limit: Option<u32>,
    /// The last key of the page before.
    after: Option<String>,
}

#[derive(Serialize)]
struct Listing {
    entries: Vec<Listed>,
    /// What to send as `after` for the next page; `null` on the last.
    next: Option<String>,
}

#[derive(Serialize)]
struct Listed {
    key: String,
    tenant: String,
    namespace: String,
    user: Option<String>,
    model: String,
    provider: String,
    answer_model: String,
    prompt: Option<String>,
    created_at: Option<String>,
    expires_at: Option<String>,
    completion_tokens: Option<u64>,
    cost_usd: Option<f64>,
    semantic: bool,
    hits: u64,
    last_hit: Option<String>,
    size_bytes: u64,
}

impl From<EntrySummary> for Listed {
    fn from(summary: EntrySummary) -> Self {
        let EntrySummary {
            key,
            tenant,
            namespace,
            user,
            model,
            provider,
            answer_model,
            prompt,
            created_at,
            expires_at,
            completion_tokens,
            cost_usd,
            is_semantic,
            hits,
            last_hit,
            size_bytes,
        } = summary;
        Self {
            key: key.to_string(),
            tenant: tenant.to_string(),
            namespace: namespace.to_string(),
            user: user.map(|user| user.to_string()),
            model: model.to_string(),
            provider,
            answer_model,
            prompt,
            created_at: json::moment(created_at),
            expires_at: json::moment(expires_at),
            completion_tokens,
            cost_usd,
            semantic: is_semantic,
            hits,
            last_hit: last_hit.and_then(json::moment),
            size_bytes,
        }
    }
}

/// Lists entries, the last written first.
pub(super) async fn list(State(state): State<Arc<AppState>>, uri: Uri) -> Result<Response, HttpError> {
    let Wanted { tenant, namespace, user, model, tag, prompt_prefix, limit, after } =
        Query::try_from_uri(&uri).map_err(|error| HttpError::bad_request(error.body_text()))?.0;
    let limit = limit.unwrap_or(LIMIT);
    if !(1..=LIMIT_MAX).contains(&limit) {
        return Err(HttpError::bad_request(format!("`limit`: expected 1 to {LIMIT_MAX}")).param("limit"));
    }
    let after = after.map(|after| cursor(&after)).transpose()?;
    let selection = Selection {
        tenant: tenant.map(TenantId::new),
        namespace: namespace.map(Namespace::new),
        user: user.map(EndUser::new),
        model: model.map(ModelAlias::new),
        tag,
        prompt_prefix,
        ..Selection::default()
    };
    let gateway = state.gateway.load_full();
    let found = gateway.entries(&selection, limit, after).await?;
    let next = (!found.is_last).then(|| found.next.to_string());
    Ok(json::respond(&Listing { entries: found.items.into_iter().map(Listed::from).collect(), next }))
}

fn cursor(text: &str) -> Result<Cursor, HttpError> {
    text.parse()
        .map_err(|_| HttpError::bad_request("`after`: expected the `next` of the page before").param("after"))
}

#[derive(Serialize)]
struct Shown<'a> {
    key: String,
    tenant: &'a str,
    namespace: &'a str,
    user: Option<&'a str>,
    model: &'a str,
    provider: &'a str,
    created_at: Option<String>,
    expires_at: Option<String>,
    cost_usd: Option<f64>,
    semantic: bool,
    tags: &'a [String],
    /// In OpenAI's format, whatever format it came in.
    request: Box<RawValue>,
    answer: Box<RawValue>,
}

/// Shows one entry whole.
pub(super) async fn show(
    State(state): State<Arc<AppState>>,
    Path(key): Path<String>,
) -> Result<Response, HttpError> {
    let key = json::fingerprint("key", &key)?;
    let gateway = state.gateway.load_full();
    let Some(entry) = gateway.entry(&key).await? else { return Err(unknown()) };
    let Entry { request, answer, model, tags, .. } = &*entry;
    Ok(json::respond(&Shown {
        key: entry.key.to_string(),
        tenant: entry.tenant.as_str(),
        namespace: entry.namespace.as_str(),
        user: entry.user.as_ref().map(EndUser::as_str),
        model: model.as_str(),
        provider: &entry.provider,
        created_at: json::moment(entry.created_at),
        expires_at: json::moment(entry.expires_at),
        cost_usd: entry.cost_usd,
        semantic: entry.semantic.is_some(),
        tags,
        request: raw(openai::show_request(request, model.as_str()))?,
        answer: raw(openai::encode_response(answer))?,
    }))
}

fn raw(json: Vec<u8>) -> Result<Box<RawValue>, HttpError> {
    serde_json::from_slice(&json).map_err(|error| HttpError::unwritable(&error))
}

#[derive(Serialize)]
struct Removed {
    removed: u64,
}

/// Removes one entry.
pub(super) async fn remove(
    State(state): State<Arc<AppState>>,
    Path(key): Path<String>,
) -> Result<Response, HttpError> {
    let key = json::fingerprint("key", &key)?;
    let gateway = state.gateway.load_full();
    match gateway.remove(&[key]).await? {
        0 => Err(unknown()),
        removed => Ok(json::respond(&Removed { removed })),
    }
}

fn unknown() -> HttpError {
    HttpError::not_found("no entry has that key")
}
