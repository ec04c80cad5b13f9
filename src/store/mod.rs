//! What is true after a restart?
//!
//! Entries, their vectors, what users said of them, which upstreams are left alone, which routes serve equal requests
//! only, and generations in the background, in SQLite or PostgreSQL behind one set of queries. This is the truth; the memory tier and the vector index are made
//! from it. A write is answered after its commit. Every queue, batch and wait is bounded, and a store that fails is an
//! error the caller can live with, never a request's end. What is done with each kind of row stands in its file.

mod answer_record;
mod breakers;
mod database;
mod entries;
mod error;
mod eviction;
mod exact_routes;
mod feedback;
mod job_record;
mod job_writes;
mod jobs;
mod judged_pairs;
mod known;
mod lock;
mod migrate;
mod open;
mod part_record;
mod precompute;
mod record;
mod request_record;
mod selection;
mod vectors;
mod writer;

use std::fmt;
use std::num::ParseIntError;
use std::str::FromStr;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio::sync::{OwnedSemaphorePermit, Semaphore, mpsc, oneshot};
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

pub use self::breakers::StoredBreaker;
pub use self::entries::{NewEntry, Touch};
pub use self::error::StoreError;
pub use self::exact_routes::{ExactReason, ExactRoute};
pub use self::feedback::RememberedRequest;
pub use self::jobs::{ClaimedJob, JobEnd, JobId, JobRequest, JobState, NewJob, StoredJob};
pub use self::judged_pairs::{JudgedPair, PairVerdict};
pub use self::lock::{DataLock, LockError, Running};
pub use self::open::Opened;
pub use self::precompute::{Shelf, StoredRun, Warmed, WarmedStats};
pub use self::selection::{EntrySummary, Selection};
pub use self::vectors::{StoredPoint, StoredVector};

use self::database::{Readers, Row, Statement, sql};
use self::entries::{EncodedEntry, LIST_LENGTH, Stored, by_keys, keys_of_entries, only, read_entry};
use self::feedback::Recent;
use self::known::KnownKeys;
use self::writer::{LastFailure, QueuedWrite, Write, Writer, Written};
use crate::chat::{Entry, Fingerprint, UnixMillis};

/// The longest wait for a commit. When it passes, the write may still come to be.
const WRITE_TIMEOUT: Duration = Duration::from_secs(30);
/// The longest wait for entries that a request needs.
const READ_TIMEOUT: Duration = Duration::from_secs(5);
/// The longest wait for what an operator or a background task asks.
const SCAN_TIMEOUT: Duration = Duration::from_secs(30);
/// Keys that are read at a time when all are.
const KEYS_AT_A_TIME: u32 = 4_096;
/// The longest wait for a sign of life.
const PROBE_TIMEOUT: Duration = Duration::from_secs(1);

/// A place in a list that is read page by page.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct Cursor(i64);

impl fmt::Display for Cursor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl FromStr for Cursor {
    type Err = ParseIntError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        text.parse().map(Self)
    }
}

/// A part of a list.
#[derive(Clone, Debug, PartialEq)]
pub struct Page<T> {
    pub items: Vec<T>,
    /// Where to read on, now or when more has been written.
    pub next: Cursor,
    /// Whether there was nothing more when it was read.
    pub is_last: bool,
}

/// Numbers of the whole store.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct StoreStats {
    pub entries: u64,
    /// Bytes that entries, contexts and vectors take, as eviction counts them.
    pub bytes: u64,
    pub vectors: u64,
    /// Pairs of requests of which somebody said that they must never answer each other, and that they may.
    pub blocked_pairs: u64,
    pub aliases: u64,
    /// When the entry was made that has been here the longest.
    pub oldest: Option<UnixMillis>,
    /// Rows found damaged and removed since the start.
    pub damaged: u64,
    /// Requests that were not remembered since the start, because too many came at once or writing failed.
    pub requests_dropped: u64,
}

/// The durable store. Reads share a small pool; writes go through one task.
pub struct Store {
    readers: Readers,
    known: KnownKeys,
    writes: mpsc::Sender<QueuedWrite>,
    /// What waiting entries may take, in KiB.
    room: Arc<Semaphore>,
    recent: Arc<Recent>,
    last_failure: Arc<LastFailure>,
    closing: CancellationToken,
    writer: Mutex<Option<JoinHandle<()>>>,
    damaged: AtomicU64,
}

impl Store {
    /// Opens the store at `sqlite://PATH` or `postgres://…`, making it where there is none, and says what was found.
    /// Must be called inside a Tokio runtime.
    pub async fn open(url: &str) -> Result<(Self, Opened), StoreError> {
        let (target, connection, opened) = open::open(url).await?;
        let readers = target.readers();
        let (writes, receiver) = mpsc::channel(writer::QUEUE);
        let recent = Arc::new(Recent::default());
        let last_failure = Arc::new(LastFailure::default());
        let closing = CancellationToken::new();
        let writer = Writer {
            target,
            connection: Some(connection),
            writes: receiver,
            recent: Arc::clone(&recent),
            last_failure: Arc::clone(&last_failure),
            closing: closing.clone(),
        };
        #[expect(
            clippy::disallowed_methods,
            reason = "the store waits for this task in `close`: it must outlive every other task that writes"
        )]
        let writer = Mutex::new(Some(tokio::spawn(writer.run())));
        let room = Arc::new(Semaphore::new(writer::QUEUE_KIBIBYTES));
        let damaged = AtomicU64::new(0);
        let known = KnownKeys::new();
        Ok((Self { readers, known, writes, room, recent, last_failure, closing, writer, damaged }, opened))
    }

    /// Stores an entry in place of the one under its key, and of that one's vectors. Returns after the commit;
    /// dropping the future does not undo it.
    pub async fn put(&self, new: NewEntry) -> Result<(), StoreError> {
        self.known.insert(&new.entry.key);
        let entry = EncodedEntry::new(new)?;
        let room = self.room(entry.weight())?;
        self.write_in(Write::Put(Box::new(entry)), Some(room)).await.map(drop)
    }

    /// Reads all keys once, so that [`Store::get`] can tell most of those that were never stored without a query.
    /// Where other processes write to the same database it does nothing: what they store cannot be known here.
    pub async fn learn_keys(&self) -> Result<(), StoreError> {
        if !self.readers.are_of_one_process() {
            return Ok(());
        }
        let mut after = Cursor::default();
        loop {
            let rows = self.read(keys_of_entries(after, KEYS_AT_A_TIME), SCAN_TIMEOUT).await?;
            let page = page(&rows, KEYS_AT_A_TIME, after, |row| row.digest("key"))?;
            page.items.iter().for_each(|key| self.known.insert(key));
            if page.is_last {
                self.known.complete();
                return Ok(());
            }
            after = page.next;
        }
    }

    /// Returns the entry under a key, expired or not.
    pub async fn get(&self, key: &Fingerprint) -> Result<Option<Entry>, StoreError> {
        if !self.known.may_hold(key) {
            return Ok(None);
        }
        self.get_many(std::slice::from_ref(key)).await.map(|mut found| found.pop())
    }

    /// Returns the entries under these keys, in no order, expired or not; those that are not there are left out.
    pub async fn get_many(&self, keys: &[Fingerprint]) -> Result<Vec<Entry>, StoreError> {
        let mut found = Vec::with_capacity(keys.len());
        for some in keys.chunks(LIST_LENGTH) {
            let rows = self.read(by_keys(some), READ_TIMEOUT).await?;
            found.extend(self.sound(&rows)?);
        }
        Ok(found)
    }

    /// Removes entries and returns how many were there.
    pub async fn remove(&self, keys: Vec<Fingerprint>) -> Result<u64, StoreError> {
        self.write(Write::Remove(keys)).await.map(|written| written.keys.len() as u64)
    }

    /// Writes down hits.
    pub async fn touch(&self, touches: Vec<Touch>) -> Result<(), StoreError> {
        self.write(Write::Touch(touches)).await.map(drop)
    }

    /// Returns summaries of the selected entries, the last written first.
    pub async fn find(
        &self,
        selection: &Selection,
        limit: u32,
        after: Option<Cursor>,
    ) -> Result<Page<EntrySummary>, StoreError> {
        let rows = self.read(selection.summaries(after, i64::from(limit)), SCAN_TIMEOUT).await?;
        page(&rows, limit, after.unwrap_or_default(), selection::read_summary)
    }

    /// Returns how many entries are selected.
    pub async fn count(&self, selection: &Selection) -> Result<u64, StoreError> {
        let rows = self.read(selection.count(), SCAN_TIMEOUT).await?;
        Ok(unsigned(only(&rows)?.get("count")?))
    }

    /// Removes the selected entries that are there now, a batch at a time, and returns their keys.
    pub async fn remove_selected(&self, selection: &Selection) -> Result<Vec<Fingerprint>, StoreError> {
        let last = self.read(sql("SELECT coalesce(max(id), 0) AS last FROM entries"), SCAN_TIMEOUT).await?;
        let last: i64 = only(&last)?.get("last")?;
        self.write_until_done(|| Write::RemoveSelected(Box::new(selection.clone()), last)).await
    }

    /// Removes entries that expired longer ago than stale ones are kept, and requests that can no longer be judged.
    /// Returns the keys of the entries.
    pub async fn sweep(
        &self,
        now: UnixMillis,
        keep_stale_for: Duration,
    ) -> Result<Vec<Fingerprint>, StoreError> {
        let keep = i64::try_from(keep_stale_for.as_millis()).unwrap_or(i64::MAX);
        let expired_before = UnixMillis(now.0.saturating_sub(keep));
        self.write_until_done(|| Write::Sweep { expired_before, now }).await
    }

    /// Removes what saves least while the store is over its capacity; `eviction.rs` says what that is. Returns the
    /// keys of what went.
    pub async fn evict(&self, capacity_bytes: u64, now: UnixMillis) -> Result<Vec<Fingerprint>, StoreError> {
        let used = self.read(sql(eviction::USED), SCAN_TIMEOUT).await?;
        let used = unsigned(only(&used)?.get("bytes")?);
        if used <= capacity_bytes {
            return Ok(Vec::new());
        }
        let mut excess_bytes = used - eviction::target_bytes(capacity_bytes);
        let mut all = Vec::new();
        loop {
            let evicted = self.write(Write::Evict { excess_bytes, now }).await?;
            all.extend(evicted.keys);
            if !evicted.has_more {
                return Ok(all);
            }
            excess_bytes = excess_bytes.saturating_sub(evicted.freed_bytes);
        }
    }

    /// Returns the store's numbers.
    pub async fn stats(&self) -> Result<StoreStats, StoreError> {
        let rows = self
            .read(
                sql("SELECT (SELECT count(*) FROM entries) AS entries, (SELECT count(*) FROM vectors) AS vectors, \
                     (SELECT count(*) FROM judged_pairs WHERE verdict = 'wrong') AS blocked, \
                     (SELECT count(*) FROM judged_pairs WHERE verdict = 'right') AS aliases, (SELECT created_at FROM entries ORDER BY id LIMIT 1) AS oldest"),
                SCAN_TIMEOUT,
            )
            .await?;
        let used = self.read(sql(eviction::USED), SCAN_TIMEOUT).await?;
        let row = only(&rows)?;
        Ok(StoreStats {
            entries: unsigned(row.get("entries")?),
            bytes: unsigned(only(&used)?.get("bytes")?),
            vectors: unsigned(row.get("vectors")?),
            blocked_pairs: unsigned(row.get("blocked")?),
            aliases: unsigned(row.get("aliases")?),
            oldest: row.get::<Option<i64>>("oldest")?.map(UnixMillis),
            damaged: self.damaged.load(Ordering::Relaxed),
            requests_dropped: self.recent.dropped(),
        })
    }

    /// Returns whether the store can be read now and the last transaction went well. After a failure each call also
    /// tries the disk again in the background, so that a store nobody writes to any more is found well again.
    pub async fn health(&self) -> Result<(), StoreError> {
        if self.writes.is_closed() {
            return Err(StoreError::Closed);
        }
        self.read(sql("SELECT 1"), PROBE_TIMEOUT).await?;
        let Some(failure) = self.last_failure.get() else { return Ok(()) };
        // If the queue is full, its own writes are probe enough.
        self.enqueue(QueuedWrite { write: Write::Probe, reply: None, _room: None }).ok();
        Err(failure)
    }

    /// Takes no more writes, commits those that wait, folds SQLite's log into its file and closes every connection.
    pub async fn close(&self) {
        self.closing.cancel();
        let writer = self.writer.lock().unwrap_or_else(PoisonError::into_inner).take();
        // The readers go first: the log cannot be folded in while one is in the middle of it.
        self.readers.close().await;
        if let Some(writer) = writer {
            writer.await.ok();
        }
    }

    async fn read(&self, statement: Statement, patience: Duration) -> Result<Vec<Row>, StoreError> {
        tokio::time::timeout(patience, self.readers.rows(statement)).await.map_err(|_| StoreError::Timeout)?
    }

    /// Hands a write to the writer and waits for its commit.
    async fn write(&self, write: Write) -> Result<Written, StoreError> {
        self.write_in(write, None).await
    }

    async fn write_in(
        &self,
        write: Write,
        room: Option<OwnedSemaphorePermit>,
    ) -> Result<Written, StoreError> {
        let (reply, committed) = oneshot::channel();
        self.enqueue(QueuedWrite { write, reply: Some(reply), _room: room })?;
        let answered =
            tokio::time::timeout(WRITE_TIMEOUT, committed).await.map_err(|_| StoreError::Timeout)?;
        answered.unwrap_or(Err(StoreError::Closed))
    }

    /// Takes a share of what may wait, for something of so many bytes.
    fn room(&self, bytes: usize) -> Result<OwnedSemaphorePermit, StoreError> {
        let kibibytes = u32::try_from(bytes / 1024 + 1).unwrap_or(u32::MAX);
        Arc::clone(&self.room).try_acquire_many_owned(kibibytes).map_err(|_| StoreError::Overloaded)
    }

    /// Repeats a write that does its work a batch at a time; other writes go between the batches.
    async fn write_until_done(&self, write: impl Fn() -> Write) -> Result<Vec<Fingerprint>, StoreError> {
        let mut all = Vec::new();
        loop {
            let Written { keys, has_more, .. } = self.write(write()).await?;
            all.extend(keys);
            if !has_more {
                return Ok(all);
            }
        }
    }

    fn enqueue(&self, write: QueuedWrite) -> Result<(), StoreError> {
        self.writes.try_send(write).map_err(|refused| match refused {
            mpsc::error::TrySendError::Full(_) => StoreError::Overloaded,
            mpsc::error::TrySendError::Closed(_) => StoreError::Closed,
        })
    }

    /// Returns the sound entries among the rows; the damaged ones are counted and removed in the background.
    fn sound(&self, rows: &[Row]) -> Result<Vec<Entry>, StoreError> {
        let mut sound = Vec::with_capacity(rows.len());
        let mut damaged = Vec::new();
        for row in rows {
            match read_entry(row)? {
                Stored::Sound(entry) => sound.push(*entry),
                Stored::Damaged(key) => damaged.push(key),
            }
        }
        if !damaged.is_empty() {
            self.damaged.fetch_add(damaged.len() as u64, Ordering::Relaxed);
            // If the queue is full, the next read finds them again.
            self.enqueue(QueuedWrite { write: Write::Remove(damaged), reply: None, _room: None }).ok();
        }
        Ok(sound)
    }
}

/// Reads a page whose rows carry their place in the column of that name.
fn page<T>(
    rows: &[Row],
    limit: u32,
    after: Cursor,
    read: impl Fn(&Row) -> Result<T, StoreError>,
) -> Result<Page<T>, StoreError> {
    let next = rows.last().map(|row| row.get("place")).transpose()?.map_or(after, Cursor);
    let items = rows.iter().map(read).collect::<Result<_, _>>()?;
    Ok(Page { items, next, is_last: rows.len() < limit as usize })
}

fn unsigned(number: i64) -> u64 {
    u64::try_from(number).unwrap_or(0)
}
