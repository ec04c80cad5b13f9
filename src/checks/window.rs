//! How many of a route's last checked hits were wrong, and how sure is that? Reads no clock.

use std::collections::VecDeque;

use crate::calibration::{Interval, wilson};

/// How many results are remembered. At one wrong hit in a hundred the interval is then about a percent wide.
const LENGTH: usize = 1_000;
/// Fewer results decide nothing, however bad they are.
const ENOUGH: u64 = 20;

/// The last results, oldest first; `true` is a wrong hit.
#[derive(Debug, Default)]
pub struct Window {
    results: VecDeque<bool>,
    different: u64,
}

/// What was found among the last checked hits.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counts {
    /// Those of which it could be said whether they were right.
    pub checked: u64,
    /// Those that were wrong.
    pub different: u64,
}

impl Window {
    /// Returns a window that holds what was counted before. In which order it was found nobody knows any more.
    pub fn of(counts: Counts) -> Self {
        let mut window = Self::default();
        (0..counts.checked.min(LENGTH as u64)).for_each(|at| window.push(at < counts.different));
        window
    }

    /// Takes in one result, and forgets the oldest one where there are too many.
    pub fn push(&mut self, is_different: bool) {
        if self.results.len() == LENGTH {
            let forgotten = self.results.pop_front().unwrap_or_default();
            self.different -= u64::from(forgotten);
        }
        self.results.push_back(is_different);
        self.different += u64::from(is_different);
    }

    pub fn counts(&self) -> Counts {
        Counts { checked: self.results.len() as u64, different: self.different }
    }
}

impl Counts {
    /// Returns the share of wrong hits with its 95 % interval; `None` where none was checked.
    pub fn rate(self) -> Option<Interval> {
        (self.checked > 0).then(|| wilson(self.different, self.checked))
    }

    /// Returns whether the share is certain to be higher than this: by the lower end of its interval, and of results
    /// enough.
    pub fn exceed(self, max: f64) -> bool {
        self.checked >= ENOUGH && self.rate().is_some_and(|rate| rate.low > max)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_last_thousand_count_and_what_is_older_is_forgotten() {
        let mut window = Window::default();
        assert_eq!(window.counts().rate(), None);
        (0..300).for_each(|_| window.push(true));
        assert_eq!(window.counts(), Counts { checked: 300, different: 300 });
        (0..900).for_each(|_| window.push(false));
        assert_eq!(window.counts(), Counts { checked: 1_000, different: 100 });
        (0..100).for_each(|_| window.push(false));
        assert_eq!(window.counts(), Counts { checked: 1_000, different: 0 });
    }

    #[test]
    fn what_was_counted_before_a_restart_is_counted_on() {
        let before = Counts { checked: 40, different: 12 };
        assert_eq!(Window::of(before).counts(), before);
        let mut vast = Window::of(Counts { checked: u64::MAX, different: 3 });
        assert_eq!(vast.counts(), Counts { checked: 1_000, different: 3 });
        vast.push(false);
        assert_eq!(vast.counts(), Counts { checked: 1_000, different: 2 });
    }

    #[test]
    fn only_what_is_certain_is_too_much() {
        let exceed = |different, checked| Counts { checked, different }.exceed(0.1);
        assert!(!exceed(19, 19), "too few to say anything");
        assert!(exceed(20, 20));
        // 5 of 20 is 25 %, and its interval begins at 11 %; that of 4 of 20 at 8 %.
        assert!(exceed(5, 20) && !exceed(4, 20));
        assert!(!exceed(100, 1_000) && exceed(125, 1_000));
    }
}
