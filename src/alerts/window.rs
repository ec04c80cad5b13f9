//! What share of a route's requests went wrong of late. Reads no clock.

use std::collections::VecDeque;
use std::time::Duration;

use crate::telemetry::Totals;

/// How finely the window moves.
const STEPS: u32 = 30;

/// What was counted of one route, over a window that moves along.
#[derive(Debug, Default)]
pub struct Window {
    /// Totals and when they were read, oldest first. The first one is where the window begins.
    samples: VecDeque<(Duration, Totals)>,
    newest: Totals,
}

impl Window {
    /// Takes in what was counted up to `now`, a time since any fixed moment, and forgets what is older than `length`.
    pub fn note(&mut self, totals: Totals, now: Duration, length: Duration) {
        if self.newest.requests > totals.requests || self.newest.generations > totals.generations {
            // The route was away, and is counted from nothing again.
            self.samples.clear();
        }
        self.newest = totals;
        if self.samples.back().is_none_or(|(at, _)| now.saturating_sub(*at) >= length / STEPS) {
            self.samples.push_back((now, totals));
        }
        let begins = now.saturating_sub(length);
        while self.samples.get(1).is_some_and(|(at, _)| *at <= begins) {
            self.samples.pop_front();
        }
    }

    /// Returns what was counted within the window.
    pub fn counted(&self) -> Totals {
        let before = self.samples.front().map(|(_, totals)| *totals).unwrap_or_default();
        Totals {
            requests: self.newest.requests - before.requests,
            errors: self.newest.errors.saturating_sub(before.errors),
            generations: self.newest.generations - before.generations,
            fallbacks: self.newest.fallbacks.saturating_sub(before.fallbacks),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LENGTH: Duration = Duration::from_secs(300);

    fn totals(requests: u64, errors: u64) -> Totals {
        Totals { requests, errors, ..Totals::default() }
    }

    fn at(seconds: u64) -> Duration {
        Duration::from_secs(seconds)
    }

    #[test]
    fn what_is_older_than_the_window_counts_no_more() {
        let mut window = Window::default();
        window.note(totals(0, 0), at(0), LENGTH);
        for second in 1..=400 {
            // One request a second; those of the first 50 seconds went wrong.
            window.note(totals(second, second.min(50)), at(second), LENGTH);
        }
        let counted = window.counted();
        // The window begins at a sample: at most one step, 10 s, early.
        assert!((300..=310).contains(&counted.requests), "{counted:?}");
        assert_eq!(counted.errors, 0);
        assert!(window.samples.len() <= STEPS as usize + 2, "{}", window.samples.len());
    }

    #[test]
    fn the_first_readings_count_from_where_the_watch_began() {
        let mut window = Window::default();
        window.note(totals(1_000, 900), at(0), LENGTH);
        assert_eq!(window.counted(), Totals::default());
        window.note(totals(1_010, 903), at(1), LENGTH);
        assert_eq!(window.counted(), totals(10, 3));
    }

    #[test]
    fn a_route_that_begins_anew_begins_anew_here() {
        let mut window = Window::default();
        window.note(totals(50, 50), at(0), LENGTH);
        window.note(totals(90, 60), at(10), LENGTH);
        window.note(totals(2, 0), at(20), LENGTH);
        assert_eq!(window.counted(), Totals::default());
        window.note(totals(5, 1), at(30), LENGTH);
        assert_eq!(window.counted(), totals(3, 1));
    }
}
