//! The lists that the server buys by itself, at night.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use anyhow::Context;
use bytes::Bytes;
use jiff::Timestamp;
use tokio::time::sleep;
use tokio_util::sync::CancellationToken;

use crate::chat::TenantId;
use crate::config::PrecomputeConfig;
use crate::precompute::{Lists, Options, Precompute, PrecomputeError, Schedule};
use crate::templates;

/// What is bought, when and how.
pub(super) struct Scheduled {
    schedule: Schedule,
    options: Options,
    files: Vec<PathBuf>,
    traffic: Vec<TenantId>,
    traffic_for: Duration,
    precompute: Arc<Precompute>,
}

impl Scheduled {
    /// Returns what a configuration says; `None` where nothing is scheduled.
    ///
    /// # Errors
    /// Names the key that is wrong.
    pub fn of(config: &PrecomputeConfig, precompute: &Arc<Precompute>) -> anyhow::Result<Option<Self>> {
        let options = Options::of(config).context("precompute.window")?;
        let Some(schedule) = &config.schedule else { return Ok(None) };
        let schedule = Schedule::parse(schedule, &config.time_zone).context("precompute.schedule")?;
        if config.files.is_empty() && config.from_traffic.is_empty() {
            anyhow::bail!("precompute.files: a schedule without lists or `from_traffic` buys nothing");
        }
        let files = config.files.clone();
        let traffic = config.from_traffic.iter().map(|tenant| TenantId::new(tenant.as_str())).collect();
        let traffic_for = Duration::from_secs(u64::from(config.traffic_days) * 86_400);
        Ok(Some(Self { schedule, options, files, traffic, traffic_for, precompute: Arc::clone(precompute) }))
    }

    /// Buys the lists whenever their time comes, and at once what was missed, until it is stopped.
    pub async fn run(self, stop: CancellationToken) {
        if self.is_missed().await {
            tracing::info!("a scheduled run was missed, and is made up for");
            self.buy().await;
        }
        while let Some(next) = self.schedule.next(Timestamp::now()) {
            let wait = next.duration_since(Timestamp::now());
            tokio::select! {
                () = sleep(wait.try_into().unwrap_or_default()) => self.buy().await,
                () = stop.cancelled() => return,
            }
        }
    }

    async fn is_missed(&self) -> bool {
        let last = self.precompute.last_runs(1).await.unwrap_or_default();
        let last = last.first().and_then(|run| Timestamp::from_millisecond(run.began_at.0).ok());
        self.schedule.is_missed(last, self.options.window.as_ref(), Timestamp::now())
    }

    /// Whatever is wrong is logged: the next night is another one.
    async fn buy(&self) {
        let files = self.files.clone();
        let lines = match tokio::task::spawn_blocking(move || lines(&files)).await {
            Ok(Ok(lines)) => lines,
            Ok(Err(error)) => {
                return tracing::error!(error = format!("{error:#}"), "nothing is bought tonight");
            }
            Err(_) => {
                return tracing::error!("reading the lists was interrupted, so nothing is bought tonight");
            }
        };
        let lists = Lists { lines, traffic: self.traffic.clone(), traffic_for: self.traffic_for };
        match self.precompute.start(lists, self.options.clone()).await {
            Ok((run, plan)) => {
                tracing::info!(
                    run = &*run,
                    items = plan.items(),
                    cost_usd = plan.cost_usd,
                    "a scheduled run begins"
                );
            }
            // Another process on the same store was faster: one of them is enough.
            Err(PrecomputeError::Busy) => {
                tracing::info!("a scheduled run is left to the one that is under way")
            }
            Err(error) => tracing::error!(%error, "nothing is bought tonight"),
        }
    }
}

/// Reads every list.
fn lines(files: &[PathBuf]) -> anyhow::Result<Vec<Bytes>> {
    let mut lines = Vec::new();
    for file in files {
        for item in templates::read(file)? {
            lines.push(serde_json::to_vec(&item)?.into());
        }
    }
    Ok(lines)
}
