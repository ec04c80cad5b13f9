//! Answers of every vendor, as every client reads them, whole and in a stream.

use serde_json::{Value, json};

use super::cast::{Cast, Manner, Said, VENDORS, Vendor};
use super::client::{CLIENTS, Client, Read};
use crate::support::{anthropic, gemini};

const PROMPT: &str = "What is a delta?";
const ANSWER: &str = "A delta is where a river ends, in many arms.";

/// Asks twice, for a whole answer and for a stream, and returns what both say.
async fn asked(cast: &Cast, client: Client, body: Value) -> Read {
    let whole = client.whole(&cast.whole(client, body.clone()).await);
    let streamed = client.streamed(&cast.streamed(client, body).await);
    assert_eq!(whole, streamed, "{client:?}");
    whole
}

/// Returns how each client names an ending, in the order of [`CLIENTS`].
async fn endings(cast: &Cast, vendor: Vendor, said: Said) -> [String; 4] {
    cast.says(vendor, said, &Manner::Plainly);
    let mut endings = [const { String::new() }; 4];
    for (client, ending) in CLIENTS.into_iter().zip(&mut endings) {
        *ending = asked(cast, client, client.ask(vendor.model(), PROMPT)).await.finish;
    }
    endings
}

#[tokio::test]
async fn a_text_of_every_vendor_reaches_every_client() {
    let cast = Cast::uncached().await;
    for vendor in VENDORS {
        cast.says(vendor, Said::Text(ANSWER), &Manner::Plainly);
        for client in CLIENTS {
            let read = asked(&cast, client, client.ask(vendor.model(), PROMPT)).await;
            assert_eq!(read.text, ANSWER, "{vendor:?} {client:?}");
            let model = vendor.model().split_once('/').unwrap().1;
            assert_eq!(read.model, model, "{vendor:?} {client:?}");
        }
    }
}

#[tokio::test]
async fn every_ending_is_named_in_the_clients_own_word() {
    let cast = Cast::uncached().await;
    for vendor in VENDORS {
        assert_eq!(
            endings(&cast, vendor, Said::Text(ANSWER)).await,
            ["stop", "completed", "end_turn", "stop"],
            "{vendor:?}"
        );
        assert_eq!(
            endings(&cast, vendor, Said::Cut("A delta")).await,
            ["length", "incomplete max_output_tokens", "max_tokens", "length"],
            "{vendor:?}"
        );
        assert_eq!(
            endings(&cast, vendor, Said::Filtered("A delta")).await,
            ["content_filter", "incomplete content_filter", "refusal", "content_filter"],
            "{vendor:?}"
        );
        assert_eq!(
            endings(&cast, vendor, Said::Call("look", "{}")).await,
            ["tool_calls", "completed", "tool_use", "tool_calls"],
            "{vendor:?}"
        );
    }
}

#[tokio::test]
async fn words_of_refusal_are_told_where_the_client_looks_for_them() {
    let cast = Cast::uncached().await;
    for vendor in [Vendor::OpenAi, Vendor::AzureClassic, Vendor::AzureV1] {
        cast.says(vendor, Said::Refused("I will not."), &Manner::Plainly);
        for client in [Client::OpenAi, Client::Responses] {
            let read = asked(&cast, client, client.ask(vendor.model(), PROMPT)).await;
            assert_eq!((read.refusal.as_str(), read.text.as_str()), ("I will not.", ""), "{client:?}");
        }
        // Anthropic has no field for them, but a reason to end, where the vendor says that the model stopped by itself.
        let read = asked(&cast, Client::Anthropic, Client::Anthropic.ask(vendor.model(), PROMPT)).await;
        assert_eq!((read.text.as_str(), read.finish.as_str()), ("I will not.", "refusal"));
    }
}

#[tokio::test]
async fn a_stop_text_is_named_where_both_sides_have_a_word_for_it() {
    let cast = Cast::uncached().await;
    cast.claude.always(anthropic::Reply::stopped_at("So far", "END"));
    let mut endings = Vec::new();
    for client in CLIENTS {
        let read = asked(&cast, client, client.ask(Vendor::Anthropic.model(), PROMPT)).await;
        assert_eq!(read.text, "So far");
        endings.push(read.finish);
    }
    assert_eq!(endings, ["stop", "completed", "stop_sequence END", "stop"]);
}

#[tokio::test]
async fn calls_of_tools_reach_every_client_that_knows_them() {
    let cast = Cast::uncached().await;
    for vendor in VENDORS {
        cast.says(vendor, Said::Call("look", r#"{"at":"the tree","far":2}"#), &Manner::Plainly);
        for client in [Client::OpenAi, Client::Responses, Client::Anthropic] {
            let read = asked(&cast, client, client.ask(vendor.model(), PROMPT)).await;
            let call = ("look".to_owned(), json!({"at": "the tree", "far": 2}));
            assert_eq!(read.calls, [call], "{vendor:?} {client:?}");
        }
    }
}

#[tokio::test]
async fn thoughts_are_told_apart_from_what_was_said() {
    let cast = Cast::uncached().await;
    cast.claude.always(anthropic::Reply::thinking("Let me see.", "sealed", ANSWER));
    cast.google.always(gemini::Reply::thinking("Let me see.", "sealed", ANSWER));
    for vendor in [Vendor::Anthropic, Vendor::Gemini] {
        for client in CLIENTS {
            let body = client.ask(vendor.model(), PROMPT);
            let read = asked(&cast, client, body.clone()).await;
            let thoughts = if client == Client::Native { "" } else { "Let me see." };
            assert_eq!(
                (read.text.as_str(), read.thoughts.as_str()),
                (ANSWER, thoughts),
                "{vendor:?} {client:?}"
            );
            // Only Anthropic takes its own seal back.
            let raw = cast.whole(client, body).await.text();
            let is_sealed = client == Client::Anthropic && vendor == Vendor::Anthropic;
            assert_eq!(raw.contains("sealed"), is_sealed, "{vendor:?} {client:?}: {raw}");
        }
    }
}

#[tokio::test]
async fn tokens_are_counted_in_full_in_every_spelling() {
    let cast = Cast::uncached().await;
    let counted = crate::support::reply::Reply::text(ANSWER)
        .usage(100, 20)
        .detail("prompt_tokens_details", "cached_tokens", 60)
        .detail("completion_tokens_details", "reasoning_tokens", 5);
    for upstream in [&cast.app.upstream, &cast.classic, &cast.newer] {
        upstream.always(counted.clone());
    }
    cast.claude.always(anthropic::Reply::text(ANSWER).usage(100, 20).cached(60));
    cast.google.always(gemini::Reply::thinking("Hm.", "s", ANSWER).usage(100, 15));
    for vendor in VENDORS {
        // What a vendor does not tell is not made up: Anthropic's fake has no count of thoughts, Gemini's none of its cache.
        let (cached, reasoning) = match vendor {
            Vendor::OpenAi | Vendor::AzureClassic | Vendor::AzureV1 => (Some(60), Some(5)),
            Vendor::Anthropic => (Some(60), None),
            Vendor::Gemini => (None, Some(5)),
        };
        for client in CLIENTS {
            let usage = asked(&cast, client, client.ask(vendor.model(), PROMPT)).await.usage;
            let (input, output) = match client {
                Client::OpenAi | Client::Native => ("prompt_tokens", "completion_tokens"),
                Client::Responses | Client::Anthropic => ("input_tokens", "output_tokens"),
            };
            let details = |details: &str, count: &str| usage[details][count].as_u64();
            let (of_cache, of_thoughts) = match client {
                Client::OpenAi | Client::Native => (
                    details("prompt_tokens_details", "cached_tokens"),
                    details("completion_tokens_details", "reasoning_tokens"),
                ),
                // This dialect has no word for what was not counted.
                Client::Responses => (
                    details("input_tokens_details", "cached_tokens").filter(|count| *count > 0),
                    details("output_tokens_details", "reasoning_tokens").filter(|count| *count > 0),
                ),
                Client::Anthropic => (
                    usage["cache_read_input_tokens"].as_u64(),
                    details("output_tokens_details", "thinking_tokens"),
                ),
            };
            // Anthropic leaves out of its input what it had in its cache.
            let expected_input = if client == Client::Anthropic { 100 - cached.unwrap_or(0) } else { 100 };
            assert_eq!(
                (&usage[input], &usage[output]),
                (&json!(expected_input), &json!(20)),
                "{vendor:?} {client:?} {usage}"
            );
            assert_eq!((of_cache, of_thoughts), (cached, reasoning), "{vendor:?} {client:?} {usage}");
        }
    }
}

#[tokio::test]
async fn what_no_vendor_counted_is_estimated_in_every_dialect() {
    let cast = Cast::uncached().await;
    for vendor in VENDORS {
        cast.says(vendor, Said::Text(ANSWER), &Manner::Uncounted);
        for client in CLIENTS {
            let usage = asked(&cast, client, client.ask(vendor.model(), PROMPT)).await.usage;
            assert_eq!(usage["estimated"], true, "{vendor:?} {client:?} {usage}");
        }
    }
}
