//! Which parts is this server made of?
//!
//! The composition root: from a configuration to a wired gateway. The only folder that names every concrete type.

mod build;
mod calibrate;
mod check;
mod reload;
mod sandboxes;
mod scheduled;
mod serve;
mod tend;

use std::sync::Arc;
use std::time::Duration;

use ::http::{Request, Response};
use anyhow::Context;
use arc_swap::ArcSwap;
use bytes::Bytes;
use tokio::sync::watch as cell;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::alerts::Alerts;
use crate::cache::{Cache, Indexer, JudgedPairs, Keeping, Sweeper};
use crate::checks::Checks;
use crate::config::{Config, Secret};
use crate::gateway::{AiSwitch, Gateway, Shared};
use crate::http::{self, Shutdown};
use crate::jobs::Jobs;
use crate::precompute::Precompute;
use crate::router::Router;
use crate::store::{DataLock, Opened, Running, Store};
use crate::telemetry::{Events, Telemetry};

pub use build::LocalModels;
pub use calibrate::{Calibration, Calibrator, Verdict, Veto};
pub use check::{Finding, check};
pub use serve::{Server, serve};

use build::Parts;
use reload::InForce;
use sandboxes::Sandboxes;
use tend::tend;

/// After how long a write of the breakers' states that failed is tried again.
const BREAKERS_AGAIN: Duration = Duration::from_secs(1);
/// How long the last writes are waited for; a commit takes at most 30 s.
const WRITES_PATIENCE: Duration = Duration::from_secs(35);

/// Everything behind the listeners.
pub struct App {
    pub gateway: Arc<ArcSwap<Gateway>>,
    /// Generations in the background; a server runs them.
    jobs: Arc<Jobs>,
    precompute: Arc<Precompute>,
    pub telemetry: Arc<Telemetry>,
    /// Opens every door of the admin listener; dies with the process.
    token: Secret,
    in_force: Arc<InForce>,
    store: Arc<Store>,
    lock: DataLock,
    /// Writes under way.
    writes: TaskTracker,
    /// Indexer, sweeper, alerts, sandboxes.
    background: TaskTracker,
    stop: CancellationToken,
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

    async fn open_with(config: &Config, models: Option<LocalModels>) -> anyhow::Result<Self> {
        for notice in &config.notices {
            tracing::warn!("{notice}");
        }
        let lock = DataLock::acquire(&config.data_dir)?;
        let telemetry = Arc::new(Telemetry::new());
        let store = Arc::new(open_store(config).await?);
        let judged = store.judged_pairs().await?;
        let judged =
            JudgedPairs::new(judged.into_iter().map(|pair| (pair.keys.0, pair.keys.1, pair.verdict)));
        let exact_routes = store.exact_routes().await?;
        let semantic = build::semantic_tier(config, models, &telemetry).await;
        let (writes, background) = (TaskTracker::new(), TaskTracker::new());
        let stop = CancellationToken::new();
        let cache = Arc::new(Cache::new(
            config.cache.memory_capacity_bytes,
            Arc::clone(&store),
            semantic,
            judged,
            Arc::clone(&telemetry),
            writes.clone(),
        ));
        let (events, heard) = Events::channel();
        let (keeping, kept) = cell::channel(reload::keeping(config));
        let (alerts, alerted) = cell::channel(config.alerts.clone());
        background.spawn(learn_keys(Arc::clone(&store), stop.clone()));
        keep_house(&cache, &telemetry, &background, &stop, kept);

        let checks = Checks::new(Arc::clone(&store), exact_routes, Arc::clone(&telemetry), events.clone());
        let checks = Arc::new(checks);
        background.spawn(Arc::clone(&checks).keep(stop.clone()));
        let shared = Shared {
            cache,
            ai: Arc::new(AiSwitch::new(config.ai.enabled, Arc::clone(&telemetry))),
            checks,
            telemetry: Arc::clone(&telemetry),
            tasks: TaskTracker::new(),
            shutdown: CancellationToken::new(),
        };
        let parts = Parts { shared, events, sandboxes: Sandboxes::new(background.clone()) };
        let token = Running::new_token();
        let in_force = InForce::begin(config, &token, parts, keeping, alerts).await?;
        // After the routes are known: what is counted before its first look at them is never judged.
        background.spawn(Alerts::new(heard, alerted, Arc::clone(&telemetry), stop.clone()).run());
        let router = in_force.router();
        router.borrow().restore(&store.breakers().await?);
        background.spawn(keep_breakers(router, Arc::clone(&store), stop.clone()));
        let gateway = Arc::clone(&in_force.gateway);
        let jobs = Arc::new(build::jobs(config, &store, &gateway, &telemetry));
        store.clear_lease().await?;
        let precompute = Arc::new(build::precompute(config, &store, &gateway, &telemetry));
        let in_force = Arc::new(in_force);
        Ok(Self {
            precompute,
            gateway,
            jobs,
            telemetry,
            token,
            in_force,
            store,
            lock,
            writes,
            background,
            stop,
        })
    }

    /// Answers a request of the admin interface without a listener.
    pub async fn ask_admin(&self, request: Request<Bytes>) -> Response<Bytes> {
        let admin = http::admin(self.state(Shutdown::default()), &self.in_force.admin_keys);
        http::ask(admin, request, &self.token).await
    }

    /// Lets generations under way finish until `deadline`, commits every write, and lets go of the data folder.
    pub async fn close(self, deadline: tokio::time::Instant) {
        self.precompute.close().await;
        let Parts { shared: Shared { tasks: generations, shutdown: give_up, .. }, sandboxes, .. } =
            self.in_force.parts();
        generations.close();
        if tokio::time::timeout_at(deadline, generations.wait()).await.is_err() {
            tracing::warn!(generations = generations.len(), "the drain time is over, giving up what is left");
            give_up.cancel();
            generations.wait().await;
        }
        self.writes.close();
        // Every write is bounded by itself; what still waits after that waits for a vector server, whose points the
        // next start makes up for.
        if tokio::time::timeout(WRITES_PATIENCE, self.writes.wait()).await.is_err() {
            tracing::warn!(writes = self.writes.len(), "some points were not written to the vector index");
        }
        sandboxes.cut();
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
        Opened::Migrated { from, copy: Some(copy) } => tracing::info!(
            from,
            copy = %copy.display(),
            "the store was of an older version and is of this one now; what it was is kept under this name"
        ),
        Opened::Migrated { from, copy: None } => {
            tracing::info!(from, "the store was of an older version and is of this one now");
        }
        Opened::SetAside(path) => tracing::error!(
            path = %path.display(),
            "the store was damaged: it is kept under this name, and a new one was begun"
        ),
    }
    Ok(store)
}

/// Starts what keeps the tiers in order.
fn keep_house(
    cache: &Arc<Cache>,
    telemetry: &Arc<Telemetry>,
    background: &TaskTracker,
    stop: &CancellationToken,
    kept: cell::Receiver<Keeping>,
) {
    let (indexed, swept) = (Arc::clone(cache), Arc::clone(cache));
    let (indexing, sweeping) = (stop.clone(), stop.clone());
    let keeping = kept.clone();
    let index = move || Indexer::new(Arc::clone(&indexed), indexing.clone(), keeping.clone()).run();
    let sweep = move || Sweeper::new(Arc::clone(&swept), sweeping.clone(), kept.clone()).run();
    background.spawn(tend("indexer", Arc::clone(telemetry), stop.clone(), index));
    background.spawn(tend("sweeper", Arc::clone(telemetry), stop.clone(), sweep));
}

/// In the background, since a large store takes a second or two; until then every look-up asks the store.
async fn learn_keys(store: Arc<Store>, stop: CancellationToken) {
    if let Some(Err(error)) = stop.run_until_cancelled(store.learn_keys()).await {
        tracing::warn!(%error, "the keys of the store could not be read; every miss asks it");
    }
}

/// Writes down which upstreams are left alone whenever that changes, so that a restart does not begin with asking them.
async fn keep_breakers(mut routers: cell::Receiver<Arc<Router>>, store: Arc<Store>, stop: CancellationToken) {
    loop {
        let router = Arc::clone(&routers.borrow_and_update());
        tokio::select! {
            biased;
            () = router.changed() => {}
            // What it has inherited is to be written down, too.
            Ok(()) = routers.changed() => {}
            () = stop.cancelled() => return,
        }
        loop {
            let breakers = routers.borrow().breakers();
            let Err(error) = store.put_breakers(breakers).await else { break };
            tracing::warn!(%error, "which upstreams are left alone could not be written down");
            if stop.run_until_cancelled(tokio::time::sleep(BREAKERS_AGAIN)).await.is_none() {
                return;
            }
        }
    }
}
