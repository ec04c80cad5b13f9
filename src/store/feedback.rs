//! Which entry answered that request, and which prompts must never match again?
//!
//! Every request is remembered, hits too, so remembering must cost next to nothing: it goes into a bounded map, and
//! the writer puts the map down every now and then, many rows in a statement. What does not fit is dropped and
//! counted. The map is read first, so a verdict may come right after its answer.

use std::collections::HashMap;
use std::mem;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use super::StoreError;
use super::database::{Connection, Row, Statement, sql};
use crate::chat::{Fingerprint, TenantId, UnixMillis};

/// How long a verdict may be given.
const LIFE: Duration = Duration::from_secs(24 * 3600);
/// The most requests that wait to be written.
const WAITING: usize = 8192;
/// Rows of one statement; five values each.
const ROWS: usize = 200;
/// The most requests kept, whatever their age: at a thousand requests a second a day would be 86 million.
const KEPT: i64 = 1_000_000;
/// The most rows that one sweep removes.
const SWEPT: i64 = 4096;

/// What is known of a request that was answered.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RememberedRequest {
    /// The request's own key.
    pub request_key: Fingerprint,
    /// The key of the entry that answered it or that it wrote; `None` where there is none.
    pub entry_key: Option<Fingerprint>,
    pub at: UnixMillis,
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
        if maps.waiting.len() < WAITING {
            maps.waiting.insert((tenant, request_id), request);
        } else {
            self.dropped.fetch_add(1, Ordering::Relaxed);
        }
    }

    /// Returns a request that is not written yet.
    pub(super) fn recall(&self, tenant: &TenantId, request_id: &str) -> Option<RememberedRequest> {
        let id = (tenant.clone(), request_id.to_owned());
        let maps = self.maps();
        maps.waiting.get(&id).or_else(|| maps.in_writing.get(&id)).copied()
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

/// Writes requests down, many in a statement.
pub(super) async fn write_requests(
    connection: &mut Connection,
    requests: &Waiting,
) -> Result<(), StoreError> {
    let rows: Vec<_> = requests.iter().collect();
    for some in rows.chunks(ROWS) {
        let mut statement =
            sql("INSERT INTO requests (tenant, request_id, request_key, entry_key, at) VALUES ");
        for (at, ((tenant, request_id), request)) in some.iter().enumerate() {
            statement.push(if at == 0 { "(" } else { ", (" });
            statement.push_value(tenant.as_str());
            statement.push(", ");
            statement.push_value(request_id.as_str());
            statement.push(", ");
            statement.push_value(request.request_key.as_bytes());
            statement.push(", ");
            statement.push_value(request.entry_key.as_ref().map(Fingerprint::as_bytes));
            statement.push(", ");
            statement.push_value(request.at.0);
            statement.push(")");
        }
        statement.push(
            " ON CONFLICT (tenant, request_id) DO UPDATE SET \
             request_key = excluded.request_key, entry_key = excluded.entry_key, at = excluded.at",
        );
        connection.execute(statement).await?;
    }
    Ok(())
}

/// Returns the query for a request that may still be judged.
pub(super) fn request(tenant: &TenantId, request_id: &str, now: UnixMillis) -> Statement {
    sql("SELECT request_key, entry_key, at FROM requests WHERE tenant = $1 AND request_id = $2 AND at > $3")
        .bind(tenant.as_str())
        .bind(request_id)
        .bind(born_after(now))
}

/// Reads a row of [`request`].
pub(super) fn read_request(row: &Row) -> Result<RememberedRequest, StoreError> {
    let entry_key: Option<Vec<u8>> = row.get("entry_key")?;
    Ok(RememberedRequest {
        request_key: row.digest("request_key")?,
        entry_key: entry_key.and_then(|bytes| Fingerprint::try_from(bytes.as_slice()).ok()),
        at: UnixMillis(row.get("at")?),
    })
}

/// Returns whether a request may still be judged.
pub(super) const fn is_alive(request: &RememberedRequest, now: UnixMillis) -> bool {
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

/// Forbids a match between two prompts, in either direction.
pub(super) async fn block_pair(
    connection: &mut Connection,
    one: Fingerprint,
    other: Fingerprint,
) -> Result<(), StoreError> {
    let (smaller, larger) = if one <= other { (one, other) } else { (other, one) };
    let statement = sql("INSERT INTO blocked_pairs (smaller, larger) VALUES ($1, $2) ON CONFLICT DO NOTHING")
        .bind(smaller.as_bytes())
        .bind(larger.as_bytes());
    connection.execute(statement).await.map(drop)
}

/// The query for all pairs that must not match.
pub(super) const BLOCKED_PAIRS: &str = "SELECT smaller, larger FROM blocked_pairs";
