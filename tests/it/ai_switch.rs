//! `[ai] enabled` and `PUT /admin/ai`: the cache alone, and the core well.

use serde_json::json;

use crate::support::app::{TestApp, chat};
use crate::support::reply::{Gate, Reply, answer_to};
use crate::support::response::Response;

const STORED: &str = "What is a fjord?";
const FRESH: &str = "What is a delta?";

async fn turn(app: &TestApp, enabled: bool) {
    let response = app.admin_put("/admin/ai", json!({ "enabled": enabled })).await;
    assert_eq!((response.status, response.json()), (200, json!({ "enabled": enabled })));
    assert_eq!(app.admin_get("/admin/ai").await.json(), json!({ "enabled": enabled }));
}

fn disabled(response: &Response) {
    assert_eq!(
        (response.status, response.error("code").as_str()),
        (503, "ai_disabled"),
        "{}",
        response.text()
    );
    assert_eq!(response.header("x-should-retry"), "false");
}

#[tokio::test]
async fn what_is_cached_is_answered_and_nobody_is_asked() {
    let app = TestApp::exact().await;
    app.generate(STORED).await;
    turn(&app, false).await;
    assert_eq!(app.generate(STORED).await.source(), "exact");
    disabled(&app.generate(FRESH).await);
    disabled(&app.chat(chat(FRESH)).await);
    disabled(&app.stream("/v1/chat/completions", chat(FRESH)).await.rest().await);
    // Nobody can give a fresh answer, so the last one has to do.
    let last = app.generate_with(STORED, &[("cache-control", "no-cache")]).await;
    assert_eq!((last.source(), last.header("x-degraded")), ("stale", "ai-disabled"));
    assert!(last.header("cache-status").starts_with("refrain; hit; ttl="), "{}", last.header("cache-status"));
    disabled(&app.generate_with(STORED, &[("x-cache-mode", "off")]).await);
    assert_eq!(app.upstream.calls(), 1);
    assert_eq!(app.generate(FRESH).await.header("cache-status"), "refrain; fwd=miss");

    turn(&app, true).await;
    let answered = app.generate(FRESH).await;
    assert_eq!((answered.source(), answered.answer()), ("upstream", answer_to(FRESH)));
}

#[tokio::test]
async fn the_core_is_well_and_the_rest_says_that_it_is_off() {
    let app = TestApp::exact().await;
    assert_eq!(app.metric("refrain_ai_enabled").await, 1.0);
    turn(&app, false).await;
    assert_eq!(app.get("/health/ready").await.status, 200);
    let health = app.get("/health/ai").await;
    assert_eq!((health.status, &health.json()["status"]), (503, &json!("off")));
    assert_eq!(health.json()["enabled"], false);
    assert_eq!(app.metric("refrain_ai_enabled").await, 0.0);
    turn(&app, true).await;
    assert_eq!(app.get("/health/ai").await.status, 200);
}

#[tokio::test]
async fn calls_that_are_passed_on_are_not_and_counts_are_estimated() {
    let app =
        TestApp::with("cache.mode = \"exact\"\nai.enabled = false\npassthrough.provider = \"fake\"").await;
    disabled(&app.post("/v1/embeddings", &[], json!({"input": "a"})).await);
    disabled(&app.get("/v1/files").await);
    let count = app.post("/v1/messages/count_tokens", &[], chat("one two three")).await;
    assert_eq!((count.status, &count.json()["estimated"]), (200, &json!(true)));
    let anthropic =
        json!({"model": "fake/parrot", "max_tokens": 9, "messages": [{"role": "user", "content": "Q?"}]});
    let refused = app.post("/v1/messages", &[], anthropic).await;
    assert_eq!((refused.status, &refused.json()["type"]), (503, &json!("error")), "{}", refused.text());
    assert_eq!(app.upstream.calls(), 0);
}

#[tokio::test]
async fn what_is_under_way_is_finished() {
    let app = TestApp::exact().await;
    let gate = Gate::shut();
    app.upstream.on_prompt(FRESH, Reply::text("Sand, mostly.").held_midway(&gate));
    let mut stream = app.stream("/v1/generate", json!({ "prompt": FRESH })).await;
    stream.read_until("delta").await;
    turn(&app, false).await;
    gate.open();
    assert_eq!(stream.rest().await.answer(), "Sand, mostly.");
    assert_eq!(app.generate(FRESH).await.source(), "exact");
}

#[tokio::test]
async fn the_switch_is_the_processs_and_a_restart_begins_as_the_file_says() {
    let mut app = TestApp::exact().await;
    turn(&app, false).await;
    app.restart().await;
    assert_eq!(app.admin_get("/admin/ai").await.json(), json!({"enabled": true}));
    assert_eq!(app.generate(FRESH).await.status, 200);
}

#[tokio::test]
async fn only_administrators_turn_it_and_only_to_on_or_off() {
    let mut app = TestApp::with(&format!(
        "cache.mode = \"exact\"\n{}{}",
        crate::keys::key("ann", "a", "\"generate\"", ""),
        crate::keys::key("root", "a", "\"admin\"", "")
    ))
    .await;
    let off = json!({"enabled": false});
    assert_eq!(app.admin_put("/admin/ai", off.clone()).await.status, 401);
    app.use_key("ann");
    assert_eq!(app.admin_put("/admin/ai", off.clone()).await.status, 403);
    assert_eq!(app.generate(FRESH).await.status, 200);
    app.use_key("root");
    for wrong in [json!({}), json!({"enabled": "no"}), json!({"enabled": false, "for": 60})] {
        assert_eq!(app.admin_put("/admin/ai", wrong).await.status, 400);
    }
    assert_eq!(app.admin_get("/admin/ai").await.json(), json!({"enabled": true}));
    assert_eq!(app.admin_put("/admin/ai", off).await.status, 200);
}

#[tokio::test]
async fn it_is_logged_when_it_turns_and_not_per_request() {
    let app = TestApp::binary("cache.mode = \"exact\"").await;
    for _ in 0..2 {
        turn(&app, false).await;
        disabled(&app.generate(FRESH).await);
    }
    turn(&app, true).await;
    app.process().signal("-TERM");
    app.process().ended().await;
    let said = app.process().said();
    assert_eq!(said.matches("AI is switched off").count(), 1, "{said}");
    assert_eq!(said.matches("AI is switched on").count(), 1, "{said}");
}
