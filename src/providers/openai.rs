//! OpenAI, and every server that speaks its Chat Completions.

use std::time::Duration;

use bytes::Bytes;
use http::{HeaderMap, HeaderValue, Method, StatusCode, header};

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
        Ok(Outgoing { method: Method::POST, url: self.endpoint.clone(), headers, body })
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
            let status = body.status().or_else(|| implied_status(&body));
            ProviderError { status, ..told(kind_of(status.unwrap_or(200), &body), body) }
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
    // Servers have no common code for the two, but their sentences share a few words.
    let is_context = says(&["context_length_exceeded"])
        || tells(&["context length", "context size", "context window", "prompt is too long"]);
    let is_content = says(&["content_filter", "content_policy_violation"])
        || tells(&["flagged", "content management policy"]);
    let is_key = says(&["invalid_api_key", "API_KEY_INVALID"]) || tells(&["api key not valid"]);
    match status {
        400 | 422 if is_context => ProviderErrorKind::ContextTooLong,
        400 | 403 | 422 if is_content => ProviderErrorKind::ContentPolicy,
        400 if is_key => ProviderErrorKind::BadKey,
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::chat::{Assembly, Delta};
    use proptest::prelude::*;

    fn upstream() -> OpenAi {
        let key = Secret::new("sk-very-secret".into());
        OpenAi::new("http://127.0.0.1:1/base/v1/?a=b", Some(&key), LimitSpelling::MaxTokens).unwrap()
    }

    #[test]
    fn a_call_goes_to_the_endpoint_with_the_key_and_never_shows_it() {
        let call = upstream().prepare(&ChatRequest::from_prompt("q"), "m", true).unwrap();
        assert_eq!(call.url.as_str(), "http://127.0.0.1:1/base/v1/chat/completions?a=b");
        assert_eq!(call.headers["authorization"], "Bearer sk-very-secret");
        assert_eq!(call.headers["accept"], "text/event-stream");
        assert!(!format!("{call:?} {:?}", upstream()).contains("sk-very"));
    }

    #[test]
    fn addresses_and_keys_that_cannot_work_are_refused() {
        let new = |url, key: &str| {
            OpenAi::new(url, Some(&Secret::new(key.into())), LimitSpelling::MaxTokens).unwrap_err()
        };
        assert_eq!(new("localhost:1", "k"), InvalidUpstream::BaseUrl);
        assert_eq!(new("ftp://host/v1", "k"), InvalidUpstream::BaseUrl);
        assert_eq!(new("http://host/v1", "k\r\nx: y"), InvalidUpstream::ApiKey);
        let nameless = ProviderConfig::named("x", ProviderKind::OpenAiCompatible);
        assert_eq!(OpenAi::from_config(&nameless).unwrap_err(), InvalidUpstream::NoBaseUrl);
    }

    fn classified(status: u16, body: &str) -> ProviderError {
        upstream().classify(StatusCode::from_u16(status).unwrap(), &HeaderMap::new(), body.as_bytes())
    }

    #[test]
    fn a_failure_is_classed_by_status_and_body() {
        use ProviderErrorKind::*;
        for (status, code, message, kind) in [
            (204, "", "", Malformed),
            (301, "", "", Malformed),
            (400, "", "", BadRequest),
            (400, "context_length_exceeded", "", ContextTooLong),
            (400, "400", "This model's maximum context length is 4096 tokens", ContextTooLong),
            (400, "content_filter", "", ContentPolicy),
            (400, "unsupported_parameter", "", Capability),
            (400, "", "API key not valid. Please pass a valid API key.", BadKey),
            (401, "", "", BadKey),
            (402, "", "", QuotaGone),
            (403, "", "", BadKey),
            (403, "403", "Your input was flagged", ContentPolicy),
            (404, "model_not_found", "", ModelMissing),
            (405, "", "", BadRequest),
            (408, "", "", ServerError),
            (413, "", "", ContextTooLong),
            (422, "", "", BadRequest),
            (429, "", "", RateLimited),
            (429, "rate_limit_exceeded", "", RateLimited),
            (429, "slow_down", "", Overloaded),
            (429, "insufficient_quota", "", QuotaGone),
            (429, "project_spend_limit_exceeded", "", QuotaGone),
            (500, "", "", ServerError),
            (500, "", "the request exceeds the available context size", ContextTooLong),
            (502, "", "", ServerError),
            (503, "", "", Overloaded),
            (524, "", "", ServerError),
            (529, "", "", Overloaded),
        ] {
            let body = serde_json::json!({"error": {"message": message, "code": code}}).to_string();
            let error = classified(status, &body);
            assert_eq!(error.kind, kind, "{status} {code} {message}");
            let is_told = !message.is_empty() && kind.is_callers_fault();
            assert_eq!(error.message == message, is_told, "{status} {code} {message}");
        }
        assert_eq!(classified(502, "<html>Bad gateway</html>").kind, ServerError);
    }

    #[test]
    fn an_error_inside_a_good_response_is_classed_by_its_words() {
        use ProviderErrorKind::*;
        for (error, kind, label) in [
            (r#"{"message": "x", "code": 502}"#, ServerError, "502"),
            (r#"{"message": "x", "code": 429}"#, RateLimited, "429"),
            (r#"{"message": "x", "type": "BadRequestError", "code": 400}"#, BadRequest, "400"),
            (r#"{"message": "x", "type": "server_error"}"#, ServerError, "500"),
            (r#"{"message": "x", "type": "insufficient_quota"}"#, QuotaGone, "429"),
            (r#"{"message": "x", "type": "surprise"}"#, Malformed, "malformed"),
            (r#""x""#, Malformed, "malformed"),
        ] {
            let body = format!(r#"{{"error": {error}}}"#);
            let refused = upstream().decode(body.as_bytes()).unwrap_err();
            assert_eq!((refused.kind, refused.attempt_label().as_str()), (kind, label), "{error}");
            let event = format!("data: {body}\n\n");
            assert_eq!(upstream().decode_stream(1).feed(event.as_bytes()).unwrap_err(), refused);
        }
    }

    #[test]
    fn a_wait_is_read_where_it_is_a_number_and_never_panics() {
        for (name, value, wait) in [
            ("retry-after", "2", Some(Duration::from_secs(2))),
            ("retry-after", "0.5", Some(Duration::from_millis(500))),
            ("retry-after-ms", "20", Some(Duration::from_millis(20))),
            ("retry-after", "1e309", None),
            ("retry-after", "1e300", Some(Duration::from_secs(86_400))),
            ("retry-after", "-1", None),
            ("retry-after", "NaN", None),
            ("retry-after", "soon", None),
        ] {
            let headers = HeaderMap::from_iter([(name.parse().unwrap(), HeaderValue::from_static(value))]);
            let headers: HeaderMap = headers;
            let error = upstream().classify(StatusCode::TOO_MANY_REQUESTS, &headers, b"");
            assert_eq!(error.retry_after, wait, "{value}");
        }
    }

    const STREAM: &str = concat!(
        ": ping\n\n",
        "data: {\"id\":\"1\",\"choices\":[{\"index\":0,\"delta\":{\"content\":\"Grüße 🦀\"}}]}\r\n\r\n",
        "data: {\"id\":\"1\",\"choices\":[{\"index\":0,\"delta\":{},\"finish_reason\":\"stop\"}]}\n\n",
        "data: {\"id\":\"1\",\"choices\":[],\"usage\":{\"prompt_tokens\":1,\"completion_tokens\":2}}\n\n",
        "data: [DONE]",
    );

    fn read<'a>(chunks: impl IntoIterator<Item = &'a [u8]>) -> Result<Vec<Delta>, ProviderError> {
        let mut stream = upstream().decode_stream(1);
        let mut deltas = Vec::new();
        for chunk in chunks {
            deltas.extend(stream.feed(chunk)?);
        }
        deltas.extend(stream.finish()?);
        Ok(deltas)
    }

    proptest! {
        #[test]
        fn any_split_of_the_bytes_gives_the_same_pieces(mut cuts in prop::collection::vec(0..=STREAM.len(), 0..9)) {
            cuts.extend([0, STREAM.len()]);
            cuts.sort_unstable();
            let chunks = cuts.windows(2).map(|cut| &STREAM.as_bytes()[cut[0]..cut[1]]);
            prop_assert_eq!(read(chunks), read([STREAM.as_bytes()]));
        }

        #[test]
        fn a_stream_cut_before_its_finish_reason_is_never_complete(cut in 0..STREAM.len()) {
            let finish = STREAM.find("stop").unwrap();
            let read = read([&STREAM.as_bytes()[..cut]]);
            if cut <= finish {
                prop_assert!(read.is_err());
            }
            if let Ok(deltas) = read {
                let mut assembly = Assembly::default();
                deltas.iter().for_each(|delta| assembly.push(delta));
                prop_assert!(assembly.is_finished(1));
                let answer = assembly.into_answer().unwrap();
                prop_assert_eq!(answer.text(), "Grüße 🦀");
            }
        }
    }

    #[test]
    fn an_answer_is_complete_before_the_stream_is_over_and_nothing_after_that_spoils_it() {
        let mut stream = upstream().decode_stream(1);
        let (head, tail) = STREAM.split_at(STREAM.find("data: {\"id\":\"1\",\"choices\":[],").unwrap());
        assert!(!stream.is_complete());
        stream.feed(head.as_bytes()).unwrap();
        assert!(stream.is_complete() && !stream.is_done());
        stream.feed(tail.as_bytes()).unwrap();
        stream.finish().unwrap();
        assert!(stream.is_done());

        let mut stream = upstream().decode_stream(1);
        stream.feed(head.as_bytes()).unwrap();
        assert_eq!(stream.feed(b"data: {\"error\": {\"message\": \"late\"}}\n\n"), Ok(Vec::new()));
        assert!(stream.is_done());
    }
}
