//! Who is asked, for how long, and who is asked next?
//!
//! A route is a name and a chain of upstreams. The chain is walked in order: an upstream that fails before anything of
//! its answer was handed on gives way to the next one, unless the caller's own mistake was the reason. Knows no cache
//! but the settings it carries for its routes.

mod account;
mod attempt;
mod clock;
mod count;
mod forward;
mod generate;
mod resolve;
mod snapshot;
mod upstream;

use std::sync::Arc;

use crate::chat::{KeyRules, ModelAlias};
use crate::config::{CacheConfig, Config};
use crate::telemetry::Telemetry;
use crate::transport::Transport;

pub use count::TokenCount;
pub use forward::Passing;
pub use generate::{ChainFailure, Event, Failure, Generation, Opened, Times};
pub use resolve::{Route, Step, UnknownModel};
pub use snapshot::{BreakerState, Condition, Parked, Percentiles, UpstreamHealth};
pub use upstream::Upstream;

use account::Counter;
use resolve::Routes;

/// All routes and upstreams.
pub struct Router {
    routes: Routes,
    /// Where calls go that are passed on as they came.
    passthrough: Option<Arc<Upstream>>,
    transport: Transport,
    telemetry: Arc<Telemetry>,
    counter: Counter,
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
    ) -> Self {
        let aliases = config.routes.iter().map(|route| {
            let cache = Arc::new(config.cache.overridden(&route.cache));
            let chain = route.chain.iter().filter_map(|step| {
                let (provider, model) = step.split_once('/')?;
                let upstream = upstreams.iter().find(|upstream| upstream.name == provider)?;
                Some(Step { upstream: Arc::clone(upstream), model: model.to_owned(), is_free: false })
            });
            let built = Route {
                alias: ModelAlias::new(route.model.as_str()),
                label: Arc::from(route.model.as_str()),
                chain: chain.collect(),
                key_rules: Arc::new(key_rules(&cache)),
                cache,
            };
            (route.model.clone(), Arc::new(built))
        });
        let passthrough = config
            .passthrough
            .provider
            .as_ref()
            .and_then(|name| upstreams.iter().find(|upstream| &upstream.name == name).map(Arc::clone));
        let cache = Arc::new(config.cache.clone());
        let routes = Routes {
            other: Arc::from("other"),
            aliases: aliases.collect(),
            key_rules: Arc::new(key_rules(&cache)),
            cache,
            upstreams,
            default_model,
        };
        Self { routes, passthrough, transport, telemetry, counter: Counter::default() }
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

    /// Returns how every upstream is, in the order of the configuration.
    pub fn health(&self) -> Vec<UpstreamHealth> {
        let well = |upstream: &Arc<Upstream>| UpstreamHealth {
            name: upstream.name.clone(),
            parked: None,
            overall: Condition { is_healthy: true, ..Condition::default() },
            models: Vec::new(),
        };
        self.routes.upstreams.iter().map(well).collect()
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
