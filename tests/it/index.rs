//! One contract for both kinds of index, and what each kind promises beyond it.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use futures_util::future::join_all;
use qdrant_client::Qdrant;
use qdrant_client::qdrant::{Filter, PointsSelector, points_selector::PointsSelectorOneOf};
use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};
use refrain::chat::{Fingerprint, Partition};
use refrain::index::{
    EdgeIndex, Fill, IndexError, Neighbour, Point, Search, ServerIndex, ServerSettings, Status, VectorIndex,
    WantsFill, Within,
};
use tempfile::TempDir;
use uuid::Uuid;

use crate::support::eventually;
use crate::support::qdrant_server::QdrantServer;

const DIMENSION: usize = 16;
const NOW_MS: i64 = 1_800_000_000_000;
/// Generous, since a test machine may be busy; the tests of slowness set their own.
const SEARCH_TIMEOUT: Duration = Duration::from_secs(5);

#[tokio::test(flavor = "multi_thread")]
async fn the_embedded_index_keeps_the_contract() {
    let folder = tempfile::tempdir().unwrap();
    keeps_the_contract(async || Arc::new(edge(&folder)) as _).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_server_keeps_the_contract() {
    let server = QdrantServer::start().await;
    keeps_the_contract(async || {
        let index = on(&server);
        index.status().await.unwrap();
        Arc::new(index) as _
    })
    .await;
}

/// Every check has an empty index of its own.
async fn keeps_the_contract(fresh: impl AsyncFn() -> Arc<dyn VectorIndex>) {
    nearest_come_first(&*fresh().await).await;
    a_search_stays_in_its_partition(&*fresh().await).await;
    the_expired_are_never_found(&*fresh().await).await;
    an_owner_search_stays_with_the_owner(&*fresh().await).await;
    writing_twice_leaves_one_point(&*fresh().await).await;
    the_removed_are_gone(&*fresh().await).await;
    unsound_vectors_change_nothing(&*fresh().await).await;
    keys_come_page_by_page_in_order(&*fresh().await).await;
    a_fill_yields_to_newer_writes(&*fresh().await).await;
    searches_and_writes_go_together(fresh().await).await;
}

async fn nearest_come_first(index: &dyn VectorIndex) {
    let points =
        [point(1, &[1.0, 0.0]), point(2, &[0.6, 0.8]), point(3, &[0.0, 1.0]), point(4, &[-1.0, 0.0])];
    index.upsert(points.to_vec()).await.unwrap();

    let found = index.search(search(&vector(&[1.0, 0.0]))).await.unwrap();
    assert_eq!(keys(&found), [key(1), key(2), key(3)], "a similarity of -1 is below the floor of -0.5");
    for (neighbour, similarity) in found.iter().zip([1.0, 0.6, 0.0]) {
        assert!(
            (neighbour.similarity - similarity).abs() < 1e-6,
            "{neighbour:?} should be near {similarity}"
        );
    }

    let near = vector(&[1.0, 0.0]);
    let found = index.search(Search { similarity_min: 0.9, ..search(&near) }).await.unwrap();
    assert_eq!(keys(&found), [key(1)]);
    let found = index.search(Search { limit: 2, ..search(&near) }).await.unwrap();
    assert_eq!(keys(&found), [key(1), key(2)]);
}

async fn a_search_stays_in_its_partition(index: &dyn VectorIndex) {
    let elsewhere = Point { partition: partition(9), ..point(2, &[1.0, 0.0]) };
    index.upsert(vec![point(1, &[0.6, 0.8]), elsewhere]).await.unwrap();

    let near = vector(&[1.0, 0.0]);
    let within = |n| Search { within: Within::Partition(partition(n)), ..search(&near) };
    assert_eq!(keys(&index.search(within(0)).await.unwrap()), [key(1)]);
    assert_eq!(keys(&index.search(within(9)).await.unwrap()), [key(2)]);
    assert_eq!(keys(&index.search(within(7)).await.unwrap()), []);
}

async fn the_expired_are_never_found(index: &dyn VectorIndex) {
    let expiring = |n, expires_at_ms| Point { expires_at_ms, ..point(n, &[1.0, 0.0]) };
    let points = [
        expiring(1, Some(NOW_MS - 1)),
        expiring(2, Some(NOW_MS)),
        expiring(3, Some(NOW_MS + 1)),
        expiring(4, None),
        expiring(5, Some(i64::MAX)),
    ];
    index.upsert(points.to_vec()).await.unwrap();

    let near = vector(&[1.0, 0.0]);
    let found: BTreeSet<_> = keys(&index.search(search(&near)).await.unwrap()).into_iter().collect();
    assert_eq!(found, BTreeSet::from([key(3), key(4), key(5)]));
    let found = index.search(Search { within: Within::Owner("owner 0"), ..search(&near) }).await.unwrap();
    assert_eq!(found.len(), 3, "an owner search does not find the expired either");
}

async fn an_owner_search_stays_with_the_owner(index: &dyn VectorIndex) {
    let far = Point { partition: partition(9), ..point(2, &[1.0, 0.0]) };
    let foreign = Point { owner: "owner 1".into(), ..point(3, &[1.0, 0.0]) };
    index.upsert(vec![point(1, &[0.6, 0.8]), far, foreign]).await.unwrap();

    let near = vector(&[1.0, 0.0]);
    let found = index.search(Search { within: Within::Owner("owner 0"), ..search(&near) }).await.unwrap();
    assert_eq!(keys(&found), [key(2), key(1)]);
}

async fn writing_twice_leaves_one_point(index: &dyn VectorIndex) {
    index.upsert(vec![point(1, &[1.0, 0.0])]).await.unwrap();
    index.upsert(vec![point(1, &[1.0, 0.0])]).await.unwrap();
    assert_eq!(index.status().await.unwrap().points, 1);

    let moved = Point { partition: partition(9), ..point(1, &[0.0, 1.0]) };
    index.upsert(vec![moved]).await.unwrap();
    assert_eq!(index.status().await.unwrap().points, 1);
    let near = vector(&[0.0, 1.0]);
    assert_eq!(keys(&index.search(search(&near)).await.unwrap()), [], "it left its old partition");
    let there = Search { within: Within::Partition(partition(9)), similarity_min: 0.99, ..search(&near) };
    assert_eq!(keys(&index.search(there).await.unwrap()), [key(1)]);
}

async fn the_removed_are_gone(index: &dyn VectorIndex) {
    index.upsert((0..10).map(|n| point(n, &[1.0, 0.0])).collect()).await.unwrap();
    index.remove(&[key(3), key(4), key(77)]).await.unwrap();
    index.remove(&[key(3)]).await.unwrap();
    index.remove(&[]).await.unwrap();

    assert_eq!(index.status().await.unwrap().points, 8);
    let near = vector(&[1.0, 0.0]);
    let found: BTreeSet<_> = keys(&index.search(search(&near)).await.unwrap()).into_iter().collect();
    assert_eq!(found, (0..10).filter(|n| ![3, 4].contains(n)).map(key).collect());
}

async fn unsound_vectors_change_nothing(index: &dyn VectorIndex) {
    let unsound = |vector: Vec<f32>| Point { vector, ..point(2, &[1.0]) };
    for (vector, kind) in [
        (vec![1.0; DIMENSION - 1], "wrong_dimension"),
        (vec![f32::NAN; DIMENSION], "not_finite"),
        (vec![f32::INFINITY; DIMENSION], "not_finite"),
        (vec![0.0; DIMENSION], "zero_norm"),
    ] {
        let error = index.search(search(&vector)).await.unwrap_err();
        assert_eq!(error.kind(), kind);
        let error = index.upsert(vec![point(1, &[1.0]), unsound(vector.clone())]).await.unwrap_err();
        assert_eq!(error.kind(), kind);
        index.fill(Fill::Begin).await.unwrap();
        let error = index.fill(Fill::Points(vec![unsound(vector)])).await.unwrap_err();
        assert_eq!(error.kind(), kind);
    }
    assert_eq!(
        index.status().await.unwrap().points,
        0,
        "the sound neighbour of an unsound vector stays out too"
    );
}

async fn keys_come_page_by_page_in_order(index: &dyn VectorIndex) {
    index.upsert((0..25).map(|n| point(n, &[1.0, 0.0])).collect()).await.unwrap();
    assert_eq!(
        all_keys(index, 10).await,
        (0..25).map(key).collect::<BTreeSet<_>>().into_iter().collect::<Vec<_>>()
    );
}

async fn a_fill_yields_to_newer_writes(index: &dyn VectorIndex) {
    assert!(matches!(index.fill(Fill::Commit).await, Err(IndexError::NoFill)));
    assert!(matches!(index.fill(Fill::Points(vec![point(1, &[1.0])])).await, Err(IndexError::NoFill)));

    assert!(index.status().await.unwrap().wants_fill.is_some());
    index.fill(Fill::Begin).await.unwrap();
    index.remove(&[key(1)]).await.unwrap();
    index.upsert(vec![point(2, &[0.0, 1.0])]).await.unwrap();
    index.fill(Fill::Points((1..=3).map(|n| point(n, &[1.0, 0.0])).collect())).await.unwrap();
    index.fill(Fill::Commit).await.unwrap();

    assert_eq!(index.status().await.unwrap().wants_fill, None);
    let found = index.search(search(&vector(&[1.0, 0.0]))).await.unwrap();
    assert_eq!(keys(&found), [key(3), key(2)], "1 was removed and 2 moved while the fill was under way");
}

/// A point is found from the moment its write returned, whatever else goes on.
async fn searches_and_writes_go_together(index: Arc<dyn VectorIndex>) {
    let store = random_points(10_000);
    let writers = store.chunks(2_500).map(|part| {
        let (index, part) = (Arc::clone(&index), part.to_vec());
        tokio::spawn(async move {
            for batch in part.chunks(250) {
                index.upsert(batch.to_vec()).await.unwrap();
                finds_itself(&*index, &batch[0]).await;
                finds_itself(&*index, batch.last().unwrap()).await;
            }
        })
    });
    for writer in writers.collect::<Vec<_>>() {
        writer.await.unwrap();
    }
    assert_eq!(index.status().await.unwrap().points, 10_000);
    for point in store.iter().step_by(500) {
        finds_itself(&*index, point).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_rotation_loses_nothing_while_writes_go_on() {
    let folder = tempfile::tempdir().unwrap();
    let index = Arc::new(edge(&folder));
    index.fill(Fill::Begin).await.unwrap();
    index.fill(Fill::Commit).await.unwrap();

    let points = random_points(4_000);
    let (kept, dead) = points.split_at(1_500);
    index.upsert(points.clone()).await.unwrap();
    assert_eq!(index.status().await.unwrap().wants_fill, None);
    index.remove(&dead.iter().map(|point| point.key).collect::<Vec<_>>()).await.unwrap();
    assert_eq!(index.status().await.unwrap().wants_fill, Some(WantsFill::Bloated));

    let done = Arc::new(AtomicBool::new(false));
    let searcher = tokio::spawn({
        let (index, kept, done) = (Arc::clone(&index), kept.to_vec(), Arc::clone(&done));
        async move {
            let mut rounds = 0;
            while !done.load(Ordering::Relaxed) || rounds == 0 {
                // The first thousand are never touched; they must be found at every moment.
                for point in kept[..1_000].iter().step_by(97) {
                    finds_itself(&*index, point).await;
                }
                rounds += 1;
            }
        }
    });

    index.fill(Fill::Begin).await.unwrap();
    // Read before the writes below, as a fill from the store would be.
    let read = kept.to_vec();
    let mut expected: BTreeMap<_, _> = kept.iter().map(|point| (point.key, point.clone())).collect();
    for (step, batch) in read.chunks(100).enumerate() {
        let (removed, moved) = (&kept[1_000 + step * 10], &kept[1_300 + step * 10]);
        index.remove(&[removed.key]).await.unwrap();
        expected.remove(&removed.key);
        let moved = Point { vector: dead[step].vector.clone(), ..moved.clone() };
        index.upsert(vec![moved.clone(), dead[1_000 + step].clone()]).await.unwrap();
        expected.insert(moved.key, moved);
        expected.insert(dead[1_000 + step].key, dead[1_000 + step].clone());
        index.fill(Fill::Points(batch.to_vec())).await.unwrap();
    }
    index.fill(Fill::Commit).await.unwrap();
    done.store(true, Ordering::Relaxed);
    searcher.await.unwrap();

    assert_eq!(all_keys(&*index, 300).await, expected.keys().copied().collect::<Vec<_>>());
    for point in expected.values() {
        finds_itself(&*index, point).await;
    }
    assert_eq!(index.status().await.unwrap().wants_fill, None);
    eventually("the replaced shard's folder gone", async || (shard_folders(&folder) == 1).then_some(()))
        .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_rotation_that_is_given_up_changes_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let index = edge(&folder);
    index.fill(Fill::Begin).await.unwrap();
    index.fill(Fill::Points(vec![point(1, &[1.0, 0.0])])).await.unwrap();
    index.fill(Fill::Commit).await.unwrap();

    index.fill(Fill::Begin).await.unwrap();
    index.fill(Fill::Points(vec![point(2, &[1.0, 0.0])])).await.unwrap();
    index.fill(Fill::Abandon).await.unwrap();
    assert_eq!(all_keys(&index, 10).await, [key(1)]);
    eventually("the abandoned shard's folder gone", async || (shard_folders(&folder) == 1).then_some(()))
        .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn folders_of_earlier_processes_are_removed() {
    let folder = tempfile::tempdir().unwrap();
    let earlier = folder.path().join("index/1-abcdef12-34567890/0/segments");
    std::fs::create_dir_all(&earlier).unwrap();

    let first = edge(&folder);
    let second = edge(&folder);
    assert!(!earlier.exists());
    first.upsert(vec![point(1, &[1.0])]).await.unwrap();
    assert_eq!(second.status().await.unwrap().points, 0, "two indexes of one process do not share a folder");
    assert_eq!(second.status().await.unwrap().wants_fill, Some(WantsFill::New));

    drop((first, second));
    assert_eq!(std::fs::read_dir(folder.path().join("index")).unwrap().count(), 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_that_is_down_at_start_costs_no_search_anything() {
    let mut server = QdrantServer::prepare();
    let index = on(&server);
    let near = vector(&[1.0, 0.0]);
    let fails_at_once = async || {
        let begun = Instant::now();
        let error = index.search(search(&near)).await.unwrap_err();
        assert_eq!(error.kind(), "unavailable");
        assert!(begun.elapsed() < SEARCH_TIMEOUT / 5, "{:?}", begun.elapsed());
    };
    fails_at_once().await;
    assert_eq!(index.status().await.unwrap_err().kind(), "unavailable");
    fails_at_once().await;
    assert_eq!(index.upsert(vec![point(1, &[1.0, 0.0])]).await.unwrap_err().kind(), "unavailable");

    server.resume_life().await;
    let status = reached(&index).await;
    assert_eq!(status.wants_fill, Some(WantsFill::Lost), "the collection was made, so it was not there");
    index.upsert(vec![point(1, &[1.0, 0.0])]).await.unwrap();
    assert_eq!(keys(&index.search(search(&near)).await.unwrap()), [key(1)]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_that_restarts_is_found_again_with_its_points() {
    let mut server = QdrantServer::start().await;
    let index = on(&server);
    index.fill(Fill::Begin).await.unwrap();
    index.fill(Fill::Points(vec![point(1, &[1.0, 0.0])])).await.unwrap();
    index.fill(Fill::Commit).await.unwrap();
    assert_eq!(index.status().await.unwrap().wants_fill, None);

    server.kill();
    let near = vector(&[1.0, 0.0]);
    assert_eq!(index.search(search(&near)).await.unwrap_err().kind(), "unavailable");
    server.resume_life().await;
    let status = reached(&index).await;
    assert_eq!((status.points, status.wants_fill), (1, Some(WantsFill::Unverified)));
    assert_eq!(keys(&index.search(search(&near)).await.unwrap()), [key(1)]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_hung_server_is_given_up_in_time_and_taken_back() {
    const LIMIT: Duration = Duration::from_millis(150);
    let server = QdrantServer::start().await;
    let index = ServerIndex::new(ServerSettings { search_timeout: LIMIT, ..settings(&server) }).unwrap();
    index.fill(Fill::Begin).await.unwrap();
    index.fill(Fill::Points(vec![point(1, &[1.0, 0.0])])).await.unwrap();
    index.fill(Fill::Commit).await.unwrap();

    server.freeze();
    let near = vector(&[1.0, 0.0]);
    let begun = Instant::now();
    assert_eq!(index.search(search(&near)).await.unwrap_err().kind(), "timeout");
    assert!(begun.elapsed() < LIMIT * 3, "{:?}", begun.elapsed());
    let begun = Instant::now();
    assert_eq!(index.search(search(&near)).await.unwrap_err().kind(), "unavailable");
    assert!(begun.elapsed() < LIMIT, "nobody waits twice, but this took {:?}", begun.elapsed());

    server.thaw();
    assert_eq!(reached(&index).await.wants_fill, None, "a slow server lost nothing");
    assert_eq!(keys(&index.search(search(&near)).await.unwrap()), [key(1)]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_lost_or_emptied_collection_is_noticed_and_made_again() {
    let server = QdrantServer::start().await;
    let settings = settings(&server);
    let client = Qdrant::from_url(&settings.url).skip_compatibility_check().build().unwrap();
    let index = ServerIndex::new(settings.clone()).unwrap();
    let fill = async || {
        index.fill(Fill::Begin).await.unwrap();
        index.fill(Fill::Points(vec![point(1, &[1.0, 0.0])])).await.unwrap();
        index.fill(Fill::Commit).await.unwrap();
        assert_eq!(index.status().await.unwrap().wants_fill, None);
    };
    let near = vector(&[1.0, 0.0]);
    fill().await;

    client.delete_collection(&settings.collection).await.unwrap();
    assert_eq!(index.search(search(&near)).await.unwrap_err().kind(), "missing");
    assert_eq!(index.status().await.unwrap().wants_fill, Some(WantsFill::Lost));
    fill().await;
    assert_eq!(keys(&index.search(search(&near)).await.unwrap()), [key(1)]);

    // Lost again, and this time a write is the first to notice.
    client.delete_collection(&settings.collection).await.unwrap();
    assert_eq!(index.upsert(vec![point(2, &[1.0, 0.0])]).await.unwrap_err().kind(), "missing");
    index.upsert(vec![point(2, &[1.0, 0.0])]).await.unwrap();
    assert_eq!(index.status().await.unwrap().wants_fill, Some(WantsFill::Lost));
    fill().await;

    let everything =
        PointsSelector { points_selector_one_of: Some(PointsSelectorOneOf::Filter(Filter::default())) };
    let request = qdrant_client::qdrant::DeletePoints {
        collection_name: settings.collection.clone(),
        points: Some(everything),
        wait: Some(true),
        ..Default::default()
    };
    client.delete_points(request).await.unwrap();
    assert_eq!(index.status().await.unwrap().wants_fill, Some(WantsFill::Lost));
    fill().await;
    assert_eq!(keys(&index.search(search(&near)).await.unwrap()), [key(1)]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_collection_of_another_dimension_is_left_alone() {
    let server = QdrantServer::start().await;
    let ours = settings(&server);
    let first = ServerIndex::new(ours.clone()).unwrap();
    first.upsert(vec![point(1, &[1.0, 0.0])]).await.unwrap();

    let second = ServerIndex::new(ServerSettings { dimension: DIMENSION / 2, ..ours }).unwrap();
    assert_eq!(second.status().await.unwrap_err().kind(), "wrong_dimension");
    assert_eq!(first.status().await.unwrap().points, 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn replicas_that_start_together_share_a_collection() {
    let server = QdrantServer::start().await;
    let ours = settings(&server);
    let replicas = [(); 4].map(|()| ServerIndex::new(ours.clone()).unwrap());
    for status in join_all(replicas.iter().map(|replica| replica.status())).await {
        assert_eq!(status.unwrap().points, 0);
    }
}

#[tokio::test]
async fn a_key_that_cannot_be_sent_is_refused_and_not_repeated() {
    let server = QdrantServer::prepare();
    let settings = ServerSettings { api_key: Some("top\nsecret".into()), ..settings(&server) };
    let error = ServerIndex::new(settings).err().unwrap();
    assert_eq!(error.kind(), "settings");
    assert!(!error.to_string().contains("secret"));
}

fn edge(folder: &TempDir) -> EdgeIndex {
    EdgeIndex::create(&folder.path().join("index"), DIMENSION).unwrap()
}

fn settings(server: &QdrantServer) -> ServerSettings {
    ServerSettings {
        url: server.url(),
        api_key: None,
        collection: format!("refrain-{}", Uuid::new_v4()),
        dimension: DIMENSION,
        search_timeout: SEARCH_TIMEOUT,
        write_timeout: Duration::from_secs(10),
    }
}

fn on(server: &QdrantServer) -> ServerIndex {
    ServerIndex::new(settings(server)).unwrap()
}

async fn reached(index: &ServerIndex) -> Status {
    eventually("a status of the index", async || index.status().await.ok()).await
}

fn shard_folders(folder: &TempDir) -> usize {
    std::fs::read_dir(folder.path().join("index"))
        .unwrap()
        .map(|home| std::fs::read_dir(home.unwrap().path()).unwrap().count())
        .sum()
}

async fn all_keys(index: &dyn VectorIndex, limit: usize) -> Vec<Fingerprint> {
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

async fn finds_itself(index: &dyn VectorIndex, point: &Point) {
    let ask = Search { within: Within::Partition(point.partition), limit: 1, ..search(&point.vector) };
    let found = index.search(ask).await.unwrap();
    assert_eq!(keys(&found), [point.key]);
}

fn search(vector: &[f32]) -> Search<'_> {
    Search {
        vector,
        within: Within::Partition(partition(0)),
        now_ms: NOW_MS,
        limit: 10,
        similarity_min: -0.5,
    }
}

fn point(n: u64, head: &[f32]) -> Point {
    Point {
        key: key(n),
        vector: vector(head),
        partition: partition(0),
        owner: "owner 0".into(),
        expires_at_ms: None,
    }
}

/// Points in all directions, in ten partitions.
fn random_points(count: u64) -> Vec<Point> {
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

fn vector(head: &[f32]) -> Vec<f32> {
    let mut vector = head.to_vec();
    vector.resize(DIMENSION, 0.0);
    vector
}

fn key(n: u64) -> Fingerprint {
    Fingerprint::from_bytes(*blake3::hash(&n.to_le_bytes()).as_bytes())
}

fn partition(n: u64) -> Partition {
    Partition::from_bytes(*blake3::hash(&n.to_be_bytes()).as_bytes())
}

fn keys(found: &[Neighbour]) -> Vec<Fingerprint> {
    found.iter().map(|neighbour| neighbour.key).collect()
}
