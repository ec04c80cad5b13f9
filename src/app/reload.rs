//! What is in force, and how it is exchanged while the server runs.
//!
//! A gateway is built anew and swapped in whole; flights under way finish on the one that they began on. What holds an
//! address, a folder or a model stays as it is until the next start, and the answer names it.

use std::sync::Arc;
use std::time::Duration;

use anyhow::bail;
use arc_swap::ArcSwap;
use tokio::sync::{Semaphore, watch as cell};

use super::build::{Parts, wants_semantic_tier};
use crate::cache::Keeping;
use crate::config::{AlertsConfig, Config, LadderStep, PrecomputeConfig, Secret};
use crate::gateway::Gateway;
use crate::http::{BodyLimits, Edge, Keys, Reloaded};
use crate::router::Router;

/// The time for the whole body of a request.
const BODY_TIME: Duration = Duration::from_secs(30);

/// A configuration in force, and everything that follows it.
pub(super) struct InForce {
    config: ArcSwap<Config>,
    parts: Parts,
    pub gateway: Arc<ArcSwap<Gateway>>,
    /// The router of that gateway.
    router: cell::Sender<Arc<Router>>,
    pub edge: Arc<ArcSwap<Edge>>,
    pub public_keys: Keys,
    pub admin_keys: Keys,
    keeping: cell::Sender<Keeping>,
    alerts: cell::Sender<AlertsConfig>,
    /// One at a time.
    turn: Semaphore,
}

impl InForce {
    /// Puts a configuration into force for the first time.
    ///
    /// # Errors
    /// As [`Parts::router`].
    pub async fn begin(
        config: &Config,
        token: &Secret,
        parts: Parts,
        keeping: cell::Sender<Keeping>,
        alerts: cell::Sender<AlertsConfig>,
    ) -> anyhow::Result<Self> {
        let router = parts.router(config).await?;
        parts.shared.telemetry.rates().watch(routes(config));
        Ok(Self {
            gateway: Arc::new(ArcSwap::from_pointee(parts.gateway(config, Arc::clone(&router)))),
            router: cell::Sender::new(router),
            edge: Arc::new(ArcSwap::from_pointee(edge(config))),
            public_keys: Keys::public(&config.auth),
            admin_keys: Keys::admin(&config.auth, token),
            config: ArcSwap::from_pointee(config.clone()),
            parts,
            keeping,
            alerts,
            turn: Semaphore::new(1),
        })
    }

    /// Returns how answers are bought ahead of time.
    pub fn precompute(&self) -> Arc<PrecomputeConfig> {
        Arc::new(self.config.load().precompute.clone())
    }

    /// Returns what outlives every configuration.
    pub fn parts(&self) -> &Parts {
        &self.parts
    }

    /// Returns the router in force, and hears of the next one.
    pub fn router(&self) -> cell::Receiver<Arc<Router>> {
        self.router.subscribe()
    }

    /// Loads the configuration again and puts it into force, or says why nothing has changed. Either is logged and counted.
    pub async fn reload(&self) -> Result<Reloaded, String> {
        // Never closed; whoever waits here waits for another reload.
        let _turn = self.turn.acquire().await;
        match self.exchange().await {
            Ok(needs_restart) => {
                tracing::info!(?needs_restart, "the configuration was loaded again");
                self.parts.shared.telemetry.reloaded("done");
                Ok(Reloaded { needs_restart })
            }
            Err(error) => {
                let reason = format!("{error:#}");
                tracing::error!(
                    reason,
                    "the configuration was not loaded again, the one before stays in force"
                );
                self.parts.shared.telemetry.reloaded("refused");
                Err(reason)
            }
        }
    }

    async fn exchange(&self) -> anyhow::Result<Vec<&'static str>> {
        let before = self.config.load_full();
        let mut config = before.load_again()?;
        let mut needs_restart = keep_what_stays(&before, &mut config);
        if wants_semantic_tier(&config) && self.parts.shared.cache.semantic().is_none() {
            needs_restart.push("cache.mode");
        }
        let listeners = [config.server.listen, config.server.admin_listen];
        if config.auth.is_keyless() && listeners.iter().any(|address| !address.ip().is_loopback()) {
            bail!("auth.keys: a listener of this process is not loopback, and no key would guard it");
        }
        let built = self.parts.router(&config).await;
        // Sandboxes that only a broken configuration wanted go again.
        self.parts.sandboxes.keep(if built.is_ok() { &config } else { &before });
        let router = built?;
        router.inherit(&self.router.borrow());
        for notice in &config.notices {
            tracing::warn!("{notice}");
        }
        self.public_keys.replace(&config.auth);
        self.admin_keys.replace(&config.auth);
        self.edge.store(Arc::new(edge(&config)));
        self.parts.shared.telemetry.rates().watch(routes(&config));
        self.gateway.store(Arc::new(self.parts.gateway(&config, Arc::clone(&router))));
        self.router.send_replace(router);
        // Who reads these is gone only when the server is.
        let _ = self.keeping.send(keeping(&config));
        let _ = self.alerts.send(config.alerts.clone());
        // What was decided at run time outlives a file that says nothing new.
        if config.ai != before.ai {
            self.parts.shared.ai.turn(config.ai.enabled);
        }
        self.config.store(Arc::new(config));
        Ok(needs_restart)
    }
}

/// Takes over what a running process cannot change, and returns the keys that were to change.
fn keep_what_stays(before: &Config, config: &mut Config) -> Vec<&'static str> {
    let mut changed = Vec::new();
    keep("data_dir", &before.data_dir, &mut config.data_dir, &mut changed);
    keep("models_dir", &before.models_dir, &mut config.models_dir, &mut changed);
    let (server, ours) = (&mut config.server, &before.server);
    keep("server.listen", &ours.listen, &mut server.listen, &mut changed);
    keep("server.admin_listen", &ours.admin_listen, &mut server.admin_listen, &mut changed);
    keep("server.drain_timeout_ms", &ours.drain_timeout_ms, &mut server.drain_timeout_ms, &mut changed);
    keep("store.url", &before.store.url, &mut config.store.url, &mut changed);
    keep("embedding", &before.embedding, &mut config.embedding, &mut changed);
    keep("index", &before.index, &mut config.index, &mut changed);
    let (cache, ours) = (&mut config.cache, &before.cache);
    keep(
        "cache.memory_capacity_bytes",
        &ours.memory_capacity_bytes,
        &mut cache.memory_capacity_bytes,
        &mut changed,
    );
    keep("jobs", &before.jobs, &mut config.jobs, &mut changed);
    keep("precompute", &before.precompute, &mut config.precompute, &mut changed);
    changed
}

fn keep<T: PartialEq + Clone>(key: &'static str, before: &T, value: &mut T, changed: &mut Vec<&'static str>) {
    if value != before {
        changed.push(key);
        value.clone_from(before);
    }
}

/// Returns the labels of all routes.
fn routes(config: &Config) -> impl Iterator<Item = Arc<str>> {
    config.routes.iter().map(|route| route.model.as_str()).chain(["other"]).map(Arc::from)
}

fn edge(config: &Config) -> Edge {
    let server = &config.server;
    Edge {
        body: BodyLimits {
            bytes: server.max_body_bytes,
            time: BODY_TIME,
            is_json_only: config.auth.is_keyless(),
        },
        stream_max: Duration::from_secs(server.max_stream_seconds),
    }
}

/// Returns what the sweeper keeps.
pub(super) fn keeping(config: &Config) -> Keeping {
    // The longest that any route serves stale answers: an entry does not say which route it came by.
    let caches = config.routes.iter().map(|route| config.cache.overridden(&route.cache));
    let seconds = caches
        .chain([config.cache.clone()])
        .map(|cache| cache.stale_if_error_seconds.max(cache.stale_while_revalidate_seconds));
    let stale_for = Duration::from_secs(seconds.max().unwrap_or(0));
    let ladders = config.routes.iter().map(|route| config.degrade.overridden(&route.degrade).ladder);
    let has_nearest = |ladder: Vec<LadderStep>| ladder.contains(&LadderStep::Nearest);
    let is_near_wanted = ladders.chain([config.degrade.ladder.clone()]).any(has_nearest);
    Keeping {
        stale_for,
        near_for: if is_near_wanted { stale_for } else { Duration::ZERO },
        store_bytes: config.cache.store_capacity_bytes,
    }
}
