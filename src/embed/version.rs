//! What does a vector depend on?

use std::fmt;
use std::sync::Arc;

/// The name of everything that shapes a vector: the model's name and a digest of what it was run with.
///
/// It is part of a partition and of a collection's name, so that vectors of two versions are never compared. Only
/// letters, digits, `.`, `_` and `-`.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct EmbedderVersion(Arc<str>);

impl EmbedderVersion {
    /// Wraps a version that was stored before, or a test's own.
    pub fn new(text: impl Into<Arc<str>>) -> Self {
        Self(text.into())
    }

    /// Returns the text.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Computes the version from what a vector depends on.
    pub(super) fn of(parts: &VersionParts<'_>) -> Self {
        // Destructured whole: a new part does not compile until it is hashed.
        let VersionParts { model, weights, tokenizer, dimension, pooling, window, quantisation } = parts;
        let mut digest = blake3::Hasher::new();
        for part in [
            SCHEME,
            model,
            weights,
            tokenizer,
            &dimension.to_string(),
            pooling,
            &window.to_string(),
            quantisation,
        ] {
            // The length in front keeps ("ab", "c") and ("a", "bc") apart.
            digest.update(&(part.len() as u64).to_le_bytes());
            digest.update(part.as_bytes());
        }
        let digest = digest.finalize().to_hex();
        Self(format!("{model}-{}", &digest[..16]).into())
    }
}

impl fmt::Display for EmbedderVersion {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// How a text becomes a vector around the model: cut at the window, no prefix, scaled to unit length. Change this
/// word when that changes, and every vector is made anew.
const SCHEME: &str = "refrain-embed-1";

/// What a vector depends on.
pub(super) struct VersionParts<'a> {
    pub model: &'a str,
    /// The model file's sha256, or the revision of a hub's model.
    pub weights: &'a str,
    /// The tokenizer file's sha256, or the revision of a hub's model.
    pub tokenizer: &'a str,
    pub dimension: usize,
    pub pooling: &'a str,
    pub window: usize,
    pub quantisation: &'a str,
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parts() -> VersionParts<'static> {
        VersionParts {
            model: "m",
            weights: "w",
            tokenizer: "t",
            dimension: 384,
            pooling: "mean",
            window: 256,
            quantisation: "dynamic",
        }
    }

    #[test]
    fn every_part_changes_the_version() {
        let changed = [
            VersionParts { model: "n", ..parts() },
            VersionParts { weights: "x", ..parts() },
            VersionParts { tokenizer: "x", ..parts() },
            VersionParts { dimension: 383, ..parts() },
            VersionParts { pooling: "cls", ..parts() },
            VersionParts { window: 128, ..parts() },
            VersionParts { quantisation: "none", ..parts() },
            VersionParts { weights: "wt", tokenizer: "", ..parts() },
        ];
        let versions: std::collections::HashSet<_> =
            changed.iter().chain([&parts()]).map(EmbedderVersion::of).collect();
        assert_eq!(versions.len(), changed.len() + 1);
        assert_eq!(EmbedderVersion::of(&parts()), EmbedderVersion::of(&parts()));
    }
}
