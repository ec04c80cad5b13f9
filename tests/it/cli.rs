//! The binary as an operator meets it: what it prints where, and how it ends.

use std::io::{BufRead, BufReader};
use std::path::Path;
use std::process::{Command, Output, Stdio};

fn refrain(folder: &Path, line: &str) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_refrain"));
    command.args(line.split_whitespace()).current_dir(folder).env_clear().stdin(Stdio::null());
    command
}

fn output(folder: &Path, line: &str) -> Output {
    refrain(folder, line).output().unwrap()
}

fn text(bytes: &[u8]) -> &str {
    std::str::from_utf8(bytes).unwrap()
}

#[test]
fn a_new_key_is_printed_once_with_its_block_and_nothing_else() {
    let folder = tempfile::tempdir().unwrap();
    let made = output(folder.path(), "key new --name web --tenant shop --scopes generate,debug");
    assert!(made.status.success());
    let (key, block) = text(&made.stdout).split_once('\n').unwrap();
    assert_eq!(key.len(), 84);
    let table: toml::Table = block.parse().unwrap();
    let entry = &table["auth"]["keys"][0];
    assert_eq!(entry["tenant"].as_str(), Some("shop"));
    assert_eq!(entry["scopes"].as_array().map(Vec::len), Some(2));
    assert!(!block.contains(key));

    let again = output(folder.path(), "key new --name web --json");
    let json: serde_json::Value = serde_json::from_slice(&again.stdout).unwrap();
    assert_eq!(json["block"]["scopes"], serde_json::json!(["generate"]));
    assert_ne!(json["key"].as_str(), Some(key));
    assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 0, "it touches no file");
}

#[test]
fn a_failure_is_one_line_that_names_the_key() {
    let folder = tempfile::tempdir().unwrap();
    for (file, named) in [
        ("[cache]\nttl_secondz = 1", "cache.ttl_secondz"),
        ("[cache\n", "refrain.toml"),
        ("[server]\nlisten = \"0.0.0.0:1\"", "server.listen"),
        ("[[providers]]\nname = \"o\"\nkind = \"openai\"", "OPENAI_API_KEY"),
    ] {
        std::fs::write(folder.path().join("refrain.toml"), file).unwrap();
        let failed = output(folder.path(), "serve");
        assert_eq!(failed.status.code(), Some(1), "{file}");
        assert!(failed.stdout.is_empty());
        let said = text(&failed.stderr);
        assert!(said.starts_with("refrain: ") && said.contains(named), "{said}");
        assert_eq!(said.lines().count(), 1, "{said}");
    }
}

#[test]
fn a_wrong_command_line_is_exit_code_2() {
    let folder = tempfile::tempdir().unwrap();
    for line in
        ["", "fly", "invalidate", "feedback wrong", "feedback wrong --key a --entry b", "explain", "key new"]
    {
        let failed = output(folder.path(), line);
        assert_eq!(failed.status.code(), Some(2), "refrain {line}");
        assert!(failed.stdout.is_empty() && !failed.stderr.is_empty(), "refrain {line}");
    }
}

#[test]
fn a_command_in_the_wrong_folder_says_so_and_makes_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let failed = output(folder.path(), "stats");
    assert_eq!(failed.status.code(), Some(1));
    assert!(text(&failed.stderr).contains("--data-dir"));
    assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 0);
}

#[test]
fn a_server_that_is_not_there_is_named() {
    let folder = tempfile::tempdir().unwrap();
    // A port that was free a moment ago, and that nobody listens on now.
    let port = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
    let failed = output(folder.path(), &format!("stats --server http://127.0.0.1:{port}"));
    assert_eq!(failed.status.code(), Some(1));
    assert!(text(&failed.stderr).contains(&format!("127.0.0.1:{port}")), "{}", text(&failed.stderr));
}

#[test]
fn a_reader_that_has_had_enough_is_no_failure() {
    let folder = tempfile::tempdir().unwrap();
    let mut child = refrain(folder.path(), "key new --name web")
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    // Closed before anything is written, or right after: either way nobody reads to the end.
    drop(child.stdout.take());
    let remarks: Vec<_> =
        BufReader::new(child.stderr.take().unwrap()).lines().map_while(Result::ok).collect();
    assert!(child.wait().unwrap().success(), "{remarks:?}");
    assert!(!remarks.iter().any(|line| line.starts_with("refrain:")), "{remarks:?}");
}
