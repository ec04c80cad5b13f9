//! When the ladder may answer, whichever its steps are.

use serde_json::json;

use super::{EXACT, PROMPT, STEADY, broken, counted, expired, status_without_ttl, with_ladder};
use crate::support::app::{MODEL, TestApp, chat, with};
use crate::support::eventually;
use crate::support::reply::{Reply, answer_to};

const STATIC: &str = "degrade.static = { default = \"Please come back later.\" }\n";

#[tokio::test]
async fn what_the_caller_says_of_the_cache_holds_for_the_ladder() {
    let app = TestApp::with(&format!("{STEADY}{EXACT}")).await;
    expired(&app, PROMPT).await;
    app.upstream.always(broken());
    for (header, status) in [
        (("cache-control", "only-if-cached"), 504),
        (("cache-control", "no-cache, no-store"), 502),
        (("x-cache-mode", "off"), 502),
        (("cache-control", "max-age=0"), 502),
        (("x-cache-namespace", "other"), 502),
    ] {
        let response = app.generate_with(PROMPT, &[header]).await;
        assert_eq!(response.status, status, "{header:?}");
        assert!(!response.has_header("x-degraded"), "{header:?}");
    }
    for header in [("cache-control", "no-store"), ("cache-control", "max-age=600"), ("x-cache-mode", "exact")]
    {
        assert_eq!(app.generate_with(PROMPT, &[header]).await.source(), "stale", "{header:?}");
    }
}

#[tokio::test]
async fn whoever_asked_for_a_fresh_answer_is_given_the_last_one_after_all() {
    let app = TestApp::with(&format!("{STEADY}{EXACT}")).await;
    app.generate(PROMPT).await;
    app.upstream.always(broken());
    let last = app.generate_with(PROMPT, &[("cache-control", "no-cache")]).await;
    assert_eq!((last.served_by().as_str(), last.answer()), ("stale memory", answer_to(PROMPT)));
    let (ttl, status) = status_without_ttl(&last);
    assert!(ttl > 86_000, "it is fresh: {ttl}");
    assert_eq!(status, "refrain; fwd=request; fwd-status=500; ttl=-; detail=stale-if-error");
    assert_eq!(last.header("x-degraded"), "all-upstreams-failed");
}

#[tokio::test]
async fn the_callers_own_mistake_is_told_and_not_hidden() {
    let app = with_ladder("\"stale\", \"static\"", &format!("{EXACT}{STATIC}")).await;
    let flagged = Reply::error(400, "Your input was flagged.", None, Some("content_policy_violation"));
    let long = Reply::error(400, "too long", Some("messages"), Some("context_length_exceeded"));
    for (reply, status) in [
        (Reply::error(400, "bad", None, None), 400),
        (flagged, 400),
        (long, 400),
        (Reply::error(404, "no such model", None, Some("model_not_found")), 404),
    ] {
        app.upstream.always(reply);
        for _ in 0..2 {
            let response = app.chat(chat(PROMPT)).await;
            assert_eq!((response.status, response.has_header("x-degraded")), (status, false));
        }
    }
    assert_eq!(counted(&app, "static").await, 0.0);
}

#[tokio::test]
async fn the_steps_are_taken_in_the_order_of_their_route_and_the_first_that_has_something_answers() {
    let routes = format!(
        "{STATIC}[[routes]]\nmodel = \"texts\"\nchain = [\"{MODEL}\"]\ndegrade.ladder = [\"static\", \"stale\"]\n\
         [[routes]]\nmodel = \"errors\"\nchain = [\"{MODEL}\"]\ndegrade.ladder = []\n"
    );
    let app = with_ladder("\"stale\", \"static\"", &format!("{EXACT}{routes}")).await;
    let of = |model: &str| with(chat(PROMPT), "model", json!(model));
    let models = ["texts", "errors", MODEL];
    for model in models {
        app.chat_with(of(model), &[("x-cache-ttl", "1")]).await;
    }
    app.upstream.always(broken());
    eventually("the end of the entries", async || (app.chat(of("errors")).await.status == 502).then_some(()))
        .await;
    eventually("a stale answer", async || (app.chat(of(MODEL)).await.source() == "stale").then_some(()))
        .await;
    let text = app.chat(of("texts")).await;
    assert_eq!((text.source(), text.answer().as_str()), ("static", "Please come back later."));
    let fresh = app.chat(with(chat("What is a spit?"), "model", json!(MODEL))).await;
    assert_eq!((fresh.source(), fresh.answer().as_str()), ("static", "Please come back later."));
}

#[tokio::test]
async fn a_degraded_answer_is_never_stored() {
    let app = with_ladder("\"truncated\"", EXACT).await;
    app.upstream.on_prompt(PROMPT, broken());
    for _ in 0..2 {
        assert_eq!(app.generate(PROMPT).await.source(), "truncated");
    }
    let stats = app.admin_get("/admin/stats").await.json();
    assert_eq!((&stats["memory"]["entries"], &stats["store"]["entries"]), (&json!(0), &json!(0)));
    app.upstream.on_prompt(PROMPT, Reply::text("a real answer"));
    assert_eq!(app.generate(PROMPT).await.answer(), "a real answer");
    assert_eq!(app.generate(PROMPT).await.source(), "exact");
}

#[tokio::test]
async fn a_stream_that_fails_before_its_first_word_degrades_and_one_that_fails_after_it_does_not() {
    let app = with_ladder("\"static\"", &format!("{EXACT}{STATIC}")).await;
    let path = "/v1/generate";
    app.upstream.always(Reply::text("one two three four five six").cut_midway());
    let cut = app.stream(path, json!({ "prompt": PROMPT })).await.rest().await;
    assert_eq!((cut.source(), cut.has_header("x-degraded")), ("upstream", false));
    assert!(!cut.text().contains("come back later"), "{}", cut.text());
    app.upstream.always(Reply::bytes("text/event-stream", "data: nonsense\n\n"));
    let fallen = app.stream(path, json!({ "prompt": PROMPT })).await.rest().await;
    assert_eq!((fallen.source(), fallen.answer().as_str()), ("static", "Please come back later."));
}
