//! What there is to say of upstreams' health, for people and their tools.

use std::num::NonZeroU32;

use crate::chat::UnixMillis;

/// How one upstream is, over all its models.
#[derive(Clone, Debug, PartialEq)]
pub struct UpstreamHealth {
    pub name: String,
    /// Why nothing of it is asked, where that is so for all its models.
    pub parked: Option<Parked>,
    /// Of all its models: the worst state, the sums, the latest moments.
    pub overall: Condition,
    /// Each model that was asked so far, by its name.
    pub models: Vec<(String, Condition)>,
}

impl UpstreamHealth {
    /// Returns whether it would be asked now for every model that it was asked for.
    pub fn is_healthy(&self) -> bool {
        self.parked.is_none() && self.overall.is_healthy
    }
}

/// How much room an upstream has for calls that can wait.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Room {
    /// Whether it would be asked now for every model that it was asked for.
    pub is_well: bool,
    /// Calls that it may be asked at a time, calls under way, and those that wait for their place.
    pub places: usize,
    pub in_use: usize,
    pub waiting: usize,
    pub requests_per_minute: Option<NonZeroU32>,
}

/// Why an upstream is left alone until the configuration is loaded anew, or a rare probe succeeds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Parked {
    /// It does not take our key.
    BadKey,
    /// Nothing is left to spend.
    QuotaGone,
}

impl Parked {
    /// Returns the word for it.
    pub const fn name(self) -> &'static str {
        match self {
            Self::BadKey => "bad_key",
            Self::QuotaGone => "quota_gone",
        }
    }
}

/// How one model of an upstream is.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Condition {
    /// Whether it would be asked now.
    pub is_healthy: bool,
    pub breaker: BreakerState,
    /// When the breaker lets the next call through, where it is open.
    pub open_until: Option<UnixMillis>,
    /// Until when the upstream asked to be left alone.
    pub rate_limited_until: Option<UnixMillis>,
    pub consecutive_failures: u32,
    pub last_success: Option<UnixMillis>,
    /// Calls under way.
    pub in_flight: usize,
    /// Of the last calls that went well, to their last byte.
    pub latency_ms: Option<Percentiles>,
    /// Of the same calls, to their first token.
    pub first_token_ms: Option<Percentiles>,
}

impl Condition {
    /// Returns what many come to: the worst state, the sums, the latest moments, the percentiles of the slowest.
    pub(super) fn of_all<'a>(all: impl Iterator<Item = &'a Self>) -> Self {
        let nothing = Self { is_healthy: true, ..Self::default() };
        all.fold(nothing, |overall, one| Self {
            is_healthy: overall.is_healthy && one.is_healthy,
            breaker: overall.breaker.max(one.breaker),
            open_until: overall.open_until.max(one.open_until),
            rate_limited_until: overall.rate_limited_until.max(one.rate_limited_until),
            consecutive_failures: overall.consecutive_failures.max(one.consecutive_failures),
            last_success: overall.last_success.max(one.last_success),
            in_flight: overall.in_flight + one.in_flight,
            latency_ms: slower(overall.latency_ms, one.latency_ms),
            first_token_ms: slower(overall.first_token_ms, one.first_token_ms),
        })
    }
}

fn slower(one: Option<Percentiles>, other: Option<Percentiles>) -> Option<Percentiles> {
    match (one, other) {
        (Some(one), Some(other)) => Some(if one.p95 >= other.p95 { one } else { other }),
        (one, other) => one.or(other),
    }
}

/// The usual words.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub enum BreakerState {
    /// Calls pass.
    #[default]
    Closed,
    /// A probe may pass.
    HalfOpen,
    /// No call passes.
    Open,
}

impl BreakerState {
    /// Returns the word for it.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Closed => "closed",
            Self::HalfOpen => "half_open",
            Self::Open => "open",
        }
    }
}

/// Milliseconds.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Percentiles {
    pub p50: f64,
    pub p95: f64,
    pub p99: f64,
}
