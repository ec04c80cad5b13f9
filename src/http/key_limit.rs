//! How many requests the holders of one key may make together.

use std::num::NonZeroU32;
use std::time::Duration;

use axum::http::header::HeaderName;
use axum::http::{HeaderMap, HeaderValue};
use governor::clock::{Clock, MonotonicClock};
use governor::middleware::StateInformationMiddleware;
use governor::state::{InMemoryState, NotKeyed};
use governor::{Quota, RateLimiter};

use super::headers::written;

const POLICY: HeaderName = HeaderName::from_static("ratelimit-policy");
const LEFT: HeaderName = HeaderName::from_static("ratelimit");

/// A bucket that holds a minute's requests and is refilled evenly (GCRA), without a lock.
#[derive(Debug)]
pub(super) struct KeyLimit {
    per_minute: NonZeroU32,
    limiter: RateLimiter<NotKeyed, InMemoryState, MonotonicClock, StateInformationMiddleware>,
    policy: HeaderValue,
}

impl KeyLimit {
    /// Returns a full bucket.
    pub(super) fn new(per_minute: NonZeroU32) -> Self {
        Self {
            per_minute,
            limiter: RateLimiter::direct_with_clock(Quota::per_minute(per_minute), MonotonicClock)
                .with_middleware(),
            policy: written(format_args!("\"requests\";q={per_minute};w=60")),
        }
    }

    /// Returns how many requests a minute it lets through.
    pub(super) fn per_minute(&self) -> NonZeroU32 {
        self.per_minute
    }

    /// Lets a request through and returns how many more would be let through now, or the time until the next one is.
    pub(super) fn take(&self) -> Result<u32, Duration> {
        match self.limiter.check() {
            Ok(state) => Ok(state.remaining_burst_capacity()),
            Err(not_until) => Err(not_until.wait_time_from(self.limiter.clock().now())),
        }
    }

    /// Says in a response what the limit is and what is left of it, in the fields of the IETF's draft.
    pub(super) fn say(&self, taken: &Result<u32, Duration>, headers: &mut HeaderMap) {
        let left = match taken {
            Ok(left) => written(format_args!("\"requests\";r={left}")),
            Err(wait) => written(format_args!("\"requests\";r=0;t={}", wait.as_secs() + 1)),
        };
        headers.insert(POLICY, self.policy.clone());
        headers.insert(LEFT, left);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn limit(per_minute: u32) -> KeyLimit {
        KeyLimit::new(NonZeroU32::new(per_minute).unwrap())
    }

    #[test]
    fn a_minutes_requests_may_come_at_once_and_the_next_one_waits_its_share_of_the_minute() {
        let limit = limit(3);
        let taken: Vec<_> = (0..3).map(|_| limit.take()).collect();
        assert_eq!(taken, [Ok(2), Ok(1), Ok(0)]);
        let wait = limit.take().unwrap_err();
        assert!(wait <= Duration::from_secs(20) && wait > Duration::from_secs(15), "{wait:?}");
    }

    #[test]
    fn what_is_left_is_said() {
        let limit = limit(60);
        let mut headers = HeaderMap::new();
        limit.say(&Ok(7), &mut headers);
        assert_eq!(headers["ratelimit-policy"], "\"requests\";q=60;w=60");
        assert_eq!(headers["ratelimit"], "\"requests\";r=7");
        limit.say(&Err(Duration::from_millis(12_300)), &mut headers);
        assert_eq!(headers["ratelimit"], "\"requests\";r=0;t=13");
    }
}
