//! The semantic tier for the ladder: a lower threshold, every guard as at other times, and entries past their time where
//! the question accepts them.

use super::decision::Settings;
use super::semantic::Broken;
use super::{Cache, Hit, Question, SemanticTier};
use crate::chat::{SemanticKey, Timing};
use crate::embed::Embedding;

/// How far below the usual threshold the ladder goes, where nothing else is configured.
const BELOW_THE_USUAL: f32 = 0.1;
/// The verifier must still think it more likely than not that the answer serves.
const VERIFIED_MIN: f32 = 0.5;

impl SemanticTier {
    /// Returns the nearest entry that every layer agrees to. `known` is the prompt's embedding, where there is one
    /// already. A failure is one warning, and nothing is found.
    pub(super) async fn nearest(
        &self,
        cache: &Cache,
        question: &Question<'_>,
        known: Option<Embedding>,
    ) -> Option<Hit> {
        let (key, prompt) = (question.key.semantic?, question.request.last_prompt()?);
        let found = self.search_nearest(cache, question, key, prompt, known).await;
        found.unwrap_or_else(|Broken(reason)| {
            tracing::warn!(reason, "the semantic tier failed, and the ladder goes on without it");
            None
        })
    }

    async fn search_nearest(
        &self,
        cache: &Cache,
        question: &Question<'_>,
        key: SemanticKey,
        prompt: &str,
        known: Option<Embedding>,
    ) -> Result<Option<Hit>, Broken> {
        let embedding = match known {
            Some(embedding) => embedding,
            None => self.embed(prompt, &cache.telemetry).await?,
        };
        if embedding.truncated() {
            return Ok(None);
        }
        let lower = question.settings.nearest_threshold;
        let lower = lower.unwrap_or_else(|| self.configured_threshold(question) - BELOW_THE_USUAL);
        // A caller who names a threshold means every answer that was given to others.
        let similarity_threshold = question.threshold.map_or(lower, |asked| asked.max(lower));
        let usual = self.settings(question);
        let verifier_threshold = usual.verifier_threshold.min(VERIFIED_MIN);
        let settings = Settings { similarity_threshold, verifier_threshold, ..usual };
        let neighbours = self.neighbours(cache, question, key, &embedding, similarity_threshold).await?;
        let mut timing = Timing::default();
        self.first_agreed(cache, question, (prompt, &embedding), neighbours, &settings, &mut timing).await
    }
}
