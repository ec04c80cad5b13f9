//! What operators see and do: entries, numbers, models, health.

use serde_json::json;

use crate::support::app::{MODEL, TestApp, chat, with};
use crate::support::reply::{Reply, answer_to};

const PROMPT: &str = "What is a fjord?";

#[tokio::test]
async fn entries_are_listed_filtered_page_by_page_shown_and_removed() {
    let app = TestApp::exact().await;
    let prompts = ["One fjord?", "Two fjords?", "Three fjords?"];
    for prompt in prompts {
        app.generate_with(prompt, &[("x-cache-tags", "geo"), ("x-cache-namespace", "faq")]).await;
    }
    app.generate("Elsewhere?").await;
    app.stored(4).await;

    let listed = async |query: &str| app.admin_get(&format!("/admin/entries?{query}")).await.json();
    let all = listed("namespace=faq&tag=geo").await;
    assert_eq!((all["entries"].as_array().unwrap().len(), &all["next"]), (3, &json!(null)));
    let entry = &all["entries"][0];
    assert_eq!((&entry["tenant"], &entry["namespace"]), (&json!("default"), &json!("faq")));
    assert_eq!((&entry["model"], &entry["provider"]), (&json!(MODEL), &json!("fake")));
    assert_eq!(listed("prompt_prefix=Two").await["entries"].as_array().unwrap().len(), 1);
    assert_eq!(listed("tenant=nobody").await["entries"], json!([]));

    let mut seen = Vec::new();
    let mut query = "namespace=faq&limit=2".to_owned();
    loop {
        let page = listed(&query).await;
        let entries = page["entries"].as_array().unwrap().clone();
        assert!(entries.len() <= 2);
        seen.extend(entries.iter().map(|entry| entry["prompt"].as_str().unwrap().to_owned()));
        let Some(next) = page["next"].as_str() else { break };
        query = format!("namespace=faq&limit=2&after={next}");
    }
    seen.sort();
    assert_eq!(seen, ["One fjord?", "Three fjords?", "Two fjords?"]);

    let key = entry["key"].as_str().unwrap();
    let path = format!("/admin/entries/{key}");
    let shown = app.admin_get(&path).await.json();
    let prompt = shown["request"]["messages"][0]["content"].as_str().unwrap();
    assert_eq!(shown["answer"]["choices"][0]["message"]["content"], answer_to(prompt));
    assert_eq!(shown["tags"], json!(["geo"]));
    assert_eq!(app.admin_delete(&path).await.json(), json!({"removed": 1}));
    assert_eq!(app.admin_get(&path).await.status, 404);
    assert_eq!(app.admin_delete(&path).await.status, 404);
    let again =
        app.generate_with(prompt, &[("x-cache-namespace", "faq"), ("cache-control", "only-if-cached")]);
    assert_eq!(again.await.status, 504);
}

#[tokio::test]
async fn hits_are_counted_by_entry() {
    let mut app = TestApp::exact().await;
    for _ in 0..3 {
        app.generate(PROMPT).await;
    }
    // Hits are written in batches, the last of them at the end.
    app.restart().await;
    let entry = app.admin_get("/admin/entries").await.json()["entries"][0].clone();
    assert_eq!(entry["hits"], 2);
    assert!(entry["last_hit"].is_string());
}

#[tokio::test]
async fn entries_are_invalidated_by_every_condition() {
    let app =
        TestApp::with("cache.mode = \"exact\"\n[[routes]]\nmodel = \"fast\"\nchain = [\"fake/parrot\"]")
            .await;
    app.chat(with(chat("A fast one?"), "model", json!("fast"))).await;
    app.generate_with("A named one?", &[("x-cache-namespace", "faq")]).await;
    app.generate_with("A tagged one?", &[("x-cache-tags", "old")]).await;
    app.generate("One that stays?").await;
    app.stored(4).await;
    let removed = async |mut body: serde_json::Value| {
        body["dry_run"] = json!(false);
        app.admin_post("/admin/invalidate", body).await.json()["count"].as_u64().unwrap()
    };
    assert_eq!(removed(json!({"tenant": "nobody"})).await, 0);
    assert_eq!(removed(json!({"older_than_seconds": 3600})).await, 0);
    assert_eq!(removed(json!({"model": "fast", "namespace": "faq"})).await, 0, "conditions add up");
    assert_eq!(removed(json!({"model": "fast"})).await, 1);
    assert_eq!(removed(json!({"namespace": "faq"})).await, 1);
    assert_eq!(removed(json!({"prompt_prefix": "A tagged"})).await, 1);
    assert_eq!(app.generate("One that stays?").await.source(), "exact");
    assert_eq!(removed(json!({"older_than_seconds": 0})).await, 1);
    assert_eq!(app.metric("refrain_cache_removed_total{reason=\"invalidated\"}").await, 4.0);
}

#[tokio::test]
async fn models_are_listed_by_the_names_that_work() {
    let settings = "cache.mode = \"exact\"\n[[providers]]\nmodels = [\"parrot\", \"macaw\"]\n\
                    [[routes]]\nmodel = \"fast\"\nchain = [\"fake/parrot\"]";
    let app = TestApp::with(settings).await;
    let listed = app.get("/v1/models").await.json();
    assert_eq!(listed["object"], "list");
    let names: Vec<_> =
        listed["data"].as_array().unwrap().iter().map(|model| model["id"].as_str().unwrap()).collect();
    assert_eq!(names, ["fast", "fake/parrot", "fake/macaw"]);
    for (at, name) in names.into_iter().enumerate() {
        assert_eq!(listed["data"][at]["object"], "model");
        assert_eq!(app.chat(with(chat(PROMPT), "model", json!(name))).await.status, 200, "{name}");
    }
}

#[tokio::test]
async fn metrics_tell_what_was_served_and_from_where() {
    let app = TestApp::start().await;
    app.chat(chat("How do I reset my password?")).await;
    app.indexed(1).await;
    app.chat(chat("How do I reset my password?")).await;
    app.generate("How can I reset my password?").await;
    app.upstream.always(Reply::error(500, "broken", None, None));
    app.chat(chat("Something else altogether?")).await;
    for (series, value) in [
        ("refrain_requests_total{route=\"other\",dialect=\"openai\",source=\"upstream\"}", 1.0),
        ("refrain_requests_total{route=\"other\",dialect=\"openai\",source=\"exact\"}", 1.0),
        ("refrain_requests_total{route=\"other\",dialect=\"native\",source=\"semantic\"}", 1.0),
        ("refrain_requests_total{route=\"other\",dialect=\"openai\",source=\"none\"}", 1.0),
        ("refrain_cache_lookups_total{tier=\"memory\",outcome=\"hit\"}", 1.0),
        ("refrain_cache_lookups_total{tier=\"semantic\",outcome=\"hit\"}", 1.0),
        ("refrain_cache_lookups_total{tier=\"semantic\",outcome=\"miss\"}", 2.0),
        ("refrain_tokens_total{provider=\"fake\",model=\"other\",type=\"completion\"}", 12.0),
    ] {
        app.counted(series, value).await;
        assert_eq!(app.metric(series).await, value, "{series}");
    }
    let text = app.admin_get("/metrics").await.text();
    for name in [
        "refrain_request_duration_seconds_bucket{source=\"exact\"",
        "refrain_semantic_similarity_count",
        "refrain_embed_duration_seconds_count",
        "refrain_upstream_duration_seconds_count{provider=\"fake\"",
        "refrain_upstream_time_to_first_token_seconds_count{provider=\"fake\"",
        "# HELP refrain_requests_total ",
    ] {
        assert!(text.contains(name), "{name}: {text}");
    }
}

#[tokio::test]
async fn what_a_tier_holds_is_told() {
    let app = TestApp::exact().await;
    app.generate(PROMPT).await;
    app.stored(1).await;
    let stats = app.admin_get("/admin/stats").await.json();
    assert_eq!((&stats["memory"]["entries"], &stats["store"]["entries"]), (&json!(1), &json!(1)));
    assert!(stats["memory"]["bytes"].as_u64() > Some(100) && stats["store"]["bytes"].as_u64() > Some(100));
}
