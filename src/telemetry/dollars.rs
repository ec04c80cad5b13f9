//! Sums of money, which Prometheus counts as it counts anything else, and the `metrics` crate does not: its counters
//! hold whole numbers, and its gauges would be announced as what may fall.

use std::fmt::Write;
use std::sync::atomic::{AtomicU64, Ordering};

/// A sum in USD that only grows. Starts at zero; the bits are those of an `f64`, and all of them clear mean `0.0`.
#[derive(Debug, Default)]
pub(super) struct Dollars(AtomicU64);

impl Dollars {
    /// Adds to the sum what is more than nothing.
    pub(super) fn add(&self, usd: f64) {
        if usd.is_finite() && usd > 0.0 {
            self.0.update(Ordering::Relaxed, Ordering::Relaxed, |sum| (f64::from_bits(sum) + usd).to_bits());
        }
    }

    /// Appends the series in Prometheus' text format.
    pub(super) fn render(&self, name: &str, help: &str, out: &mut String) {
        let sum = f64::from_bits(self.0.load(Ordering::Relaxed));
        write!(out, "# HELP {name} {help}\n# TYPE {name} counter\n{name} {sum}\n\n")
            .expect("a text takes whatever is written to it");
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_sum_grows_by_what_is_money_and_by_nothing_else() {
        let sum = Dollars::default();
        let shown = || {
            let mut out = String::new();
            sum.render("refrain_x_usd_total", "What it cost.", &mut out);
            out
        };
        let head = "# HELP refrain_x_usd_total What it cost.\n# TYPE refrain_x_usd_total counter\n";
        assert_eq!(shown(), format!("{head}refrain_x_usd_total 0\n\n"));
        for usd in [0.25, 0.000_000_5, -1.0, f64::NAN, f64::INFINITY, 0.0] {
            sum.add(usd);
        }
        assert_eq!(shown(), format!("{head}refrain_x_usd_total 0.2500005\n\n"));
    }

    #[test]
    fn nothing_is_lost_between_threads() {
        let sum = Dollars::default();
        std::thread::scope(|scope| {
            for _ in 0..4 {
                scope.spawn(|| (0..1_000).for_each(|_| sum.add(0.5)));
            }
        });
        assert_eq!(f64::from_bits(sum.0.into_inner()), 2_000.0);
    }
}
