//! Pairs of requests that somebody said must never answer each other.

use std::collections::HashSet;
use std::sync::{PoisonError, RwLock};

use crate::chat::Fingerprint;

/// The blocked pairs, unordered. All of them are held in memory: a person wrote each one.
#[derive(Debug, Default)]
pub struct BlockedPairs(RwLock<HashSet<(Fingerprint, Fingerprint)>>);

impl BlockedPairs {
    /// Returns the set with these pairs in it.
    pub fn new(pairs: impl IntoIterator<Item = (Fingerprint, Fingerprint)>) -> Self {
        Self(RwLock::new(pairs.into_iter().map(ordered).collect()))
    }

    /// Blocks a pair.
    pub fn insert(&self, one: Fingerprint, other: Fingerprint) {
        self.0.write().unwrap_or_else(PoisonError::into_inner).insert(ordered((one, other)));
    }

    /// Returns whether the pair is blocked.
    pub fn contains(&self, one: Fingerprint, other: Fingerprint) -> bool {
        self.0.read().unwrap_or_else(PoisonError::into_inner).contains(&ordered((one, other)))
    }
}

fn ordered((one, other): (Fingerprint, Fingerprint)) -> (Fingerprint, Fingerprint) {
    if one <= other { (one, other) } else { (other, one) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_pair_is_blocked_in_both_orders() {
        let [a, b, c] = [1, 2, 3].map(|byte| Fingerprint::from_bytes([byte; 32]));
        let pairs = BlockedPairs::new([(b, a)]);
        assert!(pairs.contains(a, b));
        assert!(!pairs.contains(a, c));
        pairs.insert(a, c);
        assert!(pairs.contains(c, a));
    }
}
