//! What people do with the cache: look, count, remove.

use std::sync::Arc;
use std::time::Duration;

use tokio::time::timeout;

use super::{Gateway, GatewayError};
use crate::chat::{Entry, Fingerprint};
use crate::checks::RouteReading;
use crate::index::Status;
use crate::router::UpstreamHealth;
use crate::store::{Cursor, EntrySummary, Page, Selection, StoreError, StoreStats};
use crate::telemetry::UpstreamReading;

/// A name that may be asked for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ListedModel {
    pub id: String,
    pub owned_by: String,
}

/// The numbers of the cache.
#[derive(Clone, Debug)]
pub struct Stats {
    pub memory_entries: u64,
    pub memory_bytes: u64,
    /// `Err` with what is wrong with the store.
    pub store: Result<StoreStats, String>,
    /// `None` where the semantic tier is off, `Err` with what is wrong with the index.
    pub index: Option<Result<Status, String>>,
    /// The version of the embedder, where there is one.
    pub embedder: Option<String>,
    /// Different questions under way upstream.
    pub flights: usize,
    /// What checks of semantic hits have found, of every route.
    pub routes: Vec<RouteReading>,
}

/// Why a route was not switched.
#[derive(Debug, thiserror::Error)]
pub enum RouteError {
    /// `other` is what all names have in common that are no route's.
    #[error("`{asked}` is no route here; known are: {}", known.join(", "))]
    Unknown { asked: String, known: Vec<String> },
    #[error(transparent)]
    Store(#[from] StoreError),
}

/// How everything is that is not the core: without it, what is cached is answered all the same.
#[derive(Clone, Debug)]
pub struct AiHealth {
    /// Whether upstreams are asked at all.
    pub is_enabled: bool,
    /// In the order of the configuration.
    pub upstreams: Vec<UpstreamHealth>,
    /// `None` where the semantic tier is off.
    pub embedder: Option<EmbedderHealth>,
    /// `None` where the semantic tier is off, `Err` with what is wrong with the index.
    pub index: Option<Result<Status, String>>,
}

/// How the embedder is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct EmbedderHealth {
    pub version: String,
    /// Prompts that wait for an instance.
    pub queue_depth: usize,
}

/// How long a look at the index may take; a probe's patience is short.
const INDEX_PATIENCE: Duration = Duration::from_secs(1);

impl Gateway {
    /// Returns what may be asked for.
    pub fn models(&self) -> Vec<ListedModel> {
        self.router.listed().into_iter().map(|(id, owned_by)| ListedModel { id, owned_by }).collect()
    }

    /// Returns the label of a model name in metrics: a configured name or `other`.
    pub fn route_label(&self, model: Option<&str>) -> Arc<str> {
        self.router.label(model)
    }

    /// Returns whether a model may be asked for, before anything is promised; `None` means the default.
    ///
    /// # Errors
    /// [`GatewayError::UnknownModel`].
    pub fn check_model(&self, model: Option<&str>) -> Result<(), GatewayError> {
        Ok(self.router.resolve(model).map(drop)?)
    }

    /// Returns the numbers of every tier; a tier that fails says so in its place.
    pub async fn stats(&self) -> Stats {
        let (memory_entries, memory_bytes) = self.cache.memory_holds();
        let store = self.cache.store().stats().await.map_err(|error| error.to_string());
        let index = match self.cache.semantic() {
            Some(tier) => Some(tier.vector_index().status().await.map_err(|error| error.to_string())),
            None => None,
        };
        let embedder = self.cache.semantic().map(|tier| tier.embedder().version().to_string());
        let (flights, routes) = (self.flights.len(), self.routes());
        Stats { memory_entries, memory_bytes, store, index, embedder, flights, routes }
    }

    /// Returns what checks of semantic hits have found of every route, and how its switch stands.
    pub fn routes(&self) -> Vec<RouteReading> {
        self.checks.readings(&self.router.labels())
    }

    /// Lets a route answer similar requests again, or equal ones only, and returns how it is after that is written down.
    /// `default` means the route of a request that names no model.
    ///
    /// # Errors
    /// [`RouteError`]; where the store's, the route is switched all the same, and it is written down later.
    pub async fn turn_route(&self, name: &str, enabled: bool) -> Result<RouteReading, RouteError> {
        let known = self.router.labels();
        let named = known.iter().find(|label| &***label == name).map(Arc::clone);
        let of_default = || {
            let route = (name == "default").then(|| self.router.resolve(None).ok()).flatten()?;
            Some(Arc::clone(&route.label))
        };
        let Some(route) = named.or_else(of_default) else {
            let known = known.iter().map(ToString::to_string).collect();
            return Err(RouteError::Unknown { asked: name.to_owned(), known });
        };
        self.checks.turn(&route, enabled, self.cache.now()).await?;
        Ok(self.checks.reading(&route))
    }

    /// Returns how upstreams, embedder and index are. Asks no upstream: what is known of them is what requests found.
    pub async fn ai_health(&self) -> AiHealth {
        let tier = self.cache.semantic();
        let index = match tier {
            Some(tier) => Some(match timeout(INDEX_PATIENCE, tier.vector_index().status()).await {
                Ok(status) => status.map_err(|error| error.to_string()),
                Err(_) => Err(format!("no answer within {} ms", INDEX_PATIENCE.as_millis())),
            }),
            None => None,
        };
        let embedder = tier.map(|tier| EmbedderHealth {
            version: tier.embedder().version().to_string(),
            queue_depth: tier.embedder().queue_depth(),
        });
        AiHealth { is_enabled: self.ai.is_on(), upstreams: self.router.health(), embedder, index }
    }

    /// Puts into the metrics what nobody counts as it happens: how every upstream and every route is.
    pub fn measure(&self) {
        let reading = |upstream: &UpstreamHealth| UpstreamReading {
            provider: upstream.name.to_string(),
            is_healthy: upstream.is_healthy(),
            breaker: upstream.overall.breaker as u8,
        };
        self.telemetry.upstreams_are(self.router.health().iter().map(reading).collect());
        self.checks.measure(&self.router.labels());
    }

    /// Returns summaries of a selection, the last written first; `after` is where the page before ended.
    ///
    /// # Errors
    /// The store's.
    pub async fn entries(
        &self,
        selection: &Selection,
        limit: u32,
        after: Option<Cursor>,
    ) -> Result<Page<EntrySummary>, StoreError> {
        self.cache.store().find(selection, limit, after).await
    }

    /// Returns an entry, fresh or not.
    ///
    /// # Errors
    /// The store's.
    pub async fn entry(&self, key: &Fingerprint) -> Result<Option<Arc<Entry>>, StoreError> {
        self.cache.entry(key).await
    }

    /// Removes entries from every tier and returns how many there were.
    ///
    /// # Errors
    /// The store's.
    pub async fn remove(&self, keys: &[Fingerprint]) -> Result<u64, StoreError> {
        self.cache.remove(keys, "invalidated").await
    }

    /// Removes a selection from every tier, or only counts it, and returns how many entries it has.
    ///
    /// # Errors
    /// The store's.
    pub async fn invalidate(&self, selection: &Selection, dry_run: bool) -> Result<u64, StoreError> {
        if dry_run {
            return self.cache.store().count(selection).await;
        }
        self.cache.remove_selected(selection, "invalidated").await
    }

    /// Returns whether the core can serve: it never depends on a provider or on the semantic tier.
    pub async fn is_ready(&self) -> bool {
        !self.shutdown.is_cancelled() && self.cache.store().health().await.is_ok()
    }
}
