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
}

impl Source {
    /// Returns the word of `x-cache-source` and of the metric label.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Exact => "exact",
            Self::Semantic => "semantic",
            Self::Upstream => "upstream",
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
        ] {
            assert_eq!(status.to_string(), text);
        }
    }
}
