//! What vendors' errors mean: one table over status and words.
//!
//! It does not ask which vendor speaks: servers pass on each other's errors, and no word means two things in two
//! vendors' mouths. Sources: the vendors' error pages, as collected beside each row.

use http::{HeaderMap, StatusCode};

use super::wait::{is_daily_quota, wait_hint};
use super::{ProviderError, ProviderErrorKind};
use crate::wire::{AnswerError, ErrorBody};

/// Returns what a response without an answer means.
pub fn failed(status: StatusCode, headers: &HeaderMap, body: &[u8]) -> ProviderError {
    let body = ErrorBody::decode(body).unwrap_or_default();
    let status = status.as_u16();
    let hint = wait_hint(headers, Some(&body.raw));
    let kind = kind_of(status, &body);
    ProviderError { status: Some(status), retry_after: hint.after, should_retry: hint.should_retry, ..told(kind, body) }
}

/// Returns what an error inside a good response means: by the status in its code, by its words, else no answer.
pub fn refused(error: AnswerError) -> ProviderError {
    match error {
        AnswerError::Malformed(reason) => ProviderError::malformed(reason),
        AnswerError::Blocked(reason) => ProviderError::new(ProviderErrorKind::ContentPolicy, reason),
        AnswerError::Error(body) => {
            let status = body.status().or_else(|| implied_status(&body));
            let hint = wait_hint(&HeaderMap::new(), Some(&body.raw));
            ProviderError {
                status,
                retry_after: hint.after,
                ..told(kind_of(status.unwrap_or(200), &body), body)
            }
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
        "invalid_request_error" | "BadRequestError" | "context_length_exceeded" | "INVALID_ARGUMENT"
        | "FAILED_PRECONDITION" => Some(400),
        "authentication_error" | "invalid_api_key" | "UNAUTHENTICATED" => Some(401),
        "billing_error" => Some(402),
        "permission_error" | "PERMISSION_DENIED" => Some(403),
        "not_found_error" | "model_not_found" | "NOT_FOUND" => Some(404),
        "request_too_large" | "exceed_context_size_error" => Some(413),
        "rate_limit_error" | "rate_limit_exceeded" | "insufficient_quota" | "RESOURCE_EXHAUSTED" => Some(429),
        "server_error" | "api_error" | "internal_error" | "internal_server_error" | "INTERNAL"
        | "InternalServerError" => Some(500),
        "server_is_overloaded" | "service_unavailable_error" | "UNAVAILABLE" => Some(503),
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
            || self.tells(&["flagged", "content management policy", "content policy"])
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
            || self.tells(&["specified api usage limits", "credit balance is too low"])
            || is_daily_quota(&self.body.raw)
    }

    fn is_model(&self) -> bool {
        self.says(&["model_not_found", "DeploymentNotFound"]) || self.tells(&["is not a valid model"])
    }

    fn is_capability(&self) -> bool {
        self.says(&["unsupported_parameter", "unsupported_value"])
            || self.tells(&["unsupported parameter", "not supported", "does not support"])
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
