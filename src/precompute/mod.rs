//! Tomorrow's answers, bought tonight, once.
//!
//! A list of requests is planned as a whole before anything is spent (`plan`), then bought through the gateway, so that
//! what is warmed is what live traffic would have had made, at a share of what the upstreams allow (`pace`) and within the
//! quiet hours (`window`). Nothing is bought twice: an entry that is there is the mark that its request is done, it comes
//! to the disk together with the note of who bought it, and one run at a time has the right to buy (a lease in the store).

mod pace;
mod plan;
mod progress;
mod run;
mod schedule;
mod space;
mod window;

use std::collections::HashMap;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use arc_swap::ArcSwap;
use bytes::Bytes;
use jiff::Timestamp;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use uuid::Uuid;

pub use plan::{Forecast, Rules};
pub use progress::{Failed, Report, State};
pub use schedule::{Schedule, ScheduleError};
pub use window::{Window, WindowError, zone_of};

use plan::{Asked, Candidate, Item};
use progress::Progress;
use run::{LEASE, Run};

use crate::cache::WallClock;
use crate::chat::{ChatRequest, Directives, Entry, TenantId, UnixMillis};
use crate::config::PrecomputeConfig;
use crate::gateway::{Ask, Gateway, GatewayError};
use crate::store::{Store, StoreError, StoredRun, WarmedStats};
use crate::telemetry::Telemetry;

/// One line of a list, understood.
#[derive(Clone, Debug)]
pub struct Wanted {
    pub template: Arc<str>,
    pub priority: i32,
    pub request: ChatRequest,
    pub directives: Directives,
}

/// Understands a line; what callers write is read in one place, which ranks above this one.
pub type ReadLine = fn(&[u8]) -> Result<Wanted, String>;

/// What is to be bought: what somebody wrote down, and what tenants' own traffic asked for most.
#[derive(Clone, Debug, Default)]
pub struct Lists {
    /// A request on each.
    pub lines: Vec<Bytes>,
    pub traffic: Vec<TenantId>,
    /// How far back traffic is looked at.
    pub traffic_for: Duration,
}

/// Entries of one tenant's traffic that a run looks at.
const TRAFFIC_MAX: u32 = 10_000;
/// The template that they are counted under.
const TRAFFIC: &str = "traffic";

/// How a list is to be bought.
#[derive(Clone, Debug)]
pub struct Options {
    pub rules: Rules,
    pub window: Option<Window>,
    pub concurrency: usize,
    /// Of every upstream's limits, in (0, 1].
    pub share: f64,
}

impl Options {
    /// Returns the options of a configuration.
    ///
    /// # Errors
    /// For a window or a time zone that is none.
    pub fn of(config: &PrecomputeConfig) -> Result<Self, WindowError> {
        let window = config.window.as_deref();
        Ok(Self {
            rules: Rules {
                refresh_within: Duration::from_secs(config.refresh_within_seconds),
                max_items: config.max_items,
                max_cost_usd: config.max_cost_usd,
            },
            window: window.map(|window| Window::parse(window, &config.time_zone)).transpose()?,
            concurrency: config.concurrency,
            share: config.share_of_limit,
        })
    }
}

/// What is wrong with a list, or why it is not bought now.
#[derive(Debug, thiserror::Error)]
pub enum PrecomputeError {
    #[error("line {line}: {reason}")]
    Line { line: usize, reason: String },
    #[error("the list has no lines")]
    Empty,
    #[error(
        "a budget cannot be kept where a price is not known: set `prices` for the models of the list in `[[providers.models]]`"
    )]
    Unpriced,
    #[error("the disk lacks {} MiB for what is to be bought", .missing_bytes.div_ceil(1 << 20))]
    NoSpace { missing_bytes: u64 },
    #[error("another run is buying; wait for it, or stop it")]
    Busy,
    #[error(transparent)]
    Gateway(#[from] GatewayError),
    #[error(transparent)]
    Store(#[from] StoreError),
    #[error("planning was interrupted")]
    Interrupted,
}

/// Buys lists.
pub struct Precompute {
    store: Arc<Store>,
    /// Exchanged whole when the configuration is loaded again.
    gateway: Arc<ArcSwap<Gateway>>,
    telemetry: Arc<Telemetry>,
    /// Where the store lies.
    folder: PathBuf,
    read: ReadLine,
    /// How long one answer may take.
    patience: Duration,
    /// The runs of this process.
    runs: Mutex<HashMap<Arc<str>, Running>>,
    tasks: TaskTracker,
    shutdown: CancellationToken,
}

struct Running {
    progress: Arc<Progress>,
    cancel: CancellationToken,
}

impl Precompute {
    /// Puts the parts together. Nothing runs before it is asked for.
    pub fn new(
        store: Arc<Store>,
        gateway: Arc<ArcSwap<Gateway>>,
        telemetry: Arc<Telemetry>,
        folder: PathBuf,
        read: ReadLine,
        patience: Duration,
    ) -> Self {
        let (tasks, shutdown) = (TaskTracker::new(), CancellationToken::new());
        Self { store, gateway, telemetry, folder, read, patience, runs: Mutex::default(), tasks, shutdown }
    }

    /// Says what a list comes to, and buys nothing.
    ///
    /// # Errors
    /// [`PrecomputeError`], with the first line at fault.
    pub async fn forecast(&self, lists: Lists, options: &Options) -> Result<Forecast, PrecomputeError> {
        self.plan(lists, options).await.map(|(_, forecast)| forecast)
    }

    /// Begins to buy a list, and returns the name of the run and what it comes to.
    ///
    /// # Errors
    /// [`PrecomputeError`]; then nothing was bought.
    pub async fn start(
        &self,
        lists: Lists,
        options: Options,
    ) -> Result<(Arc<str>, Forecast), PrecomputeError> {
        let id: Arc<str> = Uuid::now_v7().to_string().into();
        let now = WallClock::default().now();
        if !self.store.take_lease(&id, now, now.after(LEASE)).await? {
            return Err(PrecomputeError::Busy);
        }
        let planned = match self.plan(lists, &options).await {
            Ok((_, forecast)) if options.rules.max_cost_usd.is_some() && forecast.cost_usd.is_none() => {
                Err(PrecomputeError::Unpriced)
            }
            Ok((items, forecast)) => match space::missing(&self.folder, items.len()) {
                Some(missing_bytes) => Err(PrecomputeError::NoSpace { missing_bytes }),
                None => Ok((items, forecast)),
            },
            Err(error) => Err(error),
        };
        let (items, forecast) = match planned {
            Ok(planned) => planned,
            Err(error) => {
                // Should this fail too, it is free again in a minute.
                self.store.drop_lease(&id).await.ok();
                return Err(error);
            }
        };
        let progress = Arc::new(Progress::new(items.len()));
        let cancel = CancellationToken::new();
        let running = Running { progress: Arc::clone(&progress), cancel: cancel.clone() };
        self.running().insert(Arc::clone(&id), running);
        let run = Run {
            id: Arc::clone(&id),
            store: Arc::clone(&self.store),
            gateway: Arc::clone(&self.gateway),
            telemetry: Arc::clone(&self.telemetry),
            read: self.read,
            rules: options.rules,
            share: options.share,
            concurrency: options.concurrency,
            window: options.window,
            patience: self.patience,
            began: Timestamp::now(),
            progress,
            cancel,
            shutdown: self.shutdown.clone(),
        };
        self.tasks.spawn(run.carry_out(items));
        Ok((id, forecast))
    }

    async fn plan(&self, lists: Lists, options: &Options) -> Result<(Vec<Item>, Forecast), PrecomputeError> {
        if lists.lines.is_empty() && lists.traffic.is_empty() {
            return Err(PrecomputeError::Empty);
        }
        let asked = self.traffic(&lists, &options.rules).await?;
        let (gateway, read) = (self.gateway.load_full(), self.read);
        // A hundred thousand requests take seconds to read and to count.
        let look = move || {
            let mut candidates = candidates(lists.lines, &gateway, read)?;
            candidates.extend(asked.iter().filter_map(|entry| candidate_of(entry, &gateway)));
            Ok::<_, PrecomputeError>(candidates)
        };
        let candidates =
            tokio::task::spawn_blocking(look).await.map_err(|_| PrecomputeError::Interrupted)??;
        let keys: Vec<_> = candidates.iter().map(|candidate| candidate.preview.key).collect();
        let shelves = self.store.shelves(&keys).await?;
        let now = WallClock::default().now();
        let (items, mut forecast) = plan::plan(candidates, &shelves, &options.rules, now);
        let gateway = self.gateway.load_full();
        let room = |upstream: &str| gateway.room(upstream);
        forecast.seconds = plan::seconds(&items, options.share, options.concurrency, room);
        Ok((items, forecast))
    }

    /// Returns the entries of the tenants' traffic that will expire before the next run, those first that saved the most.
    async fn traffic(&self, lists: &Lists, rules: &Rules) -> Result<Vec<Entry>, PrecomputeError> {
        let now = WallClock::default().now();
        let since = UnixMillis(now.0.saturating_sub(lists.traffic_for.as_millis() as i64));
        let mut entries = Vec::new();
        for tenant in &lists.traffic {
            let before = now.after(rules.refresh_within);
            let keys = self.store.asked_most(tenant, since, before, TRAFFIC_MAX).await?;
            entries.extend(self.store.get_many(&keys).await?);
        }
        Ok(entries)
    }

    /// Returns how a run stands: one of this process as it is now, another as it was last written down.
    ///
    /// # Errors
    /// The store's.
    pub async fn report(&self, id: &str) -> Result<Option<Report>, StoreError> {
        if let Some(running) = self.running().get(id) {
            return Ok(Some(running.progress.read()));
        }
        let stored = self.store.precompute_run(id).await?;
        Ok(stored.and_then(|run| serde_json::from_slice(&run.report).ok()))
    }

    /// Stops a run of this process, and returns whether there is one of that name.
    pub fn cancel(&self, id: &str) -> bool {
        let running = self.running();
        let found = running.get(id);
        if let Some(running) = found {
            running.cancel.cancel();
        }
        found.is_some()
    }

    /// Returns the last runs, the newest first.
    ///
    /// # Errors
    /// The store's.
    pub async fn last_runs(&self, limit: u32) -> Result<Vec<StoredRun>, StoreError> {
        self.store.precompute_runs(limit).await
    }

    /// Returns for every template what became of what it had bought.
    ///
    /// # Errors
    /// The store's.
    pub async fn warmed(&self) -> Result<Vec<WarmedStats>, StoreError> {
        self.store.warmed().await
    }

    /// Stops every run; what they have begun to buy is still stored.
    pub fn drain(&self) {
        self.shutdown.cancel();
    }

    /// Stops every run, and waits until each has written down how far it came.
    pub async fn close(&self) {
        self.drain();
        self.tasks.close();
        self.tasks.wait().await;
    }

    /// Nothing can be half done under this lock, so one who panicked leaves nothing to fear.
    fn running(&self) -> MutexGuard<'_, HashMap<Arc<str>, Running>> {
        self.runs.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Reads every line before the first one is bought.
fn candidates(
    lines: Vec<Bytes>,
    gateway: &Gateway,
    read: ReadLine,
) -> Result<Vec<Candidate>, PrecomputeError> {
    let id: Arc<str> = "precompute".into();
    let look = |(number, line): (usize, Bytes)| {
        let wrong = |reason: String| PrecomputeError::Line { line: number, reason };
        let Wanted { template, priority, request, directives } = read(&line).map_err(wrong)?;
        let ask = Ask {
            request: Arc::new(request),
            directives,
            stream: false,
            request_id: Arc::clone(&id),
            patience: None,
            may_degrade: false,
            warm: None,
        };
        let preview = gateway.preview(&ask).map_err(|error| wrong(error.to_string()))?;
        Ok(Candidate { asked: Asked::Line(line), template, priority, preview })
    };
    (1..).zip(lines).map(look).collect()
}

/// Returns an entry's own request as it would go now; `None` where it would be another one, after a change of configuration.
fn candidate_of(entry: &Entry, gateway: &Gateway) -> Option<Candidate> {
    let (request, directives) = asked_again(entry);
    let ask = Ask {
        request,
        directives,
        stream: false,
        request_id: TRAFFIC.into(),
        patience: None,
        may_degrade: false,
        warm: None,
    };
    let preview = gateway.preview(&ask).ok().filter(|preview| preview.key == entry.key)?;
    // What somebody wrote down comes first.
    Some(Candidate { asked: Asked::Entry(entry.key), template: TRAFFIC.into(), priority: -1, preview })
}

/// Returns the request of an entry, and the wishes that it would come with.
fn asked_again(entry: &Entry) -> (Arc<ChatRequest>, Directives) {
    let directives = Directives {
        namespace: entry.namespace.clone(),
        tags: entry.tags.clone(),
        ..Directives::of(entry.tenant.clone())
    };
    (Arc::clone(&entry.request), directives)
}
