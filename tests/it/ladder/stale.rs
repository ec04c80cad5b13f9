//! The step `stale`: the expired answer to an equal request.

use serde_json::json;
use sha2::{Digest, Sha256};

use super::{EXACT, PROMPT, STEADY, broken, counted, expired, status_without_ttl, with_ladder};
use crate::support::app::{TestApp, chat};
use crate::support::eventually;
use crate::support::reply::{Gate, Reply, answer_to};

const CHAT: &str = "/v1/chat/completions";

/// The default ladder.
async fn steady() -> TestApp {
    TestApp::with(&format!("{STEADY}{EXACT}")).await
}

#[tokio::test]
async fn an_expired_answer_is_given_where_every_upstream_fails_and_says_what_it_is() {
    let app = steady().await;
    expired(&app, PROMPT).await;
    app.upstream.always(broken());
    let stale = app.generate(PROMPT).await;
    assert_eq!((stale.status, stale.answer()), (200, answer_to(PROMPT)));
    assert_eq!(stale.served_by(), "stale memory");
    let (ttl, status) = status_without_ttl(&stale);
    assert!((-60..=0).contains(&ttl), "{ttl}");
    assert_eq!(status, "refrain; fwd=stale; fwd-status=500; ttl=-; detail=stale-if-error");
    for (name, value) in [
        ("x-degraded", "all-upstreams-failed"),
        ("x-provider", "fake"),
        ("x-model", "parrot"),
        ("x-upstream-attempts", "fake/parrot;500"),
        ("x-cost-usd", "0"),
        ("x-cache-entry", stale.header("x-cache-key")),
    ] {
        assert_eq!(stale.header(name), value, "{name}");
    }
    assert!(stale.header("age").parse::<u64>().unwrap() >= 1);
    assert!(stale.header("server-timing").contains("upstream;dur="), "{}", stale.header("server-timing"));
    let body = stale.json();
    assert_eq!((&body["source"], &body["degraded"]), (&json!("stale"), &json!("all-upstreams-failed")));
    assert_eq!((&body["model"], &body["provider"]), (&json!("parrot"), &json!("fake")));
    assert_eq!(body["cache"]["tier"], "memory");
    assert_eq!(body["cache"]["ttl_seconds"], ttl);
    assert_eq!(body["cost_usd"], 0.0);

    assert_eq!(counted(&app, "stale").await, 1.0);
    assert_eq!(app.metric("refrain_request_duration_seconds_count{source=\"stale\"}").await, 1.0);
    let requests = "refrain_requests_total{route=\"other\",dialect=\"native\",source=\"stale\"}";
    assert_eq!(app.metric(requests).await, 1.0);
}

#[tokio::test]
async fn whatever_the_upstream_does_wrong_a_stale_answer_is_better_than_an_error() {
    let app = steady().await;
    expired(&app, PROMPT).await;
    for (reply, status) in [
        (
            Reply::error(503, "no room", None, None),
            "refrain; fwd=stale; fwd-status=503; ttl=-; detail=stale-if-error",
        ),
        (Reply::bytes("text/html", "<html></html>"), "refrain; fwd=stale; ttl=-; detail=stale-if-error"),
        (
            Reply::error(429, "later", None, None),
            "refrain; fwd=stale; fwd-status=429; ttl=-; detail=stale-if-error",
        ),
    ] {
        app.upstream.always(reply);
        let stale = app.generate(PROMPT).await;
        assert_eq!((stale.status, stale.source(), stale.answer()), (200, "stale", answer_to(PROMPT)));
        assert_eq!(stale.header("x-degraded"), "all-upstreams-failed");
        assert_eq!(status_without_ttl(&stale).1, status);
    }
}

#[tokio::test]
async fn a_stale_answer_is_replayed_as_a_stream_and_a_vendors_body_names_the_step() {
    let app = steady().await;
    app.chat_with(chat(PROMPT), &[("x-cache-ttl", "1")]).await;
    app.upstream.always(broken());
    let streamed = eventually("the end of the entry", async || {
        let streamed = app.stream(CHAT, chat(PROMPT)).await.rest().await;
        (streamed.source() == "stale").then_some(streamed)
    })
    .await;
    assert_eq!(
        (streamed.answer(), streamed.header("x-degraded")),
        (answer_to(PROMPT), "all-upstreams-failed")
    );
    assert!(streamed.text().ends_with("data: [DONE]\n\n"));
    assert!(streamed.text().contains("\"model\":\"refrain/stale\""), "{}", streamed.text());
    assert_eq!((streamed.header("x-provider"), streamed.header("x-model")), ("fake", "parrot"));
    let whole = app.chat(chat(PROMPT)).await.json();
    assert_eq!(whole["model"], "refrain/stale");
    assert_eq!(whole["usage"]["total_tokens"], 21);
    let native = app.stream("/v1/generate", json!({ "prompt": PROMPT })).await.rest().await;
    let summary = native.events().into_iter().rev().nth(1).unwrap();
    assert!(summary.contains("\"degraded\":\"all-upstreams-failed\""), "{summary}");
}

#[tokio::test]
async fn after_a_restart_without_providers_it_comes_from_the_store_and_nobody_was_asked() {
    let mut app = steady().await;
    expired(&app, PROMPT).await;
    app.restart_without_provider().await;
    // A look-up that reads the store takes what it finds into memory, whether or not it may answer then.
    let unread = app.generate_with(PROMPT, &[("cache-control", "no-cache")]).await;
    let read = app.generate(PROMPT).await;
    for (stale, tier) in [(&unread, "store"), (&read, "memory")] {
        assert_eq!((stale.served_by(), stale.answer()), (format!("stale {tier}"), answer_to(PROMPT)));
        assert_eq!(stale.header("x-degraded"), "no-provider");
        assert_eq!(status_without_ttl(stale).1, "refrain; hit; ttl=-");
        assert!(!stale.has_header("x-upstream-attempts"));
    }
    let unknown = app.generate("What is a strait?").await;
    assert_eq!((unknown.status, unknown.error("code").as_str()), (503, "no_provider"));
}

#[tokio::test]
async fn whoever_could_not_be_asked_has_not_failed() {
    // The model stands in a list, so that its upstream's refusal of our key is our business.
    let settings = format!("{STEADY}{EXACT}[[providers]]\nmodels = [\"parrot\"]");
    for reply in [
        Reply::error(429, "later", None, None).header("retry-after", "600"),
        Reply::error(401, "words about our key", None, None),
    ] {
        let app = TestApp::with(&settings).await;
        expired(&app, PROMPT).await;
        app.upstream.always(reply);
        assert_eq!(app.generate(PROMPT).await.header("x-degraded"), "all-upstreams-failed");
        let calls = app.upstream.calls();
        let stale = app.generate(PROMPT).await;
        assert_eq!((stale.source(), stale.header("x-degraded")), ("stale", "upstreams-unavailable"));
        assert_eq!(status_without_ttl(&stale).1, "refrain; hit; ttl=-");
        assert!(!stale.has_header("x-upstream-attempts"));
        assert_eq!(app.upstream.calls(), calls);
    }
}

#[tokio::test]
async fn whoever_waits_no_longer_is_given_it_and_the_late_answer_is_kept() {
    let app = steady().await;
    expired(&app, PROMPT).await;
    let gate = Gate::shut();
    app.upstream.always(Reply::text("late, but new").held(&gate));
    let hasty = [("x-deadline-ms", "50")];
    let whole = app.generate_with(PROMPT, &hasty).await;
    let streamed = app.stream_with("/v1/generate", json!({ "prompt": PROMPT }), &hasty).await.rest().await;
    for response in [&whole, &streamed] {
        assert_eq!(
            (response.status, response.source(), response.answer()),
            (200, "stale", answer_to(PROMPT))
        );
        assert_eq!(response.header("x-degraded"), "deadline");
        assert_eq!(status_without_ttl(response).1, "refrain; fwd=stale; ttl=-; detail=stale-if-error");
    }
    gate.open();
    eventually("the late answer", async || {
        (app.generate(PROMPT).await.answer() == "late, but new").then_some(())
    })
    .await;
    assert_eq!(app.upstream.calls(), 2);
}

#[tokio::test]
async fn it_is_kept_no_longer_than_configured() {
    let app = with_ladder("\"stale\"", &format!("{EXACT}cache.stale_if_error_seconds = 1")).await;
    app.generate_with(PROMPT, &[("x-cache-ttl", "1")]).await;
    app.upstream.always(broken());
    eventually("a stale answer", async || (app.generate(PROMPT).await.source() == "stale").then_some(()))
        .await;
    eventually("the end of it", async || (app.generate(PROMPT).await.status == 502).then_some(())).await;
}

#[tokio::test]
async fn it_stays_with_its_tenant() {
    let key = |name: &str| {
        let sha256 = hex::encode(Sha256::digest(name));
        format!(
            "[[auth.keys]]\nname = \"{name}\"\ntenant = \"{name}\"\nscopes = [\"generate\", \"admin\"]\nsha256 = \"{sha256}\"\n"
        )
    };
    let settings = format!("{STEADY}{EXACT}{}{}", key("ann"), key("bob"));
    let mut app = TestApp::with(&settings).await;
    app.use_key("ann");
    expired(&app, PROMPT).await;
    app.upstream.always(broken());
    app.use_key("bob");
    assert_eq!(app.generate(PROMPT).await.status, 502);
    app.use_key("ann");
    let stale = app.generate(PROMPT).await;
    assert_eq!((stale.source(), stale.answer()), ("stale", answer_to(PROMPT)));
}

#[tokio::test]
async fn it_serves_no_tighter_limit_than_it_fits() {
    let app = steady().await;
    let limited = |tokens: u32| json!({"prompt": PROMPT, "max_tokens": tokens});
    app.post("/v1/generate", &[("x-cache-ttl", "1")], limited(100)).await;
    app.upstream.always(broken());
    eventually("a stale answer", async || {
        (app.post("/v1/generate", &[], limited(12)).await.source() == "stale").then_some(())
    })
    .await;
    assert_eq!(app.post("/v1/generate", &[], limited(11)).await.status, 502);
}
