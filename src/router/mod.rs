//! Who is asked, for how long, and who is asked next?
//!
//! A route is a name and a chain of upstreams. `generate` walks it: those that are well first, each within its limits,
//! again where that helps, on to the next one where it does not, unless the caller's own mistake was the reason; and
//! `rescue` finishes what broke off after its first words. What is decided without I/O stands apart and is pure:
//! `breaker`, `budget`, `retry`, `splice`. Knows no cache but the settings it carries for its routes.

mod account;
mod account_state;
mod attempt;
mod breaker;
mod budget;
mod clock;
mod count;
mod failure;
mod forward;
mod generate;
mod limits;
mod order;
mod rescue;
mod resolve;
mod retry;
mod snapshot;
mod splice;
mod target;
mod upstream;
mod watch;

use std::collections::HashMap;
use std::sync::Arc;

use crate::chat::{KeyRules, ModelAlias};
use crate::config::{CacheConfig, Config};
use crate::telemetry::{Events, Telemetry};
use crate::transport::Transport;

pub use count::TokenCount;
pub use failure::{ChainFailure, Failure};
pub use forward::Passing;
pub use generate::{Event, Generation, Opened, Times, Whole};
pub use resolve::{Route, Step, UnknownModel};
pub use snapshot::{BreakerState, Condition, Parked, Percentiles, Room, UpstreamHealth};
pub use upstream::Upstream;

use account::Counter;
use resolve::Routes;
use watch::Watch;

/// All routes and upstreams.
pub struct Router {
    routes: Routes,
    /// Where calls go that are passed on as they came.
    passthrough: Option<Arc<Upstream>>,
    transport: Transport,
    telemetry: Arc<Telemetry>,
    counter: Counter,
    watch: Watch,
}

impl Router {
    /// Builds the routes of a configuration that was validated, over these upstreams, in the order of preference.
    /// `default_model` is what a request without a model means where no route is called `default`.
    pub fn new(
        config: &Config,
        upstreams: Vec<Arc<Upstream>>,
        default_model: Option<String>,
        transport: Transport,
        telemetry: Arc<Telemetry>,
        events: Events,
    ) -> Self {
        // Known from the beginning, so that names of callers never take their places.
        for upstream in &upstreams {
            upstream.models.iter().flatten().for_each(|model| drop(upstream.target(&model.name)));
        }
        let aliases = config.routes.iter().map(|route| {
            let cache = Arc::new(config.cache.overridden(&route.cache));
            let chain = route.chain.iter().filter_map(|step| {
                let (provider, model) = step.split_once('/')?;
                let upstream = upstreams.iter().find(|upstream| *upstream.name == *provider)?;
                Some(Step { upstream: Arc::clone(upstream), model: model.to_owned(), is_free: false })
            });
            let built = Route {
                alias: ModelAlias::new(route.model.as_str()),
                label: Arc::from(route.model.as_str()),
                chain: chain.collect(),
                key_rules: Arc::new(key_rules(&cache)),
                cache,
                strategy: route.strategy,
                weights: route.weights.clone(),
                retry: config.retry.overridden(&route.retry),
                is_interchangeable: route.interchangeable,
                rescue_by_turn: route.rescue_by_turn,
                degrade: Arc::new(config.degrade.overridden(&route.degrade)),
            };
            (route.model.clone(), Arc::new(built))
        });
        let aliases: HashMap<_, Arc<Route>> = aliases.collect();
        let chains = aliases.values().flat_map(|route| &route.chain);
        let chained = chains.inspect(|step| drop(step.target())).map(Step::name).collect();
        let passthrough = config
            .passthrough
            .provider
            .as_ref()
            .and_then(|name| upstreams.iter().find(|upstream| *upstream.name == **name).map(Arc::clone));
        let cache = Arc::new(config.cache.clone());
        let routes = Routes {
            other: Arc::from("other"),
            aliases,
            chained,
            key_rules: Arc::new(key_rules(&cache)),
            cache,
            retry: config.retry,
            degrade: Arc::new(config.degrade.clone()),
            upstreams,
            default_model,
        };
        let watch = Watch::new(events, &config.breaker, config.retry);
        Self { routes, passthrough, transport, telemetry, counter: Counter::default(), watch }
    }

    /// Returns the route of a model name; `None` means the alias `default`.
    ///
    /// # Errors
    /// [`UnknownModel`], naming what is known.
    pub fn resolve(&self, asked: Option<&str>) -> Result<Arc<Route>, UnknownModel> {
        self.routes.resolve(asked)
    }

    /// Returns the label of a model name in metrics: a configured name or `other`.
    pub fn label(&self, asked: Option<&str>) -> Arc<str> {
        self.routes.label(asked)
    }

    /// Returns the label of every route, by name, and that of all other names.
    pub fn labels(&self) -> Vec<Arc<str>> {
        self.routes.labels()
    }

    /// Returns every name that may be asked for, with who answers.
    pub fn listed(&self) -> Vec<(String, String)> {
        self.routes.listed()
    }
}

fn key_rules(cache: &CacheConfig) -> KeyRules {
    KeyRules {
        scope: cache.scope,
        ignore: cache.ignore_in_key.iter().map(|pattern| pattern.0.clone()).collect(),
    }
}
