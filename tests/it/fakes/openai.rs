//! Chat Completions as OpenAI speaks them.

use serde_json::{Value, json};

use super::{changed, post};
use crate::support::reply::{Gate, Reply};
use crate::support::upstream::{KEY, Upstream};

const PATH: &str = "/v1/chat/completions";

fn key() -> String {
    format!("Bearer {KEY}")
}

/// Returns a body with one of everything.
fn body() -> Value {
    json!({
        "model": "parrot",
        "messages": [
            {"role": "system", "content": "Be brief."},
            {"role": "user", "content": [
                {"type": "text", "text": "And this?"},
                {"type": "image_url", "image_url": {"url": "data:,", "detail": "low"}},
            ]},
            {"role": "assistant", "content": null, "tool_calls": [
                {"id": "call_1", "type": "function", "function": {"name": "look", "arguments": "{}"}},
            ]},
            {"role": "tool", "tool_call_id": "call_1", "content": "A bird."},
        ],
        "tools": [{"type": "function", "function": {"name": "look", "parameters": {"type": "object"}}}],
        "tool_choice": {"type": "function", "function": {"name": "look"}},
        "response_format": {"type": "json_schema", "json_schema": {"name": "bird", "schema": {}}},
        "temperature": 1.5,
    })
}

#[tokio::test]
async fn what_openai_knows_is_taken() {
    let upstream = Upstream::start().await;
    let answer = post(&upstream, PATH, &[("authorization", &key())], &body()).await;
    assert_eq!(answer.status, 200, "{}", answer.text);
    let heard = upstream.heard().pop().unwrap();
    assert_eq!((heard.uri.path(), heard.header("authorization")), (PATH, &*key()));
    assert_eq!((heard.model(), heard.prompt(), &heard.body), ("parrot", "A bird.", &body()));
}

#[tokio::test]
async fn what_openai_does_not_know_is_refused_with_its_place() {
    let cases = [
        ("/knob", json!(1), "Unrecognized request argument supplied: knob"),
        ("/messages/1/knob", json!(1), "Unknown parameter: 'messages[1].knob'."),
        ("/messages/1/content/1/image_url/knob", json!(1), "'messages[1].content[1].image_url.knob'"),
        ("/messages/2/tool_calls/0/index", json!(0), "'messages[2].tool_calls[0].index'"),
        ("/tools/0/function/knob", json!(1), "'tools[0].function.knob'"),
        ("/model", Value::Null, "Missing required parameter: 'model'."),
        ("/messages", json!([]), "'messages' must not be empty"),
        ("/messages/0/role", json!("bird"), "'messages[0].role'"),
        ("/messages/0/content", Value::Null, "'messages[0].content'"),
        ("/messages/1/content/0/type", json!("bird"), "'messages[1].content[0].type'"),
        ("/messages/3/tool_call_id", json!("call_2"), "preceding message with 'tool_calls'"),
        ("/tool_choice", json!("perhaps"), "'tool_choice'"),
        ("/tools", Value::Null, "'tool_choice' is only allowed when 'tools'"),
        ("/response_format/type", json!("yaml"), "'response_format.type'"),
        ("/temperature", json!(2.5), "'temperature' is out of range"),
        ("/stream_options", json!({}), "'stream_options' is only allowed"),
    ];
    let upstream = Upstream::start().await;
    for (place, value, said) in cases {
        let body = changed(&body(), place, value);
        let answer = post(&upstream, PATH, &[("authorization", &key())], &body).await;
        let error = &answer.json()["error"];
        assert_eq!((answer.status, &error["type"]), (400, &json!("invalid_request_error")), "{place}");
        let message = error["message"].as_str().unwrap();
        assert!(message.contains(said), "{place}: {message}");
        assert_eq!(upstream.forgive().len(), 1, "{place}");
    }
}

#[tokio::test]
async fn a_field_that_a_test_allows_is_no_mistake_and_leniency_allows_them_all() {
    let upstream = Upstream::start().await;
    let odd = changed(&body(), "/messages/1/knob", json!(1));
    upstream.expect_field("knob");
    assert_eq!(post(&upstream, PATH, &[("authorization", &key())], &odd).await.status, 200);
    let odder = changed(&odd, "/tools/0/lever", json!(1));
    assert_eq!(post(&upstream, PATH, &[("authorization", &key())], &odder).await.status, 400);
    assert_eq!(upstream.forgive().len(), 1);
    upstream.lenient();
    assert_eq!(post(&upstream, PATH, &[("authorization", &key())], &odder).await.status, 200);
}

#[tokio::test]
async fn another_place_another_key_and_another_content_type_are_refused() {
    let upstream = Upstream::start().await;
    let wrong = [
        ("/v2/chat/completions", vec![("authorization", key())], 404),
        (PATH, vec![], 401),
        (PATH, vec![("authorization", "Bearer sk-other".to_owned())], 401),
        (PATH, vec![("authorization", key()), ("content-type", "text/plain".to_owned())], 400),
    ];
    for (path, headers, status) in wrong {
        let headers: Vec<_> = headers.iter().map(|(name, value)| (*name, value.as_str())).collect();
        let answer = post(&upstream, path, &headers, &body()).await;
        assert_eq!(answer.status, status, "{path} {headers:?}");
        assert!(answer.json()["error"]["message"].is_string());
    }
    assert_eq!(upstream.forgive().len(), 4);
}

#[tokio::test]
async fn a_header_that_is_no_business_of_the_vendor_is_complained_about() {
    let upstream = Upstream::start().await;
    let headers = [("authorization", key()), ("cookie", "a=b".to_owned())];
    let headers = headers.each_ref().map(|(name, value)| (*name, value.as_str()));
    assert_eq!(post(&upstream, PATH, &headers, &body()).await.status, 200);
    assert_eq!(upstream.forgive(), ["header cookie"]);
}

#[tokio::test]
async fn a_stream_can_break_with_an_error_in_it() {
    let upstream = Upstream::start().await;
    upstream.always(Reply::text("One two three four.").failing_midway("The server had an error."));
    let body = json!({
        "model": "parrot", "stream": true, "stream_options": {"include_usage": true},
        "messages": [{"role": "user", "content": "Count."}],
    });
    let answer = post(&upstream, PATH, &[("authorization", &key())], &body).await;
    let events = answer.events();
    assert_eq!(events.last().unwrap().1["error"]["message"], "The server had an error.");
    assert!(answer.text.contains("two ") && !answer.text.contains("three"), "{}", answer.text);
    assert!(!answer.broke);

    let gate = Gate::shut();
    gate.open();
    upstream.always(Reply::text("One two three four.").held(&gate).held_midway(&gate).cut_midway());
    assert!(post(&upstream, PATH, &[("authorization", &key())], &body).await.broke);
}
