//! An answer in the cache, with what must be known to serve it again.

use std::sync::Arc;
use std::time::Duration;

use super::{
    ChatRequest, ChatResponse, EndUser, Fingerprint, ModelAlias, Namespace, OwnerNames, SemanticKey, TenantId,
};

/// A moment in milliseconds since the Unix epoch, on the wall clock.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct UnixMillis(pub i64);

impl UnixMillis {
    /// Returns the moment this long after; the far future where that overflows.
    pub fn after(self, span: Duration) -> Self {
        Self(self.0.saturating_add(i64::try_from(span.as_millis()).unwrap_or(i64::MAX)))
    }

    /// Returns the time from `earlier` to this moment, negative when it is the later one.
    pub const fn millis_since(self, earlier: Self) -> i64 {
        self.0.saturating_sub(earlier.0)
    }
}

/// A stored answer.
#[derive(Clone, Debug, PartialEq)]
pub struct Entry {
    pub key: Fingerprint,
    pub tenant: TenantId,
    pub namespace: Namespace,
    /// The end user it belongs to, where the route's scope is `user`.
    pub user: Option<EndUser>,
    pub model: ModelAlias,
    /// The request that was answered, whole, so that it can be refreshed, keyed anew and exported.
    pub request: Arc<ChatRequest>,
    pub answer: Arc<ChatResponse>,
    /// The upstream that wrote the answer.
    pub provider: String,
    /// The output limit it was written under, in tokens.
    pub limit: Option<u32>,
    pub created_at: UnixMillis,
    /// The end of its life as a fresh answer; no hit ever moves it.
    pub expires_at: UnixMillis,
    /// What the generation cost in USD, where that is known.
    pub cost_usd: Option<f64>,
    /// What it was found to be worth, in [0, 1]; `None` where nobody has looked.
    pub quality: Option<f64>,
    pub tags: Vec<String>,
    /// What a request that is only similar must have in common with this one; `None` where only an equal one will do.
    pub semantic: Option<SemanticKey>,
}

impl Entry {
    /// Returns the names that the entry's key was made with.
    pub fn owner_names(&self) -> OwnerNames<'_> {
        OwnerNames { tenant: &self.tenant, user: self.user.as_ref(), namespace: &self.namespace }
    }

    /// Returns whether this answer is what a request with that output limit would have got.
    ///
    /// It is if the answer fits the limit; where the vendor did not count its tokens, if the limit is no tighter than the one
    /// it was written under. An answer in the cache always ended by itself, so a request without a limit is served.
    pub fn serves_limit(&self, limit: Option<u32>) -> bool {
        let Some(limit) = limit else { return true };
        match &self.answer.usage {
            Some(usage) if !usage.is_estimated => u64::from(limit) >= usage.completion_tokens,
            _ => self.limit.is_some_and(|written_under| limit >= written_under),
        }
    }

    /// Returns whether it is still fresh.
    pub fn is_fresh(&self, now: UnixMillis) -> bool {
        now < self.expires_at
    }

    /// Returns the time since the answer was made, in whole seconds, never negative.
    pub fn age_seconds(&self, now: UnixMillis) -> u64 {
        u64::try_from(now.millis_since(self.created_at) / 1000).unwrap_or(0)
    }

    /// Returns the seconds of freshness left, negative after the expiry.
    pub fn ttl_seconds(&self, now: UnixMillis) -> i64 {
        self.expires_at.millis_since(now).div_euclid(1000)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::chat::{Choice, FinishReason, Usage};

    fn entry(limit: Option<u32>, completion_tokens: Option<u64>) -> Entry {
        Entry {
            key: Fingerprint::from_bytes([0; 32]),
            tenant: TenantId::new("t"),
            namespace: Namespace::new("default"),
            user: None,
            model: ModelAlias::new("default"),
            request: Arc::new(ChatRequest::from_prompt("q")),
            answer: Arc::new(ChatResponse {
                id: "1".into(),
                created: 0,
                model: "m".into(),
                choices: vec![Choice { finish: Some(FinishReason::Stop), ..Choice::default() }],
                usage: completion_tokens
                    .map(|completion_tokens| Usage { completion_tokens, ..Usage::default() }),
                ..ChatResponse::default()
            }),
            provider: "p".into(),
            limit,
            created_at: UnixMillis(1_000),
            expires_at: UnixMillis(3_000),
            cost_usd: None,
            quality: None,
            tags: Vec::new(),
            semantic: None,
        }
    }

    #[test]
    fn a_counted_answer_serves_every_limit_it_fits() {
        let entry = entry(Some(100), Some(40));
        assert!(entry.serves_limit(Some(40)));
        assert!(entry.serves_limit(None));
        assert!(!entry.serves_limit(Some(39)));
    }

    #[test]
    fn an_uncounted_answer_serves_limits_no_tighter_than_its_own() {
        assert!(entry(Some(100), None).serves_limit(Some(100)));
        assert!(!entry(Some(100), None).serves_limit(Some(99)));
        assert!(!entry(None, None).serves_limit(Some(1_000)));
        let mut estimated = entry(Some(100), Some(40));
        let answer = Arc::make_mut(&mut estimated.answer);
        answer.usage.as_mut().unwrap().is_estimated = true;
        assert!(!estimated.serves_limit(Some(99)));
    }

    #[test]
    fn freshness_ends_at_the_expiry_and_ttl_goes_below_zero() {
        let entry = entry(None, None);
        assert!(entry.is_fresh(UnixMillis(2_999)));
        assert!(!entry.is_fresh(UnixMillis(3_000)));
        assert_eq!(entry.ttl_seconds(UnixMillis(4_500)), -2);
        assert_eq!(entry.age_seconds(UnixMillis(0)), 0);
    }
}
