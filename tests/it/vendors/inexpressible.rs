//! What a vendor cannot be told: refused in the client's words before anybody is asked, or put to one who can be told.

use serde_json::{Value, json};

use super::cast::{Cast, Manner, Said, Vendor};
use super::client::Client;
use crate::support::app::with;

const PROMPT: &str = "What is this?";

/// Checks that a request is refused, naming this field, and that nobody was called.
async fn refused(cast: &Cast, client: Client, body: Value, param: &str) {
    for stream in [false, true] {
        let before = cast.calls();
        let body = with(body.clone(), "stream", json!(stream));
        let response = cast.whole(client, body).await;
        assert_eq!(response.status, 400, "{client:?} {param}: {}", response.text());
        let [kind, _, message] = client.error(&response);
        assert_eq!(kind, "invalid_request_error", "{client:?} {param}");
        assert!(message.contains(&format!("`{param}`")), "{client:?} {param}: {message}");
        if client != Client::Anthropic {
            assert_eq!(response.error("param"), param, "{client:?}");
        }
        assert!(!response.has_header("x-upstream-attempts"), "{client:?} {param}");
        assert_eq!(cast.calls(), before, "{client:?} {param}");
    }
}

fn chat(vendor: Vendor, field: &str, value: Value) -> Value {
    with(Client::OpenAi.ask(vendor.model(), PROMPT), field, value)
}

fn with_content(client: Client, vendor: Vendor, parts: Value) -> Value {
    let field = if client == Client::Responses { "input" } else { "messages" };
    with(client.ask(vendor.model(), PROMPT), field, json!([{"role": "user", "content": parts}]))
}

#[tokio::test]
async fn settings_that_a_vendor_does_not_have_are_named() {
    let cast = Cast::uncached().await;
    let tools = json!([{"type": "function", "function": {"name": "look"}}]);
    for (vendor, field, value) in [
        (Vendor::Anthropic, "seed", json!(4)),
        (Vendor::Anthropic, "n", json!(2)),
        (Vendor::Anthropic, "presence_penalty", json!(0.5)),
        (Vendor::Anthropic, "frequency_penalty", json!(0.5)),
        (Vendor::Anthropic, "logit_bias", json!({"1": 1})),
        (Vendor::Anthropic, "logprobs", json!(true)),
        (Vendor::Anthropic, "verbosity", json!("low")),
        (Vendor::Anthropic, "response_format", json!({"type": "json_object"})),
        (Vendor::Gemini, "logit_bias", json!({"1": 1})),
        (Vendor::Gemini, "logprobs", json!(true)),
        (Vendor::Gemini, "verbosity", json!("low")),
        (Vendor::OpenAi, "top_k", json!(4)),
        (Vendor::AzureClassic, "top_k", json!(4)),
        (Vendor::AzureV1, "top_k", json!(4)),
    ] {
        refused(&cast, Client::OpenAi, chat(vendor, field, value), field).await;
    }
    let one_by_one = with(chat(Vendor::Gemini, "tools", tools), "parallel_tool_calls", json!(false));
    refused(&cast, Client::OpenAi, one_by_one, "parallel_tool_calls").await;
    let verbose =
        with(Client::Responses.ask(Vendor::Anthropic.model(), PROMPT), "text", json!({"verbosity": "low"}));
    refused(&cast, Client::Responses, verbose, "verbosity").await;
    for vendor in [Vendor::OpenAi, Vendor::AzureV1] {
        let choosy = with(Client::Anthropic.ask(vendor.model(), PROMPT), "top_k", json!(4));
        refused(&cast, Client::Anthropic, choosy, "top_k").await;
    }
}

#[tokio::test]
async fn the_address_of_a_picture_is_nothing_to_gemini() {
    let cast = Cast::uncached().await;
    let url = "https://example.com/a.png";
    let text = |kind: &str| json!({"type": kind, "text": PROMPT});
    for (client, parts) in [
        (Client::OpenAi, json!([text("text"), {"type": "image_url", "image_url": {"url": url}}])),
        (Client::Responses, json!([text("input_text"), {"type": "input_image", "image_url": url}])),
        (Client::Anthropic, json!([text("text"), {"type": "image", "source": {"type": "url", "url": url}}])),
    ] {
        let body = with_content(client, Vendor::Gemini, parts);
        refused(&cast, client, body, "messages[0].content[1]").await;
    }
}

#[tokio::test]
async fn what_only_its_own_dialect_understands_is_refused_elsewhere() {
    let cast = Cast::uncached().await;
    let sound = json!([{"type": "input_audio", "input_audio": {"data": "AA==", "format": "wav"}}]);
    let paper =
        json!([{"type": "document", "source": {"type": "text", "media_type": "text/plain", "data": "x"}}]);
    for vendor in [Vendor::Anthropic, Vendor::Gemini] {
        let body = with_content(Client::OpenAi, vendor, sound.clone());
        refused(&cast, Client::OpenAi, body, "messages[0].content[0]").await;
    }
    for vendor in [Vendor::OpenAi, Vendor::AzureClassic, Vendor::Gemini] {
        let body = with_content(Client::Anthropic, vendor, paper.clone());
        refused(&cast, Client::Anthropic, body, "messages[0].content[0]").await;
        let tools = json!([{"type": "web_search_20250305", "name": "web_search"}]);
        let body = with(Client::Anthropic.ask(vendor.model(), PROMPT), "tools", tools);
        refused(&cast, Client::Anthropic, body, "tools[0]").await;
    }
}

#[tokio::test]
async fn who_can_be_told_is_asked_instead() {
    let chain = |first: Vendor, second: Vendor| {
        let [first, second] = [first, second].map(Vendor::model);
        format!("[[routes]]\nmodel = \"both\"\nchain = [\"{first}\", \"{second}\"]\n")
    };
    for (first, second, field, value) in [
        (Vendor::Anthropic, Vendor::OpenAi, "seed", json!(4)),
        (Vendor::Gemini, Vendor::AzureV1, "verbosity", json!("low")),
        (Vendor::OpenAi, Vendor::Gemini, "top_k", json!(4)),
        (Vendor::Anthropic, Vendor::Gemini, "response_format", json!({"type": "json_object"})),
    ] {
        let cast = Cast::with(&format!("cache.mode = \"off\"\n{}", chain(first, second))).await;
        cast.says(second, Said::Text("{\"answer\": 42}"), &Manner::Plainly);
        let body = with(Client::OpenAi.ask("both", PROMPT), field, value);
        let response = cast.whole(Client::OpenAi, body).await;
        assert_eq!(response.status, 200, "{field}: {}", response.text());
        let (provider, _) = second.model().split_once('/').unwrap();
        assert_eq!(response.header("x-provider"), provider);
        // Nothing was sent to the first, so it is no attempt.
        assert_eq!(response.header("x-upstream-attempts"), format!("{};200", second.model()));
        assert_eq!((cast.heard(first).len(), cast.heard(second).len()), (0, 1));
    }
}

#[tokio::test]
async fn what_nobody_in_the_chain_can_be_told_is_the_callers_mistake() {
    let chain = [Vendor::Anthropic, Vendor::Gemini].map(|vendor| format!("{:?}", vendor.model())).join(", ");
    let settings = format!("cache.mode = \"off\"\n[[routes]]\nmodel = \"both\"\nchain = [{chain}]");
    let cast = Cast::with(&settings).await;
    for client in [Client::OpenAi, Client::Responses] {
        let body = client.ask("both", PROMPT);
        let body = match client {
            Client::OpenAi => with(body, "verbosity", json!("low")),
            _ => with(body, "text", json!({"verbosity": "low"})),
        };
        refused(&cast, client, body, "verbosity").await;
    }
}
