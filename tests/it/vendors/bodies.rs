//! What may stand in the body of an answer: each test is a row of our table of faults, by its number.

use serde_json::{Value, json};

use super::cast::{Cast, Manner, Said, VENDORS, Vendor};
use super::client::{CLIENTS, Client};
use crate::support::app::{TestApp, chat, with};
use crate::support::reply::Reply;
use crate::support::response::Response;
use crate::support::{anthropic, gemini};

const PROMPT: &str = "What is a delta?";
const ANSWER: &str = "A delta is where a river ends, in many arms.";
const JSON: &str = "application/json";
const SSE: &str = "text/event-stream";

/// Has the first upstream of a chain answer this, and checks that it is called malformed and the next one asked.
async fn next_is_asked(reply: Reply) {
    let what: String = format!("{reply:?}").chars().take(400).collect();
    let chain =
        "cache.mode = \"exact\"\n[[routes]]\nmodel = \"both\"\nchain = [\"fake/parrot\", \"claude/c\"]";
    let cast = Cast::with(chain).await;
    cast.app.upstream.always(reply);
    cast.claude.always(anthropic::Reply::text(ANSWER));
    let response = cast.whole(Client::OpenAi, Client::OpenAi.ask("both", PROMPT)).await;
    assert_eq!(
        (response.status, response.header("x-provider")),
        (200, "claude"),
        "{what}: {}",
        response.text()
    );
    let attempts = response.header("x-upstream-attempts");
    assert!(
        attempts.starts_with("fake/parrot;malformed") && attempts.ends_with("claude/c;200"),
        "{attempts}: {what}"
    );
}

/// Has the upstream answer this, and returns the miss and the hit after it.
async fn twice(reply: Reply) -> [Response; 2] {
    let app = TestApp::exact().await;
    app.upstream.always(reply);
    [app.chat(chat(PROMPT)).await, app.chat(chat(PROMPT)).await]
}

fn whole(message: &Value) -> Value {
    json!({"id": "c", "object": "chat.completion", "created": 1, "model": "parrot",
           "choices": [{"index": 0, "message": message, "finish_reason": "stop"}]})
}

/// Returns a chunk with this piece of text, without what makes it an event.
fn chunk(text: &str, finish: Option<&str>) -> String {
    let choice = json!({"index": 0, "delta": {"content": text}, "finish_reason": finish});
    json!({"id": "c", "object": "chat.completion.chunk", "created": 1, "model": "parrot", "choices": [choice]})
        .to_string()
}

#[tokio::test]
async fn row_38_no_json() {
    let text = whole(&json!({"role": "assistant", "content": "é"})).to_string();
    let cut = &text.as_bytes()[..text.find('é').unwrap() + 1];
    next_is_asked(Reply::bytes(JSON, &text.as_bytes()[..40])).await;
    next_is_asked(Reply::bytes(JSON, [cut, b"\"}}]}"].concat())).await;
    next_is_asked(Reply::bytes(JSON, text.replace("\"created\":1", "\"created\":NaN"))).await;
    next_is_asked(Reply::bytes(SSE, "data: {\"id\": \n\n")).await;
    next_is_asked(Reply::bytes(SSE, b"data: {\"id\":\"\xff\"}\n\n".to_vec())).await;
}

#[tokio::test]
async fn row_39_a_login_page() {
    let page = "<!doctype html><html>Please log in</html>";
    for content_type in ["text/html", JSON, SSE] {
        next_is_asked(Reply::bytes(content_type, page)).await;
    }
}

#[tokio::test]
async fn row_40_the_wrong_content_type() {
    let body = whole(&json!({"role": "assistant", "content": ANSWER})).to_string();
    for content_type in ["text/plain", "application/octet-stream", "text/html; charset=utf-8"] {
        let [miss, hit] = twice(Reply::bytes(content_type, body.clone())).await;
        assert_eq!((miss.answer(), hit.source()), (ANSWER.to_owned(), "exact"), "{content_type}");
    }
}

#[tokio::test]
async fn row_41_nothing_at_all() {
    for body in ["", "{}", "null", "[]", "\"\"", "0"] {
        next_is_asked(Reply::bytes(JSON, body)).await;
    }
    next_is_asked(Reply::bytes(SSE, "")).await;
}

#[tokio::test]
async fn row_42_choices_that_are_none() {
    for choices in [json!([]), json!(null), json!([null]), json!([{"index": 0, "finish_reason": "stop"}])] {
        let body = with(whole(&json!({})), "choices", choices);
        next_is_asked(Reply::bytes(JSON, body.to_string())).await;
    }
    for message in [json!(null), json!({"role": "assistant", "content": null}), json!({"role": "assistant"})]
    {
        next_is_asked(Reply::bytes(JSON, whole(&message).to_string())).await;
    }
}

#[tokio::test]
async fn row_42_other_vendors_have_such_answers_too() {
    for body in [json!({"type": "message", "role": "assistant"}), json!({"type": "message", "content": []})] {
        let cast = Cast::exact().await;
        cast.claude.always(anthropic::Reply::bytes(JSON, body.to_string()));
        let response =
            cast.whole(Client::Anthropic, Client::Anthropic.ask(Vendor::Anthropic.model(), PROMPT)).await;
        assert_eq!(response.status, 502, "{body}: {}", response.text());
        assert!(response.header("x-upstream-attempts").contains(";malformed"));
    }
    for body in
        [json!({}), json!({"candidates": []}), json!({"candidates": [null]}), json!({"usageMetadata": {}})]
    {
        let cast = Cast::exact().await;
        cast.google.always(gemini::Reply::bytes(JSON, body.to_string()));
        let response = cast.whole(Client::OpenAi, Client::OpenAi.ask(Vendor::Gemini.model(), PROMPT)).await;
        assert_eq!(response.status, 502, "{body}: {}", response.text());
        assert!(response.header("x-upstream-attempts").contains(";malformed"));
    }
}

/// Checks that what every vendor says so is passed on to every client and never kept.
async fn passed_on_and_not_kept(said: Said) {
    let cast = Cast::exact().await;
    for vendor in VENDORS {
        cast.says(vendor, said, &Manner::Plainly);
        for client in CLIENTS {
            let body = client.ask(vendor.model(), PROMPT);
            let whole = cast.whole(client, body.clone()).await;
            let streamed = cast.streamed(client, body).await;
            for response in [&whole, &streamed] {
                assert_eq!(
                    (response.status, response.source()),
                    (200, "upstream"),
                    "{vendor:?} {client:?} {said:?}"
                );
            }
            assert!(!whole.header("cache-status").contains("stored"), "{vendor:?} {client:?} {said:?}");
        }
    }
    assert_eq!(cast.app.admin_get("/admin/stats").await.json()["memory"]["entries"], 0);
}

#[tokio::test]
async fn row_44_cut_at_the_limit() {
    passed_on_and_not_kept(Said::Cut("A delta is")).await;
}

#[tokio::test]
async fn row_45_refusals() {
    passed_on_and_not_kept(Said::Refused("I will not say.")).await;
    passed_on_and_not_kept(Said::Filtered("A delta")).await;
    passed_on_and_not_kept(Said::Text("I can't help with that.")).await;
}

#[tokio::test]
async fn row_46_tool_calls() {
    passed_on_and_not_kept(Said::Call("look", "{\"at\":1}")).await;
}

#[tokio::test]
async fn row_47_a_body_without_end() {
    next_is_asked(Reply::bytes(JSON, vec![b' '; (64 << 20) + 1])).await;
}

#[tokio::test]
async fn row_48_an_encoding_that_nobody_asked_for() {
    let body = whole(&json!({"role": "assistant", "content": ANSWER})).to_string();
    for encoding in ["br", "zstd", "surprise", "gzip"] {
        next_is_asked(Reply::bytes(JSON, body.clone()).header("content-encoding", encoding)).await;
    }
}

#[tokio::test]
async fn row_49_a_line_without_end() {
    let mut line = b"data: ".to_vec();
    line.resize(6 << 20, b'x');
    next_is_asked(Reply::bytes(SSE, line)).await;
}

#[tokio::test]
async fn row_50_after_the_end() {
    let (one, two) = (chunk("A ", None), chunk("delta.", Some("stop")));
    for after in [
        "data: [DONE]\n\n".to_owned(),
        format!("data: {}\n\n", chunk("More.", Some("length"))),
        "data: {\"error\": {\"message\": \"late\"}}\n\n".to_owned(),
        "data: nonsense\n\n".to_owned(),
    ] {
        let stream = format!("data: {one}\n\ndata: {two}\n\ndata: [DONE]\n\n{after}");
        let [miss, hit] = twice(Reply::bytes(SSE, stream)).await;
        for response in [&miss, &hit] {
            assert_eq!(response.answer(), "A delta.", "{after}");
            assert_eq!(response.json()["choices"][0]["finish_reason"], "stop", "{after}");
        }
        assert_eq!(hit.source(), "exact", "{after}");
    }
}

#[tokio::test]
async fn row_51_every_spelling_of_a_stream() {
    let (one, two) = (chunk("Grüße ", None), chunk("🦀.", Some("stop")));
    // Data of several lines is put together with line ends, which JSON allows between its tokens.
    let spread = one.replace(",\"created\"", ",\ndata: \"created\"");
    for stream in [
        format!("data: {one}\r\n\r\ndata: {two}\r\n\r\ndata: [DONE]\r\n\r\n"),
        format!("data: {one}\r\rdata: {two}\r\rdata: [DONE]\r\r"),
        format!("data:{one}\n\ndata:{two}\n\ndata:[DONE]\n\n"),
        format!("\u{feff}data: {one}\n\r\n: hm\rdata: {two}\n\ndata: [DONE]"),
        format!("event: message\nid: 1\ndata: {spread}\n\ndata: {two}\n\ndata: [DONE]\n\n"),
    ] {
        let [miss, hit] = twice(Reply::bytes(SSE, stream.clone())).await;
        assert_eq!((miss.answer().as_str(), hit.source()), ("Grüße 🦀.", "exact"), "{stream:?}");
    }
}

#[tokio::test]
async fn row_53_counts_that_are_none() {
    for usage in [
        json!({"prompt_tokens": -1, "completion_tokens": 2}),
        json!({"prompt_tokens": 1, "completion_tokens": 1_000_000_000_000_000_000_u64}),
        json!({"prompt_tokens": "1", "completion_tokens": 2}),
        json!({"prompt_tokens": 1.5, "completion_tokens": 2}),
        json!({}),
        json!(null),
    ] {
        let body = with(whole(&json!({"role": "assistant", "content": ANSWER})), "usage", usage.clone());
        let [miss, hit] = twice(Reply::bytes(JSON, body.to_string())).await;
        assert_eq!((miss.status, hit.source()), (200, "exact"), "{usage}: {}", miss.text());
        for response in [&miss, &hit] {
            assert_eq!(response.json()["usage"]["estimated"], true, "{usage}: {}", response.text());
        }
    }
}

#[tokio::test]
async fn row_54_a_token_of_a_megabyte_and_odd_characters() {
    let odd = "\u{0}\u{202e}rtl\u{202c} \u{1b}[31m \u{7f} \u{2028} 🦀 </script> \\u0000 ";
    // Other words each time: the same ones for a megabyte would be no answer.
    let other = |number: u64| format!("{odd}{:x}", number.wrapping_mul(0x9e37_79b9_7f4a_7c15));
    let text: String = (1..(1 << 20) / odd.len() as u64).map(other).collect();
    let stream = format!("data: {}\n\ndata: [DONE]\n\n", chunk(&text, Some("stop")));
    for writer in CLIENTS {
        let app = TestApp::exact().await;
        app.upstream.always(Reply::bytes(SSE, stream.clone()));
        let miss = app.post(writer.path(), &[], writer.ask_fake(PROMPT)).await;
        assert!(writer.whole(&miss).text == text, "{writer:?}");
        for reader in [Client::OpenAi, Client::Responses] {
            let hit = app.post(reader.path(), &[], reader.ask_fake(PROMPT)).await;
            assert!(
                (hit.source(), reader.whole(&hit).text) == ("exact", text.clone()),
                "{writer:?} {reader:?}"
            );
        }
    }
}

#[tokio::test]
async fn row_55_another_model_than_was_asked_for() {
    let body =
        with(whole(&json!({"role": "assistant", "content": ANSWER})), "model", json!("parrot-2026-01-01"));
    let [miss, hit] = twice(Reply::bytes(JSON, body.to_string())).await;
    for (response, source) in [(&miss, "upstream"), (&hit, "exact")] {
        assert_eq!((response.source(), response.header("x-model")), (source, "parrot-2026-01-01"));
        assert_eq!(response.json()["model"], "parrot-2026-01-01");
    }
}
