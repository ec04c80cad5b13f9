//! From a body to an answer, whatever the dialect: read, judge, ask the gateway, write.

use std::sync::Arc;

use axum::body::{Body, Bytes};
use axum::extract::Request;
use axum::http::request::Parts;
use axum::response::{IntoResponse, Response};

use super::auth::Caller;
use super::error::HttpError;
use super::live::Live;
use super::record::Record;
use super::request_id::RequestId;
use super::state::AppState;
use super::writer::{self, Writer};
use super::{anthropic_headers, body, directives, generate, headers};
use crate::chat::{CacheStatus, Dialect, Directives};
use crate::gateway::{Answer, Ask, GatewayError, Outcome};
use crate::wire::native::{self, NativeAnswer};
use crate::wire::{Asked, Delivery, WireError, anthropic, openai, responses};

/// Bodies from this size on are parsed off the async threads: they take longer than half a millisecond.
const LARGE_BODY_BYTES: usize = 128 << 10;

/// Answers one generation request.
///
/// A caller who hangs up drops this future, which ends its own wait; what becomes of the generation is the gateway's
/// business.
pub(super) async fn answer(dialect: Dialect, state: Arc<AppState>, request: Request) -> Response {
    let (parts, body) = request.into_parts();
    let (id, caller) = match introduced(&parts) {
        Ok(introduced) => introduced,
        Err(error) => return error.into_response(),
    };
    let mut record = Record::begin(Arc::clone(&state.telemetry), Arc::clone(&id), dialect);
    match ask(dialect, &state, &parts, body, id, &caller, &mut record).await {
        Ok((outcome, delivery)) => {
            record.answered(outcome.source, outcome.degraded);
            respond(dialect, outcome, delivery, caller.sees_internals(), record, &state)
        }
        Err(error) => {
            record.failed(&error);
            error.into_response()
        }
    }
}

/// Returns the name of a request, and who it comes from.
///
/// # Errors
/// Both were put there by the layers; without them the route was left open by mistake, and stays shut.
pub(super) fn introduced(parts: &Parts) -> Result<(Arc<str>, Caller), HttpError> {
    match (parts.extensions.get::<RequestId>(), parts.extensions.get::<Caller>()) {
        (Some(RequestId(id)), Some(caller)) => Ok((Arc::clone(id), caller.clone())),
        _ => Err(HttpError::forbidden("nobody was let in here")),
    }
}

async fn ask(
    dialect: Dialect,
    state: &AppState,
    parts: &Parts,
    body: Body,
    request_id: Arc<str>,
    caller: &Caller,
    record: &mut Record,
) -> Result<(Outcome, Delivery), HttpError> {
    let bytes = body::read(&parts.headers, body, state.edge().body).await?;
    let Asked { mut request, delivery, cache, task } = parse(dialect, bytes).await?;
    if dialect == Dialect::Anthropic {
        request.betas = anthropic_headers::betas(&parts.headers)?;
    }
    let directives = directives::read(&parts.headers, cache, task, caller.tenant.clone())?;
    let gateway = state.gateway.load_full();
    record.routed(gateway.route_label(request.model.as_deref()));
    let status_of_none = status_of_none(&directives);
    let ask = Ask {
        request: Arc::new(request),
        directives,
        stream: delivery.stream,
        request_id,
        patience: None,
        may_degrade: true,
        warm: None,
    };
    let outcome = gateway.answer(ask).await.map_err(|error| failure(error, status_of_none))?;
    Ok((outcome, delivery))
}

/// Returns the dialect of an endpoint's path.
pub(super) fn dialect_of(path: &str) -> Option<Dialect> {
    Some(match path {
        "/v1/generate" => Dialect::Native,
        "/v1/chat/completions" => Dialect::OpenAi,
        "/v1/responses" => Dialect::Responses,
        "/v1/messages" => Dialect::Anthropic,
        _ => return None,
    })
}

/// Reads a body in its dialect.
pub(super) fn parse_now(dialect: Dialect, body: &[u8]) -> Result<Asked, WireError> {
    match dialect {
        Dialect::Native => native::parse_request(body),
        Dialect::OpenAi => openai::parse_request(body),
        Dialect::Responses => responses::parse_request(body),
        Dialect::Anthropic => anthropic::parse_request(body),
    }
}

/// Reads a body in its dialect, a large one off the async threads.
pub(super) async fn parse(dialect: Dialect, body: Bytes) -> Result<Asked, HttpError> {
    if body.len() < LARGE_BODY_BYTES {
        return Ok(parse_now(dialect, &body)?);
    }
    let parsed = tokio::task::spawn_blocking(move || parse_now(dialect, &body)).await;
    Ok(parsed.map_err(|_| HttpError::from(GatewayError::Interrupted))??)
}

/// Returns what the cache did for a request that it could not answer and nobody else did.
fn status_of_none(directives: &Directives) -> CacheStatus {
    if directives.is_bypass() {
        CacheStatus::Bypass
    } else if directives.no_cache {
        CacheStatus::Refresh { stored: None }
    } else {
        CacheStatus::Miss { stored: None, collapsed: false }
    }
}

/// The cache is spoken of only where it was asked.
fn failure(error: GatewayError, cache_status: CacheStatus) -> HttpError {
    let was_asked = match &error {
        GatewayError::UnknownModel { .. }
        | GatewayError::NotForwarded
        | GatewayError::Overloaded
        | GatewayError::Interrupted => false,
        GatewayError::NoProvider
        | GatewayError::AiDisabled
        | GatewayError::OnlyIfCached
        | GatewayError::Deadline(_)
        | GatewayError::Upstream(_) => true,
    };
    let error = HttpError::from(error);
    if was_asked { error.cache_status(cache_status) } else { error }
}

/// Writes an outcome as the caller wants it delivered.
fn respond(
    dialect: Dialect,
    outcome: Outcome,
    delivery: Delivery,
    sees_internals: bool,
    record: Record,
    state: &AppState,
) -> Response {
    let mut response = Response::new(Body::empty());
    let fields = response.headers_mut();
    headers::write(fields, &outcome, sees_internals);
    let summary = match dialect {
        Dialect::Native => generate::answer_of(&outcome, sees_internals, record.millis()),
        Dialect::OpenAi | Dialect::Responses | Dialect::Anthropic => NativeAnswer::default(),
    };
    let body = match outcome.answer {
        Answer::Whole(answer) if !delivery.stream => {
            headers::write_json_type(fields);
            Body::from(writer::whole(dialect, summary, &answer, &delivery))
        }
        Answer::Whole(answer) => {
            headers::write_stream_type(fields);
            Body::from(Writer::new(dialect, summary, delivery).replay(&answer))
        }
        // Only who asked for a stream is given one.
        Answer::Live(live) => {
            headers::write_stream_type(fields);
            let writer = Writer::new(dialect, summary, delivery);
            Live::new(live, writer, state.edge().stream_max, record).into_body()
        }
    };
    *response.body_mut() = body;
    response
}
