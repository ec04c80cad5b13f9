//! `refrain precompute`, beside a server and alone, as cron runs it.

use std::fs;

use crate::support::app::TestApp;
use crate::support::process::{output, refrain};

const LIST: &str = r#"
[[templates]]
name = "colours"
prompt = "Which colours does the {{ product }} come in?"
max_tokens = 500
variables = { product = ["lamp", "desk", "chair"] }
"#;

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

#[tokio::test]
async fn beside_a_server_or_alone_it_buys_what_is_missing_and_says_what_it_did() {
    let mut app = TestApp::binary("cache.mode = \"exact\"").await;
    fs::write(app.folder().join("list.toml"), LIST).unwrap();
    let checked = output(refrain(app.folder(), "precompute list.toml --check")).await;
    assert_eq!(text(&checked.stdout), "3 requests, none of them wrong\n");
    let planned = output(refrain(app.folder(), "precompute list.toml --dry-run")).await;
    assert!(text(&planned.stdout).contains("to buy: 3 new, 0 anew"), "{}", text(&planned.stdout));
    let bought = output(refrain(app.folder(), "precompute list.toml --max-items 2")).await;
    assert_eq!(bought.status.code(), Some(0), "{}", text(&bought.stderr));
    assert!(text(&bought.stdout).contains("bought 2 new and 0 anew"), "{}", text(&bought.stdout));
    app.stop().await;

    let alone = output(refrain(app.folder(), "precompute list.toml --json")).await;
    assert_eq!(alone.status.code(), Some(0), "{}", text(&alone.stderr));
    let lines: Vec<serde_json::Value> =
        text(&alone.stdout).lines().map(|line| serde_json::from_str(line).expect("JSON")).collect();
    let ended = lines.last().expect("a last event");
    assert_eq!((&ended["event"], &ended["about"]["bought"]), (&"ended".into(), &1.into()), "{ended}");
    assert_eq!(app.upstream.calls(), 3);
    app.start_binary().await;
    let hit = app.generate_with("Which colours does the desk come in?", &[]).await;
    assert_eq!((hit.source(), app.upstream.calls()), ("exact", 3));
}

#[tokio::test]
async fn a_mistake_in_the_last_template_is_found_before_anything_is_bought() {
    let app = TestApp::binary("cache.mode = \"exact\"").await;
    let mut list: String = (0..1_000)
        .map(|number| format!("[[templates]]\nname = \"t{number}\"\nprompt = \"What is item {number}?\"\n"))
        .collect();
    list.push_str("[[templates]]\nname = \"last\"\nprompt = \"What is {{ it }}?\"\n");
    fs::write(app.folder().join("list.toml"), list).unwrap();
    let failed = output(refrain(app.folder(), "precompute list.toml")).await;
    assert_eq!(failed.status.code(), Some(1));
    assert!(text(&failed.stderr).contains("template `last`: `prompt`: line 1: a variable is missing"));
    assert_eq!(app.upstream.calls(), 0);
}
