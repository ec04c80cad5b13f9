//! What callers do in great numbers, or at great leisure.

use std::cell::Cell;
use std::time::{Duration, Instant};

use futures_util::future::join_all;
use serde_json::json;
use tokio::io::AsyncWriteExt;
use tokio::net::{TcpSocket, TcpStream};

use super::chain::Plan;
use crate::flight::{collapsed, followers, open_after};
use crate::support::app::{TestApp, chat};
use crate::support::faults::{Reply as Played, Step};
use crate::support::open_many_files;
use crate::support::reply::{Gate, Reply, answer_to};
use crate::support::response::{Response, raw};
use crate::vendors::client::Client;

const PROMPT: &str = "What is a lagoon?";
const ANSWER: &str = "A lagoon is shallow water behind a reef.";
const THOUSAND: usize = 1_000;

/// Asks the same a thousand times at once, every other time for a stream, and opens the gate when all wait.
async fn a_thousand(app: &TestApp, gate: &Gate) -> Vec<Response> {
    let ask = async |at: usize| match at % 2 {
        0 => app.chat(chat(PROMPT)).await,
        _ => app.stream("/v1/chat/completions", chat(PROMPT)).await.rest().await,
    };
    let (responses, ()) = tokio::join!(join_all((0..THOUSAND).map(ask)), open_after(app, THOUSAND, gate));
    responses
}

#[tokio::test]
async fn fault_57_a_thousand_equal_misses_are_one_call_and_one_entry() {
    open_many_files();
    let app = TestApp::exact().await;
    let gate = Gate::shut();
    app.upstream.on_prompt(PROMPT, Reply::text(ANSWER).held(&gate));
    let responses = a_thousand(&app, &gate).await;
    for response in &responses {
        assert_eq!((response.status, response.answer().as_str()), (200, ANSWER));
        assert_eq!(response.source(), "upstream");
    }
    assert_eq!((app.upstream.calls(), collapsed(&responses)), (1, THOUSAND - 1));
    assert_eq!(followers(&app, "done").await, 999.0);
    app.stored(1).await;
    assert_eq!(app.admin_get("/admin/stats").await.json()["store"]["entries"], 1);
    assert_eq!(app.generate(PROMPT).await.source(), "exact");
}

#[tokio::test]
async fn fault_58_a_failure_is_shared_once_and_the_next_request_tries_anew() {
    open_many_files();
    let app = TestApp::with("cache.mode = \"exact\"\nretry.attempts_per_upstream = 1").await;
    let gate = Gate::shut();
    app.upstream.on_prompt(PROMPT, Reply::error(500, "broken", None, None).held(&gate));
    let responses = a_thousand(&app, &gate).await;
    assert!(responses.iter().all(|response| response.status == 502));
    assert_eq!((app.upstream.calls(), followers(&app, "failed").await), (1, 999.0));
    app.upstream.on_prompt(PROMPT, Reply::text(ANSWER));
    assert_eq!(app.chat(chat(PROMPT)).await.answer(), ANSWER);
    assert_eq!(app.upstream.calls(), 2);
}

/// The defaults: as many calls of an upstream at a time, and as many that wait for their turn.
const CALLS: usize = 64;
const QUEUE: usize = 256;

/// Returns the middle one of so many waits. The machine may be busy, which a few of them show, but not most.
async fn usual_wait(mut ask: impl AsyncFnMut(usize)) -> Duration {
    let mut waits = Vec::new();
    for at in 0..41 {
        let began = Instant::now();
        ask(at).await;
        waits.push(began.elapsed());
    }
    waits.sort();
    waits[20]
}

/// A thousand ask three questions each, as fast as they are answered: far more than an upstream takes at a time, which
/// answers none of them for now.
#[tokio::test]
async fn fault_59_questions_beyond_what_an_upstream_takes_are_shed_and_hits_are_not() {
    open_many_files();
    let chain = Plan::default().start_apart().await;
    let ask = async |prompt: &str| chain.app.chat(Client::OpenAi.ask("primary/m", prompt)).await;
    let is_shed = |response: &Response| {
        assert_eq!(response.status, 503, "{}", response.text());
        assert!(response.header("retry-after").parse::<u64>().unwrap() >= 1);
    };
    ask(PROMPT).await;
    let gate = Gate::shut();
    chain.primary.on("m", Played::well().after(Step::Hold(gate.clone())));

    let shed = Cell::new(0);
    let caller = async |caller: usize| {
        let mut answered = 0;
        for at in 0..3 {
            let prompt = format!("What is {caller} to the {at}?");
            let response = ask(&prompt).await;
            if response.status == 200 {
                assert_eq!(response.answer(), answer_to(&prompt));
                answered += 1;
            } else {
                is_shed(&response);
                shed.set(shed.get() + 1);
            }
        }
        answered
    };
    let measured = async {
        let mut hits = 0;
        while shed.get() < 3 * (THOUSAND - CALLS - QUEUE) {
            assert_eq!(ask(PROMPT).await.source(), "exact");
            hits += 1;
        }
        assert!(hits > 0);
        let hit = usual_wait(async |_| assert_eq!(ask(PROMPT).await.source(), "exact")).await;
        let refusal = usual_wait(async |at| is_shed(&ask(&format!("And number {at}?")).await)).await;
        gate.open();
        (hit, refusal)
    };
    let (answered, (hit, refusal)) = tokio::join!(join_all((0..THOUSAND).map(caller)), measured);

    let answered: usize = answered.iter().sum();
    assert!((CALLS + QUEUE..=3 * (CALLS + QUEUE)).contains(&answered), "{answered} were answered");
    assert_eq!((chain.primary.calls(), chain.primary.most_at_once()), (1 + answered, CALLS));
    for wait in [hit, refusal] {
        assert!(wait < Duration::from_millis(500), "a hit takes {hit:?}, a refusal {refusal:?}");
    }
}

/// What callers send who are in no hurry, and, again and again, a little more: nothing; half a head; half a preface of
/// HTTP/2; a body that drips; a question whose answer they do not read.
fn beginnings() -> [(String, &'static [u8]); 5] {
    let head = |path: &str, length: usize| {
        format!(
            "POST {path} HTTP/1.1\r\nhost: localhost\r\ncontent-type: application/json\r\ncontent-length: {length}\r\n\r\n"
        )
    };
    let question = chat("Tell me everything.").to_string();
    [
        (String::new(), b""),
        ("POST /v1/generate HTTP/1.1\r\nhost: local".into(), b""),
        ("PRI * HTTP/2.0\r\n\r\nSM".into(), b""),
        (head("/v1/generate", 100_000) + "{\"prompt\": \"", b"a"),
        (head("/v1/chat/completions", question.len()) + &question, b""),
    ]
}

/// Connects, and takes so little at a time that an answer soon waits to be read.
async fn connect(app: &TestApp) -> TcpStream {
    let socket = TcpSocket::new_v4().unwrap();
    socket.set_recv_buffer_size(4_096).unwrap();
    socket.connect(app.public().trim_start_matches("http://").parse().unwrap()).await.unwrap()
}

/// Asks for what is stored, by a connection that is there and by one that is not, and returns the usual wait.
async fn wait_for_hits(app: &TestApp) -> Duration {
    let body = json!({ "prompt": PROMPT }).to_string();
    let request = format!(
        "POST /v1/generate HTTP/1.1\r\nhost: localhost\r\ncontent-type: application/json\r\ncontent-length: {}\r\n\r\n{body}",
        body.len()
    );
    usual_wait(async |at| {
        let hit = match at % 2 {
            0 => app.generate(PROMPT).await,
            _ => raw(&app.public(), request.as_bytes()).await,
        };
        assert_eq!((hit.status, hit.source()), (200, "exact"));
    })
    .await
}

#[tokio::test]
async fn fault_60_slow_callers_are_no_burden_to_others() {
    open_many_files();
    let app = TestApp::exact().await;
    app.generate(PROMPT).await;
    // More than lies on the way between two sockets, in few words.
    let numbers = |from: usize| (from..from + 30_000).map(|number| format!("{number},")).collect::<String>();
    let everything: Vec<_> = (0..10).map(|part| numbers(part * 30_000)).collect();
    app.upstream.on_prompt("Tell me everything.", Reply::text(&everything.join(" ")));
    app.chat(chat("Tell me everything.")).await;
    assert_eq!(app.chat(chat("Tell me everything.")).await.source(), "exact");

    let mut callers = Vec::new();
    for _ in 0..20 {
        for (beginning, drop) in beginnings() {
            let mut stream = connect(&app).await;
            stream.write_all(beginning.as_bytes()).await.unwrap();
            callers.push((stream, drop));
        }
    }
    let drip = async {
        let mut tick = tokio::time::interval(Duration::from_millis(20));
        loop {
            tick.tick().await;
            for (stream, drop) in &mut callers {
                stream.write_all(drop).await.unwrap();
            }
        }
    };
    let wait = tokio::select! {
        wait = wait_for_hits(&app) => wait,
        () = drip => unreachable!("it drips for ever"),
    };
    assert!(wait < Duration::from_millis(500), "a hit takes {wait:?}");
    assert_eq!(app.get("/health/ready").await.status, 200);
}
