//! What can go wrong between a prompt's vector and its neighbours.

use std::path::PathBuf;
use std::time::Duration;

use thiserror::Error;

/// Why the index did not do what it was asked.
///
/// For a lookup each of these is a miss. A writer may try the same points again later after all of them but the
/// first three, which say that the vector itself is wrong.
#[derive(Debug, Error)]
pub enum IndexError {
    /// The vector comes from another embedder than the one this index was made for.
    #[error("vector has {actual} dimensions where the index holds {expected}")]
    WrongDimension {
        /// The index's dimension.
        expected: usize,
        /// The vector's dimension.
        actual: usize,
    },
    /// The vector, or its norm, is NaN or infinite.
    #[error("vector holds a number that is not finite")]
    NotFinite,
    /// The vector points nowhere, so it is near nothing.
    #[error("vector has no direction: its norm is zero")]
    ZeroNorm,
    /// The Qdrant server cannot be reached, or was not reached a moment ago.
    #[error("qdrant server cannot be reached: {0}")]
    Unavailable(String),
    /// The Qdrant server took longer than it may.
    #[error("qdrant server did not answer within {} ms", .0.as_millis())]
    Timeout(Duration),
    /// The collection vanished; the next write or status makes it again, empty.
    #[error("collection {0} is missing on the qdrant server")]
    Missing(String),
    /// The Qdrant server answered, and the answer is no.
    #[error("qdrant server refused: {0}")]
    Refused(String),
    /// A connection was configured that can never work.
    #[error("qdrant server cannot be used: {0}")]
    Settings(String),
    /// The embedded index failed inside.
    #[error("embedded index failed: {0}")]
    Embedded(String),
    /// The embedded index could not make or read its folder.
    #[error("embedded index cannot use {}: {source}", .folder.display())]
    Folder {
        /// The folder in question.
        folder: PathBuf,
        /// What the operating system said.
        source: std::io::Error,
    },
    /// The embedded index stops growing before the disk is full; removals and searches go on.
    #[error("embedded index needs room: only {free_bytes} bytes are free at {}", .folder.display())]
    DiskFull {
        /// The folder in question.
        folder: PathBuf,
        /// What is left on its file system.
        free_bytes: u64,
    },
    /// Points of a fill, or its end, came without its beginning.
    #[error("no fill is under way")]
    NoFill,
}

impl IndexError {
    /// Returns the metric label: one word of a closed set.
    pub fn kind(&self) -> &'static str {
        match self {
            Self::WrongDimension { .. } => "wrong_dimension",
            Self::NotFinite => "not_finite",
            Self::ZeroNorm => "zero_norm",
            Self::Unavailable(_) => "unavailable",
            Self::Timeout(_) => "timeout",
            Self::Missing(_) => "missing",
            Self::Refused(_) => "refused",
            Self::Settings(_) => "settings",
            Self::Embedded(_) => "embedded",
            Self::Folder { .. } => "folder",
            Self::DiskFull { .. } => "disk_full",
            Self::NoFill => "no_fill",
        }
    }
}
