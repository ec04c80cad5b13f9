//! Anthropic's message threads: none is kept here, and who asks for one does without.

use serde_json::{Value, json};

use crate::support::app::{TestApp, with};
use crate::support::reply::answer_to;

const PATH: &str = "/v1/messages";
const PROMPT: &str = "What is a strait?";
const THREADS: (&str, &str) = ("anthropic-beta", "message-threads-2026-08-12");

fn body() -> Value {
    json!({"model": "parrot", "max_tokens": 50, "messages": [{"role": "user", "content": PROMPT}]})
}

#[tokio::test]
async fn a_thread_that_is_begun_is_a_request_like_any_other() {
    let app = TestApp::exact().await;
    let begun = with(body(), "thread", json!({"type": "create"}));
    let first = app.post(PATH, &[THREADS], begun).await;
    assert_eq!((first.status, first.source()), (200, "upstream"));
    assert_eq!(first.json()["content"][0]["text"], json!(answer_to(PROMPT)));
    assert_eq!(app.post(PATH, &[], body()).await.source(), "exact");
}

#[tokio::test]
async fn a_thread_is_not_gone_on_with_and_nobody_is_asked() {
    let app = TestApp::exact().await;
    let answered = app.post(PATH, &[THREADS], with(body(), "thread", json!({"type": "create"}))).await.json();
    let next = json!({"type": "continue", "previous_message_id": answered["id"]});
    let lost = app.post(PATH, &[THREADS], with(body(), "thread", next)).await;
    assert_eq!(lost.status, 404);
    let error = &lost.json()["error"];
    assert_eq!(error["type"], "not_found_error");
    // By this the SDKs know that the whole conversation is to be sent.
    assert_eq!(error["details"], json!({"error_code": "thread_not_found"}));
    assert!(error["message"].as_str().is_some_and(|words| words.starts_with("`thread`")), "{error}");
    assert_eq!(app.upstream.calls(), 1);
}
