//! `[[routes]]`: model names of our own.

use serde::Deserialize;

use super::CacheOverrides;

/// A name that callers may ask for, and the upstreams that answer under it.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RouteConfig {
    /// The alias. `default` is what a request without a model means.
    pub model: String,
    /// `provider/model`, first choice first; the next one is asked when one fails.
    pub chain: Vec<String>,
    #[serde(default)]
    pub cache: CacheOverrides,
}
