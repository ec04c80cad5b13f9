//! Stale while revalidate: an answer past its time is given at once, and one fresh answer is made.

use futures_util::future::join_all;
use serde_json::json;

use crate::support::app::{TestApp, chat, with};
use crate::support::eventually;
use crate::support::reply::{Gate, Reply, answer_to};
use crate::support::response::Response;

const PROMPT: &str = "What is an isthmus?";
const SETTINGS: &str =
    "cache.mode = \"exact\"\ncache.ttl_seconds = 1\ncache.stale_while_revalidate_seconds = 600\n";

/// Waits until the answer is past its time; the request that finds out has begun the refresh.
async fn first_stale(app: &TestApp) -> Response {
    eventually("the end of the entry", async || {
        let response = app.chat(chat(PROMPT)).await;
        (response.source() == "stale").then_some(response)
    })
    .await
}

#[tokio::test]
async fn many_are_answered_at_once_and_one_fresh_answer_is_made() {
    let app = TestApp::with(SETTINGS).await;
    app.chat_with(chat(PROMPT), &[("x-cache-tags", "geo")]).await;
    let gate = Gate::shut();
    app.upstream.always(Reply::text("newer").held(&gate));
    let first = first_stale(&app).await;
    let status = first.header("cache-status");
    let ttl = status
        .strip_prefix("refrain; hit; ttl=")
        .and_then(|it| it.strip_suffix("; detail=stale-while-revalidate"));
    assert!(ttl.is_some_and(|ttl| ttl.parse::<i64>().unwrap() <= 0), "{status}");
    assert_eq!((first.served_by().as_str(), first.answer()), ("stale memory", answer_to(PROMPT)));
    assert_eq!(first.json()["model"], "parrot");
    assert!(
        first.has_header("age")
            && !first.has_header("x-degraded")
            && !first.has_header("x-upstream-attempts")
    );
    assert_eq!(first.header("x-cost-usd"), "0");

    // Other limits, streams, another endpoint: all of one entry.
    let ask = async |at: usize| match at % 4 {
        0 => app.chat(chat(PROMPT)).await,
        1 => app.stream("/v1/chat/completions", chat(PROMPT)).await.rest().await,
        2 => app.chat(with(chat(PROMPT), "max_tokens", json!(20 + at))).await,
        _ => app.generate(PROMPT).await,
    };
    for response in join_all((0..60).map(ask)).await {
        assert_eq!((response.source(), response.answer()), ("stale", answer_to(PROMPT)));
    }
    app.upstream.called(2).await;
    assert_eq!(app.upstream.calls(), 2, "one answer and one refresh");
    gate.open();
    eventually("the fresh answer", async || (app.chat(chat(PROMPT)).await.answer() == "newer").then_some(()))
        .await;
    // The new entry has the labels of the old one.
    let tagged = app.admin_post("/admin/invalidate", json!({"tag": "geo"})).await.json();
    assert_eq!(tagged["count"], 1);
}

#[tokio::test]
async fn a_refresh_goes_on_when_nobody_waits_and_however_that_is_configured() {
    let app = TestApp::with(&format!("{SETTINGS}server.on_disconnect = \"cancel\"")).await;
    app.chat(chat(PROMPT)).await;
    app.upstream.always(Reply::text("newer"));
    first_stale(&app).await;
    app.upstream.called(2).await;
    eventually("the fresh answer", async || (app.chat(chat(PROMPT)).await.answer() == "newer").then_some(()))
        .await;
}

#[tokio::test]
async fn a_refresh_that_fails_leaves_the_old_answer_and_the_next_request_tries_again() {
    let app = TestApp::with(&format!("{SETTINGS}retry.attempts_per_upstream = 1")).await;
    app.chat(chat(PROMPT)).await;
    app.upstream.always(Reply::error(500, "down", None, None));
    assert_eq!(first_stale(&app).await.answer(), answer_to(PROMPT));
    app.upstream.called(2).await;
    app.upstream.always(Reply::text("newer"));
    eventually("the fresh answer", async || (app.chat(chat(PROMPT)).await.answer() == "newer").then_some(()))
        .await;
}

#[tokio::test]
async fn whoever_wants_nobody_asked_or_nothing_written_begins_no_refresh() {
    let app = TestApp::with(SETTINGS).await;
    app.chat(chat(PROMPT)).await;
    let cached = [("cache-control", "only-if-cached")];
    eventually("the end of the entry", async || {
        let response = app.chat_with(chat(PROMPT), &cached).await;
        assert_eq!(response.status, 200);
        (response.source() == "stale").then_some(())
    })
    .await;
    assert_eq!(app.upstream.calls(), 1);
    let aside = app.chat_with(chat(PROMPT), &[("cache-control", "no-store")]).await;
    assert_eq!((aside.source(), app.upstream.calls()), ("upstream", 2));
    let young = app.chat_with(chat(PROMPT), &[("cache-control", "max-age=0")]).await;
    assert_eq!(young.source(), "upstream");
}

#[tokio::test]
async fn without_the_setting_an_expired_answer_is_a_miss() {
    let app = TestApp::with("cache.mode = \"exact\"").await;
    app.generate_with(PROMPT, &[("x-cache-ttl", "1")]).await;
    eventually("a second call", async || (app.generate(PROMPT).await.source() == "upstream").then_some(()))
        .await;
    assert_eq!(app.upstream.calls(), 2);
}
