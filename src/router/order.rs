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

#[cfg(test)]
mod tests {
    use std::sync::Arc;
    use std::time::Duration;

    use super::*;
    use crate::chat::ModelAlias;
    use crate::config::{BreakerConfig, Config, ProviderConfig, ProviderKind, RetryConfig};
    use crate::providers::{OpenAi, ProviderError, ProviderErrorKind};
    use crate::router::Upstream;
    use crate::router::breaker::Settings;

    /// A chain of three upstreams.
    fn route(strategy: Strategy, weights: Option<Vec<u32>>) -> Route {
        let step = |name: &str| {
            let config = ProviderConfig::named(name, ProviderKind::OpenAi);
            let provider = Arc::new(OpenAi::official(&config).unwrap());
            let upstream = Arc::new(Upstream::new(&config, provider));
            Step { upstream, model: "m".to_owned(), is_free: false }
        };
        Route {
            alias: ModelAlias::new("r"),
            label: Arc::from("r"),
            chain: ["a", "b", "c"].map(step).into(),
            key_rules: Arc::default(),
            cache: Arc::new(Config::default().cache),
            degrade: Arc::default(),
            strategy,
            weights,
            retry: RetryConfig::default(),
            is_interchangeable: true,
            rescue_by_turn: false,
        }
    }

    fn settings() -> Settings {
        Settings::of(&BreakerConfig::default())
    }

    fn answer(route: &Route, at: usize, first_token_ms: u64, now: Instant) {
        let time = Duration::from_millis(first_token_ms);
        route.chain[at].target().admit(now).unwrap().succeeded(time, time, now, &settings());
    }

    fn limit(route: &Route, at: usize, seconds: u64, now: Instant) {
        let error = ProviderError {
            retry_after: Some(Duration::from_secs(seconds)),
            ..ProviderError::new(ProviderErrorKind::RateLimited, "")
        };
        let permit = route.chain[at].target().admit(now).unwrap();
        permit.failed(&error, 0.0, now, &settings(), &RetryConfig::default());
    }

    #[test]
    fn the_well_come_first_and_of_the_others_the_one_that_recovers_first() {
        let (route, now) = (route(Strategy::Ordered, None), Instant::now());
        assert_eq!(route.order(now, || 0.5), [0, 1, 2]);
        limit(&route, 0, 60, now);
        assert_eq!(route.order(now, || 0.5), [1, 2, 0]);
        limit(&route, 1, 10, now);
        assert_eq!(route.order(now, || 0.5), [2, 1, 0]);
        assert_eq!(route.order(now + Duration::from_secs(10), || 0.5), [1, 2, 0]);
    }

    #[test]
    fn who_answered_last_comes_first_and_then_the_chain() {
        let (route, now) = (route(Strategy::LastSuccess, None), Instant::now());
        answer(&route, 1, 10, now);
        assert_eq!(route.order(now, || 0.5), [1, 0, 2]);
        answer(&route, 2, 10, now + Duration::from_secs(1));
        assert_eq!(route.order(now, || 0.5), [2, 1, 0]);
    }

    #[test]
    fn the_fastest_comes_first_once_all_are_known() {
        let (route, now) = (route(Strategy::LeastLatency, None), Instant::now());
        answer(&route, 0, 30, now);
        assert_eq!(route.order(now, || 0.5), [1, 2, 0], "who is not known is found out about");
        answer(&route, 1, 20, now);
        answer(&route, 2, 10, now);
        assert_eq!(route.order(now, || 0.5), [2, 1, 0]);
    }

    #[test]
    fn each_is_drawn_as_often_as_it_weighs() {
        let (route, now) = (route(Strategy::Weighted, Some(vec![3, 1, 0])), Instant::now());
        let mut seed = 7_u64;
        // A plain generator will do: the draws need only spread.
        let mut draw = || {
            seed = seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            (seed >> 11) as f64 / (1_u64 << 53) as f64
        };
        let mut firsts = [0; 3];
        for _ in 0..4_000 {
            let order = route.order(now, &mut draw);
            assert_eq!(order[2], 2, "who has no weight comes last");
            firsts[order[0]] += 1;
        }
        assert!((2_850..3_150).contains(&firsts[0]), "{firsts:?}");
    }
}
