//! The third tier: entries whose prompt is near, and that a second look agrees to.
//!
//! Embedding, search and decision share one budget of time, after which the request goes on without them. The index
//! only points; the entry it points to is loaded and checked like any other.

use std::panic::AssertUnwindSafe;
use std::sync::Arc;
use std::time::{Duration, Instant};

use futures_util::FutureExt;

use super::decision::{self, Decision, Layer, Layers, Pair, Proposal, Settings};
use super::guards::{self, Analysed, Scripts, Side};
use super::{Cache, Hit, Question, millis_since};
use crate::chat::{Entry, Fingerprint, SemanticKey, Tier, Timing};
use crate::config::{GuardName, SemanticConfig};
use crate::embed::{EmbedError, Embedder, Embedding, Verifier, Weights};
use crate::index::{Neighbour, Point, Search, VectorIndex, Within};
use crate::store::StoredVector;
use crate::telemetry::Telemetry;

/// Embedder, verifier and index, and what belongs to the models.
pub struct SemanticTier {
    embedder: Arc<dyn Embedder>,
    verifier: Arc<dyn Verifier>,
    index: Arc<dyn VectorIndex>,
    model: ModelLimits,
}

/// What is known of embedding model and verifier.
#[derive(Clone, Debug)]
pub struct ModelLimits {
    /// The lowest cosine similarity at which guards and verifier are asked where nothing else is configured.
    pub similarity_threshold: f32,
    /// The lowest score that is served where nothing else is configured, and how it is made.
    pub verifier_threshold: f32,
    /// The same where a layer doubts that a very sure verifier may overrule.
    pub doubt_threshold: f32,
    pub weights: Weights,
    /// The scripts they were trained on; `None` for a multilingual model.
    pub scripts: Option<Scripts>,
    /// The languages they were trained on, such as `en`; `None` for a multilingual model.
    pub languages: Option<Vec<String>>,
}

impl ModelLimits {
    /// Returns what decides with this model and this configuration.
    pub fn settings(&self, config: &SemanticConfig) -> Settings {
        let layers = GuardName::ALL
            .into_iter()
            .filter(|guard| !config.guards.contains(guard))
            .fold(Layers::ALL, |layers, guard| layers.without(layer_of(guard)));
        Settings {
            similarity_threshold: config.similarity_threshold.unwrap_or(self.similarity_threshold),
            verifier_threshold: config.verifier_threshold.unwrap_or(self.verifier_threshold),
            doubt_threshold: self.doubt_threshold,
            weights: self.weights,
            layers,
            scripts: self.scripts.clone(),
            languages: self.languages.clone(),
        }
    }
}

/// Neighbours below this similarity are not even looked at; they are only counted as the best that was there.
pub(super) const SIMILARITY_FLOOR: f32 = 0.5;

/// What a look came to.
pub(super) struct Sought {
    pub hit: Option<Hit>,
    /// The prompt's embedding, where the look got as far as that.
    pub embedding: Option<Embedding>,
    /// `hit`, `miss`, `error` or `timeout`; `shadow_hit` where it was not served for the mode alone.
    pub outcome: &'static str,
    pub timing: Timing,
}

impl Sought {
    /// Returns the same look where nothing similar is served.
    pub fn in_shadow(self) -> Self {
        let outcome = if self.hit.is_some() { "shadow_hit" } else { self.outcome };
        Self { hit: None, outcome, ..self }
    }
}

impl SemanticTier {
    /// Puts the parts together.
    pub fn new(
        embedder: Arc<dyn Embedder>,
        verifier: Arc<dyn Verifier>,
        index: Arc<dyn VectorIndex>,
        model: ModelLimits,
    ) -> Self {
        guards::warm();
        Self { embedder, verifier, index, model }
    }

    /// Looks for a near entry within the budget.
    pub(super) async fn look_up(
        &self,
        cache: &Cache,
        question: &Question<'_>,
        key: SemanticKey,
        prompt: &str,
    ) -> Sought {
        let budget = Duration::from_millis(question.settings.budget_ms);
        let (mut embedding, mut timing) = (None, Timing::default());
        let search = self.search_and_decide(cache, question, key, prompt, &mut timing, &mut embedding);
        let (hit, outcome) = match tokio::time::timeout(budget, search).await {
            Ok(Ok(Some(hit))) => (Some(hit), "hit"),
            Ok(Ok(None)) => (None, "miss"),
            Ok(Err(Broken(reason))) => {
                tracing::warn!(reason, "the semantic tier failed, which is a miss");
                (None, "error")
            }
            Err(_) => (None, "timeout"),
        };
        Sought { hit, embedding, outcome, timing }
    }

    async fn search_and_decide(
        &self,
        cache: &Cache,
        question: &Question<'_>,
        key: SemanticKey,
        prompt: &str,
        timing: &mut Timing,
        embedding_out: &mut Option<Embedding>,
    ) -> Result<Option<Hit>, Broken> {
        if let Some(hit) = self.by_alias(cache, question).await? {
            return Ok(Some(hit));
        }
        let began = Instant::now();
        let embedding = self.embed(prompt, &cache.telemetry).await?;
        timing.embed = Some(millis_since(began));
        let embedding = embedding_out.insert(embedding);
        // Its vector speaks for the beginning only, and different prompts begin alike.
        if embedding.truncated() {
            cache.telemetry.rejected(Layer::Window.name());
            return Ok(None);
        }
        let began = Instant::now();
        let neighbours = self.neighbours(cache, question, key, embedding, SIMILARITY_FLOOR).await?;
        timing.search = Some(millis_since(began));
        cache.telemetry.searched(began.elapsed().as_secs_f64());
        let Some(best) = neighbours.first() else { return Ok(None) };
        cache.telemetry.similarity(best.similarity);
        let settings = self.settings(question);
        self.first_agreed(cache, question, (prompt, embedding), neighbours, &settings, timing).await
    }

    /// Returns the first of these neighbours, best first, that may answer and that every layer agrees to.
    pub(super) async fn first_agreed(
        &self,
        cache: &Cache,
        question: &Question<'_>,
        (prompt, embedding): (&str, &Embedding),
        neighbours: Vec<Neighbour>,
        settings: &Settings,
        timing: &mut Timing,
    ) -> Result<Option<Hit>, Broken> {
        let mut asked = None;
        for neighbour in neighbours {
            if neighbour.similarity < settings.similarity_threshold {
                cache.telemetry.rejected(Layer::Threshold.name());
                break;
            }
            let Some(entry) = self.follow(cache, question, neighbour).await? else { continue };
            if cache.judged.is_blocked(question.key.fingerprint, entry.key) {
                cache.telemetry.rejected("blocked");
                continue;
            }
            let stored_prompt = entry.request.last_prompt().unwrap_or("");
            let stored = Analysed::new(stored_prompt);
            let asked = asked.get_or_insert_with(|| Analysed::new(prompt));
            let similarity = neighbour.similarity;
            let decision = match decision::propose(&pair(asked, embedding, &stored, similarity), settings) {
                Proposal::Refuse(refusal) => Decision::Refuse(refusal),
                Proposal::Verify { doubt } => {
                    let verified = self.verify(cache, prompt, stored_prompt, timing).await?;
                    decision::verify(verified, similarity, doubt, settings)
                }
            };
            match decision {
                Decision::Serve => {
                    let similarity = Some(similarity);
                    return Ok(Some(Hit { entry, tier: Tier::Semantic, similarity }));
                }
                Decision::Refuse(refusal) => cache.telemetry.rejected(refusal.layer.name()),
            }
        }
        Ok(None)
    }

    /// Returns the entry of a request of which an administrator said that its answer serves this one too. A caller with a
    /// threshold of its own wants to know how similar they are, and that nobody measured.
    async fn by_alias(&self, cache: &Cache, question: &Question<'_>) -> Result<Option<Hit>, Broken> {
        if question.threshold.is_some() {
            return Ok(None);
        }
        for key in cache.judged.aliases(question.key.fingerprint) {
            let entry = cache.load(&key).await?.filter(|entry| self.may_answer(cache, question, entry));
            if let Some(entry) = entry {
                return Ok(Some(Hit { entry, tier: Tier::Semantic, similarity: None }));
            }
        }
        Ok(None)
    }

    /// Has a pair looked at a second time. A panic in there is a failure like any other.
    pub(super) async fn verify(
        &self,
        cache: &Cache,
        asked: &str,
        stored: &str,
        timing: &mut Timing,
    ) -> Result<f32, EmbedError> {
        let began = Instant::now();
        let score = AssertUnwindSafe(self.verifier.verify(asked, stored)).catch_unwind().await;
        let score = score
            .unwrap_or_else(|_| Err(EmbedError::Failed { reason: "the verifier panicked".to_owned() }))?;
        *timing.verify.get_or_insert(0.0) += millis_since(began);
        cache.telemetry.verified(began.elapsed().as_secs_f64());
        Ok(score)
    }

    pub(super) async fn neighbours(
        &self,
        cache: &Cache,
        question: &Question<'_>,
        key: SemanticKey,
        embedding: &Embedding,
        similarity_min: f32,
    ) -> Result<Vec<Neighbour>, Broken> {
        let search = Search {
            vector: embedding.vector(),
            within: Within::Partition(key.partition(self.embedder.version().as_str())),
            // What the question accepts past its time is sought, too.
            now_ms: question.accepts.expired_before(cache.now()).0,
            limit: question.settings.candidates,
            similarity_min,
        };
        Ok(self.index.search(search).await?)
    }

    /// Loads the entry a neighbour points to, and checks that it is what the index took it for.
    async fn follow(
        &self,
        cache: &Cache,
        question: &Question<'_>,
        neighbour: Neighbour,
    ) -> Result<Option<Arc<Entry>>, Broken> {
        let Some(entry) = cache.load(&neighbour.key).await? else {
            // The entry is gone, so its point goes too.
            self.forget(&[neighbour.key]).await;
            cache.telemetry.repaired(1);
            return Ok(None);
        };
        Ok(self.may_answer(cache, question, &entry).then_some(entry))
    }

    fn may_answer(&self, cache: &Cache, question: &Question<'_>, entry: &Entry) -> bool {
        entry.semantic == question.key.semantic && question.admits(entry, cache.now())
    }

    pub(super) fn configured_threshold(&self, question: &Question<'_>) -> f32 {
        question.settings.similarity_threshold.unwrap_or(self.model.similarity_threshold)
    }

    pub(super) fn settings(&self, question: &Question<'_>) -> Settings {
        let settings = self.model.settings(question.settings);
        let configured = settings.similarity_threshold;
        let similarity_threshold = question.threshold.map_or(configured, |asked| asked.max(configured));
        Settings { similarity_threshold, ..settings }
    }

    /// Embeds a prompt. A panic in there is a failure like any other: neither a request may fall over it nor the task that
    /// keeps the index.
    pub(super) async fn embed(&self, prompt: &str, telemetry: &Telemetry) -> Result<Embedding, EmbedError> {
        let began = Instant::now();
        let embedding = AssertUnwindSafe(self.embedder.embed(prompt)).catch_unwind().await;
        let embedding = embedding
            .unwrap_or_else(|_| Err(EmbedError::Failed { reason: "the embedder panicked".to_owned() }))?;
        telemetry.embedded(began.elapsed().as_secs_f64());
        Ok(embedding)
    }

    /// Returns the row that the store keeps of an embedding.
    pub(super) fn stored_vector(&self, key: SemanticKey, embedding: &Embedding) -> StoredVector {
        let version = self.embedder.version().as_str();
        StoredVector {
            embedder: version.into(),
            partition: key.partition(version),
            vector: Arc::clone(embedding.vector()),
        }
    }

    /// Writes a point. A failure is no loss: the indexer finds out and fills the index from the store.
    pub(super) async fn index(&self, point: Point) {
        if let Err(error) = self.index.upsert(vec![point]).await {
            tracing::debug!(%error, "a point was not written; the indexer will repair it");
        }
    }

    /// Removes points. A failure is no harm: a point without an entry never answers.
    pub(super) async fn forget(&self, keys: &[Fingerprint]) {
        if let Err(error) = self.index.remove(keys).await {
            tracing::debug!(%error, "points were not removed; they lead nowhere");
        }
    }

    /// Returns the embedder.
    pub fn embedder(&self) -> &Arc<dyn Embedder> {
        &self.embedder
    }

    /// Returns the index.
    pub fn vector_index(&self) -> &Arc<dyn VectorIndex> {
        &self.index
    }
}

/// What broke; the reason carries no prompt.
pub(super) struct Broken(pub(super) String);

impl<E: std::error::Error> From<E> for Broken {
    fn from(error: E) -> Self {
        Self(error.to_string())
    }
}

/// Stored vectors always speak for the whole prompt: longer ones are kept for equal requests only.
pub(super) fn pair<'a>(
    asked: &'a Analysed,
    embedding: &Embedding,
    stored: &'a Analysed,
    similarity: f32,
) -> Pair<'a> {
    Pair {
        asked: Side { prompt: asked, tokens: embedding.tokens(), truncated: embedding.truncated() },
        // How many tokens it has is not kept.
        stored: Side { prompt: stored, tokens: 0, truncated: false },
        similarity,
        verified: None,
    }
}

const fn layer_of(guard: GuardName) -> Layer {
    match guard {
        GuardName::Payload => Layer::Payload,
        GuardName::Numbers => Layer::Numbers,
        GuardName::Negation => Layer::Negation,
        GuardName::Code => Layer::Code,
        GuardName::Names => Layer::Names,
        GuardName::Opposites => Layer::Opposites,
        GuardName::Roles => Layer::Roles,
        GuardName::Scope => Layer::Scope,
        GuardName::Person => Layer::Person,
        GuardName::Asked => Layer::Asked,
        GuardName::Substitution => Layer::Substitution,
        GuardName::Surplus => Layer::Surplus,
    }
}
