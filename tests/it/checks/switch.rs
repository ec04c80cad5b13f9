//! Routes that answer equal requests only: by too many wrong hits, or by hand, and back again.

use serde_json::{Value, json};

use super::{ALL, LOOSE, REWORDED, STORED, counted, device, outcomes, route, store};
use crate::support::app::{TestApp, chat, with};
use crate::support::reply::Reply;
use crate::support::webhook::Webhook;

async fn turn(app: &TestApp, model: &str, enabled: bool) -> Value {
    let turned = app.admin_put("/admin/semantic", json!({"model": model, "enabled": enabled})).await;
    assert_eq!(turned.status, 200, "{}", turned.text());
    turned.json()
}

/// Returns where an answer comes from that is not kept.
async fn source(app: &TestApp, body: Value) -> String {
    app.chat_with(body, &[("cache-control", "no-store")]).await.source().to_owned()
}

async fn reason(app: &TestApp) -> Value {
    let ask = json!({"endpoint": "/v1/chat/completions", "headers": {}, "body": chat(&device(99))});
    app.admin_post("/admin/explain", ask).await.json()["policy"]["reason"].clone()
}

/// Makes so many wrong hits, one after the other, and waits for what their checks find.
async fn wrong_hits(app: &TestApp, count: usize) {
    app.upstream.on_prompt(STORED, Reply::text("Zero."));
    store(app, STORED).await;
    for number in 1..=count {
        // Each of them is another answer, whichever of the earlier ones is nearest.
        app.upstream.on_prompt(&device(number), Reply::text(&format!("Number {number}.")));
        assert_eq!(app.chat(chat(&device(number))).await.source(), "semantic", "{number}");
        counted(app, "different", number).await;
    }
}

#[tokio::test]
async fn a_route_with_too_many_wrong_hits_goes_exact_until_somebody_switches_it_back() {
    let webhook = Webhook::start().await;
    let settings = format!("{LOOSE}cache.semantic.max_error_rate = 0.5\nalerts.webhook_url_env = \"HOOK\"\n");
    let mut app = TestApp::with_variables(&settings, &[("HOOK", webhook.address())]).await;
    wrong_hits(&app, 19).await;
    assert_eq!(route(&app, "other").await["enabled"], true, "too few to be sure");
    app.upstream.on_prompt(&device(20), Reply::text("Number 20."));
    app.chat(chat(&device(20))).await;
    counted(&app, "different", 20).await;
    let told = webhook.hears("route other: 100 % of the checked answers to similar prompts were wrong").await;
    assert!(told.contains("[alert]") && told.contains("refrain semantic on --model other"), "{told}");

    for round in 0..2 {
        let off = route(&app, "other").await;
        assert_eq!((&off["enabled"], &off["reason"]), (&json!(false), &json!("checks")), "{off}");
        assert_eq!((&off["checks"]["checked"], &off["checks"]["different"]), (&json!(20), &json!(20)));
        assert!(off["since"].as_str().is_some_and(|since| since.ends_with('Z')), "{off}");
        let stats = app.admin_get("/admin/stats").await.json();
        assert_eq!(stats["checks"]["other"]["exact_only"], off["since"]);
        assert_eq!(app.metric("refrain_semantic_enabled{route=\"other\"}").await, 0.0);
        assert_eq!(source(&app, chat(&device(99))).await, "upstream");
        assert_eq!(source(&app, chat(STORED)).await, "exact", "equal requests are served as ever");
        let reason = reason(&app).await;
        assert!(reason.as_str().unwrap().contains("too many checked answers"), "{reason}");
        if round == 0 {
            app.restart().await;
            app.indexed(1).await;
        }
    }
    // The new process has told it once more, and so it tells the end.
    assert_eq!(turn(&app, "other", true).await["enabled"], true);
    webhook.hears("[recovered] route other: similar prompts are answered again").await;
    let on = route(&app, "other").await;
    assert_eq!(on, json!({"model": "other", "enabled": true, "since": null, "reason": null, "checks": null}));
    assert_eq!(
        (source(&app, chat(&device(99))).await.as_str(), reason(&app).await),
        ("semantic", Value::Null)
    );
    app.restart().await;
    assert_eq!(route(&app, "other").await["enabled"], true);
}

#[tokio::test]
async fn without_a_limit_no_route_goes_exact_by_itself() {
    let app = TestApp::with(LOOSE).await;
    wrong_hits(&app, 21).await;
    assert_eq!(route(&app, "other").await["enabled"], true);
    assert_eq!(source(&app, chat(&device(99))).await, "semantic");
}

#[tokio::test]
async fn a_person_switches_one_route_and_no_other() {
    let routes = "[[routes]]\nmodel = \"support\"\nchain = [\"fake/parrot\"]\n";
    let mut app = TestApp::with(routes).await;
    let support = |prompt: &str| with(chat(prompt), "model", json!("support"));
    app.chat(support(STORED)).await;
    app.chat(chat(STORED)).await;
    app.indexed(2).await;
    let off = turn(&app, "support", false).await;
    assert_eq!((&off["enabled"], &off["reason"]), (&json!(false), &json!("person")), "{off}");
    assert_eq!(turn(&app, "support", false).await["since"], off["since"], "it is off already");
    for _ in 0..2 {
        assert_eq!(source(&app, support(REWORDED)).await, "upstream");
        assert_eq!(source(&app, chat(REWORDED)).await, "semantic");
        app.restart().await;
        app.indexed(2).await;
    }
    // What is written meanwhile may answer similar requests afterwards.
    app.chat(support("What is the opening time of the office?")).await;
    app.indexed(3).await;
    assert_eq!(turn(&app, "support", true).await["enabled"], true);
    assert_eq!(source(&app, support("what is the opening time of the office")).await, "semantic");
    assert_eq!(source(&app, support(REWORDED)).await, "semantic");

    let unknown = app.admin_put("/admin/semantic", json!({"model": "nobody", "enabled": true})).await;
    assert_eq!((unknown.status, unknown.error("param").as_str()), (404, "model"));
    assert!(unknown.error("message").contains("known are: support, other"), "{}", unknown.text());
    for wrong in
        [json!({"enabled": true}), json!({"model": "support"}), json!({"model": "support", "enabled": 1})]
    {
        assert_eq!(app.admin_put("/admin/semantic", wrong).await.status, 400);
    }
    // Without a route of that name it is what a request without a model means.
    assert_eq!(turn(&app, "default", false).await["model"], "other");
    assert_eq!(source(&app, chat(REWORDED)).await, "upstream");
}

#[tokio::test]
async fn counts_and_switches_live_on_when_the_configuration_is_loaded_again() {
    let support = "[[routes]]\nmodel = \"support\"\nchain = [\"fake/parrot\"]\n";
    let app = TestApp::with(&format!("{ALL}{support}")).await;
    store(&app, STORED).await;
    app.chat(chat(REWORDED)).await;
    counted(&app, "same", 1).await;
    turn(&app, "support", false).await;
    app.configure(&format!("cache.ttl_seconds = 60\n{support}"));
    assert_eq!(app.admin_post("/admin/reload", json!({})).await.status, 200);
    assert_eq!(route(&app, "other").await["checks"]["checked"], 1);
    assert_eq!(route(&app, "support").await["enabled"], false);
    // The new rate counts from here on.
    assert_eq!(app.chat(chat("How could I reset my password?")).await.source(), "semantic");
    app.configure("");
    app.admin_post("/admin/reload", json!({})).await;
    assert_eq!(app.upstream.calls(), 2);
    assert_eq!(outcomes(&app, "other", "same").await, 1.0);
    let metrics = app.admin_get("/metrics").await.text();
    assert!(!metrics.contains("refrain_semantic_enabled{route=\"support\"}"), "who left is gone");
}
