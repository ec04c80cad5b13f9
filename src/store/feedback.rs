//! Which entry answered that request?
//!
//! Every request is remembered, hits too, so remembering must cost next to nothing: it goes into a bounded map, and
//! the writer puts the map down every now and then, many rows in a statement. What does not fit is dropped and
//! counted. The map is read first, so a verdict may come right after its answer.

use std::collections::HashMap;
use std::mem;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, LazyLock, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use super::database::{Connection, Row, Statement, sql};
use super::{READ_TIMEOUT, Store, StoreError};
use crate::chat::{Fingerprint, TenantId, UnixMillis};

/// How long a verdict may be given.
const LIFE: Duration = Duration::from_secs(24 * 3600);
/// The most requests that wait to be written, twice a second: writing more would take more of the machine than
/// answering them from memory does.
const WAITING: usize = 2048;
/// Rows of one statement. A driver binds each place by looking through all of them, so long statements cost more than
/// short ones; about here a row is cheapest.
const ROWS: usize = 16;
/// Values of one row.
const COLUMNS: usize = 6;
/// The most requests kept, whatever their age: at a thousand requests a second a day would be 86 million.
const KEPT: i64 = 1_000_000;
/// The most rows that one sweep removes.
const SWEPT: i64 = 4096;

/// What is known of a request that was answered.
#[derive(Clone, PartialEq, Eq)]
pub struct RememberedRequest {
    /// The request's own key.
    pub request_key: Fingerprint,
    /// The key of the entry that answered it or that it wrote; `None` where there is none.
    pub entry_key: Option<Fingerprint>,
    /// What was asked, where another request's entry answered.
    pub prompt: Option<Arc<str>>,
    pub at: UnixMillis,
}

/// Prompts may not reach a log.
impl std::fmt::Debug for RememberedRequest {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Self { request_key, entry_key, at, prompt: _ } = self;
        let mut said = f.debug_struct("RememberedRequest");
        said.field("request_key", request_key).field("entry_key", entry_key).field("at", at);
        said.finish_non_exhaustive()
    }
}

type Waiting = HashMap<(TenantId, String), RememberedRequest>;

/// Requests that are not written yet.
#[derive(Default)]
pub(super) struct Recent {
    maps: Mutex<Maps>,
    dropped: AtomicU64,
}

#[derive(Default)]
struct Maps {
    waiting: Waiting,
    /// What the writer is writing; still to be found here until it has.
    in_writing: Arc<Waiting>,
}

impl Recent {
    /// Remembers a request; of equal ids the latest counts.
    pub(super) fn remember(&self, tenant: TenantId, request_id: String, request: RememberedRequest) {
        let mut maps = self.maps();
        let id = (tenant, request_id);
        if maps.waiting.len() < WAITING || maps.waiting.contains_key(&id) {
            maps.waiting.insert(id, request);
        } else {
            self.dropped.fetch_add(1, Ordering::Relaxed);
        }
    }

    /// Returns a request that is not written yet.
    pub(super) fn recall(&self, tenant: &TenantId, request_id: &str) -> Option<RememberedRequest> {
        let id = (tenant.clone(), request_id.to_owned());
        let maps = self.maps();
        maps.waiting.get(&id).or_else(|| maps.in_writing.get(&id)).cloned()
    }

    /// Returns how many were lost because too many waited or could not be written.
    pub(super) fn dropped(&self) -> u64 {
        self.dropped.load(Ordering::Relaxed)
    }

    /// Takes what waits, for writing.
    pub(super) fn begin_writing(&self) -> Arc<Waiting> {
        let mut maps = self.maps();
        maps.in_writing = Arc::new(mem::take(&mut maps.waiting));
        Arc::clone(&maps.in_writing)
    }

    /// Says how the writing ended.
    pub(super) fn end_writing(&self, is_written: bool) {
        let written = mem::take(&mut self.maps().in_writing);
        if !is_written {
            self.dropped.fetch_add(written.len() as u64, Ordering::Relaxed);
        }
    }

    /// Nothing can be half done under this lock, so one who panicked leaves nothing to fear.
    fn maps(&self) -> MutexGuard<'_, Maps> {
        self.maps.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Store {
    /// Remembers which entry answered a request, without waiting: under a flood it may be forgotten, and counted.
    pub fn remember_request(&self, tenant: &TenantId, request_id: &str, request: RememberedRequest) {
        self.recent.remember(tenant.clone(), request_id.to_owned(), request);
    }

    /// Returns what is known of a request of the last 24 hours.
    pub async fn recall_request(
        &self,
        tenant: &TenantId,
        request_id: &str,
        now: UnixMillis,
    ) -> Result<Option<RememberedRequest>, StoreError> {
        if let Some(request) = self.recent.recall(tenant, request_id) {
            return Ok(is_alive(&request, now).then_some(request));
        }
        let rows = self.read(request(tenant, request_id, now), READ_TIMEOUT).await?;
        rows.first().map(read_request).transpose()
    }
}

/// Begins the statement that writes requests down, for so many of them.
fn insert_of(rows: usize) -> String {
    let row = |at: usize| {
        let first = at * COLUMNS + 1;
        let places: Vec<_> = (first..first + COLUMNS).map(|place| format!("${place}")).collect();
        format!("({})", places.join(", "))
    };
    let rows: Vec<_> = (0..rows).map(row).collect();
    format!(
        "INSERT INTO requests (tenant, request_id, request_key, entry_key, at, prompt) VALUES {} \
         ON CONFLICT (tenant, request_id) DO UPDATE SET \
         request_key = excluded.request_key, entry_key = excluded.entry_key, at = excluded.at, \
         prompt = excluded.prompt",
        rows.join(", ")
    )
}

/// The statements that write a full chunk and a single request: kept, so that they stay prepared.
static INSERT_CHUNK: LazyLock<String> = LazyLock::new(|| insert_of(ROWS));
static INSERT_ONE: LazyLock<String> = LazyLock::new(|| insert_of(1));

/// Writes requests down, some in a statement.
pub(super) async fn write_requests(
    connection: &mut Connection,
    requests: &Waiting,
) -> Result<(), StoreError> {
    let rows: Vec<_> = requests.iter().collect();
    let (chunks, rest) = rows.as_chunks::<ROWS>();
    for chunk in chunks {
        connection.execute(chunk.iter().fold(sql(&INSERT_CHUNK), bind_request)).await?;
    }
    for row in rest {
        connection.execute(bind_request(sql(&INSERT_ONE), row)).await?;
    }
    Ok(())
}

fn bind_request(
    statement: Statement,
    ((tenant, request_id), request): &(&(TenantId, String), &RememberedRequest),
) -> Statement {
    statement
        .bind(tenant.as_str())
        .bind(request_id.as_str())
        .bind(request.request_key.as_bytes())
        .bind(request.entry_key.as_ref().map(Fingerprint::as_bytes))
        .bind(request.at.0)
        .bind(request.prompt.as_deref())
}

/// Returns the query for a request that may still be judged.
fn request(tenant: &TenantId, request_id: &str, now: UnixMillis) -> Statement {
    sql("SELECT request_key, entry_key, at, prompt FROM requests WHERE tenant = $1 AND request_id = $2 AND at > $3")
        .bind(tenant.as_str())
        .bind(request_id)
        .bind(born_after(now))
}

/// Reads a row of [`request`].
fn read_request(row: &Row) -> Result<RememberedRequest, StoreError> {
    let entry_key: Option<Vec<u8>> = row.get("entry_key")?;
    Ok(RememberedRequest {
        request_key: row.digest("request_key")?,
        entry_key: entry_key.and_then(|bytes| Fingerprint::try_from(bytes.as_slice()).ok()),
        at: UnixMillis(row.get("at")?),
        prompt: row.get::<Option<String>>("prompt")?.map(Arc::from),
    })
}

/// Returns whether a request may still be judged.
const fn is_alive(request: &RememberedRequest, now: UnixMillis) -> bool {
    request.at.0 > born_after(now)
}

const fn born_after(now: UnixMillis) -> i64 {
    now.0.saturating_sub(LIFE.as_millis() as i64)
}

/// Removes requests that are too old to be judged, or too many, but not all at once. Returns whether there are more.
pub(super) async fn sweep_requests(connection: &mut Connection, now: UnixMillis) -> Result<bool, StoreError> {
    let too_many = sql("SELECT at FROM requests ORDER BY at DESC LIMIT 1 OFFSET $1").bind(KEPT);
    let too_many: Option<i64> =
        connection.rows(too_many).await?.first().map(|row| row.get("at")).transpose()?;
    let statement = sql("DELETE FROM requests WHERE (tenant, request_id) IN \
         (SELECT tenant, request_id FROM requests WHERE at <= $1 ORDER BY at LIMIT $2)")
    .bind(born_after(now).max(too_many.unwrap_or(i64::MIN)))
    .bind(SWEPT);
    Ok(connection.execute(statement).await? >= SWEPT.unsigned_abs())
}
