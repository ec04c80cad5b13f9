//! Who of a chain is asked first?

use std::cmp::Reverse;

use tokio::time::Instant;

use super::{Route, Step};
use crate::config::Strategy;

impl Route {
    /// Returns the places of the chain in the order in which they are to be asked now: by the route's strategy, but those
    /// that can be asked before those that cannot, and of the latter the one first that recovers first. `draw` gives
    /// numbers from [0, 1).
    pub(super) fn order(&self, now: Instant, mut draw: impl FnMut() -> f64) -> Vec<usize> {
        let mut order: Vec<usize> = (0..self.chain.len()).collect();
        match self.strategy {
            Strategy::Ordered => {}
            Strategy::LastSuccess => {
                order.sort_by_key(|at| Reverse(self.chain[*at].target().last_success()));
            }
            // One that was not asked of late may have become fast: it is asked first, and then known.
            Strategy::LeastLatency => {
                order.sort_by_cached_key(|at| self.chain[*at].target().typical_first_token(now));
            }
            Strategy::Weighted => {
                // The order of exponential waits is that of drawing by weight without putting back (Efraimidis and
                // Spirakis, "Weighted random sampling with a reservoir", 2006).
                let mut keys: Vec<f64> = Vec::with_capacity(order.len());
                keys.extend(order.iter().map(|at| wait(self.weight(*at), draw())));
                order.sort_by(|one, other| keys[*one].total_cmp(&keys[*other]));
            }
        }
        order.sort_by_cached_key(|at| self.chain[*at].unavailable(now).map(|why| why.until()));
        order
    }

    fn weight(&self, at: usize) -> f64 {
        self.weights.as_ref().map_or(1.0, |weights| f64::from(weights[at]))
    }
}

/// Returns an exponential wait for a weight; endless for none.
fn wait(weight: f64, draw: f64) -> f64 {
    if weight > 0.0 { -(1.0 - draw).ln() / weight } else { f64::INFINITY }
}

impl Step {
    pub(super) fn target(&self) -> std::sync::Arc<super::target::Target> {
        self.upstream.target(&self.model)
    }

    /// Returns why it could not be asked now.
    pub(super) fn unavailable(&self, now: Instant) -> Option<super::target::Unavailable> {
        self.upstream.unavailable(&self.model, now)
    }
}
