//! How many retries may an upstream be given?
//!
//! When an upstream is in trouble, every retry is one more call that it cannot serve. So retries are a share of the
//! requests of the last while; a few at a time are always allowed, lest a quiet server never retries. A failover is not
//! a retry: it goes to somebody else. Reads no clock: whoever asks brings the moment.

use std::collections::VecDeque;
use std::time::Duration;

use tokio::time::Instant;

/// The time over which requests and retries are counted.
const WINDOW: Duration = Duration::from_secs(10);
/// Retries under way at a time that are always allowed.
const ALWAYS: usize = 3;
/// What is counted together.
const SLOT: Duration = Duration::from_secs(1);

/// The retry budget of one upstream.
#[derive(Debug, Default)]
pub struct RetryBudget {
    slots: VecDeque<Slot>,
}

#[derive(Debug)]
struct Slot {
    began: Instant,
    requests: u32,
    retries: u32,
}

impl RetryBudget {
    /// Counts a request that is not a retry.
    pub fn request(&mut self, now: Instant) {
        let slot = self.slot(now);
        slot.requests = slot.requests.saturating_add(1);
    }

    /// Takes a retry from the budget, and returns whether there was one. `ratio` is the share of requests, `under_way` how
    /// many retries are waited for or made at the moment.
    pub fn retry(&mut self, now: Instant, ratio: f64, under_way: usize) -> bool {
        self.slot(now);
        let (requests, retries) = self.slots.iter().fold((0_u32, 0_u32), |(requests, retries), slot| {
            (requests.saturating_add(slot.requests), retries.saturating_add(slot.retries))
        });
        let is_share = f64::from(retries) + 1.0 <= f64::from(requests) * ratio;
        let is_allowed = is_share || under_way < ALWAYS;
        if is_allowed {
            self.slot(now).retries += 1;
        }
        is_allowed
    }

    fn slot(&mut self, now: Instant) -> &mut Slot {
        while self.slots.front().is_some_and(|slot| now.duration_since(slot.began) >= WINDOW) {
            self.slots.pop_front();
        }
        if self.slots.back().is_none_or(|slot| now.duration_since(slot.began) >= SLOT) {
            self.slots.push_back(Slot { began: now, requests: 0, retries: 0 });
        }
        self.slots.back_mut().expect("a slot was put there where none was")
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn three_at_a_time_are_always_allowed_and_beyond_that_a_share_of_the_requests() {
        let mut budget = RetryBudget::default();
        let now = Instant::now();
        assert!((0..3).all(|under_way| budget.retry(now, 0.2, under_way)));
        assert!(!budget.retry(now, 0.2, 3));
        assert!(budget.retry(now, 0.2, 2), "one of them is over");
        (0..25).for_each(|_| budget.request(now));
        assert!(budget.retry(now, 0.2, 3), "a fifth of 25 is 5");
        assert!(!budget.retry(now, 0.2, 3));
        (0..5).for_each(|_| budget.request(now + WINDOW));
        assert!(budget.retry(now + WINDOW, 0.2, 3), "what was used is forgotten");
    }

    proptest! {
        #[test]
        fn beyond_a_few_at_a_time_no_window_has_more_retries_than_its_share(
            acts in prop::collection::vec((any::<bool>(), 0_u64..2_000), 1..300),
        ) {
            let mut budget = RetryBudget::default();
            let mut now = Instant::now();
            let mut seen: Vec<(Instant, bool)> = Vec::new();
            for (is_retry, wait_ms) in acts {
                now += Duration::from_millis(wait_ms);
                if is_retry {
                    if budget.retry(now, 0.2, ALWAYS) {
                        seen.push((now, true));
                    }
                } else {
                    budget.request(now);
                    seen.push((now, false));
                }
                // Slots are a second wide, so a window may reach a second further back.
                let within = |at: &Instant, window| now.duration_since(*at) < window;
                let retries = seen.iter().filter(|(at, retry)| *retry && within(at, WINDOW - SLOT)).count();
                let requests = seen.iter().filter(|(at, retry)| !*retry && within(at, WINDOW + WINDOW)).count();
                prop_assert!(retries as f64 <= requests as f64 * 0.2);
            }
        }
    }
}
