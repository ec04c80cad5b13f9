//! Hits since the store was last told.

use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};

use crate::chat::{Fingerprint, UnixMillis};
use crate::store::Touch;

/// Counts hits by entry, so that the store is told once in a while and not at every hit.
#[derive(Debug, Default)]
pub struct HitLog(Mutex<HashMap<Fingerprint, (u32, UnixMillis)>>);

/// Entries noted at a time; beyond it a hit of a further entry is not counted. It costs 64 bytes an entry.
const NOTED_MAX: usize = 100_000;

impl HitLog {
    /// Notes a hit.
    pub fn note(&self, key: Fingerprint, now: UnixMillis) {
        let mut noted = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let is_full = noted.len() >= NOTED_MAX;
        if let Some((hits, last)) = noted.get_mut(&key) {
            *hits = hits.saturating_add(1);
            *last = now;
        } else if !is_full {
            noted.insert(key, (1, now));
        }
    }

    /// Returns what was noted and begins anew.
    pub fn take(&self) -> Vec<Touch> {
        let noted = std::mem::take(&mut *self.0.lock().unwrap_or_else(PoisonError::into_inner));
        noted.into_iter().map(|(key, (hits, last_hit))| Touch { key, hits, last_hit }).collect()
    }
}
