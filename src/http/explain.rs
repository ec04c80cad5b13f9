//! `POST /admin/explain`: what would become of a request, and why. Calls nobody, changes nothing.

use std::collections::BTreeMap;
use std::sync::Arc;

use axum::Extension;
use axum::extract::{Request, State};
use axum::http::{HeaderMap, HeaderName, HeaderValue};
use axum::response::Response;
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;

use super::auth::Caller;
use super::checks::ChecksJson;
use super::error::HttpError;
use super::request_id::RequestId;
use super::state::AppState;
use super::{anthropic_headers, directives, generation, json};
use crate::chat::{Dialect, TenantId};
use crate::gateway::{Ask, Candidate, Explanation, LayerReading, PolicyReading, Stranger, TierReading};
use crate::wire::Asked;

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Wanted {
    /// The path the request would go to; it chooses the dialect.
    endpoint: String,
    /// Whose request it would be; by default the caller's own.
    tenant: Option<String>,
    #[serde(default)]
    headers: BTreeMap<String, String>,
    body: Box<RawValue>,
}

/// Explains a request without answering it.
pub(super) async fn explain(
    State(state): State<Arc<AppState>>,
    Extension(caller): Extension<Caller>,
    Extension(RequestId(request_id)): Extension<RequestId>,
    request: Request,
) -> Result<Response, HttpError> {
    let Wanted { endpoint, tenant, headers, body } = json::receive(&state, request).await?;
    let Some(dialect) = generation::dialect_of(&endpoint) else {
        let message =
            "`endpoint`: expected `/v1/generate`, `/v1/chat/completions`, `/v1/responses` or `/v1/messages`";
        return Err(HttpError::bad_request(message).param("endpoint"));
    };
    let tenant = tenant.map_or(caller.tenant, TenantId::new);
    let Asked { mut request, delivery, cache, task } = generation::parse_now(dialect, body.get().as_bytes())?;
    let headers = header_map(&headers)?;
    if dialect == Dialect::Anthropic {
        request.betas = anthropic_headers::betas(&headers)?;
    }
    let directives = directives::read(&headers, cache, task, tenant)?;
    let ask = Ask {
        request: Arc::new(request),
        directives,
        stream: delivery.stream,
        request_id,
        patience: None,
        may_degrade: false,
        warm: None,
    };
    let gateway = state.gateway.load_full();
    Ok(json::respond(&ExplanationJson::from(gateway.explain(ask).await?)))
}

pub(super) fn header_map(headers: &BTreeMap<String, String>) -> Result<HeaderMap, HttpError> {
    let header = |(name, value): (&String, &String)| {
        let pair = (HeaderName::try_from(name), HeaderValue::try_from(value));
        match pair {
            (Ok(name), Ok(value)) => Ok((name, value)),
            _ => Err(HttpError::bad_request("`headers`: a name or value that no request can have")
                .param("headers")),
        }
    };
    headers.iter().map(header).collect()
}

#[derive(Serialize)]
struct ExplanationJson {
    decision: &'static str,
    source: Option<&'static str>,
    key: Option<String>,
    partition: Option<String>,
    policy: PolicyJson,
    tiers: Vec<TierJson>,
    candidates: Vec<CandidateJson>,
    stranger: Option<StrangerJson>,
    checks: Option<ChecksJson>,
}

#[derive(Serialize)]
struct PolicyJson {
    read: bool,
    write: bool,
    volatile: bool,
    reason: Option<String>,
}

#[derive(Serialize)]
struct TierJson {
    tier: &'static str,
    outcome: String,
}

#[derive(Serialize)]
struct CandidateJson {
    entry: String,
    prompt: String,
    similarity: f32,
    verifier: Option<f32>,
    served: bool,
    layers: Vec<LayerJson>,
}

#[derive(Serialize)]
struct LayerJson {
    layer: &'static str,
    verdict: &'static str,
    reason: Option<String>,
}

#[derive(Serialize)]
struct StrangerJson {
    entry: String,
    similarity: f32,
    differs_in: Vec<&'static str>,
}

impl From<Explanation> for ExplanationJson {
    fn from(explanation: Explanation) -> Self {
        let Explanation { decision, source, key, partition, policy, tiers, candidates, stranger, checks } =
            explanation;
        let PolicyReading { read, write, volatile, reason } = policy;
        let tier = |TierReading { tier, outcome }| TierJson { tier: tier.name(), outcome };
        let stranger = stranger.map(|Stranger { entry, similarity, differs_in }| StrangerJson {
            entry: entry.to_string(),
            similarity,
            differs_in,
        });
        Self {
            decision,
            source: source.map(|source| source.name()),
            key: key.map(|key| key.to_string()),
            partition: partition.map(|partition| partition.to_string()),
            policy: PolicyJson { read, write, volatile, reason },
            tiers: tiers.into_iter().map(tier).collect(),
            candidates: candidates.into_iter().map(CandidateJson::from).collect(),
            stranger,
            checks: ChecksJson::of_checked(&checks),
        }
    }
}

impl From<Candidate> for CandidateJson {
    fn from(candidate: Candidate) -> Self {
        let Candidate { entry, prompt, similarity, verifier, served, layers } = candidate;
        let layer = |LayerReading { layer, verdict, reason }| LayerJson { layer, verdict, reason };
        Self {
            entry: entry.to_string(),
            prompt,
            similarity,
            verifier,
            served,
            layers: layers.into_iter().map(layer).collect(),
        }
    }
}
