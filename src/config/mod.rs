//! What did the operator decide?
//!
//! Plain data, one struct per concern, that imports nothing of ours. Every key has a default that runs; an unknown
//! key is an error that names its path. This is the only folder that reads the environment.

mod auth;
mod cache;
mod degrade;
mod environment;
mod jobs;
mod load;
mod origin;
mod passthrough;
mod precompute;
mod providers;
mod resilience;
mod routes;
mod secret;
mod server;
mod storage;
mod validate;
mod validate_semantic;

use std::path::PathBuf;

use serde::Deserialize;

pub use auth::{AuthConfig, KeyConfig, KeyScope, Sha256Hex, Stamp};
pub use cache::{CacheConfig, CacheMode, CacheOverrides, GuardName, Pattern, Scope, SemanticConfig};
pub use degrade::{DegradeConfig, DegradeOverrides, LadderStep, QualityConfig, QualityWeights};
pub use environment::{Environment, HOW_TO_GET_A_PROVIDER};
pub use jobs::JobsConfig;
pub use load::{ConfigError, Flags, load};
pub use origin::Origin;
pub use passthrough::PassthroughConfig;
pub use precompute::PrecomputeConfig;
pub use providers::{
    Capability, LimitsConfig, ModelConfig, Prices, ProviderConfig, ProviderKind, SandboxConfig, Timeouts,
};
pub use resilience::{AiConfig, AlertsConfig, BreakerConfig, RetryConfig, RetryOverrides};
pub use routes::{RouteConfig, Strategy};
pub use secret::Secret;
pub use server::{OnDisconnect, ServerConfig};
pub use storage::{EmbeddingConfig, IndexConfig, IndexKind, StoreConfig};

/// The whole configuration.
#[derive(Clone, Debug, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Config {
    /// Where the store, the embedded index and the lock file live. Default `data`, relative to the configuration
    /// file's folder.
    pub data_dir: PathBuf,
    /// Where models and the ONNX Runtime lie. Default: `models` beside the binary, else `models` in the working folder.
    pub models_dir: Option<PathBuf>,
    pub server: ServerConfig,
    pub ai: AiConfig,
    pub auth: AuthConfig,
    pub cache: CacheConfig,
    pub embedding: EmbeddingConfig,
    pub index: IndexConfig,
    pub store: StoreConfig,
    /// The upstreams. Without any, those whose key variable is set are made up from the environment.
    pub providers: Vec<ProviderConfig>,
    /// Model names of our own, each a chain of upstreams.
    pub routes: Vec<RouteConfig>,
    pub breaker: BreakerConfig,
    pub retry: RetryConfig,
    pub degrade: DegradeConfig,
    pub quality: QualityConfig,
    pub jobs: JobsConfig,
    pub precompute: PrecomputeConfig,
    pub passthrough: PassthroughConfig,
    pub alerts: AlertsConfig,
    /// The model that a request without one means where no route is called `default`: `REFRAIN_MODEL`.
    #[serde(skip)]
    pub default_model: Option<String>,
    /// What is logged, in the words of `RUST_LOG`. Default `warn,refrain=info`.
    #[serde(skip)]
    pub log: String,
    /// What the operator should hear at start, such as a key variable that is of no use alone.
    #[serde(skip)]
    pub notices: Vec<String>,
    /// What it was loaded from.
    #[serde(skip)]
    pub origin: Origin,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            data_dir: PathBuf::from("data"),
            models_dir: None,
            server: ServerConfig::default(),
            ai: AiConfig::default(),
            auth: AuthConfig::default(),
            cache: CacheConfig::default(),
            embedding: EmbeddingConfig::default(),
            index: IndexConfig::default(),
            store: StoreConfig::default(),
            providers: Vec::new(),
            routes: Vec::new(),
            breaker: BreakerConfig::default(),
            retry: RetryConfig::default(),
            degrade: DegradeConfig::default(),
            quality: QualityConfig::default(),
            jobs: JobsConfig::default(),
            precompute: PrecomputeConfig::default(),
            passthrough: PassthroughConfig::default(),
            alerts: AlertsConfig::default(),
            default_model: None,
            log: "warn,refrain=info".to_owned(),
            notices: Vec::new(),
            origin: Origin::default(),
        }
    }
}
pub use validate::TTL_SECONDS;
