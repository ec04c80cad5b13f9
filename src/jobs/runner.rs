//! Who runs the jobs, and what if the process ends before they do?
//!
//! One task claims jobs while fewer than `concurrency` run, each of which has a task of its own. A job that is still
//! running when the time to drain is over goes back into the queue; so do, at the next start, those of a process that
//! ended without a word. Then it is run again from its beginning.

use std::panic::AssertUnwindSafe;
use std::sync::Arc;
use std::time::Duration;

use futures_util::FutureExt;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::{Instant, MissedTickBehavior, interval, sleep, timeout_at};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use super::Jobs;
use super::housekeeper::{Housekeeper, PULSE};
use crate::gateway::{Ask, GatewayError, Outcome};
use crate::store::{ClaimedJob, JobEnd, JobId, JobRequest, StoreError};

/// What is waited for between attempts to write down a job's end.
const END_WAITS: [Duration; 3] = [Duration::from_millis(200), Duration::from_secs(2), Duration::from_secs(5)];

/// Runs jobs until it is closed.
pub struct Runner {
    work: Work,
    tasks: TaskTracker,
}

/// What every task of the runner needs.
#[derive(Clone)]
struct Work {
    jobs: Arc<Jobs>,
    /// Ends the claiming.
    stop: CancellationToken,
    /// Ends what runs.
    give_up: CancellationToken,
}

/// A job that runs here, for as long as this lives.
struct Running {
    jobs: Arc<Jobs>,
    id: JobId,
    /// Cancelled with the job.
    cancelled: CancellationToken,
}

impl Drop for Running {
    fn drop(&mut self) {
        self.jobs.running().remove(&self.id);
    }
}

impl Runner {
    /// Starts to run jobs, those first that another process has left behind. Must be called inside a Tokio runtime.
    pub fn start(jobs: Arc<Jobs>) -> Self {
        let work = Work { jobs, stop: CancellationToken::new(), give_up: CancellationToken::new() };
        let tasks = TaskTracker::new();
        tasks.spawn(work.clone().claim_all(tasks.clone()));
        tasks.spawn(Housekeeper::new(Arc::clone(&work.jobs), work.stop.clone()).run());
        Self { work, tasks }
    }

    /// Claims no more jobs; those that run go on.
    pub fn drain(&self) {
        self.work.stop.cancel();
    }

    /// Lets what runs finish until `deadline`, and puts the rest back into the queue.
    pub async fn close(self, deadline: Instant) {
        self.drain();
        self.tasks.close();
        if timeout_at(deadline, self.tasks.wait()).await.is_err() {
            let jobs = self.work.jobs.running().len();
            tracing::warn!(jobs, "the drain time is over, putting jobs back into the queue");
            self.work.give_up.cancel();
            self.tasks.wait().await;
        }
        self.work.jobs.webhooks.close(deadline).await;
    }
}

impl Work {
    /// Claims jobs and has them run, a bounded number at a time.
    async fn claim_all(self, tasks: TaskTracker) {
        let slots = Arc::new(Semaphore::new(self.jobs.settings.concurrency));
        let mut pulse = interval(PULSE);
        pulse.set_missed_tick_behavior(MissedTickBehavior::Delay);
        // First, so that what was begun before is not overtaken.
        while let Err(error) = self.take_over().await {
            tracing::warn!(%error, "the jobs of the process before cannot be taken over yet");
            tokio::select! {
                _ = pulse.tick() => {}
                () = self.stop.cancelled() => return,
            }
        }
        let mut is_well = true;
        loop {
            let slot = tokio::select! {
                slot = Arc::clone(&slots).acquire_owned() => slot.expect("nobody closes the slots"),
                () = self.stop.cancelled() => return,
            };
            match self.claim().await {
                Ok(Some((job, running))) => {
                    tasks.spawn(self.clone().run(job, running, slot));
                    continue;
                }
                Ok(None) => is_well = true,
                // Once for as long as it lasts.
                Err(error) if is_well => {
                    tracing::warn!(%error, "no job can be claimed");
                    is_well = false;
                }
                Err(_) => {}
            }
            drop(slot);
            tokio::select! {
                () = self.jobs.bell.notified() => {}
                _ = pulse.tick() => {}
                () = self.stop.cancelled() => return,
            }
        }
    }

    /// Queues the jobs of a process that ended without a word.
    async fn take_over(&self) -> Result<(), StoreError> {
        let jobs = &self.jobs;
        let orphans = jobs.store.requeue_jobs_of_others(&jobs.owner, jobs.clock.now()).await?;
        if orphans > 0 {
            tracing::info!(jobs = orphans, "jobs of a process that is gone are queued again");
        }
        Ok(())
    }

    async fn claim(&self) -> Result<Option<(ClaimedJob, Running)>, StoreError> {
        let jobs = &self.jobs;
        let claimed = jobs.store.claim_job(&jobs.owner, jobs.clock.now()).await?;
        Ok(claimed.map(|job| {
            let running = Running { jobs: Arc::clone(jobs), id: job.id, cancelled: CancellationToken::new() };
            jobs.running().insert(job.id, running.cancelled.clone());
            (job, running)
        }))
    }

    /// Runs a job to its end, or puts it back.
    async fn run(self, job: ClaimedJob, running: Running, _slot: OwnedSemaphorePermit) {
        let ClaimedJob { id, request, webhook } = job;
        // Who cancelled it between its claim and its entry in the list of those that run found nobody to tell.
        if let Ok(false) = self.jobs.store.owns_job(id, &self.jobs.owner).await {
            return;
        }
        let began = Instant::now();
        let sees_internals = request.as_ref().is_some_and(|request| request.sees_internals);
        let answered = tokio::select! {
            answered = self.answer(request) => answered,
            // It is written down already.
            () = running.cancelled.cancelled() => return,
            () = self.give_up.cancelled() => return self.put_back(id).await,
        };
        let millis = began.elapsed().as_secs_f64() * 1e3;
        self.end(id, answered, sees_internals, millis, webhook.as_deref()).await;
    }

    async fn answer(&self, request: Option<JobRequest>) -> Result<Outcome, GatewayError> {
        let Some(JobRequest { request, directives, request_id, sees_internals: _ }) = request else {
            tracing::error!("a job is not in a form that this version reads; it fails");
            return Err(GatewayError::Interrupted);
        };
        let ask = Ask {
            request: Arc::new(request),
            directives,
            stream: false,
            request_id,
            patience: Some(self.jobs.settings.patience),
            // Nobody waits, so nothing but an answer will do.
            may_degrade: false,
            warm: None,
        };
        let gateway = self.jobs.gateway.load_full();
        // A panic ends its job and no other.
        let answered = AssertUnwindSafe(gateway.answer(ask)).catch_unwind().await;
        answered.unwrap_or(Err(GatewayError::Interrupted))
    }

    /// Writes down how a job ended, and tells whoever is to be told.
    async fn end(
        &self,
        id: JobId,
        answered: Result<Outcome, GatewayError>,
        sees_internals: bool,
        millis: f64,
        webhook: Option<&str>,
    ) {
        let jobs = &self.jobs;
        let end = (jobs.write_end)(answered, sees_internals, millis);
        let written = match self.write(id, &end).await {
            Ok(is_written) => Ok(is_written.then_some(end.state())),
            // Perhaps it is too much to be written. Then this is not, and the job is not paid for again and again.
            Err(error) => {
                tracing::error!(job = %id, %error, "what came of a job cannot be written; it fails");
                let end = (jobs.write_end)(Err(GatewayError::Interrupted), false, millis);
                self.write(id, &end).await.map(|is_written| is_written.then_some(end.state()))
            }
        };
        match written {
            Ok(Some(state)) => {
                tracing::info!(job = %id, state = state.name(), ms = millis.round(), "job");
                jobs.told(id, state, webhook);
            }
            // It was cancelled in the last moment, or taken from us.
            Ok(None) => {}
            Err(error) => {
                tracing::error!(job = %id, %error, "the end of a job cannot be written; it runs again")
            }
        }
    }

    /// Writes down an end, in several attempts where it must be, and returns whether it was still ours to write.
    async fn write(&self, id: JobId, end: &JobEnd) -> Result<bool, StoreError> {
        let jobs = &self.jobs;
        let attempt = async || {
            let now = jobs.clock.now();
            jobs.store.finish_job(id, &jobs.owner, end.clone(), now, jobs.expiry(now)).await
        };
        for wait in END_WAITS {
            match attempt().await {
                Ok(is_written) => return Ok(is_written),
                Err(_) => sleep(wait).await,
            }
        }
        attempt().await
    }

    async fn put_back(&self, id: JobId) {
        let jobs = &self.jobs;
        if let Err(error) = jobs.store.release_job(id, &jobs.owner, jobs.clock.now()).await {
            tracing::warn!(job = %id, %error, "a job could not be put back; the next start does");
        }
    }
}
