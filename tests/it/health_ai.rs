//! `GET /health/ai`: how upstreams, embedder and index are, apart from the core, which can do without them.

use serde_json::{Value, json};

use crate::support::app::TestApp;
use crate::support::eventually;
use crate::support::reply::{Gate, Reply};

const PATH: &str = "/health/ai";
const ONCE: &str = "cache.mode = \"exact\"\nretry.attempts_per_upstream = 1\nbreaker.failures = 2\n";

/// What the admin listener says, which the public one says with the same status.
async fn health(app: &TestApp, status: u16) -> Value {
    let (public, admin) = (app.get(PATH).await, app.admin_get(PATH).await);
    assert_eq!((public.status, admin.status), (status, status), "{}", admin.text());
    assert_eq!(public.json()["status"], admin.json()["status"]);
    assert_eq!(app.get("/health/ready").await.status, 200, "the core depends on none of it");
    admin.json()
}

/// Fails a request, however that is answered.
async fn fail(app: &TestApp, at: usize) {
    assert_ne!(app.generate(&format!("Question {at}?")).await.status, 200);
}

#[tokio::test]
async fn all_is_well_and_what_is_known_of_an_upstream_is_told() {
    let app = TestApp::start().await;
    let before = health(&app, 200).await;
    assert_eq!((&before["status"], &before["enabled"]), (&json!("well"), &json!(true)));
    let untried = json!({
        "name": "fake", "parked": null, "healthy": true, "breaker": "closed", "consecutive_failures": 0,
        "last_success": null, "rate_limited_until": null, "open_until": null, "in_flight": 0, "latency_ms": null,
        "first_token_ms": null, "models": []
    });
    assert_eq!(before["upstreams"], json!([untried]));
    assert_eq!(
        (&before["embedder"]["status"], &before["verifier"]["status"]),
        (&json!("well"), &json!("well"))
    );

    app.generate("How do I reset my password?").await;
    app.indexed(1).await;
    let after = health(&app, 200).await;
    let upstream = &after["upstreams"][0];
    let at: jiff::Timestamp = upstream["last_success"].as_str().unwrap().parse().unwrap();
    assert!(at.duration_until(jiff::Timestamp::now()).as_secs() < 60, "{upstream}");
    for times in [&upstream["latency_ms"], &upstream["models"][0]["first_token_ms"]] {
        let of = |name: &str| times[name].as_f64().unwrap();
        assert!(0.0 < of("p50") && of("p50") <= of("p95") && of("p95") <= of("p99"), "{times}");
    }
    assert_eq!(upstream["models"][0]["name"], "parrot");
    assert_eq!((&after["index"]["status"], &after["index"]["points"]), (&json!("well"), &json!(1)));
}

#[tokio::test]
async fn calls_under_way_are_counted() {
    let app = TestApp::exact().await;
    let gate = Gate::shut();
    app.upstream.always(Reply::text("At last.").held(&gate));
    let asked = app.generate("Are you there?");
    let seen = eventually("a call under way", async || {
        let health = app.admin_get(PATH).await.json();
        (health["upstreams"][0]["in_flight"] == 1).then_some(())
    });
    let opened = async {
        seen.await;
        gate.open();
    };
    assert_eq!(futures_util::future::join(asked, opened).await.0.status, 200);
    assert_eq!(health(&app, 200).await["upstreams"][0]["in_flight"], 0);
}

#[tokio::test]
async fn an_open_breaker_of_the_only_upstream_is_down_and_the_metrics_say_so() {
    let app = TestApp::with(ONCE).await;
    assert_eq!(app.metric("refrain_upstream_healthy{provider=\"fake\"}").await, 1.0);
    app.upstream.always(Reply::error(500, "broken", None, None));
    fail(&app, 1).await;
    fail(&app, 2).await;
    let down = health(&app, 503).await;
    let upstream = &down["upstreams"][0];
    assert_eq!((&down["status"], &upstream["breaker"]), (&json!("down"), &json!("open")));
    assert_eq!((&upstream["healthy"], &upstream["consecutive_failures"]), (&json!(false), &json!(2)));
    let until: jiff::Timestamp = upstream["open_until"].as_str().unwrap().parse().unwrap();
    assert!(until > jiff::Timestamp::now(), "{upstream}");
    assert_eq!(app.metric("refrain_upstream_healthy{provider=\"fake\"}").await, 0.0);
    assert_eq!(app.metric("refrain_breaker_state{provider=\"fake\"}").await, 2.0);
}

#[tokio::test]
async fn one_upstream_of_two_that_is_lost_is_degraded() {
    let settings = format!(
        "{ONCE}[[providers]]\n[[providers]]\nname = \"spare\"\nkind = \"openai_compatible\"\nbase_url = \"http://127.0.0.1:9/v1\""
    );
    let app = TestApp::with(&settings).await;
    app.upstream.always(Reply::error(401, "bad key", None, None));
    fail(&app, 1).await;
    let degraded = health(&app, 200).await;
    assert_eq!(degraded["status"], "degraded");
    let names = ["fake", "spare"].map(|name| json!(name));
    assert_eq!(
        [&degraded["upstreams"][0]["name"], &degraded["upstreams"][1]["name"]],
        [&names[0], &names[1]]
    );
    let parked = &degraded["upstreams"][0];
    assert_eq!((&parked["parked"], &parked["healthy"]), (&json!("bad_key"), &json!(false)));
}

#[tokio::test]
async fn an_upstream_that_asked_to_be_left_alone_says_until_when() {
    let app = TestApp::with(ONCE).await;
    app.upstream.always(Reply::error(429, "slowly", None, None).header("retry-after", "60"));
    fail(&app, 1).await;
    let limited = health(&app, 503).await;
    let until: jiff::Timestamp =
        limited["upstreams"][0]["rate_limited_until"].as_str().unwrap().parse().unwrap();
    let left = jiff::Timestamp::now().duration_until(until).as_secs();
    assert!((1..=60).contains(&left), "{left}");
}

#[tokio::test]
async fn models_that_callers_named_and_words_of_the_index_are_for_the_admin_listener_alone() {
    let settings = "index = {kind = \"qdrant\", url = \"http://127.0.0.1:9\"}";
    let app = TestApp::with(settings).await;
    app.post("/v1/generate", &[], json!({"prompt": "Q?", "model": "fake/secret-project"})).await;
    let admin = health(&app, 200).await;
    assert_eq!(admin["status"], "degraded");
    assert_eq!(admin["upstreams"][0]["models"][0]["name"], "secret-project");
    assert!(admin["index"]["error"].is_string(), "{admin}");
    let public = app.get(PATH).await;
    assert!(!public.text().contains("secret-project"), "{}", public.text());
    assert_eq!(public.json()["index"], json!({"status": "unwell"}));
}

#[tokio::test]
async fn without_a_provider_nobody_can_be_asked() {
    let app = TestApp::without_provider().await;
    let health = health(&app, 503).await;
    assert_eq!((&health["status"], &health["upstreams"]), (&json!("down"), &json!([])));
    assert_eq!((&health["embedder"]["status"], &health["index"]["status"]), (&json!("off"), &json!("off")));
}
