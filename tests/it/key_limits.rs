//! Requests a minute by key, and what becomes of whoever shows wrong keys.

use serde_json::{Value, json};

use crate::keys::key;
use crate::support::app::{MODEL, TestApp, chat};
use crate::support::response::Response;

const SLOW: &str = "requests_per_minute = 3";

async fn limited(settings: &str) -> TestApp {
    let keys = [
        key("ann", "a", "\"generate\"", SLOW),
        key("amy", "a", "\"generate\"", ""),
        key("root", "a", "\"admin\", \"generate\"", ""),
    ];
    let mut app = TestApp::with(&format!("cache.mode = \"exact\"\n{settings}\n{}", keys.concat())).await;
    app.use_key("ann");
    app
}

fn refused(response: &Response) {
    assert_eq!(response.status, 429, "{}", response.text());
    let wait: u64 = response.header("retry-after").parse().unwrap();
    assert!((1..=20).contains(&wait), "a third of a minute at most: {wait}");
    assert_eq!(response.has_header("x-should-retry"), wait > 10);
    assert_eq!(response.header("ratelimit"), format!("\"requests\";r=0;t={wait}"));
}

#[tokio::test]
async fn beyond_its_limit_a_key_is_told_to_wait_and_others_are_not() {
    let mut app = limited("").await;
    for left in [2, 1, 0] {
        // A hit counts as well as a miss: it is requests that are limited.
        let response = app.generate("What is a fjord?").await;
        assert_eq!(response.status, 200);
        assert_eq!(response.header("ratelimit"), format!("\"requests\";r={left}"));
        assert_eq!(response.header("ratelimit-policy"), "\"requests\";q=3;w=60");
    }
    let response = app.generate("What is a fjord?").await;
    refused(&response);
    assert_eq!(response.error("code"), "rate_limit_exceeded");
    assert!(response.error("message").contains("3 requests a minute"));
    refused(&app.stream("/v1/chat/completions", chat("Q?")).await.rest().await);
    let asked = json!({"model": MODEL, "max_tokens": 9, "messages": [{"role": "user", "content": "Q?"}]});
    let anthropic = app.post("/v1/messages", &[], asked).await;
    refused(&anthropic);
    assert_eq!(anthropic.json()["error"]["type"], "rate_limit_error", "{}", anthropic.text());
    app.use_key("amy");
    let other = app.generate("What is a fjord?").await;
    assert_eq!((other.status, other.has_header("ratelimit")), (200, false));
    app.use_key("root");
    assert_eq!(app.metric("refrain_refused_total{reason=\"key_limit\"}").await, 3.0);
}

#[tokio::test]
async fn only_generations_and_calls_that_are_passed_on_count() {
    let app = limited("passthrough.provider = \"fake\"").await;
    let aside = async || {
        for _ in 0..4 {
            assert_eq!(app.get("/v1/models").await.status, 200);
            let counted = app.post("/v1/messages/count_tokens", &[], chat("one two")).await;
            assert_eq!((counted.status, counted.has_header("ratelimit")), (200, false));
            let feedback = json!({"request_id": "nobody", "verdict": "wrong"});
            assert_eq!(app.post("/v1/feedback", &[], feedback).await.status, 404);
        }
    };
    aside().await;
    app.upstream.lenient();
    assert_eq!(app.get("/v1/files").await.header("ratelimit"), "\"requests\";r=2");
    app.upstream.forgive();
    for _ in 0..2 {
        assert_eq!(app.generate("Q?").await.status, 200);
    }
    refused(&app.get("/v1/files").await);
    aside().await;
}

#[tokio::test]
async fn fault_67_who_shows_wrong_keys_over_and_over_is_told_to_stop_and_a_right_key_passes() {
    let mut app = limited("").await;
    app.use_key("wrong");
    let mut seen: Vec<u16> = Vec::new();
    for _ in 0..31 {
        seen.push(app.generate("Q?").await.status);
    }
    assert!(seen[..30].iter().all(|status| *status == 401) && seen[30] == 429, "{seen:?}");
    let told = app.get("/v1/models").await;
    assert_eq!((told.status, told.error("code").as_str()), (429, "rate_limit_exceeded"));
    assert!((1..=60).contains(&told.header("retry-after").parse::<u64>().unwrap()));
    assert!(told.error("message").contains("wrong API key"), "{}", told.text());
    let anthropic: Value = app.post("/v1/messages", &[], json!({})).await.json();
    assert_eq!(anthropic["error"]["type"], "rate_limit_error", "{anthropic}");

    app.use_no_key();
    assert_eq!(app.generate("Q?").await.status, 401, "no key is no guess");
    app.use_key("amy");
    assert_eq!(app.generate("Q?").await.status, 200, "nobody can lock others out");
    app.use_key("wrong");
    assert_eq!(app.admin_get("/admin/stats").await.status, 401, "each listener counts for itself");
    app.use_key("root");
    assert_eq!(app.metric("refrain_refused_total{reason=\"wrong_keys\"}").await, 3.0);
}
