//! Parts that fail, hang or are missing: no request fails for them, none waits beyond the budget, metrics show it.

use std::sync::Arc;
use std::time::{Duration, Instant};

use async_trait::async_trait;
use refrain::embed::{EmbedError, Embedder, EmbedderVersion, Embedding};
use sqlx::{Connection, Executor, SqliteConnection};

use crate::support::app::{TestApp, chat, embedder};
use crate::support::eventually;
use crate::support::qdrant_server::QdrantServer;
use crate::support::reply::{Gate, answer_to};

const STORED: &str = "How do I reset my password?";
const REWORDED: &str = "How can I reset my password?";
const BUDGET: Duration = Duration::from_millis(300);
/// What a request may take beside the budget on a busy machine; a part that hangs would take far more.
const SLACK: Duration = Duration::from_secs(3);

fn timed(outcome: &str) -> String {
    format!("refrain_cache_lookups_total{{tier=\"semantic\",outcome=\"{outcome}\"}}")
}

async fn failures(app: &TestApp) -> f64 {
    app.metric(&timed("error")).await + app.metric(&timed("timeout")).await
}

/// Asks a fresh question, one that was asked before and one that is like it: all are answered, and in time.
async fn goes_on(app: &TestApp, fresh: &str) {
    let before = failures(app).await;
    for (prompt, answer, source) in [
        (fresh, answer_to(fresh), "upstream"),
        (fresh, answer_to(fresh), "exact"),
        (STORED, answer_to(STORED), "exact"),
    ] {
        let began = Instant::now();
        let response = app.chat(chat(prompt)).await;
        assert_eq!(
            (response.status, response.source(), response.answer()),
            (200, source, answer),
            "{prompt}"
        );
        assert!(began.elapsed() < BUDGET + SLACK, "{prompt}: {:?}", began.elapsed());
    }
    let began = Instant::now();
    let reworded = app.chat_with(chat(REWORDED), &[("cache-control", "no-store")]).await;
    assert_eq!((reworded.status, reworded.source()), (200, "upstream"));
    assert!(began.elapsed() < BUDGET + SLACK, "{:?}", began.elapsed());
    assert!(failures(app).await >= before + 2.0, "the metrics show it");
}

/// Waits until similar requests are answered again.
async fn recovers(app: &TestApp, prompt: &str, answer: &str) {
    eventually("a semantic hit", async || {
        let response = app.chat_with(chat(prompt), &[("cache-control", "no-store")]).await;
        assert_eq!(response.status, 200);
        (response.source() == "semantic" && response.answer() == answer_to(answer)).then_some(())
    })
    .await;
}

#[tokio::test]
async fn fault_73_a_vector_server_that_stops_or_hangs_costs_hits_and_nothing_else() {
    let mut qdrant = QdrantServer::start().await;
    let settings = format!(
        "cache.semantic.budget_ms = {}\n[index]\nkind = \"qdrant\"\nurl = \"{}\"",
        BUDGET.as_millis(),
        qdrant.url()
    );
    let app = TestApp::with(&settings).await;
    app.chat(chat(STORED)).await;
    recovers(&app, REWORDED, STORED).await;

    qdrant.kill();
    goes_on(&app, "What is the capital of Norway?").await;
    qdrant.resume_life().await;
    recovers(&app, REWORDED, STORED).await;
    // What was answered meanwhile is not lost to similar requests.
    recovers(&app, "What's the capital of Norway?", "What is the capital of Norway?").await;

    qdrant.freeze();
    goes_on(&app, "Which planet is the largest?").await;
    qdrant.thaw();
    recovers(&app, REWORDED, STORED).await;
}

#[tokio::test]
async fn fault_72_a_vector_server_that_is_not_there_at_the_start_is_found_later() {
    let mut qdrant = QdrantServer::prepare();
    let settings = format!("[index]\nkind = \"qdrant\"\nurl = \"{}\"", qdrant.url());
    let app = TestApp::with(&settings).await;
    assert_eq!(app.chat(chat(STORED)).await.source(), "upstream");
    assert_eq!(app.chat(chat(STORED)).await.source(), "exact");
    assert_eq!(app.get("/health/ready").await.status, 200);
    assert_eq!(app.admin_get("/health/ai").await.json()["index"]["status"], "unwell");
    assert!(failures(&app).await >= 1.0);
    qdrant.resume_life().await;
    recovers(&app, REWORDED, STORED).await;
}

/// The real embedder behind a gate.
struct Delayed {
    real: Arc<dyn Embedder>,
    gate: Gate,
}

#[async_trait]
impl Embedder for Delayed {
    async fn embed(&self, text: &str) -> Result<Embedding, EmbedError> {
        self.gate.passed().await;
        self.real.embed(text).await
    }

    fn version(&self) -> &EmbedderVersion {
        self.real.version()
    }

    fn dimension(&self) -> usize {
        self.real.dimension()
    }

    fn queue_depth(&self) -> usize {
        self.real.queue_depth()
    }
}

#[tokio::test]
async fn an_embedder_that_is_slow_costs_hits_and_nothing_else() {
    let gate = Gate::shut();
    let delayed = Delayed { real: embedder().await, gate: gate.clone() };
    let settings = format!("cache.semantic.budget_ms = {}", BUDGET.as_millis());
    let app = TestApp::around(Arc::new(delayed), &settings).await;
    app.chat(chat(STORED)).await;
    goes_on(&app, "What is the capital of Norway?").await;
    assert!(app.metric(&timed("timeout")).await >= 3.0);
    gate.open();
    // Entries that were stored without their vectors get them later.
    recovers(&app, REWORDED, STORED).await;
}

/// An embedder that always fails.
struct Broken(Arc<dyn Embedder>);

#[async_trait]
impl Embedder for Broken {
    async fn embed(&self, _: &str) -> Result<Embedding, EmbedError> {
        Err(EmbedError::Failed { reason: "it is broken".into() })
    }

    fn version(&self) -> &EmbedderVersion {
        self.0.version()
    }

    fn dimension(&self) -> usize {
        self.0.dimension()
    }

    fn queue_depth(&self) -> usize {
        0
    }
}

#[tokio::test]
async fn fault_77_an_embedder_that_fails_costs_hits_and_nothing_else() {
    let app = TestApp::around(Arc::new(Broken(embedder().await)), "").await;
    app.chat(chat(STORED)).await;
    goes_on(&app, "What is the capital of Norway?").await;
    assert!(app.metric(&timed("error")).await >= 3.0);
    app.stored(2).await;
}

#[tokio::test]
async fn fault_75_a_vector_server_that_lost_everything_is_filled_again() {
    let mut qdrant = QdrantServer::start().await;
    let app = TestApp::with(&format!("[index]\nkind = \"qdrant\"\nurl = \"{}\"", qdrant.url())).await;
    app.chat(chat(STORED)).await;
    recovers(&app, REWORDED, STORED).await;
    qdrant.kill();
    qdrant.lose_everything();
    qdrant.resume_life().await;
    recovers(&app, REWORDED, STORED).await;
}

#[tokio::test]
async fn a_store_that_breaks_costs_hits_and_nothing_else() {
    let mut app = TestApp::exact().await;
    app.chat(chat(STORED)).await;
    app.stored(1).await;
    // With an empty memory, what was stored is asked of the store.
    app.restart().await;
    let url = format!("sqlite://{}", app.folder().join("data/refrain.db").display());
    let mut store = SqliteConnection::connect(&url).await.unwrap();
    store.execute("ALTER TABLE entries RENAME TO gone").await.unwrap();
    assert_eq!(app.chat(chat(STORED)).await.source(), "upstream");
    assert_eq!(app.chat(chat(STORED)).await.served_by(), "exact memory");
    let fresh = "What is the capital of Norway?";
    assert_eq!(app.chat(chat(fresh)).await.answer(), answer_to(fresh));
    assert_eq!(app.chat(chat(fresh)).await.served_by(), "exact memory");
    assert!(app.metric("refrain_cache_lookups_total{tier=\"store\",outcome=\"error\"}").await >= 1.0);
    eventually("the failed write in the metrics", async || {
        let metrics = app.admin_get("/metrics").await.text();
        metrics.contains("refrain_cache_write_failed_total{reason=").then_some(())
    })
    .await;
    store.execute("ALTER TABLE gone RENAME TO entries").await.unwrap();
    let later = "What is the capital of Sweden?";
    app.chat(chat(later)).await;
    app.stored(2).await;
}

#[tokio::test]
async fn without_the_verifier_only_equal_requests_are_served() {
    let models = tempfile::tempdir().unwrap();
    for part in ["all-minilm-l6-v2", "onnxruntime"] {
        let whole = concat!(env!("CARGO_MANIFEST_DIR"), "/models");
        std::os::unix::fs::symlink(format!("{whole}/{part}"), models.path().join(part)).unwrap();
    }
    let app = TestApp::with_own_embedder(&format!("models_dir = \"{}\"", models.path().display())).await;
    assert_eq!(app.chat(chat(STORED)).await.source(), "upstream");
    assert_eq!(app.chat(chat(STORED)).await.source(), "exact");
    assert_eq!(app.chat(chat(REWORDED)).await.source(), "upstream", "cosine alone never decides");
    assert!(app.admin_get("/admin/stats").await.json()["embedder"].is_null());
}

#[tokio::test]
async fn fault_77_without_the_model_equal_requests_are_served() {
    let mut app = TestApp::with_own_embedder("models_dir = \"nowhere\"").await;
    assert_eq!(app.chat(chat(STORED)).await.source(), "upstream");
    assert_eq!(app.chat(chat(STORED)).await.served_by(), "exact memory");
    assert_eq!(app.chat(chat(REWORDED)).await.source(), "upstream");
    assert_eq!(app.get("/health/ready").await.status, 200);
    let stats = app.admin_get("/admin/stats").await.json();
    assert!(stats["index"].is_null() && stats["embedder"].is_null());
    assert!(app.metric(&timed("error")).await >= 1.0);
    app.stored(2).await;
    // With the model back, what was stored without it is found by similar requests too.
    app.restart().await;
    recovers(&app, "How could I reset my password?", REWORDED).await;
}
