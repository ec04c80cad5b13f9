//! The step `nearest`: a less similar answer than would be served at other times, with every guard at its post.

use super::{PROMPT, broken, counted, status_without_ttl, with_ladder};
use crate::support::app::{TestApp, chat};
use crate::support::eventually;
use crate::support::reply::answer_to;

const STORED: &str = "How do I reset my password?";
const REWORDED: &str = "How can I reset my password?";
/// So high that nothing but an equal prompt reaches it.
const STRICT: &str = "cache.semantic.similarity_threshold = 0.9999\n";

/// Stores the answer to a prompt, and waits until it can be found by similarity.
async fn store(app: &TestApp, prompt: &str, headers: &[(&str, &str)]) {
    let points = app.admin_get("/admin/stats").await.json()["index"]["points"].as_u64().unwrap();
    assert_eq!(app.chat_with(chat(prompt), headers).await.source(), "upstream", "{prompt}");
    app.indexed(points + 1).await;
}

#[tokio::test]
async fn the_nearest_answer_is_given_where_nobody_else_answers() {
    let app = with_ladder("\"stale\", \"nearest\"", STRICT).await;
    store(&app, STORED, &[]).await;
    assert_eq!(app.chat_with(chat(REWORDED), &[("cache-control", "no-store")]).await.source(), "upstream");
    app.upstream.always(broken());
    let near = app.chat(chat(REWORDED)).await;
    assert_eq!((near.served_by().as_str(), near.answer()), ("nearest semantic", answer_to(STORED)));
    assert_eq!(near.json()["model"], "refrain/nearest");
    let similarity: f32 = near.header("x-cache-similarity").parse().unwrap();
    assert!((0.8999..0.9999).contains(&similarity), "{similarity}");
    assert_ne!(near.header("x-cache-entry"), near.header("x-cache-key"));
    assert_eq!(near.header("x-degraded"), "all-upstreams-failed");
    assert_eq!((near.header("x-provider"), near.header("x-model")), ("fake", "parrot"));
    let (ttl, status) = status_without_ttl(&near);
    assert_eq!(status, "refrain; fwd=miss; fwd-status=500; ttl=-; detail=nearest");
    assert!(ttl > 86_000 && near.has_header("age"), "{ttl}");
    let streamed = app.stream("/v1/chat/completions", chat(REWORDED)).await.rest().await;
    assert_eq!((streamed.source(), streamed.answer()), ("nearest", answer_to(STORED)));
    assert_eq!(counted(&app, "nearest").await, 2.0);
    // Far from everything, and nearer than a caller wants it.
    assert_eq!(app.chat(chat(PROMPT)).await.status, 502);
    assert_eq!(app.chat_with(chat(REWORDED), &[("x-cache-threshold", "0.9999")]).await.status, 502);
    for header in [("x-cache-mode", "exact"), ("cache-control", "no-cache"), ("cache-control", "max-age=0")] {
        assert_eq!(app.chat_with(chat(REWORDED), &[header]).await.status, 502, "{header:?}");
    }
}

#[tokio::test]
async fn no_guard_leaves_its_post() {
    let settings = format!("{STRICT}cache.semantic.nearest_threshold = 0.3");
    let app = with_ladder("\"nearest\"", &settings).await;
    let pairs = [
        ("How many people lived in Paris in 1990?", "How many people lived in Paris in 1991?"),
        ("Which drugs are safe during pregnancy?", "Which drugs are not safe during pregnancy?"),
        ("What does git rebase -i do?", "What does git rebase -x do?"),
        (
            "Translate into French: \"The cat sleeps on the mat.\"",
            "Translate into French: \"The dog sleeps on the mat.\"",
        ),
    ];
    for (stored, _) in pairs {
        store(&app, stored, &[]).await;
    }
    app.upstream.always(broken());
    for (stored, asked) in pairs {
        let response = app.chat(chat(asked)).await;
        assert_ne!((response.source(), response.status), ("nearest", 200), "{asked} by {stored}");
    }
    // The threshold is low enough that they would have been served.
    let near = app.chat(chat("How many persons lived in Paris in 1990?")).await;
    assert_eq!((near.source(), near.answer()), ("nearest", answer_to(pairs[0].0)));
}

#[tokio::test]
async fn an_expired_answer_may_be_the_nearest_after_a_restart_too() {
    let mut app = with_ladder("\"nearest\"", STRICT).await;
    store(&app, STORED, &[("x-cache-ttl", "1")]).await;
    app.upstream.always(broken());
    let expired = async |app: &TestApp| {
        eventually("the end of the entry", async || {
            let near = app.chat(chat(REWORDED)).await;
            let is_past = near.source() == "nearest" && status_without_ttl(&near).0 < 0;
            is_past.then_some(near)
        })
        .await
    };
    assert_eq!(expired(&app).await.answer(), answer_to(STORED));
    app.restart().await;
    app.indexed(1).await;
    app.upstream.always(broken());
    assert_eq!(expired(&app).await.answer(), answer_to(STORED));
}

#[tokio::test]
async fn it_does_not_answer_a_prompt_about_now() {
    let app = with_ladder("\"nearest\"", &format!("{STRICT}cache.semantic.nearest_threshold = 0.3")).await;
    store(&app, "Which boats sail to Bergen?", &[]).await;
    app.upstream.always(broken());
    assert_eq!(app.chat(chat("Which boats sail to Bergen today?")).await.status, 502);
    assert_eq!(app.chat(chat("Which boats are sailing to Bergen?")).await.source(), "nearest");
}
