//! Clients that go on from an answer: what a vendor said goes back to it, and it must know its own words again.

use serde_json::{Value, json};

use super::cast::{Cast, Manner, Said, VENDORS, Vendor};
use super::client::Client;
use crate::support::app::with;
use crate::support::reply::Reply;
use crate::support::{anthropic, gemini};

const PROMPT: &str = "Who sits there?";
const CLIENTS: [Client; 3] = [Client::OpenAi, Client::Responses, Client::Anthropic];

/// Returns the field that the turns of a dialect stand in.
const fn turns(client: Client) -> &'static str {
    match client {
        Client::Responses => "input",
        Client::OpenAi | Client::Anthropic | Client::Native => "messages",
    }
}

/// Returns the first request of an agent.
fn begin(client: Client, model: &str) -> Value {
    let schema = json!({"type": "object"});
    let tools = match client {
        Client::OpenAi => json!([{"type": "function", "function": {"name": "look", "parameters": schema}}]),
        Client::Responses => json!([{"type": "function", "name": "look", "parameters": schema}]),
        Client::Anthropic | Client::Native => json!([{"name": "look", "input_schema": schema}]),
    };
    let body = with(client.ask(model, PROMPT), "tools", tools);
    with(body, turns(client), json!([{"role": "user", "content": PROMPT}]))
}

/// Returns the next request, as an SDK would make it of the answer: what was said, and a result for every call.
fn go_on(client: Client, mut body: Value, answer: &Value) -> Value {
    let list = body[turns(client)].as_array_mut().unwrap();
    match client {
        Client::OpenAi => {
            let message = &answer["choices"][0]["message"];
            list.push(message.clone());
            for call in message["tool_calls"].as_array().unwrap() {
                list.push(json!({"role": "tool", "tool_call_id": call["id"], "content": "A bird."}));
            }
        }
        Client::Responses => {
            let items = answer["output"].as_array().unwrap();
            list.extend_from_slice(items);
            for item in items.iter().filter(|item| item["type"] == "function_call") {
                let id = &item["call_id"];
                list.push(json!({"type": "function_call_output", "call_id": id, "output": "A bird."}));
            }
        }
        Client::Anthropic | Client::Native => {
            list.push(json!({"role": "assistant", "content": answer["content"]}));
            let calls =
                answer["content"].as_array().unwrap().iter().filter(|block| block["type"] == "tool_use");
            let result = |call: &Value| json!({"type": "tool_result", "tool_use_id": call["id"], "content": "A bird."});
            list.push(json!({"role": "user", "content": calls.map(result).collect::<Vec<_>>()}));
        }
    }
    body
}

/// Has an agent make its two requests, and returns what the vendor heard of the second.
async fn both_turns(cast: &Cast, client: Client, model: &str, vendor: Vendor) -> Value {
    let first = begin(client, model);
    let answer = cast.whole(client, first.clone()).await;
    assert_eq!(answer.status, 200, "{client:?} {vendor:?}: {}", answer.text());
    cast.says(vendor, Said::Text("A bird, then."), &Manner::Plainly);
    let second = go_on(client, first, &answer.json());
    let answer = cast.whole(client, second).await;
    // A vendor that is given a result for no call of its own refuses it.
    assert_eq!(client.whole(&answer).text, "A bird, then.", "{client:?} {vendor:?}");
    cast.last_body(vendor)
}

#[tokio::test]
async fn an_agent_of_every_dialect_goes_on_from_a_call_of_every_vendor() {
    for vendor in VENDORS {
        for client in CLIENTS {
            let cast = Cast::exact().await;
            cast.says(vendor, Said::Call("look", r#"{"at":"the tree"}"#), &Manner::Plainly);
            let heard = both_turns(&cast, client, vendor.model(), vendor).await.to_string();
            assert!(
                heard.contains("the tree") && heard.contains("A bird."),
                "{client:?} {vendor:?}: {heard}"
            );
        }
    }
}

#[tokio::test]
async fn calls_beside_each_other_are_answered_beside_each_other() {
    for client in CLIENTS {
        let cast = Cast::exact().await;
        let call = |at: u32| {
            let function = json!({"name": "look", "arguments": format!("{{\"at\":{at}}}")});
            json!({"id": format!("call_{at}"), "type": "function", "function": function})
        };
        let message = json!({"role": "assistant", "content": "Looking.", "tool_calls": [call(1), call(2)]});
        cast.app.upstream.always(Reply::messages(vec![(message, Some("tool_calls"))]));
        let use_of = |at: u32| json!({"type": "tool_use", "id": format!("t{at}"), "name": "look", "input": {"at": at}});
        let text = json!({"type": "text", "text": "Looking."});
        cast.claude.always(anthropic::Reply::blocks(vec![text, use_of(1), use_of(2)], Some("tool_use")));
        let part_of = |at: u32| json!({"functionCall": {"name": "look", "args": {"at": at}}});
        let parts = vec![json!({"text": "Looking."}), part_of(1), part_of(2)];
        cast.google.always(gemini::Reply::parts(parts, Some("STOP")));
        for vendor in [Vendor::OpenAi, Vendor::Anthropic, Vendor::Gemini] {
            let heard = both_turns(&cast, client, vendor.model(), vendor).await;
            let list = &heard[if vendor == Vendor::Gemini { "contents" } else { "messages" }];
            let list = list.as_array().unwrap();
            // OpenAI has a message for each result, the others a turn for all of them.
            assert_eq!(
                list.len(),
                if vendor == Vendor::OpenAi { 4 } else { 3 },
                "{client:?} {vendor:?} {heard}"
            );
            assert!(list[1].to_string().contains("Looking."), "{client:?} {vendor:?} {heard}");
        }
    }
}

#[tokio::test]
async fn geminis_seal_on_a_call_comes_back_to_it_through_openais_dialect() {
    let cast = Cast::exact().await;
    for model in ["google/gemini-2.5-flash", "google/gemini-3-flash-preview"] {
        let call = json!({"functionCall": {"name": "look", "args": {}}, "thoughtSignature": "seal"});
        cast.google.always(gemini::Reply::parts(vec![call], Some("STOP")));
        let heard = both_turns(&cast, Client::OpenAi, model, Vendor::Gemini).await;
        assert_eq!(heard["contents"][1]["parts"][0]["thoughtSignature"], "seal", "{heard}");
    }
    // A client that has no place for it still gets an answer: what stands for a seal is Google's own word.
    let call = json!({"functionCall": {"name": "look", "args": {}}, "thoughtSignature": "seal"});
    cast.google.always(gemini::Reply::parts(vec![call], Some("STOP")));
    let heard = both_turns(&cast, Client::Responses, "google/gemini-3-flash-preview", Vendor::Gemini).await;
    assert!(heard["contents"][1]["parts"][0]["thoughtSignature"].is_string(), "{heard}");
}

#[tokio::test]
async fn anthropics_thoughts_come_back_to_it_sealed_and_to_nobody_else() {
    let blocks = || {
        vec![
            json!({"type": "thinking", "thinking": "Let me see.", "signature": "seal"}),
            json!({"type": "redacted_thinking", "data": "secret"}),
            json!({"type": "tool_use", "id": "t1", "name": "look", "input": {}}),
        ]
    };
    let cast = Cast::exact().await;
    cast.claude.always(anthropic::Reply::blocks(blocks(), Some("tool_use")));
    let heard = both_turns(&cast, Client::Anthropic, Vendor::Anthropic.model(), Vendor::Anthropic).await;
    assert_eq!(heard["messages"][1]["content"], json!(blocks()));
    // The same conversation goes on with another vendor, which thinks for itself.
    for vendor in [Vendor::OpenAi, Vendor::Gemini] {
        let first = begin(Client::Anthropic, vendor.model());
        let body = go_on(Client::Anthropic, first, &json!({ "content": blocks() }));
        let answer = cast.whole(Client::Anthropic, body).await;
        assert_eq!(answer.status, 200, "{vendor:?}: {}", answer.text());
        let heard = cast.last_body(vendor).to_string();
        assert!(!heard.contains("seal") && !heard.contains("secret"), "{vendor:?}: {heard}");
        // A turn that had nothing else is gone, and its neighbours are still heard.
        let turns = json!([
            {"role": "user", "content": "One."},
            {"role": "assistant", "content": blocks()[..2]},
            {"role": "user", "content": "Two."},
        ]);
        let body = with(Client::Anthropic.ask(vendor.model(), PROMPT), "messages", turns);
        let answer = cast.whole(Client::Anthropic, body).await;
        assert_eq!(answer.status, 200, "{vendor:?}: {}", answer.text());
        let heard = cast.last_body(vendor).to_string();
        assert!(heard.contains("One.") && heard.contains("Two."), "{vendor:?}: {heard}");
    }
}

#[tokio::test]
async fn a_result_without_a_word_is_one_for_every_vendor() {
    let cast = Cast::exact().await;
    for vendor in VENDORS {
        for is_error in [false, true] {
            let call = json!({"type": "tool_use", "id": "t1", "name": "look", "input": {}});
            let first = begin(Client::Anthropic, vendor.model());
            let mut body = go_on(Client::Anthropic, first, &json!({"content": [call]}));
            body["messages"][2]["content"] =
                json!([{"type": "tool_result", "tool_use_id": "t1", "is_error": is_error}]);
            let answer = cast.whole(Client::Anthropic, body).await;
            assert_eq!(answer.status, 200, "{vendor:?}: {}", answer.text());
        }
    }
}

#[tokio::test]
async fn beta_features_are_asked_of_anthropic_alone() {
    let cast = Cast::uncached().await;
    for vendor in VENDORS {
        let body = Client::Anthropic.ask(vendor.model(), PROMPT);
        let betas = [("anthropic-beta", "b-2025-02-02, a-2025-01-01")];
        // The upstreams complain of headers that are none of their business.
        let answer = cast.app.post(Client::Anthropic.path(), &betas, body).await;
        assert_eq!(answer.status, 200, "{vendor:?}: {}", answer.text());
    }
    assert_eq!(cast.claude.heard()[0].header("anthropic-beta"), "a-2025-01-01,b-2025-02-02");
    let body = Client::OpenAi.ask(Vendor::Anthropic.model(), PROMPT);
    cast.app.post(Client::OpenAi.path(), &[("anthropic-beta", "a-2025-01-01")], body).await;
    assert_eq!(cast.claude.heard()[1].header("anthropic-beta"), "");
}
