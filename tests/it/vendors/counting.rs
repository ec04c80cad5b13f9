//! `/v1/messages/count_tokens`: Anthropic counts where it is there and answers, else we estimate and say so.

use serde_json::{Value, json};

use super::cast::{Cast, Vendor};
use crate::support::anthropic;
use crate::support::app::with;
use crate::support::response::Response;

const PATH: &str = "/v1/messages/count_tokens";

fn question(model: &str) -> Value {
    json!({"model": model, "messages": [{"role": "user", "content": "one two three"}]})
}

async fn count(cast: &Cast, body: Value) -> Response {
    let response = cast.app.post(PATH, &[("anthropic-version", "2023-06-01")], body).await;
    assert_eq!(response.header("request-id"), response.header("x-request-id"));
    response
}

#[tokio::test]
async fn anthropic_is_asked_for_the_count_with_the_fields_that_it_takes() {
    let cast = Cast::exact().await;
    let body = json!({
        "model": Vendor::Anthropic.model(), "system": "Be brief.",
        "messages": [{"role": "user", "content": "one two three"}],
        "tools": [{"name": "look", "input_schema": {"type": "object"}}], "tool_choice": {"type": "any"},
        "thinking": {"type": "enabled", "budget_tokens": 1024},
        // What a request to be answered has besides, which counting takes from nobody.
        "max_tokens": 2000, "metadata": {"user_id": "u"}, "stop_sequences": ["END"],
        "stream": false, "service_tier": "auto",
    });
    let response = count(&cast, body.clone()).await;
    assert_eq!((response.status, response.json()), (200, json!({"input_tokens": 3})), "{}", response.text());
    let mut expected = with(body, "model", json!("claude-haiku-4-5"));
    for field in ["max_tokens", "metadata", "stop_sequences", "stream", "service_tier"] {
        expected.as_object_mut().unwrap().remove(field);
    }
    let call = cast.claude.heard().pop().unwrap();
    assert_eq!((call.uri.path(), call.body), (PATH, expected));
}

#[tokio::test]
async fn other_vendors_count_nothing_and_the_estimate_says_what_it_is() {
    let cast = Cast::exact().await;
    for vendor in [Vendor::OpenAi, Vendor::AzureClassic, Vendor::AzureV1, Vendor::Gemini] {
        let response = count(&cast, question(vendor.model())).await;
        let body = response.json();
        assert_eq!((response.status, &body["estimated"]), (200, &json!(true)), "{vendor:?} {body}");
        assert!(body["input_tokens"].as_u64().is_some_and(|count| (3..20).contains(&count)), "{body}");
    }
    assert_eq!(cast.calls(), 0);
}

#[tokio::test]
async fn a_count_that_fails_is_estimated() {
    // Whatever the fake is told to say, it counts: the address of this one is another vendor's.
    for wrong in ["http://127.0.0.1:9/v1", "fake"] {
        let other = anthropic::Upstream::start().await;
        let base_url =
            if wrong == "fake" { other.base_url().replace("/v1", "/elsewhere/v1") } else { wrong.into() };
        let provider = format!(
            "[[providers]]\nname = \"lost\"\nkind = \"anthropic\"\nbase_url = \"{base_url}\"\napi_key_env = \"FAKE_KEY\""
        );
        let app =
            crate::support::app::TestApp::with(&format!("cache.mode = \"exact\"\n[[providers]]\n{provider}"))
                .await;
        let response = app.post(PATH, &[], question("lost/claude-haiku-4-5")).await;
        assert_eq!(response.status, 200, "{}", response.text());
        assert_eq!(response.json()["estimated"], true);
        other.forgive();
    }
}

#[tokio::test]
async fn a_request_that_cannot_be_counted_is_refused_as_anthropic_does() {
    let cast = Cast::exact().await;
    for body in [json!({"model": "x"}), with(question("nobody/nothing"), "messages", json!("x"))] {
        let response = count(&cast, body).await;
        assert_eq!((response.status, &response.json()["type"]), (400, &json!("error")));
        assert_eq!(response.json()["error"]["type"], "invalid_request_error");
    }
    assert_eq!(cast.calls(), 0);
}
