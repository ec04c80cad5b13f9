//! The real binary from its start to its end, good or bad, and the commands beside it.

use std::net::TcpListener;
use std::process::Output;
use std::sync::Mutex;
use std::time::{Duration, Instant};

use futures_util::future::join_all;
use serde_json::{Value, json};
use sqlx::{Connection, Executor, SqliteConnection};

use crate::support::app::{TestApp, chat};
use crate::support::eventually;
use crate::support::process::{output, refrain};
use crate::support::reply::{Gate, Reply};
use crate::support::response::raw;

const PROMPT: &str = "How do I reset my password?";
const REWORDED: &str = "How can I reset my password?";
const EXACT: &str = "cache.mode = \"exact\"";

fn text(bytes: &[u8]) -> &str {
    std::str::from_utf8(bytes).unwrap()
}

fn json_of(output: &Output) -> Value {
    assert!(output.status.success(), "{output:?}");
    serde_json::from_slice(&output.stdout).unwrap()
}

/// Checks that a start failed with exit code 1 and one line that names what is wrong.
fn failed(output: &Output, named: &[&str]) {
    let said = text(&output.stderr);
    assert_eq!(output.status.code(), Some(1), "{said}");
    assert!(output.stdout.is_empty());
    assert_eq!(said.lines().count(), 1, "{said}");
    for named in named {
        assert!(said.contains(named), "{named}: {said}");
    }
}

#[tokio::test]
async fn fault_86_sigterm_lets_a_stream_finish_commits_it_and_ends_with_0() {
    let mut app = TestApp::binary(EXACT).await;
    let gate = Gate::shut();
    app.upstream.on_prompt(PROMPT, Reply::text("First this, then that.").held_midway(&gate));
    let mut stream = app.stream("/v1/chat/completions", chat(PROMPT)).await;
    stream.read_until("First").await;
    let public = app.public();
    app.process().signal("-TERM");
    eventually("a closed door", async || {
        let closed = tokio::net::TcpStream::connect(public.trim_start_matches("http://")).await.is_err();
        closed.then_some(())
    })
    .await;
    let ready = app.admin_get("/health/ready").await;
    assert_eq!((ready.status, app.admin_get("/health/live").await.status), (503, 200));
    gate.open();
    let whole = stream.rest().await;
    assert_eq!(whole.answer(), "First this, then that.");
    assert!(whole.text().ends_with("data: [DONE]\n\n"));
    assert_eq!(app.process().ended().await.code(), Some(0), "{}", app.process().said());

    app.start_binary().await;
    assert_eq!(app.chat(chat(PROMPT)).await.served_by(), "exact store");
    assert_eq!(app.upstream.calls(), 1);
}

#[tokio::test]
async fn fault_86_what_does_not_finish_in_the_drain_time_is_cut() {
    let app = TestApp::binary("cache.mode = \"exact\"\nserver.drain_timeout_ms = 100").await;
    let never = Gate::shut();
    app.upstream.on_prompt(PROMPT, Reply::text("First this, then that.").held_midway(&never));
    let mut stream = app.stream("/v1/chat/completions", chat(PROMPT)).await;
    stream.read_until("First").await;
    app.process().signal("-TERM");
    assert_eq!(app.process().ended().await.code(), Some(0), "{}", app.process().said());
}

#[tokio::test]
async fn fault_86_a_second_signal_waits_for_nobody() {
    let app = TestApp::binary("cache.mode = \"exact\"\nserver.drain_timeout_ms = 600000").await;
    let never = Gate::shut();
    app.upstream.on_prompt(PROMPT, Reply::text("First this, then that.").held_midway(&never));
    let mut stream = app.stream("/v1/chat/completions", chat(PROMPT)).await;
    stream.read_until("First").await;
    let public = app.public();
    app.process().signal("-TERM");
    eventually("a closed door", async || {
        let closed = tokio::net::TcpStream::connect(public.trim_start_matches("http://")).await.is_err();
        closed.then_some(())
    })
    .await;
    app.process().signal("-INT");
    assert_eq!(app.process().ended().await.code(), Some(0), "{}", app.process().said());
}

/// How long before a crash an answer must have been given for its entry to be safe.
const SETTLED: Duration = Duration::from_millis(100);

#[tokio::test]
async fn fault_82_after_kill_9_what_was_answered_is_there_and_the_index_fills_itself_again() {
    let mut app = TestApp::binary("").await;
    let prompt = |at: usize| format!("Tell me fact number {at} about the history of clocks.");
    let answered = Mutex::new(Vec::new());
    let write = async |writer: usize| {
        for at in (writer..).step_by(8) {
            if !app.try_chat(chat(&prompt(at))).await {
                return;
            }
            answered.lock().unwrap().push((at, Instant::now()));
        }
    };
    let settled = |now: Instant| {
        let answered = answered.lock().unwrap();
        let early = answered.iter().filter(|(_, when)| now.duration_since(*when) > SETTLED);
        early.map(|(at, _)| *at).collect::<Vec<_>>()
    };
    let kill = async {
        eventually("many answers", async || (settled(Instant::now()).len() >= 200).then_some(())).await;
        let killed = Instant::now();
        app.process().signal("-KILL");
        killed
    };
    let (_, killed) = tokio::join!(join_all((0..8).map(write)), kill);
    app.process().ended().await;
    let safe = settled(killed);

    app.start_binary().await;
    let mut found = 0;
    for at in &safe {
        let again = app
            .chat_with(chat(&prompt(*at)), &[("cache-control", "only-if-cached"), ("x-cache-mode", "exact")]);
        found += usize::from(again.await.status == 200);
    }
    assert!(found * 100 >= safe.len() * 99, "{found} of {}", safe.len());
    eventually("a full index", async || {
        let stats = app.admin_get("/admin/stats").await.json();
        let (points, vectors) = (stats["index"]["points"].as_u64(), stats["store"]["vectors"].as_u64());
        (points >= vectors && points >= Some(found as u64)).then_some(())
    })
    .await;
}

#[tokio::test]
async fn an_occupied_port_is_named() {
    let occupied = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = occupied.local_addr().unwrap().port();
    let folder = tempfile::tempdir().unwrap();
    for (flag, key, free) in [
        ("--listen", "server.listen", "--admin-listen"),
        ("--admin-listen", "server.admin_listen", "--listen"),
    ] {
        let line = format!("serve --sandbox {flag} 127.0.0.1:{port} {free} 127.0.0.1:0");
        failed(&output(refrain(folder.path(), &line)).await, &[key, &port.to_string()]);
    }
}

const FREE_PORTS: &str = "serve --sandbox --listen 127.0.0.1:0 --admin-listen 127.0.0.1:0";

#[tokio::test]
async fn a_data_folder_that_cannot_be_used_is_named() {
    let folder = tempfile::tempdir().unwrap();
    // Root may write anywhere, but not into a file as if it were a folder.
    std::fs::write(folder.path().join("file"), "").unwrap();
    let started = output(refrain(folder.path(), &format!("{FREE_PORTS} --data-dir file/data"))).await;
    failed(&started, &["file/data"]);
    let started = output(refrain(folder.path(), &format!("{FREE_PORTS} --data-dir file"))).await;
    failed(&started, &["file"]);
}

#[tokio::test]
async fn fault_81_a_data_folder_in_use_is_named_with_its_holder() {
    let app = TestApp::exact().await;
    let started = output(refrain(app.folder(), "serve")).await;
    let pid = std::process::id().to_string();
    failed(&started, &["data folder", "in use", &pid]);
    assert_eq!(app.generate(PROMPT).await.status, 200, "its holder is not disturbed");
}

#[tokio::test]
async fn fault_80_a_store_of_a_newer_version_is_refused_and_left_alone() {
    let mut app = TestApp::exact().await;
    app.generate(PROMPT).await;
    app.stop().await;
    let url = format!("sqlite://{}", app.folder().join("data/refrain.db").display());
    let mut store = SqliteConnection::connect(&url).await.unwrap();
    store
        .execute(
            "INSERT INTO _sqlx_migrations (version, description, success, checksum, execution_time) \
             VALUES (999, 'later', 1, x'00', 0)",
        )
        .await
        .unwrap();
    failed(&output(refrain(app.folder(), "serve")).await, &["store.url", "newer version"]);
    let entries: i64 =
        sqlx::query_scalar("SELECT count(*) FROM entries").fetch_one(&mut store).await.unwrap();
    assert_eq!(entries, 1);
    store.close().await.unwrap();
}

#[tokio::test]
async fn a_missing_key_variable_is_named_with_its_key() {
    let app = TestApp::exact().await;
    let mut command = refrain(app.folder(), "serve");
    command.env_remove("FAKE_KEY");
    failed(&output(command).await, &["providers[0].api_key_env", "FAKE_KEY"]);
}

#[tokio::test]
async fn check_says_of_every_part_whether_it_is_well() {
    let mut app = TestApp::start().await;
    app.generate(PROMPT).await;
    // `check` sends an empty request, which is not what the upstream expects of a careful client.
    let beside = output(refrain(app.folder(), "check")).await;
    app.stop().await;
    let alone = output(refrain(app.folder(), "check")).await;
    app.upstream.forgive();
    for checked in [&beside, &alone] {
        assert!(checked.status.success(), "{checked:?}");
        let lines: Vec<_> = text(&checked.stdout).lines().collect();
        let parts = ["configuration", "model", "verifier", "runtime", "store", "index", "providers"];
        for (line, part) in lines.iter().zip(parts) {
            assert!(line.starts_with(part) && line.contains("ok"), "{lines:#?}");
        }
        assert_eq!(lines.len(), parts.len(), "{lines:#?}");
    }
    assert!(text(&alone.stdout).contains("1 entries"), "{}", text(&alone.stdout));

    let unwell = output(refrain(app.folder(), "check --models-dir nowhere")).await;
    app.upstream.forgive();
    assert_eq!(unwell.status.code(), Some(1));
    assert!(text(&unwell.stdout).contains("make models"), "{}", text(&unwell.stdout));
}

/// Runs the four commands that touch data and checks what they say and do. `alive`: the server runs.
async fn commands(app: &TestApp, alive: bool) {
    let run = async |line: &str| output(refrain(app.folder(), line)).await;
    let ask = async |words: &[&str]| {
        let mut command = refrain(app.folder(), "explain --json");
        command.args(words);
        json_of(&output(command).await)
    };
    let stats = json_of(&run("stats --json").await);
    assert_eq!(stats["store"]["entries"], 2);
    let readable = run("stats").await;
    assert!(readable.status.success() && text(&readable.stdout).contains("entries"), "{readable:?}");

    let explained = ask(&[PROMPT]).await;
    assert_eq!(explained["source"], "exact");
    // Alone, the folder's index is as young as the command.
    if alive {
        assert_eq!(ask(&[REWORDED]).await["source"], "semantic");
    }
    assert_eq!(ask(&[PROMPT, "--system", "Be brief."]).await["decision"], "miss");

    let key = explained["key"].as_str().unwrap().to_owned();
    let wrong = json_of(&run(&format!("feedback wrong --json --key {key}")).await);
    assert_eq!(wrong["removed"], 1);
    let dry = json_of(&run("invalidate --json --tag faq").await);
    assert_eq!((&dry["count"], &dry["dry_run"]), (&json!(1), &json!(true)));
    let done = json_of(&run("invalidate --json --tag faq --yes").await);
    assert_eq!((&done["count"], &done["dry_run"]), (&json!(1), &json!(false)));
    assert_eq!(json_of(&run("stats --json").await)["store"]["entries"], 0);
}

async fn with_two_entries() -> TestApp {
    let app = TestApp::start().await;
    app.generate(PROMPT).await;
    app.generate_with("What is a fjord?", &[("x-cache-tags", "faq")]).await;
    app.indexed(2).await;
    app
}

#[tokio::test]
async fn commands_beside_a_running_server_go_through_it() {
    let app = with_two_entries().await;
    commands(&app, true).await;
    assert_eq!(app.generate(PROMPT).await.source(), "upstream", "the server knows what was removed");
}

#[tokio::test]
async fn commands_open_a_folder_that_is_free_themselves() {
    let mut app = with_two_entries().await;
    app.stop().await;
    commands(&app, false).await;
    app.restart().await;
    assert_eq!(app.generate(PROMPT).await.source(), "upstream");
}

#[tokio::test]
async fn prompts_answers_and_keys_are_never_logged() {
    let sha256 = "2bb80d537b1da3e38bd30361aa855686bde0eacd7162fef6a25fe97bf527a25b"; // "secret"
    let settings =
        format!("auth.keys = [{{name = \"k\", scopes = [\"generate\", \"admin\"], sha256 = \"{sha256}\"}}]");
    let mut app = TestApp::binary(&settings).await;
    app.use_key("secret");
    let (prompt, answer) = ("Where does PROMPTMARK live?", "ANSWERMARK lives there.");
    app.upstream.on_prompt(prompt, Reply::text(answer));
    assert_eq!(app.generate(prompt).await.answer(), answer);
    app.generate("Where is PROMPTMARK living?").await;
    app.generate("Where doesn't PROMPTMARK live?").await;
    app.post_text("/v1/generate", &[], "{\"prompt\": \"PROMPTMARK").await;
    let broken = Reply::error(500, "ANSWERMARK", None, None);
    app.upstream.always(broken);
    app.generate("Why does PROMPTMARK fail?").await;
    // A vendor that says what is wrong with a prompt may quote it.
    app.upstream.always(Reply::error(400, "what is PROMPTMARK supposed to mean?", None, None));
    app.generate("What is wrong with PROMPTMARK?").await;
    app.use_key("wrong-secret");
    app.generate(prompt).await;
    app.process().signal("-TERM");
    assert_eq!(app.process().ended().await.code(), Some(0));
    let said = app.process().said();
    assert!(said.contains("request_id"), "it does log: {said}");
    for kept in ["PROMPTMARK", "ANSWERMARK", "secret", crate::support::upstream::KEY] {
        assert!(!said.contains(kept), "{kept}: {said}");
    }
}

#[tokio::test]
async fn the_sandbox_answers_without_any_key_and_says_that_it_does() {
    let folder = tempfile::tempdir().unwrap();
    let settings =
        "cache.mode = \"exact\"\nserver.listen = \"127.0.0.1:0\"\nserver.admin_listen = \"127.0.0.1:0\"";
    std::fs::write(folder.path().join("refrain.toml"), settings).unwrap();
    let process = crate::support::process::Process::start_with(folder.path(), "serve --sandbox").await;
    let body = "{\"prompt\": \"Hi\"}";
    let request = format!(
        "POST /v1/generate HTTP/1.1\r\nhost: localhost\r\ncontent-type: application/json\r\ncontent-length: {}\r\n\r\n{body}",
        body.len()
    );
    for source in ["upstream", "exact"] {
        let response = raw(&process.public, request.as_bytes()).await;
        assert_eq!(
            (response.source(), response.header("x-provider")),
            (source, "sandbox"),
            "{}",
            response.text()
        );
    }
    assert!(!process.said().contains("Hi\""), "prompts are never logged: {}", process.said());
}
