//! Sampled checks of semantic hits: what they find, what they cost, and what follows from too many wrong ones.

mod judge;
mod left_out;
mod switch;

use serde_json::{Value, json};

use crate::support::app::{TestApp, chat};
use crate::support::eventually;
use crate::support::reply::{Gate, Reply, answer_to};

const STORED: &str = "How do I reset my password?";
const REWORDED: &str = "How can I reset my password?";
const ALL: &str = "cache.semantic.verify_sample_rate = 1\n";
/// Checks every hit, of which nearly any prompt is one, right or wrong.
const LOOSE: &str = "cache.semantic.verify_sample_rate = 1\ncache.semantic.similarity_threshold = 0.3\n\
                     cache.semantic.verifier_threshold = 0.000001\ncache.semantic.guards = []\n";

/// Stores the answer to a prompt, and waits until it can be found by similarity.
async fn store(app: &TestApp, prompt: &str) {
    assert_eq!(app.chat(chat(prompt)).await.source(), "upstream", "{prompt}");
    app.indexed(1).await;
}

/// Returns a prompt that is much like others with another number.
fn device(number: usize) -> String {
    format!("How do I reset my password on device {number}?")
}

/// Returns how often a check of a hit of this route had this outcome.
async fn outcomes(app: &TestApp, route: &str, outcome: &str) -> f64 {
    app.metric(&series(route, outcome)).await
}

/// Waits until a check of any name that is no route had this outcome so often.
async fn counted(app: &TestApp, outcome: &str, times: usize) {
    app.counted(&series("other", outcome), times as f64).await;
}

fn series(route: &str, outcome: &str) -> String {
    format!("refrain_semantic_checks_total{{route=\"{route}\",outcome=\"{outcome}\"}}")
}

/// Returns how a route's switch stands.
async fn route(app: &TestApp, name: &str) -> Value {
    let listed = app.admin_get("/admin/semantic").await.json();
    let routes = listed["routes"].as_array().unwrap();
    routes.iter().find(|route| route["model"] == name).unwrap_or_else(|| panic!("{listed}")).clone()
}

#[tokio::test]
async fn a_right_hit_is_found_to_be_the_same_and_its_fresh_answer_is_kept() {
    let app = TestApp::with(ALL).await;
    store(&app, STORED).await;
    let hit = app.chat(chat(REWORDED)).await;
    assert_eq!((hit.source(), hit.answer()), ("semantic", answer_to(STORED)));
    assert_eq!((hit.header("x-cost-usd"), hit.has_header("x-upstream-attempts")), ("0", false));
    counted(&app, "same", 1).await;
    assert_eq!(app.upstream.calls(), 2);
    let again = app.chat(chat(REWORDED)).await;
    assert_eq!((again.source(), again.answer()), ("exact", answer_to(REWORDED)));

    let found = json!({"checked": 1, "different": 0, "rate": 0.0, "exact_only": null});
    let is_found = |checks: &Value| {
        found.as_object().unwrap().iter().all(|(name, value)| checks[name] == *value)
            && checks["low"] == 0.0
            && checks["high"].as_f64().is_some_and(|high| (0.7..0.9).contains(&high))
    };
    let stats = app.admin_get("/admin/stats").await.json();
    assert!(is_found(&stats["checks"]["other"]), "{stats}");
    let ask = json!({"endpoint": "/v1/chat/completions", "headers": {}, "body": chat("How might I reset my password?")});
    let explained = app.admin_post("/admin/explain", ask).await.json();
    assert!(is_found(&explained["checks"]), "{explained}");
    assert_eq!((&explained["decision"], &explained["policy"]["reason"]), (&json!("serve"), &Value::Null));
    let other = route(&app, "other").await;
    assert!(other["enabled"] == true && other["since"].is_null() && is_found(&other["checks"]), "{other}");
    assert_eq!(app.metric("refrain_semantic_error_rate{route=\"other\"}").await, 0.0);
    assert_eq!(app.metric("refrain_semantic_enabled{route=\"other\"}").await, 1.0);
    assert_eq!(app.upstream.calls(), 2, "who looks asks nobody");
}

#[tokio::test]
async fn a_wrong_hit_is_found_to_be_different() {
    let app = TestApp::with(LOOSE).await;
    app.upstream.on_prompt(
        STORED,
        Reply::text(
            "Open the settings, choose Security, and have a link sent to your mailbox to set a new one.",
        ),
    );
    let sink = "Clear the drain of the sink with a plunger or a snake, then flush the pipe with plenty of hot water.";
    let asked = "How do I reset my router password?";
    app.upstream.on_prompt(asked, Reply::text(sink));
    store(&app, STORED).await;
    let hit = app.chat(chat(asked)).await;
    assert_eq!(hit.source(), "semantic");
    counted(&app, "different", 1).await;
    assert_eq!(outcomes(&app, "other", "same").await, 0.0);
    assert_eq!(app.metric("refrain_semantic_error_rate{route=\"other\"}").await, 1.0);
    assert_eq!(app.chat(chat(asked)).await.answer(), sink, "the right answer is kept for who asks again");
    // One says little.
    assert_eq!(route(&app, "other").await["enabled"], true);
}

#[tokio::test]
async fn who_asks_the_same_meanwhile_joins_the_check() {
    let app = TestApp::with(ALL).await;
    store(&app, STORED).await;
    let gate = Gate::shut();
    app.upstream
        .on_prompt(REWORDED, Reply::text("Ask the help desk to reset it for you, please.").held(&gate));
    assert_eq!(app.chat(chat(REWORDED)).await.source(), "semantic");
    app.upstream.called(2).await;
    let exact = [("x-cache-mode", "exact")];
    let body = chat(REWORDED);
    let joined = app.chat_with(body, &exact);
    let opened = async {
        eventually("a follower", async || {
            (app.metric("refrain_flights").await == 1.0 && app.upstream.calls() == 2).then_some(())
        })
        .await;
        gate.open();
    };
    let (joined, ()) = tokio::join!(joined, opened);
    assert!(joined.answer().starts_with("Ask the help desk"), "{}", joined.text());
    eventually("the end of the check", async || {
        let found = outcomes(&app, "other", "same").await + outcomes(&app, "other", "different").await;
        (found == 1.0).then_some(())
    })
    .await;
    assert_eq!(app.upstream.calls(), 2, "nothing is paid twice");
}

#[tokio::test]
async fn a_check_that_gets_no_answer_has_failed_and_is_nobodys_error() {
    let app = TestApp::with(&format!("{ALL}retry.attempts_per_upstream = 1\n")).await;
    store(&app, STORED).await;
    app.upstream.on_prompt(REWORDED, Reply::error(500, "broken", None, None));
    let hit = app.chat(chat(REWORDED)).await;
    assert_eq!((hit.status, hit.source()), (200, "semantic"));
    counted(&app, "failed", 1).await;
    assert_eq!(route(&app, "other").await["checks"], Value::Null);
    assert!(!app.admin_get("/metrics").await.text().contains("refrain_semantic_error_rate{"));
}

#[tokio::test]
async fn the_end_waits_for_no_check_beyond_the_drain() {
    let mut app = TestApp::with(&format!("{ALL}server.drain_timeout_ms = 100\n")).await;
    store(&app, STORED).await;
    let gate = Gate::shut();
    app.upstream.on_prompt(REWORDED, Reply::text("never").held(&gate));
    assert_eq!(app.chat(chat(REWORDED)).await.source(), "semantic");
    app.upstream.called(2).await;
    app.stop().await;
}
