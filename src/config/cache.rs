//! `[cache]` and `[cache.semantic]`: what is kept, for how long, and when it is served.

use serde::{Deserialize, Deserializer, de::Error};

/// The cache, for every route that does not say otherwise.
#[derive(Clone, Debug, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct CacheConfig {
    /// How much of the cache is used. Default `semantic`. A request may only narrow it.
    pub mode: CacheMode,
    /// Seconds an answer stays fresh. Default 86,400 (a day). 1 to 31,536,000.
    pub ttl_seconds: u64,
    /// Seconds an answer to a prompt about now ("today", "latest") stays fresh. Default 300.
    pub volatile_ttl_seconds: u64,
    /// Seconds an expired answer is kept for the time when no provider answers. Default 604,800 (a week).
    pub stale_if_error_seconds: u64,
    /// Seconds an expired answer is served at once while a fresh one is made in the background. Default 0: never.
    pub stale_while_revalidate_seconds: u64,
    /// Seconds an answer of another model than the route's first stays fresh. Default 3,600.
    pub fallback_ttl_seconds: u64,
    /// Bytes that the memory tier may hold. Default 256 MiB.
    pub memory_capacity_bytes: u64,
    /// Bytes that the store may hold; beyond it what saves least is evicted. Default 10 GiB.
    pub store_capacity_bytes: u64,
    /// With whom answers are shared. Default `tenant`. With `user`, a request that names no user is not cached.
    pub scope: Scope,
    /// Patterns to take out of system and developer texts before they are keyed, such as a timestamp that would make
    /// every request a stranger to all others. Never applied to what users say. Default none.
    pub ignore_in_key: Vec<Pattern>,
    /// The highest temperature whose answers are stored. Default: any.
    pub max_temperature: Option<f64>,
    /// Whether answers that call tools are stored, for equal requests only. Default `false`.
    pub store_tool_calls: bool,
    pub semantic: SemanticConfig,
}

impl Default for CacheConfig {
    fn default() -> Self {
        Self {
            mode: CacheMode::Semantic,
            ttl_seconds: 86_400,
            volatile_ttl_seconds: 300,
            stale_if_error_seconds: 604_800,
            stale_while_revalidate_seconds: 0,
            fallback_ttl_seconds: 3_600,
            memory_capacity_bytes: 256 << 20,
            store_capacity_bytes: 10 << 30,
            scope: Scope::Tenant,
            ignore_in_key: Vec::new(),
            max_temperature: None,
            store_tool_calls: false,
            semantic: SemanticConfig::default(),
        }
    }
}

/// How much of the cache is used; ordered from nothing to everything.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum CacheMode {
    Off,
    /// Equal requests only.
    Exact,
    /// Equal requests; for similar ones the decision is made and counted, and nothing is served.
    Shadow,
    /// Equal requests, then similar ones.
    Semantic,
}

impl CacheMode {
    /// Returns the word for it in a configuration.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Off => "off",
            Self::Exact => "exact",
            Self::Shadow => "shadow",
            Self::Semantic => "semantic",
        }
    }
}

/// With whom an answer may be shared.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Scope {
    /// With everybody of the tenant.
    #[default]
    Tenant,
    /// With the same end user only.
    User,
}

/// A regular expression that compiled.
#[derive(Clone, Debug)]
pub struct Pattern(pub regex::Regex);

impl<'de> Deserialize<'de> for Pattern {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        regex::Regex::new(&text).map(Self).map_err(D::Error::custom)
    }
}

/// When a similar request may be answered.
#[derive(Clone, Debug, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct SemanticConfig {
    /// The lowest cosine similarity at which guards and verifier are asked, in (0, 1]. Default: the one measured with the
    /// verifier.
    pub similarity_threshold: Option<f32>,
    /// The lowest score by verifier and similarity that is served, in (0, 1]. Default: the one measured with the embedding model.
    pub verifier_threshold: Option<f32>,
    /// The lowest cosine similarity of the ladder's step `nearest`, in (0, 1]. Default: 0.1 below the one above.
    pub nearest_threshold: Option<f32>,
    /// How many neighbours are looked at, 1 to 100. Default 5.
    pub candidates: usize,
    /// Milliseconds for embedding, search and decision together; then it is a miss. Default 50.
    pub budget_ms: u64,
    /// The guards that may refuse a neighbour. Default all.
    pub guards: Vec<GuardName>,
    /// The share of semantic hits that are checked afterwards against a fresh answer, in [0, 1]; each costs a call.
    /// Default 0: none.
    pub verify_sample_rate: f64,
    /// The share of wrong hits among those that were checked, in (0, 1), that is too much: once it is certain to be
    /// higher, the route serves equal requests only, until somebody switches it back. Default: never.
    pub max_error_rate: Option<f64>,
    /// The model that is asked whether two answers say the same: a route, or `provider/model`. It costs a second call for
    /// each check. Default: nobody, their embeddings are compared, which is coarse.
    pub judge_model: Option<String>,
}

impl Default for SemanticConfig {
    fn default() -> Self {
        Self {
            similarity_threshold: None,
            verifier_threshold: None,
            nearest_threshold: None,
            candidates: 5,
            budget_ms: 50,
            guards: GuardName::ALL.to_vec(),
            verify_sample_rate: 0.0,
            max_error_rate: None,
            judge_model: None,
        }
    }
}

/// A layer of the semantic decision that can be switched off.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum GuardName {
    Payload,
    Numbers,
    Negation,
    Code,
    Names,
    Opposites,
    Roles,
    Scope,
    Person,
    Asked,
    Substitution,
    Surplus,
}

impl GuardName {
    /// Every guard.
    pub const ALL: [Self; 12] = [
        Self::Payload,
        Self::Numbers,
        Self::Negation,
        Self::Code,
        Self::Names,
        Self::Opposites,
        Self::Roles,
        Self::Scope,
        Self::Person,
        Self::Asked,
        Self::Substitution,
        Self::Surplus,
    ];
}

/// `[routes.cache]`: what one route does differently.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct CacheOverrides {
    pub mode: Option<CacheMode>,
    pub ttl_seconds: Option<u64>,
    pub volatile_ttl_seconds: Option<u64>,
    pub stale_if_error_seconds: Option<u64>,
    pub stale_while_revalidate_seconds: Option<u64>,
    pub fallback_ttl_seconds: Option<u64>,
    pub scope: Option<Scope>,
    pub ignore_in_key: Option<Vec<Pattern>>,
    pub max_temperature: Option<f64>,
    pub store_tool_calls: Option<bool>,
    pub semantic: SemanticOverrides,
}

/// `[routes.cache.semantic]`: what one route does differently.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct SemanticOverrides {
    pub similarity_threshold: Option<f32>,
    pub verifier_threshold: Option<f32>,
    pub nearest_threshold: Option<f32>,
    pub candidates: Option<usize>,
    pub budget_ms: Option<u64>,
    pub guards: Option<Vec<GuardName>>,
    pub verify_sample_rate: Option<f64>,
    pub max_error_rate: Option<f64>,
    pub judge_model: Option<String>,
}

impl CacheConfig {
    /// Returns these settings with a route's own put over them. Capacities belong to the whole cache.
    pub fn overridden(&self, by: &CacheOverrides) -> Self {
        let CacheOverrides {
            mode,
            ttl_seconds,
            volatile_ttl_seconds,
            stale_if_error_seconds,
            stale_while_revalidate_seconds,
            fallback_ttl_seconds,
            scope,
            ignore_in_key,
            max_temperature,
            store_tool_calls,
            semantic,
        } = by.clone();
        Self {
            mode: mode.unwrap_or(self.mode),
            ttl_seconds: ttl_seconds.unwrap_or(self.ttl_seconds),
            volatile_ttl_seconds: volatile_ttl_seconds.unwrap_or(self.volatile_ttl_seconds),
            stale_if_error_seconds: stale_if_error_seconds.unwrap_or(self.stale_if_error_seconds),
            stale_while_revalidate_seconds: stale_while_revalidate_seconds
                .unwrap_or(self.stale_while_revalidate_seconds),
            fallback_ttl_seconds: fallback_ttl_seconds.unwrap_or(self.fallback_ttl_seconds),
            memory_capacity_bytes: self.memory_capacity_bytes,
            store_capacity_bytes: self.store_capacity_bytes,
            scope: scope.unwrap_or(self.scope),
            ignore_in_key: ignore_in_key.unwrap_or_else(|| self.ignore_in_key.clone()),
            max_temperature: max_temperature.or(self.max_temperature),
            store_tool_calls: store_tool_calls.unwrap_or(self.store_tool_calls),
            semantic: self.semantic.overridden(semantic),
        }
    }
}

impl SemanticConfig {
    fn overridden(&self, by: SemanticOverrides) -> Self {
        let SemanticOverrides {
            similarity_threshold,
            verifier_threshold,
            nearest_threshold,
            candidates,
            budget_ms,
            guards,
            verify_sample_rate,
            max_error_rate,
            judge_model,
        } = by;
        Self {
            similarity_threshold: similarity_threshold.or(self.similarity_threshold),
            verifier_threshold: verifier_threshold.or(self.verifier_threshold),
            nearest_threshold: nearest_threshold.or(self.nearest_threshold),
            candidates: candidates.unwrap_or(self.candidates),
            budget_ms: budget_ms.unwrap_or(self.budget_ms),
            guards: guards.unwrap_or_else(|| self.guards.clone()),
            verify_sample_rate: verify_sample_rate.unwrap_or(self.verify_sample_rate),
            max_error_rate: max_error_rate.or(self.max_error_rate),
            judge_model: judge_model.or_else(|| self.judge_model.clone()),
        }
    }
}
