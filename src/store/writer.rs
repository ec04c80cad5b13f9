//! Who writes, and when is a write done?
//!
//! One task owns the only writing connection. Writes wait in a bounded queue; the task takes all that wait, up to
//! [`BATCH`], runs them in one transaction and answers each caller after the commit. While one commit waits for the
//! disk the next batch gathers, so a single write is never held back, and many share the cost of one sync.

use std::panic::AssertUnwindSafe;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use futures_util::FutureExt;
use tokio::sync::{OwnedSemaphorePermit, mpsc, oneshot};
use tokio_util::sync::CancellationToken;

use super::breakers::{StoredBreaker, put_breakers};
use super::database::{Connection, Target, sql};
use super::entries::{EncodedEntry, Touch, ids, remove_entries, remove_keys, touch};
use super::exact_routes::{ExactRoute, put_exact_routes};
use super::feedback::{Recent, sweep_requests, write_requests};
use super::job_writes::{JobWrite, TakenJob};
use super::judged_pairs::{JudgedPair, put_judged_pair};
use super::precompute::PrecomputeWrite;
use super::vectors::{StoredVector, put_vector};
use super::{Selection, StoreError, eviction};
use crate::chat::{Fingerprint, UnixMillis};

/// Writes that may wait; beyond it the store is overloaded.
pub(super) const QUEUE: usize = 1024;
/// What entries may take while they wait; beyond it the store is overloaded, too.
pub(super) const QUEUE_KIBIBYTES: usize = 64 << 10;
/// The most writes in one transaction.
const BATCH: usize = 256;
/// The longest a transaction may take.
const BATCH_TIMEOUT: Duration = Duration::from_secs(20);
/// How long remembered requests wait to be written.
const REQUESTS_EVERY: Duration = Duration::from_millis(500);

/// Something to be written.
pub(super) enum Write {
    Put(Box<EncodedEntry>),
    PutVector(Fingerprint, StoredVector),
    Remove(Vec<Fingerprint>),
    /// Removes some of a selection, none written after the entry with this id.
    RemoveSelected(Box<Selection>, i64),
    Touch(Vec<Touch>),
    /// Removes some entries that expired before the first moment, and requests too old at the second.
    Sweep {
        expired_before: UnixMillis,
        now: UnixMillis,
    },
    /// Removes some entries to free these bytes.
    Evict {
        excess_bytes: u64,
        now: UnixMillis,
    },
    JudgePair(Box<JudgedPair>),
    /// Replaces all breakers.
    PutBreakers(Vec<StoredBreaker>),
    /// Replaces all routes that serve equal requests only.
    PutExactRoutes(Vec<ExactRoute>),
    Job(JobWrite),
    Precompute(PrecomputeWrite),
    /// Changes nothing, but must reach the disk.
    Probe,
}

/// What came of a write.
#[derive(Debug, Default)]
pub(super) struct Written {
    /// The entries that were removed, or that a vector was found to belong to.
    pub(super) keys: Vec<Fingerprint>,
    /// What those took that were evicted.
    pub(super) freed_bytes: u64,
    /// The job that was claimed or cancelled.
    pub(super) job: Option<TakenJob>,
    /// The jobs, leases or runs that were changed.
    pub(super) rows: u64,
    /// Whether it does its work a batch at a time, and there is more to do.
    pub(super) has_more: bool,
}

impl Write {
    async fn apply(&self, connection: &mut Connection) -> Result<Written, StoreError> {
        let (mut has_more, mut freed_bytes) = (false, 0);
        let keys = match self {
            Self::Put(entry) => {
                entry.put(connection).await?;
                Vec::new()
            }
            Self::PutVector(key, vector) => put_vector(connection, key, vector).await?,
            Self::Remove(keys) => remove_keys(connection, keys).await?,
            Self::RemoveSelected(selection, up_to) => {
                let some = ids(&connection.rows(selection.ids(*up_to, eviction::BATCH)).await?)?;
                has_more = !some.is_empty();
                remove_entries(connection, &some).await?.keys
            }
            Self::Touch(touches) => {
                for one in touches {
                    touch(connection, one).await?;
                }
                Vec::new()
            }
            Self::Sweep { expired_before, now } => {
                let some = ids(&connection.rows(eviction::expired(*expired_before)).await?)?;
                has_more = sweep_requests(connection, *now).await? || !some.is_empty();
                remove_entries(connection, &some).await?.keys
            }
            Self::Evict { excess_bytes, now } => {
                let evicted = eviction::evict(connection, *excess_bytes, *now).await?;
                freed_bytes = evicted.bytes.unsigned_abs();
                has_more = freed_bytes < *excess_bytes && !evicted.keys.is_empty();
                evicted.keys
            }
            Self::JudgePair(pair) => {
                put_judged_pair(connection, pair).await?;
                Vec::new()
            }
            Self::PutBreakers(all) => {
                put_breakers(connection, all).await?;
                Vec::new()
            }
            Self::PutExactRoutes(all) => {
                put_exact_routes(connection, all).await?;
                Vec::new()
            }
            Self::Job(write) => return write.apply(connection).await,
            Self::Precompute(write) => {
                return Ok(Written { rows: write.apply(connection).await?, ..Written::default() });
            }
            Self::Probe => {
                connection.execute(sql("UPDATE eviction SET floor = floor")).await?;
                Vec::new()
            }
        };
        Ok(Written { keys, freed_bytes, has_more, ..Written::default() })
    }
}

/// A write and who waits for it, if anybody.
pub(super) struct QueuedWrite {
    pub(super) write: Write,
    pub(super) reply: Option<oneshot::Sender<Result<Written, StoreError>>>,
    /// Its share of [`QUEUE_KIBIBYTES`], given back when it is done.
    pub(super) _room: Option<OwnedSemaphorePermit>,
}

impl QueuedWrite {
    fn answer(self, written: Result<Written, StoreError>) {
        if let Some(reply) = self.reply {
            // Whoever asked may have stopped waiting.
            reply.send(written).ok();
        }
    }
}

/// How the last transaction ended: `None` is well.
#[derive(Default)]
pub(super) struct LastFailure(Mutex<Option<StoreError>>);

impl LastFailure {
    pub(super) fn get(&self) -> Option<StoreError> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    fn set(&self, failure: Option<StoreError>) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = failure;
    }
}

/// The task that writes.
pub(super) struct Writer {
    pub(super) target: Target,
    /// `None` after a failure that leaves its state in doubt: after a failed sync the pages it held may be marked
    /// clean though they never reached the disk, so nothing is tried again on the same connection.
    pub(super) connection: Option<Connection>,
    pub(super) writes: mpsc::Receiver<QueuedWrite>,
    pub(super) recent: Arc<Recent>,
    pub(super) last_failure: Arc<LastFailure>,
    /// Tells it to take no more, finish what waits, and close.
    pub(super) closing: CancellationToken,
}

impl Writer {
    pub(super) async fn run(mut self) {
        let mut requests_written = Instant::now();
        let mut batch = Vec::with_capacity(BATCH);
        loop {
            tokio::select! {
                taken = self.writes.recv_many(&mut batch, BATCH) => {
                    if taken == 0 {
                        break;
                    }
                    self.write_batch(&mut batch).await;
                }
                () = self.closing.cancelled(), if !self.writes.is_closed() => self.writes.close(),
                () = tokio::time::sleep(REQUESTS_EVERY) => {}
            }
            if requests_written.elapsed() >= REQUESTS_EVERY {
                self.write_requests().await;
                requests_written = Instant::now();
            }
        }
        self.write_requests().await;
        if let Some(connection) = self.connection.take() {
            connection.close().await.ok();
        }
    }

    /// Writes a batch and answers everybody in it.
    async fn write_batch(&mut self, batch: &mut Vec<QueuedWrite>) {
        let writes: Vec<&Write> = batch.iter().map(|queued| &queued.write).collect();
        match self.transact(&writes).await {
            Ok(written) => {
                for (queued, written) in batch.drain(..).zip(written) {
                    queued.answer(Ok(written));
                }
            }
            Err(error) if error.is_about_one_row() && batch.len() > 1 => {
                // One of them is to blame; the others must not suffer for it.
                for queued in batch.drain(..) {
                    let written = self.transact(&[&queued.write]).await.map(|mut written| written.remove(0));
                    queued.answer(written);
                }
            }
            Err(error) => {
                for queued in batch.drain(..) {
                    queued.answer(Err(error.clone()));
                }
            }
        }
    }

    async fn write_requests(&mut self) {
        let requests = self.recent.begin_writing();
        if requests.is_empty() {
            return;
        }
        let written =
            self.in_transaction(async |connection| write_requests(connection, &requests).await).await;
        self.recent.end_writing(written.is_ok());
    }

    async fn transact(&mut self, writes: &[&Write]) -> Result<Vec<Written>, StoreError> {
        self.in_transaction(async |connection| {
            let mut written = Vec::with_capacity(writes.len());
            for write in writes {
                written.push(write.apply(connection).await?);
            }
            Ok(written)
        })
        .await
    }

    /// Runs the work in a transaction, connecting first where there is no connection.
    async fn in_transaction<T>(
        &mut self,
        work: impl AsyncFnOnce(&mut Connection) -> Result<T, StoreError>,
    ) -> Result<T, StoreError> {
        let done = self.try_transaction(work).await;
        self.last_failure.set(done.as_ref().err().filter(|error| !error.is_about_one_row()).cloned());
        done
    }

    async fn try_transaction<T>(
        &mut self,
        work: impl AsyncFnOnce(&mut Connection) -> Result<T, StoreError>,
    ) -> Result<T, StoreError> {
        let mut connection = match self.connection.take() {
            Some(connection) => connection,
            None => self.target.connect().await?,
        };
        let transaction = AssertUnwindSafe(async {
            match connection.begin().await {
                // The server closed it while it was idle; nothing was begun, so nothing is done twice.
                Err(StoreError::Unreachable { .. }) => {
                    connection = self.target.connect().await?;
                    connection.begin().await?;
                }
                begun => begun?,
            }
            let done = work(&mut connection).await?;
            connection.commit().await?;
            Ok(done)
        });
        let done = match tokio::time::timeout(BATCH_TIMEOUT, transaction.catch_unwind()).await {
            Ok(Ok(done)) => done,
            Ok(Err(_panic)) => Err(StoreError::Panicked),
            Err(_elapsed) => Err(StoreError::Timeout),
        };
        match &done {
            Ok(_) => self.connection = Some(connection),
            Err(StoreError::Unfit { .. } | StoreError::Refused { .. }) => {
                if connection.roll_back().await.is_ok() {
                    self.connection = Some(connection);
                }
            }
            // Dropped: see the field.
            Err(_) => {}
        }
        done
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::open::open;

    async fn writer(folder: &tempfile::TempDir) -> Writer {
        let url = format!("sqlite://{}", folder.path().join("refrain.db").display());
        let (target, connection, _) = open(&url).await.unwrap();
        Writer {
            target,
            connection: Some(connection),
            writes: mpsc::channel(1).1,
            recent: Arc::default(),
            last_failure: Arc::default(),
            closing: CancellationToken::new(),
        }
    }

    #[tokio::test]
    async fn a_panic_fails_its_transaction_and_no_later_one() {
        let folder = tempfile::tempdir().unwrap();
        let mut writer = writer(&folder).await;
        let done = writer
            .in_transaction(async |connection| {
                connection.execute(sql("UPDATE eviction SET floor = 7")).await?;
                if connection.rows(sql("SELECT floor FROM eviction")).await?.len() == 1 {
                    panic!("as this test wants it");
                }
                Ok(())
            })
            .await;
        assert_eq!(done, Err(StoreError::Panicked));
        let floor = writer
            .in_transaction(async |connection| connection.rows(sql("SELECT floor FROM eviction")).await);
        assert_eq!(floor.await.unwrap()[0].get("floor"), Ok(0.0), "it was rolled back");
    }

    #[tokio::test]
    async fn a_full_disk_is_a_failure_until_a_write_succeeds_again() {
        let folder = tempfile::tempdir().unwrap();
        let mut writer = writer(&folder).await;
        let grow = async |connection: &mut Connection| {
            let vast = vec![7_u8; 1 << 20];
            let statement = sql("INSERT INTO contexts (digest, body, size) VALUES ($1, $2, $3)");
            connection.execute(statement.bind(&[7; 32]).bind(vast.as_slice()).bind(1_i64)).await
        };
        // The limit belongs to this connection, as a disk belongs to its file.
        writer.connection.as_mut().unwrap().rows(sql("PRAGMA max_page_count = 40")).await.unwrap();
        assert_eq!(writer.in_transaction(grow).await, Err(StoreError::Full));
        assert_eq!(writer.last_failure.get(), Some(StoreError::Full));
        assert_eq!(writer.in_transaction(grow).await, Ok(1));
        assert_eq!(writer.last_failure.get(), None);
    }
}
