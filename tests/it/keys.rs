//! With keys: who may do what, whose cache it is, and who sees what.

use serde_json::{Value, json};
use sha2::{Digest, Sha256};

use crate::support::app::{TestApp, chat};
use crate::support::response::Response;

const PROMPT: &str = "How do I reset my password?";
const REWORDED: &str = "How can I reset my password?";
/// What someone who shares a cache could learn of the others from.
const ORACLES: [&str; 4] = ["x-cache-key", "x-cache-entry", "x-cache-similarity", "server-timing"];

pub fn key(name: &str, tenant: &str, scopes: &str, more: &str) -> String {
    let sha256 = hex::encode(Sha256::digest(name));
    format!(
        "[[auth.keys]]\nname = \"{name}\"\ntenant = \"{tenant}\"\nscopes = [{scopes}]\nsha256 = \"{sha256}\"\n{more}\n"
    )
}

/// A server with a key of each kind; each key is its own name.
async fn guarded(settings: &str) -> TestApp {
    let keys = [
        key("ann", "a", "\"generate\"", ""),
        key("ann-debug", "a", "\"generate\", \"debug\"", ""),
        key("bob", "b", "\"generate\", \"debug\"", ""),
        key("gauge", "a", "\"metrics\"", ""),
        key("root", "a", "\"admin\"", ""),
        key("old", "a", "\"generate\"", "expires = \"2020-01-31\""),
    ];
    TestApp::with(&format!("{settings}\n{}", keys.concat())).await
}

/// Presents a key for one request.
async fn generate_as(app: &mut TestApp, key: &str, prompt: &str) -> Response {
    app.use_key(key);
    app.generate(prompt).await
}

#[tokio::test]
async fn fault_67_whoever_shows_no_key_or_a_wrong_one_is_turned_away() {
    let mut app = guarded("cache.mode = \"exact\"").await;
    for response in [app.generate(PROMPT).await, app.chat(chat(PROMPT)).await, app.get("/v1/models").await] {
        assert_eq!((response.status, response.error("code").as_str()), (401, "invalid_api_key"));
        assert_eq!(response.header("www-authenticate"), "Bearer");
    }
    for key in ["nobody", "old", ""] {
        assert_eq!(generate_as(&mut app, key, PROMPT).await.status, 401, "{key}");
    }
    app.use_no_key();
    for path in ["/metrics", "/admin/stats", "/admin/entries"] {
        assert_eq!(app.admin_get(path).await.status, 401, "{path}");
    }
    for path in ["/health/live", "/health/ready"] {
        assert_eq!(app.get(path).await.status, 200, "{path}");
    }
    assert_eq!(app.upstream.calls(), 0);
}

#[tokio::test]
async fn both_spellings_of_a_key_are_taken_and_neither_is_forwarded() {
    let app = guarded("cache.mode = \"exact\"").await;
    for (at, header) in
        [("authorization", "Bearer ann"), ("x-api-key", "ann"), ("authorization", "bearer ann")]
            .into_iter()
            .enumerate()
    {
        let response = app.generate_with(&format!("Question {at}?"), &[header]).await;
        assert_eq!((response.status, response.source()), (200, "upstream"));
    }
    // The upstream complains of every key but the one configured for it.
    assert_eq!(app.upstream.calls(), 3);
}

#[tokio::test]
async fn fault_68_a_key_does_what_its_scopes_say_and_no_more() {
    let mut app = guarded("cache.mode = \"exact\"").await;
    for (key, [generates, measures, administers]) in [
        ("ann", [200, 403, 403]),
        ("ann-debug", [200, 403, 403]),
        ("gauge", [403, 200, 403]),
        ("root", [403, 200, 200]),
    ] {
        app.use_key(key);
        assert_eq!(app.generate(PROMPT).await.status, generates, "{key}");
        assert_eq!(app.admin_get("/metrics").await.status, measures, "{key}");
        assert_eq!(app.admin_get("/admin/stats").await.status, administers, "{key}");
        let explain = json!({"endpoint": "/v1/generate", "body": {"prompt": PROMPT}});
        assert_eq!(app.admin_post("/admin/explain", explain).await.status, administers, "{key}");
        let remove = json!({"tenant": "b", "dry_run": false});
        assert_eq!(app.admin_post("/admin/invalidate", remove).await.status, administers, "{key}");
    }
}

#[tokio::test]
async fn fault_71_tenants_never_share_an_answer_equal_or_similar() {
    let mut app = guarded("").await;
    assert_eq!(generate_as(&mut app, "ann", PROMPT).await.source(), "upstream");
    app.use_key("root");
    app.indexed(1).await;
    assert_eq!(generate_as(&mut app, "ann-debug", PROMPT).await.source(), "exact");
    assert_eq!(generate_as(&mut app, "ann", REWORDED).await.source(), "semantic");
    assert_eq!(generate_as(&mut app, "bob", REWORDED).await.source(), "upstream");
    app.use_key("root");
    app.indexed(2).await;
    assert_eq!(generate_as(&mut app, "bob", PROMPT).await.source(), "semantic");
    let entries = async |app: &mut TestApp, tenant: &str| {
        app.use_key("root");
        let listed = app.admin_get(&format!("/admin/entries?tenant={tenant}")).await.json();
        listed["entries"].as_array().unwrap().len()
    };
    app.use_key("root");
    app.stored(2).await;
    assert_eq!((entries(&mut app, "a").await, entries(&mut app, "b").await), (1, 1));
}

#[tokio::test]
async fn what_tells_of_others_goes_to_keys_with_the_scope_debug_alone() {
    let mut app = guarded("").await;
    generate_as(&mut app, "ann", PROMPT).await;
    app.use_key("root");
    app.indexed(1).await;
    for (key, sees) in [("ann", false), ("ann-debug", true)] {
        let hit = generate_as(&mut app, key, REWORDED).await;
        assert_eq!(hit.source(), "semantic");
        for oracle in ORACLES {
            assert_eq!(hit.has_header(oracle), sees, "{key}: {oracle}");
        }
        let streamed = app.stream("/v1/generate", json!({ "prompt": REWORDED })).await.rest().await;
        let summary: Value = serde_json::from_str(&streamed.events()[streamed.events().len() - 2]).unwrap();
        for cache in [&hit.json()["cache"], &summary["summary"]["cache"]] {
            for field in ["key", "entry", "similarity"] {
                assert_eq!(!cache[field].is_null(), sees, "{key}: {field}");
            }
            assert_eq!(cache["tier"], "semantic");
        }
        for open in ["x-cache-source", "x-cache-tier", "cache-status", "age", "x-provider", "x-model"] {
            assert!(hit.has_header(open), "{key}: {open}");
        }
    }
    let miss = app.stream("/v1/generate", json!({"prompt": "Something else?"})).await;
    assert!(miss.headers.contains_key("x-cache-key"));
    miss.rest().await;
    app.use_key("ann");
    let miss = app.generate("Something else again?").await;
    assert!(ORACLES.iter().all(|oracle| !miss.has_header(oracle)), "{:?}", miss.header_names());
}

#[tokio::test]
async fn feedback_reaches_the_tenants_own_requests_alone() {
    let mut app = guarded("cache.mode = \"exact\"").await;
    app.use_key("ann");
    app.generate_with(PROMPT, &[("x-request-id", "of-ann")]).await;
    app.use_key("root");
    app.stored(1).await;
    let verdict = json!({"request_id": "of-ann", "verdict": "wrong"});
    app.use_key("bob");
    assert_eq!(app.post("/v1/feedback", &[], verdict.clone()).await.status, 404);
    app.use_key("ann");
    let taken = crate::support::eventually("the request to be remembered", async || {
        let taken = app.post("/v1/feedback", &[], verdict.clone()).await;
        (taken.status == 200).then(|| taken.json())
    })
    .await;
    assert_eq!(taken["removed"], 1);
}

#[tokio::test]
async fn the_token_of_the_lock_file_opens_the_admin_listener_alone() {
    let mut app = guarded("cache.mode = \"exact\"").await;
    let path = app.folder().join("data/refrain.lock");
    let lock: Value = serde_json::from_slice(&std::fs::read(&path).unwrap()).unwrap();
    assert_eq!(format!("http://{}", lock["admin"].as_str().unwrap()), app.admin());
    assert_eq!(lock["pid"], std::process::id());
    let mode = std::os::unix::fs::PermissionsExt::mode(&std::fs::metadata(&path).unwrap().permissions());
    assert_eq!(mode & 0o777, 0o600);
    app.use_key(lock["token"].as_str().unwrap());
    assert_eq!(app.admin_get("/admin/stats").await.status, 200);
    assert_eq!(app.admin_get("/metrics").await.status, 200);
    assert_eq!(app.generate(PROMPT).await.status, 401);
    app.restart().await;
    assert_eq!(app.admin_get("/admin/stats").await.status, 401, "a token dies with its server");
}

#[tokio::test]
async fn with_keys_pages_and_names_are_free_since_the_key_is_the_guard() {
    let mut app = guarded("cache.mode = \"exact\"").await;
    app.use_key("ann");
    let foreign = [("origin", "https://app.example"), ("host", "cache.internal")];
    assert_eq!(app.generate_with(PROMPT, &foreign).await.status, 200);
}
