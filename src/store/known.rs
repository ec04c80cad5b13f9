//! Which keys has the store surely never held?
//!
//! Most look-ups that reach the store are for questions nobody asked before. A Bloom filter (Bloom, CACM 1970) answers
//! those without a query: what it has not seen is not there. What it has seen may be gone again, or be another's; then
//! the query says so. Only for SQLite, where this process is the only one that writes.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use crate::chat::Fingerprint;

/// Bits, 4 MiB of them: with four per key, among a million keys one query in 6,000 is made for nothing, among three
/// millions, about what the default capacity holds, one in 100.
const BITS: usize = 1 << 25;
const BITS_PER_WORD: usize = u64::BITS as usize;

/// The keys seen so far.
pub(super) struct KnownKeys {
    words: Box<[AtomicU64]>,
    /// Whether every key that was in the store at its opening has been seen.
    is_complete: AtomicBool,
}

impl KnownKeys {
    pub(super) fn new() -> Self {
        let words = std::iter::repeat_with(AtomicU64::default).take(BITS / BITS_PER_WORD).collect();
        Self { words, is_complete: AtomicBool::new(false) }
    }

    /// Notes a key, which must happen before it can be committed.
    pub(super) fn insert(&self, key: &Fingerprint) {
        for bit in bits(key) {
            self.words[bit / BITS_PER_WORD].fetch_or(1 << (bit % BITS_PER_WORD), Ordering::Relaxed);
        }
    }

    /// Says that from now on what was not seen is not there.
    pub(super) fn complete(&self) {
        self.is_complete.store(true, Ordering::Release);
    }

    /// Returns whether the store may hold a key; until the filter is complete it may hold any.
    pub(super) fn may_hold(&self, key: &Fingerprint) -> bool {
        !self.is_complete.load(Ordering::Acquire)
            || bits(key).all(|bit| {
                let word = self.words[bit / BITS_PER_WORD].load(Ordering::Relaxed);
                word & (1 << (bit % BITS_PER_WORD)) != 0
            })
    }
}

/// The places of a key. It is a digest, so pieces of it are as good as hashes of it.
fn bits(key: &Fingerprint) -> impl Iterator<Item = usize> {
    let (pieces, _) = key.as_bytes().as_chunks::<8>();
    pieces.iter().map(|piece| u64::from_le_bytes(*piece) as usize % BITS)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn key(number: u64) -> Fingerprint {
        Fingerprint::from_bytes(*blake3::hash(&number.to_le_bytes()).as_bytes())
    }

    #[test]
    fn what_was_seen_may_be_there_and_the_rest_is_not() {
        let known = KnownKeys::new();
        for number in 0..10_000 {
            known.insert(&key(number));
        }
        assert!(known.may_hold(&key(20_000)), "not every key has been seen yet");
        known.complete();
        assert!((0..10_000).all(|number| known.may_hold(&key(number))));
        let mistaken = (10_000..110_000).filter(|number| known.may_hold(&key(*number))).count();
        assert!(mistaken < 10, "{mistaken} of 100,000 keys were taken for known");
    }
}
