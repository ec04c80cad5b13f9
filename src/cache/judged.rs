//! Every layer's word on the entries that might answer, for `explain`: no budget, since a person waits and not a request,
//! and nothing is counted or changed.

use std::sync::Arc;

use super::decision::{self, Explained, Verdict};
use super::guards::Analysed;
use super::semantic::{Broken, SIMILARITY_FLOOR, pair};
use super::{Cache, Question, SemanticTier};
use crate::chat::{Entry, SemanticKey, Timing};
use crate::embed::Embedding;
use crate::index::{Search, Within};

/// One neighbour, judged by every layer, for `explain`.
#[derive(Clone)]
pub struct Judged {
    pub entry: Arc<Entry>,
    pub similarity: f32,
    /// The score by verifier and similarity; `None` where the verifier gave no word.
    pub score: Option<f32>,
    /// Whether an administrator said that one answer serves both: then no layer is asked.
    pub is_alias: bool,
    pub layers: Vec<Explained>,
    /// What speaks against it besides the layers: each with its word.
    pub objections: Vec<(&'static str, String)>,
    /// Whether it is the one that would answer.
    pub is_served: bool,
}

impl SemanticTier {
    /// Judges the nearest entries by every layer, changing nothing. No budget: a person waits, not a request.
    ///
    /// # Errors
    /// What broke, in words.
    pub async fn judge(&self, cache: &Cache, question: &Question<'_>) -> Result<Vec<Judged>, String> {
        let (Some(key), Some(prompt)) = (question.key.semantic, question.request.last_prompt()) else {
            return Ok(Vec::new());
        };
        self.judge_neighbours(cache, question, key, prompt).await.map_err(|Broken(reason)| reason)
    }

    async fn judge_neighbours(
        &self,
        cache: &Cache,
        question: &Question<'_>,
        key: SemanticKey,
        prompt: &str,
    ) -> Result<Vec<Judged>, Broken> {
        let embedding = self.embed(prompt, &cache.telemetry).await?;
        let settings = self.settings(question);
        let asked = Analysed::new(prompt);
        let mut judged: Vec<Judged> = Vec::new();
        for (entry, similarity, is_alias) in self.to_be_judged(cache, question, key, &embedding).await? {
            let stored_prompt = entry.request.last_prompt().unwrap_or("");
            let stored = Analysed::new(stored_prompt);
            let mut pair = pair(&asked, &embedding, &stored, similarity);
            if !embedding.truncated() {
                // A verifier that fails is one reading less, and the others are still worth seeing.
                let score = self.verify(cache, prompt, stored_prompt, &mut Timing::default()).await;
                pair.verified = score.ok();
            }
            let objections = objections(cache, question, &entry);
            let layers = decision::verdicts(&pair, &settings);
            let passes = is_alias || layers.iter().all(|said| said.verdict != Verdict::Veto);
            let is_first = !judged.iter().any(|earlier| earlier.is_served);
            judged.push(Judged {
                layers,
                similarity,
                is_alias,
                score: pair.verified.map(|verified| settings.weights.score(verified, pair.similarity)),
                is_served: passes && is_first && objections.is_empty(),
                objections,
                entry,
            });
        }
        Ok(judged)
    }

    /// Returns the nearest entry of the same owner outside the partition, to explain what sets the two apart. It is
    /// never served.
    ///
    /// # Errors
    /// What broke, in words.
    pub async fn nearest_stranger(
        &self,
        cache: &Cache,
        question: &Question<'_>,
    ) -> Result<Option<(Arc<Entry>, f32)>, String> {
        let Some(prompt) = question.request.last_prompt() else { return Ok(None) };
        self.nearest_outside(cache, question, prompt).await.map_err(|Broken(reason)| reason)
    }

    async fn nearest_outside(
        &self,
        cache: &Cache,
        question: &Question<'_>,
        prompt: &str,
    ) -> Result<Option<(Arc<Entry>, f32)>, Broken> {
        let embedding = self.embed(prompt, &cache.telemetry).await?;
        let owner = question.key.owner.to_string();
        let search = Search {
            vector: embedding.vector(),
            within: Within::Owner(&owner),
            now_ms: cache.now().0,
            limit: question.settings.candidates.max(20),
            similarity_min: SIMILARITY_FLOOR,
        };
        for neighbour in self.vector_index().search(search).await? {
            let Some(entry) = cache.view(&neighbour.key).await? else { continue };
            let is_outside = entry.semantic != question.key.semantic;
            if is_outside && entry.owner_names().owner() == question.key.owner {
                return Ok(Some((entry, neighbour.similarity)));
            }
        }
        Ok(None)
    }

    /// Returns what may answer, in the order in which it would: aliases, then neighbours, the best first.
    async fn to_be_judged(
        &self,
        cache: &Cache,
        question: &Question<'_>,
        key: SemanticKey,
        embedding: &Embedding,
    ) -> Result<Vec<(Arc<Entry>, f32, bool)>, Broken> {
        let mut found: Vec<(Arc<Entry>, f32, bool)> = Vec::new();
        if question.threshold.is_none() {
            for alias in cache.judged.aliases(question.key.fingerprint) {
                let Some(entry) = cache.view(&alias).await? else { continue };
                // It may be too far away for the index to find.
                let there = self.embed(entry.request.last_prompt().unwrap_or(""), &cache.telemetry).await?;
                let similarity = embedding.similarity(&there);
                found.push((entry, similarity, true));
            }
        }
        for neighbour in self.neighbours(cache, question, key, embedding, SIMILARITY_FLOOR).await? {
            if found.iter().any(|(entry, ..)| entry.key == neighbour.key) {
                continue;
            }
            let Some(entry) = cache.view(&neighbour.key).await? else { continue };
            found.push((entry, neighbour.similarity, false));
        }
        Ok(found)
    }
}

/// Says what speaks against an entry before any layer is asked.
fn objections(cache: &Cache, question: &Question<'_>, entry: &Entry) -> Vec<(&'static str, String)> {
    let mut objections = Vec::new();
    if entry.semantic != question.key.semantic || entry.tenant != *question.tenant {
        objections
            .push(("partition", "the entry was written anew and is no longer of this partition".to_owned()));
    }
    if cache.judged.is_blocked(question.key.fingerprint, entry.key) {
        objections.push(("blocked", "somebody said that this pair must never match".to_owned()));
    }
    if !entry.serves_limit(question.limit()) {
        objections.push(("limit", "the answer is longer than the request's output limit".to_owned()));
    }
    if !question.accepts.admits(entry, cache.now()) {
        objections.push(("freshness", "it is older than the request accepts".to_owned()));
    }
    objections
}
