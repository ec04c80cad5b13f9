//! What an answer is worth, as callers and operators are told it, and what is not kept for being worth too little.

use std::time::{Duration, Instant};

use refrain::chat::{ChatRequest, ChatResponse, Choice, FinishReason, Part};
use refrain::config::QualityWeights;
use refrain::quality::{defect, is_endless, score};
use serde_json::{Value, json};

use crate::support::app::{TestApp, chat, with};
use crate::support::reply::Reply;
use crate::support::response::Response;

const PROMPT: &str = "Tell me about fjords.";
/// Well said, but for a code block that nothing closes.
const FLAWED: &str =
    "A fjord is a drowned valley. Its depth can be computed:\n\n```python\ndepth = rim - floor\n";

/// Returns what a whole answer in our own format says.
fn quality(response: &Response) -> Value {
    response.json()["quality"].clone()
}

/// Returns the same of the summary of a stream.
fn quality_of_stream(response: &Response) -> Value {
    let events = response.events();
    let summary = events.iter().find_map(|event| {
        let event: Value = serde_json::from_str(event).ok()?;
        event.get("summary").cloned()
    });
    summary.unwrap()["quality"].clone()
}

/// Says one thing so often that nobody wants to hear it, and not so often that it never ends.
fn going_round() -> Reply {
    Reply::text(&"A fjord is a fjord. ".repeat(30))
}

async fn observed(app: &TestApp, of: &str) -> f64 {
    app.metric(&format!("refrain_answer_quality_{of}")).await
}

#[tokio::test]
async fn the_score_stands_in_the_body_in_the_summary_of_a_stream_and_in_the_metric() {
    let app = TestApp::exact().await;
    assert_eq!(quality(&app.generate(PROMPT).await), json!(1.0));
    app.upstream.always(Reply::text(FLAWED));
    let whole = quality(&app.generate("Explain fjords.").await);
    let score = whole.as_f64().unwrap();
    assert!(score > 0.3 && score < 0.95, "{score}");
    assert_eq!(score, (score * 100.0).round() / 100.0, "two digits");
    let streamed = app.stream("/v1/generate", json!({"prompt": "Explain a fjord."})).await.rest().await;
    assert_eq!(quality_of_stream(&streamed), whole);
    // In the vendors' formats it is counted as well, and a hit is not.
    app.chat(chat("What is a fjord?")).await;
    app.generate("Explain fjords.").await;
    assert_eq!(observed(&app, "count").await, 4.0);
    assert_eq!(observed(&app, "bucket{le=\"0.95\"}").await, 3.0);
    assert!((observed(&app, "sum").await - (1.0 + 3.0 * score)).abs() < 0.02);
}

#[tokio::test]
async fn a_hit_shows_what_its_answer_was_worth_when_it_was_stored() {
    let mut app = TestApp::exact().await;
    app.upstream.always(Reply::text(FLAWED));
    let stored = quality(&app.generate(PROMPT).await);
    assert_ne!(stored, json!(1.0));
    let ask = json!({ "prompt": PROMPT });
    assert_eq!(quality(&app.generate(PROMPT).await), stored);
    assert_eq!(quality_of_stream(&app.stream("/v1/generate", ask.clone()).await.rest().await), stored);
    // Weighed like this it would be worth 1 now.
    app.configure("cache.mode = \"exact\"\nquality.weights.integrity = 0.0");
    app.restart().await;
    let hit = app.generate(PROMPT).await;
    assert_eq!((hit.served_by(), quality(&hit)), ("exact store".to_owned(), stored));
    let fresh = app.generate_with(PROMPT, &[("cache-control", "no-cache")]).await;
    assert_eq!((fresh.source(), quality(&fresh)), ("upstream", json!(1.0)));
    assert_eq!(quality(&app.generate(PROMPT).await), json!(1.0));
}

#[tokio::test]
async fn an_answer_below_the_line_is_served_and_not_stored() {
    let app = TestApp::exact().await;
    app.upstream.always(going_round());
    for calls in [1, 2] {
        let response = app.generate(PROMPT).await;
        assert_eq!((response.status, response.source()), (200, "upstream"));
        assert!(response.answer().starts_with("A fjord is a fjord. A fjord"));
        assert!(quality(&response).as_f64().unwrap() < 0.3, "{}", quality(&response));
        assert!(!response.header("cache-status").contains("stored"));
        assert_eq!(app.upstream.calls(), calls);
    }
    let streamed = app.stream("/v1/generate", json!({ "prompt": PROMPT })).await.rest().await;
    assert!(quality_of_stream(&streamed).as_f64().unwrap() < 0.3);
    assert_eq!(app.metric("refrain_cache_write_skipped_total{reason=\"quality\"}").await, 3.0);
    let stats = app.admin_get("/admin/stats").await.json();
    assert_eq!((&stats["store"]["entries"], &stats["memory"]["entries"]), (&json!(0), &json!(0)));
}

#[tokio::test]
async fn the_line_and_the_weights_are_the_operators() {
    for settings in ["quality.store_threshold = 0.0", "quality.weights.repetition = 0.0"] {
        let app = TestApp::with(&format!("cache.mode = \"exact\"\n{settings}")).await;
        app.upstream.always(going_round());
        assert_eq!(app.generate(PROMPT).await.source(), "upstream", "{settings}");
        assert_eq!(app.generate(PROMPT).await.source(), "exact", "{settings}");
    }
    let strict = TestApp::with("cache.mode = \"exact\"\nquality.store_threshold = 0.9").await;
    strict.upstream.always(Reply::text(FLAWED));
    assert_eq!(strict.generate(PROMPT).await.source(), "upstream");
    assert_eq!(strict.generate(PROMPT).await.source(), "upstream");
}

#[tokio::test]
async fn json_that_breaks_its_schema_is_served_and_not_stored() {
    let app = TestApp::exact().await;
    let schema = json!({
        "type": "object",
        "properties": {"name": {"type": "string"}, "depth": {"type": "number"}},
        "required": ["name", "depth"],
        "additionalProperties": false,
    });
    let format =
        json!({"type": "json_schema", "json_schema": {"name": "fjord", "strict": true, "schema": schema}});
    let body = with(chat(PROMPT), "response_format", format);
    for bad in ["{\"name\": \"Sogn\"}", "{\"name\": \"Sogn\", \"depth\": \"1308\"}", "Sogn, 1308 m"] {
        app.upstream.always(Reply::text(bad));
        let response = app.chat(body.clone()).await;
        assert_eq!((response.status, response.source()), (200, "upstream"), "{bad}");
        assert_eq!(response.answer(), bad);
        assert!(!response.header("cache-status").contains("stored"), "{bad}");
    }
    assert_eq!(app.metric("refrain_cache_write_skipped_total{reason=\"invalid_json\"}").await, 3.0);
    app.upstream.always(Reply::text("{\"name\": \"Sogn\", \"depth\": 1308}"));
    assert_eq!(app.chat(body.clone()).await.source(), "upstream");
    assert_eq!(app.chat(body).await.source(), "exact");
}

#[test]
fn a_long_answer_takes_no_longer_than_its_length() {
    let request =
        ChatRequest::from_prompt("Tell me everything there is to know about every single fjord of Norway.");
    let time = |bytes: usize| {
        let line = |number: usize| {
            format!("Fjord {number} is {} m deep, and its name is {:x}.\n", number % 1_311, number * 7_919)
        };
        let text: String = (0..bytes / 40).map(line).collect();
        let content = vec![Part::Text(text.clone())];
        let choice = Choice { content, finish: Some(FinishReason::Stop), ..Choice::default() };
        let answer = ChatResponse { choices: vec![choice], ..ChatResponse::default() };
        let once = || {
            let began = Instant::now();
            assert_eq!(defect(&request, &answer), None);
            assert!(score(&request, &answer, &QualityWeights::default()) > 0.5 && !is_endless(&text));
            began.elapsed()
        };
        (0..3).map(|_| once()).min().unwrap().max(Duration::from_millis(1))
    };
    let (some, more) = (time(500_000), time(5_000_000));
    // Ten times the text may take ten times as long, and a busy machine some times that; its square is a hundred.
    assert!(more < some * 50, "{more:?} after {some:?}");
}
