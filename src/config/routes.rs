//! `[[routes]]`: model names of our own.

use serde::Deserialize;

use super::{CacheOverrides, DegradeOverrides, RetryOverrides};

/// A name that callers may ask for, and the upstreams that answer under it.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RouteConfig {
    /// The alias. `default` is what a request without a model means.
    pub model: String,
    /// `provider/model`, first choice first; the next one is asked when one fails.
    pub chain: Vec<String>,
    /// In which order the healthy ones of the chain are asked. Default `ordered`.
    #[serde(default)]
    pub strategy: Strategy,
    /// For `strategy = "weighted"`: the share of each of the chain, in its order. Default: all alike.
    #[serde(default)]
    pub weights: Option<Vec<u32>>,
    /// Whether an answer of another model than the first may be kept as the route's answer. Default `true`.
    #[serde(default = "yes")]
    pub interchangeable: bool,
    /// Whether an answer that broke off after its first words may be finished by asking the next upstream, in one more turn,
    /// to continue it. Default `false`: the seam may show.
    #[serde(default)]
    pub rescue_by_turn: bool,
    #[serde(default)]
    pub cache: CacheOverrides,
    #[serde(default)]
    pub retry: RetryOverrides,
    #[serde(default)]
    pub degrade: DegradeOverrides,
}

const fn yes() -> bool {
    true
}

/// In which order the healthy upstreams of a chain are asked. Those that are not healthy come after them.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Strategy {
    /// As the chain names them.
    #[default]
    Ordered,
    /// The one first that answered last.
    LastSuccess,
    /// The one first whose first token came soonest of late.
    LeastLatency,
    /// Drawn by weight.
    Weighted,
}
