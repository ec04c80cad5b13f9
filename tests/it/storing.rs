//! What is never kept: anything that did not end cleanly. Each reason is counted by its word.

use serde_json::{Value, json};

use crate::support::app::{TestApp, chat, with};
use crate::support::reply::{Reply, answer_to};

const PROMPT: &str = "Tell me about fjords.";

fn said(text: &str) -> Value {
    json!({"role": "assistant", "content": text})
}

async fn skipped(app: &TestApp, reason: &str) -> f64 {
    app.metric(&format!("refrain_cache_write_skipped_total{{reason=\"{reason}\"}}")).await
}

/// Answers a request twice in this way and checks that both went upstream and were skipped for this reason.
async fn never_stored(reply: Reply, body: Value, reason: &str) {
    let app = TestApp::exact().await;
    app.upstream.always(reply);
    for (times, stream) in [(1, false), (2, false), (3, true)] {
        let body = with(body.clone(), "stream", json!(stream));
        let response = app.chat(body).await;
        assert_eq!((response.status, response.source()), (200, "upstream"), "{reason}");
        assert!(!response.header("cache-status").contains("stored"), "{reason}");
        assert_eq!(app.upstream.calls(), times, "{reason}");
    }
    assert_eq!(skipped(&app, reason).await, 3.0, "{reason}");
    let stats = app.admin_get("/admin/stats").await.json();
    assert_eq!((&stats["store"]["entries"], &stats["memory"]["entries"]), (&json!(0), &json!(0)), "{reason}");
}

#[tokio::test]
async fn an_answer_cut_at_its_limit_is_not_stored() {
    never_stored(Reply::ending("A fjord is a", Some("length")), chat(PROMPT), "length").await;
}

#[tokio::test]
async fn a_filtered_answer_is_not_stored() {
    never_stored(Reply::ending("A", Some("content_filter")), chat(PROMPT), "content_filter").await;
}

#[tokio::test]
async fn an_answer_that_ended_for_an_unknown_reason_is_not_stored() {
    never_stored(Reply::ending("A fjord", Some("surprise")), chat(PROMPT), "unknown_finish").await;
}

#[tokio::test]
async fn a_refusal_is_not_stored_whether_marked_or_said() {
    never_stored(Reply::refusal("No."), chat(PROMPT), "refusal").await;
    let said = Reply::text("I’m sorry, but I can’t help with that.");
    never_stored(said, chat(PROMPT), "refusal").await;
}

#[tokio::test]
async fn an_empty_answer_is_not_stored() {
    never_stored(Reply::text(" \n"), chat(PROMPT), "empty").await;
}

#[tokio::test]
async fn what_is_no_json_is_not_stored_where_json_was_asked_for() {
    let body = with(chat(PROMPT), "response_format", json!({"type": "json_object"}));
    never_stored(Reply::text("{\"a\": "), body, "invalid_json").await;
}

#[tokio::test]
async fn several_answers_are_stored_only_if_all_are_clean() {
    let body = with(chat(PROMPT), "n", json!(2));
    let one_is_cut = vec![(said("whole"), Some("stop")), (said("cut"), Some("length"))];
    never_stored(Reply::messages(one_is_cut), body.clone(), "length").await;

    let app = TestApp::exact().await;
    app.upstream.always(Reply::texts(&["one", "two"], Some("stop")));
    app.chat(body.clone()).await;
    let hit = app.chat(body).await;
    assert_eq!(hit.source(), "exact");
    let choices = hit.json()["choices"].clone();
    assert_eq!(choices[0]["message"]["content"], "one");
    assert_eq!((&choices[1]["message"]["content"], &choices[1]["index"]), (&json!("two"), &json!(1)));
}

#[tokio::test]
async fn a_tool_call_is_passed_on_and_not_stored() {
    let tools = json!([{"type": "function", "function": {"name": "look", "parameters": {"type": "object"}}}]);
    let body = with(chat(PROMPT), "tools", tools);
    never_stored(Reply::tool_call("look", "{\"x\":  1}"), body.clone(), "tool_calls").await;

    let app = TestApp::exact().await;
    app.upstream.always(Reply::tool_call("look", "{\"x\":  1}"));
    let choice = app.chat(body).await.json()["choices"][0].clone();
    assert_eq!(choice["finish_reason"], "tool_calls");
    let call = &choice["message"]["tool_calls"][0]["function"];
    // Byte for byte: arguments are a text that the caller parses.
    assert_eq!((&call["name"], &call["arguments"]), (&json!("look"), &json!("{\"x\":  1}")));
}

#[tokio::test]
async fn a_tool_call_is_stored_where_its_route_says_so_and_then_for_equal_requests_only() {
    let settings =
        "[[routes]]\nmodel = \"agent\"\nchain = [\"fake/parrot\"]\n[routes.cache]\nstore_tool_calls = true";
    let app = TestApp::with(settings).await;
    app.upstream.always(Reply::tool_call("look", "{}"));
    let tools = json!([{"type": "function", "function": {"name": "look"}}]);
    let ask = |prompt: &str| with(with(chat(prompt), "tools", tools.clone()), "model", json!("agent"));
    assert_eq!(app.chat(ask("How do I reset my password?")).await.source(), "upstream");
    let hit = app.chat(ask("How do I reset my password?")).await;
    assert_eq!(hit.source(), "exact");
    assert_eq!(hit.json()["choices"][0]["message"]["tool_calls"][0]["function"]["name"], "look");
    let replayed = app.stream("/v1/chat/completions", ask("How do I reset my password?")).await.rest().await;
    assert!(replayed.text().contains("\"tool_calls\""));
    app.stored(1).await;
    assert_eq!(app.chat(ask("How can I reset my password?")).await.source(), "upstream");
    let index = app.admin_get("/admin/stats").await.json()["index"]["points"].clone();
    assert_eq!(index, json!(0));
}

#[tokio::test]
async fn an_answer_that_its_upstream_called_done_without_a_finish_reason_is_a_failure_and_not_stored() {
    let app = TestApp::exact().await;
    app.upstream.on_prompt(PROMPT, Reply::ending("A fjord is", None));
    let failed = app.chat(chat(PROMPT)).await;
    assert_eq!((failed.status, failed.header("x-upstream-attempts")), (502, "fake/parrot;malformed"));
    // Its words went out before it turned out that they were not all.
    let broken = app.chat(with(chat(PROMPT), "stream", json!(true))).await;
    assert!(broken.text().contains("A fjord") && broken.text().contains("upstream_interrupted"));
    assert!(!broken.text().contains("[DONE]"), "{}", broken.text());
    app.upstream.on_prompt(PROMPT, Reply::text("A fjord is deep."));
    assert_eq!(app.chat(chat(PROMPT)).await.source(), "upstream");
}

#[tokio::test]
async fn a_stream_that_just_ends_is_a_failure_and_not_stored() {
    let app = TestApp::exact().await;
    app.upstream.on_prompt(PROMPT, Reply::text("A fjord is deep.").ending_early());
    let failed = app.chat(chat(PROMPT)).await;
    assert_eq!((failed.status, failed.header("x-upstream-attempts")), (502, "fake/parrot;malformed"));
    app.upstream.on_prompt(PROMPT, Reply::text("A fjord is deep."));
    assert_eq!(app.chat(chat(PROMPT)).await.answer(), "A fjord is deep.");
}

#[tokio::test]
async fn a_hot_request_is_not_cached_where_the_configuration_says_so() {
    let app = TestApp::with("cache.mode = \"exact\"\ncache.max_temperature = 0.5").await;
    let hot = with(chat(PROMPT), "temperature", json!(0.9));
    for _ in 0..2 {
        assert_eq!(app.chat(hot.clone()).await.header("cache-status"), "refrain; fwd=bypass");
    }
    assert_eq!(skipped(&app, "temperature").await, 2.0);
    assert_eq!(app.chat(chat(PROMPT)).await.answer(), answer_to(PROMPT));
}
