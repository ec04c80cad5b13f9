//! Is the same upstream asked again, and when?
//!
//! The one place where that is decided. Pure: chance and time are brought along.

use std::time::Duration;

use crate::config::RetryConfig;
use crate::providers::{ProviderError, ProviderErrorKind};

/// What is known when a call has failed.
#[derive(Clone, Copy, Debug)]
pub struct Situation {
    /// Calls that this upstream had for this request.
    pub calls_here: u32,
    /// Calls that all upstreams had for it.
    pub calls: u32,
    /// Upstreams that were not asked yet and should not go without a call.
    pub others: u32,
    /// Time until the caller's deadline.
    pub time_left: Duration,
    /// Whether somebody else can be asked.
    pub has_next: bool,
    /// Drawn from [0, 1).
    pub draw: f64,
}

/// The status of an upstream that says that all of it is overloaded (Anthropic's): asking at once is of no use.
const ALL_OVERLOADED: u16 = 529;

/// Returns how long to wait before the upstream is asked again; `None` where it is not.
///
/// A wait that the upstream asked for is waited for where it is short; a longer one is a cooldown, and the next one is
/// asked. Without such a word the wait is drawn between nothing and a bound that doubles ("full jitter", AWS Architecture
/// Blog, "Exponential Backoff And Jitter"). A limit without a hint passes to the next upstream, if there is one.
pub fn wait_before_retry(error: &ProviderError, config: &RetryConfig, at: Situation) -> Option<Duration> {
    let Situation { calls_here, calls, others, time_left, has_next, draw } = at;
    let is_allowed = error.is_retryable()
        && calls_here < config.attempts_per_upstream
        && calls.saturating_add(others) < config.attempts_per_request;
    if !is_allowed {
        return None;
    }
    let wait = match error.wait_hint() {
        // A little more than was asked for: clocks differ, and others wait for the same moment.
        Some(hint) if hint <= Duration::from_millis(config.max_wait_ms) => {
            hint + backoff(config, 0).min(hint / 10).mul_f64(draw)
        }
        Some(_) => return None,
        None if has_next && prefers_the_next(error) => return None,
        None => backoff(config, calls_here.saturating_sub(1)).mul_f64(draw),
    };
    (wait < time_left).then_some(wait)
}

/// Returns whether this failure says that others will do better than another try here.
fn prefers_the_next(error: &ProviderError) -> bool {
    error.kind == ProviderErrorKind::RateLimited || error.status == Some(ALL_OVERLOADED)
}

/// Returns the longest wait before the nth retry, counted from zero.
fn backoff(config: &RetryConfig, retry: u32) -> Duration {
    let base = Duration::from_millis(config.base_ms);
    base.saturating_mul(1 << retry.min(20)).min(Duration::from_millis(config.cap_ms))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::providers::TransportFault;

    const FIRST: Situation = Situation {
        calls_here: 1,
        calls: 1,
        others: 1,
        time_left: Duration::from_secs(60),
        has_next: true,
        draw: 0.5,
    };

    fn failed(kind: ProviderErrorKind, hint_ms: Option<u64>) -> ProviderError {
        ProviderError { retry_after: hint_ms.map(Duration::from_millis), ..ProviderError::new(kind, "") }
    }

    fn wait(kind: ProviderErrorKind, hint_ms: Option<u64>, at: Situation) -> Option<Duration> {
        wait_before_retry(&failed(kind, hint_ms), &RetryConfig::default(), at)
    }

    #[test]
    fn a_short_hint_is_waited_for_and_a_long_one_is_not() {
        let waited = wait(ProviderErrorKind::RateLimited, Some(2_000), FIRST).unwrap();
        assert!(waited >= Duration::from_secs(2) && waited <= Duration::from_millis(2_250), "{waited:?}");
        assert_eq!(wait(ProviderErrorKind::RateLimited, Some(3_001), FIRST), None);
        assert_eq!(wait(ProviderErrorKind::Overloaded, Some(3_600_000), FIRST), None);
    }

    #[test]
    fn a_limit_without_a_hint_passes_to_the_next_if_there_is_one() {
        assert_eq!(wait(ProviderErrorKind::RateLimited, None, FIRST), None);
        let alone = Situation { has_next: false, ..FIRST };
        assert_eq!(wait(ProviderErrorKind::RateLimited, None, alone), Some(Duration::from_millis(125)));
        let all = ProviderError { status: Some(529), ..failed(ProviderErrorKind::Overloaded, None) };
        assert_eq!(wait_before_retry(&all, &RetryConfig::default(), FIRST), None);
    }

    #[test]
    fn nobody_goes_without_a_call_because_of_anothers_retry() {
        let error = ProviderErrorKind::ServerError;
        assert!(wait(error, None, Situation { calls: 3, others: 2, ..FIRST }).is_some());
        assert_eq!(wait(error, None, Situation { calls: 3, others: 3, ..FIRST }), None);
        assert_eq!(wait(ProviderErrorKind::RateLimited, Some(0), FIRST), None, "a zero is no hint");
    }

    #[test]
    fn what_is_the_callers_or_ours_or_was_silence_is_never_tried_again() {
        for kind in [
            ProviderErrorKind::QuotaGone,
            ProviderErrorKind::BadKey,
            ProviderErrorKind::ModelMissing,
            ProviderErrorKind::Timeout,
            ProviderErrorKind::Malformed,
            ProviderErrorKind::Capability,
            ProviderErrorKind::ContextTooLong,
            ProviderErrorKind::BadRequest,
            ProviderErrorKind::ContentPolicy,
            ProviderErrorKind::Refusal,
        ] {
            assert_eq!(wait(kind, None, FIRST), None, "{}", kind.name());
        }
        let told =
            ProviderError { should_retry: Some(false), ..failed(ProviderErrorKind::ServerError, None) };
        assert_eq!(wait_before_retry(&told, &RetryConfig::default(), FIRST), None);
    }

    proptest! {
        #[test]
        fn no_retry_is_one_too_many_or_too_late(
            calls_here in 1_u32..5,
            others in 0_u32..8,
            left_ms in 0_u64..10_000,
            hint_ms in prop::option::of(0_u64..10_000),
            has_next: bool,
            draw in 0.0..1.0,
        ) {
            let config = RetryConfig::default();
            let time_left = Duration::from_millis(left_ms);
            let at = Situation { calls_here, calls: calls_here + others, others: 0, time_left, has_next, draw };
            for kind in [
                ProviderErrorKind::RateLimited,
                ProviderErrorKind::Overloaded,
                ProviderErrorKind::ServerError,
                ProviderErrorKind::Transport(TransportFault::Reset),
            ] {
                if let Some(waited) = wait(kind, hint_ms, at) {
                    prop_assert!(calls_here < config.attempts_per_upstream);
                    prop_assert!(calls_here + others < config.attempts_per_request);
                    prop_assert!(waited < time_left);
                    prop_assert!(waited <= Duration::from_millis(config.cap_ms.max(config.max_wait_ms) + 300));
                }
            }
        }
    }
}
