//! Killed at any moment and begun again, a run buys nothing twice but what was on its way.

use std::fs;
use std::process::Stdio;

use serde_json::json;

use crate::support::app::{TestApp, chat};
use crate::support::process::{output, refrain};

const ITEMS: usize = 40;
const CONCURRENCY: usize = 4;
const KILLS: usize = 5;

#[tokio::test]
async fn killed_and_begun_again_it_has_every_answer_once() {
    let mut app = TestApp::binary("cache.mode = \"exact\"").await;
    app.stop().await;
    let line = |number: usize| {
        let body = chat(&format!("What is item {number}?"));
        json!({"template": "items", "endpoint": "/v1/chat/completions", "body": body}).to_string()
    };
    let list: Vec<_> = (0..ITEMS).map(line).collect();
    fs::write(app.folder().join("list.jsonl"), list.join("\n")).unwrap();
    let command = format!("precompute list.jsonl --concurrency {CONCURRENCY}");
    for kill in 1..=KILLS {
        let mut run = refrain(app.folder(), &command);
        let mut child = run.stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
        // Somewhere on its way: another place every time.
        app.upstream.called((kill * 5).min(ITEMS - CONCURRENCY)).await;
        child.kill().unwrap();
        child.wait().unwrap();
    }
    let last = output(refrain(app.folder(), &command)).await;
    assert_eq!(last.status.code(), Some(0), "{}", String::from_utf8_lossy(&last.stderr));
    let calls = app.upstream.calls();
    assert!((ITEMS..=ITEMS + KILLS * CONCURRENCY).contains(&calls), "{calls} calls for {ITEMS} items");
    let again = output(refrain(app.folder(), &format!("{command} --dry-run"))).await;
    let said = String::from_utf8_lossy(&again.stdout).into_owned();
    assert!(said.contains(&format!("0 new, 0 anew; {ITEMS} stay fresh")), "{said}");
    app.start_binary().await;
    let stats = app.admin_get("/admin/stats").await.json();
    assert_eq!(stats["store"]["entries"], ITEMS);
    let bought = &app.admin_get("/admin/precompute").await.json()["templates"][0]["bought"];
    assert_eq!(bought, ITEMS);
    assert_eq!(app.upstream.calls(), calls);
}
