//! How sure is a share that was counted?

use std::fmt::{self, Display};

use serde::Serialize;

/// A share and where the true one lies with 95 % confidence, all in [0, 1].
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct Interval {
    pub share: f64,
    pub low: f64,
    pub high: f64,
}

impl Display for Interval {
    /// Writes it in percent: `47.2 % (40.1–54.5)`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let [share, low, high] = [self.share, self.low, self.high].map(|share| share * 100.0);
        f.pad(&format!("{share:.1} % ({low:.1}–{high:.1})"))
    }
}

/// The quantile of the normal distribution that leaves 2.5 % on either side.
const Z: f64 = 1.959_963_984_540_054;

/// Returns the share of `part` in `whole` with its interval by Wilson's score (E. B. Wilson, 1927), which holds for
/// small counts too. Of nothing, nothing is known.
pub fn wilson(part: u64, whole: u64) -> Interval {
    if whole == 0 {
        return Interval { share: 0.0, low: 0.0, high: 1.0 };
    }
    let (count, share) = (whole as f64, part as f64 / whole as f64);
    let scale = 1.0 + Z * Z / count;
    let middle = (share + Z * Z / (2.0 * count)) / scale;
    let spread = Z * (share * (1.0 - share) / count + Z * Z / (4.0 * count * count)).sqrt() / scale;
    Interval { share, low: (middle - spread).max(0.0), high: (middle + spread).min(1.0) }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn known_intervals() {
        // 10 of 100: 0.0552 to 0.1744 (Brown, Cai and DasGupta 2001).
        let Interval { share, low, high } = wilson(10, 100);
        assert!((share - 0.1).abs() < 1e-12 && (low - 0.0552).abs() < 1e-4 && (high - 0.1744).abs() < 1e-4);
        let none = wilson(0, 100);
        assert!(none.low < 1e-12 && (none.high - 0.0370).abs() < 1e-4);
        assert_eq!((wilson(0, 0).low, wilson(0, 0).high), (0.0, 1.0));
    }

    proptest! {
        #[test]
        fn a_share_lies_in_its_interval(part in 0..1_000_u64, rest in 0..1_000_u64) {
            let Interval { share, low, high } = wilson(part, part + rest);
            prop_assert!((0.0..=1.0).contains(&low) && high <= 1.0);
            prop_assert!(part + rest == 0 || (low <= share + 1e-12 && share <= high + 1e-12));
        }
    }
}
