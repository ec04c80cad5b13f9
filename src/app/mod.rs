//! Which parts is this server made of?
//!
//! The composition root: from a configuration to a wired gateway. The only folder that names every concrete type.

mod build;
mod check;
mod serve;

use std::sync::Arc;
use std::time::Duration;

use ::http::{Request, Response};
use anyhow::Context;
use arc_swap::ArcSwap;
use bytes::Bytes;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::cache::{BlockedPairs, Cache, Indexer, Sweeper};
use crate::config::{Config, Secret};
use crate::embed::Embedder;
use crate::gateway::{Gateway, Limits};
use crate::http::{self, Keys, Shutdown};
use crate::router::Router;
use crate::store::{DataLock, Opened, Running, Store};
use crate::telemetry::{Events, Telemetry};

pub use check::{Finding, check};
pub use serve::{Server, serve};

/// How long the last writes are waited for; a commit takes at most 30 s.
const WRITES_PATIENCE: Duration = Duration::from_secs(35);

/// Everything behind the listeners.
pub struct App {
    pub gateway: Arc<ArcSwap<Gateway>>,
    pub telemetry: Arc<Telemetry>,
    /// Opens every door of the admin listener; dies with the process.
    token: Secret,
    config: Config,
    store: Arc<Store>,
    lock: DataLock,
    /// Generations under way.
    generations: TaskTracker,
    /// Ends generations that did not finish in time.
    give_up: CancellationToken,
    /// Writes under way.
    writes: TaskTracker,
    /// Indexer, sweeper, the sandbox.
    background: TaskTracker,
    stop: CancellationToken,
    sandboxes: Shutdown,
}

impl App {
    /// Takes the data folder and opens every part. Nothing listens yet.
    ///
    /// A missing model or index is a warning, since equal requests are answered without them; anything else that is
    /// missing is an error.
    ///
    /// # Errors
    /// Names the key, the file or the folder at fault.
    pub async fn open(config: &Config) -> anyhow::Result<Self> {
        Self::open_with(config, None).await
    }

    async fn open_with(config: &Config, embedder: Option<Arc<dyn Embedder>>) -> anyhow::Result<Self> {
        for notice in &config.notices {
            tracing::warn!("{notice}");
        }
        let lock = DataLock::acquire(&config.data_dir)?;
        let telemetry = Arc::new(Telemetry::new());
        let store = Arc::new(open_store(config).await?);
        let blocked = BlockedPairs::new(store.blocked_pairs().await?);
        let semantic = build::semantic_tier(config, embedder, &telemetry).await;
        let (writes, background) = (TaskTracker::new(), TaskTracker::new());
        let stop = CancellationToken::new();
        let cache = Arc::new(Cache::new(
            config.cache.memory_capacity_bytes,
            Arc::clone(&store),
            semantic,
            blocked,
            Arc::clone(&telemetry),
            writes.clone(),
        ));
        background.spawn(learn_keys(Arc::clone(&store), stop.clone()));
        background.spawn(Indexer::new(Arc::clone(&cache), stop.clone()).run());
        background.spawn(sweeper(config, &cache, &stop).run());

        let sandboxes = Shutdown::default();
        let (events, _heard) = Events::channel();
        let router = Arc::new(build::router(config, &telemetry, &background, &sandboxes, events).await?);
        router.restore(&store.breakers().await?);
        background.spawn(keep_breakers(Arc::clone(&router), Arc::clone(&store), stop.clone()));
        let generations = TaskTracker::new();
        let give_up = CancellationToken::new();
        let gateway = Gateway::new(
            cache,
            router,
            Limits::of(&config.server),
            Arc::clone(&telemetry),
            generations.clone(),
            give_up.clone(),
        );
        Ok(Self {
            gateway: Arc::new(ArcSwap::from_pointee(gateway)),
            telemetry,
            token: Running::new_token(),
            config: config.clone(),
            store,
            lock,
            generations,
            give_up,
            writes,
            background,
            stop,
            sandboxes,
        })
    }

    /// Answers a request of the admin interface without a listener.
    pub async fn ask_admin(&self, request: Request<Bytes>) -> Response<Bytes> {
        let keys = Keys::admin(&self.config.auth, &self.token);
        let admin = http::admin(self.state(Shutdown::default()), &keys);
        http::ask(admin, request, &self.token).await
    }

    /// Lets generations under way finish until `deadline`, commits every write, and lets go of the data folder.
    pub async fn close(self, deadline: tokio::time::Instant) {
        self.generations.close();
        if tokio::time::timeout_at(deadline, self.generations.wait()).await.is_err() {
            tracing::warn!(
                generations = self.generations.len(),
                "the drain time is over, giving up what is left"
            );
            self.give_up.cancel();
            self.generations.wait().await;
        }
        self.writes.close();
        // Every write is bounded by itself; what still waits after that waits for a vector server, whose points the
        // next start makes up for.
        if tokio::time::timeout(WRITES_PATIENCE, self.writes.wait()).await.is_err() {
            tracing::warn!(writes = self.writes.len(), "some points were not written to the vector index");
        }
        self.sandboxes.cut();
        self.stop.cancel();
        self.background.close();
        self.background.wait().await;
        self.store.close().await;
        drop(self.lock);
    }
}

async fn open_store(config: &Config) -> anyhow::Result<Store> {
    let url = config.store.url.as_ref().context("store.url: no store is configured")?;
    let (store, opened) = Store::open(url.expose()).await.context("store.url")?;
    match opened {
        Opened::Existing | Opened::Created => {}
        Opened::SetAside(path) => tracing::error!(
            path = %path.display(),
            "the store was damaged: it is kept under this name, and a new one was begun"
        ),
    }
    Ok(store)
}

/// In the background, since a large store takes a second or two; until then every look-up asks the store.
async fn learn_keys(store: Arc<Store>, stop: CancellationToken) {
    if let Some(Err(error)) = stop.run_until_cancelled(store.learn_keys()).await {
        tracing::warn!(%error, "the keys of the store could not be read; every miss asks it");
    }
}

/// Writes down which upstreams are left alone whenever that changes, so that a restart does not begin with asking them.
async fn keep_breakers(router: Arc<Router>, store: Arc<Store>, stop: CancellationToken) {
    while stop.run_until_cancelled(router.changed()).await.is_some() {
        if let Err(error) = store.put_breakers(router.breakers()).await {
            tracing::warn!(%error, "which upstreams are left alone could not be written down");
        }
    }
}

fn sweeper(config: &Config, cache: &Arc<Cache>, stop: &CancellationToken) -> Sweeper {
    // The longest that any route keeps stale answers: an entry does not say which route it came by.
    let of_routes = config.routes.iter().filter_map(|route| route.cache.stale_if_error_seconds);
    let seconds = of_routes.fold(config.cache.stale_if_error_seconds, u64::max);
    let keep_stale_for = std::time::Duration::from_secs(seconds);
    Sweeper::new(Arc::clone(cache), stop.clone(), keep_stale_for, config.cache.store_capacity_bytes)
}
