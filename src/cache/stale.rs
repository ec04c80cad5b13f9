//! What the ladder may take from the cache when nobody else answers: entries past their time, and less similar ones.
//!
//! The look-up before it found nothing, and was counted as a miss. These reads are not counted among the look-ups:
//! what they find is counted as a degraded answer.

use std::time::Duration;

use super::{Cache, Hit, Question};
use crate::chat::{Fingerprint, Tier};
use crate::config::CacheMode;
use crate::embed::Embedding;

impl Cache {
    /// Returns the entry of an equal request, expired no longer ago than this, or than the caller accepts. Memory is
    /// asked, then the store within its budget.
    pub async fn stale(&self, question: &Question<'_>, expired_for: Duration) -> Option<Hit> {
        let question = Question { grace: question.grace.max(expired_for), ..*question };
        let now = self.now();
        let (entry, tier) = match self.in_memory(&question, now) {
            Some(entry) => (entry, Tier::Memory),
            None => (self.read_store(&question, now).await.0?, Tier::Store),
        };
        self.hits.note(entry.key, now);
        Some(Hit { entry, tier, similarity: None })
    }

    /// Returns whether memory holds a fresh entry of this key; no hit is counted.
    pub fn is_fresh_in_memory(&self, key: &Fingerprint) -> bool {
        self.memory.get(key).is_some_and(|entry| entry.is_fresh(self.now()))
    }

    /// Returns the nearest entry of the partition that every guard agrees to, down to the threshold for such times and
    /// expired no longer ago than this. `embedding` is the prompt's, where the look-up got as far as that.
    pub async fn nearest(
        &self,
        question: &Question<'_>,
        expired_for: Duration,
        embedding: Option<Embedding>,
    ) -> Option<Hit> {
        let tier = self.semantic.as_ref().filter(|_| question.read == CacheMode::Semantic)?;
        let question = Question { accepts: question.accepts.or_stale_for(expired_for), ..*question };
        let hit = tier.nearest(self, &question, embedding).await?;
        self.hits.note(hit.entry.key, self.now());
        Some(hit)
    }
}
