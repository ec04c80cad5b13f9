//! Messages as Anthropic speaks them.

use serde_json::{Value, json};

use super::{Answer, Headers, changed, post};
use crate::support::anthropic::{Reply, Upstream};
use crate::support::reply::Gate;
use crate::support::upstream::KEY;

const PATH: &str = "/v1/messages";
const HEADERS: [(&str, &str); 2] = [("x-api-key", KEY), ("anthropic-version", "2023-06-01")];

/// Returns a body with one of everything.
fn body() -> Value {
    json!({
        "model": "claude", "max_tokens": 2000, "system": [{"type": "text", "text": "Be brief."}],
        "messages": [
            {"role": "user", "content": "And"},
            {"role": "user", "content": [
                {"type": "text", "text": "this?"},
                {"type": "image", "source": {"type": "base64", "media_type": "image/png", "data": ""}},
            ]},
            {"role": "assistant", "content": [
                {"type": "thinking", "thinking": "Hm.", "signature": "s"},
                {"type": "tool_use", "id": "toolu_1", "name": "look", "input": {}},
            ]},
            {"role": "user", "content": [
                {"type": "tool_result", "tool_use_id": "toolu_1", "content": "A bird."},
                {"type": "text", "text": "Well?"},
            ]},
        ],
        "tools": [{"name": "look", "input_schema": {"type": "object"}}],
        "tool_choice": {"type": "auto"},
        "thinking": {"type": "enabled", "budget_tokens": 1024},
        "stop_sequences": ["END"],
        "metadata": {"user_id": "u"},
    })
}

/// Asks for a stream, and returns it.
async fn streamed(upstream: &Upstream) -> Answer {
    let messages = json!([{"role": "user", "content": "Count."}]);
    let body = json!({"model": "claude", "max_tokens": 5, "messages": messages, "stream": true});
    post(upstream, PATH, &HEADERS, &body).await
}

/// Asks for a whole answer, and returns it.
async fn whole(upstream: &Upstream, reply: Reply) -> Answer {
    upstream.always(reply);
    post(upstream, PATH, &HEADERS, &body()).await
}

#[tokio::test]
async fn what_anthropic_knows_is_taken_and_its_tokens_are_counted() {
    let upstream = Upstream::start().await;
    let answer = post(&upstream, PATH, &HEADERS, &body()).await;
    assert_eq!(answer.status, 200, "{}", answer.text);
    let heard = upstream.heard().pop().unwrap();
    assert_eq!((heard.model(), heard.prompt(), heard.streams()), ("claude", "Well?", false));
    let mut counted = body();
    for name in ["max_tokens", "metadata", "stop_sequences"] {
        counted = changed(&counted, &format!("/{name}"), Value::Null);
    }
    let answer = post(&upstream, "/v1/messages/count_tokens", &HEADERS, &counted).await;
    assert_eq!((answer.status, answer.json()), (200, json!({"input_tokens": 1})));
    let answer = post(&upstream, "/v1/messages/count_tokens", &HEADERS, &body()).await;
    assert_eq!(answer.status, 400, "a limit has no business where nothing is generated");
    upstream.forgive();
}

#[tokio::test]
async fn what_anthropic_does_not_know_is_refused_with_its_place() {
    let cases = [
        ("/knob", json!(1), "knob: Extra inputs are not permitted"),
        ("/messages/1/content/0/knob", json!(1), "messages.1.content.0.knob: Extra inputs"),
        ("/messages/2/content/1/index", json!(1), "messages.2.content.1.index: Extra inputs"),
        ("/tools/0/parameters", json!({}), "tools.0.parameters: Extra inputs"),
        ("/max_tokens", Value::Null, "max_tokens: Field required"),
        ("/max_tokens", json!(1000), "max_tokens: must be greater than `thinking.budget_tokens`"),
        ("/messages", json!([]), "at least one message is required"),
        ("/messages/0/content", json!(""), "messages.0.content: must have non-empty content"),
        ("/messages/1/content/0/text", json!(""), "text content blocks must be non-empty"),
        ("/messages/0/role", json!("tool"), "messages.0.role"),
        ("/messages/2/role", json!("user"), "found using 'type' is not expected here"),
        ("/messages/3/content", json!("No."), "`tool_use` ids were found without"),
        ("/messages/3/content/0/tool_use_id", json!("toolu_2"), "must have a corresponding `tool_use`"),
        ("/system/0/text", json!(""), "system.0: text content blocks must be non-empty"),
        ("/tools", Value::Null, "tool_choice: may only be given with `tools`"),
        ("/tool_choice/type", json!("required"), "tool_choice: does not match"),
        ("/temperature", json!(1.5), "temperature: range: 0..1"),
        ("/temperature", json!(0.5), "temperature: may only be set to 1 when thinking"),
        ("/stop_sequences", json!([" "]), "must contain non-whitespace"),
        ("/thinking/budget_tokens", json!(5), "greater than or equal to 1024"),
    ];
    let upstream = Upstream::start().await;
    for (place, value, said) in cases {
        let answer = post(&upstream, PATH, &HEADERS, &changed(&body(), place, value)).await;
        let body = answer.json();
        assert_eq!(answer.status, 400, "{place}: {}", answer.text);
        assert_eq!(
            (&body["type"], &body["error"]["type"]),
            (&json!("error"), &json!("invalid_request_error"))
        );
        assert!(body["request_id"].is_string());
        let message = body["error"]["message"].as_str().unwrap();
        assert!(message.contains(said), "{place}: {message}");
        assert_eq!(upstream.forgive().len(), 1, "{place}");
    }
}

#[tokio::test]
async fn the_key_and_the_version_are_asked_for() {
    let upstream = Upstream::start().await;
    let bearer = format!("Bearer {KEY}");
    let wrong: [(&str, Headers<'_>, u16, &str); 5] = [
        ("/v1/complete", &HEADERS, 404, "not_found_error"),
        (PATH, &HEADERS[1..], 401, "authentication_error"),
        (PATH, &[("x-api-key", "other"), HEADERS[1]], 401, "authentication_error"),
        (PATH, &[("authorization", &bearer), HEADERS[0], HEADERS[1]], 401, "authentication_error"),
        (PATH, &HEADERS[..1], 400, "invalid_request_error"),
    ];
    for (path, headers, status, kind) in wrong {
        let answer = post(&upstream, path, headers, &body()).await;
        assert_eq!((answer.status, answer.json()["error"]["type"].as_str()), (status, Some(kind)), "{path}");
    }
    assert_eq!(upstream.forgive().len(), 5);
}

#[tokio::test]
async fn a_whole_answer_has_the_vendors_shape() {
    let upstream = Upstream::start().await;
    let thought = whole(&upstream, Reply::thinking("Hm.", "s", "Yes.").cached(4)).await.json();
    assert_eq!(thought["content"][0], json!({"type": "thinking", "thinking": "Hm.", "signature": "s"}));
    assert_eq!((&thought["stop_reason"], &thought["role"]), (&json!("end_turn"), &json!("assistant")));
    assert_eq!(thought["usage"]["input_tokens"], 5);
    assert_eq!(thought["usage"]["cache_read_input_tokens"], 4);
    let stopped = whole(&upstream, Reply::stopped_at("So far", "END")).await.json();
    assert_eq!(
        (&stopped["stop_reason"], &stopped["stop_sequence"]),
        (&json!("stop_sequence"), &json!("END"))
    );
    let refused = whole(&upstream, Reply::refusal("I", "cyber")).await.json();
    assert_eq!(refused["stop_details"], json!({"type": "refusal", "category": "cyber"}));
    let cut = whole(&upstream, Reply::ending("So", Some("max_tokens")).without_usage()).await.json();
    assert_eq!((&cut["stop_reason"], &cut["usage"]), (&json!("max_tokens"), &Value::Null));
    let overloaded = whole(&upstream, Reply::overloaded().header("retry-after", "7")).await;
    assert_eq!(
        (overloaded.status, overloaded.json()["error"]["type"].as_str()),
        (529, Some("overloaded_error"))
    );
    let page = whole(&upstream, Reply::bytes("text/html", "<html>")).await;
    assert_eq!((page.status, &*page.text), (200, "<html>"));
}

#[tokio::test]
async fn a_stream_is_the_vendors_sequence_of_events() {
    let upstream = Upstream::start().await;
    upstream.always(Reply::thinking("Let me see.", "s", "One two."));
    let events = streamed(&upstream).await.events();
    let mut names: Vec<_> = events.iter().map(|(name, _)| name.as_str()).collect();
    names.dedup();
    let block = ["content_block_delta", "content_block_stop", "content_block_start"];
    let opening = ["message_start", "content_block_start", "ping"];
    let closing = ["content_block_delta", "content_block_stop", "message_delta", "message_stop"];
    assert_eq!(names, [&opening[..], &block, &closing].concat());
    assert!(events.iter().all(|(name, data)| data["type"] == name.as_str()), "{events:?}");
    let start = &events[0].1["message"];
    assert_eq!((&start["usage"]["input_tokens"], &start["usage"]["output_tokens"]), (&json!(9), &json!(1)));
    let end = &events[events.len() - 2].1;
    assert_eq!(
        (&end["usage"]["output_tokens"], &end["delta"]["stop_reason"]),
        (&json!(12), &json!("end_turn"))
    );
    let said = |kind: &str, field: &str| -> String {
        let deltas = events.iter().filter(|(_, data)| data["delta"]["type"] == kind);
        deltas.map(|(_, data)| data["delta"][field].as_str().unwrap()).collect()
    };
    assert_eq!(said("thinking_delta", "thinking"), "Let me see.");
    assert_eq!(
        (said("signature_delta", "signature"), said("text_delta", "text")),
        ("s".into(), "One two.".into())
    );

    upstream.always(Reply::tool_use("look", json!({"at": "the tree"})));
    let events = streamed(&upstream).await.events();
    assert_eq!(events[1].1["content_block"]["input"], json!({}));
    let pieces = events.iter().filter_map(|(_, data)| data["delta"]["partial_json"].as_str());
    assert_eq!(pieces.collect::<String>(), r#"{"at":"the tree"}"#);
}

#[tokio::test]
async fn a_stream_can_break_in_every_way() {
    let upstream = Upstream::start().await;
    upstream.always(Reply::text("One two three.").failing_midway("overloaded_error", "Overloaded"));
    let answer = streamed(&upstream).await;
    let (name, data) = answer.events().pop().unwrap();
    assert_eq!((&*name, data["error"]["type"].as_str()), ("error", Some("overloaded_error")));

    upstream.always(Reply::text("One two three.").cut_midway());
    assert!(streamed(&upstream).await.broke);
    upstream.always(Reply::text("One two three.").ending_early());
    let answer = streamed(&upstream).await;
    assert!(
        !answer.broke && answer.text.contains("two") && !answer.text.contains("three"),
        "{}",
        answer.text
    );
    upstream.always(Reply::ending("One two three.", None));
    let names: Vec<_> = streamed(&upstream).await.events().into_iter().map(|(name, _)| name).collect();
    assert!(!names.contains(&"message_delta".to_owned()), "{names:?}");

    let gate = Gate::shut();
    gate.open();
    upstream.on_model("claude", Reply::error(529, "overloaded_error", "Overloaded").held(&gate));
    assert_eq!(streamed(&upstream).await.status, 529);
    upstream.on_prompt("Count.", Reply::text("One.").usage(3, 4).held_midway(&gate));
    assert!(streamed(&upstream).await.text.contains("\"output_tokens\":4"));
    upstream.idle().await;
}
