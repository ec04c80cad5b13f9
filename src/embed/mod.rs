//! Where does a text lie among all others, and do two of them ask for one answer?
//!
//! An [`Embedder`] turns a text into a unit vector, so that two prompts can be compared by their cosine; a [`Verifier`]
//! reads two prompts together. The one real implementation of both is [`Pool`]: instances of fastembed models, each on a
//! thread of its own, behind a bounded queue. Nothing here knows what vectors and scores are used for, nor reads configuration: whoever builds a [`Pool`] passes plain values.

mod catalog;
mod instance;
mod pool;
mod queue;
mod runtime;
mod verifier;
mod version;

use std::sync::Arc;

use async_trait::async_trait;

pub use catalog::{Catalog, Model, ShippedModel};
pub use pool::{Pool, PoolOptions};
pub use verifier::{Measured, ShippedVerifier, Weights};
pub use version::EmbedderVersion;

/// Turns texts into vectors that can be compared with each other, and with no other embedder's.
#[async_trait]
pub trait Embedder: Send + Sync {
    /// Returns the vector of one text.
    ///
    /// Equal texts give bit-equal vectors, whatever else is running. Dropping the future takes the text out of the
    /// queue; a run that has begun is finished and thrown away.
    ///
    /// # Errors
    /// [`EmbedError`], never a vector that is not finite and of unit length.
    async fn embed(&self, text: &str) -> Result<Embedding, EmbedError>;

    /// Returns what a vector depends on, as one short name: vectors of two versions must never meet.
    fn version(&self) -> &EmbedderVersion;

    /// Returns the length of every vector.
    fn dimension(&self) -> usize;

    /// Returns how many texts are waiting.
    fn queue_depth(&self) -> usize;
}

/// Reads two prompts together.
#[async_trait]
pub trait Verifier: Send + Sync {
    /// Returns how likely it is that one answer serves both prompts, in [0, 1]. The same pair gives the same score, whatever
    /// else is running.
    ///
    /// # Errors
    /// [`EmbedError`], never a score that is no number.
    async fn verify(&self, asked: &str, stored: &str) -> Result<f32, EmbedError>;
}

/// A text's vector, and how much of the text it speaks for.
#[derive(Clone, Debug, PartialEq)]
pub struct Embedding {
    vector: Arc<[f32]>,
    tokens: usize,
    truncated: bool,
}

impl Embedding {
    /// Scales a raw vector to unit length.
    ///
    /// # Errors
    /// [`EmbedError::Failed`] when a component is not finite or all are zero: an index accepts such a vector without
    /// a word and answers nonsense from then on.
    pub fn new(raw: &[f32], tokens: usize, truncated: bool) -> Result<Self, EmbedError> {
        let norm = raw.iter().map(|x| f64::from(*x).powi(2)).sum::<f64>().sqrt();
        if !norm.is_finite() {
            return Err(EmbedError::Failed {
                reason: "the model returned a vector that is not finite".into(),
            });
        }
        if norm < f64::from(f32::MIN_POSITIVE) {
            return Err(EmbedError::Failed { reason: "the model returned a zero vector".into() });
        }
        let vector = raw.iter().map(|x| (f64::from(*x) / norm) as f32).collect();
        Ok(Self { vector, tokens, truncated })
    }

    /// Returns the vector; its length is one.
    pub fn vector(&self) -> &Arc<[f32]> {
        &self.vector
    }

    /// Returns the cosine of the two, which is their dot product.
    pub fn similarity(&self, other: &Self) -> f32 {
        self.vector.iter().zip(other.vector.iter()).map(|(one, other)| one * other).sum()
    }

    /// Returns how many tokens the model read, its special tokens included; never more than its window.
    pub fn tokens(&self) -> usize {
        self.tokens
    }

    /// Returns whether the text goes on after what the model read.
    ///
    /// Such a vector says nothing about the rest, so the prompt must never be matched by its vector alone: real
    /// prompts with the same beginning lie at 0.999 and mean different things.
    pub fn truncated(&self) -> bool {
        self.truncated
    }
}

/// Why a text got no vector. None of these may fail a request: the caller goes on without the semantic tier.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum EmbedError {
    /// As many texts are waiting as may wait.
    #[error("the embedding queue is full: {capacity} texts are waiting")]
    Overloaded {
        /// How many may wait.
        capacity: usize,
    },
    /// This text could not be embedded; the next one may be.
    #[error("embedding failed: {reason}")]
    Failed {
        /// What went wrong; never contains the text.
        reason: String,
    },
    /// No instance is running: all are being rebuilt, or the pool is shutting down.
    #[error("no embedding instance is running")]
    Unavailable,
}

impl EmbedError {
    /// Returns the label under which metrics count it.
    pub fn kind(&self) -> &'static str {
        match self {
            Self::Overloaded { .. } => "overloaded",
            Self::Failed { .. } => "failed",
            Self::Unavailable => "unavailable",
        }
    }
}

/// Why an embedder could not be made ready. Each message says what mends it.
#[derive(Debug, thiserror::Error)]
pub enum LoadError {
    /// Neither ours nor fastembed's.
    #[error("unknown embedding model {name:?}; shipped: {shipped}; fetched by fastembed itself: {hub}, …")]
    UnknownModel {
        /// What was asked for.
        name: String,
        /// The names in `models.toml`.
        shipped: String,
        /// A few of fastembed's names.
        hub: String,
    },
    /// `models.toml` has no ONNX Runtime for this machine.
    #[error("models.toml names no ONNX Runtime for {os} on {arch}; add one to run here")]
    UnknownPlatform {
        /// Rust's name of the operating system.
        os: &'static str,
        /// Rust's name of the processor.
        arch: &'static str,
    },
    /// A file is missing or cannot be read.
    #[error("cannot read {path}: {source}; run `make models`")]
    Unreadable {
        /// The file.
        path: std::path::PathBuf,
        /// What the operating system said.
        source: std::io::Error,
    },
    /// A file is not the one that `models.toml` names.
    #[error("{path} has sha256 {found}, expected {expected}; run `make models` to fetch it again")]
    WrongChecksum {
        /// The file.
        path: std::path::PathBuf,
        /// What `models.toml` says.
        expected: String,
        /// What the file has.
        found: String,
    },
    /// ONNX Runtime could not be loaded.
    #[error("cannot load ONNX Runtime from {path}: {reason}")]
    Runtime {
        /// The shared library.
        path: std::path::PathBuf,
        /// What the loader said.
        reason: String,
    },
    /// The model could not be opened, or fetched from fastembed's hub.
    #[error("cannot open the embedding model {name}: {reason}")]
    Model {
        /// The model's name.
        name: String,
        /// What fastembed said.
        reason: String,
    },
    /// The operating system gave no thread.
    #[error("cannot start an embedding thread: {0}")]
    Thread(std::io::Error),
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn vectors_leave_with_unit_length() {
        let embedding = Embedding::new(&[3.0, 0.0, -4.0], 5, false).unwrap();
        assert_eq!(&embedding.vector()[..], &[0.6, 0.0, -0.8]);
    }

    #[test]
    fn vectors_that_an_index_would_choke_on_are_errors() {
        for raw in [&[0.0, 0.0][..], &[f32::NAN, 1.0], &[f32::INFINITY, 1.0], &[]] {
            assert_eq!(Embedding::new(raw, 2, false).unwrap_err().kind(), "failed");
        }
    }

    #[test]
    fn huge_components_do_not_overflow() {
        let embedding = Embedding::new(&[f32::MAX, f32::MAX], 2, false).unwrap();
        assert!((embedding.vector()[0] - std::f32::consts::FRAC_1_SQRT_2).abs() < 1e-6);
    }
}
