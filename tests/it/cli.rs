//! The binary as an operator meets it: what it prints where, and how it ends.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpListener};
use std::path::Path;
use std::process::{Command, Output, Stdio};
use std::thread::JoinHandle;

use refrain::config::Secret;
use refrain::store::DataLock;
use serde_json::{Value, json};

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
    let json: Value = serde_json::from_slice(&again.stdout).unwrap();
    assert_eq!(json["block"]["scopes"], json!(["generate"]));
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
    for line in [
        "",
        "fly",
        "invalidate",
        "feedback wrong",
        "feedback right --key a --request-id b",
        "explain",
        "key new",
    ] {
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
    let port = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
    let failed = output(folder.path(), &format!("stats --server http://127.0.0.1:{port}"));
    assert_eq!(failed.status.code(), Some(1));
    assert!(text(&failed.stderr).contains(&format!("127.0.0.1:{port}")), "{}", text(&failed.stderr));
}

const MODELS: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/models");

#[test]
fn pairs_are_judged_as_a_server_would_judge_them() {
    let folder = tempfile::tempdir().unwrap();
    let pairs = "kind\tlabel\ta\tb\n\
                 form\t1\tHow can I reset my password?\tHow do I reset my password?\n\
                 number\t0\tWhat changed in version 3.1?\tWhat changed in version 3.2?\n\
                 place\t0\tHotels near the harbour in Bergen\tHotels near the harbour in Oslo\n";
    std::fs::write(folder.path().join("pairs.tsv"), pairs).unwrap();
    let line = format!("calibrate pairs.tsv --models-dir {MODELS} --svg curve.svg --json");
    let judged = output(folder.path(), &line);
    assert!(judged.status.success(), "{}", text(&judged.stderr));
    let judged: Value = serde_json::from_slice(&judged.stdout).unwrap();
    let served = &judged["in_force"];
    assert_eq!((&served["hits"], &served["wrong"], &served["traps"]), (&json!(1), &json!(0), &json!(2)));
    let layers: Vec<_> = judged["layers"].as_array().unwrap().iter().map(|it| it["layer"].clone()).collect();
    assert_eq!(layers, ["names", "numbers"]);
    assert!(std::fs::read_to_string(folder.path().join("curve.svg")).unwrap().starts_with("<svg"));
    let told = output(folder.path(), &format!("calibrate pairs.tsv --models-dir {MODELS}"));
    let told = text(&told.stdout);
    for word in [
        "3 pairs: 1 that may share an answer, 2 traps",
        "settings of [cache], mode `semantic`\n",
        "in force",
        "right served, over traps served; O is in force",
        "# guards and score  + score alone  . cosine alone",
        "right form",
        "trap  place",
    ] {
        assert!(told.contains(word), "{word}: {told}");
    }
}

const PAIRS_ABOUT_PASSWORDS: &str = "\
    {\"a\": \"How can I reset my password?\", \"b\": \"How do I reset my password?\", \"label\": 1, \"tenant\": \"shop\"}\n\
    {\"a\": \"How can I get the latest release notes?\", \"b\": \"How do I get the latest release notes?\", \"label\": 1}\n\
    {\"a\": \"How do I reset my password?\", \"b\": \"How do I delete my account?\", \"label\": 0, \"at\": 1}\n";

#[test]
fn what_asks_about_now_is_not_served_and_says_so() {
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join("export.jsonl"), PAIRS_ABOUT_PASSWORDS).unwrap();
    let judged = output(folder.path(), &format!("calibrate export.jsonl --models-dir {MODELS} --json"));
    assert!(judged.status.success(), "{}", text(&judged.stderr));
    let judged: Value = serde_json::from_slice(&judged.stdout).unwrap();
    assert_eq!(judged["in_force"]["hits"], 1);
    let volatile = judged["layers"].as_array().unwrap().iter().find(|it| it["layer"] == "volatile");
    assert_eq!(volatile, Some(&json!({"layer": "volatile", "traps": 0, "shareable": 1})));
    let told = output(folder.path(), &format!("calibrate export.jsonl --models-dir {MODELS} --show 1"));
    let told = text(&told.stdout);
    assert!(told.lines().any(|line| line.starts_with("volatile ")), "{told}");
    assert!(told.contains("\tvolatile\t\tHow can I get the latest"), "{told}");
}

#[test]
fn a_route_is_calibrated_as_it_decides() {
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join("pairs.jsonl"), PAIRS_ABOUT_PASSWORDS).unwrap();
    let routes = "[[providers]]\nname = \"openai\"\nkind = \"openai\"\n\
        [[routes]]\nmodel = \"strict\"\nchain = [\"openai/a\"]\ncache.semantic.verifier_threshold = 1.0\n\
        [[routes]]\nmodel = \"equal\"\nchain = [\"openai/a\"]\ncache.mode = \"exact\"\n\
        [[routes]]\nmodel = \"looks\"\nchain = [\"openai/a\"]\ncache.mode = \"shadow\"\n";
    std::fs::write(folder.path().join("refrain.toml"), routes).unwrap();
    let calibrate = |rest: &str| {
        let judged = output(folder.path(), &format!("calibrate pairs.jsonl --models-dir {MODELS} {rest}"));
        assert!(judged.status.success(), "{rest}: {}", text(&judged.stderr));
        text(&judged.stdout).to_owned()
    };
    let in_force = |rest: &str| {
        let judged: Value = serde_json::from_str(&calibrate(&format!("--json {rest}"))).unwrap();
        (judged["mode"].as_str().unwrap().to_owned(), judged["in_force"].clone(), judged["layers"].clone())
    };
    let (_, unchanged, _) = in_force("");
    assert_eq!(unchanged["hits"], 1);
    let (_, strict, _) = in_force("--route strict");
    assert_eq!((&strict["hits"], &strict["threshold"]), (&json!(0), &json!(1.0)));
    let (mode, equal, layers) = in_force("--route equal");
    assert_eq!((mode.as_str(), &equal["hits"]), ("exact", &json!(0)));
    assert_eq!(layers, json!([{"layer": "mode", "traps": 1, "shareable": 2}]));
    let told = calibrate("--route equal");
    assert!(
        told.contains("settings of the route `equal`, mode `exact`\nnothing is served by similarity"),
        "{told}"
    );
    assert!(!told.contains("O is in force"), "{told}");
    let (mode, looks, _) = in_force("--route looks");
    assert_eq!((mode.as_str(), &looks["hits"]), ("shadow", &json!(1)));
    assert!(calibrate("--route looks").contains("`shadow_hit`"));

    let failed = output(folder.path(), "calibrate pairs.jsonl --route nobody");
    assert_eq!(failed.status.code(), Some(1));
    let said = text(&failed.stderr);
    assert!(
        said.contains("no route is called `nobody`") && said.contains("`strict`, `equal`, `looks`"),
        "{said}"
    );
}

#[test]
fn pairs_that_cannot_be_read_are_named_with_their_line() {
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join("pairs.tsv"), "a\tb\tlabel\nx\ty\tmaybe\n").unwrap();
    for (line, words) in [
        ("calibrate pairs.tsv", "pairs.tsv: line 2: the label is `maybe`"),
        ("calibrate nowhere.tsv", "cannot read nowhere.tsv"),
        ("calibrate pairs.tsv --max-wrong-rate 2", "--max-wrong-rate"),
    ] {
        let failed = output(folder.path(), line);
        assert_eq!(failed.status.code(), Some(1), "{line}");
        assert!(text(&failed.stderr).contains(words), "{line}: {}", text(&failed.stderr));
    }
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

/// An admin listener that answers one request with this, and returns what it was asked: the head, and the body.
fn admin_listener(status: &'static str, answer: Value) -> (SocketAddr, JoinHandle<(String, Value)>) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    let served = std::thread::spawn(move || {
        let (stream, _) = listener.accept().unwrap();
        let mut reader = BufReader::new(&stream);
        let mut head = String::new();
        while reader.read_line(&mut head).unwrap() > 2 {}
        let head = head.to_ascii_lowercase();
        let length = head.lines().find_map(|line| line.strip_prefix("content-length: "));
        let mut body = vec![0; length.map_or(0, |length| length.trim().parse().unwrap())];
        reader.read_exact(&mut body).unwrap();
        let answer = answer.to_string();
        let length = answer.len();
        write!(&stream, "HTTP/1.1 {status}\r\ncontent-length: {length}\r\nconnection: close\r\n\r\n{answer}")
            .unwrap();
        (head, serde_json::from_slice(&body).unwrap_or_default())
    });
    (address, served)
}

#[test]
fn a_command_asks_the_server_that_holds_the_folder() {
    let folder = tempfile::tempdir().unwrap();
    let data = folder.path().join("data");
    let (address, served) = admin_listener("200 OK", json!({"dry_run": true, "count": 3}));
    let mut lock = DataLock::acquire(&data).unwrap();
    lock.publish(address, &Secret::new("the-token".into())).unwrap();

    let done = output(folder.path(), "invalidate --tag prices --older-than-seconds 60");
    assert!(done.status.success(), "{}", text(&done.stderr));
    assert_eq!(text(&done.stdout), "entries that fit: 3\n");
    assert!(text(&done.stderr).contains("--yes"));

    let (head, body) = served.join().unwrap();
    assert!(head.starts_with("post /admin/invalidate http/1.1\r\n"), "{head}");
    assert!(head.contains("authorization: bearer the-token\r\n"), "{head}");
    assert_eq!(body, json!({"tag": "prices", "older_than_seconds": 60, "dry_run": true}));
}

#[test]
fn a_named_server_gets_the_key_of_the_environment() {
    let folder = tempfile::tempdir().unwrap();
    let (address, served) =
        admin_listener("404 Not Found", json!({"error": {"message": "nothing is known of this request"}}));
    let mut command =
        refrain(folder.path(), &format!("feedback wrong --request-id r-1 --server http://{address}"));
    let failed = command.env("REFRAIN_API_KEY", "rf_key").output().unwrap();
    assert_eq!(failed.status.code(), Some(1));
    assert_eq!(text(&failed.stderr), "refrain: nothing is known of this request (404 Not Found)\n");

    let (head, body) = served.join().unwrap();
    assert!(head.starts_with("post /admin/feedback "), "{head}");
    assert!(head.contains("authorization: bearer rf_key\r\n"), "{head}");
    assert_eq!(body, json!({"request_id": "r-1", "verdict": "wrong"}));
}

#[test]
fn a_route_is_switched_and_told_in_one_line() {
    let folder = tempfile::tempdir().unwrap();
    let route = json!({"model": "support", "enabled": false, "since": "2027-01-31T12:00:00Z", "reason": "person", "checks": null});
    let (address, served) = admin_listener("200 OK", route.clone());
    let done = output(folder.path(), &format!("semantic off --model support --server http://{address}"));
    let line = "support  off  since 2027-01-31T12:00:00Z (somebody said so); nothing checked\n";
    assert_eq!(text(&done.stdout), line, "{}", text(&done.stderr));
    let (head, body) = served.join().unwrap();
    assert!(head.starts_with("put /admin/semantic http/1.1\r\n"), "{head}");
    assert_eq!(body, json!({"model": "support", "enabled": false}));

    let (address, served) = admin_listener("200 OK", json!({"routes": [route]}));
    let shown = output(folder.path(), &format!("semantic --server http://{address}"));
    assert_eq!(text(&shown.stdout), line, "{}", text(&shown.stderr));
    assert!(served.join().unwrap().0.starts_with("get /admin/semantic "));
    let help = output(folder.path(), "semantic --help");
    assert!(text(&help.stdout).contains("max_error_rate") && text(&help.stdout).contains("--model support"));
    assert_eq!(output(folder.path(), "semantic maybe").status.code(), Some(2));
}

#[test]
fn a_check_beside_a_running_server_asks_it() {
    let folder = tempfile::tempdir().unwrap();
    let (address, served) =
        admin_listener("200 OK", json!({"store": {"entries": 7}, "index": {"points": 5}}));
    let mut lock = DataLock::acquire(&folder.path().join("data")).unwrap();
    lock.publish(address, &Secret::new("the-token".into())).unwrap();
    let checked = output(folder.path(), "check --json");
    let findings: Value = serde_json::from_slice(&checked.stdout).unwrap();
    let details: Vec<_> = findings.as_array().unwrap().iter().map(|it| it["detail"].to_string()).collect();
    assert!(details.iter().any(|detail| detail.contains("entries 7")), "{details:?}");
    assert!(details.iter().any(|detail| detail.contains("points 5")), "{details:?}");
    assert!(served.join().unwrap().0.starts_with("get /admin/stats "));
}
