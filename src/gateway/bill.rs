//! What an answer costs its caller, and what it spares.
//!
//! One call is paid once, by the request that had it made: whoever else is given its answer, at the same time or later,
//! pays nothing and saves what it cost. Where that is not known nothing is said, since a zero would be a claim.

/// The bill of one answer, in USD.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Bill {
    /// Spent for it; `None` where that is not known.
    pub cost_usd: Option<f64>,
    /// What it would have cost to have it made; `None` where that is not known.
    pub saved_usd: Option<f64>,
}

impl Bill {
    /// Returns the bill of the request that had an answer made, which cost so much.
    pub(super) fn of_leader(cost_usd: Option<f64>) -> Self {
        Self { cost_usd, saved_usd: cost_usd.map(|_| 0.0) }
    }

    /// Returns the bill of an answer of the ladder: nothing was spent, and nothing spared that could have been had.
    pub(super) const fn of_ladder() -> Self {
        Self { cost_usd: Some(0.0), saved_usd: Some(0.0) }
    }

    /// Returns the bill of a request that is given what another one paid: a follower's, or a hit's.
    pub(super) fn of_guest(cost_usd: Option<f64>) -> Self {
        Self { cost_usd: Some(0.0), saved_usd: cost_usd }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_answer_is_paid_once_and_what_is_not_known_is_not_said() {
        let bill = |cost_usd, saved_usd| Bill { cost_usd, saved_usd };
        assert_eq!(Bill::of_leader(Some(0.5)), bill(Some(0.5), Some(0.0)));
        assert_eq!(Bill::of_guest(Some(0.5)), bill(Some(0.0), Some(0.5)));
        assert_eq!(Bill::of_leader(None), bill(None, None));
        assert_eq!(Bill::of_guest(None), bill(Some(0.0), None));
        assert_eq!(Bill::of_ladder(), bill(Some(0.0), Some(0.0)));
    }
}
