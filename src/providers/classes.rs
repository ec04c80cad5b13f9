//! What vendors' errors mean: one table over status and words.
//!
//! It does not ask which vendor speaks: servers pass on each other's errors, and no word means two things in two
//! vendors' mouths. Sources: the vendors' error pages, as collected beside each row.

use http::{HeaderMap, StatusCode};

use super::wait::{is_daily_quota, is_of_model, wait_hint};
use super::{ProviderError, ProviderErrorKind};
use crate::wire::{AnswerError, ErrorBody};

/// Returns what a response without an answer means.
pub fn failed(status: StatusCode, headers: &HeaderMap, body: &[u8]) -> ProviderError {
    let body = ErrorBody::decode(body).unwrap_or_default();
    let status = status.as_u16();
    let hint = wait_hint(headers, Some(&body.raw));
    let kind = kind_of(status, &body);
    ProviderError {
        status: Some(status),
        retry_after: hint.after,
        should_retry: hint.should_retry,
        is_of_model: is_of_model(&body.raw),
        ..told(kind, body)
    }
}

/// Returns what an error inside a good response means: by the status in its code, by its words, else no answer.
pub fn refused(error: AnswerError) -> ProviderError {
    match error {
        AnswerError::Malformed(reason) => ProviderError::malformed(reason),
        AnswerError::Blocked(reason) => {
            let blocked = ProviderError::new(ProviderErrorKind::ContentPolicy, reason);
            ProviderError { status: Some(200), ..blocked }
        }
        AnswerError::Error(body) => {
            let status = body.status().or_else(|| implied_status(&body));
            let hint = wait_hint(&HeaderMap::new(), Some(&body.raw));
            let kind = status.map_or_else(|| kind_of_words(&body), |status| kind_of(status, &body));
            ProviderError { status: status.or(Some(200)), retry_after: hint.after, ..told(kind, *body) }
        }
    }
}

/// Builds the failure with the vendor's words, if its reader is the one they were meant for.
fn told(kind: ProviderErrorKind, body: ErrorBody) -> ProviderError {
    let ErrorBody { message, kind: _, param, code, detail: _, raw: _ } = body;
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
        "invalid_request_error"
        | "BadRequestError"
        | "context_length_exceeded"
        | "INVALID_ARGUMENT"
        | "FAILED_PRECONDITION"
        | "content_filter"
        | "content_policy_violation"
        | "unsupported_parameter"
        | "unsupported_value" => Some(400),
        "authentication_error" | "invalid_api_key" | "UNAUTHENTICATED" => Some(401),
        word if BILLING_CODES.contains(&word) => Some(402),
        "permission_error" | "PERMISSION_DENIED" => Some(403),
        "not_found_error" | "model_not_found" | "NOT_FOUND" => Some(404),
        "request_too_large" | "exceed_context_size_error" => Some(413),
        "rate_limit_error" | "rate_limit_exceeded" | "RESOURCE_EXHAUSTED" => Some(429),
        "server_error"
        | "api_error"
        | "internal_error"
        | "internal_server_error"
        | "INTERNAL"
        | "InternalServerError" => Some(500),
        "server_is_overloaded"
        | "service_unavailable_error"
        | "slow_down"
        | "provider_overloaded"
        | "UNAVAILABLE" => Some(503),
        "timeout_error" | "DEADLINE_EXCEEDED" => Some(504),
        "overloaded_error" => Some(529),
        _ => None,
    })
}

/// Words that mean that nothing is left to spend, and no waiting helps: OpenAI's billing codes, Anthropic's and Google's.
const BILLING_CODES: [&str; 8] = [
    "insufficient_quota",
    "credit_balance_exhausted",
    "organization_spend_limit_exceeded",
    "project_spend_limit_exceeded",
    "organization_usage_limit_exceeded",
    "billing_hard_limit_reached",
    "enforced_spend_limit_reached",
    "billing_error",
];

/// The words of an error, ready to be searched.
struct Words<'a> {
    body: &'a ErrorBody,
    message: String,
}

impl Words<'_> {
    /// Returns whether a code or class is one of these.
    fn says(&self, words: &[&str]) -> bool {
        let ErrorBody { code, kind, detail, .. } = self.body;
        [code, kind, detail].into_iter().flatten().any(|word| words.contains(&word.as_str()))
    }

    /// Returns whether the message has one of these, in any case.
    fn tells(&self, words: &[&str]) -> bool {
        words.iter().any(|words| self.message.contains(words))
    }

    /// Servers have no common code for it, but their sentences share a few words.
    fn is_context(&self) -> bool {
        self.says(&["context_length_exceeded", "exceed_context_size_error"])
            || self.tells(&[
                "context length",
                "context size",
                "context window",
                "context limit",
                "prompt is too long",
                "exceeds the maximum number of tokens",
            ])
    }

    fn is_content(&self) -> bool {
        self.says(&["content_filter", "content_policy_violation", "ResponsibleAIPolicyViolation"])
            || self.tells(&[
                "flagged",
                "content management policy",
                "content policy",
                "content filtering policy",
                "our safety system",
            ])
    }

    fn is_key(&self) -> bool {
        self.says(&["invalid_api_key", "API_KEY_INVALID", "API_KEY_EXPIRED"])
            || self.tells(&["api key not valid", "api key expired"])
    }

    /// Google's region and billing errors (400 FAILED_PRECONDITION) are our business with it, like its 403.
    fn is_account(&self) -> bool {
        self.is_key() || self.says(&["FAILED_PRECONDITION"])
    }

    fn is_billing(&self) -> bool {
        self.says(&BILLING_CODES)
            || self.tells(&["api usage limits", "credit balance is too low"])
            || is_daily_quota(&self.body.raw)
    }

    fn is_model(&self) -> bool {
        self.says(&["model_not_found", "DeploymentNotFound"]) || self.tells(&["is not a valid model"])
    }

    fn is_capability(&self) -> bool {
        self.says(&["unsupported_parameter", "unsupported_value"])
            // Anthropic's words for sampling settings, which newer models and versions do not take.
            || self.tells(&[
                "unsupported parameter",
                "not supported",
                "does not support",
                "extra inputs are not permitted",
                "is deprecated for this model",
                "cannot both be specified for this model",
            ])
    }
}

/// Returns what an error means that has neither a status nor a code that stands for one: what its sentence tells, else it
/// is no answer.
fn kind_of_words(body: &ErrorBody) -> ProviderErrorKind {
    let words = Words { body, message: body.message.to_ascii_lowercase() };
    if words.is_context() {
        ProviderErrorKind::ContextTooLong
    } else if words.is_content() {
        ProviderErrorKind::ContentPolicy
    } else if words.is_billing() {
        ProviderErrorKind::QuotaGone
    } else {
        ProviderErrorKind::Malformed
    }
}

fn kind_of(status: u16, body: &ErrorBody) -> ProviderErrorKind {
    let words = Words { body, message: body.message.to_ascii_lowercase() };
    match status {
        400 | 422 if words.is_context() => ProviderErrorKind::ContextTooLong,
        400 | 403 | 422 if words.is_content() => ProviderErrorKind::ContentPolicy,
        400 if words.is_account() => ProviderErrorKind::BadKey,
        400 | 403 if words.is_billing() => ProviderErrorKind::QuotaGone,
        400 if words.is_model() => ProviderErrorKind::ModelMissing,
        400 | 422 if words.is_capability() => ProviderErrorKind::Capability,
        // OpenAI's 403 for a model that the project has no access to.
        401 | 403 if words.is_model() => ProviderErrorKind::ModelMissing,
        401 | 403 => ProviderErrorKind::BadKey,
        402 => ProviderErrorKind::QuotaGone,
        404 => ProviderErrorKind::ModelMissing,
        408 | 409 => ProviderErrorKind::ServerError,
        413 => ProviderErrorKind::ContextTooLong,
        429 if words.is_billing() => ProviderErrorKind::QuotaGone,
        429 if words.says(&["slow_down", "server_is_overloaded", "provider_overloaded"]) => {
            ProviderErrorKind::Overloaded
        }
        429 => ProviderErrorKind::RateLimited,
        400..=499 => ProviderErrorKind::BadRequest,
        // llama.cpp and others call a prompt that is too long their own mistake.
        500 if words.is_context() => ProviderErrorKind::ContextTooLong,
        503 | 529 => ProviderErrorKind::Overloaded,
        500..=599 => ProviderErrorKind::ServerError,
        // A redirect, an empty success, an error under a good status.
        _ => ProviderErrorKind::Malformed,
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::providers::StreamDecoder;
    use crate::wire::Format;

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
            (400, "", "Unsupported parameter: 'max_tokens' is not supported with this model.", Capability),
            (
                400,
                "",
                "You have reached your specified API usage limits. You will regain access on",
                QuotaGone,
            ),
            (400, "", "Your credit balance is too low to access the Anthropic API.", QuotaGone),
            (400, "", "gpt-9 is not a valid model ID", ModelMissing),
            (400, "", "temperature: Extra inputs are not permitted", Capability),
            (400, "", "`temperature` is deprecated for this model.", Capability),
            (400, "", "`temperature` and `top_p` cannot both be specified for this model.", Capability),
            (400, "", "role 'system' is not supported on this model", Capability),
            (401, "", "", BadKey),
            (402, "", "", QuotaGone),
            (403, "", "", BadKey),
            (403, "model_not_found", "Project does not have access to model", ModelMissing),
            (403, "403", "Your input was flagged", ContentPolicy),
            (404, "model_not_found", "", ModelMissing),
            (404, "DeploymentNotFound", "", ModelMissing),
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
            let error = failed(StatusCode::from_u16(status).unwrap(), &HeaderMap::new(), body.as_bytes());
            assert_eq!(error.kind, kind, "{status} {code} {message}");
            let is_told = !message.is_empty() && kind.is_callers_fault();
            assert_eq!(error.message == message, is_told, "{status} {code} {message}");
        }
        let page = failed(StatusCode::BAD_GATEWAY, &HeaderMap::new(), b"<html>Bad gateway</html>");
        assert_eq!(page.kind, ServerError);
    }

    #[test]
    fn vendors_other_than_openai_say_it_in_their_own_shape() {
        use ProviderErrorKind::*;
        for (status, body, kind) in [
            (
                400,
                r#"{"type": "error", "error": {"type": "invalid_request_error", "message": "prompt is too long: 2 > 1"}}"#,
                ContextTooLong,
            ),
            (402, r#"{"type": "error", "error": {"type": "billing_error", "message": "x"}}"#, QuotaGone),
            (429, r#"{"type": "error", "error": {"type": "rate_limit_error", "message": "x"}}"#, RateLimited),
            (529, r#"{"type": "error", "error": {"type": "overloaded_error", "message": "x"}}"#, Overloaded),
            (
                400,
                r#"{"error": {"code": 400, "status": "INVALID_ARGUMENT", "message": "x", "details": [{"reason": "API_KEY_INVALID"}]}}"#,
                BadKey,
            ),
            (
                400,
                r#"{"error": {"code": 400, "status": "FAILED_PRECONDITION", "message": "User location is not supported"}}"#,
                BadKey,
            ),
            (400, r#"[{"error": {"code": 400, "status": "INVALID_ARGUMENT", "message": "x"}}]"#, BadRequest),
            (
                400,
                r#"{"error": {"code": 400, "message": "The input token count (9) exceeds the maximum number of tokens allowed (8)."}}"#,
                ContextTooLong,
            ),
            (429, r#"{"error": {"code": 429, "status": "RESOURCE_EXHAUSTED", "message": "x"}}"#, RateLimited),
            (
                429,
                r#"{"error": {"code": 429, "details": [{"@type": "type.googleapis.com/google.rpc.QuotaFailure", "violations": [{"quotaId": "RequestsPerDayPerModel"}]}]}}"#,
                QuotaGone,
            ),
            (
                400,
                r#"{"error": {"code": "content_filter", "message": "x", "innererror": {"code": "ResponsibleAIPolicyViolation"}}}"#,
                ContentPolicy,
            ),
        ] {
            let status = StatusCode::from_u16(status).unwrap();
            assert_eq!(failed(status, &HeaderMap::new(), body.as_bytes()).kind, kind, "{status} {body}");
        }
    }

    #[test]
    fn a_failure_carries_the_wait_that_headers_and_body_tell() {
        let mut headers = HeaderMap::new();
        headers.insert("retry-after", "2".parse().unwrap());
        headers.insert("x-should-retry", "false".parse().unwrap());
        let limited = failed(StatusCode::TOO_MANY_REQUESTS, &headers, b"");
        assert_eq!(limited.wait_hint(), Some(Duration::from_secs(2)));
        assert!(!limited.is_retryable());
        let body = r#"{"error": {"code": 429, "details": [{"@type": "type.googleapis.com/google.rpc.RetryInfo", "retryDelay": "22s"}]}}"#;
        let inside = refused(Format::OpenAi.decode(body.as_bytes()).unwrap_err());
        assert_eq!(inside.wait_hint(), Some(Duration::from_secs(22)));
        assert!(inside.is_retryable());
    }

    #[test]
    fn an_error_inside_a_good_response_is_classed_by_its_words() {
        use ProviderErrorKind::*;
        for (error, kind, label) in [
            (r#"{"message": "x", "code": 502}"#, ServerError, "502"),
            (r#"{"message": "x", "code": 429}"#, RateLimited, "429"),
            (r#"{"message": "x", "type": "BadRequestError", "code": 400}"#, BadRequest, "400"),
            (r#"{"message": "x", "type": "server_error"}"#, ServerError, "500"),
            (r#"{"message": "x", "type": "insufficient_quota"}"#, QuotaGone, "402"),
            (r#"{"message": "x", "code": "content_filter"}"#, ContentPolicy, "400"),
            (r#"{"message": "x", "code": "slow_down"}"#, Overloaded, "503"),
            (r#"{"message": "the request exceeds the available context size"}"#, ContextTooLong, "200"),
            (r#"{"message": "Output blocked by content filtering policy"}"#, ContentPolicy, "200"),
            (r#"{"message": "x", "type": "surprise"}"#, Malformed, "malformed"),
            (r#""x""#, Malformed, "malformed"),
        ] {
            let body = format!(r#"{{"error": {error}}}"#);
            let refused = refused(Format::OpenAi.decode(body.as_bytes()).unwrap_err());
            assert_eq!((refused.kind, refused.attempt_label().as_str()), (kind, label), "{error}");
            let mut stream = StreamDecoder::new(Format::OpenAi, 1);
            let event = format!("data: {body}\n\n");
            assert_eq!(stream.feed(event.as_bytes(), &mut Vec::new()).unwrap_err(), refused);
        }
    }
}
