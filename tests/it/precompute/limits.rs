//! What a run may spend, and what it does about answers and upstreams that are not well.

use serde_json::json;

use super::{begin, buy, list, over, post};
use crate::support::app::{TestApp, chat};
use crate::support::reply::{Gate, Reply};

/// A model with a price, in USD per million tokens.
const PRICED: &str = "cache.mode = \"exact\"\n[[providers]]\n[[providers.models]]\nname = \"parrot\"\n\
                      prices = { input = 0.15, output = 0.60 }";

fn items(count: usize) -> String {
    let prompts: Vec<String> = (0..count).map(|number| format!("What is item {number}?")).collect();
    list(&prompts.iter().map(String::as_str).collect::<Vec<_>>())
}

#[tokio::test]
async fn a_budget_ends_a_run_and_the_next_one_goes_on() {
    let app = TestApp::with(PRICED).await;
    app.upstream.always(Reply::text("It is this and that.").usage(1_000, 500));
    // Two answers cost 0.0009 USD.
    let report = buy(&app, "?max_cost_usd=0.001&concurrency=1", &items(6)).await;
    assert_eq!((&report["state"], &report["bought"]), (&json!("stopped"), &json!(2)), "{report}");
    assert!((report["spent_usd"].as_f64().unwrap() - 0.0009).abs() < 1e-9, "{report}");
    let report = buy(&app, "?max_items=3", &items(6)).await;
    assert_eq!((&report["state"], &report["bought"], app.upstream.calls()), (&json!("done"), &json!(3), 5));
}

#[tokio::test]
async fn without_a_price_no_budget_is_promised() {
    let app = TestApp::exact().await;
    let refused = post(&app, "?max_cost_usd=1", &items(1)).await;
    assert_eq!((refused.status, app.upstream.calls()), (400, 0));
    assert!(refused.text().contains("price"), "{}", refused.text());
}

#[tokio::test]
async fn an_answer_that_is_not_worth_keeping_is_tried_twice_and_reported() {
    let app = TestApp::exact().await;
    let bad = "Say nothing.";
    app.upstream.on_prompt(bad, Reply::text(""));
    let report = buy(&app, "?concurrency=1", &list(&[bad, "What is it?"])).await;
    assert_eq!((&report["state"], &report["bought"]), (&json!("done"), &json!(1)), "{report}");
    assert_eq!(report["failures"].as_array().unwrap().len(), 1);
    assert_eq!(report["failures"][0]["template"], "faq");
    assert_eq!(app.chat_with(chat(bad), &[("cache-control", "only-if-cached")]).await.status, 504);
}

#[tokio::test]
async fn one_run_buys_at_a_time_and_can_be_stopped() {
    let app = TestApp::exact().await;
    let gate = Gate::shut();
    app.upstream.always(Reply::text("It is this and that.").held(&gate));
    let (run, _) = begin(&app, "?concurrency=1", &list(&["one", "two", "three"])).await;
    app.upstream.called(1).await;
    let second = post(&app, "", &list(&["four"])).await;
    assert_eq!((second.status, &second.json()["error"]["code"]), (409, &json!("precompute_busy")));
    assert_eq!(app.admin_delete(&format!("/admin/precompute/{run}")).await.status, 200);
    let report = over(&app, &run).await;
    assert_eq!((&report["state"], &report["bought"]), (&json!("cancelled"), &json!(0)));
    gate.open();
    // What it had begun to buy is paid for, so it is kept.
    app.stored(1).await;
    assert_eq!(app.chat(chat("one")).await.source(), "exact");
    assert_eq!(buy(&app, "", &list(&["one", "two", "three"])).await["bought"], 2);
    assert_eq!(app.upstream.calls(), 3);
}

#[tokio::test]
async fn with_upstreams_switched_off_a_run_stops_and_outside_its_window_it_waits() {
    let app = TestApp::exact().await;
    app.admin_put("/admin/ai", json!({"enabled": false})).await;
    let report = buy(&app, "", &list(&["one"])).await;
    assert_eq!((&report["state"], app.upstream.calls()), (&json!("stopped"), 0), "{report}");
    app.admin_put("/admin/ai", json!({"enabled": true})).await;
    // Of two windows that share no minute, one is shut now.
    let mut waited = 0;
    for window in ["00:00-12:00", "12:00-00:00"] {
        let (run, plan) =
            begin(&app, &format!("?window={window}&time_zone=Asia/Tokyo"), &list(&["one"])).await;
        assert!(plan["window_seconds"].as_f64().unwrap() > 0.0, "{plan}");
        let report = app.admin_get(&format!("/admin/precompute/{run}")).await.json();
        let is_over = report["planned"] == 0 || report["state"] != "waiting";
        if !is_over {
            waited += 1;
        }
        app.admin_delete(&format!("/admin/precompute/{run}")).await;
        over(&app, &run).await;
    }
    assert!(waited >= 1, "neither window was shut");
}
