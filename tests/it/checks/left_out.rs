//! Checks that are not made, and why.

use serde_json::json;

use super::{ALL, LOOSE, REWORDED, STORED, counted, device, outcomes, store};
use crate::support::app::{TestApp, chat};
use crate::support::eventually;
use crate::support::reply::{Gate, Reply};

#[tokio::test]
async fn by_default_nothing_is_checked_and_nobody_is_asked() {
    let app = TestApp::start().await;
    store(&app, STORED).await;
    for _ in 0..5 {
        assert_eq!(app.chat(chat(REWORDED)).await.source(), "semantic");
    }
    assert_eq!(app.chat(chat("What is a fjord?")).await.source(), "upstream");
    assert_eq!(app.upstream.calls(), 2);
    assert!(!app.admin_get("/metrics").await.text().contains("refrain_semantic_checks_total{"));
    assert_eq!(app.admin_get("/admin/stats").await.json()["checks"], json!({}));
}

#[tokio::test]
async fn two_at_a_time_and_what_comes_meanwhile_is_left_out() {
    let app = TestApp::with(LOOSE).await;
    store(&app, STORED).await;
    let gate = Gate::shut();
    app.upstream.always(Reply::text("Ask the help desk to reset it for you, please.").held(&gate));
    for number in 0..5 {
        assert_eq!(app.chat(chat(&device(number))).await.source(), "semantic");
    }
    counted(&app, "skipped", 3).await;
    app.upstream.called(3).await;
    assert_eq!(app.upstream.calls(), 3);
    gate.open();
    eventually("both checks", async || {
        let found = outcomes(&app, "other", "same").await + outcomes(&app, "other", "different").await;
        (found == 2.0).then_some(())
    })
    .await;
    assert_eq!((app.upstream.calls(), outcomes(&app, "other", "skipped").await), (3, 3.0));
}

#[tokio::test]
async fn where_nobody_may_be_asked_nothing_is_checked() {
    let app = TestApp::with(ALL).await;
    store(&app, STORED).await;
    for (at, said) in ["only-if-cached", "no-store"].into_iter().enumerate() {
        let hit = app.chat_with(chat(REWORDED), &[("cache-control", said)]).await;
        assert_eq!(hit.source(), "semantic", "{said}");
        assert_eq!(outcomes(&app, "other", "skipped").await, (at + 1) as f64, "{said}");
    }
    app.admin_put("/admin/ai", json!({"enabled": false})).await;
    assert_eq!(app.chat(chat(REWORDED)).await.source(), "semantic");
    assert_eq!(outcomes(&app, "other", "skipped").await, 3.0);
    app.admin_put("/admin/ai", json!({"enabled": true})).await;
    assert_eq!(app.upstream.calls(), 1);
    app.chat(chat(REWORDED)).await;
    counted(&app, "same", 1).await;
}

#[tokio::test]
async fn an_upstream_that_is_not_well_is_not_asked_for_checks_nor_is_anybody_where_the_judge_is_not() {
    let unwell = "retry.attempts_per_upstream = 1\nbreaker.failures = 1\n";
    let judge = "cache.semantic.judge_model = \"fake/referee\"\n";
    for (settings, model) in [("", "parrot"), (judge, "referee")] {
        let app = TestApp::with(&format!("{ALL}{unwell}{settings}")).await;
        store(&app, STORED).await;
        app.upstream.on_model(model, Reply::error(500, "broken", None, None));
        let broken =
            json!({"model": format!("fake/{model}"), "messages": [{"role": "user", "content": "Well?"}]});
        assert_eq!(app.chat(broken).await.status, 502);
        assert_eq!(app.chat(chat(REWORDED)).await.source(), "semantic", "{model}");
        assert_eq!(outcomes(&app, "other", "skipped").await, 1.0, "{model}");
        assert_eq!(app.upstream.calls(), 2, "{model}");
    }
}

#[tokio::test]
async fn an_alias_is_a_persons_word_and_is_not_checked() {
    let app = TestApp::with(ALL).await;
    store(&app, STORED).await;
    let entry = app.chat(chat(STORED)).await.header("x-cache-entry").to_owned();
    let asked = "I cannot get into my account any more.";
    let first = app.chat_with(chat(asked), &[("cache-control", "no-store")]).await;
    assert_eq!(first.source(), "upstream");
    let said = json!({"key": first.header("x-cache-key"), "entry": entry, "verdict": "right"});
    assert_eq!(app.admin_post("/admin/feedback", said).await.json()["alias"], true);
    assert_eq!(app.chat(chat(asked)).await.source(), "semantic");
    assert_eq!(app.chat(chat(REWORDED)).await.source(), "semantic");
    counted(&app, "same", 1).await;
    assert_eq!(app.upstream.calls(), 3);
}
