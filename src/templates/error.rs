//! What is wrong with a list, and where.

use std::path::Path;

/// A mistake in a list of templates.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{place}: {reason}")]
pub struct TemplateError {
    /// The file, and where in it: a template, a line, a row.
    place: String,
    reason: String,
}

impl TemplateError {
    /// A mistake of a whole file.
    pub(super) fn of(file: &Path, reason: impl Into<String>) -> Self {
        Self { place: file.display().to_string(), reason: reason.into() }
    }

    /// A mistake at a place in a file, such as `line 3`.
    pub(super) fn at(file: &Path, place: impl std::fmt::Display, reason: impl Into<String>) -> Self {
        Self { place: format!("{}, {place}", file.display()), reason: reason.into() }
    }
}
