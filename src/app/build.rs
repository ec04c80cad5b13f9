//! The parts that a configuration chooses between.

use std::num::NonZeroUsize;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use anyhow::Context;
use arc_swap::ArcSwap;
use unicode_script::Script;

use super::sandboxes::Sandboxes;
use crate::cache::guards::Scripts;
use crate::cache::{ModelLimits, SemanticTier};
use crate::config::{CacheMode, Config, HOW_TO_GET_A_PROVIDER, IndexKind, ProviderConfig, ProviderKind};
use crate::cost;
use crate::embed::{Catalog, Embedder, Pool, PoolOptions, Verifier, Weights};
use crate::gateway::{Gateway, Limits, Shared};
use crate::http::{read_line, write_job_end};
use crate::index::{EdgeIndex, ServerIndex, ServerSettings, VectorIndex};
use crate::jobs::{Jobs, Settings, Webhooks};
use crate::precompute::Precompute;
use crate::providers::{Anthropic, Azure, Gemini, OpenAi, Provider};
use crate::router::{Router, Upstream};
use crate::store::Store;
use crate::telemetry::{Events, Telemetry};
use crate::transport::Transport;

/// The cosine from which the verifier is asked beside an embedding model whose scale nobody has measured, and the score
/// that it must give then.
const UNMEASURED_FLOOR: f32 = 0.80;
const UNMEASURED_THRESHOLD: f32 = 0.98;
/// Where nothing is measured, a doubt is a refusal.
const UNMEASURED_DOUBT: f32 = f32::INFINITY;
/// A search of a server in the same network takes about a millisecond; beyond this the request goes on without it.
const SEARCH_TIMEOUT: Duration = Duration::from_millis(150);
const INDEX_WRITE_TIMEOUT: Duration = Duration::from_secs(10);
/// Instances of the model, one thread each, where nothing is configured.
const EMBEDDING_THREADS_MAX: usize = 4;

/// The models that run in this process.
#[derive(Clone)]
pub struct LocalModels {
    pub embedder: Arc<dyn Embedder>,
    pub verifier: Arc<dyn Verifier>,
}

impl From<Arc<Pool>> for LocalModels {
    fn from(pool: Arc<Pool>) -> Self {
        Self { embedder: Arc::clone(&pool) as Arc<dyn Embedder>, verifier: pool }
    }
}

/// Returns embedder and index, or `None`, with a warning that says what mends it, where one of them is missing.
/// Models that are brought along are taken for the configured ones.
pub(super) async fn semantic_tier(
    config: &Config,
    models: Option<LocalModels>,
    telemetry: &Arc<Telemetry>,
) -> Option<SemanticTier> {
    if !wants_semantic_tier(config) {
        return None;
    }
    match open_semantic_tier(config, models).await {
        Ok(tier) => Some(tier),
        Err(error) => {
            tracing::warn!("the semantic tier is off, equal requests are still served: {error:#}");
            telemetry.lookup("semantic", "error");
            None
        }
    }
}

/// Returns whether anything is to be answered by similarity.
pub(super) fn wants_semantic_tier(config: &Config) -> bool {
    let wants = |mode: CacheMode| mode >= CacheMode::Shadow;
    wants(config.cache.mode) || config.routes.iter().any(|route| route.cache.mode.is_some_and(wants))
}

async fn open_semantic_tier(config: &Config, models: Option<LocalModels>) -> anyhow::Result<SemanticTier> {
    let LocalModels { embedder, verifier } = match models {
        Some(models) => models,
        None => Arc::new(open_embedder(config).await?).into(),
    };
    let index = open_index(config, &*embedder).context("index")?;
    Ok(SemanticTier::new(embedder, verifier, index, model_limits(config)?))
}

/// Returns what is known of the configured model.
pub(super) fn model_limits(config: &Config) -> anyhow::Result<ModelLimits> {
    let model = Catalog::built_in().model(&config.embedding.model)?;
    let measured = Catalog::built_in().verifier().measured(&model.name());
    Ok(ModelLimits {
        similarity_threshold: measured.map_or(UNMEASURED_FLOOR, |measured| measured.floor),
        verifier_threshold: measured.map_or(UNMEASURED_THRESHOLD, |measured| measured.threshold),
        doubt_threshold: measured.map_or(UNMEASURED_DOUBT, |measured| measured.doubt),
        weights: measured.map_or(Weights::VERIFIER_ALONE, |measured| measured.weights),
        // Whatever the embedding model knows, the verifier was trained on English.
        scripts: Some(Scripts::new(&[Script::Latin])),
        languages: Some(vec!["en".to_owned()]),
    })
}

/// Loads the model; takes some tenths of a second of a thread that may block.
pub(super) async fn open_embedder(config: &Config) -> anyhow::Result<Pool> {
    let cores = std::thread::available_parallelism().map_or(1, NonZeroUsize::get);
    let threads = config.embedding.threads.unwrap_or(cores.min(EMBEDDING_THREADS_MAX));
    let options = PoolOptions {
        model: Catalog::built_in().model(&config.embedding.model).context("embedding.model")?,
        models_dir: models_dir(config),
        threads: NonZeroUsize::new(threads).context("embedding.threads must not be 0")?,
        queue: NonZeroUsize::new(config.embedding.queue).context("embedding.queue must not be 0")?,
    };
    Ok(tokio::task::spawn_blocking(|| Pool::start(options)).await??)
}

/// Returns where models lie: as configured, else beside the binary, else in the working folder.
pub(super) fn models_dir(config: &Config) -> PathBuf {
    let beside_binary = || {
        let path = std::env::current_exe().ok()?.parent()?.join("models");
        path.is_dir().then_some(path)
    };
    config.models_dir.clone().or_else(beside_binary).unwrap_or_else(|| PathBuf::from("models"))
}

pub(super) fn open_index(config: &Config, embedder: &dyn Embedder) -> anyhow::Result<Arc<dyn VectorIndex>> {
    let dimension = embedder.dimension();
    Ok(match config.index.kind {
        IndexKind::Embedded => Arc::new(EdgeIndex::create(&config.data_dir.join("index"), dimension)?),
        IndexKind::Qdrant => Arc::new(ServerIndex::new(ServerSettings {
            url: config.index.url.clone(),
            api_key: config.index.api_key.as_ref().map(|key| key.expose().to_owned()),
            // Vectors of two models must never meet, so each model has a collection of its own.
            collection: format!("{}_{}", config.index.collection, embedder.version().as_str()),
            dimension,
            search_timeout: SEARCH_TIMEOUT,
            write_timeout: INDEX_WRITE_TIMEOUT,
        })?),
    })
}

/// What outlives a change of the configuration, and what a gateway is built around.
pub(super) struct Parts {
    pub shared: Shared,
    pub events: Events,
    pub sandboxes: Sandboxes,
}

impl Parts {
    /// Builds the router of a configuration.
    ///
    /// # Errors
    /// Names the provider that cannot be what its block says.
    pub async fn router(&self, config: &Config) -> anyhow::Result<Arc<Router>> {
        let router = router(config, &self.shared.telemetry, &self.sandboxes, self.events.clone()).await?;
        Ok(Arc::new(router))
    }

    /// Builds the gateway of a configuration around its router.
    pub fn gateway(&self, config: &Config, router: Arc<Router>) -> Gateway {
        Gateway::new(self.shared.clone(), router, Limits::of(config))
    }
}

/// Builds upstreams and routes; a sandbox among them begins to listen.
async fn router(
    config: &Config,
    telemetry: &Arc<Telemetry>,
    sandboxes: &Sandboxes,
    events: Events,
) -> anyhow::Result<Router> {
    let mut upstreams = Vec::new();
    for provider in &config.providers {
        let provider = match provider.kind {
            ProviderKind::Sandbox => sandboxes.reach(provider).await?,
            ProviderKind::OpenAi
            | ProviderKind::OpenAiCompatible
            | ProviderKind::Anthropic
            | ProviderKind::Gemini
            | ProviderKind::AzureOpenAi => provider.clone(),
        };
        upstreams.push(Arc::new(Upstream::new(&provider, vendor(&provider)?)));
    }
    if upstreams.is_empty() {
        tracing::warn!(
            "no provider is configured: only what is cached can be answered; {HOW_TO_GET_A_PROVIDER}"
        );
    }
    let of_first = || {
        let first = config.providers.first()?;
        let listed = first.models.as_ref().and_then(|models| models.first()).map(|model| model.name.as_str());
        let model = cost::default_model(&first.name).or(listed)?;
        Some(format!("{}/{model}", first.name))
    };
    let default_model = config.default_model.clone().or_else(of_first);
    Ok(Router::new(config, upstreams, default_model, Transport::new(), Arc::clone(telemetry), events))
}

/// Returns what buys ahead of time.
pub(super) fn precompute(
    config: &Config,
    store: &Arc<Store>,
    gateway: &Arc<ArcSwap<Gateway>>,
    telemetry: &Arc<Telemetry>,
) -> Precompute {
    let patience = Duration::from_secs(config.server.max_stream_seconds);
    let (store, gateway, telemetry) = (Arc::clone(store), Arc::clone(gateway), Arc::clone(telemetry));
    Precompute::new(store, gateway, telemetry, config.data_dir.clone(), read_line, patience)
}

/// Returns the jobs of a configuration; a server has them run.
pub(super) fn jobs(
    config: &Config,
    store: &Arc<Store>,
    gateway: &Arc<ArcSwap<Gateway>>,
    telemetry: &Arc<Telemetry>,
) -> Jobs {
    Jobs::new(
        Arc::clone(store),
        Arc::clone(gateway),
        Arc::clone(telemetry),
        Webhooks::new(config.jobs.webhook_urls.clone()),
        Settings::of(&config.jobs, &config.server),
        write_job_end,
    )
}

pub(super) fn vendor(config: &ProviderConfig) -> anyhow::Result<Arc<dyn Provider>> {
    fn shared(provider: impl Provider + 'static) -> Arc<dyn Provider> {
        Arc::new(provider)
    }
    let provider = match config.kind {
        ProviderKind::OpenAi => OpenAi::official(config).map(shared),
        ProviderKind::OpenAiCompatible | ProviderKind::Sandbox => OpenAi::compatible(config).map(shared),
        ProviderKind::Anthropic => Anthropic::new(config).map(shared),
        ProviderKind::Gemini => Gemini::new(config).map(shared),
        ProviderKind::AzureOpenAi => Azure::new(config).map(shared),
    };
    provider.with_context(|| format!("provider `{}`", config.name))
}
