//! Keeps the vector index what the store says.
//!
//! Index and store do not know each other. This task, in the background, asks the index how it stands every second,
//! fills it from the store when it is new, lost or bloated, removes points whose entries are gone, and makes the vectors
//! that are missing: of entries written while the embedder was busy, and of all of them after a change of the model.

use std::collections::HashSet;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::watch as cell;
use tokio_util::sync::CancellationToken;

use super::{Accepts, Cache, Keeping, SemanticTier, VectorError};
use crate::embed::EmbedError;
use crate::index::{Fill, IndexError, Point, Status, WantsFill};
use crate::store::{Cursor, StoreError, StoredPoint};

/// The index's keeper.
pub struct Indexer {
    cache: Arc<Cache>,
    shutdown: CancellationToken,
    keeping: cell::Receiver<Keeping>,
    /// Whether the index answered last time, so that a change is logged once and not every second.
    is_reachable: bool,
    has_warned_of_crowd: bool,
    /// Where the look for missing vectors goes on.
    looked_until: Cursor,
}

/// How often the index is asked how it stands.
const PULSE: Duration = Duration::from_secs(1);
/// How many pulses pass between looks for missing vectors.
const PULSES_PER_SEARCH: u32 = 5;
/// Points or keys read at a time.
const PAGE: u32 = 256;

impl Indexer {
    /// Returns the keeper of this cache's index. What `keeping` brings later counts from the next fill on.
    pub fn new(cache: Arc<Cache>, shutdown: CancellationToken, keeping: cell::Receiver<Keeping>) -> Self {
        Self {
            cache,
            shutdown,
            keeping,
            is_reachable: true,
            has_warned_of_crowd: false,
            looked_until: Cursor::default(),
        }
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
        let near_for = self.keeping.borrow().near_for;
        let fresh_at = Accepts::default().or_stale_for(near_for).expired_before(self.cache.now());
        let (mut written, mut cursor) = (0, Cursor::default());
        loop {
            let page = self.cache.store().vectors_after(embedder, cursor, PAGE, fresh_at).await?;
            written += page.items.len() as u64;
            index.fill(Fill::Points(page.items.into_iter().map(point_of).collect())).await?;
            if page.is_last {
                break;
            }
            cursor = page.next;
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
    ///
    /// The index is read first and the store after it: a point is written after its entry was committed, so whatever
    /// the index had is in the store by then, unless it was removed.
    async fn remove_orphans(&self, tier: &SemanticTier) -> Result<(), FillError> {
        let index = tier.vector_index();
        let mut orphans = HashSet::new();
        let mut from = None;
        loop {
            let page = index.keys(from, PAGE as usize).await?;
            orphans.extend(page.keys);
            from = page.next;
            if from.is_none() {
                break;
            }
        }
        let embedder = tier.embedder().version().as_str();
        let mut cursor = Cursor::default();
        loop {
            let page = self.cache.store().vector_keys(embedder, cursor, PAGE).await?;
            for key in &page.items {
                orphans.remove(key);
            }
            if page.is_last {
                break;
            }
            cursor = page.next;
        }
        let orphans: Vec<_> = orphans.into_iter().collect();
        for some in orphans.chunks(PAGE as usize) {
            index.remove(some).await?;
        }
        self.cache.telemetry.repaired(orphans.len() as u64);
        Ok(())
    }

    /// Embeds entries that have no vector of this embedder yet. A page in which anything failed is looked at again;
    /// one that went well is not, so a prompt longer than the window is tried once in the life of the process.
    async fn make_missing_vectors(&mut self, tier: &SemanticTier) -> Result<(), StoreError> {
        let embedder = tier.embedder().version().as_str();
        let cache = Arc::clone(&self.cache);
        loop {
            let page = cache.store().without_vector(embedder, self.looked_until, PAGE, cache.now()).await?;
            for entry in page.items {
                let Some(key) = entry.semantic else { continue };
                match cache.embed_and_index(tier, key, &entry).await {
                    // A text that cannot be embedded is tried again at the next start.
                    Ok(()) | Err(VectorError::Embed(EmbedError::Failed { .. })) => {}
                    Err(VectorError::Embed(error)) => {
                        tracing::debug!(%error, "an embedding is put off");
                        return Ok(());
                    }
                    Err(VectorError::Store(error)) => return Err(error),
                }
            }
            self.looked_until = page.next;
            if page.is_last {
                return Ok(());
            }
        }
    }
}

fn point_of(stored: StoredPoint) -> Point {
    Point {
        key: stored.key,
        vector: stored.vector,
        partition: stored.partition,
        owner: stored.owner.to_string().into(),
        expires_at_ms: Some(stored.expires_at.0),
    }
}

#[derive(Debug, thiserror::Error)]
enum FillError {
    #[error(transparent)]
    Index(#[from] IndexError),
    #[error(transparent)]
    Store(#[from] StoreError),
}
