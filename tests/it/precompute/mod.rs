//! Lists that are bought ahead of time: once, within what is allowed, and so that live traffic finds them.

mod command;
mod kills;
mod limits;
mod lists;
mod schedule;
mod traffic;

use serde_json::{Value, json};

use crate::support::app::{TestApp, chat};
use crate::support::eventually;
use crate::support::reply::answer_to;
use crate::support::response::Response;

/// Returns a list that asks for these prompts as a chat does, so that equal chats are answered by it.
fn list(prompts: &[&str]) -> String {
    let line = |prompt: &&str| {
        let body = chat(prompt);
        json!({"template": "faq", "endpoint": "/v1/chat/completions", "body": body}).to_string() + "\n"
    };
    prompts.iter().map(line).collect()
}

async fn post(app: &TestApp, query: &str, list: &str) -> Response {
    app.admin_post_text(&format!("/admin/precompute{query}"), list).await
}

/// Begins to buy a list, and returns its name.
async fn begin(app: &TestApp, query: &str, list: &str) -> (String, Value) {
    let begun = post(app, query, list).await;
    assert_eq!(begun.status, 202, "{}", begun.text());
    let begun = begun.json();
    (begun["run"].as_str().expect("a name").to_owned(), begun["plan"].clone())
}

/// Waits until a run is over, and returns its report.
async fn over(app: &TestApp, run: &str) -> Value {
    eventually("the end of the run", async || {
        let report = app.admin_get(&format!("/admin/precompute/{run}")).await.json();
        (!matches!(report["state"].as_str(), Some("waiting" | "running"))).then_some(report)
    })
    .await
}

/// Buys a list and returns the report.
async fn buy(app: &TestApp, query: &str, list: &str) -> Value {
    let (run, _) = begin(app, query, list).await;
    over(app, &run).await
}

#[tokio::test]
async fn what_is_bought_answers_equal_and_similar_requests_and_is_not_bought_again() {
    let mut app = TestApp::start().await;
    let prompts = ["How do I reset my password?", "Which colours does the lamp come in?"];
    let (run, plan) = begin(&app, "", &list(&[prompts[0], prompts[1], prompts[0]])).await;
    assert_eq!((&plan["new"], &plan["duplicates"]), (&json!(2), &json!(1)));
    let report = over(&app, &run).await;
    assert_eq!((&report["state"], &report["bought"]), (&json!("done"), &json!(2)), "{report}");
    app.indexed(2).await;
    for prompt in prompts {
        let hit = app.chat(chat(prompt)).await;
        assert_eq!((hit.source(), hit.answer()), ("exact", answer_to(prompt)));
    }
    assert_eq!(app.chat(chat("How can I reset my password?")).await.source(), "semantic");

    for _ in 0..2 {
        let report = buy(&app, "", &list(&prompts)).await;
        assert_eq!((&report["state"], &report["planned"]), (&json!("done"), &json!(0)), "{report}");
        app.restart().await;
    }
    assert_eq!(app.upstream.calls(), 2);
    let listed = app.admin_get("/admin/precompute").await.json();
    let of_template = &listed["templates"][0];
    assert_eq!((&of_template["template"], &of_template["bought"]), (&json!("faq"), &json!(2)));
    assert_eq!(listed["runs"].as_array().unwrap().len(), 3);
    assert_eq!(app.admin_get(&format!("/admin/precompute/{run}")).await.json()["bought"], 2);
}

#[tokio::test]
async fn a_similar_answer_is_no_reason_not_to_buy() {
    let app = TestApp::start().await;
    app.chat(chat("How do I reset my password?")).await;
    app.indexed(1).await;
    let reworded = "How can I reset my password?";
    assert_eq!(app.chat(chat(reworded)).await.source(), "semantic");
    let report = buy(&app, "", &list(&[reworded])).await;
    assert_eq!(report["bought"], 1);
    assert_eq!(app.chat(chat(reworded)).await.source(), "exact");
}

#[tokio::test]
async fn what_will_expire_before_the_next_run_is_bought_anew() {
    let app = TestApp::with("cache.mode = \"exact\"\ncache.ttl_seconds = 1000").await;
    let prompt = "Which colours does the lamp come in?";
    assert_eq!(buy(&app, "", &list(&[prompt])).await["bought"], 1);
    // In the first half of its life it stays, however long it is until the next run.
    let (_, plan) = begin(&app, "", &list(&[prompt])).await;
    assert_eq!((&plan["fresh"], &plan["refresh"]), (&json!(1), &json!(0)));
    let old = json!({"prompt": "Which sizes?", "cache": {"ttl": 1}});
    let line = json!({"endpoint": "/v1/generate", "body": old}).to_string();
    let report = eventually("the lease", async || {
        let begun = post(&app, "", &line).await;
        (begun.status == 202).then(|| begun.json()["run"].as_str().unwrap().to_owned())
    })
    .await;
    over(&app, &report).await;
    let again = eventually("its time to be over", async || {
        let begun = post(&app, "?dry_run=true", &line).await.json();
        (begun["plan"]["refresh"] == 1).then_some(begun)
    });
    assert_eq!(again.await["plan"]["new"], 0);
    let report = buy(&app, "", &line).await;
    assert_eq!(report["refreshed"], 1, "{report}");
}

#[tokio::test]
async fn a_dry_run_and_a_list_with_a_mistake_buy_nothing() {
    let app = TestApp::exact().await;
    let good = list(&["one", "two"]);
    let planned = post(&app, "?dry_run=true", &good).await;
    assert_eq!((planned.status, &planned.json()["plan"]["new"]), (200, &json!(2)));
    for (line, says) in [
        ("{\"endpoint\": \"/v1/generate\", \"body\": {}}", "line 3: "),
        (
            "{\"endpoint\": \"/v1/generate\", \"body\": {\"prompt\": \"a\"}, \"prio\": 1}",
            "unknown field `prio`",
        ),
        ("{\"endpoint\": \"/v1/embeddings\", \"body\": {\"prompt\": \"a\"}}", "`endpoint`"),
    ] {
        let refused = post(&app, "", &(good.clone() + line)).await;
        assert_eq!(refused.status / 100, 4, "{line}");
        assert!(refused.text().contains(says), "{line}: {}", refused.text());
    }
    assert_eq!(post(&app, "", "\n").await.status, 400);
    assert_eq!(post(&app, "?window=soon", &good).await.status, 400);
    assert_eq!(post(&app, "?share_of_limit=2", &good).await.status, 400);
    assert_eq!(app.admin_get("/admin/precompute/nothing").await.status, 404);
    assert_eq!(app.upstream.calls(), 0);
    // A refusal leaves nobody with the right to buy.
    assert_eq!(buy(&app, "", &good).await["bought"], 2);
}
