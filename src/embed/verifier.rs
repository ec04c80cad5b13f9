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

/// Thresholds belong to a pair of models: which pairs come before the verifier is the embedder's doing.
#[derive(Debug, Deserialize)]
struct Measured {
    embedder: String,
    threshold: f32,
    floor: f32,
    weights: ScoreWeights,
}

/// How a score is made of the verifier's log odds and the cosine.
#[derive(Clone, Copy, Debug, Deserialize)]
pub struct ScoreWeights {
    pub verifier: f32,
    pub cosine: f32,
    pub bias: f32,
}

impl ShippedVerifier {
    /// Returns its name and version.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Returns the score at and above which is served beside this embedding model, where that was measured.
    pub fn threshold(&self, embedder: &str) -> Option<f32> {
        self.measured(embedder).map(|measured| measured.threshold)
    }

    /// Returns the cosine below which it is not even asked beside this embedding model, where that was measured.
    pub fn floor(&self, embedder: &str) -> Option<f32> {
        self.measured(embedder).map(|measured| measured.floor)
    }

    /// Returns how its word and the cosine of this embedding model make one score, where that was measured.
    pub fn weights(&self, embedder: &str) -> Option<ScoreWeights> {
        self.measured(embedder).map(|measured| measured.weights)
    }

    fn measured(&self, embedder: &str) -> Option<&Measured> {
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
