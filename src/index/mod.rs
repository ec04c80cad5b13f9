//! Which earlier prompts lie near this one?
//!
//! The index is derived: the store holds every vector, and whatever is lost here is filled again from there. A
//! neighbour is only a pointer, so whoever follows it checks tenant, partition and expiry once more on the entry.
//!
//! Two kinds stand behind [`VectorIndex`]: [`EdgeIndex`] lives in this process and dies with it, [`ServerIndex`] is
//! a Qdrant server. The index never reads the store: it says through [`Status::wants_fill`] that it should be
//! filled, and whoever owns the truth drives the fill step by step ([`Fill`]).

mod collection;
mod edge;
mod error;
mod fill;
mod server;
mod shard;

use std::sync::Arc;

use async_trait::async_trait;
use uuid::Uuid;

use crate::chat::{Fingerprint, Partition};

pub use edge::EdgeIndex;
pub use error::IndexError;
pub use server::{ServerIndex, ServerSettings};

/// Vectors of stored prompts, searched by nearness.
#[async_trait]
pub trait VectorIndex: Send + Sync {
    /// Returns the nearest points, best first; never one of another partition or owner, never an expired one.
    ///
    /// Dropping the future abandons the search; it changes nothing.
    async fn search(&self, search: Search<'_>) -> Result<Vec<Neighbour>, IndexError>;

    /// Writes points, replacing those of the same key; when it returns they are found by searches.
    ///
    /// Either all vectors are sound or none is written. After any other error, and when the future is dropped, some
    /// of the points may have been written: writing them again is harmless.
    async fn upsert(&self, points: Vec<Point>) -> Result<(), IndexError>;

    /// Removes the points of these keys; unknown keys are no error.
    async fn remove(&self, keys: &[Fingerprint]) -> Result<(), IndexError>;

    /// Returns up to `limit` keys in the order of their bytes, so that they can be compared page by page with the
    /// store's; `None` begins, [`KeyPage::next`] goes on.
    async fn keys(&self, from: Option<KeyMark>, limit: usize) -> Result<KeyPage, IndexError>;

    /// Takes one step of a fill from the store; see [`Fill`] for the protocol.
    async fn fill(&self, step: Fill) -> Result<(), IndexError>;

    /// Says how the index stands, and connects again to a server that was lost.
    ///
    /// Searches fail at once while a server is away, so someone in the background has to call this every second or
    /// so: that call, and no request, pays for finding out.
    async fn status(&self) -> Result<Status, IndexError>;
}

/// One stored prompt.
#[derive(Clone, Debug)]
pub struct Point {
    /// The entry it points to. The point's id is made from it, so writing twice leaves one point.
    pub key: Fingerprint,
    /// The prompt's embedding, of unit length.
    pub vector: Vec<f32>,
    /// The only partition whose requests may find it.
    pub partition: Partition,
    /// Whose it is: an opaque digest of tenant, and user where the scope is the user's.
    pub owner: Arc<str>,
    /// When a search stops finding it, in Unix milliseconds; `None` is never.
    pub expires_at_ms: Option<i64>,
}

impl Point {
    /// The first half of the fingerprint: already evenly spread, and in the order of the keys.
    fn id(key: &Fingerprint) -> Uuid {
        let (head, _) = key.as_bytes().split_first_chunk().expect("a fingerprint has 32 bytes");
        Uuid::from_bytes(*head)
    }
}

/// One question to the index.
#[derive(Clone, Copy, Debug)]
pub struct Search<'a> {
    /// The prompt's embedding, of unit length.
    pub vector: &'a [f32],
    /// How far the search may look.
    pub within: Within<'a>,
    /// The present, in Unix milliseconds: points that expire at or before it are not found.
    pub now_ms: i64,
    /// The most neighbours to return.
    pub limit: usize,
    /// Cosine similarity below which a point is no neighbour.
    pub similarity_min: f32,
}

/// How far a search may look.
#[derive(Clone, Copy, Debug)]
pub enum Within<'a> {
    /// One partition: what serving does.
    Partition(Partition),
    /// Everything of one owner, whatever the partition: only for explaining a miss, never for serving.
    Owner(&'a str),
}

/// A point near the searched vector.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Neighbour {
    /// The entry it points to.
    pub key: Fingerprint,
    /// Cosine similarity, 1 for the same direction.
    pub similarity: f32,
}

/// A page of keys.
#[derive(Clone, Debug)]
pub struct KeyPage {
    /// The keys, in the order of their bytes.
    pub keys: Vec<Fingerprint>,
    /// Where the next page begins; `None` after the last one.
    pub next: Option<KeyMark>,
}

/// Where a page of keys begins.
#[derive(Clone, Copy, Debug)]
pub struct KeyMark(Uuid);

/// A step of filling the index from the store.
///
/// `Begin`, then `Points` until the store has no more, then `Commit`. Other writes go on meanwhile, and a key that
/// they touch after `Begin` is left alone by `Points`: what the fill brings was read earlier. Searches lose nothing
/// during a fill. `Begin` gives up a fill that was not committed.
#[derive(Clone, Debug)]
pub enum Fill {
    /// Starts; read the store only after it returned.
    Begin,
    /// Brings some of the store's points.
    Points(Vec<Point>),
    /// Ends well: the store had no more.
    Commit,
    /// Ends badly: the wish to be filled remains.
    Abandon,
}

/// Why the index wants to be filled from the store.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum WantsFill {
    /// It was made by this process and has never been filled.
    New,
    /// A server's collection was found as somebody left it: it may lack points, and hold removed ones.
    Unverified,
    /// A server's collection vanished or was emptied.
    Lost,
    /// The embedded index holds too much that is dead; a fill brings a fresh one.
    Bloated,
}

impl WantsFill {
    /// Returns the metric label: one word of a closed set.
    pub fn kind(self) -> &'static str {
        match self {
            Self::New => "new",
            Self::Unverified => "unverified",
            Self::Lost => "lost",
            Self::Bloated => "bloated",
        }
    }
}

/// How the index stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Status {
    /// Points that can be found, expired ones included.
    pub points: u64,
    /// Bytes on this machine's disk; `None` for a server.
    pub disk_bytes: Option<u64>,
    /// Why it should be filled; stays until a fill is committed.
    pub wants_fill: Option<WantsFill>,
    /// It holds more points than its kind is made for: it is time for a Qdrant server.
    pub crowded: bool,
}

/// Payload names, the same in both kinds.
mod field {
    pub const KEY: &str = "key";
    pub const PARTITION: &str = "partition";
    pub const OWNER: &str = "owner";
    pub const EXPIRES_AT_MS: &str = "expires_at_ms";
}

/// Refuses what would poison an index: Qdrant takes a NaN without a word, and then it is every search's best score.
fn check_vector(vector: &[f32], dimension: usize) -> Result<(), IndexError> {
    /// Below this a direction is only rounding.
    const NORM_SQUARED_MIN: f32 = 1e-12;

    if vector.len() != dimension {
        return Err(IndexError::WrongDimension { expected: dimension, actual: vector.len() });
    }
    let norm_squared: f32 = vector.iter().map(|x| x * x).sum();
    if !norm_squared.is_finite() {
        return Err(IndexError::NotFinite);
    }
    if norm_squared < NORM_SQUARED_MIN {
        return Err(IndexError::ZeroNorm);
    }
    Ok(())
}

fn check_points(points: &[Point], dimension: usize) -> Result<(), IndexError> {
    points.iter().try_for_each(|point| check_vector(&point.vector, dimension))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_keep_the_order_of_keys() {
        let mut keys: Vec<_> =
            (0..100u8).map(|i| Fingerprint::from_bytes([i.wrapping_mul(37); 32])).collect();
        keys.sort();
        assert!(keys.is_sorted_by_key(Point::id));
    }

    #[test]
    fn unsound_vectors_are_refused() {
        let kind = |vector: &[f32]| check_vector(vector, 3).map_err(|error| error.kind());
        assert_eq!(kind(&[0.6, 0.8, 0.0]), Ok(()));
        assert_eq!(kind(&[0.6, 0.8]), Err("wrong_dimension"));
        assert_eq!(kind(&[0.6, f32::NAN, 0.0]), Err("not_finite"));
        assert_eq!(kind(&[0.6, f32::NEG_INFINITY, 0.0]), Err("not_finite"));
        assert_eq!(kind(&[f32::MAX, f32::MAX, 0.0]), Err("not_finite"));
        assert_eq!(kind(&[0.0, 0.0, 0.0]), Err("zero_norm"));
        assert_eq!(kind(&[1e-30, 0.0, 0.0]), Err("zero_norm"));
    }
}
