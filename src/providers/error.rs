//! What an upstream's failure means for everybody involved.

use std::fmt;
use std::time::Duration;

use crate::transport::TransportError;
use crate::wire::Inexpressible;

/// The longest message of a vendor that is passed on, in characters.
const MESSAGE_CHARS_MAX: usize = 1_000;

/// Why an upstream gave no answer.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{}{}: {message}", kind.name(), StatusSuffix(*status))]
pub struct ProviderError {
    pub kind: ProviderErrorKind,
    /// The status of the response, if one came; for an error inside a good response the status that it stands for.
    pub status: Option<u16>,
    /// The vendor's words where the caller is at fault, cut to a sane length; else our own, which quote nothing that
    /// came from the vendor, since vendors put pieces of keys and prompts into their messages.
    pub message: String,
    /// The vendor's code.
    pub code: Option<String>,
    /// The field of the request at fault.
    pub param: Option<String>,
    /// How long the vendor asks to be left alone.
    pub retry_after: Option<Duration>,
    /// What the vendor says of trying again (`x-should-retry`), which counts before the class.
    pub should_retry: Option<bool>,
    /// Whether it says nothing of the upstream's health whatever its class is: we were in a hurry, or the prompt itself
    /// asked for what is no answer.
    pub is_blameless: bool,
    /// Whether a quota that is gone is that of one model, and others of the same account may have theirs.
    pub is_of_model: bool,
}

struct StatusSuffix(Option<u16>);

impl fmt::Display for StatusSuffix {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.map_or(Ok(()), |status| write!(f, " ({status})"))
    }
}

/// The class of a failure; everything else follows from it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum ProviderErrorKind {
    /// We ask too often; later is fine.
    RateLimited,
    /// Everybody asks too often.
    Overloaded,
    /// Nothing is left to spend; only a person or the calendar can change that.
    QuotaGone,
    ServerError,
    Transport(TransportFault),
    /// Some time limit of ours passed.
    Timeout,
    /// It answered, but not with an answer.
    Malformed,
    /// It does not take us for a customer.
    BadKey,
    ModelMissing,
    /// The model cannot do what a parameter asks for.
    Capability,
    ContextTooLong,
    BadRequest,
    /// The vendor would not look at the request, or not show the answer.
    ContentPolicy,
    /// The model would not answer. It said so in an answer, which is passed on as one.
    Refusal,
}

/// Where a connection failed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum TransportFault {
    /// Before anything was sent.
    Connect,
    /// It could not prove who it is, so nothing was sent.
    Untrusted,
    /// After something was sent.
    Reset,
}

impl ProviderErrorKind {
    /// Returns the metric label.
    pub const fn name(self) -> &'static str {
        match self {
            Self::RateLimited => "rate_limited",
            Self::Overloaded => "overloaded",
            Self::QuotaGone => "quota_gone",
            Self::ServerError => "server_error",
            Self::Transport(TransportFault::Connect) => "connect",
            Self::Transport(TransportFault::Untrusted) => "tls",
            Self::Transport(TransportFault::Reset) => "reset",
            Self::Timeout => "timeout",
            Self::Malformed => "malformed",
            Self::BadKey => "bad_key",
            Self::ModelMissing => "model_missing",
            Self::Capability => "capability",
            Self::ContextTooLong => "context_too_long",
            Self::BadRequest => "bad_request",
            Self::ContentPolicy => "content_policy",
            Self::Refusal => "refusal",
        }
    }

    /// Returns whether the request itself is wrong, so that its sender gets to read the vendor's words.
    pub const fn is_callers_fault(self) -> bool {
        match self {
            Self::Capability
            | Self::ContextTooLong
            | Self::BadRequest
            | Self::ContentPolicy
            | Self::Refusal => true,
            Self::RateLimited
            | Self::Overloaded
            | Self::QuotaGone
            | Self::ServerError
            | Self::Transport(_)
            | Self::Timeout
            | Self::Malformed
            | Self::BadKey
            | Self::ModelMissing => false,
        }
    }

    /// Returns whether the upstream as good as could not be asked: it is limited or overloaded, or our account, our key
    /// or the model is of no use there.
    pub const fn is_out_of_reach(self) -> bool {
        match self {
            Self::RateLimited | Self::Overloaded | Self::QuotaGone | Self::BadKey | Self::ModelMissing => {
                true
            }
            Self::ServerError
            | Self::Transport(_)
            | Self::Timeout
            | Self::Malformed
            | Self::Capability
            | Self::ContextTooLong
            | Self::BadRequest
            | Self::ContentPolicy
            | Self::Refusal => false,
        }
    }

    /// Returns whether another upstream may do better. A context that is too long for one model may fit another; a
    /// refused content must not be carried from vendor to vendor until one takes it.
    pub const fn may_fail_over(self) -> bool {
        match self {
            Self::BadRequest | Self::ContentPolicy | Self::Refusal => false,
            Self::RateLimited
            | Self::Overloaded
            | Self::QuotaGone
            | Self::ServerError
            | Self::Transport(_)
            | Self::Timeout
            | Self::Malformed
            | Self::BadKey
            | Self::ModelMissing
            | Self::Capability
            | Self::ContextTooLong => true,
        }
    }

    /// Returns whether the same upstream may do better in a moment. A limit is waited for if the wait is short; an
    /// upstream that was silent is not asked again in the same request.
    pub const fn is_retryable(self) -> bool {
        match self {
            Self::RateLimited
            | Self::Overloaded
            | Self::ServerError
            | Self::Transport(TransportFault::Connect | TransportFault::Reset) => true,
            Self::QuotaGone
            | Self::Transport(TransportFault::Untrusted)
            | Self::Timeout
            | Self::Malformed
            | Self::BadKey
            | Self::ModelMissing
            | Self::Capability
            | Self::ContextTooLong
            | Self::BadRequest
            | Self::ContentPolicy
            | Self::Refusal => false,
        }
    }

    /// Returns whether it speaks against the upstream's health. A limit, an empty account or a wrong key says nothing
    /// of that, and a caller's mistake still less.
    pub const fn counts_against_breaker(self) -> bool {
        match self {
            Self::Overloaded | Self::ServerError | Self::Transport(_) | Self::Timeout | Self::Malformed => {
                true
            }
            Self::RateLimited
            | Self::QuotaGone
            | Self::BadKey
            | Self::ModelMissing
            | Self::Capability
            | Self::ContextTooLong
            | Self::BadRequest
            | Self::ContentPolicy
            | Self::Refusal => false,
        }
    }
}

impl ProviderError {
    /// Builds a failure without a response to it, in our own words.
    pub fn new(kind: ProviderErrorKind, message: impl fmt::Display) -> Self {
        Self {
            kind,
            status: None,
            message: message.to_string().chars().take(MESSAGE_CHARS_MAX).collect(),
            code: None,
            param: None,
            retry_after: None,
            should_retry: None,
            is_blameless: false,
            is_of_model: false,
        }
    }

    /// Returns this failure as one that says nothing of the upstream's health.
    #[must_use]
    pub fn blameless(self) -> Self {
        Self { is_blameless: true, ..self }
    }

    /// Returns whether the same upstream may be asked again: as it says itself, else by its class.
    pub fn is_retryable(&self) -> bool {
        self.should_retry.unwrap_or(true) && self.kind.is_retryable()
    }

    /// Returns whether another upstream may be asked.
    pub const fn may_fail_over(&self) -> bool {
        self.kind.may_fail_over()
    }

    /// Returns whether it speaks against the upstream's health.
    pub const fn counts_against_breaker(&self) -> bool {
        !self.is_blameless && self.kind.counts_against_breaker()
    }

    /// Returns whether it was the connection that took too long, and not what was asked over it.
    pub fn is_of_connecting(&self) -> bool {
        self.message == TransportError::ConnectTimeout.to_string()
    }

    /// Returns whether the upstream cannot prove who it is, or sends us elsewhere: going on would hand the key to a
    /// stranger.
    pub fn is_untrusted(&self) -> bool {
        let is_redirect = self.status.is_some_and(|status| (300..400).contains(&status));
        is_redirect || self.kind == ProviderErrorKind::Transport(TransportFault::Untrusted)
    }

    /// Returns how long the upstream is to be left alone, where it said so and waiting is of use. A zero only means that
    /// it minds no other call, and not that one would help.
    pub fn wait_hint(&self) -> Option<Duration> {
        let hint = match self.kind {
            ProviderErrorKind::RateLimited
            | ProviderErrorKind::Overloaded
            | ProviderErrorKind::ServerError
            | ProviderErrorKind::QuotaGone => self.retry_after,
            ProviderErrorKind::Transport(_)
            | ProviderErrorKind::Timeout
            | ProviderErrorKind::Malformed
            | ProviderErrorKind::BadKey
            | ProviderErrorKind::ModelMissing
            | ProviderErrorKind::Capability
            | ProviderErrorKind::ContextTooLong
            | ProviderErrorKind::BadRequest
            | ProviderErrorKind::ContentPolicy
            | ProviderErrorKind::Refusal => None,
        };
        hint.filter(|wait| !wait.is_zero())
    }

    /// Builds the failure of an answer that is none.
    pub fn malformed(reason: impl fmt::Display) -> Self {
        Self::new(ProviderErrorKind::Malformed, reason)
    }

    /// Builds the failure of a stream that ended before its answer did.
    pub fn broken_off() -> Self {
        Self::malformed("the stream ended without a finish reason")
    }

    /// Builds the failure of an upstream that took longer than we wait: `phase` says for what.
    pub fn timeout(phase: &str) -> Self {
        Self::new(ProviderErrorKind::Timeout, format_args!("no {phase} in time"))
    }

    /// Returns the word for this attempt in `x-upstream-attempts`: the status where the upstream answered with a
    /// failure, else how it failed. A bad answer under a good status is `malformed`, not `200`.
    pub fn attempt_label(&self) -> String {
        match (self.kind, self.status) {
            (ProviderErrorKind::Transport(TransportFault::Untrusted), _) => {
                ProviderErrorKind::Transport(TransportFault::Connect).name().to_owned()
            }
            (
                ProviderErrorKind::Transport(_) | ProviderErrorKind::Timeout | ProviderErrorKind::Malformed,
                _,
            )
            | (_, None) => self.kind.name().to_owned(),
            (_, Some(status)) => status.to_string(),
        }
    }
}

impl From<Inexpressible> for ProviderError {
    fn from(error: Inexpressible) -> Self {
        let said = Self::new(ProviderErrorKind::Capability, &error);
        Self { param: Some(error.field), code: Some("unsupported_parameter".to_owned()), ..said }
    }
}

impl From<TransportError> for ProviderError {
    fn from(error: TransportError) -> Self {
        let kind = match error {
            TransportError::Resolve | TransportError::Connect | TransportError::Client => {
                ProviderErrorKind::Transport(TransportFault::Connect)
            }
            TransportError::Tls => ProviderErrorKind::Transport(TransportFault::Untrusted),
            TransportError::Reset => ProviderErrorKind::Transport(TransportFault::Reset),
            TransportError::ConnectTimeout | TransportError::Deadline => ProviderErrorKind::Timeout,
            TransportError::TooLarge | TransportError::Encoding => ProviderErrorKind::Malformed,
        };
        Self::new(kind, error)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_attempt_is_named_by_its_status_or_by_how_it_failed() {
        let answered = |kind, status| ProviderError { status: Some(status), ..ProviderError::new(kind, "") };
        for (error, label) in [
            (answered(ProviderErrorKind::RateLimited, 429), "429"),
            (answered(ProviderErrorKind::Malformed, 204), "malformed"),
            (ProviderError::broken_off(), "malformed"),
            (ProviderError::timeout("first token"), "timeout"),
            (TransportError::Resolve.into(), "connect"),
            (TransportError::Tls.into(), "connect"),
            (TransportError::ConnectTimeout.into(), "timeout"),
            (TransportError::Deadline.into(), "timeout"),
            (TransportError::Reset.into(), "reset"),
            (TransportError::TooLarge.into(), "malformed"),
        ] {
            assert_eq!(error.attempt_label(), label, "{error}");
        }
    }

    #[test]
    fn an_error_shows_its_class_status_and_message() {
        let error = ProviderError {
            status: Some(429),
            ..ProviderError::new(ProviderErrorKind::RateLimited, "the upstream answered with an error")
        };
        assert_eq!(error.to_string(), "rate_limited (429): the upstream answered with an error");
        let long = ProviderError::new(ProviderErrorKind::BadRequest, "é".repeat(5_000));
        assert_eq!(long.message.chars().count(), MESSAGE_CHARS_MAX);
    }
}
