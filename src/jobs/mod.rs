//! What becomes of a request whose caller does not wait?
//!
//! It is written down before it is promised, run by whoever claims it, and what came of it is kept until it expires.
//! [`Jobs`] is what callers reach, [`Runner`] does the work. A job goes the way of every request, through the gateway; it
//! asks for an answer of a provider's or of the cache's and for nothing below that, since nobody waits at the other end.

mod housekeeper;
mod runner;
mod webhook;

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use arc_swap::ArcSwap;
use tokio::sync::Notify;
use tokio_util::sync::CancellationToken;

pub use runner::Runner;
pub use webhook::Webhooks;

use crate::cache::WallClock;
use crate::chat::{TenantId, UnixMillis};
use crate::config::{JobsConfig, ServerConfig};
use crate::gateway::{Gateway, GatewayError, Outcome};
use crate::store::{JobEnd, JobId, JobRequest, JobState, NewJob, Store, StoreError, StoredJob};
use crate::telemetry::Telemetry;

/// Writes how a job ended as it is kept, from what the gateway said, whether keys and similarities may be shown, and the
/// milliseconds it took. What callers read is written in one place, which ranks above this one.
pub type WriteEnd = fn(Result<Outcome, GatewayError>, bool, f64) -> JobEnd;

/// How many jobs there may be, and for how long.
#[derive(Clone, Copy, Debug)]
pub struct Settings {
    /// Jobs that run at a time.
    pub concurrency: usize,
    /// Jobs of one tenant that are queued or running.
    pub queue: u32,
    /// How long what came of a job is kept, and how long a job may wait.
    pub keep: Duration,
    /// How long one may run: as long as a stream may take, since no caller's patience ends it before.
    pub patience: Duration,
}

impl Settings {
    /// Returns the settings of a configuration.
    pub fn of(jobs: &JobsConfig, server: &ServerConfig) -> Self {
        Self {
            concurrency: jobs.concurrency,
            queue: jobs.queue,
            keep: Duration::from_secs(jobs.result_ttl_seconds),
            patience: Duration::from_secs(server.max_stream_seconds),
        }
    }
}

/// Why a request did not become a job, or nothing can be said of one.
#[derive(Clone, Debug, thiserror::Error)]
pub enum JobError {
    #[error("no webhook `{asked}` is configured; {}", those_known(.known))]
    UnknownWebhook { asked: String, known: Vec<String> },
    #[error("{queue} jobs are queued or running, which is [jobs] queue; come back when one of them is over")]
    QueueFull { queue: u32 },
    #[error(transparent)]
    Gateway(#[from] GatewayError),
    #[error(transparent)]
    Store(#[from] StoreError),
}

fn those_known(names: &[String]) -> String {
    match names {
        [] => "none is: name them in [jobs.webhooks]".to_owned(),
        names => format!("known are: {}", names.join(", ")),
    }
}

/// The jobs of this server.
pub struct Jobs {
    store: Arc<Store>,
    /// Exchanged whole when the configuration is loaded again.
    gateway: Arc<ArcSwap<Gateway>>,
    telemetry: Arc<Telemetry>,
    webhooks: Webhooks,
    settings: Settings,
    write_end: WriteEnd,
    clock: WallClock,
    /// The name under which this process claims jobs; another at every start.
    owner: String,
    /// Rung when there is something to claim.
    bell: Notify,
    /// The jobs that run here, and what ends them early.
    running: Mutex<HashMap<JobId, CancellationToken>>,
}

impl Jobs {
    /// Puts the parts together. Nothing runs before a [`Runner`] is started.
    pub fn new(
        store: Arc<Store>,
        gateway: Arc<ArcSwap<Gateway>>,
        telemetry: Arc<Telemetry>,
        webhooks: Webhooks,
        settings: Settings,
        write_end: WriteEnd,
    ) -> Self {
        Self {
            store,
            gateway,
            telemetry,
            webhooks,
            settings,
            write_end,
            clock: WallClock::default(),
            owner: JobId::random().to_string(),
            bell: Notify::new(),
            running: Mutex::default(),
        }
    }

    /// Makes a request a job, and returns it once it is safe on the disk.
    ///
    /// # Errors
    /// For a model or a webhook that is not known, when the tenant has too many jobs, or the store cannot take it.
    pub async fn add(&self, request: JobRequest, webhook: Option<String>) -> Result<StoredJob, JobError> {
        if let Some(asked) = &webhook
            && !self.webhooks.knows(asked)
        {
            return Err(JobError::UnknownWebhook { asked: asked.clone(), known: self.webhooks.names() });
        }
        self.gateway.load().check_model(request.request.model.as_deref())?;
        let (id, now) = (JobId::random(), self.clock.now());
        let expires_at = self.expiry(now);
        let new = NewJob { id, request, webhook, created_at: now, expires_at };
        if !self.store.add_job(new, self.settings.queue).await? {
            return Err(JobError::QueueFull { queue: self.settings.queue });
        }
        self.bell.notify_one();
        let state = JobState::Queued;
        Ok(StoredJob { id, state, created_at: now, updated_at: now, expires_at, result: None })
    }

    /// Returns a tenant's job, if it has one of that name that has not expired.
    ///
    /// # Errors
    /// The store's.
    pub async fn get(&self, tenant: &TenantId, id: JobId) -> Result<Option<StoredJob>, JobError> {
        Ok(self.store.job(tenant, id, self.clock.now()).await?)
    }

    /// Cancels a tenant's job if it is queued or running, and removes it if it is done or has failed. Returns it as it is
    /// after that, or was before it went; `None` if there is none of that name. A second call changes nothing more.
    ///
    /// # Errors
    /// The store's.
    pub async fn cancel(&self, tenant: &TenantId, id: JobId) -> Result<Option<StoredJob>, JobError> {
        let now = self.clock.now();
        if let Some(webhook) = self.store.cancel_job(tenant, id, now, self.expiry(now)).await? {
            // Its wait ends; a generation that others wait for too, or that can be stored, goes on without it.
            if let Some(running) = self.running().get(&id) {
                running.cancel();
            }
            self.told(id, JobState::Cancelled, webhook.as_deref());
            return self.get(tenant, id).await;
        }
        let job = self.get(tenant, id).await?;
        if job.as_ref().is_some_and(|job| matches!(job.state, JobState::Done | JobState::Failed)) {
            self.store.remove_job(tenant, id).await?;
        }
        Ok(job.map(|job| StoredJob { result: None, ..job }))
    }

    /// Counts the end of a job, and tells whoever is to be told.
    fn told(&self, id: JobId, state: JobState, webhook: Option<&str>) {
        self.telemetry.job_over(state.name(), 1);
        self.webhooks.tell(webhook, id, state);
    }

    fn expiry(&self, now: UnixMillis) -> UnixMillis {
        now.after(self.settings.keep)
    }

    /// Nothing can be half done under this lock, so one who panicked leaves nothing to fear.
    fn running(&self) -> MutexGuard<'_, HashMap<JobId, CancellationToken>> {
        self.running.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
