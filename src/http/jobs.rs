//! Generations in the background: `POST /v1/generate` with `Prefer: respond-async`, then `/v1/jobs/{id}`.
//!
//! Other endpoints ignore that preference, as RFC 7240 lets them: what they answer with is another's format, which has no
//! word for "later".

use std::sync::Arc;

use axum::Extension;
use axum::body::Body;
use axum::extract::{Path, Request, State};
use axum::http::header::{HeaderName, LOCATION, RETRY_AFTER};
use axum::http::request::Parts;
use axum::http::{HeaderMap, HeaderValue, StatusCode};
use axum::response::{IntoResponse, Response};
use serde::{Deserialize, Serialize};
use serde_json::Value;
use serde_json::value::RawValue;

use super::auth::Caller;
use super::error::HttpError;
use super::prefer::RESPOND_ASYNC;
use super::record::Record;
use super::state::AppState;
use super::{body, directives, generate, generation, headers, json, writer};
use crate::chat::Dialect;
use crate::gateway::{Answer, GatewayError, Outcome};
use crate::store::{JobEnd, JobId, JobRequest, JobState, StoredJob};
use crate::wire::{Asked, Delivery, openai};

const PREFERENCE_APPLIED: HeaderName = HeaderName::from_static("preference-applied");
const X_JOB_WEBHOOK: HeaderName = HeaderName::from_static("x-job-webhook");
/// What a caller who polls is asked to wait, in seconds.
const POLL_SECONDS: u64 = 1;
/// What only some callers may see of an answer's `cache`.
const INTERNALS: [&str; 3] = ["key", "entry", "similarity"];

#[derive(Serialize)]
struct AcceptedJson {
    id: String,
    status: &'static str,
    created_at: Option<String>,
}

/// Makes a request a job, and answers 202 once it is kept.
pub(super) async fn accept(state: Arc<AppState>, request: Request) -> Response {
    let (parts, body) = request.into_parts();
    let (id, caller) = match generation::introduced(&parts) {
        Ok(introduced) => introduced,
        Err(error) => return error.into_response(),
    };
    let mut record = Record::begin(Arc::clone(&state.telemetry), Arc::clone(&id), Dialect::Native);
    match add(&state, &parts, body, id, &caller, &mut record).await {
        Ok(job) => {
            record.queued();
            accepted(&job)
        }
        Err(error) => {
            record.failed(&error);
            error.into_response()
        }
    }
}

async fn add(
    state: &AppState,
    parts: &Parts,
    body: Body,
    request_id: Arc<str>,
    caller: &Caller,
    record: &mut Record,
) -> Result<StoredJob, HttpError> {
    let bytes = body::read(&parts.headers, body, state.edge().body).await?;
    let Asked { request, delivery, cache, task } = generation::parse(Dialect::Native, bytes).await?;
    if delivery.stream {
        let message = "`stream` and the header `prefer: respond-async` exclude each other: who comes back for an \
                       answer is not there to be streamed to";
        return Err(HttpError::bad_request(message).param("stream"));
    }
    let directives = directives::read(&parts.headers, cache, task, caller.tenant.clone())?;
    let webhook = webhook(&parts.headers)?;
    record.routed(state.gateway.load().route_label(request.model.as_deref()));
    let sees_internals = caller.sees_internals();
    let request = JobRequest { request, directives, request_id, sees_internals };
    Ok(state.jobs.add(request, webhook).await?)
}

fn webhook(headers: &HeaderMap) -> Result<Option<String>, HttpError> {
    let Some(value) = headers.get(X_JOB_WEBHOOK) else { return Ok(None) };
    let name = value.to_str().map_err(|_| {
        HttpError::bad_request("header `x-job-webhook`: expected the name of a configured webhook")
            .param(X_JOB_WEBHOOK.as_str())
    })?;
    Ok(Some(name.to_owned()))
}

fn accepted(job: &StoredJob) -> Response {
    let id = job.id.to_string();
    let location = headers::written(format!("/v1/jobs/{id}"));
    let mut response = json::respond(&AcceptedJson {
        id,
        status: job.state.name(),
        created_at: json::moment(job.created_at),
    });
    *response.status_mut() = StatusCode::ACCEPTED;
    let fields = response.headers_mut();
    fields.insert(LOCATION, location);
    fields.insert(PREFERENCE_APPLIED, HeaderValue::from_static(RESPOND_ASYNC));
    fields.insert(RETRY_AFTER, HeaderValue::from(POLL_SECONDS));
    response
}

#[derive(Serialize)]
struct JobJson {
    id: String,
    status: &'static str,
    created_at: Option<String>,
    updated_at: Option<String>,
    expires_at: Option<String>,
    /// What `/v1/generate` would have answered with.
    result: Option<Box<RawValue>>,
    error: Option<Box<RawValue>>,
}

/// Shows a job, and what came of it.
pub(super) async fn show(
    State(state): State<Arc<AppState>>,
    Extension(caller): Extension<Caller>,
    Path(id): Path<String>,
) -> Result<Response, HttpError> {
    let id = JobId::parse(&id).ok_or_else(unknown)?;
    shown(state.jobs.get(&caller.tenant, id).await?, &caller)
}

/// Cancels a job that is not over, and forgets one that is.
pub(super) async fn cancel(
    State(state): State<Arc<AppState>>,
    Extension(caller): Extension<Caller>,
    Path(id): Path<String>,
) -> Result<Response, HttpError> {
    let id = JobId::parse(&id).ok_or_else(unknown)?;
    shown(state.jobs.cancel(&caller.tenant, id).await?, &caller)
}

/// Says the same to whoever asks for another's job and for one that never was.
fn unknown() -> HttpError {
    HttpError::not_found("no job has that id: a job is known to its tenant alone, and until it expires")
}

fn shown(job: Option<StoredJob>, caller: &Caller) -> Result<Response, HttpError> {
    let StoredJob { id, state, created_at, updated_at, expires_at, result } = job.ok_or_else(unknown)?;
    let (mut answer, mut error) = (None, None);
    match (state, result) {
        (JobState::Done, Some(result)) => answer = Some(read_answer(&result, caller.sees_internals())?),
        (JobState::Failed, Some(result)) => error = Some(read_error(&result)?),
        (JobState::Queued | JobState::Running | JobState::Cancelled, _) | (_, None) => {}
    }
    let mut response = json::respond(&JobJson {
        id: id.to_string(),
        status: state.name(),
        created_at: json::moment(created_at),
        updated_at: json::moment(updated_at),
        expires_at: json::moment(expires_at),
        result: answer,
        error,
    });
    if !state.is_over() {
        response.headers_mut().insert(RETRY_AFTER, HeaderValue::from(POLL_SECONDS));
    }
    Ok(response)
}

/// Writes how a job ended as it is kept.
pub fn write_job_end(answered: Result<Outcome, GatewayError>, sees_internals: bool, millis: f64) -> JobEnd {
    match answered {
        Ok(outcome) => {
            let summary = generate::answer_of(&outcome, sees_internals, millis);
            match &outcome.answer {
                Answer::Whole(answer) => {
                    JobEnd::Done(writer::whole(Dialect::Native, summary, answer, &Delivery::default()))
                }
                // Only who asked for a stream is given one.
                Answer::Live(_) => write_error(GatewayError::Interrupted),
            }
        }
        Err(error) => write_error(error),
    }
}

fn write_error(error: GatewayError) -> JobEnd {
    JobEnd::Failed(openai::encode_error(&HttpError::from(error).shape()))
}

fn read_error(result: &[u8]) -> Result<Box<RawValue>, HttpError> {
    #[derive(Deserialize)]
    struct ErrorJson {
        error: Box<RawValue>,
    }
    let read = serde_json::from_slice::<ErrorJson>(result);
    read.map(|read| read.error).map_err(|error| HttpError::unwritable(&error))
}

/// Reads an answer as it may be shown: the key that asked may have been allowed to see more than the one that reads.
fn read_answer(result: &[u8], sees_internals: bool) -> Result<Box<RawValue>, HttpError> {
    let read = || {
        if !sees_internals {
            let mut answer: Value = serde_json::from_slice(result)?;
            let hidden = INTERNALS.map(|field| answer["cache"][field].take());
            if hidden.iter().any(|value| !value.is_null()) {
                return RawValue::from_string(answer.to_string());
            }
        }
        serde_json::from_slice(result)
    };
    read().map_err(|error| HttpError::unwritable(&error))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_the_one_who_asked_could_see_is_hidden_from_one_who_may_not() {
        let kept = br#"{"id":"a","cache":{"key":"k","entry":null,"similarity":0.9,"tier":"semantic"},"cost_usd":0.0}"#;
        assert_eq!(read_answer(kept, true).expect("JSON").get().as_bytes(), kept);
        assert_eq!(
            read_answer(kept, false).expect("JSON").get(),
            r#"{"id":"a","cache":{"key":null,"entry":null,"similarity":null,"tier":"semantic"},"cost_usd":0.0}"#
        );
    }

    #[test]
    fn what_hides_nothing_is_shown_as_it_was_written() {
        let kept = br#"{"cache":{"key":null,"entry":null,"similarity":null},"cost_usd":0.00000025}"#;
        assert_eq!(read_answer(kept, false).expect("JSON").get().as_bytes(), kept);
    }

    #[test]
    fn an_error_is_kept_as_its_endpoint_would_have_said_it() {
        let JobEnd::Failed(kept) = write_job_end(Err(GatewayError::OnlyIfCached), true, 1.0) else {
            panic!("an error is no answer");
        };
        let error: Value = serde_json::from_str(read_error(&kept).expect("JSON").get()).expect("JSON");
        assert_eq!(error["code"], "only_if_cached");
        assert_eq!(error["type"], "server_error");
    }
}
