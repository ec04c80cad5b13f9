//! What the index on a Qdrant server promises beyond the contract: whatever the server does, no search waits for it.

use std::time::{Duration, Instant};

use futures_util::future::join_all;
use qdrant_client::Qdrant;
use qdrant_client::qdrant::{DeletePoints, Filter, PointsSelector, points_selector::PointsSelectorOneOf};
use refrain::index::{Fill, ServerIndex, ServerSettings, Status, VectorIndex, WantsFill};
use uuid::Uuid;

use crate::support::eventually;
use crate::support::points::{DIMENSION, key, keys, point, search, vector};
use crate::support::qdrant_server::QdrantServer;

/// Generous, since a test machine may be busy; the test of slowness sets its own.
const SEARCH_TIMEOUT: Duration = Duration::from_secs(5);

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
async fn fault_73_a_hung_server_is_given_up_in_time_and_taken_back() {
    const LIMIT: Duration = Duration::from_millis(150);
    let server = QdrantServer::start().await;
    let index = ServerIndex::new(ServerSettings { search_timeout: LIMIT, ..settings(&server) }).unwrap();
    index.fill(Fill::Begin).await.unwrap();
    index.fill(Fill::Points(vec![point(1, &[1.0, 0.0])])).await.unwrap();
    index.fill(Fill::Commit).await.unwrap();

    server.freeze();
    let stranger = ServerIndex::new(ServerSettings { search_timeout: LIMIT, ..settings(&server) }).unwrap();
    let near = vector(&[1.0, 0.0]);
    let begun = Instant::now();
    assert_eq!(index.search(search(&near)).await.unwrap_err().kind(), "timeout");
    assert!(begun.elapsed() < LIMIT * 3, "{:?}", begun.elapsed());
    let begun = Instant::now();
    assert_eq!(index.search(search(&near)).await.unwrap_err().kind(), "unavailable");
    assert!(begun.elapsed() < LIMIT, "nobody waits twice, but this took {:?}", begun.elapsed());

    let begun = Instant::now();
    assert_eq!(stranger.search(search(&near)).await.unwrap_err().kind(), "unavailable");
    assert!(begun.elapsed() < LIMIT, "a search never connects, but this took {:?}", begun.elapsed());

    server.thaw();
    assert_eq!(reached(&index).await.wants_fill, None, "a slow server lost nothing");
    assert_eq!(keys(&index.search(search(&near)).await.unwrap()), [key(1)]);
}

#[tokio::test(flavor = "multi_thread")]
async fn fault_74_a_lost_or_emptied_collection_is_noticed_and_made_again() {
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
    let request = DeletePoints {
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
async fn fault_74_a_collection_of_another_dimension_is_left_alone() {
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

/// An index in a collection of its own.
pub fn on(server: &QdrantServer) -> ServerIndex {
    ServerIndex::new(settings(server)).unwrap()
}

pub fn settings(server: &QdrantServer) -> ServerSettings {
    ServerSettings {
        url: server.url(),
        api_key: None,
        collection: format!("refrain-{}", Uuid::new_v4()),
        dimension: DIMENSION,
        search_timeout: SEARCH_TIMEOUT,
        write_timeout: Duration::from_secs(10),
    }
}

async fn reached(index: &ServerIndex) -> Status {
    eventually("a status of the index", async || index.status().await.ok()).await
}
