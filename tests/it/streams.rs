//! Streams: a miss is passed through as it comes, a hit is replayed as one, and a broken one says so.

use std::time::{SystemTime, UNIX_EPOCH};

use serde_json::{Value, json};

use crate::support::app::{TestApp, chat, with};
use crate::support::reply::{Gate, Reply, answer_to};
use crate::support::response::{Response, piece};

const PROMPT: &str = "Tell me of the sea.";
const ANSWER: &str = "It is wide and deep and salt.";
const CHAT: &str = "/v1/chat/completions";
const GENERATE: &str = "/v1/generate";

fn prompt() -> Value {
    json!({ "prompt": PROMPT })
}

/// Returns the body and the path of each format's request.
fn both_formats() -> [(&'static str, Value); 2] {
    [(CHAT, chat(PROMPT)), (GENERATE, prompt())]
}

fn values(response: &Response) -> Vec<Value> {
    let events = response.events();
    let (last, events) = events.split_last().unwrap();
    assert_eq!(last, "[DONE]");
    events.iter().map(|event| serde_json::from_str(event).unwrap()).collect()
}

#[tokio::test]
async fn the_first_piece_of_a_miss_comes_while_the_upstream_still_works() {
    for (path, body) in both_formats() {
        let app = TestApp::exact().await;
        let gate = Gate::shut();
        app.upstream.on_prompt(PROMPT, Reply::text(ANSWER).held_midway(&gate));
        let mut stream = app.stream(path, body).await;
        assert_eq!(stream.status, 200);
        assert_eq!(stream.headers["content-type"], "text/event-stream; charset=utf-8");
        assert_eq!(stream.headers["x-cache-source"], "upstream");
        assert_eq!(stream.headers["cache-status"], "refrain; fwd=miss");
        assert_eq!(stream.headers["x-upstream-attempts"], "fake/parrot;200");
        stream.read_until("It ").await;
        gate.open();
        let whole = stream.rest().await;
        assert_eq!(whole.answer(), ANSWER);
        values(&whole);
        assert_eq!(app.generate(PROMPT).await.source(), "exact");
    }
}

/// What a faithful stream of OpenAI's looks like.
fn check_chat_stream(response: &Response, with_usage: bool) {
    let values = values(response);
    for value in &values {
        assert_eq!(value["object"], "chat.completion.chunk");
        assert_eq!((&value["id"], &value["model"]), (&json!("chatcmpl-1"), &json!("parrot")));
        assert!(value["created"].is_i64());
    }
    assert_eq!(values[0]["choices"][0]["delta"]["role"], "assistant");
    let (chunks, usage): (Vec<_>, Vec<_>) = values
        .iter()
        .partition(|value| value["choices"].as_array().is_some_and(|choices| !choices.is_empty()));
    let pieces =
        chunks.iter().filter(|chunk| chunk["choices"][0]["delta"]["content"].as_str() > Some("")).count();
    assert!(pieces > 1, "in pieces: {}", response.text());
    let finishes: Vec<_> = chunks.iter().map(|chunk| &chunk["choices"][0]["finish_reason"]).collect();
    let (last, others) = finishes.split_last().unwrap();
    assert_eq!(**last, "stop");
    assert!(others.iter().all(|finish| finish.is_null()));
    if with_usage {
        assert_eq!(usage.len(), 1);
        assert_eq!(usage[0]["usage"]["completion_tokens"], 12);
        assert!(chunks.iter().all(|chunk| chunk["usage"].is_null()));
    } else {
        assert!(usage.is_empty() && !response.text().contains("usage"), "{}", response.text());
    }
    assert_eq!(response.answer(), answer_to(PROMPT));
}

#[tokio::test]
async fn a_hit_is_replayed_as_a_faithful_stream_like_that_of_the_miss() {
    for with_usage in [false, true] {
        let app = TestApp::exact().await;
        let body = with(chat(PROMPT), "stream_options", json!({"include_usage": with_usage}));
        for source in ["upstream", "exact", "exact"] {
            let response = app.stream(CHAT, body.clone()).await.rest().await;
            assert_eq!(response.source(), source);
            check_chat_stream(&response, with_usage);
        }
        assert_eq!(app.upstream.calls(), 1);
    }
}

#[tokio::test]
async fn our_own_stream_ends_with_a_summary() {
    let app = TestApp::exact().await;
    for source in ["upstream", "exact"] {
        let response = app.stream(GENERATE, prompt()).await.rest().await;
        let values = values(&response);
        let (summary, deltas) = values.split_last().unwrap();
        assert!(deltas.len() > 1 && deltas.iter().all(|value| value["delta"].is_string()));
        let summary = &summary["summary"];
        assert_eq!((&summary["source"], &summary["finish_reason"]), (&json!(source), &json!("stop")));
        assert_eq!((&summary["model"], &summary["provider"]), (&json!("parrot"), &json!("fake")));
        assert_eq!(summary["usage"]["total_tokens"], 21);
        assert!(summary.get("text").is_none());
        let key = response.header("x-cache-key");
        assert_eq!((&summary["cache"]["key"], &summary["cache"]["entry"]), (&json!(key), &json!(key)));
        assert!((86_300..=86_400).contains(&summary["cache"]["ttl_seconds"].as_i64().unwrap()));
        assert_eq!(response.answer(), answer_to(PROMPT));
    }
}

#[tokio::test]
async fn a_stream_that_breaks_says_so_has_no_end_and_is_not_stored() {
    for (path, body) in both_formats() {
        let app = TestApp::exact().await;
        let gate = Gate::shut();
        app.upstream.on_prompt(PROMPT, Reply::text(ANSWER).held_midway(&gate).cut_midway());
        let mut stream = app.stream(path, body.clone()).await;
        stream.read_until("It ").await;
        gate.open();
        let broken = stream.rest().await;
        assert_eq!(broken.status, 200);
        assert!(!broken.text().contains("[DONE]"), "{}", broken.text());
        let events = broken.events();
        let (error, pieces) = events.split_last().unwrap();
        assert!(pieces.iter().any(|event| piece(event).starts_with("It")));
        let error: Value = serde_json::from_str(error).unwrap();
        for field in ["message", "type"] {
            assert!(error["error"][field].is_string(), "{error}");
        }
        for field in ["param", "code"] {
            assert!(error["error"].as_object().unwrap().contains_key(field), "{error}");
        }

        app.upstream.on_prompt(PROMPT, Reply::text(ANSWER));
        let whole = app.stream(path, body).await.rest().await;
        assert_eq!((whole.source(), whole.answer()), ("upstream", ANSWER.to_owned()));
        assert_eq!(app.upstream.calls(), 2);
    }
}

#[tokio::test]
async fn a_stream_that_falls_silent_is_given_up() {
    let settings = "cache.mode = \"exact\"\n[server]\nmax_stream_seconds = 1";
    let app = TestApp::with(settings).await;
    let never = Gate::shut();
    app.upstream.on_prompt(PROMPT, Reply::text(ANSWER).held_midway(&never));
    let silent = app.stream(CHAT, chat(PROMPT)).await.rest().await;
    assert!(silent.text().contains("\"error\"") && !silent.text().contains("[DONE]"), "{}", silent.text());
    app.upstream.on_prompt(PROMPT, Reply::text(ANSWER));
    assert_eq!(app.chat(chat(PROMPT)).await.source(), "upstream");
}

#[tokio::test]
async fn a_model_that_cannot_stream_is_asked_whole_and_from_then_on_at_once() {
    let app = TestApp::exact().await;
    app.upstream.on_model("parrot", Reply::text(ANSWER).only_whole());
    let first = app.stream(CHAT, chat(PROMPT)).await.rest().await;
    assert_eq!(first.answer(), ANSWER);
    assert_eq!(first.header("x-upstream-attempts"), "fake/parrot;400, fake/parrot;200");
    let second = app.chat(chat("Another question.")).await;
    assert_eq!(second.header("x-upstream-attempts"), "fake/parrot;200");
    let streamed: Vec<_> = app.upstream.heard().iter().map(|call| call.streams()).collect();
    assert_eq!(streamed, [true, false, false]);
}

#[tokio::test]
async fn an_upstream_that_answers_whole_all_the_same_is_understood_and_asked_to_stream_again() {
    let app = TestApp::exact().await;
    let body = json!({
        "id": "c", "object": "chat.completion", "created": 1, "model": "parrot",
        "choices": [{"index": 0, "message": {"role": "assistant", "content": ANSWER}, "finish_reason": "stop"}],
        "usage": {"prompt_tokens": 4, "completion_tokens": 4, "total_tokens": 8},
    });
    app.upstream.always(Reply::bytes("application/json", body.to_string()));
    for prompt in [PROMPT, "Another question."] {
        assert_eq!(app.stream(CHAT, chat(prompt)).await.rest().await.answer(), ANSWER);
    }
    assert!(app.upstream.heard().iter().all(|call| call.streams()), "one answer may be a proxy's doing");
}

#[tokio::test]
async fn an_upstream_is_asked_to_stream_even_for_whole_answers() {
    let app = TestApp::exact().await;
    app.generate(PROMPT).await;
    assert!(app.upstream.heard()[0].streams());
}

#[tokio::test]
async fn text_is_the_same_streamed_and_whole_whatever_characters_it_has() {
    let app = TestApp::exact().await;
    let odd = "Grüße 🦀 \u{202e}rtl\u{202c} \u{1b}[31m \"quoted\" \\ \u{0}nul \r\nend data: x\n\ndata: [DONE] 中文字 é";
    app.upstream.on_prompt(PROMPT, Reply::text(odd));
    for response in [
        app.stream(CHAT, chat(PROMPT)).await.rest().await,
        app.stream(GENERATE, prompt()).await.rest().await,
        app.chat(chat(PROMPT)).await,
        app.generate(PROMPT).await,
    ] {
        assert_eq!(response.answer(), odd);
    }
    assert_eq!(app.upstream.calls(), 1);
}

#[tokio::test]
async fn an_answer_gets_the_name_date_and_model_that_its_vendor_left_out() {
    let now = || SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs();
    let whole = json!({"object": "chat.completion", "choices":
        [{"index": 0, "message": {"role": "assistant", "content": ANSWER}, "finish_reason": "stop"}]});
    let chunk = json!({"object": "chat.completion.chunk", "choices":
        [{"index": 0, "delta": {"role": "assistant", "content": ANSWER}, "finish_reason": "stop"}]});
    for reply in [
        Reply::bytes("application/json", whole.to_string()),
        Reply::bytes("text/event-stream", format!("data: {chunk}\n\ndata: [DONE]\n\n")),
    ] {
        let app = TestApp::exact().await;
        app.upstream.always(reply);
        let before = now();
        let stream = app.stream(CHAT, chat(PROMPT)).await.rest().await;
        assert_eq!(stream.header("x-model"), "parrot");
        let head = |value: &Value| [value["id"].clone(), value["created"].clone(), value["model"].clone()];
        let chunks = values(&stream);
        let [id, created, model] = head(&chunks[0]);
        assert!(id.as_str() > Some(""), "{id}");
        assert!(created.as_u64().is_some_and(|date| (before..=now()).contains(&date)), "{created}");
        assert_eq!(model, "parrot");
        let of_hit = app.chat(chat(PROMPT)).await.json();
        for other in chunks.iter().chain([&of_hit]) {
            assert_eq!(head(other), [id.clone(), created.clone(), model.clone()]);
        }
    }
}
