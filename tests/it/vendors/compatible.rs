//! Servers that speak Chat Completions nearly as OpenAI does: what they do otherwise is no reason to fail.

use serde_json::{Value, json};

use super::client::{CLIENTS, Client};
use crate::support::app::TestApp;
use crate::support::reply::Reply;

const PROMPT: &str = "What is a delta?";

async fn compatible() -> TestApp {
    TestApp::with("cache.mode = \"exact\"\n[[providers]]\nkind = \"openai_compatible\"").await
}

/// Returns a stream of these chunks, each completed by what every chunk has.
fn chunks(chunks: &[Value]) -> Reply {
    let event = |chunk: &Value| {
        let mut whole =
            json!({"id": "c", "object": "chat.completion.chunk", "created": 1, "model": "parrot"});
        for (field, value) in chunk.as_object().unwrap() {
            whole[field] = value.clone();
        }
        format!("data: {whole}\n\n")
    };
    let events: String = chunks.iter().map(event).collect();
    Reply::bytes("text/event-stream", events + "data: [DONE]\n\n")
}

fn delta(delta: Value, finish: Option<&str>) -> Value {
    json!({"choices": [{"index": 0, "delta": delta, "finish_reason": finish}]})
}

#[tokio::test]
async fn codes_are_texts_numbers_or_nothing() {
    for (error, status, code) in [
        (json!({"message": "m", "type": "BadRequestError", "code": 400}), 400, "400"),
        (json!({"message": "m", "type": "BadRequestError", "code": "bad"}), 400, "bad"),
        (json!({"message": "m", "type": "BadRequestError", "code": null}), 400, ""),
        (json!({"message": "m"}), 400, ""),
        (json!("m"), 400, ""),
        (
            json!({"message": "This model's maximum context length is 4096 tokens.", "code": 400}),
            400,
            "context_length_exceeded",
        ),
        (
            json!({"message": "the request exceeds the available context size", "code": 500}),
            500,
            "context_length_exceeded",
        ),
    ] {
        let app = compatible().await;
        app.upstream.always(Reply::failing(status, json!({ "error": error }).to_string()));
        for client in CLIENTS {
            let response = app.post(client.path(), &[], client.ask_fake(PROMPT)).await;
            assert_eq!(response.status, 400, "{client:?} {error}: {}", response.text());
            let [_, told, _] = client.error(&response);
            assert_eq!(told, if client == Client::Anthropic { "" } else { code }, "{client:?} {error}");
        }
    }
}

#[tokio::test]
async fn usage_may_come_in_a_chunk_whose_choices_are_null() {
    for client in CLIENTS {
        let app = compatible().await;
        let usage = json!({"prompt_tokens": 7, "completion_tokens": 3, "total_tokens": 10});
        app.upstream.always(chunks(&[
            delta(json!({"role": "assistant", "content": "A delta."}), None),
            delta(json!({}), Some("stop")),
            json!({"choices": null, "usage": usage}),
        ]));
        let read = client.whole(&app.post(client.path(), &[], client.ask_fake(PROMPT)).await);
        assert_eq!(read.text, "A delta.", "{client:?}");
        let (input, output) = match client {
            Client::OpenAi | Client::Native => ("prompt_tokens", "completion_tokens"),
            Client::Responses | Client::Anthropic => ("input_tokens", "output_tokens"),
        };
        assert_eq!((&read.usage[input], &read.usage[output]), (&json!(7), &json!(3)), "{client:?}");
    }
}

#[tokio::test]
async fn row_43_an_error_in_a_good_response_is_a_failure_of_its_code() {
    for (error, status, attempt) in [
        (json!({"code": 429, "message": "m"}), 503, "429"),
        (json!({"code": 402, "message": "m"}), 503, "402"),
        (json!({"code": 401, "message": "m"}), 503, "401"),
        (json!({"code": 400, "message": "m"}), 400, "400"),
        (json!({"code": 503, "message": "m"}), 503, "503"),
        (json!({"code": "502", "message": "m"}), 502, "502"),
        (json!({"message": "m", "type": "InternalServerError"}), 502, "500"),
        (json!("m"), 502, "malformed"),
    ] {
        for client in CLIENTS {
            let app = compatible().await;
            app.upstream.always(Reply::bytes("application/json", json!({ "error": error }).to_string()));
            let response = app.post(client.path(), &[], client.ask_fake(PROMPT)).await;
            assert_eq!(response.status, status, "{client:?} {error}: {}", response.text());
            let attempts = response.header("x-upstream-attempts");
            assert!(
                attempts.starts_with(&format!("fake/parrot;{attempt}")),
                "{client:?} {error}: {attempts}"
            );
            client.error(&response);
        }
    }
}

#[tokio::test]
async fn reasoning_beside_the_content_is_told_apart_from_it() {
    let app = compatible().await;
    app.upstream.always(chunks(&[
        delta(json!({"role": "assistant", "reasoning_content": "Let me "}), None),
        delta(json!({"reasoning_content": "see."}), None),
        delta(json!({"content": "A delta."}), None),
        delta(json!({}), Some("stop")),
        json!({"choices": [], "usage": {"prompt_tokens": 7, "completion_tokens": 9}}),
    ]));
    for client in CLIENTS {
        let thoughts = if client == Client::Native { "" } else { "Let me see." };
        let mut body = client.ask_fake(PROMPT);
        if client == Client::OpenAi {
            body["stream_options"] = json!({"include_usage": true});
        }
        let streamed = client.streamed(&app.stream(client.path(), body).await.rest().await);
        let whole = client.whole(&app.post(client.path(), &[], client.ask_fake(PROMPT)).await);
        for read in [&streamed, &whole] {
            assert_eq!((read.text.as_str(), read.thoughts.as_str()), ("A delta.", thoughts), "{client:?}");
        }
    }
    assert_eq!(app.upstream.calls(), 1);
}

#[tokio::test]
async fn a_field_that_only_the_server_knows_is_put_together_from_its_pieces() {
    let app = compatible().await;
    app.upstream.always(chunks(&[
        delta(json!({"role": "assistant", "reasoning": "Let me "}), None),
        delta(json!({"reasoning": "see."}), None),
        delta(json!({"content": "A delta."}), None),
        delta(json!({}), Some("stop")),
    ]));
    for source in ["upstream", "exact"] {
        let response = app.chat(Client::OpenAi.ask_fake(PROMPT)).await;
        assert_eq!(response.source(), source);
        let message = &response.json()["choices"][0]["message"];
        assert_eq!((&message["content"], &message["reasoning"]), (&json!("A delta."), &json!("Let me see.")));
    }
}

#[tokio::test]
async fn row_52_unknown_events_and_unknown_fields_are_no_trouble() {
    let stream = concat!(
        ": OPENROUTER PROCESSING\n\n",
        "event: surprise\ndata: {\"choices\": []}\n\n",
        "retry: 3\n\n",
        "data: {\"id\":\"c\",\"object\":\"chat.completion.chunk\",\"created\":1,\"model\":\"parrot\",\"provider\":\"X\",",
        "\"choices\":[{\"index\":0,\"delta\":{\"content\":\"A delta.\",\"odd\":1},\"native_finish_reason\":null,\"finish_reason\":null}]}\n\n",
        "data: {\"id\":\"c\",\"choices\":[{\"index\":0,\"delta\":{},\"native_finish_reason\":\"STOP\",\"finish_reason\":\"stop\"}]}\n\n",
        "data: [DONE]\n\n",
    );
    for client in CLIENTS {
        let app = compatible().await;
        app.upstream.always(Reply::bytes("text/event-stream", stream));
        for source in ["upstream", "exact"] {
            let response = app.post(client.path(), &[], client.ask_fake(PROMPT)).await;
            let read = client.whole(&response);
            assert_eq!(
                (response.source(), read.text.as_str(), read.finish.is_empty()),
                (source, "A delta.", false)
            );
        }
    }
}
