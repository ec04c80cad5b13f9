//! One contract for both kinds of index.

use std::collections::BTreeSet;
use std::sync::Arc;

use refrain::index::{EdgeIndex, Fill, IndexError, Point, Search, VectorIndex, Within};

use crate::index_server::on;
use crate::support::points::{
    DIMENSION, NOW_MS, all_keys, finds_itself, key, keys, partition, point, random_points, search, vector,
};
use crate::support::qdrant_server::QdrantServer;

#[tokio::test(flavor = "multi_thread")]
async fn the_embedded_index_keeps_the_contract() {
    let folder = tempfile::tempdir().unwrap();
    keeps_the_contract(async || Arc::new(EdgeIndex::create(folder.path(), DIMENSION).unwrap()) as _).await;
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
    index.remove(&(100..10_100).map(key).collect::<Vec<_>>()).await.unwrap();

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
