//! Lists that the server buys by itself.

use std::fs;

use crate::support::app::{TestApp, chat};
use crate::support::process::{output, refrain};

#[tokio::test]
async fn a_run_that_was_missed_is_made_up_for_at_the_start_and_not_again() {
    // It comes every minute, so one was missed; and no other can pass for it.
    let settings = "cache.mode = \"exact\"\n[precompute]\nfiles = [\"list.jsonl\"]\nschedule = \"* * * * *\"";
    let mut app = TestApp::binary("cache.mode = \"exact\"").await;
    let body = chat("Which colours does the lamp come in?");
    let line = serde_json::json!({"endpoint": "/v1/chat/completions", "body": body}).to_string();
    fs::write(app.folder().join("list.jsonl"), line).unwrap();
    app.configure(settings);
    app.start_binary().await;
    app.stored(1).await;
    assert_eq!(app.chat(chat("Which colours does the lamp come in?")).await.source(), "exact");
    app.start_binary().await;
    assert_eq!(app.chat(chat("Which colours does the lamp come in?")).await.source(), "exact");
    assert_eq!(app.upstream.calls(), 1);
}

#[tokio::test]
async fn a_schedule_that_is_none_fails_at_the_start_and_names_its_key() {
    for (settings, names) in [
        ("schedule = \"every night\"\nfiles = [\"a.toml\"]", "precompute.schedule"),
        ("schedule = \"0 1 * * *\"", "precompute.files"),
        ("window = \"soon\"", "precompute.window"),
        ("share_of_limit = 2.0", "precompute.share_of_limit"),
    ] {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("refrain.toml");
        fs::write(file, format!("server.listen = \"127.0.0.1:0\"\nserver.admin_listen = \"127.0.0.1:0\"\n[precompute]\n{settings}\n")).unwrap();
        let failed = output(refrain(folder.path(), "serve --sandbox")).await;
        let said = String::from_utf8_lossy(&failed.stderr).into_owned();
        assert_eq!(failed.status.code(), Some(1), "{said}");
        assert!(said.contains(names), "{said}");
    }
}
