//! How many checks may there be? Few: they are for knowing, and everything else is for somebody.

use std::num::NonZeroU32;
use std::sync::Arc;

use governor::{DefaultDirectRateLimiter, Quota, RateLimiter};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

/// Checks at a time, of the whole process.
const AT_A_TIME: usize = 2;
/// Checks a minute, of the whole process. They may come at once, and are then let through evenly.
const A_MINUTE: NonZeroU32 = NonZeroU32::new(30).expect("30 is not 0");

/// What checks are taken from. Nothing waits for it: a check that finds no place is left out.
#[derive(Debug)]
pub struct Budget {
    places: Arc<Semaphore>,
    pace: DefaultDirectRateLimiter,
}

/// Leave to make one check, until it is dropped.
#[derive(Debug)]
pub struct Place(#[expect(dead_code, reason = "held for its end")] OwnedSemaphorePermit);

impl Default for Budget {
    fn default() -> Self {
        Self {
            places: Arc::new(Semaphore::new(AT_A_TIME)),
            pace: RateLimiter::direct(Quota::per_minute(A_MINUTE)),
        }
    }
}

impl Budget {
    /// Returns leave to make a check now, if there is any.
    pub fn take(&self) -> Option<Place> {
        // The place first: who finds none must not use up the minute.
        let place = Arc::clone(&self.places).try_acquire_owned().ok()?;
        self.pace.check().ok()?;
        Some(Place(place))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn two_at_a_time_and_thirty_a_minute() {
        let budget = Budget::default();
        let held = [budget.take(), budget.take()];
        assert!(held.iter().all(Option::is_some) && budget.take().is_none());
        drop(held);
        let taken = (0..60).filter(|_| budget.take().is_some()).count();
        // On a slow machine the bucket gains one meanwhile.
        assert!((28..=29).contains(&taken), "{taken}");
    }
}
