//! A load generator that costs little: keep-alive connections, one request on the way on each, no HTTP library.

pub mod prompts;

use std::future::Future;
use std::net::SocketAddr;
use std::time::{Duration, Instant};

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

/// One connection.
pub struct Client {
    stream: TcpStream,
    path: &'static str,
    /// Lines of the head that every request has besides, each with its line break.
    headers: String,
    request: Vec<u8>,
    buffer: Vec<u8>,
}

/// What came back.
pub struct Answer {
    pub head: String,
    pub body: Vec<u8>,
}

impl Client {
    /// Connects, ready to send this body again and again.
    pub async fn connect(address: SocketAddr, path: &'static str, body: &str) -> Self {
        let stream = TcpStream::connect(address).await.expect("the server listens");
        stream.set_nodelay(true).expect("the socket takes options");
        let request = request(path, "", body);
        Self { stream, path, headers: String::new(), request, buffer: Vec::with_capacity(16 << 10) }
    }

    /// Sends this line of the head with every other body from now on.
    pub fn add_header(&mut self, line: &str) {
        self.headers.push_str(line);
        self.headers.push_str("\r\n");
    }

    /// Sends the body it was made with.
    pub async fn ask(&mut self) -> Answer {
        let head_end = self.exchange().await;
        Answer {
            head: String::from_utf8_lossy(&self.buffer[..head_end]).into_owned(),
            body: self.buffer[head_end + 4..].to_vec(),
        }
    }

    /// Sends another body.
    pub async fn ask_with(&mut self, body: &str) -> Answer {
        self.request = request(self.path, &self.headers, body);
        self.ask().await
    }

    /// Sends a body that is answered with a stream; returns the milliseconds to its first event and to its last word.
    /// `header` is one more line of the head, or none.
    pub async fn stream(&mut self, header: &str, body: &str) -> (f64, f64) {
        let request = request(self.path, "", body);
        let request = String::from_utf8(request).expect("a request is text");
        let request = request.replacen("content-type", &format!("{header}content-type"), 1);
        self.buffer.clear();
        let began = Instant::now();
        self.stream.write_all(request.as_bytes()).await.expect("the connection holds");
        let (mut first, mut last) = (None, None);
        loop {
            let read = self.stream.read_buf(&mut self.buffer).await.expect("the connection holds");
            assert!(read > 0, "the server closed the connection");
            let holds = |text: &[u8]| self.buffer.windows(text.len()).any(|bytes| bytes == text);
            if first.is_none() && holds(b"data: ") {
                first = Some(began.elapsed().as_secs_f64() * 1e3);
            }
            if last.is_none() && holds(b"[DONE]") {
                last = Some(began.elapsed().as_secs_f64() * 1e3);
            }
            if self.buffer.ends_with(b"0\r\n\r\n") {
                return (first.expect("a stream has an event"), last.expect("a stream has a last word"));
            }
        }
    }

    /// Sends and reads one response into the buffer; returns where its head ends.
    async fn exchange(&mut self) -> usize {
        self.buffer.clear();
        self.stream.write_all(&self.request).await.expect("the connection holds");
        loop {
            let read = self.stream.read_buf(&mut self.buffer).await.expect("the connection holds");
            assert!(read > 0, "the server closed the connection");
            let Some(head_end) = self.buffer.windows(4).position(|four| four == b"\r\n\r\n") else {
                continue;
            };
            let head = std::str::from_utf8(&self.buffer[..head_end]).expect("a head is text");
            let length = head
                .lines()
                .find_map(|line| line.strip_prefix("content-length: "))
                .and_then(|length| length.parse::<usize>().ok())
                .expect("the response says its length");
            while self.buffer.len() < head_end + 4 + length {
                let read = self.stream.read_buf(&mut self.buffer).await.expect("the connection holds");
                assert!(read > 0, "the server closed the connection");
            }
            return head_end;
        }
    }
}

fn request(path: &str, headers: &str, body: &str) -> Vec<u8> {
    let length = body.len();
    let head =
        format!("POST {path} HTTP/1.1\r\nhost: 127.0.0.1\r\n{headers}content-type: application/json\r\n");
    format!("{head}content-length: {length}\r\n\r\n{body}").into_bytes()
}

/// Returns responses per second over `time`.
pub async fn throughput(
    address: SocketAddr,
    path: &'static str,
    body: &'static str,
    connections: usize,
    time: Duration,
) -> f64 {
    let began = Instant::now();
    let until = began + time;
    let tasks: Vec<_> = (0..connections)
        .map(|_| {
            tokio::spawn(async move {
                let mut client = Client::connect(address, path, body).await;
                let mut answers = 0_u32;
                while Instant::now() < until {
                    client.exchange().await;
                    answers += 1;
                }
                answers
            })
        })
        .collect();
    let mut answers = 0;
    for task in tasks {
        answers += task.await.expect("a client ends");
    }
    f64::from(answers) / began.elapsed().as_secs_f64()
}

/// Durations, in milliseconds.
#[derive(Default)]
pub struct Percentiles(Vec<f64>);

impl Percentiles {
    /// Waits for a future and keeps how long it took.
    pub async fn time<T>(&mut self, work: impl Future<Output = T>) -> T {
        let began = Instant::now();
        let result = work.await;
        self.0.push(began.elapsed().as_secs_f64() * 1e3);
        result
    }

    /// Takes in a duration in milliseconds.
    pub fn push(&mut self, millis: f64) {
        self.0.push(millis);
    }

    /// Takes in what another one has.
    pub fn append(&mut self, mut other: Self) {
        self.0.append(&mut other.0);
    }

    /// Returns how many there are.
    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// Returns the value below which this share of the durations lies.
    pub fn at(&mut self, share: f64) -> f64 {
        self.0.sort_by(f64::total_cmp);
        self.0[((self.0.len() - 1) as f64 * share).round() as usize]
    }
}
