//! Which upstreams were left alone when this process last ended?
//!
//! Only those that are not well have a row, so the table is small, and it is written whole: a row that is no longer
//! true goes in the same commit in which the others come.

use super::database::{Connection, Row, sql};
use super::writer::Write;
use super::{SCAN_TIMEOUT, Store, StoreError};
use crate::chat::UnixMillis;

/// One model of one upstream that is left alone. Its times are by the wall clock, which may have been set since: a
/// reader clamps them to what can be true.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StoredBreaker {
    /// The name of the configured provider.
    pub upstream: String,
    pub model: String,
    /// Until when its breaker is open; `None` where it is not.
    pub open_until: Option<UnixMillis>,
    /// How often in a row it has opened, which decides how long the next time will be.
    pub openings: u32,
    /// Until when it asked not to be called; `None` where it did not.
    pub cooling_until: Option<UnixMillis>,
}

impl Store {
    /// Writes down who is left alone, in place of all that was written before. Returns after the commit. Of each
    /// upstream's model there may be one row; of two, the write is refused and what was there stays.
    pub async fn put_breakers(&self, all: Vec<StoredBreaker>) -> Result<(), StoreError> {
        self.write(Write::PutBreakers(all)).await.map(drop)
    }

    /// Returns what was last written down, by name.
    pub async fn breakers(&self) -> Result<Vec<StoredBreaker>, StoreError> {
        let rows = self
            .read(
                sql("SELECT upstream, model, open_until, openings, cooling_until FROM breakers ORDER BY upstream, model"),
                SCAN_TIMEOUT,
            )
            .await?;
        rows.iter().map(read_breaker).collect()
    }
}

/// Replaces the whole table.
pub(super) async fn put_breakers(
    connection: &mut Connection,
    all: &[StoredBreaker],
) -> Result<(), StoreError> {
    connection.execute(sql("DELETE FROM breakers")).await?;
    for breaker in all {
        let row = sql("INSERT INTO breakers (upstream, model, open_until, openings, cooling_until) \
             VALUES ($1, $2, $3, $4, $5)")
        .bind(breaker.upstream.as_str())
        .bind(breaker.model.as_str())
        .bind(breaker.open_until.map(|until| until.0))
        .bind(i64::from(breaker.openings))
        .bind(breaker.cooling_until.map(|until| until.0));
        connection.execute(row).await?;
    }
    Ok(())
}

fn read_breaker(row: &Row) -> Result<StoredBreaker, StoreError> {
    let openings: i64 = row.get("openings")?;
    Ok(StoredBreaker {
        upstream: row.get("upstream")?,
        model: row.get("model")?,
        open_until: row.get::<Option<i64>>("open_until")?.map(UnixMillis),
        openings: u32::try_from(openings)
            .map_err(|_| StoreError::Unfit { reason: "openings is not a count" })?,
        cooling_until: row.get::<Option<i64>>("cooling_until")?.map(UnixMillis),
    })
}
