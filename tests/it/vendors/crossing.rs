//! One cache for all dialects: what one client had answered is another's, in its own words, whole or as a stream.

use serde_json::{Value, json};

use super::cast::{Cast, Manner, Said, VENDORS, Vendor};
use super::client::{CLIENTS, Client};
use crate::support::anthropic;
use crate::support::app::with;
use crate::support::reply::Gate;

const PROMPT: &str = "What is a strait?";
const ANSWER: &str = "A strait is a narrow water between two lands.";

/// Returns the body that asks, in this dialect, for what `writer` has asked for. Limits are no part of the key.
fn ask(client: Client, vendor: Vendor, writer: Client) -> Value {
    client.ask(vendor.model(), &format!("{PROMPT} {writer:?} wants to know."))
}

#[tokio::test]
async fn an_answer_written_in_one_dialect_is_read_in_every_other() {
    let cast = Cast::exact().await;
    for vendor in VENDORS {
        cast.says(vendor, Said::Text(ANSWER), &Manner::Plainly);
        for writer in CLIENTS {
            let before = cast.calls();
            let miss = cast.whole(writer, ask(writer, vendor, writer)).await;
            let written = writer.whole(&miss);
            assert_eq!((miss.source(), written.text.as_str()), ("upstream", ANSWER), "{vendor:?} {writer:?}");
            for reader in CLIENTS {
                let whole = cast.whole(reader, ask(reader, vendor, writer)).await;
                let streamed = cast.streamed(reader, ask(reader, vendor, writer)).await;
                for hit in [&whole, &streamed] {
                    assert_eq!(hit.source(), "exact", "{vendor:?} {writer:?} {reader:?}: {}", hit.text());
                    assert_eq!(hit.header("x-cache-entry"), miss.header("x-cache-entry"));
                    assert_eq!(hit.header("x-provider"), miss.header("x-provider"));
                }
                let (whole, streamed) = (reader.whole(&whole), reader.streamed(&streamed));
                assert_eq!(whole, streamed, "{vendor:?} {writer:?} {reader:?}");
                assert_eq!(whole.text, ANSWER, "{vendor:?} {writer:?} {reader:?}");
                if reader == writer {
                    assert_eq!(whole, written, "{vendor:?} {writer:?}");
                }
            }
            assert_eq!(cast.calls(), before + 1, "{vendor:?} {writer:?}");
        }
    }
}

#[tokio::test]
async fn an_answer_that_came_as_a_stream_is_the_same_in_the_cache() {
    let cast = Cast::exact().await;
    for (writer, reader) in [
        (Client::OpenAi, Client::Anthropic),
        (Client::Anthropic, Client::OpenAi),
        (Client::Responses, Client::Native),
        (Client::Native, Client::Responses),
    ] {
        for vendor in [Vendor::OpenAi, Vendor::Anthropic, Vendor::Gemini] {
            let before = cast.calls();
            cast.says(vendor, Said::Text(ANSWER), &Manner::Plainly);
            let miss = writer.streamed(&cast.streamed(writer, ask(writer, vendor, writer)).await);
            let hit = reader.streamed(&cast.streamed(reader, ask(reader, vendor, writer)).await);
            assert_eq!((miss.text.as_str(), hit.text.as_str()), (ANSWER, ANSWER), "{writer:?} {vendor:?}");
            assert_eq!((cast.calls(), miss.model), (before + 1, hit.model));
        }
    }
}

#[tokio::test]
async fn thoughts_are_kept_and_sealed_only_for_whom_they_were_sealed() {
    let vendor = Vendor::Anthropic;
    let cast = Cast::exact().await;
    cast.claude.always(anthropic::Reply::thinking("Let me see.", "seal", ANSWER));
    for writer in CLIENTS {
        cast.whole(writer, ask(writer, vendor, writer)).await;
        for reader in CLIENTS {
            let response = cast.streamed(reader, ask(reader, vendor, writer)).await;
            let read = reader.streamed(&response);
            let thoughts = if reader == Client::Native { "" } else { "Let me see." };
            assert_eq!(
                (response.source(), read.text.as_str(), read.thoughts.as_str()),
                ("exact", ANSWER, thoughts),
                "{writer:?} {reader:?}"
            );
            let is_sealed = response.text().contains("\"seal\"");
            assert_eq!(is_sealed, reader == Client::Anthropic, "{writer:?} {reader:?}: {}", response.text());
        }
    }
    assert_eq!(cast.calls(), CLIENTS.len());
}

#[tokio::test]
async fn a_stop_text_comes_back_to_whoever_has_a_word_for_it() {
    let vendor = Vendor::Anthropic;
    let limited = |client: Client| match client {
        Client::OpenAi => with(ask(client, vendor, Client::OpenAi), "stop", json!("END")),
        _ => with(ask(client, vendor, Client::OpenAi), "stop_sequences", json!(["END"])),
    };
    let cast = Cast::exact().await;
    cast.claude.always(anthropic::Reply::stopped_at("So far", "END"));
    assert_eq!(
        Client::OpenAi.whole(&cast.whole(Client::OpenAi, limited(Client::OpenAi)).await).finish,
        "stop"
    );
    for (client, finish) in [(Client::Anthropic, "stop_sequence END"), (Client::OpenAi, "stop")] {
        let response = cast.streamed(client, limited(client)).await;
        assert_eq!((response.source(), client.streamed(&response).finish.as_str()), ("exact", finish));
    }
    assert_eq!(cast.calls(), 1);
}

/// Returns the body that asks for what `writer` has asked for, in each of the three dialects that have tools.
fn with_tool(client: Client, model: &str, writer: Client) -> Value {
    let schema = json!({"type": "object"});
    let tools = match client {
        Client::OpenAi => json!([{"type": "function", "function": {"name": "look", "parameters": schema}}]),
        Client::Responses => json!([{"type": "function", "name": "look", "parameters": schema}]),
        Client::Anthropic | Client::Native => json!([{"name": "look", "input_schema": schema}]),
    };
    with(client.ask(model, &format!("{writer:?}: {PROMPT}")), "tools", tools)
}

#[tokio::test]
async fn calls_of_tools_cross_where_the_route_keeps_them_and_only_there() {
    let clients = [Client::OpenAi, Client::Responses, Client::Anthropic];
    let route = |vendor: Vendor| {
        let model = vendor.model();
        format!("[[routes]]\nmodel = \"{vendor:?}\"\nchain = [\"{model}\"]\ncache.store_tool_calls = true\n")
    };
    let cast = Cast::with(&format!("cache.mode = \"exact\"\n{}", VENDORS.map(route).concat())).await;
    for vendor in VENDORS {
        cast.says(vendor, Said::Call("look", r#"{"at":"the tree"}"#), &Manner::Plainly);
        let agent = format!("{vendor:?}");
        for writer in clients {
            let before = cast.calls();
            cast.whole(writer, with_tool(writer, &agent, writer)).await;
            for reader in clients {
                let response = cast.streamed(reader, with_tool(reader, &agent, writer)).await;
                assert_eq!(response.source(), "exact", "{vendor:?} {writer:?} {reader:?}");
                let read = reader.streamed(&response);
                assert_eq!(read.calls, [("look".to_owned(), json!({"at": "the tree"}))]);
                let whole = reader.whole(&cast.whole(reader, with_tool(reader, &agent, writer)).await);
                assert_eq!(read, whole, "{vendor:?} {writer:?} {reader:?}");
            }
            assert_eq!(cast.calls(), before + 1, "{vendor:?} {writer:?}");
            for times in [2, 3] {
                let response = cast.whole(writer, with_tool(writer, vendor.model(), writer)).await;
                assert_eq!(
                    (response.source(), cast.calls()),
                    ("upstream", before + times),
                    "{vendor:?} {writer:?}"
                );
            }
        }
    }
}

#[tokio::test]
async fn clients_of_all_dialects_share_one_answer_while_it_comes() {
    let cast = Cast::exact().await;
    for vendor in VENDORS {
        let gate = Gate::shut();
        cast.says(vendor, Said::Text(ANSWER), &Manner::Held(gate.clone()));
        let mut streams = Vec::new();
        for client in CLIENTS {
            // Who allows more than the one who asked first is not content with that answer.
            let body = match client {
                Client::OpenAi => with(ask(client, vendor, Client::OpenAi), "max_tokens", json!(1000)),
                Client::Responses => {
                    with(ask(client, vendor, Client::OpenAi), "max_output_tokens", json!(1000))
                }
                Client::Anthropic | Client::Native => ask(client, vendor, Client::OpenAi),
            };
            let mut stream = cast.stream(client, body).await;
            stream.read_until("strait").await;
            streams.push((client, stream));
        }
        gate.open();
        for (client, stream) in streams {
            assert_eq!(client.streamed(&stream.rest().await).text, ANSWER, "{vendor:?} {client:?}");
        }
        assert_eq!(cast.heard(vendor).len(), 1, "{vendor:?}");
    }
}
