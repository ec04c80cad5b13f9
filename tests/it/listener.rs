//! The listener against callers that dawdle, flood, smuggle and leave. Raw sockets, since no client library would
//! send most of this.

use std::convert::Infallible;
use std::net::SocketAddr;
use std::time::Duration;

use axum::Router;
use axum::body::{Body, Bytes};
use axum::extract::State;
use axum::http::Uri;
use axum::routing::{any, get};
use futures_util::stream;
use refrain::http::{Limits, Sandbox, Shutdown, serve};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{Mutex, mpsc};
use tokio::task::JoinHandle;
use tokio::time::timeout;

/// Longer than anything here should take, even on a machine that is busy with something else.
const PATIENCE: Duration = Duration::from_secs(20);
/// A limit that is meant to be reached.
const SHORT: Duration = Duration::from_millis(100);
/// Limits that are not.
const LONG: Limits = Limits {
    head: PATIENCE,
    idle: PATIENCE,
    unread: PATIENCE,
    drain: PATIENCE,
    connections: 64,
    head_bytes: 32 << 10,
};

struct Listening {
    address: SocketAddr,
    shutdown: Shutdown,
    ended: JoinHandle<()>,
}

impl Listening {
    async fn start(limits: Limits, router: Router) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let shutdown = Shutdown::default();
        let ended = tokio::spawn(serve(listener, router, limits, shutdown.clone()));
        Self { address, shutdown, ended }
    }

    /// Answers every request with its own path.
    async fn echo(limits: Limits) -> Self {
        Self::start(
            limits,
            Router::new().fallback(any(|uri: Uri| async move { format!("<{}>", uri.path()) })),
        )
        .await
    }

    async fn connect(&self) -> Caller {
        Caller(TcpStream::connect(self.address).await.unwrap())
    }

    async fn ended(self) {
        timeout(PATIENCE, self.ended).await.expect("the listener ends").unwrap();
    }
}

struct Caller(TcpStream);

impl Caller {
    async fn send(&mut self, bytes: impl AsRef<[u8]>) {
        self.0.write_all(bytes.as_ref()).await.unwrap();
    }

    /// Reads up to and with `end`.
    async fn read_to(&mut self, end: &str) -> String {
        let mut read = Vec::new();
        let reading = async {
            while !read.ends_with(end.as_bytes()) {
                match self.0.read_u8().await {
                    Ok(byte) => read.push(byte),
                    Err(_) => break,
                }
            }
        };
        let came = timeout(PATIENCE, reading).await;
        let text = String::from_utf8(read).unwrap();
        assert!(came.is_ok() && text.ends_with(end), "waited for {end:?}, got {text:?}");
        text
    }

    /// Reads until the other side closes, orderly or not.
    async fn read_to_close(&mut self) -> String {
        let mut read = Vec::new();
        let closed = timeout(PATIENCE, self.0.read_to_end(&mut read)).await;
        assert!(closed.is_ok(), "the connection stays open after {read:?}");
        String::from_utf8(read).unwrap()
    }

    async fn ask(&mut self, path: &str) {
        self.send(format!("GET {path} HTTP/1.1\r\nhost: localhost\r\n\r\n")).await;
        self.read_to(&format!("<{path}>")).await;
    }
}

#[tokio::test]
async fn fault_60_half_a_head_or_none_is_closed_in_time() {
    let listening = Listening::echo(Limits { head: SHORT, ..LONG }).await;
    let mut silent = listening.connect().await;
    let mut halfway = listening.connect().await;
    halfway.send("GET / HTTP/1.1\r\nhost: local").await;
    let mut preface = listening.connect().await;
    preface.send("PRI * HTTP/2.0\r\n\r\nSM").await;
    listening.connect().await.ask("/meanwhile").await;
    assert_eq!(silent.read_to_close().await, "");
    assert_eq!(halfway.read_to_close().await, "");
    assert!(!preface.read_to_close().await.contains("200"));
}

#[tokio::test]
async fn a_connection_may_lie_idle_for_longer_than_a_head_may_take() {
    let listening = Listening::echo(Limits { head: SHORT, ..LONG }).await;
    let mut idle = listening.connect().await;
    idle.ask("/one").await;
    // A connection that says nothing tells when the head's time is over.
    listening.connect().await.read_to_close().await;
    idle.ask("/two").await;
    // Once the next head has begun, its limit holds.
    idle.send("GET /three HT").await;
    assert_eq!(idle.read_to_close().await, "");
}

#[tokio::test]
async fn an_idle_connection_is_closed_in_the_end() {
    let listening = Listening::echo(Limits { idle: SHORT, ..LONG }).await;
    let mut idle = listening.connect().await;
    idle.ask("/one").await;
    assert_eq!(idle.read_to_close().await, "");
}

#[tokio::test]
async fn beyond_the_limit_a_connection_waits_for_another_to_end() {
    let listening = Listening::echo(Limits { connections: 1, ..LONG }).await;
    let mut first = listening.connect().await;
    first.ask("/first").await;
    let mut second = listening.connect().await;
    second.send("GET /second HTTP/1.1\r\nhost: localhost\r\n\r\n").await;
    assert!(timeout(SHORT, second.0.read_u8()).await.is_err(), "nobody attends to the second");
    drop(first);
    second.read_to("</second>").await;
}

#[tokio::test]
async fn fault_60_who_does_not_read_is_cut_off() {
    let endless = || async {
        let chunk = Bytes::from(vec![b'x'; 1 << 20]);
        Body::from_stream(stream::repeat(Ok::<_, Infallible>(chunk)))
    };
    let router = Router::new().route("/endless", get(endless));
    let listening = Listening::start(Limits { unread: SHORT, ..LONG }, router).await;
    let mut deaf = listening.connect().await;
    deaf.send("GET /endless HTTP/1.1\r\nhost: localhost\r\n\r\n").await;
    deaf.read_to("\r\n\r\n").await;
    // Draining ends before its own limit only if the connection has been given up.
    listening.shutdown.drain();
    listening.ended().await;
}

#[tokio::test]
async fn fault_65_heads_that_are_too_large_are_431() {
    let listening = Listening::echo(LONG).await;
    let long = "x".repeat(40 << 10);
    let many: String = (0..101).map(|n| format!("x-{n}: 1\r\n")).collect();
    for head in [format!("x-long: {long}\r\n"), many] {
        let mut caller = listening.connect().await;
        caller.send(format!("GET / HTTP/1.1\r\nhost: localhost\r\n{head}\r\n")).await;
        let answer = caller.read_to("\r\n").await;
        assert!(answer.starts_with("HTTP/1.1 431"), "{answer}");
    }
}

#[tokio::test]
async fn fault_66_what_proxies_may_read_differently_is_refused() {
    let listening = Listening::echo(LONG).await;
    for (what, request) in [
        ("CR in a value", "GET / HTTP/1.1\r\nhost: localhost\r\nx-request-id: a\rb: c\r\n\r\n"),
        ("NUL in a value", "GET / HTTP/1.1\r\nhost: localhost\r\nx-request-id: a\0b\r\n\r\n"),
        ("a folded value", "GET / HTTP/1.1\r\nhost: localhost\r\nx-request-id: a\r\n b\r\n\r\n"),
        ("a space before the colon", "GET / HTTP/1.1\r\nhost : localhost\r\n\r\n"),
        ("two lengths", "POST / HTTP/1.1\r\nhost: a\r\ncontent-length: 1\r\ncontent-length: 2\r\n\r\nab"),
        ("a length with a sign", "POST / HTTP/1.1\r\nhost: a\r\ncontent-length: +1\r\n\r\na"),
        ("chunks in HTTP/1.0", "POST / HTTP/1.0\r\nhost: a\r\ntransfer-encoding: chunked\r\n\r\n0\r\n\r\n"),
        ("an unknown coding", "POST / HTTP/1.1\r\nhost: a\r\ntransfer-encoding: zip\r\n\r\n"),
    ] {
        let mut caller = listening.connect().await;
        caller.send(request).await;
        let answer = caller.read_to_close().await;
        assert!(answer.starts_with("HTTP/1.1 400"), "{what}: {answer}");
    }
}

#[tokio::test]
async fn fault_66_a_smuggled_request_is_never_answered() {
    let listening = Listening::echo(LONG).await;
    for both in [
        "content-length: 40\r\ntransfer-encoding: chunked\r\n",
        "transfer-encoding: chunked\r\ncontent-length: 40\r\n",
    ] {
        let mut caller = listening.connect().await;
        let hidden = "0\r\n\r\nGET /hidden HTTP/1.1\r\nhost: localhost\r\n\r\n";
        caller.send(format!("POST /seen HTTP/1.1\r\nhost: localhost\r\n{both}\r\n{hidden}")).await;
        let answers = caller.read_to_close().await;
        assert_eq!(answers.matches("HTTP/1.1").count(), 1, "{answers}");
        assert!(!answers.contains("hidden"), "{answers}");
    }
}

/// Answers `/stream` with the chunks that the test sends, and everything else with its path.
fn streaming() -> (Router, mpsc::Sender<&'static str>) {
    type Chunks = std::sync::Arc<Mutex<mpsc::Receiver<&'static str>>>;
    let (sender, receiver) = mpsc::channel(4);
    let answer = |State(chunks): State<Chunks>| async move {
        Body::from_stream(stream::unfold(chunks, |chunks| async {
            let chunk = chunks.lock().await.recv().await?;
            Some((Ok::<_, Infallible>(chunk), chunks))
        }))
    };
    let router = Router::new()
        .route("/stream", get(answer))
        .fallback(any(|uri: Uri| async move { format!("<{}>", uri.path()) }))
        .with_state(std::sync::Arc::new(Mutex::new(receiver)));
    (router, sender)
}

#[tokio::test]
async fn draining_finishes_streams_closes_the_idle_and_takes_nobody_new() {
    let (router, chunks) = streaming();
    let listening = Listening::start(LONG, router).await;
    let mut idle = listening.connect().await;
    idle.ask("/idle").await;
    let mut streaming = listening.connect().await;
    streaming.send("GET /stream HTTP/1.1\r\nhost: localhost\r\n\r\n").await;
    chunks.send("first,").await.unwrap();
    streaming.read_to("first,").await;
    listening.shutdown.drain();
    assert_eq!(idle.read_to_close().await, "");
    let refused = async { while TcpStream::connect(listening.address).await.is_ok() {} };
    timeout(PATIENCE, refused).await.expect("nobody listens any more");
    assert!(!listening.ended.is_finished());
    chunks.send("last.").await.unwrap();
    drop(chunks);
    let rest = streaming.read_to_close().await;
    assert!(rest.contains("last.") && rest.ends_with("0\r\n\r\n"), "{rest}");
    listening.ended().await;
}

#[tokio::test]
async fn what_does_not_finish_in_time_is_cut() {
    let (router, chunks) = streaming();
    let listening = Listening::start(Limits { drain: SHORT, ..LONG }, router).await;
    let mut caller = listening.connect().await;
    caller.send("GET /stream HTTP/1.1\r\nhost: localhost\r\n\r\n").await;
    chunks.send("first,").await.unwrap();
    caller.read_to("first,").await;
    listening.shutdown.drain();
    caller.read_to_close().await;
    assert!(listening.shutdown.is_cut());
    listening.ended().await;
}

#[tokio::test]
async fn a_second_signal_cuts_at_once() {
    let (router, chunks) = streaming();
    let listening = Listening::start(LONG, router).await;
    let mut caller = listening.connect().await;
    caller.send("GET /stream HTTP/1.1\r\nhost: localhost\r\n\r\n").await;
    chunks.send("first,").await.unwrap();
    caller.read_to("first,").await;
    listening.shutdown.drain();
    listening.shutdown.cut();
    caller.read_to_close().await;
    listening.ended().await;
}

#[tokio::test]
async fn the_sandbox_speaks_openai_to_the_holder_of_its_key() {
    let config = refrain::config::SandboxConfig { latency_ms: 0, failure_rate: 0.0 };
    let sandbox = Sandbox::bind(config).await.unwrap();
    let (url, key) = (sandbox.base_url(), sandbox.key());
    let address: SocketAddr = url["http://".len()..].trim_end_matches("/v1").parse().unwrap();
    let shutdown = Shutdown::default();
    let serving = tokio::spawn(sandbox.serve(shutdown.clone()));
    let ask = async |key: &str, stream: bool| {
        let body = format!(
            r#"{{"model":"m","stream":{stream},"messages":[{{"role":"user","content":"What is a fjord?"}}]}}"#
        );
        let mut caller = Caller(TcpStream::connect(address).await.unwrap());
        let head = format!(
            "POST /v1/chat/completions HTTP/1.1\r\nhost: {address}\r\nauthorization: Bearer {key}\r\n\
             content-type: application/json\r\nconnection: close\r\ncontent-length: {}\r\n\r\n{body}",
            body.len()
        );
        caller.send(head).await;
        caller.read_to_close().await
    };
    assert!(ask("wrong", false).await.starts_with("HTTP/1.1 401"));
    let whole = ask(key.expose(), false).await;
    assert!(whole.starts_with("HTTP/1.1 200") && whole.contains("\"finish_reason\":\"stop\""), "{whole}");
    assert_eq!(whole.split_once("\"content\":").unwrap().1, {
        let again = ask(key.expose(), false).await;
        again.split_once("\"content\":").unwrap().1.to_owned()
    });
    let streamed = ask(key.expose(), true).await;
    assert!(streamed.contains("\"role\":\"assistant\"") && streamed.contains("data: [DONE]"), "{streamed}");
    assert!(streamed.matches("data: ").count() > 20, "{streamed}");
    shutdown.cut();
    serving.await.unwrap();
}
