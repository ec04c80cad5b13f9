//! What reaches the upstream: all that the caller meant for it, and nothing of what it said to us.

use serde_json::{Value, json};

use crate::support::app::{MODEL, TestApp, chat, with};
use crate::support::upstream::Upstream;

const CHAT: &str = "/v1/chat/completions";

/// Returns the last body that an upstream was sent, without what says how it is to be delivered.
fn heard(upstream: &Upstream) -> Value {
    let mut body = upstream.heard().pop().unwrap().body;
    let fields = body.as_object_mut().unwrap();
    fields.remove("stream");
    fields.remove("stream_options");
    body
}

#[tokio::test]
async fn a_chat_reaches_the_upstream_as_it_was_sent() {
    let app = TestApp::exact().await;
    app.upstream.expect_field("vendor_knob");
    let tool = json!({"type": "function", "function": {"name": "look", "description": "Looks.",
                      "parameters": {"type": "object", "properties": {}}, "strict": true}});
    let sent = json!({
        "model": "parrot",
        "messages": [
            {"role": "developer", "content": "Be brief."},
            {"role": "user", "content": [
                {"type": "text", "text": "What is this?"},
                {"type": "image_url", "image_url": {"url": "https://example.com/a.png", "detail": "low"}},
            ]},
            {"role": "assistant", "content": null, "tool_calls": [
                {"id": "call_1", "type": "function", "function": {"name": "look", "arguments": "{\"x\":  1}"}},
            ]},
            {"role": "tool", "tool_call_id": "call_1", "content": "  a cat\n"},
            {"role": "user", "content": " And now? ", "name": "ann"},
        ],
        "tools": [tool],
        "tool_choice": {"type": "function", "function": {"name": "look"}},
        "parallel_tool_calls": false,
        "response_format": {"type": "json_schema", "json_schema": {"name": "s", "schema": {"type": "object"}}},
        "temperature": 0.25, "top_p": 0.5, "seed": 42, "stop": ["END"], "n": 2,
        "presence_penalty": 0.5, "frequency_penalty": -0.5, "logit_bias": {"50256": -100},
        "logprobs": true, "top_logprobs": 2, "reasoning_effort": "low", "verbosity": "low",
        "max_completion_tokens": 100,
        "user": "u-1", "metadata": {"user_id": "u-2"}, "service_tier": "auto", "store": false,
        "vendor_knob": [1, null, {"deep": 1e-7}],
    });
    let answered = app.chat(sent.clone()).await;
    assert_eq!(answered.status, 200, "{}", answered.text());
    assert_eq!(heard(&app.upstream), sent);
}

#[tokio::test]
async fn what_is_said_to_us_stays_with_us() {
    let app = TestApp::exact().await;
    let headers = [
        ("authorization", "Bearer sk-of-the-caller"),
        ("x-request-id", "mine"),
        ("x-cache-ttl", "60"),
        ("x-cache-tags", "a"),
        ("x-task", "summary"),
        ("x-deadline-ms", "60000"),
        ("cookie", "a=b"),
        ("traceparent", "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"),
    ];
    // The upstream complains of any header that is none of its business.
    app.chat_with(with(chat("q"), "cache", json!({"ttl": 60, "namespace": "n"})), &headers).await;
    assert_eq!(
        heard(&app.upstream),
        json!({"model": "parrot", "messages": [{"role": "user", "content": "q"}]})
    );
    let native =
        json!({"prompt": "q", "system": "s", "model": MODEL, "task": "summary", "cache": {"ttl": 60}});
    app.post("/v1/generate", &[], native).await;
    let messages = json!([{"role": "system", "content": "s"}, {"role": "user", "content": "q"}]);
    assert_eq!(
        heard(&app.upstream),
        json!({"model": "parrot", "messages": messages, "max_completion_tokens": 1000})
    );
}

#[tokio::test]
async fn a_limit_is_spelled_as_the_caller_did_and_ours_as_the_vendor_wants_it() {
    let compatible =
        TestApp::with("cache.mode = \"exact\"\n[[providers]]\nkind = \"openai_compatible\"").await;
    compatible.generate("q").await;
    assert_eq!(heard(&compatible.upstream)["max_tokens"], 1000);
    let app = TestApp::exact().await;
    for field in ["max_tokens", "max_completion_tokens"] {
        app.chat(with(chat(field), field, json!(7))).await;
        assert_eq!(heard(&app.upstream)[field], 7);
    }
}

#[tokio::test]
async fn usage_is_asked_for_and_shown_only_to_whoever_wants_it() {
    let app = TestApp::exact().await;
    let streamed = app.stream(CHAT, chat("q")).await.rest().await;
    assert_eq!(app.upstream.heard()[0].body["stream_options"], json!({"include_usage": true}));
    assert!(!streamed.text().contains("usage"));
}
