//! Keeps the vector index what the store says.
//!
//! Index and store do not know each other. This task, in the background, asks the index how it stands every second,
//! fills it from the store when it is new, lost or bloated, removes points whose entries are gone, and makes the vectors
//! that are missing: of entries written while the embedder was busy, and of all of them after a change of the model.

use std::sync::Arc;
use std::time::Duration;

use tokio_util::sync::CancellationToken;

use super::{Cache, SemanticTier, point};
use crate::index::{Fill, IndexError, Status, WantsFill};
use crate::store::{StoreError, StoredPoint};

/// The index's keeper.
pub struct Indexer {
    cache: Arc<Cache>,
    shutdown: CancellationToken,
    /// Whether the index answered last time, so that a change is logged once and not every second.
    is_reachable: bool,
    has_warned_of_crowd: bool,
}

/// How often the index is asked how it stands.
const PULSE: Duration = Duration::from_secs(1);
/// How many pulses pass between looks for missing vectors.
const PULSES_PER_SEARCH: u32 = 5;
/// Points or keys read at a time.
const PAGE: u32 = 256;

impl Indexer {
    /// Returns the keeper of this cache's index.
    pub fn new(cache: Arc<Cache>, shutdown: CancellationToken) -> Self {
        Self { cache, shutdown, is_reachable: true, has_warned_of_crowd: false }
    }

    /// Works until shutdown. What fails is tried again at the next pulse.
    pub async fn run(mut self) {
        let cache = Arc::clone(&self.cache);
        let Some(tier) = cache.semantic() else { return };
        let shutdown = self.shutdown.clone();
        let work = async {
            let mut pulses = tokio::time::interval(PULSE);
            pulses.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
            for pulse in 0_u32.. {
                pulses.tick().await;
                self.check(tier).await;
                if pulse % PULSES_PER_SEARCH == 0
                    && let Err(error) = self.make_missing_vectors(tier).await
                {
                    tracing::warn!(%error, "vectors are missing and could not be made");
                }
            }
        };
        tokio::select! {
            () = work => {}
            () = shutdown.cancelled() => {}
        }
    }

    async fn check(&mut self, tier: &SemanticTier) {
        match tier.vector_index().status().await {
            Ok(status) => {
                if !std::mem::replace(&mut self.is_reachable, true) {
                    tracing::info!("the vector index answers again");
                }
                self.attend(tier, status).await;
            }
            Err(error) => {
                if std::mem::replace(&mut self.is_reachable, false) {
                    tracing::warn!(%error, "the vector index does not answer; equal requests are still served");
                }
            }
        }
    }

    async fn attend(&mut self, tier: &SemanticTier, status: Status) {
        self.cache.telemetry.holds("semantic", status.points, status.disk_bytes.unwrap_or(0));
        if status.crowded && !std::mem::replace(&mut self.has_warned_of_crowd, true) {
            tracing::warn!(
                points = status.points,
                "the embedded index grows large: it is time for a Qdrant server ([index] kind = \"qdrant\")"
            );
        }
        let Some(reason) = status.wants_fill else { return };
        match self.fill(tier, reason).await {
            Ok(written) => tracing::info!(reason = reason.kind(), written, "the vector index is filled"),
            Err(error) => {
                tracing::warn!(%error, "the vector index could not be filled; trying again");
                // The wish to be filled remains, which is all that is needed.
                let _ = tier.vector_index().fill(Fill::Abandon).await;
            }
        }
    }

    /// Brings every vector of the store to the index, and takes from it what the store no longer has.
    async fn fill(&self, tier: &SemanticTier, reason: WantsFill) -> Result<u64, FillError> {
        let index = tier.vector_index();
        let embedder = tier.embedder().version().as_str();
        index.fill(Fill::Begin).await?;
        let (mut written, mut cursor) = (0, None);
        loop {
            let page = self.cache.store().vectors_after(embedder, cursor, PAGE, self.cache.now()).await?;
            let points: Vec<_> = page.points.into_iter().map(StoredPoint::into_point).collect();
            written += points.len() as u64;
            index.fill(Fill::Points(points)).await?;
            match page.next {
                Some(next) => cursor = Some(next),
                None => break,
            }
        }
        if reason == WantsFill::Unverified {
            self.remove_orphans(tier).await?;
        }
        index.fill(Fill::Commit).await?;
        if reason != WantsFill::New {
            self.cache.telemetry.repaired(written);
        }
        Ok(written)
    }

    /// Removes points whose entries are gone. They would do no harm, since they lead nowhere, but take room.
    async fn remove_orphans(&self, tier: &SemanticTier) -> Result<(), FillError> {
        let index = tier.vector_index();
        let embedder = tier.embedder().version().as_str();
        let mut from = None;
        loop {
            let page = index.keys(from, PAGE as usize).await?;
            let orphans = self.cache.store().without_row(embedder, &page.keys).await?;
            if !orphans.is_empty() {
                index.remove(&orphans).await?;
                self.cache.telemetry.repaired(orphans.len() as u64);
            }
            match page.next {
                Some(next) => from = Some(next),
                None => return Ok(()),
            }
        }
    }

    /// Embeds entries that have no vector of this embedder yet.
    async fn make_missing_vectors(&self, tier: &SemanticTier) -> Result<(), StoreError> {
        let embedder = tier.embedder().version().as_str();
        let mut cursor = None;
        loop {
            let page = self.cache.store().without_vector(embedder, cursor, PAGE, self.cache.now()).await?;
            for unindexed in page.entries {
                let entry = &unindexed.entry;
                let Some(prompt) = entry.request.last_prompt() else { continue };
                let embedding = match tier.embed(prompt, &self.cache.telemetry).await {
                    Ok(embedding) => embedding,
                    Err(error) => {
                        tracing::debug!(%error, "an embedding is put off");
                        continue;
                    }
                };
                // A prompt longer than the window keeps an empty row, so that it is not embedded again and again.
                let vector = unindexed.vector(tier, &embedding);
                self.cache.store().put_vector(&entry.key, unindexed.owner, vector.clone()).await?;
                if !embedding.truncated() {
                    tier.index(point(entry, unindexed.owner, vector)).await;
                }
            }
            match page.next {
                Some(next) => cursor = Some(next),
                None => return Ok(()),
            }
        }
    }
}

#[derive(Debug, thiserror::Error)]
enum FillError {
    #[error(transparent)]
    Index(#[from] IndexError),
    #[error(transparent)]
    Store(#[from] StoreError),
}
