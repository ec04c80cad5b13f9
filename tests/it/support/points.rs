//! Points to put into an index, and the questions to ask it.

use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};
use refrain::chat::{Fingerprint, Partition};
use refrain::index::{Neighbour, Point, Search, VectorIndex, Within};

/// Small, so that the index and not the arithmetic is tested.
pub const DIMENSION: usize = 16;
/// The present of every search.
pub const NOW_MS: i64 = 1_800_000_000_000;

/// Reads all keys in pages of `limit`.
pub async fn all_keys(index: &dyn VectorIndex, limit: usize) -> Vec<Fingerprint> {
    let mut all = Vec::new();
    let mut from = None;
    loop {
        let page = index.keys(from, limit).await.unwrap();
        assert!(page.keys.len() <= limit);
        all.extend(page.keys);
        from = page.next;
        if from.is_none() {
            return all;
        }
    }
}

/// Fails unless the point is its own nearest neighbour.
pub async fn finds_itself(index: &dyn VectorIndex, point: &Point) {
    let ask = Search { within: Within::Partition(point.partition), limit: 1, ..search(&point.vector) };
    let found = index.search(ask).await.unwrap();
    assert_eq!(keys(&found), [point.key]);
}

/// Ten neighbours in partition 0, whatever their similarity above -0.5.
pub fn search(vector: &[f32]) -> Search<'_> {
    Search {
        vector,
        within: Within::Partition(partition(0)),
        now_ms: NOW_MS,
        limit: 10,
        similarity_min: -0.5,
    }
}

/// A point of partition 0 and owner 0 that never expires.
pub fn point(n: u64, head: &[f32]) -> Point {
    Point {
        key: key(n),
        vector: vector(head),
        partition: partition(0),
        owner: "owner 0".into(),
        expires_at_ms: None,
    }
}

/// Points in all directions, in ten partitions.
pub fn random_points(count: u64) -> Vec<Point> {
    let mut random = StdRng::seed_from_u64(20_261_120);
    (0..count)
        .map(|n| {
            let direction: Vec<f32> = (0..DIMENSION).map(|_| random.random_range(-1.0..1.0)).collect();
            let norm = direction.iter().map(|x| x * x).sum::<f32>().sqrt();
            let vector = direction.iter().map(|x| x / norm).collect();
            Point { vector, partition: partition(n % 10), ..point(n, &[1.0]) }
        })
        .collect()
}

/// A vector that begins with `head`; the rest is zero.
pub fn vector(head: &[f32]) -> Vec<f32> {
    let mut vector = head.to_vec();
    vector.resize(DIMENSION, 0.0);
    vector
}

/// One of many keys.
pub fn key(n: u64) -> Fingerprint {
    Fingerprint::from_bytes(*blake3::hash(&n.to_le_bytes()).as_bytes())
}

/// One of many partitions.
pub fn partition(n: u64) -> Partition {
    Partition::from_bytes(*blake3::hash(&n.to_be_bytes()).as_bytes())
}

/// The keys of what was found, in its order.
pub fn keys(found: &[Neighbour]) -> Vec<Fingerprint> {
    found.iter().map(|neighbour| neighbour.key).collect()
}
