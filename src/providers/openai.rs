//! OpenAI, and every server that speaks its Chat Completions.

use std::time::Duration;

use bytes::Bytes;
use http::{HeaderMap, HeaderValue, StatusCode, header};

use super::{Provider, ProviderError, ProviderErrorKind, StreamDecoder};
use crate::chat::{ChatRequest, ChatResponse, LimitSpelling};
use crate::config::{ProviderConfig, ProviderKind, Secret};
use crate::transport::{Outgoing, Url};
use crate::wire::openai::{AnswerError, Encoding, ErrorBody, decode_error, decode_response, encode_request};

/// Where OpenAI itself answers.
const BASE_URL: &str = "https://api.openai.com/v1";
/// The longest wait that is believed, in seconds: a day.
const RETRY_AFTER_SECONDS_MAX: f64 = 86_400.0;

/// An upstream that speaks Chat Completions.
#[derive(Debug)]
pub struct OpenAi {
    endpoint: Url,
    headers: HeaderMap,
    native_limit: LimitSpelling,
}

/// Why an upstream cannot be what its configuration says.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum InvalidUpstream {
    #[error("base_url is missing; say where the server answers, such as http://127.0.0.1:11434/v1")]
    NoBaseUrl,
    #[error("base_url is not an http or https address")]
    BaseUrl,
    #[error("the API key has characters that no header can carry")]
    ApiKey,
}

impl OpenAi {
    /// Builds the upstream that a configuration describes.
    ///
    /// # Errors
    /// When the address or the key cannot be used.
    pub fn from_config(config: &ProviderConfig) -> Result<Self, InvalidUpstream> {
        let base_url = config.base_url.as_deref();
        let (base_url, native_limit) = match config.kind {
            // OpenAI's newer models refuse `max_tokens`; other servers know nothing else.
            ProviderKind::OpenAi => (base_url.unwrap_or(BASE_URL), LimitSpelling::MaxCompletionTokens),
            ProviderKind::OpenAiCompatible | ProviderKind::Sandbox => {
                (base_url.ok_or(InvalidUpstream::NoBaseUrl)?, LimitSpelling::MaxTokens)
            }
        };
        Self::new(base_url, config.api_key.as_ref(), native_limit)
    }

    /// Builds an upstream at an address that ends before `/chat/completions`; without a key it sends none.
    ///
    /// # Errors
    /// When the address or the key cannot be used.
    pub fn new(
        base_url: &str,
        api_key: Option<&Secret>,
        native_limit: LimitSpelling,
    ) -> Result<Self, InvalidUpstream> {
        let mut endpoint = Url::parse(base_url).map_err(|_| InvalidUpstream::BaseUrl)?;
        if !matches!(endpoint.scheme(), "http" | "https") || !endpoint.has_host() {
            return Err(InvalidUpstream::BaseUrl);
        }
        endpoint
            .path_segments_mut()
            .map_err(|()| InvalidUpstream::BaseUrl)?
            .pop_if_empty()
            .extend(["chat", "completions"]);
        let mut headers = HeaderMap::new();
        headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("application/json"));
        if let Some(key) = api_key {
            let mut value = HeaderValue::try_from(format!("Bearer {}", key.expose()))
                .map_err(|_| InvalidUpstream::ApiKey)?;
            value.set_sensitive(true);
            headers.insert(header::AUTHORIZATION, value);
        }
        Ok(Self { endpoint, headers, native_limit })
    }
}

impl Provider for OpenAi {
    fn prepare(&self, request: &ChatRequest, model: &str, stream: bool) -> Result<Outgoing, ProviderError> {
        let mut headers = self.headers.clone();
        let accept = if stream { "text/event-stream" } else { "application/json" };
        headers.insert(header::ACCEPT, HeaderValue::from_static(accept));
        let encoding = Encoding { model, stream, native_limit: self.native_limit };
        let body = Bytes::from(encode_request(request, encoding));
        Ok(Outgoing { url: self.endpoint.clone(), headers, body })
    }

    fn decode(&self, body: &[u8]) -> Result<ChatResponse, ProviderError> {
        decode_response(body).map_err(refused)
    }

    fn decode_stream(&self, choices: u32) -> StreamDecoder {
        StreamDecoder::openai(choices)
    }

    fn classify(&self, status: StatusCode, headers: &HeaderMap, body: &[u8]) -> ProviderError {
        let body = decode_error(body).unwrap_or_default();
        let kind = kind_of(status.as_u16(), &body);
        ProviderError { status: Some(status.as_u16()), retry_after: retry_after(headers), ..told(kind, body) }
    }
}

/// Returns what an error inside a good response means: by the status in its code, by its words, else no answer.
pub(super) fn refused(error: AnswerError) -> ProviderError {
    match error {
        AnswerError::Malformed(reason) => ProviderError::malformed(reason),
        AnswerError::Error(body) => {
            let status = body.status();
            let kind = kind_of(status.or_else(|| implied_status(&body)).unwrap_or(200), &body);
            ProviderError { status, ..told(kind, body) }
        }
    }
}

/// Builds the failure with the vendor's words, if its reader is the one they were meant for.
fn told(kind: ProviderErrorKind, body: ErrorBody) -> ProviderError {
    let ErrorBody { message, kind: _, param, code } = body;
    let words = if kind.is_callers_fault() && !message.is_empty() {
        message
    } else {
        "the upstream answered with an error".to_owned()
    };
    ProviderError { code, param, ..ProviderError::new(kind, words) }
}

/// Returns the status that an error inside a good response would have had, as far as its words tell.
fn implied_status(body: &ErrorBody) -> Option<u16> {
    [&body.code, &body.kind].into_iter().flatten().find_map(|word| match word.as_str() {
        "invalid_request_error" | "BadRequestError" | "context_length_exceeded" => Some(400),
        "authentication_error" | "invalid_api_key" => Some(401),
        "permission_error" => Some(403),
        "not_found_error" | "model_not_found" => Some(404),
        "rate_limit_error" | "rate_limit_exceeded" | "insufficient_quota" => Some(429),
        "server_error" | "api_error" | "internal_error" | "internal_server_error" => Some(500),
        "overloaded_error" | "server_is_overloaded" | "service_unavailable_error" => Some(503),
        _ => None,
    })
}

/// Codes of OpenAI that mean that nothing is left to spend, and no waiting helps.
const BILLING_CODES: [&str; 6] = [
    "insufficient_quota",
    "credit_balance_exhausted",
    "organization_spend_limit_exceeded",
    "project_spend_limit_exceeded",
    "organization_usage_limit_exceeded",
    "billing_hard_limit_reached",
];

fn kind_of(status: u16, body: &ErrorBody) -> ProviderErrorKind {
    let says = |words: &[&str]| {
        [&body.code, &body.kind].into_iter().flatten().any(|word| words.contains(&word.as_str()))
    };
    let message = body.message.to_ascii_lowercase();
    let tells = |words: &[&str]| words.iter().any(|words| message.contains(words));
    let is_context = says(&["context_length_exceeded"])
        || tells(&[
            "maximum context length",
            "context length exceeded",
            "prompt is too long",
            "exceeds the context",
        ]);
    let is_content = says(&["content_filter", "content_policy_violation", "moderation_blocked"])
        || tells(&["flagged by", "moderation", "content management policy"]);
    match status {
        400 | 422 if is_context => ProviderErrorKind::ContextTooLong,
        400 | 403 | 422 if is_content => ProviderErrorKind::ContentPolicy,
        400 if says(&["invalid_api_key", "API_KEY_INVALID"]) => ProviderErrorKind::BadKey,
        400 | 422 if says(&["unsupported_parameter", "unsupported_value"]) => ProviderErrorKind::Capability,
        401 | 403 => ProviderErrorKind::BadKey,
        402 => ProviderErrorKind::QuotaGone,
        404 => ProviderErrorKind::ModelMissing,
        408 | 409 => ProviderErrorKind::ServerError,
        413 => ProviderErrorKind::ContextTooLong,
        429 if says(&BILLING_CODES) => ProviderErrorKind::QuotaGone,
        429 if says(&["slow_down", "server_is_overloaded"]) => ProviderErrorKind::Overloaded,
        429 => ProviderErrorKind::RateLimited,
        400..=499 => ProviderErrorKind::BadRequest,
        // llama.cpp and others call a prompt that is too long their own mistake.
        500 if is_context => ProviderErrorKind::ContextTooLong,
        503 | 529 => ProviderErrorKind::Overloaded,
        500..=599 => ProviderErrorKind::ServerError,
        // A redirect, an empty success, an error under a good status.
        _ => ProviderErrorKind::Malformed,
    }
}

/// Reads how long the vendor asks to be left alone, as a number of milliseconds or seconds.
fn retry_after(headers: &HeaderMap) -> Option<Duration> {
    let number = |name: &str| headers.get(name)?.to_str().ok()?.trim().parse::<f64>().ok();
    let seconds = number("retry-after-ms").map(|ms| ms / 1_000.0).or_else(|| number("retry-after"))?;
    (seconds.is_finite() && seconds >= 0.0)
        .then(|| Duration::from_secs_f64(seconds.min(RETRY_AFTER_SECONDS_MAX)))
}
