//! One embedded Qdrant shard in one folder, from its making to its disposal.
//!
//! Everything here blocks. The shard is never flushed and never optimised: what it holds can be had from the store
//! again, a flush costs 100 ms for 20,000 points, and `optimize()` of 0.7.2 does not return while writes keep
//! coming. Hence two things only ever grow, its write-ahead log and the room of removed points; see
//! `EdgeIndex` for what is done about it.

use std::fs;
use std::io;
use std::os::unix::fs::MetadataExt;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};

use qdrant_edge::external::ordered_float::OrderedFloat;
use qdrant_edge::external::serde_json::{Map, Value};
use qdrant_edge::{
    Condition, CountRequest, CreateIndex, DEFAULT_VECTOR_NAME, Distance, EdgeConfig, EdgeShard,
    EdgeVectorParams, FieldCondition, FieldIndexOperations, Filter, JsonPath, Match, NamedQuery,
    OperationError, PayloadFieldSchema, PayloadSchemaType, PointId, PointInsertOperations, PointOperations,
    PointStruct, QueryEnum, QueryRequest, Range, ScoringQuery, ScrollRequest, UpdateOperation, WalOptions,
    WithPayloadInterface, WithVector,
};
use uuid::Uuid;

use super::{IndexError, KeyMark, KeyPage, Neighbour, Point, Search, Within, field};
use crate::chat::{Fingerprint, Partition};

/// Points of one write operation: it holds the lock that searches need, so a large batch goes in small steps.
const POINTS_PER_OPERATION: usize = 64;
const KEYS_PER_OPERATION: usize = 256;

/// The log's files are made at full size, so small ones keep a small index small; the default is 32 MiB.
const LOG_FILE_BYTES: usize = 4 * 1024 * 1024;

/// The shard writes through mapped sparse files, where a full disk is no error but a signal (`SIGBUS`) that ends the
/// process. So it stops while this much is free; an operation takes less than 1 MiB.
const DISK_FREE_BYTES_MIN: u64 = 64 * 1024 * 1024;

pub(super) struct Shard {
    /// `None` only while it is being dropped.
    inner: Option<EdgeShard>,
    folder: PathBuf,
    retired: AtomicBool,
}

impl Shard {
    /// Makes an empty shard in a folder that does not exist yet.
    pub fn create(folder: PathBuf, dimension: usize) -> Result<Self, IndexError> {
        fs::create_dir_all(&folder)
            .map_err(|source| IndexError::Folder { folder: folder.clone(), source })?;
        check_room(&folder, DISK_FREE_BYTES_MIN)?;
        let config = EdgeConfig::builder()
            .vector(DEFAULT_VECTOR_NAME, EdgeVectorParams::builder(dimension, Distance::Cosine).build())
            .wal_options(WalOptions { segment_capacity: LOG_FILE_BYTES, ..WalOptions::default() })
            .build();
        let inner = EdgeShard::new(&folder, config).map_err(failed)?;
        let shard = Self { inner: Some(inner), folder, retired: AtomicBool::new(false) };
        for (name, schema) in [
            // A number of 128 bits is compared faster than a text of 64 letters, and every point is.
            (field::PARTITION, PayloadSchemaType::Uuid),
            (field::OWNER, PayloadSchemaType::Keyword),
            (field::EXPIRES_AT_MS, PayloadSchemaType::Integer),
        ] {
            let index = CreateIndex {
                field_name: path(name)?,
                field_schema: Some(PayloadFieldSchema::FieldType(schema)),
            };
            let operation = FieldIndexOperations::CreateIndex(index);
            shard.inner().update(UpdateOperation::FieldIndexOperation(operation)).map_err(failed)?;
        }
        Ok(shard)
    }

    /// Writes points whose vectors were checked.
    pub fn upsert(&self, points: Vec<Point>) -> Result<(), IndexError> {
        let mut points = points.into_iter().map(point_struct).peekable();
        while points.peek().is_some() {
            check_room(&self.folder, DISK_FREE_BYTES_MIN)?;
            let some = points.by_ref().take(POINTS_PER_OPERATION).map(Into::into).collect();
            let operation = PointOperations::UpsertPoints(PointInsertOperations::PointsList(some));
            self.inner().update(UpdateOperation::PointOperation(operation)).map_err(failed)?;
        }
        Ok(())
    }

    pub fn remove(&self, keys: &[Fingerprint]) -> Result<(), IndexError> {
        for some in keys.chunks(KEYS_PER_OPERATION) {
            let ids = some.iter().map(|key| PointId::Uuid(Point::id(key))).collect();
            let operation = UpdateOperation::PointOperation(PointOperations::DeletePoints { ids });
            self.inner().update(operation).map_err(failed)?;
        }
        Ok(())
    }

    pub fn query(&self, query: Query) -> Result<Vec<Neighbour>, IndexError> {
        let found = self.inner().query(query.0).map_err(failed)?;
        found
            .into_iter()
            .map(|point| Ok(Neighbour { key: key(point.payload)?, similarity: point.score }))
            .collect()
    }

    pub fn keys(&self, from: Option<KeyMark>, limit: usize) -> Result<KeyPage, IndexError> {
        let request = ScrollRequest {
            offset: from.map(|KeyMark(id)| PointId::Uuid(id)),
            limit: Some(limit),
            filter: None,
            with_payload: Some(WithPayloadInterface::Fields(vec![path(field::KEY)?])),
            with_vector: WithVector::Bool(false),
            order_by: None,
        };
        let (records, next) = self.inner().scroll(request).map_err(failed)?;
        let keys = records.into_iter().map(|record| key(record.payload)).collect::<Result<_, _>>()?;
        Ok(KeyPage { keys, next: next.and_then(mark) })
    }

    /// Counts the points that are not removed.
    pub fn points(&self) -> Result<u64, IndexError> {
        // Without a filter the estimate is exact: it is the number of ids in use.
        let count = self.inner().count(CountRequest { filter: None, exact: false }).map_err(failed)?;
        Ok(count as u64)
    }

    /// Measures what the folder takes on the disk. Files are sparse, so their lengths would tell nothing.
    pub fn disk_bytes(&self) -> Result<u64, IndexError> {
        allocated(&self.folder).map_err(|source| IndexError::Folder { folder: self.folder.clone(), source })
    }

    /// Says that the process goes on without this shard, so that its memory is worth the price of getting it back.
    pub fn retire(&self) {
        self.retired.store(true, Ordering::Relaxed);
    }

    fn inner(&self) -> &EdgeShard {
        self.inner.as_ref().expect("the shard is taken out only by drop")
    }
}

impl Drop for Shard {
    /// Only dropping an `EdgeShard` gives its memory and its mapped files back, and in 0.7.2 that flushes first and
    /// panics where the disk is full. So a retired shard is dropped on a thread of its own, behind a net; one that
    /// ends with the process is forgotten, which writes nothing and leaves the memory to the system.
    fn drop(&mut self) {
        let Some(inner) = self.inner.take() else { return };
        let folder = std::mem::take(&mut self.folder);
        if !self.retired.load(Ordering::Relaxed) {
            std::mem::forget(inner);
            remove_folder(&folder);
            return;
        }
        let disposal = move || {
            if catch_unwind(AssertUnwindSafe(|| drop(inner))).is_err() {
                tracing::warn!(
                    "a replaced vector index could not be flushed; it held nothing that is needed"
                );
            }
            remove_folder(&folder);
        };
        if let Err(error) = std::thread::Builder::new().name("index-disposal".into()).spawn(disposal) {
            tracing::warn!(%error, "no thread to dispose of a replaced vector index");
        }
    }
}

/// A search in the shard's own words, which can cross to another thread.
pub(super) struct Query(QueryRequest);

impl Query {
    pub fn new(search: Search<'_>) -> Result<Self, IndexError> {
        let (name, value) = match search.within {
            Within::Partition(partition) => (field::PARTITION, partition_id(&partition)),
            Within::Owner(owner) => (field::OWNER, owner.to_owned()),
        };
        let within = FieldCondition::new_match(path(name)?, Match::from(value));
        // Exact: milliseconds since 1970 fit into the 53 bits of a float for the next 285,000 years.
        let now = OrderedFloat(search.now_ms as f64);
        let passed = Range { lt: None, gt: None, gte: None, lte: Some(now) };
        let expired = FieldCondition::new_range(path(field::EXPIRES_AT_MS)?, passed);
        let filter = Filter {
            should: None,
            min_should: None,
            must: Some(vec![Condition::Field(within)]),
            must_not: Some(vec![Condition::Field(expired)]),
        };
        let nearest = QueryEnum::Nearest(NamedQuery::default_dense(search.vector.to_vec()));
        Ok(Self(QueryRequest {
            prefetches: Vec::new(),
            query: Some(ScoringQuery::Vector(nearest)),
            filter: Some(filter),
            score_threshold: Some(OrderedFloat(search.similarity_min)),
            limit: search.limit,
            offset: 0,
            params: None,
            with_vector: WithVector::Bool(false),
            with_payload: WithPayloadInterface::Fields(vec![path(field::KEY)?]),
        }))
    }
}

/// Removes a folder of the index if it is there; a remainder is removed at the next start.
pub(super) fn remove_folder(folder: &Path) {
    match fs::remove_dir_all(folder) {
        Ok(()) => {}
        Err(error) if error.kind() == io::ErrorKind::NotFound => {}
        Err(error) => {
            tracing::warn!(%error, folder = %folder.display(), "an old vector index could not be removed")
        }
    }
}

fn check_room(folder: &Path, free_bytes_min: u64) -> Result<(), IndexError> {
    let disk = rustix::fs::statvfs(folder)
        .map_err(|error| IndexError::Folder { folder: folder.to_owned(), source: error.into() })?;
    let free_bytes = disk.f_bavail.saturating_mul(disk.f_frsize);
    if free_bytes < free_bytes_min {
        return Err(IndexError::DiskFull { folder: folder.to_owned(), free_bytes });
    }
    Ok(())
}

fn point_struct(point: Point) -> PointStruct {
    let mut payload = Map::new();
    payload.insert(field::KEY.into(), point.key.to_string().into());
    payload.insert(field::PARTITION.into(), partition_id(&point.partition).into());
    payload.insert(field::OWNER.into(), point.owner.as_ref().into());
    if let Some(at_ms) = point.expires_at_ms {
        payload.insert(field::EXPIRES_AT_MS.into(), at_ms.into());
    }
    PointStruct::new(PointId::Uuid(Point::id(&point.key)), point.vector, Value::Object(payload))
}

/// The first half of the partition's digest: half as long and as good as unique. Whoever follows a neighbour compares
/// the whole.
fn partition_id(partition: &Partition) -> String {
    let (head, _) = partition.as_bytes().split_first_chunk().expect("a partition has 32 bytes");
    Uuid::from_bytes(*head).to_string()
}

fn key(payload: Option<qdrant_edge::Payload>) -> Result<Fingerprint, IndexError> {
    payload
        .as_ref()
        .and_then(|payload| payload.0.get(field::KEY))
        .and_then(Value::as_str)
        .and_then(Fingerprint::from_hex)
        .ok_or_else(|| IndexError::Embedded("a point carries no key".into()))
}

fn mark(id: PointId) -> Option<KeyMark> {
    match id {
        PointId::Uuid(id) => Some(KeyMark(Uuid::from_bytes(id.into_bytes()))),
        PointId::NumId(_) => None,
    }
}

fn path(name: &str) -> Result<JsonPath, IndexError> {
    name.parse().map_err(|()| IndexError::Embedded(format!("{name} is not a payload name")))
}

fn failed(error: OperationError) -> IndexError {
    IndexError::Embedded(error.to_string())
}

fn allocated(folder: &Path) -> io::Result<u64> {
    /// The unit of `blocks()`, whatever the file system's own.
    const BLOCK_BYTES: u64 = 512;

    let mut total = 0;
    for entry in fs::read_dir(folder)? {
        let entry = entry?;
        let metadata = entry.metadata()?;
        total += if metadata.is_dir() { allocated(&entry.path())? } else { metadata.blocks() * BLOCK_BYTES };
    }
    Ok(total)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_disk_without_room_is_an_error_and_not_a_signal() {
        let folder = tempfile::tempdir().unwrap();
        assert!(check_room(folder.path(), 0).is_ok());
        assert_eq!(check_room(folder.path(), u64::MAX).unwrap_err().kind(), "disk_full");
    }
}
