//! Streams under way: the first piece at once, and what comes when one breaks, ends early or falls silent.

use std::time::{Duration, Instant};

use serde_json::json;

use super::cast::{Cast, Manner, Said, VENDORS, Vendor};
use super::client::{CLIENTS, Client};
use crate::support::reply::{Gate, Reply};
use crate::support::response::Response;
use crate::support::{anthropic, gemini};

const PROMPT: &str = "What is a delta?";
const ANSWER: &str = "A delta is where a river ends, in many arms.";
/// Enough of it to be sure that it came in pieces.
const HALF: &str = "A delta is ";

/// Asks for a stream, waits for its first words and lets the upstream go on.
async fn until_half(cast: &Cast, client: Client, vendor: Vendor, gate: &Gate) -> Response {
    let mut stream = cast.stream(client, client.ask(vendor.model(), PROMPT)).await;
    stream.read_until("delta").await;
    gate.open();
    stream.rest().await
}

/// Checks that nothing was kept: the next one is asked, and answers in full.
async fn not_kept(cast: &Cast, client: Client, vendor: Vendor) {
    cast.says(vendor, Said::Text(ANSWER), &Manner::Plainly);
    let again = cast.whole(client, client.ask(vendor.model(), PROMPT)).await;
    assert_eq!(
        (again.source(), client.whole(&again).text.as_str()),
        ("upstream", ANSWER),
        "{client:?} {vendor:?}"
    );
}

#[tokio::test]
async fn the_first_piece_reaches_every_client_while_its_vendor_still_works() {
    let cast = Cast::uncached().await;
    for vendor in VENDORS {
        for client in CLIENTS {
            let gate = Gate::shut();
            cast.says(vendor, Said::Text(ANSWER), &Manner::Held(gate.clone()));
            let whole = until_half(&cast, client, vendor, &gate).await;
            assert_eq!(client.streamed(&whole).text, ANSWER, "{client:?} {vendor:?}");
            assert_eq!(whole.header("x-upstream-attempts"), format!("{};200", vendor.model()));
        }
    }
}

#[tokio::test]
async fn a_stream_that_breaks_midway_ends_with_its_dialects_error_and_is_not_kept() {
    for vendor in VENDORS {
        for client in CLIENTS {
            for manner in [Manner::Cut, Manner::Early] {
                let cast = Cast::exact().await;
                let gate = Gate::shut();
                cast.says(vendor, Said::Text(ANSWER), &manner(gate.clone()));
                let broken = until_half(&cast, client, vendor, &gate).await;
                let (said, [kind, code, _]) = client.broken(&broken);
                assert!(said.starts_with(HALF) && said.len() < ANSWER.len(), "{client:?} {vendor:?}: {said}");
                let expected = match client {
                    Client::Anthropic => ("api_error", ""),
                    _ => ("server_error", "upstream_interrupted"),
                };
                assert_eq!((kind.as_str(), code.as_str()), expected, "{client:?} {vendor:?}");
                not_kept(&cast, client, vendor).await;
            }
        }
    }
}

#[tokio::test]
async fn an_error_that_a_vendor_says_midway_is_the_clients_in_its_dialect() {
    for client in CLIENTS {
        let secret = "org-1 has too much to do";
        let cast = Cast::exact().await;
        cast.app.upstream.always(Reply::text(ANSWER).failing_midway(secret));
        cast.claude.always(anthropic::Reply::text(ANSWER).failing_midway("overloaded_error", secret));
        cast.google.always(gemini::Reply::text(ANSWER).failing_midway(503, "UNAVAILABLE", secret));
        for vendor in [Vendor::OpenAi, Vendor::Anthropic, Vendor::Gemini] {
            let broken = cast.streamed(client, client.ask(vendor.model(), PROMPT)).await;
            let (said, [_, _, message]) = client.broken(&broken);
            assert!(said.starts_with(HALF), "{client:?} {vendor:?}: {said}");
            assert!(!message.contains("org-1"), "{client:?} {vendor:?}: {message}");
            not_kept(&cast, client, vendor).await;
        }
    }
}

/// Returns a chunk of Chat Completions with this piece of text.
fn chunk(text: &str, finish: Option<&str>) -> String {
    let choice =
        json!({"index": 0, "delta": {"role": "assistant", "content": text}, "finish_reason": finish});
    let chunk = json!({"id": "c", "object": "chat.completion.chunk", "created": 1, "model": "parrot", "choices": [choice]});
    format!("data: {chunk}\n\n")
}

#[tokio::test]
async fn text_before_an_error_in_the_same_packet_is_told_first() {
    for error in [
        // OpenRouter's, in a chunk that also has a choice.
        r#"data: {"id": "c", "object": "chat.completion.chunk", "error": {"code": 502, "message": "gone"}, "choices": [{"index": 0, "delta": {"content": ""}, "finish_reason": "error"}]}"#,
        // SGLang's and vLLM's.
        r#"data: {"error": {"object": "error", "message": "gone", "type": "InternalServerError", "code": 500}}"#,
        // llama.cpp's, which is no event.
        r#"error: {"code": 500, "message": "gone", "type": "server_error"}"#,
    ] {
        for client in CLIENTS {
            let cast = Cast::exact().await;
            let gate = Gate::shut();
            let packet = format!("{}{error}\n\n", chunk("a mouth.", None));
            let reply = Reply::text("A delta is").opening_with(chunk("A delta is ", None)).held_midway(&gate);
            cast.app.upstream.always(reply.ending_with(packet));
            // Once its head has come the answer has begun, and cannot be another's any more.
            let streamed = cast.stream(client, client.ask(Vendor::OpenAi.model(), PROMPT)).await;
            gate.open();
            let broken = streamed.rest().await;
            assert_eq!(client.broken(&broken).0, "A delta is a mouth.", "{client:?} {error}");
            not_kept(&cast, client, Vendor::OpenAi).await;
        }
    }
}

#[tokio::test]
async fn an_error_before_the_first_word_is_a_status() {
    for (error, status) in [
        (r#"data: {"error": {"code": 429, "message": "slow down"}}"#, 503),
        (r#"data: {"error": {"code": 502, "message": "gone"}}"#, 502),
        (r#"error: {"code": 400, "message": "the request exceeds the available context size"}"#, 400),
    ] {
        for client in CLIENTS {
            let cast = Cast::exact().await;
            let stream = format!(": PROCESSING\n\n{error}\n\n");
            cast.app.upstream.always(Reply::bytes("text/event-stream", stream));
            let response = cast.streamed(client, client.ask(Vendor::OpenAi.model(), PROMPT)).await;
            assert_eq!(response.status, status, "{client:?} {error}: {}", response.text());
            client.error(&response);
        }
    }
}

#[tokio::test]
async fn a_stream_that_ends_right_after_its_finish_reason_is_whole() {
    for client in CLIENTS {
        let cast = Cast::exact().await;
        // No usage, no `[DONE]`.
        let stream = format!("{}{}", chunk("A delta is ", None), chunk("wet.", Some("stop")));
        cast.app.upstream.always(Reply::bytes("text/event-stream", stream));
        let read = client.streamed(&cast.streamed(client, client.ask(Vendor::OpenAi.model(), PROMPT)).await);
        assert_eq!(
            (read.text.as_str(), &read.usage["estimated"]),
            ("A delta is wet.", &json!(true)),
            "{client:?}"
        );
        let hit = cast.whole(client, client.ask(Vendor::OpenAi.model(), PROMPT)).await;
        assert_eq!(hit.source(), "exact", "{client:?}");
    }
}

#[tokio::test]
async fn silence_after_the_finish_reason_is_borne_for_two_seconds() {
    let cast = Cast::exact().await;
    let never = Gate::shut();
    // All four wait at once.
    let finished = format!("{}{}", chunk("A delta is ", None), chunk("wet.", Some("stop")));
    cast.app.upstream.always(Reply::text("x").opening_with(finished).held_midway(&never));
    let began = Instant::now();
    let ask = async |client: Client| {
        let body = client.ask(Vendor::OpenAi.model(), &format!("{PROMPT} {client:?}"));
        let read = client.streamed(&cast.streamed(client, body.clone()).await);
        assert_eq!(read.text, "A delta is wet.", "{client:?}");
        assert_eq!(read.usage["estimated"], true, "{client:?} {}", read.usage);
        let hit = cast.whole(client, body).await;
        assert_eq!(hit.source(), "exact", "{client:?}");
    };
    tokio::join!(ask(CLIENTS[0]), ask(CLIENTS[1]), ask(CLIENTS[2]), ask(CLIENTS[3]));
    assert!(began.elapsed() >= Duration::from_secs(2), "{:?}", began.elapsed());
}

/// What each vendor says while it has nothing to say.
const COMMENT: &str = ": OPENROUTER PROCESSING\n\n";
const PING: &str = "event: ping\ndata: {\"type\": \"ping\"}\n\n";

#[tokio::test]
async fn comments_and_pings_are_no_first_token() {
    for client in CLIENTS {
        for (first, second) in [(Vendor::OpenAi, Vendor::Anthropic), (Vendor::Anthropic, Vendor::OpenAi)] {
            let chain = [first, second].map(Vendor::model);
            let settings = format!("cache.mode = \"off\"\n[[routes]]\nmodel = \"both\"\nchain = {chain:?}");
            let cast = Cast::with_each(&settings, "timeouts.first_token_ms = 300").await;
            if first == Vendor::OpenAi {
                cast.app.upstream.always(Reply::text("late").murmuring(COMMENT));
            } else {
                cast.claude.always(anthropic::Reply::text("late").murmuring(PING));
            }
            cast.says(second, Said::Text(ANSWER), &Manner::Plainly);
            let response = cast.streamed(client, client.ask("both", PROMPT)).await;
            assert_eq!(client.streamed(&response).text, ANSWER, "{client:?} {first:?}");
            let attempts = format!("{};timeout, {};200", chain[0], chain[1]);
            assert_eq!(response.header("x-upstream-attempts"), attempts, "{client:?}");
        }
    }
}

#[tokio::test]
async fn comments_and_pings_are_no_words_between_words() {
    let message = json!({"id": "m", "type": "message", "role": "assistant", "model": "c", "content": [],
                         "usage": {"input_tokens": 1, "output_tokens": 1}});
    let block = json!({"type": "text", "text": ""});
    let begun: String = [
        ("message_start", json!({"type": "message_start", "message": message})),
        ("content_block_start", json!({"type": "content_block_start", "index": 0, "content_block": block})),
        (
            "content_block_delta",
            json!({"type": "content_block_delta", "index": 0, "delta": {"type": "text_delta", "text": HALF}}),
        ),
    ]
    .map(|(name, data)| format!("event: {name}\ndata: {data}\n\n"))
    .concat();
    for client in CLIENTS {
        for vendor in [Vendor::OpenAi, Vendor::Anthropic] {
            let cast = Cast::with_each("cache.mode = \"exact\"", "timeouts.idle_ms = 300").await;
            cast.app.upstream.always(Reply::text("x").opening_with(chunk(HALF, None)).murmuring(COMMENT));
            cast.claude.always(anthropic::Reply::text("x").opening_with(begun.clone()).murmuring(PING));
            let broken = cast.streamed(client, client.ask(vendor.model(), PROMPT)).await;
            assert_eq!(client.broken(&broken).0, HALF, "{client:?} {vendor:?}");
            not_kept(&cast, client, vendor).await;
        }
    }
}
