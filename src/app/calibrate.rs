//! The decision, made over pairs that somebody labelled, with the parts that serve.

use std::num::NonZeroUsize;
use std::path::Path;

use serde::{Deserialize, Serialize};

use crate::cache::decision::{self, Layer, Pair, Settings, Verdict as Said};
use crate::cache::guards::{Analysed, Side};
use crate::cache::volatile::Volatility;
use crate::config::Config;
use crate::embed::{Catalog, Embedder, Embedding, Pool, Verifier};

use super::build::{model_limits, open_embedder};

/// Makes the decision of a configuration without a cache around it.
pub struct Calibrator {
    pool: Pool,
    settings: Settings,
}

/// What the decision makes of a pair.
#[derive(Clone, Debug, PartialEq)]
pub struct Verdict {
    /// The cosine of the two prompts.
    pub similarity: f32,
    /// The score by verifier and similarity.
    pub verified: f32,
    /// What refuses whatever the score, in the order in which it is asked.
    pub vetoes: Vec<Veto>,
}

/// What refuses a pair.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Veto {
    /// One of the prompts asks about now. The policy says so before any layer is asked: the asked prompt is not looked up
    /// by similarity, and the stored one is not to be found by it.
    Volatile,
    Layer(Layer),
}

impl Veto {
    /// Returns its word.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Volatile => "volatile",
            Self::Layer(layer) => layer.name(),
        }
    }
}

impl Verdict {
    /// Returns what refuses the pair first at this threshold; `None` where it is served.
    pub fn refused_by(&self, threshold: f32) -> Option<Veto> {
        let is_below = self.verified < threshold;
        self.vetoes.first().copied().or_else(|| is_below.then_some(Veto::Layer(Layer::Verifier)))
    }
}

impl Calibrator {
    /// Opens the models of a configuration.
    ///
    /// # Errors
    /// As of a server: a model or the runtime is missing or damaged.
    pub async fn open(config: &Config) -> anyhow::Result<Self> {
        let settings = model_limits(config)?.settings(&config.cache.semantic);
        Ok(Self { pool: open_embedder(config).await?, settings })
    }

    /// Returns the score at and above which is served.
    pub fn threshold(&self) -> f32 {
        self.settings.verifier_threshold
    }

    /// Returns the similarity below which the verifier is not even asked.
    pub fn floor(&self) -> f32 {
        self.settings.similarity_threshold
    }

    /// Returns how many pairs may be judged at a time to keep every thread busy.
    pub fn width(&self) -> usize {
        std::thread::available_parallelism().map_or(2, NonZeroUsize::get) + 1
    }

    /// Returns the cosine of two prompts.
    ///
    /// # Errors
    /// The embedder's.
    pub async fn similarity(&self, one: &str, other: &str) -> anyhow::Result<f32> {
        Ok(self.pool.embed(one).await?.similarity(&self.pool.embed(other).await?))
    }

    /// Decides about a pair, as a server does that looks for a similar prompt: an equal one would be found before that.
    ///
    /// # Errors
    /// The embedder's.
    pub async fn judge(&self, asked: &str, stored: &str) -> anyhow::Result<Verdict> {
        let (ours, theirs) = (self.pool.embed(asked).await?, self.pool.embed(stored).await?);
        let similarity = ours.similarity(&theirs);
        let prompts = (Analysed::new(asked), Analysed::new(stored));
        let is_volatile = [asked, stored].into_iter().any(|prompt| Volatility::of(prompt).is_volatile());
        let word = self.pool.verify(asked, stored).await?;
        let verified = self.settings.weights.score(word, similarity);
        // As a server sees them: how many tokens a stored prompt has is not kept.
        let (asked, stored) = (side(&prompts.0, &ours), Side { tokens: 0, ..side(&prompts.1, &theirs) });
        let pair = Pair { asked, stored, similarity, verified: Some(word) };
        let said = decision::verdicts(&pair, &self.settings).into_iter();
        let refused = said.filter(|said| said.verdict == Said::Veto && said.layer != Layer::Verifier);
        let volatile = is_volatile.then_some(Veto::Volatile).into_iter();
        let vetoes = volatile.chain(refused.map(|said| Veto::Layer(said.layer))).collect();
        Ok(Verdict { similarity, verified, vetoes })
    }
}

/// The file under the data folder that says what was calibrated last.
const FILE: &str = "calibration.json";

/// What was calibrated last, so that a threshold nobody has measured can be told from one that somebody has.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Calibration {
    embedder: String,
    verifier: String,
    /// How many labelled pairs it was measured on.
    pub pairs: usize,
}

impl Calibration {
    /// Returns what is to be remembered of a calibration of this configuration's models.
    pub fn of(config: &Config, pairs: usize) -> Self {
        let verifier = Catalog::built_in().verifier().name().to_owned();
        Self { embedder: config.embedding.model.clone(), verifier, pairs }
    }

    /// Reads what was remembered; `None` where there is nothing, or nothing that can be read.
    pub fn read(data_dir: &Path) -> Option<Self> {
        serde_json::from_slice(&std::fs::read(data_dir.join(FILE)).ok()?).ok()
    }

    /// Remembers it.
    ///
    /// # Errors
    /// The folder's.
    pub fn keep(&self, data_dir: &Path) -> anyhow::Result<()> {
        std::fs::create_dir_all(data_dir)?;
        std::fs::write(data_dir.join(FILE), serde_json::to_vec_pretty(self)?)?;
        Ok(())
    }

    /// Returns whether it was made with these models.
    pub fn is_of(&self, embedder: &str, verifier: &str) -> bool {
        self.embedder == embedder && self.verifier == verifier
    }
}

fn side<'a>(prompt: &'a Analysed, embedding: &Embedding) -> Side<'a> {
    Side { prompt, tokens: embedding.tokens(), truncated: embedding.truncated() }
}
