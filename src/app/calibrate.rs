//! The decision, made over pairs that somebody labelled, with the parts that serve.

use std::num::NonZeroUsize;

use crate::cache::decision::{self, Layer, Pair, Settings, Verdict as Said};
use crate::cache::guards::{Analysed, Side};
use crate::config::Config;
use crate::embed::{Embedder, Embedding, Pool};

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
    /// The layers that refuse, in the order in which they are asked; those that compare with a threshold are left out.
    pub refused_by: Vec<Layer>,
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

    /// Returns the similarity at and above which is served.
    pub fn threshold(&self) -> f32 {
        self.settings.similarity_threshold
    }

    /// Returns how many pairs may be judged at a time to keep every thread busy.
    pub fn width(&self) -> usize {
        std::thread::available_parallelism().map_or(2, NonZeroUsize::get) + 1
    }

    /// Decides about a pair.
    ///
    /// # Errors
    /// The embedder's.
    pub async fn judge(&self, asked: &str, stored: &str) -> anyhow::Result<Verdict> {
        let (ours, theirs) = (self.pool.embed(asked).await?, self.pool.embed(stored).await?);
        let similarity = cosine(&ours, &theirs);
        let prompts = (Analysed::new(asked), Analysed::new(stored));
        let pair = Pair { asked: side(&prompts.0, &ours), stored: side(&prompts.1, &theirs), similarity };
        let said = decision::verdicts(&pair, &self.settings).into_iter();
        let refused = said.filter(|said| said.verdict == Said::Veto && said.layer != Layer::Threshold);
        Ok(Verdict { similarity, refused_by: refused.map(|said| said.layer).collect() })
    }
}

fn side<'a>(prompt: &'a Analysed, embedding: &Embedding) -> Side<'a> {
    Side { prompt, tokens: embedding.tokens(), truncated: embedding.truncated() }
}

/// Vectors are of unit length.
fn cosine(one: &Embedding, other: &Embedding) -> f32 {
    one.vector().iter().zip(other.vector().iter()).map(|(one, other)| one * other).sum()
}
