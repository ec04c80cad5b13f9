//! Housekeeping: hits are written down, entries too old to be of use go, and the store stays within its capacity.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::watch as cell;
use tokio_util::sync::CancellationToken;

use super::Cache;
use crate::chat::Fingerprint;
use crate::store::StoreError;

/// The housekeeper.
pub struct Sweeper {
    cache: Arc<Cache>,
    shutdown: CancellationToken,
    keeping: cell::Receiver<Keeping>,
}

/// What is kept, and how much of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Keeping {
    /// How long an expired entry is kept for the time when no provider answers, or until a fresh one is made.
    pub stale_for: Duration,
    /// How long it can be found by similarity, which one step of the ladder asks for.
    pub near_for: Duration,
    /// The most that the store holds.
    pub store_bytes: u64,
}

/// How often hits are written down and gauges are set.
const PULSE: Duration = Duration::from_secs(5);
/// Entries whose hits are written in one go, so that other writes need not wait long behind them.
const HITS_AT_A_TIME: usize = 256;
/// How many pulses pass between sweeps.
const PULSES_PER_SWEEP: u32 = 12;

impl Sweeper {
    /// Returns the housekeeper of this cache. What `keeping` brings later counts from the next sweep on.
    pub fn new(cache: Arc<Cache>, shutdown: CancellationToken, keeping: cell::Receiver<Keeping>) -> Self {
        Self { cache, shutdown, keeping }
    }

    /// Works until shutdown, and then writes down the last hits.
    pub async fn run(self) {
        let work = async {
            let mut pulses = tokio::time::interval(PULSE);
            pulses.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
            for pulse in 0_u32.. {
                pulses.tick().await;
                self.write_hits().await;
                self.measure();
                if pulse % PULSES_PER_SWEEP == 0
                    && let Err(error) = self.sweep().await
                {
                    tracing::warn!(%error, "expired entries could not be swept");
                }
            }
        };
        tokio::select! {
            () = work => {}
            () = self.shutdown.cancelled() => {}
        }
        self.write_hits().await;
    }

    /// Removes what is too old and, where the store is too full, what saves least.
    ///
    /// # Errors
    /// The store's; the next sweep goes on from there.
    pub async fn sweep(&self) -> Result<(), StoreError> {
        let store = self.cache.store();
        let Keeping { stale_for, near_for: _, store_bytes } = *self.keeping.borrow();
        let expired = store.sweep(self.cache.now(), stale_for).await?;
        self.drop_everywhere(&expired, "expired").await;
        let evicted = store.evict(store_bytes, self.cache.now()).await?;
        self.drop_everywhere(&evicted, "evicted").await;
        let stats = store.stats().await?;
        self.cache.telemetry.holds("store", stats.entries, stats.bytes);
        Ok(())
    }

    async fn drop_everywhere(&self, keys: &[Fingerprint], reason: &'static str) {
        if !keys.is_empty() {
            self.cache.forget(keys).await;
            self.cache.telemetry.removed(reason, keys.len() as u64);
        }
    }

    async fn write_hits(&self) {
        for some in self.cache.hits.take().chunks(HITS_AT_A_TIME) {
            if let Err(error) = self.cache.store().touch(some.to_vec()).await {
                tracing::warn!(%error, hits = some.len(), "hits could not be written down");
            }
        }
    }

    fn measure(&self) {
        let telemetry = &self.cache.telemetry;
        let (entries, bytes) = self.cache.memory_holds();
        telemetry.holds("memory", entries, bytes);
        if let Some(tier) = self.cache.semantic() {
            telemetry.embed_queue_depth(tier.embedder().queue_depth());
        }
        telemetry.fold();
    }
}
