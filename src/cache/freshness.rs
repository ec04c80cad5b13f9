//! Is an entry young enough for this request?

use std::time::Duration;

use crate::chat::{Entry, UnixMillis};

/// The ages a request accepts.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Accepts {
    /// The oldest answer that will do (`Cache-Control: max-age`).
    pub max_age: Option<Duration>,
    /// How long after its expiry an answer will still do (`Cache-Control: max-stale`).
    pub max_stale: Option<Duration>,
}

impl Accepts {
    /// Returns whether the entry may answer now.
    pub fn admits(&self, entry: &Entry, now: UnixMillis) -> bool {
        let expires_at = match self.max_stale {
            None => entry.expires_at,
            Some(grace) => entry.expires_at.after(grace),
        };
        let is_young = self.max_age.is_none_or(|oldest| now <= entry.created_at.after(oldest));
        now < expires_at && is_young
    }
}
