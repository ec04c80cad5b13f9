//! Where an answer came from, in the words of the response headers.

use std::fmt;

/// Who answered.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Source {
    /// The cache, for an equal request.
    Exact,
    /// The cache, for a similar one.
    Semantic,
    /// A provider.
    Upstream,
    /// The cache, for an equal request, with an answer past its time.
    Stale,
    /// The cache, for a request less similar than would do otherwise.
    Nearest,
    /// Sentences of the request's own text.
    Extractive,
    /// The beginning of the request's own text.
    Truncated,
    /// A text of the operator's.
    Static,
}

impl Source {
    /// Returns the word of `x-cache-source` and of the metric label.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Exact => "exact",
            Self::Semantic => "semantic",
            Self::Upstream => "upstream",
            Self::Stale => "stale",
            Self::Nearest => "nearest",
            Self::Extractive => "extractive",
            Self::Truncated => "truncated",
            Self::Static => "static",
        }
    }

    /// Returns whether the answer lay in the cache, and so has an age.
    pub const fn is_from_cache(self) -> bool {
        match self {
            Self::Exact | Self::Semantic | Self::Stale | Self::Nearest => true,
            Self::Upstream | Self::Extractive | Self::Truncated | Self::Static => false,
        }
    }
}

/// Why a step of the ladder answered.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Degraded {
    /// Whoever could be asked was, in vain.
    AllUpstreamsFailed,
    /// Nobody could be asked: each upstream is limited, parked or left alone.
    UpstreamsUnavailable,
    /// There was no answer in time.
    Deadline,
    /// Asking is switched off.
    AiDisabled,
    /// There is nobody to ask.
    NoProvider,
    /// Too much is under way already.
    Overloaded,
    /// The generation was given up: its task fell, or the server is about to stop.
    Interrupted,
}

impl Degraded {
    /// Returns the word of `x-degraded`.
    pub const fn name(self) -> &'static str {
        match self {
            Self::AllUpstreamsFailed => "all-upstreams-failed",
            Self::UpstreamsUnavailable => "upstreams-unavailable",
            Self::Deadline => "deadline",
            Self::AiDisabled => "ai-disabled",
            Self::NoProvider => "no-provider",
            Self::Overloaded => "overloaded",
            Self::Interrupted => "interrupted",
        }
    }
}

/// Which tier of the cache answered.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Tier {
    Memory,
    Store,
    Semantic,
}

impl Tier {
    /// Returns the word of `x-cache-tier` and of the metric label.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Memory => "memory",
            Self::Store => "store",
            Self::Semantic => "semantic",
        }
    }
}

/// What the cache did with a request: the value of `cache-status` (RFC 9211), written with the spaces that people read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CacheStatus {
    Hit {
        ttl_seconds: i64,
        detail: Source,
    },
    /// Nothing fitting was there.
    Miss {
        /// Whether the answer was taken into the memory tier; `None` while it is not known yet.
        stored: Option<bool>,
        /// Whether somebody else had asked the same and was already on the way.
        collapsed: bool,
    },
    /// The caller asked for a fresh answer.
    Refresh {
        stored: Option<bool>,
    },
    /// The cache was left alone.
    Bypass,
    /// An answer past its time was given at once, while a fresh one is made.
    Revalidating {
        ttl_seconds: i64,
    },
    /// A step of the ladder answered.
    Degraded {
        step: Source,
        forward: Forward,
        /// Whether anybody was asked before.
        was_asked: bool,
        /// The status of the last call; `None` where there was no call, or no status.
        status: Option<u16>,
        /// Seconds of freshness left, for an answer from the cache.
        ttl_seconds: Option<i64>,
    },
}

/// Why the cache alone would not do: the parameter `fwd`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Forward {
    Miss,
    Request,
    Bypass,
}

impl Forward {
    const fn name(self) -> &'static str {
        match self {
            Self::Miss => "miss",
            Self::Request => "request",
            Self::Bypass => "bypass",
        }
    }
}

impl fmt::Display for CacheStatus {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let stored = |stored: &Option<bool>| if *stored == Some(true) { "; stored" } else { "" };
        match self {
            Self::Hit { ttl_seconds, detail } => {
                write!(f, "refrain; hit; ttl={ttl_seconds}; detail={}", detail.name())
            }
            Self::Miss { collapsed: true, .. } => f.write_str("refrain; fwd=miss; collapsed"),
            Self::Miss { stored: done, collapsed: false } => {
                write!(f, "refrain; fwd=miss{}", stored(done))
            }
            Self::Refresh { stored: done } => write!(f, "refrain; fwd=request{}", stored(done)),
            Self::Bypass => f.write_str("refrain; fwd=bypass"),
            Self::Revalidating { ttl_seconds } => {
                write!(f, "refrain; hit; ttl={ttl_seconds}; detail=stale-while-revalidate")
            }
            Self::Degraded { step: Source::Stale, was_asked: false, ttl_seconds: Some(ttl), .. } => {
                write!(f, "refrain; hit; ttl={ttl}")
            }
            Self::Degraded { step, was_asked: false, ttl_seconds: Some(ttl), .. } => {
                write!(f, "refrain; hit; ttl={ttl}; detail={}", step.name())
            }
            Self::Degraded { step, forward, was_asked: _, status, ttl_seconds } => {
                let (forward, detail) = match (step, forward) {
                    (Source::Stale, Forward::Miss) => ("stale", "stale-if-error"),
                    (Source::Stale, forward) => (forward.name(), "stale-if-error"),
                    (step, forward) => (forward.name(), step.name()),
                };
                write!(f, "refrain; fwd={forward}")?;
                if let Some(status) = status {
                    write!(f, "; fwd-status={status}")?;
                }
                if let Some(ttl) = ttl_seconds {
                    write!(f, "; ttl={ttl}")?;
                }
                write!(f, "; detail={detail}")
            }
        }
    }
}

/// One call of an upstream, for `x-upstream-attempts`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Attempt {
    /// `provider/model`.
    pub upstream: String,
    /// A status, or `connect`, `timeout`, `reset`, `malformed`.
    pub result: String,
}

impl fmt::Display for Attempt {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{};{}", self.upstream, self.result)
    }
}

/// Milliseconds spent in each phase, for `server-timing`; `None` for a phase that was not entered.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Timing {
    /// The exact tiers.
    pub cache: Option<f64>,
    pub embed: Option<f64>,
    pub search: Option<f64>,
    /// The second look at neighbours.
    pub verify: Option<f64>,
    pub upstream: Option<f64>,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cache_status_reads_as_the_contract_writes_it() {
        for (status, text) in [
            (
                CacheStatus::Hit { ttl_seconds: 812, detail: Source::Semantic },
                "refrain; hit; ttl=812; detail=semantic",
            ),
            (CacheStatus::Miss { stored: Some(true), collapsed: false }, "refrain; fwd=miss; stored"),
            (CacheStatus::Miss { stored: None, collapsed: false }, "refrain; fwd=miss"),
            (CacheStatus::Miss { stored: Some(true), collapsed: true }, "refrain; fwd=miss; collapsed"),
            (CacheStatus::Refresh { stored: None }, "refrain; fwd=request"),
            (CacheStatus::Bypass, "refrain; fwd=bypass"),
            (
                CacheStatus::Revalidating { ttl_seconds: -5 },
                "refrain; hit; ttl=-5; detail=stale-while-revalidate",
            ),
        ] {
            assert_eq!(status.to_string(), text);
        }
    }

    #[test]
    fn the_status_of_a_step_tells_whether_anybody_was_asked() {
        let (miss, request, bypass) = (Forward::Miss, Forward::Request, Forward::Bypass);
        for (step, forward, asked, status, ttl_seconds, text) in [
            (
                Source::Stale,
                miss,
                true,
                Some(503),
                Some(-120),
                "fwd=stale; fwd-status=503; ttl=-120; detail=stale-if-error",
            ),
            (Source::Stale, miss, true, None, Some(-120), "fwd=stale; ttl=-120; detail=stale-if-error"),
            (Source::Stale, miss, false, None, Some(-120), "hit; ttl=-120"),
            (
                Source::Stale,
                request,
                true,
                Some(500),
                Some(9),
                "fwd=request; fwd-status=500; ttl=9; detail=stale-if-error",
            ),
            (
                Source::Nearest,
                miss,
                true,
                Some(429),
                Some(7),
                "fwd=miss; fwd-status=429; ttl=7; detail=nearest",
            ),
            (Source::Nearest, miss, false, None, Some(7), "hit; ttl=7; detail=nearest"),
            (Source::Extractive, miss, true, Some(503), None, "fwd=miss; fwd-status=503; detail=extractive"),
            (Source::Truncated, request, true, None, None, "fwd=request; detail=truncated"),
            (Source::Static, bypass, false, None, None, "fwd=bypass; detail=static"),
        ] {
            let status = CacheStatus::Degraded { step, forward, was_asked: asked, status, ttl_seconds };
            assert_eq!(status.to_string(), format!("refrain; {text}"));
        }
    }
}
