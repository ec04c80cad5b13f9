//! An administrator says that one answer serves two prompts: it does, whatever the layers say, until it is said wrong.

use serde_json::{Value, json};

use crate::support::app::{TestApp, chat};
use crate::support::eventually;

const STORED: &str = "How do I reset my password?";
/// Near, and refused by the layers.
const OTHER: &str = "How do I not reset my password?";
/// So far away that no search finds it.
const FAR: &str = "credentials recovery steps";

async fn key_of(app: &TestApp, prompt: &str) -> String {
    let explained = explain(app, prompt).await;
    explained["key"].as_str().expect("a key").to_owned()
}

async fn explain(app: &TestApp, prompt: &str) -> Value {
    let ask = json!({"endpoint": "/v1/chat/completions", "headers": {}, "body": chat(prompt)});
    app.admin_post("/admin/explain", ask).await.json()
}

/// Stores the answer to a prompt, waits until it can be found by similarity, and returns its entry.
async fn store(app: &TestApp, prompt: &str) -> String {
    let answered = app.chat(chat(prompt)).await;
    assert_eq!(answered.source(), "upstream");
    app.indexed(1).await;
    answered.header("x-cache-key").to_owned()
}

#[tokio::test]
async fn what_is_said_to_be_right_is_served_and_explained_and_kept_until_it_is_said_to_be_wrong() {
    let mut app = TestApp::start().await;
    let entry = store(&app, STORED).await;
    let cached = [("cache-control", "only-if-cached")];
    for prompt in [OTHER, FAR] {
        assert_eq!(app.chat_with(chat(prompt), &cached).await.status, 504, "{prompt}");
        let right = json!({"key": key_of(&app, prompt).await, "entry": entry, "verdict": "right"});
        let done = app.admin_post("/admin/feedback", right).await.json();
        assert_eq!(done, json!({"removed": 0, "pair_blocked": false, "alias": true}));
    }
    for _ in 0..2 {
        for prompt in [OTHER, FAR] {
            let hit = app.chat_with(chat(prompt), &cached).await;
            assert_eq!(
                (hit.served_by().as_str(), hit.header("x-cache-entry")),
                ("semantic semantic", &*entry)
            );
            assert!(!hit.has_header("x-cache-similarity"), "nobody measured it");
            let explained = explain(&app, prompt).await;
            let first = &explained["candidates"][0];
            assert_eq!((&explained["decision"], &first["served"]), (&json!("serve"), &json!(true)));
            assert_eq!(
                (&first["layers"][0]["layer"], &first["layers"][0]["verdict"]),
                (&json!("alias"), &json!("pass"))
            );
        }
        // Whoever asks for a similarity of their own asks what nobody measured; and other partitions are other worlds.
        let strict = [("cache-control", "only-if-cached"), ("x-cache-threshold", "0.99")];
        assert_eq!(app.chat_with(chat(OTHER), &strict).await.status, 504);
        let elsewhere = [("cache-control", "only-if-cached"), ("x-cache-namespace", "other")];
        assert_eq!(app.chat_with(chat(OTHER), &elsewhere).await.status, 504);
        app.restart().await;
        app.indexed(1).await;
    }
    assert_eq!(app.admin_get("/admin/stats").await.json()["store"]["aliases"], 2);

    let wrong = json!({"key": key_of(&app, OTHER).await, "entry": entry, "verdict": "wrong"});
    let done = app.admin_post("/admin/feedback", wrong).await.json();
    assert_eq!(done, json!({"removed": 1, "pair_blocked": true, "alias": false}));
    store(&app, STORED).await;
    assert_eq!(app.chat_with(chat(OTHER), &cached).await.status, 504);
    assert_eq!(app.chat_with(chat(FAR), &cached).await.source(), "semantic", "the other word stands");
}

#[tokio::test]
async fn what_was_said_is_handed_out_as_labelled_pairs() {
    let app = TestApp::start().await;
    let entry = store(&app, STORED).await;
    let reworded = "How can I reset my password?";
    assert_eq!(app.chat_with(chat(reworded), &[("x-request-id", "r-1")]).await.source(), "semantic");
    for (about, verdict) in [
        (json!({"request_id": "r-1"}), "right"),
        (json!({"request_id": "r-1", "entry": entry}), "right"),
        (json!({"request_id": "r-1"}), "wrong"),
    ] {
        let mut body = about.clone();
        body["verdict"] = json!(verdict);
        let taken = eventually("the request to be remembered", async || {
            let taken = app.admin_post("/admin/feedback", body.clone()).await;
            (taken.status == 200).then_some(taken)
        });
        taken.await;
        let exported = app.admin_get("/admin/feedback").await;
        assert_eq!(exported.header("content-type"), "application/x-ndjson");
        let lines: Vec<Value> =
            exported.text().lines().map(|line| serde_json::from_str(line).expect("JSON")).collect();
        assert_eq!(lines.len(), 1);
        let label = i32::from(verdict == "right");
        assert_eq!(
            (&lines[0]["a"], &lines[0]["b"], &lines[0]["label"], &lines[0]["tenant"]),
            (&json!(reworded), &json!(STORED), &json!(label), &json!("default"))
        );
    }
    assert_eq!(app.admin_get("/admin/feedback?tenant=nobody").await.text(), "");
    let counted = app.admin_get("/metrics").await;
    for line in
        [r#"refrain_feedback_total{verdict="right"} 2"#, r#"refrain_feedback_total{verdict="wrong"} 1"#]
    {
        assert!(counted.text().contains(line), "{line}");
    }
}

#[tokio::test]
async fn what_cannot_be_right_is_refused_and_says_why() {
    let app = TestApp::start().await;
    let entry = store(&app, STORED).await;
    let key = key_of(&app, OTHER).await;
    let caller = json!({"request_id": "r-1", "verdict": "right"});
    let refused = app.post("/v1/feedback", &[], caller).await;
    assert_eq!(refused.status, 400);
    assert!(refused.text().contains("POST /admin/feedback"), "{}", refused.text());
    for (about, status, says) in [
        (json!({"entry": entry}), 400, "name the request too"),
        (json!({"key": entry, "entry": entry}), 400, "name the `entry`"),
        (json!({"key": key, "entry": "ab".repeat(32)}), 404, "nothing is known"),
        (json!({"key": key, "request_id": "r-1"}), 400, "expected one of"),
    ] {
        let mut body = about.clone();
        body["verdict"] = json!("right");
        let refused = app.admin_post("/admin/feedback", body).await;
        assert_eq!(refused.status, status, "{about}: {}", refused.text());
        assert!(refused.text().contains(says), "{about}: {}", refused.text());
    }
    // A prompt of another conversation has its own partition.
    let mut elsewhere = chat(OTHER);
    elsewhere["messages"]
        .as_array_mut()
        .unwrap()
        .insert(0, json!({"role": "system", "content": "Be brief."}));
    let stranger = app.chat(elsewhere).await.header("x-cache-key").to_owned();
    app.stored(2).await;
    let apart = json!({"key": stranger, "entry": entry, "verdict": "right"});
    let refused = app.admin_post("/admin/feedback", apart).await;
    assert_eq!(refused.status, 400);
    assert!(refused.text().contains("more than their last prompt"), "{}", refused.text());
}
