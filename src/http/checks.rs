//! What checks of semantic hits have found, as stats, explanations and switches show it.

use serde::Serialize;

use super::json;
use crate::checks::{Counts, ExactOnly, RouteReading};

/// The results of a route's last checks.
#[derive(Debug, Serialize)]
pub(super) struct ChecksJson {
    /// Hits of which it could be said whether they were right, at most the last 1,000.
    checked: u64,
    /// Those that were wrong.
    different: u64,
    /// Their share, and where the true one lies with 95 % confidence; `null` where none was checked.
    rate: Option<f64>,
    low: Option<f64>,
    high: Option<f64>,
    /// Since when the route answers equal requests only; `null` where it answers similar ones, too.
    exact_only: Option<String>,
}

impl From<&RouteReading> for ChecksJson {
    fn from(reading: &RouteReading) -> Self {
        let RouteReading { route: _, counts, exact_only } = reading;
        let Counts { checked, different } = *counts;
        let rate = counts.rate();
        Self {
            checked,
            different,
            rate: rate.map(|rate| rounded(rate.share)),
            low: rate.map(|rate| rounded(rate.low)),
            high: rate.map(|rate| rounded(rate.high)),
            exact_only: exact_only.and_then(|ExactOnly { since, .. }| json::moment(since)),
        }
    }
}

/// Keeps four digits, which is more than a thousand checks can tell.
fn rounded(share: f64) -> f64 {
    (share * 1e4).round() / 1e4
}

impl ChecksJson {
    /// Returns the results of a route that has some.
    pub(super) fn of_checked(reading: &RouteReading) -> Option<Self> {
        (reading.counts.checked > 0).then(|| reading.into())
    }
}
