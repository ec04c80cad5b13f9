//! Where do the vectors lie that the index is filled from?
//!
//! A vector belongs to an entry and to the embedder that made it; vectors of two embedders never mix. Those of earlier
//! embedders stay until their entry goes, so that a change of the model can be taken back.

use std::sync::Arc;

use super::database::{Connection, Row, Statement, sql};
use super::entries::{integer, only, select_entries};
use super::writer::Write;
use super::{Cursor, Page, SCAN_TIMEOUT, Store, StoreError, page};
use crate::chat::{Entry, Fingerprint, Owner, Partition, UnixMillis};

/// A vector as it is stored beside an entry.
#[derive(Clone, Debug, PartialEq)]
pub struct StoredVector {
    /// The version of the embedder that made it.
    pub embedder: Arc<str>,
    /// The entry's partition under that embedder.
    pub partition: Partition,
    pub vector: Arc<[f32]>,
}

/// A vector with all that the index must know of its entry.
#[derive(Clone, Debug, PartialEq)]
pub struct StoredPoint {
    pub key: Fingerprint,
    pub partition: Partition,
    pub owner: Owner,
    pub expires_at: UnixMillis,
    pub vector: Vec<f32>,
}

impl Store {
    /// Stores a vector of an entry; returns whether the entry was still there.
    pub async fn put_vector(&self, key: Fingerprint, vector: StoredVector) -> Result<bool, StoreError> {
        self.write(Write::PutVector(key, vector)).await.map(|written| !written.keys.is_empty())
    }

    /// Returns vectors of an embedder whose entries are fresh, in the order in which they were written: whoever reads
    /// on from [`Page::next`] misses none that was written meanwhile.
    pub async fn vectors_after(
        &self,
        embedder: &str,
        after: Cursor,
        limit: u32,
        now: UnixMillis,
    ) -> Result<Page<StoredPoint>, StoreError> {
        let rows = self.read(points_after(embedder, after, now, i64::from(limit)), SCAN_TIMEOUT).await?;
        page(&rows, limit, after, read_point)
    }

    /// Returns the keys of all entries that have a vector of an embedder, expired ones too.
    pub async fn vector_keys(
        &self,
        embedder: &str,
        after: Cursor,
        limit: u32,
    ) -> Result<Page<Fingerprint>, StoreError> {
        let rows = self.read(keys_after(embedder, after, i64::from(limit)), SCAN_TIMEOUT).await?;
        page(&rows, limit, after, |row| row.digest("key"))
    }

    /// Returns fresh semantic entries that have no vector of an embedder. A page may be empty and not the last.
    pub async fn without_vector(
        &self,
        embedder: &str,
        after: Cursor,
        limit: u32,
        now: UnixMillis,
    ) -> Result<Page<Entry>, StoreError> {
        let end = read_end(&self.read(end_of_look(after), SCAN_TIMEOUT).await?)?;
        let query = without_vector(embedder, after, end, now, i64::from(limit));
        let rows = self.read(query, SCAN_TIMEOUT).await?;
        let is_cut = rows.len() >= limit as usize;
        let last = rows.last().map(|row| row.get("id")).transpose()?.map_or(end, Cursor);
        let next = if is_cut { last } else { end };
        Ok(Page { items: self.sound(&rows)?, next, is_last: next == after })
    }
}

/// What a vector's row takes beside its numbers. Measured on SQLite, where two vectors of 384 fill a page of 4 KiB.
const ROW_BYTES: usize = 512;

impl StoredVector {
    /// Returns the bytes that its row takes, about.
    pub(super) fn size(&self) -> usize {
        ROW_BYTES + size_of_val(&*self.vector)
    }

    /// Stores it under the id of an entry that has no vector of this embedder.
    pub(super) async fn insert(&self, connection: &mut Connection, entry: i64) -> Result<(), StoreError> {
        let bytes: Vec<u8> = self.vector.iter().flat_map(|number| number.to_le_bytes()).collect();
        let statement =
            sql("INSERT INTO vectors (entry, embedder, partition, vector) VALUES ($1, $2, $3, $4)")
                .bind(entry)
                .bind(&*self.embedder)
                .bind(self.partition.as_bytes())
                .bind(bytes.as_slice());
        connection.execute(statement).await.map(drop)
    }
}

/// Stores a vector of an entry; the vector of the same embedder that was there goes. Returns the key if there is such
/// an entry.
pub(super) async fn put_vector(
    connection: &mut Connection,
    key: &Fingerprint,
    vector: &StoredVector,
) -> Result<Vec<Fingerprint>, StoreError> {
    let entry = connection.rows(sql("SELECT id FROM entries WHERE key = $1").bind(key.as_bytes())).await?;
    let Some(entry) = entry.first() else { return Ok(Vec::new()) };
    let entry: i64 = entry.get("id")?;
    let replaced = sql("DELETE FROM vectors WHERE entry = $1 AND embedder = $2");
    if connection.execute(replaced.bind(entry).bind(&*vector.embedder)).await? == 0 {
        let grown = sql("UPDATE entries SET size = size + $2 WHERE id = $1");
        connection.execute(grown.bind(entry).bind(integer(vector.size()))).await?;
    }
    vector.insert(connection, entry).await?;
    Ok(vec![*key])
}

/// Returns the query for the points of an embedder that are fresh now, in the order in which they were written.
fn points_after(embedder: &str, after: Cursor, now: UnixMillis, limit: i64) -> Statement {
    sql("SELECT v.seq AS place, e.key, v.partition, e.owner, e.expires_at, v.vector \
         FROM vectors v JOIN entries e ON e.id = v.entry \
         WHERE v.embedder = $1 AND v.seq > $2 AND e.expires_at > $3 ORDER BY v.seq LIMIT $4")
    .bind(embedder)
    .bind(after.0)
    .bind(now.0)
    .bind(limit)
}

/// Reads a row of [`points_after`].
fn read_point(row: &Row) -> Result<StoredPoint, StoreError> {
    let bytes: Vec<u8> = row.get("vector")?;
    let (numbers, []) = bytes.as_chunks() else {
        return Err(StoreError::Unfit { reason: "a vector is not a list of 4-byte numbers" });
    };
    Ok(StoredPoint {
        key: row.digest("key")?,
        partition: row.digest("partition")?,
        owner: row.digest("owner")?,
        expires_at: UnixMillis(row.get("expires_at")?),
        vector: numbers.iter().map(|number| f32::from_le_bytes(*number)).collect(),
    })
}

/// Returns the query for the keys of all vectors of an embedder, in the order in which they were written.
fn keys_after(embedder: &str, after: Cursor, limit: i64) -> Statement {
    sql("SELECT v.seq AS place, e.key FROM vectors v JOIN entries e ON e.id = v.entry \
         WHERE v.embedder = $1 AND v.seq > $2 ORDER BY v.seq LIMIT $3")
    .bind(embedder)
    .bind(after.0)
    .bind(limit)
}

/// Entries that one look for missing vectors reads, whether or not any is found: with none missing, a look bounded
/// by what it finds would read the whole table.
const LOOK: i64 = 4096;

/// Returns the query for where a look for missing vectors ends: the last entry it covers.
fn end_of_look(after: Cursor) -> Statement {
    sql("SELECT CAST(coalesce(max(id), $1) AS BIGINT) AS last FROM \
         (SELECT id FROM entries WHERE id > $1 ORDER BY id LIMIT $2) AS covered")
    .bind(after.0)
    .bind(LOOK)
}

/// Reads the row of [`end_of_look`].
fn read_end(rows: &[Row]) -> Result<Cursor, StoreError> {
    Ok(Cursor(only(rows)?.get("last")?))
}

/// Returns the query for the semantic entries in a look that have no vector of an embedder.
fn without_vector(embedder: &str, after: Cursor, end: Cursor, now: UnixMillis, limit: i64) -> Statement {
    sql(select_entries!(
        "WHERE e.id > $1 AND e.id <= $2 AND e.semantic_key IS NOT NULL AND e.expires_at > $3 \
         AND NOT EXISTS (SELECT 1 FROM vectors v WHERE v.entry = e.id AND v.embedder = $4) ORDER BY e.id LIMIT $5"
    ))
    .bind(after.0)
    .bind(end.0)
    .bind(now.0)
    .bind(embedder)
    .bind(limit)
}
