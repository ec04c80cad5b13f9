//! Is an entry young enough for this request?

use std::time::Duration;

use crate::chat::{Entry, UnixMillis};

/// The ages a request accepts.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Accepts {
    /// The oldest answer that will do (`Cache-Control: max-age`).
    pub max_age: Option<Duration>,
    /// How long after its expiry an answer will still do (`Cache-Control: max-stale`).
    pub max_stale: Option<Duration>,
}

impl Accepts {
    /// Returns this acceptance with at least so long a time after the expiry. The oldest age stays the caller's word.
    #[must_use]
    pub fn or_stale_for(self, grace: Duration) -> Self {
        Self { max_stale: Some(self.max_stale.unwrap_or_default().max(grace)), ..self }
    }

    /// Returns the moment at which what expires just then is too old now.
    pub fn expired_before(&self, now: UnixMillis) -> UnixMillis {
        let grace = self.max_stale.unwrap_or_default().as_millis();
        UnixMillis(now.0.saturating_sub(i64::try_from(grace).unwrap_or(i64::MAX)))
    }

    /// Returns whether the entry may answer now.
    pub fn admits(&self, entry: &Entry, now: UnixMillis) -> bool {
        let expires_at = match self.max_stale {
            None => entry.expires_at,
            Some(grace) => entry.expires_at.after(grace),
        };
        let is_young = self.max_age.is_none_or(|oldest| now <= entry.created_at.after(oldest));
        now < expires_at && is_young
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::chat::{ChatRequest, ChatResponse, Fingerprint, ModelAlias, Namespace, TenantId};

    /// Made at one second, expired at two.
    fn entry() -> Entry {
        Entry {
            key: Fingerprint::from_bytes([0; 32]),
            tenant: TenantId::new("t"),
            namespace: Namespace::new("default"),
            user: None,
            model: ModelAlias::new("m"),
            request: Arc::new(ChatRequest::from_prompt("q")),
            answer: Arc::new(ChatResponse::default()),
            provider: String::new(),
            limit: None,
            created_at: UnixMillis(1_000),
            expires_at: UnixMillis(2_000),
            cost_usd: None,
            quality: None,
            tags: Vec::new(),
            semantic: None,
        }
    }

    #[test]
    fn a_grace_widens_what_the_caller_accepts_and_never_narrows_it() {
        let seconds = Duration::from_secs;
        for (max_stale, grace, until) in [
            (None, seconds(0), 2_000),
            (None, seconds(3), 5_000),
            (Some(seconds(1)), seconds(3), 5_000),
            (Some(seconds(5)), seconds(3), 7_000),
        ] {
            let accepts = Accepts { max_age: None, max_stale }.or_stale_for(grace);
            assert!(accepts.admits(&entry(), UnixMillis(until - 1)), "{max_stale:?} {grace:?}");
            assert!(!accepts.admits(&entry(), UnixMillis(until)), "{max_stale:?} {grace:?}");
            assert_eq!(accepts.expired_before(UnixMillis(until)), UnixMillis(2_000));
        }
        let young = Accepts { max_age: Some(seconds(2)), max_stale: None }.or_stale_for(seconds(60));
        assert!(young.admits(&entry(), UnixMillis(3_000)));
        assert!(!young.admits(&entry(), UnixMillis(3_001)));
    }
}
