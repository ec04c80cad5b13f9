//! Which jobs does nobody run that somebody should, and which has nobody come for?

use std::sync::Arc;
use std::time::Duration;

use tokio::time::{MissedTickBehavior, interval};
use tokio_util::sync::CancellationToken;

use super::Jobs;
use crate::chat::UnixMillis;
use crate::store::StoreError;

/// How often numbers are set, and how often the queue is looked at though nobody rang.
pub(super) const PULSE: Duration = Duration::from_secs(5);
/// How many pulses pass between sweeps.
const PULSES_PER_SWEEP: u32 = 12;
/// How long after its claim a job that no task runs is taken for lost: its claim may be on its way to us until then.
const LOST_AFTER: Duration = Duration::from_secs(60);

/// Keeps the table of jobs in order.
pub(super) struct Housekeeper {
    jobs: Arc<Jobs>,
    stop: CancellationToken,
}

impl Housekeeper {
    pub(super) fn new(jobs: Arc<Jobs>, stop: CancellationToken) -> Self {
        Self { jobs, stop }
    }

    /// Works until it is stopped. What fails is tried again in the next round.
    pub(super) async fn run(self) {
        let work = async {
            let mut pulse = interval(PULSE);
            pulse.set_missed_tick_behavior(MissedTickBehavior::Delay);
            for pulses in 0_u32.. {
                pulse.tick().await;
                let mut done = Ok(());
                if pulses % PULSES_PER_SWEEP == 0 {
                    done = self.sweep().await;
                }
                if let Err(error) = done.and(self.measure().await) {
                    tracing::warn!(%error, "the jobs could not be kept in order");
                }
            }
        };
        tokio::select! {
            () = work => {}
            () = self.stop.cancelled() => {}
        }
    }

    /// Queues what this process lost, and removes what has expired.
    async fn sweep(&self) -> Result<(), StoreError> {
        let jobs = &self.jobs;
        let (now, that_run) = (jobs.clock.now(), jobs.running().keys().copied().collect());
        let claimed_before = UnixMillis(now.0.saturating_sub(LOST_AFTER.as_millis() as i64));
        let lost = jobs.store.requeue_lost_jobs(&jobs.owner, that_run, claimed_before, now).await?;
        if lost > 0 {
            tracing::warn!(jobs = lost, "jobs that were lost on the way are queued again");
            jobs.bell.notify_one();
        }
        let unfinished = jobs.store.sweep_jobs(now).await?;
        if unfinished > 0 {
            jobs.telemetry.job_over("expired", unfinished);
        }
        Ok(())
    }

    async fn measure(&self) -> Result<(), StoreError> {
        for (state, jobs) in self.jobs.store.count_jobs().await? {
            self.jobs.telemetry.jobs(state.name(), jobs);
        }
        Ok(())
    }
}
