//! What the caller wants of the cache, beside the request itself.

use std::time::Duration;

use super::{Namespace, TenantId};
use crate::config::CacheMode;

/// The caller's wishes, judged at the edge: who asks, and how the cache may be used.
#[derive(Clone, Debug, PartialEq)]
pub struct Directives {
    /// Whose cache it is.
    pub tenant: TenantId,
    pub namespace: Namespace,
    /// How much of the cache may be used; configuration may narrow it further.
    pub mode: CacheMode,
    /// How long an answer may live; `None` takes the route's value.
    pub ttl: Option<Duration>,
    /// The lowest cosine similarity of a semantic hit; below the configured value the configured one applies.
    pub threshold: Option<f32>,
    /// Forced refresh: do not read the cache, but write to it.
    pub no_cache: bool,
    /// Read the cache, but never write to it.
    pub no_store: bool,
    /// Answer from the cache or not at all.
    pub only_if_cached: bool,
    /// The oldest answer that will do.
    pub max_age: Option<Duration>,
    /// How long after its expiry an answer will still do.
    pub max_stale: Option<Duration>,
    /// Labels to invalidate by.
    pub tags: Vec<String>,
    /// The service type, such as `summary`.
    pub task: Option<String>,
    /// How long the caller waits for the answer; `None` takes the server's value.
    pub deadline: Option<Duration>,
}

impl Directives {
    /// Returns the wishes of a caller of this tenant who said nothing: read everything, write everything.
    pub fn of(tenant: TenantId) -> Self {
        Self {
            tenant,
            namespace: Namespace::new("default"),
            mode: CacheMode::Semantic,
            ttl: None,
            threshold: None,
            no_cache: false,
            no_store: false,
            only_if_cached: false,
            max_age: None,
            max_stale: None,
            tags: Vec::new(),
            task: None,
            deadline: None,
        }
    }

    /// Returns whether the cache is to be left alone altogether.
    pub fn is_bypass(&self) -> bool {
        self.mode == CacheMode::Off || (self.no_cache && self.no_store)
    }
}
