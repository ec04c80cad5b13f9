//! The steps that need neither a model nor the cache: `extractive`, `truncated`, `static`.

use serde_json::{Value, json};

use super::{EXACT, PROMPT, broken, counted, with_ladder};
use crate::support::app::{TestApp, chat, with};
use crate::vendors::client::{CLIENTS, Client};

const TEXT: &str = "Glaciers shape mountain valleys over thousands of years. My uncle once bought a yellow hat. \
                    Moving glaciers carve valleys wider and deeper than rivers do. He wore it to three weddings. \
                    When glaciers melt, mountain valleys keep the shape that glaciers gave them.";

/// Starts a server whose upstream has broken down.
async fn fallen(ladder: &str, settings: &str) -> TestApp {
    let app = with_ladder(ladder, settings).await;
    app.upstream.always(broken());
    app
}

fn sentences(text: &str) -> Vec<&str> {
    text.split_inclusive(". ").map(str::trim).collect()
}

/// Checks that a summary has so many sentences, all of the text and in its order.
fn is_extract(summary: &str, count: usize) {
    let all = sentences(TEXT);
    let places: Vec<_> = sentences(summary).iter().map(|one| all.iter().position(|it| it == one)).collect();
    assert_eq!(places.len(), count, "{summary}");
    assert!(places.iter().all(Option::is_some) && places.is_sorted(), "{summary}");
}

#[tokio::test]
async fn a_summary_that_was_asked_for_is_made_of_the_texts_own_sentences() {
    let app = fallen("\"extractive\"", "degrade.extractive_sentences = 2").await;
    let prompt = format!("Summarise the following text:\n\n{TEXT}");
    let by_prompt = app.generate(&prompt).await;
    let by_task = app.generate_with(TEXT, &[("x-task", "summary")]).await;
    let by_body = app.post("/v1/generate", &[], json!({"prompt": TEXT, "task": "article-summary"})).await;
    for response in [&by_prompt, &by_task, &by_body] {
        assert_eq!((response.status, response.source()), (200, "extractive"), "{}", response.text());
        is_extract(&response.answer(), 2);
        assert!(!response.answer().contains("uncle"), "{}", response.answer());
        for (name, value) in [
            ("x-degraded", "all-upstreams-failed"),
            ("x-provider", "refrain"),
            ("x-model", "refrain/extractive"),
            ("x-cost-usd", "0"),
            ("cache-status", "refrain; fwd=miss; fwd-status=500; detail=extractive"),
        ] {
            assert_eq!(response.header(name), value, "{name}");
        }
        for absent in ["age", "x-cache-tier", "x-cache-entry", "x-cache-similarity"] {
            assert!(!response.has_header(absent), "{absent}");
        }
        let body = response.json();
        assert_eq!(
            (&body["source"], &body["degraded"]),
            (&json!("extractive"), &json!("all-upstreams-failed"))
        );
        assert_eq!(body["finish_reason"], "stop");
        assert!(body["cache"]["age_seconds"].is_null() && body["cache"]["tier"].is_null());
    }
    // Nobody asked for a summary of these.
    for prompt in [TEXT, PROMPT, &format!("Translate into French: {TEXT}")] {
        assert_eq!(app.generate(prompt).await.status, 502, "{prompt}");
    }
    assert_eq!(counted(&app, "extractive").await, 3.0);
}

#[tokio::test]
async fn without_an_embedder_words_are_compared() {
    let app = fallen("\"extractive\"", &format!("{EXACT}degrade.extractive_sentences = 2")).await;
    let summary = app.generate(&format!("Summarise this:\n{TEXT}")).await.answer();
    is_extract(&summary, 2);
    assert!(!summary.contains("uncle") && !summary.contains("weddings"), "{summary}");
}

#[tokio::test]
async fn every_dialect_is_told_whole_and_streamed() {
    let app = fallen("\"extractive\"", &format!("{EXACT}degrade.extractive_sentences = 1")).await;
    let prompt = format!("Summarize: {TEXT}");
    for client in CLIENTS {
        let ask = asked_by(client, &prompt);
        let whole = app.post(client.path(), &[], ask.clone()).await;
        let streamed = app.stream(client.path(), ask).await.rest().await;
        for (response, read) in [(&whole, client.whole(&whole)), (&streamed, client.streamed(&streamed))] {
            is_extract(&read.text, 1);
            assert_eq!(read.model, "refrain/extractive", "{client:?}");
            let finish = match client {
                Client::OpenAi | Client::Native => "stop",
                Client::Responses => "completed",
                Client::Anthropic => "end_turn",
            };
            assert_eq!(read.finish, finish, "{client:?}");
            assert_eq!(
                (response.source(), response.header("x-degraded")),
                ("extractive", "all-upstreams-failed")
            );
        }
    }
}

fn asked_by(client: Client, prompt: &str) -> Value {
    let ask = client.ask_fake(prompt);
    // The only one that must be asked to count its tokens in a stream.
    if client == Client::OpenAi { with(ask, "stream_options", json!({"include_usage": true})) } else { ask }
}

#[tokio::test]
async fn the_beginning_of_the_text_is_better_than_nothing() {
    let app = fallen("\"extractive\", \"truncated\"", &format!("{EXACT}degrade.truncate_chars = 20")).await;
    let cut = app.generate(&format!("Translate into French:\n\n{TEXT}")).await;
    assert_eq!((cut.source(), cut.answer().as_str()), ("truncated", "Glaciers shape…"));
    assert_eq!(cut.header("cache-status"), "refrain; fwd=miss; fwd-status=500; detail=truncated");
    let bare = app.generate(PROMPT).await;
    assert_eq!((bare.source(), bare.answer().as_str()), ("truncated", "What is an…"));
    let short = app.chat(chat("What is a fjord?")).await;
    assert_eq!(
        (short.answer().as_str(), &short.json()["model"]),
        ("What is a fjord?", &json!("refrain/truncated"))
    );
}

#[tokio::test]
async fn each_task_has_a_text_of_the_operators() {
    let texts = "degrade.static = { default = \"Later.\", triage = \"A person will look at it.\" }";
    let app = fallen("\"static\"", &format!("{EXACT}{texts}")).await;
    let triage = app.generate_with(PROMPT, &[("x-task", "triage")]).await;
    assert_eq!((triage.source(), triage.answer().as_str()), ("static", "A person will look at it."));
    assert_eq!(triage.header("x-model"), "refrain/static");
    assert_eq!(app.generate(PROMPT).await.answer(), "Later.");
    // The cache was left alone, and what is no part of it still answers.
    let aside = app.generate_with(PROMPT, &[("x-cache-mode", "off")]).await;
    assert_eq!((aside.source(), aside.answer().as_str()), ("static", "Later."));
    assert_eq!(aside.header("cache-status"), "refrain; fwd=bypass; fwd-status=500; detail=static");
    let mut two = app.chat(with(chat(PROMPT), "n", json!(2))).await.json();
    assert_eq!(two["choices"].as_array().unwrap().len(), 2);
    assert_eq!(two["choices"][1]["message"]["content"].take(), json!("Later."));
}

#[tokio::test]
async fn whoever_could_not_read_a_text_is_given_the_error() {
    let texts = "degrade.static = { default = \"Later.\", form = '{\"answer\": null}' }";
    let app = fallen("\"truncated\", \"static\"", &format!("{EXACT}{texts}")).await;
    let json = with(chat(PROMPT), "response_format", json!({"type": "json_object"}));
    assert_eq!(app.chat(json.clone()).await.status, 502);
    let form = app.chat_with(json, &[("x-task", "form")]).await;
    assert_eq!((form.source(), form.answer().as_str()), ("static", "{\"answer\": null}"));
    let tool = json!([{"type": "function", "function": {"name": "f"}}]);
    let called = with(with(chat(PROMPT), "tools", tool), "tool_choice", json!("required"));
    assert_eq!(app.chat(called).await.status, 502);
}
