//! The one mapping from errors to statuses, headers and words.
//!
//! Errors are written in OpenAI's shape, which is our own too; on Anthropic's paths `anthropic_headers` writes them once
//! more. What a caller reads is chosen here: an upstream's own words are
//! passed on only where the caller's request was at fault, since elsewhere they may name our account with the vendor.

use std::any::Any;
use std::time::Duration;

use axum::body::Body;
use axum::http::header::{CONNECTION, CONTENT_TYPE, RETRY_AFTER, WWW_AUTHENTICATE};
use axum::http::{HeaderValue, Method, Response, StatusCode};
use axum::response::IntoResponse;

use super::headers::{CACHE_STATUS, SHOULD_RETRY, UPSTREAM_ATTEMPTS, listed, written};
use crate::chat::{Attempt, CacheStatus};
use crate::gateway::{FeedbackError, GatewayError, RouteError};
use crate::jobs::JobError;
use crate::providers::{ProviderError, ProviderErrorKind};
use crate::router::ChainFailure;
use crate::store::StoreError;
use crate::wire::{ErrorShape, WireError, openai};

/// A response that says what went wrong.
#[derive(Debug)]
pub struct HttpError(Box<Refusal>);

#[derive(Debug)]
struct Refusal {
    status: StatusCode,
    /// OpenAI's `type`.
    kind: &'static str,
    /// OpenAI's `code`.
    code: Option<String>,
    /// The field at fault.
    param: Option<String>,
    message: String,
    retry: Retry,
    /// Whether the connection is of no use after this, because what follows on it is unknown.
    closes: bool,
    attempts: Vec<Attempt>,
    cache_status: Option<CacheStatus>,
}

/// What the caller is told about trying again. SDKs try three times by themselves unless told otherwise.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Retry {
    /// Nothing: the status says it all.
    Unsaid,
    /// There is a known moment at which it may help.
    After(Duration),
    /// It does not help, or nobody knows when it would.
    No,
    /// It does not help soon, though a moment is known.
    NotBefore(Duration),
}

/// The codes of errors that somebody wanted, statuses of ours though they have: the caller, and the operator.
const ONLY_IF_CACHED: &str = "only_if_cached";
const AI_DISABLED: &str = "ai_disabled";
/// The longest known wait in which SDKs may try again by themselves.
const PATIENCE: Duration = Duration::from_secs(10);
/// What a caller with too many jobs is asked to wait. When one of them will be over nobody knows.
const QUEUE_PATIENCE: Duration = Duration::from_secs(5);

impl Retry {
    /// Returns what is said where nobody could be asked until then.
    fn at(known: Option<Duration>) -> Self {
        match known {
            Some(wait) if wait <= PATIENCE => Self::After(wait),
            known => Self::never(known),
        }
    }

    /// Returns what is said where trying again only triples the calls.
    fn never(known: Option<Duration>) -> Self {
        known.map_or(Self::No, Self::NotBefore)
    }
}

impl HttpError {
    fn new(status: StatusCode, kind: &'static str, message: impl Into<String>) -> Self {
        Self(Box::new(Refusal {
            status,
            kind,
            code: None,
            param: None,
            message: message.into(),
            retry: Retry::Unsaid,
            closes: false,
            attempts: Vec::new(),
            cache_status: None,
        }))
    }

    /// Refuses what the caller sent, in words that name the field, header or limit.
    pub(super) fn refused(status: StatusCode, message: impl Into<String>) -> Self {
        Self::new(status, "invalid_request_error", message)
    }

    pub(super) fn bad_request(message: impl Into<String>) -> Self {
        Self::refused(StatusCode::BAD_REQUEST, message)
    }

    pub(super) fn not_found(message: impl Into<String>) -> Self {
        Self::refused(StatusCode::NOT_FOUND, message).code("not_found")
    }

    pub(super) fn forbidden(message: impl Into<String>) -> Self {
        Self::refused(StatusCode::FORBIDDEN, message).code("forbidden")
    }

    pub(super) fn unauthorized(message: impl Into<String>) -> Self {
        Self::refused(StatusCode::UNAUTHORIZED, message).code("invalid_api_key")
    }

    /// Refuses what is beyond a limit of our own, which lets the next one through after the wait.
    pub(super) fn limited(message: impl Into<String>, wait: Duration) -> Self {
        Self::new(StatusCode::TOO_MANY_REQUESTS, "requests", message)
            .code("rate_limit_exceeded")
            .retry(Retry::at(Some(wait)))
    }

    pub(super) fn method_not_allowed(method: &Method) -> Self {
        let message = format!("{method} is not answered here; the header `allow` says what is");
        Self::refused(StatusCode::METHOD_NOT_ALLOWED, message).code("method_not_allowed")
    }

    /// Hides why our own answer has no JSON form, which only a bug can bring about.
    pub(super) fn unwritable(error: &serde_json::Error) -> Self {
        tracing::error!(%error, "an answer cannot be written as JSON");
        Self::internal()
    }

    fn internal() -> Self {
        Self::server(StatusCode::INTERNAL_SERVER_ERROR, "something went wrong here; see the log")
            .code("internal")
    }

    fn server(status: StatusCode, message: impl Into<String>) -> Self {
        Self::new(status, "server_error", message)
    }

    pub(super) fn code(mut self, code: impl Into<String>) -> Self {
        self.0.code = Some(code.into());
        self
    }

    pub(super) fn param(mut self, param: impl Into<String>) -> Self {
        self.0.param = Some(param.into());
        self
    }

    /// Ends the connection after this response.
    pub(super) fn closing(mut self) -> Self {
        self.0.closes = true;
        self
    }

    /// Says what the cache did before it went wrong.
    pub(super) fn cache_status(mut self, status: CacheStatus) -> Self {
        self.0.cache_status = Some(status);
        self
    }

    /// Says why a stream that had begun goes no further. Only its last upstream matters then, and no header can tell more.
    pub(super) fn midway(error: GatewayError) -> Self {
        match &error {
            GatewayError::Upstream(failure) if !failure.error.kind.is_callers_fault() => {
                Self::server(StatusCode::BAD_GATEWAY, "the upstream broke off before the end of its answer")
                    .code("upstream_interrupted")
            }
            _ => error.into(),
        }
    }

    fn retry(mut self, retry: Retry) -> Self {
        self.0.retry = retry;
        self
    }

    pub(super) fn status(&self) -> StatusCode {
        self.0.status
    }

    pub(super) fn message(&self) -> &str {
        &self.0.message
    }

    /// Returns whether something went wrong that neither the caller nor the operator chose.
    pub(super) fn is_ours(&self) -> bool {
        let is_chosen = matches!(self.0.code.as_deref(), Some(ONLY_IF_CACHED | AI_DISABLED));
        self.0.status.is_server_error() && !is_chosen
    }

    /// Returns what the caller reads, for a stream that fails after its first byte.
    pub(super) fn shape(&self) -> ErrorShape<'_> {
        let Refusal { status, kind, code, param, message, .. } = &*self.0;
        ErrorShape { status: status.as_u16(), message, kind, param: param.as_deref(), code: code.as_deref() }
    }
}

/// What an error response says, kept beside it for whoever must say it in another shape.
#[derive(Clone, Debug)]
pub(super) struct Told {
    status: u16,
    kind: &'static str,
    code: Option<String>,
    param: Option<String>,
    message: String,
}

impl Told {
    pub(super) fn shape(&self) -> ErrorShape<'_> {
        let Self { status, kind, code, param, message } = self;
        ErrorShape { status: *status, message, kind, param: param.as_deref(), code: code.as_deref() }
    }
}

impl IntoResponse for HttpError {
    fn into_response(self) -> Response<Body> {
        let body = openai::encode_error(&self.shape());
        let Refusal { status, kind, code, param, message, retry, closes, attempts, cache_status } = *self.0;
        let mut response = Response::new(Body::from(body));
        *response.status_mut() = status;
        response.extensions_mut().insert(Told { status: status.as_u16(), kind, code, param, message });
        let headers = response.headers_mut();
        headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
        if let Retry::After(wait) | Retry::NotBefore(wait) = retry {
            headers.insert(RETRY_AFTER, HeaderValue::from(whole_seconds(wait)));
        }
        if let Retry::No | Retry::NotBefore(_) = retry {
            headers.insert(SHOULD_RETRY, HeaderValue::from_static("false"));
        }
        if status == StatusCode::UNAUTHORIZED {
            headers.insert(WWW_AUTHENTICATE, HeaderValue::from_static("Bearer"));
        }
        if closes {
            headers.insert(CONNECTION, HeaderValue::from_static("close"));
        }
        if !attempts.is_empty() {
            headers.insert(UPSTREAM_ATTEMPTS, written(listed(&attempts)));
        }
        if let Some(status) = cache_status {
            headers.insert(CACHE_STATUS, written(status));
        }
        response
    }
}

/// Rounds up: a caller who comes a moment too early is refused again.
fn whole_seconds(wait: Duration) -> u64 {
    wait.as_secs() + u64::from(wait.subsec_nanos() > 0)
}

impl From<WireError> for HttpError {
    fn from(error: WireError) -> Self {
        let refused = match &error {
            WireError::Json(_) | WireError::Field { .. } => Self::bad_request(error.to_string()),
            WireError::NotKept { code, .. } => Self::not_found(error.to_string()).code(*code),
        };
        match error.param() {
            Some(param) => refused.param(param),
            None => refused,
        }
    }
}

impl From<GatewayError> for HttpError {
    fn from(error: GatewayError) -> Self {
        let message = error.to_string();
        match error {
            GatewayError::UnknownModel { .. } => model_not_found(message),
            GatewayError::NoProvider => Self::server(StatusCode::SERVICE_UNAVAILABLE, message)
                .code("no_provider")
                .retry(Retry::at(None)),
            GatewayError::AiDisabled => Self::server(StatusCode::SERVICE_UNAVAILABLE, message)
                .code(AI_DISABLED)
                .retry(Retry::at(None)),
            GatewayError::NotForwarded => Self::not_found(message),
            GatewayError::OnlyIfCached => {
                Self::server(StatusCode::GATEWAY_TIMEOUT, message).code(ONLY_IF_CACHED).retry(Retry::No)
            }
            GatewayError::Deadline(_) => {
                Self::server(StatusCode::GATEWAY_TIMEOUT, message).code("deadline").retry(Retry::No)
            }
            GatewayError::Overloaded => Self::server(StatusCode::SERVICE_UNAVAILABLE, message)
                .code("overloaded")
                .retry(Retry::After(Duration::from_secs(1))),
            GatewayError::Interrupted => {
                Self::server(StatusCode::INTERNAL_SERVER_ERROR, message).code("interrupted")
            }
            GatewayError::Upstream(failure) => upstream(&failure),
        }
    }
}

/// Maps the failure of every upstream that was asked.
fn upstream(failure: &ChainFailure) -> HttpError {
    let ChainFailure { error, attempts, kinds, retry_after, is_model_free, is_out_of_time } = failure;
    let mut mapped = if error.kind.is_callers_fault() {
        callers_fault(error)
    } else if error.kind == ProviderErrorKind::ModelMissing && *is_model_free {
        model_not_found("no upstream knows the model that was asked for")
    } else {
        match Breakdown::of(error.kind, kinds, *is_out_of_time) {
            Breakdown::NobodyCouldBeAsked => HttpError::server(
                StatusCode::SERVICE_UNAVAILABLE,
                "no upstream can be asked now: each one is limited, overloaded or out of use",
            )
            .code("upstreams_unavailable")
            .retry(Retry::at(*retry_after)),
            Breakdown::TimedOut => {
                HttpError::server(StatusCode::GATEWAY_TIMEOUT, "no upstream answered in time")
                    .code("upstream_timeout")
                    .retry(Retry::never(*retry_after))
            }
            Breakdown::Failed => {
                HttpError::server(StatusCode::BAD_GATEWAY, "every upstream failed; see `x-upstream-attempts`")
                    .code("upstream_failed")
                    .retry(Retry::never(*retry_after))
            }
        }
    };
    mapped.0.attempts.clone_from(attempts);
    mapped
}

/// Passes on what the vendor said about the caller's own mistake.
fn callers_fault(error: &ProviderError) -> HttpError {
    let status = error.status.and_then(|status| StatusCode::from_u16(status).ok());
    // Vendors report too long a context with 413 and even 500; for OpenAI's SDKs it is a bad request.
    let status =
        status.filter(|status| matches!(status.as_u16(), 400 | 422)).unwrap_or(StatusCode::BAD_REQUEST);
    let mut mapped = HttpError::refused(status, error.message.as_str());
    mapped.0.param.clone_from(&error.param);
    let code = match error.kind {
        ProviderErrorKind::ContextTooLong => Some("context_length_exceeded".to_owned()),
        ProviderErrorKind::ContentPolicy => Some("content_filter".to_owned()),
        _ => error.code.clone(),
    };
    mapped.0.code = code;
    mapped
}

/// What the failures of all upstreams come to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Breakdown {
    /// Each was limited, overloaded, or does not take us for a customer.
    NobodyCouldBeAsked,
    TimedOut,
    /// At least one failed otherwise.
    Failed,
}

impl Breakdown {
    /// `last` decides alone where no call was made.
    fn of(last: ProviderErrorKind, kinds: &[ProviderErrorKind], is_out_of_time: bool) -> Self {
        match last {
            ProviderErrorKind::Timeout if kinds.is_empty() || is_out_of_time => Self::TimedOut,
            _ if kinds.iter().all(|kind| kind.is_out_of_reach()) => Self::NobodyCouldBeAsked,
            _ => Self::Failed,
        }
    }
}

fn model_not_found(message: impl Into<String>) -> HttpError {
    HttpError::refused(StatusCode::NOT_FOUND, message).param("model").code("model_not_found")
}

impl From<JobError> for HttpError {
    fn from(error: JobError) -> Self {
        let message = error.to_string();
        match error {
            JobError::UnknownWebhook { .. } => Self::bad_request(message).param("x-job-webhook"),
            JobError::QueueFull { .. } => Self::new(StatusCode::TOO_MANY_REQUESTS, "requests", message)
                .code("job_queue_full")
                .retry(Retry::After(QUEUE_PATIENCE)),
            JobError::Gateway(error) => error.into(),
            JobError::Store(error) => {
                tracing::error!(%error, "a job cannot be written or read");
                Self::server(
                    StatusCode::SERVICE_UNAVAILABLE,
                    "jobs cannot be kept now; try again in a moment",
                )
                .code("store")
                .retry(Retry::After(Duration::from_secs(1)))
            }
        }
    }
}

impl From<FeedbackError> for HttpError {
    fn from(error: FeedbackError) -> Self {
        match error {
            FeedbackError::Unknown => {
                Self::not_found("nothing is known under that name: ids are kept for 24 h")
            }
            FeedbackError::Unsupported(reason) => Self::bad_request(reason).param("verdict"),
            FeedbackError::Store(error) => error.into(),
        }
    }
}

impl From<RouteError> for HttpError {
    fn from(error: RouteError) -> Self {
        let message = error.to_string();
        match error {
            RouteError::Unknown { .. } => Self::not_found(message).param("model"),
            RouteError::Store(error) => error.into(),
        }
    }
}

impl From<StoreError> for HttpError {
    fn from(error: StoreError) -> Self {
        // The cause may name files and hosts: it is for the log.
        tracing::error!(%error, "the store failed an administrator's request");
        Self::server(StatusCode::INTERNAL_SERVER_ERROR, "the store cannot be read or written; see the log")
            .code("store")
    }
}

/// Answers a request whose handler panicked; the process lives on.
///
/// The panic's words may quote a prompt; the hook has logged its place, and that is all that is logged.
pub(super) fn panicked(_: Box<dyn Any + Send + 'static>) -> Response<Body> {
    HttpError::internal().into_response()
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::providers::TransportFault;

    /// Answers for upstreams that failed so, one after the other; the last is the one to report.
    fn failure(kinds: &[ProviderErrorKind], retry_after: Option<u64>) -> Response<Body> {
        let attempt =
            |kind: &ProviderErrorKind| Attempt { upstream: "p/m".into(), result: kind.name().into() };
        let last = kinds.last().copied().unwrap_or(ProviderErrorKind::Overloaded);
        let failure = ChainFailure {
            error: ProviderError::new(last, "sk-secret of org-1"),
            attempts: kinds.iter().map(attempt).collect(),
            kinds: kinds.to_vec(),
            retry_after: retry_after.map(Duration::from_secs),
            is_model_free: false,
            is_out_of_time: false,
        };
        HttpError::from(GatewayError::Upstream(Arc::new(failure))).into_response()
    }

    fn header<'a>(response: &'a Response<Body>, name: &str) -> Option<&'a str> {
        response.headers().get(name).map(|value| value.to_str().expect("ASCII"))
    }

    #[test]
    fn failures_of_all_upstreams_add_up() {
        use ProviderErrorKind as Kind;
        for (kinds, status) in [
            (&[Kind::RateLimited, Kind::RateLimited][..], 503),
            (&[Kind::Overloaded, Kind::BadKey], 503),
            (&[Kind::QuotaGone], 503),
            (&[Kind::ModelMissing], 503),
            (&[], 503),
            (&[Kind::Timeout, Kind::Timeout], 502),
            (&[Kind::RateLimited, Kind::Timeout], 502),
            (&[Kind::ServerError], 502),
            (&[Kind::Transport(TransportFault::Connect), Kind::RateLimited], 502),
            (&[Kind::BadRequest], 400),
        ] {
            assert_eq!(failure(kinds, None).status().as_u16(), status, "{kinds:?}");
        }
    }

    #[test]
    fn what_vendors_say_of_our_account_stays_here() {
        let ours = HttpError::from(GatewayError::Upstream(Arc::new(ChainFailure {
            error: ProviderError::new(ProviderErrorKind::BadKey, "sk-secret"),
            attempts: Vec::new(),
            kinds: Vec::new(),
            retry_after: None,
            is_out_of_time: false,
            is_model_free: false,
        })));
        assert!(!ours.message().contains("sk-secret"));
    }

    #[test]
    fn sdks_are_told_whether_to_try_again() {
        use ProviderErrorKind as Kind;
        for (kind, known, after, should) in [
            (Kind::RateLimited, Some(3), Some("3"), None),
            (Kind::RateLimited, Some(11), Some("11"), Some("false")),
            (Kind::RateLimited, None, None, Some("false")),
            (Kind::ServerError, Some(3), Some("3"), Some("false")),
            (Kind::ServerError, None, None, Some("false")),
            (Kind::Timeout, None, None, Some("false")),
            (Kind::BadRequest, None, None, None),
        ] {
            let response = failure(&[kind], known);
            assert_eq!(header(&response, "retry-after"), after, "{kind:?} {known:?}");
            assert_eq!(header(&response, "x-should-retry"), should, "{kind:?} {known:?}");
            assert_eq!(header(&response, "x-upstream-attempts"), Some(&*format!("p/m;{}", kind.name())));
        }
        let overloaded = HttpError::from(GatewayError::Overloaded).into_response();
        assert_eq!(header(&overloaded, "retry-after"), Some("1"));
        let disabled = HttpError::from(GatewayError::AiDisabled).into_response();
        assert_eq!((disabled.status().as_u16(), header(&disabled, "x-should-retry")), (503, Some("false")));
    }
}
