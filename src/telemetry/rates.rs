//! How much of each route went wrong: counted where it happens without a lock, read by whoever watches it.
//!
//! Prometheus has these numbers too, spread over series that only it can add up; these are for the watch in this process.

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use arc_swap::ArcSwap;

/// The counts of every route, by its label in metrics.
#[derive(Debug, Default)]
pub struct Rates(ArcSwap<HashMap<Arc<str>, Arc<Counts>>>);

#[derive(Debug, Default)]
struct Counts {
    requests: AtomicU64,
    errors: AtomicU64,
    generations: AtomicU64,
    fallbacks: AtomicU64,
}

/// What was counted of one route since the server started.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Totals {
    /// Requests, however they were answered.
    pub requests: u64,
    /// Those that got an error which was no fault of the caller's.
    pub errors: u64,
    /// Answers that somebody had to be asked for.
    pub generations: u64,
    /// Those that came from another upstream than the first choice, or from the ladder.
    pub fallbacks: u64,
}

impl Rates {
    /// Counts these routes from now on, and no others; those that were known keep their counts.
    pub fn watch(&self, routes: impl IntoIterator<Item = Arc<str>>) {
        let known = self.0.load();
        let counts = routes.into_iter().map(|route| {
            let counts = known.get(&route).map(Arc::clone).unwrap_or_default();
            (route, counts)
        });
        self.0.store(Arc::new(counts.collect()));
    }

    /// Counts a request of a route; `is_error` for an error that was no fault of the caller's.
    pub fn answered(&self, route: &str, is_error: bool) {
        if let Some(counts) = self.0.load().get(route) {
            counts.requests.fetch_add(1, Ordering::Relaxed);
            counts.errors.fetch_add(is_error.into(), Ordering::Relaxed);
        }
    }

    /// Counts an answer of a route that somebody had to be asked for; `is_fallback` where it came from another upstream
    /// than the first choice, or from the ladder.
    pub fn generated(&self, route: &str, is_fallback: bool) {
        if let Some(counts) = self.0.load().get(route) {
            counts.generations.fetch_add(1, Ordering::Relaxed);
            counts.fallbacks.fetch_add(is_fallback.into(), Ordering::Relaxed);
        }
    }

    /// Returns what was counted of every route.
    pub fn read(&self) -> Vec<(Arc<str>, Totals)> {
        let read = |counts: &Counts| Totals {
            requests: counts.requests.load(Ordering::Relaxed),
            errors: counts.errors.load(Ordering::Relaxed),
            generations: counts.generations.load(Ordering::Relaxed),
            fallbacks: counts.fallbacks.load(Ordering::Relaxed),
        };
        self.0.load().iter().map(|(route, counts)| (Arc::clone(route), read(counts))).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn routes_that_stay_keep_their_counts_and_others_are_not_counted() {
        let rates = Rates::default();
        rates.answered("fast", true);
        rates.watch(["fast".into(), "other".into()]);
        rates.answered("fast", true);
        rates.answered("fast", false);
        rates.generated("fast", true);
        rates.answered("unknown", true);
        rates.watch(["fast".into(), "new".into()]);
        rates.answered("other", true);
        let mut read = rates.read();
        read.sort_unstable_by(|(one, _), (other, _)| one.cmp(other));
        let fast = Totals { requests: 2, errors: 1, generations: 1, fallbacks: 1 };
        assert_eq!(read, [("fast".into(), fast), ("new".into(), Totals::default())]);
    }
}
