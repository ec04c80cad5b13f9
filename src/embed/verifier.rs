//! Which cross-encoder looks at a pair a second time, and how does it run?

use std::path::Path;

use fastembed::{RerankInitOptionsUserDefined, TextRerank, TokenizerFiles, UserDefinedRerankingModel};
use ort::environment::Environment;
use serde::Deserialize;

use super::catalog::KnownFile;
use super::instance::{HEAD_BYTES_PER_TOKEN, SPECIAL_TOKENS_MAP, head};
use super::{EmbedError, LoadError, runtime};

/// The folder under the models folder.
const FOLDER: &str = "verifier";
/// What fastembed asks for beside the tokenizer; the same for every BERT model.
const CONFIG: &[u8] = br#"{"pad_token_id": 0}"#;
const TOKENIZER_CONFIG: &[u8] = br#"{"model_max_length": 512, "pad_token": "[PAD]"}"#;

/// The verifier of `models.toml`, trained by `models/verifier/train.py`.
#[derive(Debug, Deserialize)]
pub struct ShippedVerifier {
    name: String,
    /// Tokens of both prompts together that it reads, its three special tokens included.
    window: usize,
    thresholds: Vec<Measured>,
    model: KnownFile,
    tokenizer: KnownFile,
}

/// What was measured beside one embedding model. Thresholds belong to a pair of models: which pairs come before the verifier
/// is the embedder's doing.
#[derive(Clone, Debug, Deserialize)]
pub struct Measured {
    embedder: String,
    /// The score at and above which is served.
    pub threshold: f32,
    /// The same where a guard doubts whose doubts a very sure verifier may overrule.
    pub doubt: f32,
    /// The cosine below which the verifier is not even asked.
    pub floor: f32,
    /// How its word and the cosine make the score.
    pub weights: Weights,
}

/// How the verifier's word and the similarity make one score: a logistic regression over the verifier's log odds and the
/// cosine, fitted on pairs that were kept for choosing. The verifier sees what differs, the cosine knows what is usual.
#[derive(Clone, Copy, Debug, PartialEq, Deserialize)]
pub struct Weights {
    pub verifier: f32,
    pub cosine: f32,
    pub bias: f32,
}

impl Weights {
    /// The verifier's word as it is.
    pub const VERIFIER_ALONE: Weights = Weights { verifier: 1.0, cosine: 0.0, bias: 0.0 };

    /// Returns the score of a pair, in [0, 1].
    pub fn score(self, verified: f32, similarity: f32) -> f32 {
        // A word that is all but sure stays finite.
        let verified = verified.clamp(f32::EPSILON, 1.0 - f32::EPSILON);
        let odds = (verified / (1.0 - verified)).ln();
        1.0 / (1.0 + (-(self.verifier * odds + self.cosine * similarity + self.bias)).exp())
    }
}

impl ShippedVerifier {
    /// Returns its name and version.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Returns what was measured beside this embedding model, where somebody has.
    pub fn measured(&self, embedder: &str) -> Option<&Measured> {
        self.thresholds.iter().find(|measured| measured.embedder == embedder)
    }

    /// Checks every byte of its files under `models_dir`.
    ///
    /// # Errors
    /// The first file that is missing or another one.
    pub fn verify(&self, models_dir: &Path) -> Result<(), LoadError> {
        let folder = models_dir.join(FOLDER);
        [&self.model, &self.tokenizer].into_iter().try_for_each(|file| file.verify(&folder.join(file.name())))
    }

    /// Opens an instance.
    pub(super) fn open(&self, models_dir: &Path, environment: &Environment) -> Result<Reader, LoadError> {
        let folder = models_dir.join(FOLDER);
        let files = TokenizerFiles {
            tokenizer_file: self.tokenizer.read(&folder.join(self.tokenizer.name()))?,
            config_file: CONFIG.to_vec(),
            special_tokens_map_file: SPECIAL_TOKENS_MAP.to_vec(),
            tokenizer_config_file: TOKENIZER_CONFIG.to_vec(),
        };
        let defined =
            UserDefinedRerankingModel::new(self.model.read(&folder.join(self.model.name()))?, files);
        let options = RerankInitOptionsUserDefined::new()
            .with_environment(environment.clone())
            .with_execution_providers(vec![runtime::cpu()])
            .with_max_length(self.window)
            .with_intra_threads(1);
        let opened = TextRerank::try_new_from_user_defined(defined, options);
        let failed =
            |error: fastembed::Error| LoadError::Model { name: self.name.clone(), reason: error.to_string() };
        Ok(Reader { model: opened.map_err(failed)?, bytes_max: self.window * HEAD_BYTES_PER_TOKEN })
    }
}

/// One verifier in memory, used by one thread.
pub(super) struct Reader {
    model: TextRerank,
    /// The longest beginning of a prompt that is given to the tokenizer: it reads all it gets before it cuts.
    bytes_max: usize,
}

impl Reader {
    /// Returns the score of one pair: never of several, since a dynamically quantised model scales its numbers by all that
    /// is in a batch.
    pub fn verify(&mut self, asked: &str, stored: &str) -> Result<f32, EmbedError> {
        let [asked, stored] = [asked, stored].map(|text| head(text, self.bytes_max));
        let ranked = self.model.rerank(asked, [stored], false, Some(1));
        let ranked = ranked.map_err(|error| EmbedError::Failed { reason: error.to_string() })?;
        match ranked.first().map(|one| one.score) {
            Some(logit) if logit.is_finite() => Ok(1.0 / (1.0 + (-logit).exp())),
            _ => Err(EmbedError::Failed { reason: "the verifier gave no score".to_owned() }),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn verifier_and_cosine_are_weighed_together() {
        let alone = Weights::VERIFIER_ALONE;
        assert!((alone.score(0.8, 0.1) - 0.8).abs() < 1e-6);
        assert!(alone.score(0.0, 0.5) >= 0.0 && alone.score(1.0, 0.5) <= 1.0);
        let both = Weights { verifier: 0.5, cosine: 6.0, bias: -5.0 };
        assert!(both.score(0.8, 0.95) > both.score(0.8, 0.7));
        assert!(both.score(0.9, 0.8) > both.score(0.2, 0.8));
    }
}
