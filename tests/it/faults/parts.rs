//! What becomes of the parts that the core can do without, and of what they say that is not so.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use async_trait::async_trait;
use futures_util::future::join_all;
use refrain::chat::{Fingerprint, Partition};
use refrain::embed::{EmbedError, Embedder, EmbedderVersion, Embedding};
use refrain::index::{Point, ServerIndex, ServerSettings, VectorIndex};
use serde_json::json;

use crate::index_server;
use crate::keys::key;
use crate::support::app::{TestApp, chat, embedder};
use crate::support::eventually;
use crate::support::points::{all_keys, point};
use crate::support::qdrant_server::QdrantServer;
use crate::support::reply::{Reply, answer_to};

const STORED: &str = "How do I reset my password?";
const REWORDED: &str = "How can I reset my password?";
const NO_STORE: [(&str, &str); 1] = [("cache-control", "no-store")];
const ONLY_CACHED: [(&str, &str); 1] = [("cache-control", "only-if-cached")];

fn on(qdrant: &QdrantServer) -> String {
    format!("[index]\nkind = \"qdrant\"\nurl = \"{}\"\n", qdrant.url())
}

/// Returns an index in the collection of a server with the usual model.
async fn collection(qdrant: &QdrantServer) -> ServerSettings {
    let embedder = embedder().await;
    ServerSettings {
        collection: format!("refrain_{}", embedder.version().as_str()),
        dimension: embedder.dimension(),
        ..index_server::settings(qdrant)
    }
}

#[tokio::test]
async fn fault_74_a_collection_that_is_not_as_ours_is_left_alone_and_none_is_mixed() {
    let qdrant = QdrantServer::start().await;
    let ours = collection(&qdrant).await;
    let strange = ServerIndex::new(ServerSettings {
        collection: ours.collection.clone(),
        ..index_server::settings(&qdrant)
    });
    let of_another_model =
        ServerIndex::new(ServerSettings { collection: "refrain_another-model".into(), ..ours });
    let (strange, of_another_model) = (strange.unwrap(), of_another_model.unwrap());
    strange.upsert(vec![point(1, &[1.0])]).await.unwrap();
    let vector = embedder().await.embed(REWORDED).await.unwrap().vector().to_vec();
    of_another_model.upsert(vec![Point { vector, ..point(2, &[]) }]).await.unwrap();

    let app = TestApp::with(&on(&qdrant)).await;
    for source in ["upstream", "exact"] {
        assert_eq!(app.chat(chat(STORED)).await.source(), source);
    }
    assert_eq!(app.chat(chat(REWORDED)).await.source(), "upstream");
    assert_eq!(app.get("/health/ready").await.status, 200);
    let index = eventually("word of the index", async || {
        let index = app.admin_get("/health/ai").await.json()["index"].clone();
        index["error"].as_str().is_some_and(|error| error.contains("dimension")).then_some(index)
    })
    .await;
    assert_eq!(index["status"], "unwell");
    assert!(app.metric("refrain_cache_lookups_total{tier=\"semantic\",outcome=\"error\"}").await >= 1.0);
    for index in [&strange, &of_another_model] {
        assert_eq!(index.status().await.unwrap().points, 1, "it is as it was");
    }
}

fn fingerprint(hex: &str) -> Fingerprint {
    Fingerprint::from_bytes(hex::decode(hex).unwrap().try_into().unwrap())
}

/// Points that say what is not so: of an entry that is gone, of another tenant's, of one that has expired.
#[tokio::test]
async fn fault_76_a_point_is_only_a_pointer() {
    let qdrant = QdrantServer::start().await;
    let planted = ServerIndex::new(collection(&qdrant).await).unwrap();
    let keys = [
        key("ann", "a", "\"generate\", \"debug\"", ""),
        key("bob", "b", "\"generate\", \"debug\"", ""),
        key("root", "a", "\"admin\"", ""),
    ];
    let mut app = TestApp::with(&format!("{}{}", on(&qdrant), keys.concat())).await;
    app.use_key("ann");
    let of_ann = fingerprint(app.chat(chat(STORED)).await.header("x-cache-key"));
    app.use_key("bob");
    let brief = app.chat_with(chat("What is the capital of Norway?"), &[("x-cache-ttl", "1")]).await;
    let expired = fingerprint(brief.header("x-cache-key"));
    app.use_key("root");
    app.indexed(2).await;
    let gone = Fingerprint::from_bytes([7; 32]);
    let cases = [
        (of_ann, REWORDED),
        (expired, "What's the capital of Norway?"),
        (gone, "Which planet is the largest?"),
    ];
    for (key, prompt) in cases {
        let question = json!({"endpoint": "/v1/chat/completions", "tenant": "b", "body": chat(prompt)});
        let partition = app.admin_post("/admin/explain", question).await.json()["partition"].clone();
        let partition = hex::decode(partition.as_str().unwrap()).unwrap().try_into().unwrap();
        let vector = embedder().await.embed(prompt).await.unwrap().vector().to_vec();
        let point = Point {
            key,
            vector,
            partition: Partition::from_bytes(partition),
            owner: "b".into(),
            expires_at_ms: None,
        };
        planted.upsert(vec![point]).await.unwrap();
    }
    assert!(all_keys(&planted, 10).await.contains(&gone));
    let repairs = app.metric("refrain_index_repairs_total").await;

    app.use_key("bob");
    eventually("the end of an entry", async || {
        let response = app.chat_with(chat("What is the capital of Norway?"), &ONLY_CACHED).await;
        (response.status == 504).then_some(())
    })
    .await;
    for (_, prompt) in cases {
        let response = app.chat_with(chat(prompt), &NO_STORE).await;
        assert_eq!((response.source(), response.answer()), ("upstream", answer_to(prompt)));
    }
    assert!(!all_keys(&planted, 10).await.contains(&gone), "what leads nowhere goes");
    app.use_key("root");
    assert_eq!(app.metric("refrain_index_repairs_total").await, repairs + 1.0);
}

/// An embedder that fails in one of these ways.
struct Failing {
    real: Arc<dyn Embedder>,
    how: How,
}

#[derive(Clone, Copy, Debug)]
enum How {
    Panics,
    IsNoNumber,
    IsZero,
}

#[async_trait]
impl Embedder for Failing {
    async fn embed(&self, _: &str) -> Result<Embedding, EmbedError> {
        let raw = match self.how {
            How::Panics => panic!("as this test wants it"),
            How::IsNoNumber => f32::NAN,
            How::IsZero => 0.0,
        };
        Embedding::new(&vec![raw; self.dimension()], 3, false)
    }

    fn version(&self) -> &EmbedderVersion {
        self.real.version()
    }

    fn dimension(&self) -> usize {
        self.real.dimension()
    }

    fn queue_depth(&self) -> usize {
        0
    }
}

#[tokio::test]
async fn fault_77_an_embedder_that_panics_or_says_what_is_no_vector() {
    for how in [How::Panics, How::IsNoNumber, How::IsZero] {
        let mut app = TestApp::around(Arc::new(Failing { real: embedder().await, how }), "").await;
        for source in ["upstream", "exact"] {
            let response = app.chat(chat(STORED)).await;
            assert_eq!((response.status, response.source()), (200, source), "{how:?}");
        }
        assert_eq!(app.chat_with(chat(REWORDED), &NO_STORE).await.source(), "upstream", "{how:?}");
        assert!(app.metric("refrain_cache_lookups_total{tier=\"semantic\",outcome=\"error\"}").await >= 2.0);
        app.stored(1).await;
        assert_eq!(app.admin_get("/admin/stats").await.json()["store"]["vectors"], 0, "{how:?}");
        // What was stored without its vector gets it from an embedder that is well.
        app.restart().await;
        app.indexed(1).await;
        assert_eq!(app.chat(chat(REWORDED)).await.source(), "semantic", "{how:?}");
    }
}

/// An embedder that is well but for its queue, which nobody can look at for a while.
struct Opaque {
    real: Arc<dyn Embedder>,
    is_opaque: Arc<AtomicBool>,
}

#[async_trait]
impl Embedder for Opaque {
    async fn embed(&self, text: &str) -> Result<Embedding, EmbedError> {
        self.real.embed(text).await
    }

    fn version(&self) -> &EmbedderVersion {
        self.real.version()
    }

    fn dimension(&self) -> usize {
        self.real.dimension()
    }

    fn queue_depth(&self) -> usize {
        assert!(!self.is_opaque.load(Ordering::Relaxed), "PROMPTMARK, as this test wants it");
        7
    }
}

#[tokio::test]
async fn fault_88_a_panic_in_a_handler_or_a_task_of_the_house() {
    let is_opaque = Arc::new(AtomicBool::new(true));
    let opaque = Opaque { real: embedder().await, is_opaque: Arc::clone(&is_opaque) };
    let app = TestApp::around(Arc::new(opaque), "").await;
    for _ in 0..3 {
        let fell = app.admin_get("/health/ai").await;
        assert_eq!((fell.status, fell.error("code").as_str()), (500, "internal"));
        assert!(fell.has_header("x-request-id") && !fell.text().contains("PROMPTMARK"), "{}", fell.text());
    }
    for source in ["upstream", "exact"] {
        assert_eq!(app.chat(chat(STORED)).await.source(), source);
    }
    // Whoever keeps the tiers fell over the same stone, and is begun anew.
    app.counted("refrain_task_restarts_total{task=\"sweeper\"}", 1.0).await;
    is_opaque.store(false, Ordering::Relaxed);
    assert_eq!(app.admin_get("/health/ai").await.status, 200);
    app.counted("refrain_embed_queue_depth", 7.0).await;
}

#[tokio::test]
async fn fault_90_a_cold_memory_is_filled_from_the_store_without_a_stampede() {
    let mut app = TestApp::exact().await;
    app.chat(chat(STORED)).await;
    app.stored(1).await;
    app.restart().await;
    let responses = join_all((0..200).map(|_| app.chat(chat(STORED)))).await;
    for response in &responses {
        assert_eq!((response.source(), response.answer()), ("exact", answer_to(STORED)));
    }
    assert!(responses.iter().any(|response| response.served_by() == "exact store"));
    assert_eq!(app.chat(chat(STORED)).await.served_by(), "exact memory");
    join_all((0..200).map(|_| app.chat(chat("Which planet is the largest?")))).await;
    assert_eq!(app.upstream.calls(), 2, "what is not there is asked for once");
}

/// Whether an entry is removed before, while or after it is read: it is served whole, or it is gone everywhere.
#[tokio::test]
async fn fault_94_what_is_removed_while_it_is_served_is_served_whole_or_is_gone() {
    let app = TestApp::start().await;
    let answer: String = (0..3_000).map(|at| format!("word{at} ")).collect();
    app.upstream.on_prompt(STORED, Reply::text(&answer));
    let stale = [("cache-control", "only-if-cached, max-stale")];
    let read = async |at: usize| match at % 3 {
        0 => app.chat_with(chat(STORED), &ONLY_CACHED).await,
        1 => app.stream_with("/v1/chat/completions", chat(STORED), &stale).await.rest().await,
        _ => app.chat_with(chat(REWORDED), &ONLY_CACHED).await,
    };
    for round in 0..20 {
        let key = app.chat(chat(STORED)).await.header("x-cache-key").to_owned();
        app.indexed(1).await;
        let mut midway = app.stream("/v1/chat/completions", chat(STORED)).await;
        midway.read_until("word0").await;
        let path = format!("/admin/entries/{key}");
        let remove = async {
            // One more reader comes first each time.
            join_all((0..round % 7).map(read)).await;
            assert_eq!(app.admin_delete(&path).await.status, 200);
        };
        let (responses, ()) = tokio::join!(join_all((0..12).map(read)), remove);
        for response in responses {
            assert!(response.status == 504 || response.answer() == answer, "{}", response.text().len());
        }
        assert_eq!(midway.rest().await.answer(), answer, "who has begun to read reads on");
        for at in 0..3 {
            assert_eq!(read(at).await.status, 504, "{at}");
        }
        assert_eq!(app.admin_get(&path).await.status, 404);
        assert_eq!(app.admin_get("/admin/stats").await.json()["index"]["points"], 0);
    }
}
