//! The embedded index: Qdrant's engine inside this process, for as long as the process lives.
//!
//! It begins empty in a fresh folder and is filled from the store while it already serves. Since a shard only ever
//! grows (see `shard`), one that holds too much that is dead asks to be filled again: the fill then goes into a
//! second shard beside it, and the commit swaps them. Until then searches see the first one, and all other writes go
//! to both.

use std::fs::DirBuilder;
use std::num::NonZero;
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};
use std::sync::{Arc, LazyLock, Mutex, MutexGuard, PoisonError};

use arc_swap::ArcSwap;
use async_trait::async_trait;
use tokio::runtime::{Handle, RuntimeFlavor};
use tokio::sync::Semaphore;
use tokio::task::{block_in_place, spawn_blocking};
use uuid::Uuid;

use super::fill::FillProgress;
use super::shard::{Query, Shard, remove_folder};
use super::{
    Fill, IndexError, KeyMark, KeyPage, Neighbour, Point, Search, Status, VectorIndex, WantsFill,
    check_points, check_vector,
};
use crate::chat::Fingerprint;

/// A folder this many times larger than the points that live in it is mostly dead. A fresh fill takes 2.5 times its
/// vectors: it holds each of them once as it is and once, larger, in the log.
const DISK_PER_LIVE_MAX: u64 = 4;
/// What a point needs beside its vector: the key, the partition, the owner, their indexes.
const PAYLOAD_BYTES: u64 = 256;
/// Below this a folder is not worth the work of a new one.
const DISK_BYTES_FREE: u64 = 64 * 1024 * 1024;
/// Points whose search takes less than half a millisecond, even with cold caches.
const POINTS_SEARCHED_IN_PLACE: u64 = 2_500;
/// Below this, removed points are not worth a new folder.
const REMOVED_POINTS_FREE: u64 = 1_000;

/// An embedded index that is made anew by each process.
pub struct EdgeIndex {
    shards: Arc<Shards>,
    /// As many searches at once as there are cores; more would only take turns.
    searches: Arc<Semaphore>,
}

impl EdgeIndex {
    /// Searches have no index structure here beyond the partition, so they take time in proportion; from this many
    /// points on a Qdrant server is the better place.
    pub const POINTS_COMFORTABLE: u64 = 100_000;

    /// Makes an empty index in a fresh folder under `parent`, and removes what earlier processes left there.
    ///
    /// Blocks for some milliseconds. The caller holds the lock of the data folder: another living process must not
    /// use the same `parent`.
    pub fn create(parent: &Path, dimension: usize) -> Result<Self, IndexError> {
        remove_earlier(parent)?;
        let shards = Shards::create(Home::under(parent), dimension)?;
        let cores = std::thread::available_parallelism().map_or(1, NonZero::get);
        Ok(Self { shards: Arc::new(shards), searches: Arc::new(Semaphore::new(cores)) })
    }

    /// Runs work that blocks away from the async threads.
    ///
    /// Even a small piece of it may wait for a write that holds the shard's lock for a millisecond.
    async fn apart<T: Send + 'static>(
        &self,
        work: impl FnOnce(&Shards) -> Result<T, IndexError> + Send + 'static,
    ) -> Result<T, IndexError> {
        let shards = Arc::clone(&self.shards);
        spawn_blocking(move || work(&shards))
            .await
            .map_err(|error| IndexError::Embedded(error.to_string()))?
    }
}

#[async_trait]
impl VectorIndex for EdgeIndex {
    async fn search(&self, search: Search<'_>) -> Result<Vec<Neighbour>, IndexError> {
        check_vector(search.vector, self.shards.dimension)?;
        let query = Query::new(search)?;
        let turn = Arc::clone(&self.searches).acquire_owned().await.expect("the semaphore is never closed");
        // The way to another thread and back takes as long as a small search where the processor was idle. So a small
        // one, which takes less than half a millisecond, runs right here; for a larger one the worker hands its other
        // tasks over first.
        let live = self.shards.live.load_full();
        if live.points()? <= POINTS_SEARCHED_IN_PLACE {
            return live.query(query);
        }
        if Handle::current().runtime_flavor() == RuntimeFlavor::MultiThread {
            return block_in_place(|| live.query(query));
        }
        self.apart(move |shards| {
            // Kept here, since a search whose caller has gone still takes its core until it ends.
            let _turn = turn;
            shards.live.load_full().query(query)
        })
        .await
    }

    async fn upsert(&self, points: Vec<Point>) -> Result<(), IndexError> {
        check_points(&points, self.shards.dimension)?;
        self.apart(|shards| shards.upsert(points)).await
    }

    async fn remove(&self, keys: &[Fingerprint]) -> Result<(), IndexError> {
        let keys = keys.to_vec();
        self.apart(move |shards| shards.remove(&keys)).await
    }

    async fn keys(&self, from: Option<KeyMark>, limit: usize) -> Result<KeyPage, IndexError> {
        self.apart(move |shards| shards.live.load_full().keys(from, limit)).await
    }

    async fn fill(&self, step: Fill) -> Result<(), IndexError> {
        if let Fill::Points(points) = &step {
            check_points(points, self.shards.dimension)?;
        }
        self.apart(|shards| match step {
            Fill::Begin => shards.begin_fill(),
            Fill::Points(points) => shards.fill(points),
            Fill::Commit => shards.commit_fill(),
            Fill::Abandon => {
                shards.writer().abandon_fill();
                Ok(())
            }
        })
        .await
    }

    async fn status(&self) -> Result<Status, IndexError> {
        self.apart(Shards::status).await
    }
}

/// The shard that is searched, and the one that will replace it.
struct Shards {
    live: ArcSwap<Shard>,
    writer: Mutex<Writer>,
    dimension: usize,
    /// Declared last: shards leave their folders before the folder around them goes.
    home: Home,
}

/// What only one writer at a time may touch.
struct Writer {
    fill: FillProgress,
    staged: Option<Arc<Shard>>,
    /// Points of the live shard that are dead but still take room.
    removed: u64,
    shards_made: u64,
}

impl Shards {
    fn create(home: Home, dimension: usize) -> Result<Self, IndexError> {
        let live = Shard::create(home.shard(0), dimension)?;
        let mut fill = FillProgress::default();
        fill.want(WantsFill::New);
        let writer = Mutex::new(Writer { fill, staged: None, removed: 0, shards_made: 1 });
        Ok(Self { live: ArcSwap::from_pointee(live), writer, dimension, home })
    }

    fn upsert(&self, points: Vec<Point>) -> Result<(), IndexError> {
        let mut writer = self.writer();
        writer.fill.touch(points.iter().map(|point| point.key));
        writer.write_staged(|staged| staged.upsert(points.clone()));
        let written = self.live.load().upsert(points);
        if written.is_err() {
            // The store has these points and this shard may not; a fill brings a fresh one that has.
            writer.fill.want(WantsFill::Bloated);
        }
        written
    }

    fn remove(&self, keys: &[Fingerprint]) -> Result<(), IndexError> {
        let mut writer = self.writer();
        writer.fill.touch(keys.iter().copied());
        writer.write_staged(|staged| staged.remove(keys));
        let live = self.live.load();
        let before = live.points()?;
        live.remove(keys)?;
        writer.removed += before.saturating_sub(live.points()?);
        Ok(())
    }

    fn begin_fill(&self) -> Result<(), IndexError> {
        let mut writer = self.writer();
        writer.abandon_fill();
        // The first fill goes straight into the shard that serves: its points are found as they come.
        if writer.fill.wanted() != Some(WantsFill::New) {
            let folder = self.home.shard(writer.shards_made);
            writer.shards_made += 1;
            writer.staged = Some(Arc::new(Shard::create(folder, self.dimension)?));
        }
        writer.fill.begin();
        Ok(())
    }

    fn fill(&self, points: Vec<Point>) -> Result<(), IndexError> {
        // The lock is held while writing: a removal that came between choosing the points and writing them would be
        // undone.
        let writer = self.writer();
        let points = writer.fill.untouched(points)?;
        match &writer.staged {
            Some(staged) => staged.upsert(points),
            None => self.live.load().upsert(points),
        }
    }

    fn commit_fill(&self) -> Result<(), IndexError> {
        let mut writer = self.writer();
        writer.fill.commit()?;
        if let Some(staged) = writer.staged.take() {
            self.live.swap(staged).retire();
            writer.removed = 0;
        }
        Ok(())
    }

    fn status(&self) -> Result<Status, IndexError> {
        let live = self.live.load_full();
        let points = live.points()?;
        let disk_bytes = live.disk_bytes()?;
        let writer = self.writer();
        let live_bytes = points * ((self.dimension * size_of::<f32>()) as u64 + PAYLOAD_BYTES);
        let bloated = writer.removed > points.max(REMOVED_POINTS_FREE)
            || disk_bytes > DISK_BYTES_FREE + DISK_PER_LIVE_MAX * live_bytes;
        Ok(Status {
            points,
            disk_bytes: Some(disk_bytes),
            wants_fill: writer.fill.wanted().or(bloated.then_some(WantsFill::Bloated)),
            crowded: points > EdgeIndex::POINTS_COMFORTABLE,
        })
    }

    /// A panic inside the shard leaves this state whole: every step of ours either happened or did not.
    fn writer(&self) -> MutexGuard<'_, Writer> {
        self.writer.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Writer {
    /// Writes to the shard being filled, if there is one. It is given up when it fails: what serves must not suffer
    /// from what may serve later.
    fn write_staged(&mut self, write: impl FnOnce(&Shard) -> Result<(), IndexError>) {
        if let Some(Err(error)) = self.staged.as_deref().map(write) {
            tracing::warn!(%error, "the replacement of the vector index failed and is given up");
            self.abandon_fill();
        }
    }

    fn abandon_fill(&mut self) {
        self.fill.abandon();
        if let Some(staged) = self.staged.take() {
            staged.retire();
        }
    }
}

/// Tells this process's folders from those of an earlier one, which may have had the same process id: in a container
/// it is 1 each time.
static PROCESS: LazyLock<String> =
    LazyLock::new(|| format!("{}-{}", std::process::id(), &Uuid::new_v4().simple().to_string()[..8]));

/// The folder of one index, removed with it.
struct Home(PathBuf);

impl Home {
    fn under(parent: &Path) -> Self {
        Self(parent.join(format!("{}-{}", *PROCESS, &Uuid::new_v4().simple().to_string()[..8])))
    }

    fn shard(&self, number: u64) -> PathBuf {
        self.0.join(number.to_string())
    }
}

impl Drop for Home {
    fn drop(&mut self) {
        remove_folder(&self.0);
    }
}

fn remove_earlier(parent: &Path) -> Result<(), IndexError> {
    let failed = |source| IndexError::Folder { folder: parent.to_owned(), source };
    // A vector tells nearly as much as its prompt, so the folder is its owner's alone.
    DirBuilder::new().recursive(true).mode(0o700).create(parent).map_err(failed)?;
    for entry in std::fs::read_dir(parent).map_err(failed)? {
        let entry = entry.map_err(failed)?;
        if !entry.file_name().to_string_lossy().starts_with(PROCESS.as_str()) {
            remove_folder(&entry.path());
        }
    }
    Ok(())
}
