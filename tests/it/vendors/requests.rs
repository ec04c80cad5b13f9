//! Requests of every client, as every vendor hears them: nothing lost, and nothing that the vendor does not know.

use serde_json::{Value, json};

use super::cast::{Cast, Vendor};
use super::client::{CLIENTS, Client};
use crate::support::app::with;

/// The smallest picture, in base64 as far as anybody here looks.
const PICTURE: &str = "iVBORw0KGgo=";

fn schema() -> Value {
    json!({"type": "object", "properties": {"kind": {"type": "string"}}, "required": ["kind"],
           "additionalProperties": false})
}

fn parameters() -> Value {
    json!({"type": "object", "properties": {"at": {"type": "string"}}})
}

/// Returns one conversation, with everything that a client can say in it: instructions, a picture, a call and its result,
/// tools and a choice among them, a schema, sampling and a limit.
#[expect(clippy::too_many_lines, reason = "one conversation with everything in it, once for each dialect")]
fn conversation(client: Client, model: &str) -> Value {
    match client {
        Client::OpenAi => json!({
            "model": model,
            "messages": [
                {"role": "system", "content": "Be brief."},
                {"role": "developer", "content": "Be kind."},
                {"role": "user", "content": [
                    {"type": "text", "text": "What is this?"},
                    {"type": "image_url", "image_url": {"url": format!("data:image/png;base64,{PICTURE}")}},
                ]},
                {"role": "assistant", "content": "Let me look.", "tool_calls": [
                    {"id": "call_1", "type": "function", "function": {"name": "look", "arguments": "{\"at\":\"it\"}"}},
                ]},
                {"role": "tool", "tool_call_id": "call_1", "content": "A bird."},
                {"role": "user", "content": "Well?"},
            ],
            "tools": [{"type": "function", "function":
                {"name": "look", "description": "Looks.", "parameters": parameters()}}],
            "tool_choice": {"type": "function", "function": {"name": "look"}},
            "response_format": {"type": "json_schema", "json_schema":
                {"name": "bird", "schema": schema(), "strict": true}},
            "temperature": 0.5, "top_p": 0.9, "stop": ["END"], "max_completion_tokens": 200, "user": "u-1",
        }),
        Client::Responses => json!({
            "model": model, "instructions": "Be brief.",
            "input": [
                {"role": "developer", "content": "Be kind."},
                {"role": "user", "content": [
                    {"type": "input_text", "text": "What is this?"},
                    {"type": "input_image", "image_url": format!("data:image/png;base64,{PICTURE}")},
                ]},
                {"role": "assistant", "content": "Let me look."},
                {"type": "function_call", "call_id": "call_1", "name": "look", "arguments": "{\"at\":\"it\"}"},
                {"type": "function_call_output", "call_id": "call_1", "output": "A bird."},
                {"role": "user", "content": "Well?"},
            ],
            "tools": [{"type": "function", "name": "look", "description": "Looks.", "parameters": parameters()}],
            "tool_choice": {"type": "function", "name": "look"},
            "text": {"format": {"type": "json_schema", "name": "bird", "schema": schema(), "strict": true}},
            "temperature": 0.5, "top_p": 0.9, "max_output_tokens": 200, "user": "u-1",
        }),
        Client::Anthropic => json!({
            "model": model, "max_tokens": 200,
            "system": [{"type": "text", "text": "Be brief."}, {"type": "text", "text": "Be kind."}],
            "messages": [
                {"role": "user", "content": [
                    {"type": "text", "text": "What is this?"},
                    {"type": "image", "source": {"type": "base64", "media_type": "image/png", "data": PICTURE}},
                ]},
                {"role": "assistant", "content": [
                    {"type": "text", "text": "Let me look."},
                    {"type": "tool_use", "id": "call_1", "name": "look", "input": {"at": "it"}},
                ]},
                {"role": "user", "content": [
                    {"type": "tool_result", "tool_use_id": "call_1", "content": "A bird."},
                    {"type": "text", "text": "Well?"},
                ]},
            ],
            "tools": [{"name": "look", "description": "Looks.", "input_schema": parameters()}],
            "tool_choice": {"type": "tool", "name": "look"},
            "output_config": {"format": {"type": "json_schema", "schema": schema()}},
            "temperature": 0.5, "top_p": 0.9, "stop_sequences": ["END"], "metadata": {"user_id": "u-1"},
        }),
        Client::Native => json!({
            "model": model, "system": "Be brief.",
            "messages": [
                {"role": "user", "content": "What is this?"},
                {"role": "assistant", "content": "Let me look."},
                {"role": "user", "content": "Well?"},
            ],
            "temperature": 0.5, "max_tokens": 200,
        }),
    }
}

/// Has a client put this to a vendor, and returns what the vendor heard.
async fn heard(cast: &Cast, client: Client, vendor: Vendor, body: Value) -> Value {
    let answered = cast.whole(client, body).await;
    assert_eq!(answered.status, 200, "{client:?} {vendor:?}: {}", answered.text());
    cast.last_body(vendor)
}

/// Returns the conversation as OpenAI is to hear it.
fn for_openai(client: Client, model: &str) -> Value {
    let instructions = match client {
        // One list of texts is one message.
        Client::Anthropic => vec![json!({"role": "system", "content":
            [{"type": "text", "text": "Be brief."}, {"type": "text", "text": "Be kind."}]})],
        Client::OpenAi | Client::Responses | Client::Native => vec![
            json!({"role": "system", "content": "Be brief."}),
            json!({"role": "developer", "content": "Be kind."}),
        ],
    };
    let mut body = conversation(Client::OpenAi, model);
    let turns = body["messages"].as_array().unwrap()[2..].to_vec();
    body["messages"] = [instructions, turns].concat().into();
    let fields = body.as_object_mut().unwrap();
    match client {
        Client::OpenAi | Client::Native => {}
        Client::Responses => drop(fields.remove("stop")),
        Client::Anthropic => {
            // Anthropic's schemas have no name, and OpenAI insists on one. Strictness, which they do not ask for, would
            // have OpenAI refuse some of them.
            fields["response_format"]["json_schema"] = json!({"name": "answer", "schema": schema()});
        }
    }
    body
}

#[tokio::test]
async fn openai_and_azure_hear_what_every_client_means() {
    let cast = Cast::uncached().await;
    for client in [Client::OpenAi, Client::Responses, Client::Anthropic] {
        for vendor in [Vendor::OpenAi, Vendor::AzureClassic, Vendor::AzureV1] {
            let model = vendor.model().split_once('/').unwrap().1;
            let body = heard(&cast, client, vendor, conversation(client, vendor.model())).await;
            assert_eq!(body, for_openai(client, model), "{client:?} {vendor:?}");
        }
    }
}

#[tokio::test]
async fn anthropic_hears_what_every_client_means() {
    let cast = Cast::uncached().await;
    let vendor = Vendor::Anthropic;
    for client in [Client::OpenAi, Client::Responses, Client::Anthropic] {
        let body = heard(&cast, client, vendor, conversation(client, vendor.model())).await;
        let mut expected = conversation(Client::Anthropic, "claude-haiku-4-5");
        if client == Client::Responses {
            expected.as_object_mut().unwrap().remove("stop_sequences");
        }
        assert_eq!(body, expected, "{client:?}");
    }
}

#[tokio::test]
async fn gemini_hears_what_every_client_means() {
    let cast = Cast::uncached().await;
    let vendor = Vendor::Gemini;
    for client in [Client::OpenAi, Client::Responses, Client::Anthropic] {
        let body = heard(&cast, client, vendor, conversation(client, vendor.model())).await;
        let mut expected = json!({
            "systemInstruction": {"parts": [{"text": "Be brief."}, {"text": "Be kind."}]},
            "contents": [
                {"role": "user", "parts": [
                    {"text": "What is this?"}, {"inlineData": {"mimeType": "image/png", "data": PICTURE}},
                ]},
                {"role": "model", "parts": [
                    {"text": "Let me look."}, {"functionCall": {"id": "call_1", "name": "look", "args": {"at": "it"}}},
                ]},
                {"role": "user", "parts": [
                    {"functionResponse": {"id": "call_1", "name": "look", "response": {"output": "A bird."}}},
                    {"text": "Well?"},
                ]},
            ],
            "tools": [{"functionDeclarations": [
                {"name": "look", "description": "Looks.", "parametersJsonSchema": parameters()},
            ]}],
            "toolConfig": {"functionCallingConfig": {"mode": "ANY", "allowedFunctionNames": ["look"]}},
            "generationConfig": {
                "temperature": 0.5, "topP": 0.9, "maxOutputTokens": 200, "stopSequences": ["END"],
                "responseMimeType": "application/json", "responseJsonSchema": schema(),
            },
        });
        if client == Client::Responses {
            expected["generationConfig"].as_object_mut().unwrap().remove("stopSequences");
        }
        assert_eq!(body, expected, "{client:?}");
    }
}

#[tokio::test]
async fn our_own_format_means_the_same_to_all() {
    let cast = Cast::uncached().await;
    let body = |vendor: Vendor| conversation(Client::Native, vendor.model());
    let turns = json!([
        {"role": "user", "content": "What is this?"},
        {"role": "assistant", "content": "Let me look."},
        {"role": "user", "content": "Well?"},
    ]);
    let mut messages = turns.as_array().unwrap().clone();
    messages.insert(0, json!({"role": "system", "content": "Be brief."}));
    for vendor in [Vendor::OpenAi, Vendor::AzureClassic, Vendor::AzureV1] {
        let model = vendor.model().split_once('/').unwrap().1;
        assert_eq!(
            heard(&cast, Client::Native, vendor, body(vendor)).await,
            json!({"model": model, "messages": messages, "temperature": 0.5, "max_completion_tokens": 200}),
        );
    }
    assert_eq!(
        heard(&cast, Client::Native, Vendor::Anthropic, body(Vendor::Anthropic)).await,
        json!({"model": "claude-haiku-4-5", "system": "Be brief.", "messages": turns, "temperature": 0.5, "max_tokens": 200}),
    );
    assert_eq!(
        heard(&cast, Client::Native, Vendor::Gemini, body(Vendor::Gemini)).await,
        json!({
            "systemInstruction": {"parts": [{"text": "Be brief."}]},
            "contents": [
                {"role": "user", "parts": [{"text": "What is this?"}]},
                {"role": "model", "parts": [{"text": "Let me look."}]},
                {"role": "user", "parts": [{"text": "Well?"}]},
            ],
            "generationConfig": {"temperature": 0.5, "maxOutputTokens": 200},
        }),
    );
}

#[tokio::test]
async fn anthropic_is_told_a_limit_where_the_client_named_none() {
    let cast = Cast::uncached().await;
    for (client, expected) in [
        (Client::OpenAi, 32_000),
        (Client::Responses, 32_000),
        (Client::Anthropic, 1_000),
        (Client::Native, 1_000),
    ] {
        let body = client.ask(Vendor::Anthropic.model(), "q");
        assert_eq!(heard(&cast, client, Vendor::Anthropic, body).await["max_tokens"], expected, "{client:?}");
    }
    for vendor in [Vendor::OpenAi, Vendor::Gemini] {
        for client in [Client::OpenAi, Client::Responses] {
            let body = heard(&cast, client, vendor, client.ask(vendor.model(), "q")).await;
            assert!(!body.to_string().to_ascii_lowercase().contains("max"), "{client:?}: {body}");
        }
    }
}

#[tokio::test]
async fn choices_among_tools_are_said_in_every_vendors_words() {
    let cast = Cast::uncached().await;
    let tools = json!([{"type": "function", "function": {"name": "look", "parameters": parameters()}}]);
    for (choice, anthropic, gemini) in
        [(json!("auto"), "auto", "AUTO"), (json!("required"), "any", "ANY"), (json!("none"), "none", "NONE")]
    {
        let ask = |vendor: Vendor| {
            let body = with(Client::OpenAi.ask(vendor.model(), "q"), "tools", tools.clone());
            with(body, "tool_choice", choice.clone())
        };
        let body = heard(&cast, Client::OpenAi, Vendor::Anthropic, ask(Vendor::Anthropic)).await;
        assert_eq!(body["tool_choice"], json!({ "type": anthropic }));
        let body = heard(&cast, Client::OpenAi, Vendor::Gemini, ask(Vendor::Gemini)).await;
        assert_eq!(body["toolConfig"]["functionCallingConfig"], json!({ "mode": gemini }));
    }
    let one_by_one = |client: Client, vendor: Vendor| {
        let body = client.ask(vendor.model(), "q");
        match client {
            Client::Anthropic => {
                let tools = json!([{"name": "look", "input_schema": parameters()}]);
                let choice = json!({"type": "auto", "disable_parallel_tool_use": true});
                with(with(body, "tools", tools), "tool_choice", choice)
            }
            _ => with(with(body, "tools", tools.clone()), "parallel_tool_calls", json!(false)),
        }
    };
    let body = one_by_one(Client::OpenAi, Vendor::Anthropic);
    let body = heard(&cast, Client::OpenAi, Vendor::Anthropic, body).await;
    assert_eq!(body["tool_choice"], json!({"type": "auto", "disable_parallel_tool_use": true}));
    let body = one_by_one(Client::Anthropic, Vendor::OpenAi);
    let body = heard(&cast, Client::Anthropic, Vendor::OpenAi, body).await;
    assert_eq!((&body["tool_choice"], &body["parallel_tool_calls"]), (&json!("auto"), &json!(false)));
}

#[tokio::test]
async fn a_tool_that_failed_is_told_as_far_as_a_vendor_has_words_for_it() {
    let cast = Cast::uncached().await;
    let body = |vendor: Vendor| {
        json!({
            "model": vendor.model(), "max_tokens": 9, "tools": [{"name": "look", "input_schema": parameters()}],
            "messages": [
                {"role": "user", "content": "Look."},
                {"role": "assistant", "content": [{"type": "tool_use", "id": "t1", "name": "look", "input": {}}]},
                {"role": "user", "content": [
                    {"type": "tool_result", "tool_use_id": "t1", "content": "It is dark.", "is_error": true},
                ]},
            ],
        })
    };
    let client = Client::Anthropic;
    let anthropic = heard(&cast, client, Vendor::Anthropic, body(Vendor::Anthropic)).await;
    assert_eq!(anthropic["messages"], body(Vendor::Anthropic)["messages"]);
    let gemini = heard(&cast, client, Vendor::Gemini, body(Vendor::Gemini)).await;
    let response = &gemini["contents"][2]["parts"][0]["functionResponse"]["response"];
    assert_eq!(*response, json!({"error": "It is dark."}));
    let openai = heard(&cast, client, Vendor::OpenAi, body(Vendor::OpenAi)).await;
    let result = &openai["messages"][2];
    assert_eq!((&result["role"], &result["tool_call_id"]), (&json!("tool"), &json!("t1")));
    assert!(result["content"].as_str().unwrap().contains("It is dark."));
}

#[tokio::test]
async fn the_address_of_a_picture_goes_where_it_is_fetched() {
    let cast = Cast::uncached().await;
    let url = "https://example.com/a.png";
    let chat = |vendor: Vendor| {
        let part = json!({"type": "image_url", "image_url": {"url": url, "detail": "low"}});
        json!({"model": vendor.model(), "messages": [{"role": "user", "content": [part]}]})
    };
    let body = heard(&cast, Client::OpenAi, Vendor::Anthropic, chat(Vendor::Anthropic)).await;
    let source = json!({"type": "url", "url": url});
    assert_eq!(body["messages"][0]["content"], json!([{"type": "image", "source": source}]));
    let message = json!({"role": "user", "content": [{"type": "image", "source": source}]});
    let messages = json!({"model": Vendor::OpenAi.model(), "max_tokens": 9, "messages": [message]});
    let body = heard(&cast, Client::Anthropic, Vendor::OpenAi, messages).await;
    let part = json!({"type": "image_url", "image_url": {"url": url}});
    assert_eq!(body["messages"][0]["content"], json!([part]));
}

#[tokio::test]
async fn how_hard_to_think_is_said_in_every_vendors_words() {
    let cast = Cast::uncached().await;
    let chat =
        |vendor: Vendor| with(Client::OpenAi.ask(vendor.model(), "q"), "reasoning_effort", json!("low"));
    let openai = heard(&cast, Client::OpenAi, Vendor::OpenAi, chat(Vendor::OpenAi)).await;
    assert_eq!(openai["reasoning_effort"], "low");
    let anthropic = heard(&cast, Client::OpenAi, Vendor::Anthropic, chat(Vendor::Anthropic)).await;
    assert_eq!(anthropic["output_config"], json!({"effort": "low"}));
    let gemini = heard(&cast, Client::OpenAi, Vendor::Gemini, chat(Vendor::Gemini)).await;
    assert_eq!(gemini["generationConfig"]["thinkingConfig"], json!({"thinkingBudget": 1_024}));
    // Anthropic's own way of thinking is for Anthropic alone.
    let thinking = json!({"type": "enabled", "budget_tokens": 1_024});
    let own = with(Client::Anthropic.ask(Vendor::Anthropic.model(), "q"), "max_tokens", json!(2_000));
    let own = with(own, "thinking", thinking.clone());
    let body = heard(&cast, Client::Anthropic, Vendor::Anthropic, own).await;
    assert_eq!(body["thinking"], thinking);
}

#[tokio::test]
async fn what_a_client_says_to_us_reaches_no_vendor() {
    let cast = Cast::uncached().await;
    let headers = [
        ("authorization", "Bearer sk-of-the-caller"),
        ("anthropic-version", "2023-06-01"),
        ("cookie", "a=b"),
        ("x-stainless-lang", "python"),
        ("x-task", "summary"),
    ];
    for vendor in super::cast::VENDORS {
        for client in CLIENTS {
            let body = with(client.ask(vendor.model(), "q"), "cache", json!({"ttl": 60}));
            // The upstreams complain of fields and headers that are none of their business.
            let answered = cast.app.post(client.path(), &headers, body).await;
            assert_eq!(answered.status, 200, "{vendor:?} {client:?}: {}", answered.text());
        }
    }
}
