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

#[cfg(target_os = "linux")]
#[tokio::test]
async fn fault_59_ten_thousand_questions_are_shed_beyond_what_an_upstream_takes() {
    const QUESTIONS: usize = 10_000;
    open_many_files();
    let chain = Plan::default().start_apart().await;
    let ask = async |prompt: &str| chain.app.chat(Client::OpenAi.ask("primary/m", prompt)).await;
    ask(PROMPT).await;
    let gate = Gate::shut();
    chain.primary.on("m", Played::well().after(Step::Hold(gate.clone())));

    let (asked, shed, hits) = (Cell::new(0), Cell::new(0), Cell::new(Vec::new()));
    let slowest = Cell::new(Duration::ZERO);
    let caller = async |_| {
        let mut answered = 0;
        while asked.get() < QUESTIONS {
            asked.set(asked.get() + 1);
            let (prompt, began) = (format!("What is number {}?", asked.get()), Instant::now());
            let response = ask(&prompt).await;
            if response.status == 200 {
                assert_eq!(response.answer(), answer_to(&prompt));
                answered += 1;
                continue;
            }
            assert_eq!(response.status, 503, "{}", response.text());
            assert!(response.header("retry-after").parse::<u64>().unwrap() >= 1);
            slowest.set(slowest.get().max(began.elapsed()));
            shed.set(shed.get() + 1);
        }
        answered
    };
    let measured = async {
        while shed.get() < QUESTIONS - CALLS - QUEUE {
            let began = Instant::now();
            let hit = ask(PROMPT).await;
            assert_eq!((hit.status, hit.source()), (200, "exact"));
            let mut all = hits.take();
            all.push(began.elapsed());
            hits.set(all);
        }
        gate.open();
    };
    let (answered, ()) = tokio::join!(join_all((0..THOUSAND).map(caller)), measured);

    assert_eq!(answered.iter().sum::<usize>(), CALLS + QUEUE);
    assert_eq!((chain.primary.calls(), chain.primary.most_at_once()), (1 + CALLS + QUEUE, CALLS));
    let mut hits = hits.into_inner();
    hits.sort();
    let (median, slowest) = (hits[hits.len() / 2], slowest.get());
    // A thousand callers share two processors with the server, so these say only that nobody waits for an upstream.
    assert!(median < Duration::from_secs(1), "a hit takes {median:?} of {} hits", hits.len());
    assert!(slowest < Duration::from_secs(10), "a refusal took {slowest:?}");
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

/// Asks for what is stored, by a connection that is there and by one that is not, and returns the longest wait.
async fn longest_wait(app: &TestApp) -> Duration {
    let body = json!({ "prompt": PROMPT }).to_string();
    let request = format!(
        "POST /v1/generate HTTP/1.1\r\nhost: localhost\r\ncontent-type: application/json\r\ncontent-length: {}\r\n\r\n{body}",
        body.len()
    );
    let mut longest = Duration::ZERO;
    for at in 0..40 {
        let began = Instant::now();
        let hit = match at % 2 {
            0 => app.generate(PROMPT).await,
            _ => raw(&app.public(), request.as_bytes()).await,
        };
        assert_eq!((hit.status, hit.source()), (200, "exact"));
        longest = longest.max(began.elapsed());
    }
    longest
}

#[tokio::test]
async fn fault_60_slow_callers_are_no_burden_to_others() {
    open_many_files();
    let app = TestApp::exact().await;
    app.generate(PROMPT).await;
    let everything = "and so on ".repeat(200_000);
    app.upstream.on_prompt("Tell me everything.", Reply::text(&everything));
    app.chat(chat("Tell me everything.")).await;

    let mut callers = Vec::new();
    for _ in 0..100 {
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
    let longest = tokio::select! {
        longest = longest_wait(&app) => longest,
        () = drip => unreachable!("it drips for ever"),
    };
    assert!(longest < Duration::from_secs(2), "a hit took {longest:?}");
    assert_eq!(app.get("/health/ready").await.status, 200);
}
