//! Pairs of requests that somebody judged: they must never answer each other, or always may.

use std::collections::HashMap;
use std::sync::{PoisonError, RwLock, RwLockReadGuard};

use crate::chat::Fingerprint;
use crate::store::PairVerdict;

/// The judged pairs, in either order. All of them are held in memory: a person wrote each one.
#[derive(Debug, Default)]
pub struct JudgedPairs(RwLock<HashMap<Fingerprint, Vec<(Fingerprint, PairVerdict)>>>);

impl JudgedPairs {
    /// Returns the set with these pairs in it.
    pub fn new(pairs: impl IntoIterator<Item = (Fingerprint, Fingerprint, PairVerdict)>) -> Self {
        let judged = Self::default();
        for (one, other, verdict) in pairs {
            judged.insert(one, other, verdict);
        }
        judged
    }

    /// Judges a pair; the last verdict counts.
    pub fn insert(&self, one: Fingerprint, other: Fingerprint, verdict: PairVerdict) {
        let mut judged = self.0.write().unwrap_or_else(PoisonError::into_inner);
        for (key, partner) in [(one, other), (other, one)] {
            let partners = judged.entry(key).or_default();
            partners.retain(|(known, _)| *known != partner);
            partners.push((partner, verdict));
        }
    }

    /// Returns whether the two must not answer each other.
    pub fn is_blocked(&self, one: Fingerprint, other: Fingerprint) -> bool {
        self.judged().get(&one).is_some_and(|partners| partners.contains(&(other, PairVerdict::Wrong)))
    }

    /// Returns the requests whose answers serve this one too, the last judged first.
    pub fn aliases(&self, key: Fingerprint) -> Vec<Fingerprint> {
        let judged = self.judged();
        let partners = judged.get(&key).map(Vec::as_slice).unwrap_or_default();
        let right = |(partner, verdict): &(Fingerprint, PairVerdict)| {
            (*verdict == PairVerdict::Right).then_some(*partner)
        };
        partners.iter().rev().filter_map(right).collect()
    }

    fn judged(&self) -> RwLockReadGuard<'_, HashMap<Fingerprint, Vec<(Fingerprint, PairVerdict)>>> {
        self.0.read().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const WRONG: PairVerdict = PairVerdict::Wrong;
    const RIGHT: PairVerdict = PairVerdict::Right;

    fn keys() -> [Fingerprint; 3] {
        [1, 2, 3].map(|byte| Fingerprint::from_bytes([byte; 32]))
    }

    #[test]
    fn a_pair_is_judged_in_both_orders() {
        let [a, b, c] = keys();
        let pairs = JudgedPairs::new([(b, a, WRONG)]);
        assert!(pairs.is_blocked(a, b) && pairs.is_blocked(b, a));
        assert!(!pairs.is_blocked(a, c));
        pairs.insert(a, c, RIGHT);
        assert_eq!((pairs.aliases(a), pairs.aliases(c), pairs.aliases(b)), (vec![c], vec![a], vec![]));
    }

    #[test]
    fn the_last_verdict_counts() {
        let [a, b, c] = keys();
        let pairs = JudgedPairs::new([(a, b, RIGHT), (b, a, WRONG), (a, c, RIGHT)]);
        assert!(pairs.is_blocked(a, b));
        assert_eq!(pairs.aliases(a), [c]);
        pairs.insert(a, b, RIGHT);
        assert!(!pairs.is_blocked(b, a));
        assert_eq!(pairs.aliases(a), [b, c]);
    }
}
