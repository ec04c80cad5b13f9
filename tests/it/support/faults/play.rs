//! Doing what a reply says, byte by byte.

use std::io;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use super::format::{Format, Question};
use super::reply::{Reply, Step};

/// What becomes of the connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Next {
    Request,
    /// It is closed when it is dropped.
    Close,
}

/// One connection, on which one reply is played.
pub(super) struct Stage<'a> {
    stream: &'a mut TcpStream,
    format: Format,
    question: &'a Question,
    status: Option<u16>,
    headers: Vec<String>,
    body: Body,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Body {
    /// No head was sent.
    Before,
    InChunks,
    ByLength,
    Over,
}

/// Bytes that are written at a time where many are.
const PORTION: usize = 64 << 10;
const EVENTS: &str = "text/event-stream";
const JSON: &str = "application/json";

impl<'a> Stage<'a> {
    pub fn new(stream: &'a mut TcpStream, format: Format, question: &'a Question) -> Self {
        Self { stream, format, question, status: None, headers: Vec::new(), body: Body::Before }
    }

    /// Does all of it.
    pub async fn play(mut self, reply: &Reply) -> io::Result<Next> {
        for step in &reply.0 {
            if let Some(next) = self.step(step).await? {
                return Ok(next);
            }
        }
        match self.body {
            Body::InChunks => self.stream.write_all(b"0\r\n\r\n").await?,
            // Bytes of the connection are all that was said; their end is its end.
            Body::Before => return Ok(Next::Close),
            Body::ByLength | Body::Over => {}
        }
        Ok(Next::Request)
    }

    async fn step(&mut self, step: &Step) -> io::Result<Option<Next>> {
        match step {
            Step::Header(line) => self.headers.push(line.clone()),
            Step::Status(status) => self.status = Some(*status),
            Step::Answer(words) if self.question.asked.streams => {
                let events = self.format.events(words, self.question);
                self.begin(EVENTS, None).await?;
                self.piece(&events).await?;
            }
            Step::Answer(words) => {
                let whole = self.format.whole(words, self.question).to_string();
                self.whole(JSON, whole.as_bytes()).await?;
            }
            Step::Fail(status, failure) => {
                self.status = Some(*status);
                let error = self.format.error(*status, failure).to_string();
                self.whole(JSON, error.as_bytes()).await?;
            }
            Step::Body(content_type, bytes) => self.whole(content_type, bytes).await?,
            Step::Begin(content_type, length) => {
                self.begin(content_type, *length).await?;
                if content_type == EVENTS && self.format == Format::OpenAi {
                    let role = self.format.piece(step, self.question);
                    self.piece(role.as_bytes()).await?;
                }
            }
            Step::Say(_)
            | Step::SayHalf
            | Step::SayRest
            | Step::Event(_)
            | Step::Finish(_)
            | Step::Usage(..)
            | Step::Done => {
                let event = self.format.piece(step, self.question);
                self.piece(event.as_bytes()).await?;
            }
            Step::Raw(bytes) => self.piece(bytes).await?,
            Step::SayEvery(pause, text) => loop {
                let event = self.format.piece(&Step::Say(text.clone()), self.question);
                self.piece(event.as_bytes()).await?;
                tokio::time::sleep(*pause).await;
            },
            Step::Every(pause, bytes) => loop {
                self.piece(bytes).await?;
                tokio::time::sleep(*pause).await;
            },
            Step::Pour(total, bytes) => self.pour(*total, bytes).await?,
            Step::Bomb => self.explode().await?,
            Step::Bytes(bytes) => self.stream.write_all(bytes).await?,
            Step::Wait(time) => tokio::time::sleep(*time).await,
            Step::Hold(gate) => gate.passed().await,
            Step::Stall => {
                // Nothing more is asked before this is answered: what can be read is the end.
                while self.stream.read(&mut [0; 512]).await? > 0 {}
                return Ok(Some(Next::Close));
            }
            Step::Close => return Ok(Some(Next::Close)),
            Step::Reset => {
                self.stream.set_zero_linger()?;
                return Ok(Some(Next::Close));
            }
        }
        Ok(None)
    }

    async fn whole(&mut self, content_type: &str, bytes: &[u8]) -> io::Result<()> {
        let mut response = self.head(content_type, Some(bytes.len())).into_bytes();
        response.extend_from_slice(bytes);
        self.body = Body::Over;
        self.stream.write_all(&response).await
    }

    async fn begin(&mut self, content_type: &str, length: Option<usize>) -> io::Result<()> {
        let head = self.head(content_type, length);
        self.body = if length.is_some() { Body::ByLength } else { Body::InChunks };
        self.stream.write_all(head.as_bytes()).await
    }

    fn head(&self, content_type: &str, length: Option<usize>) -> String {
        let framing = match length {
            Some(length) => format!("content-length: {length}"),
            None => "transfer-encoding: chunked".to_owned(),
        };
        let usual = [format!("content-type: {content_type}"), framing];
        let is_said = |line: &String| self.headers.iter().any(|said| name(said) == name(line));
        let lines = usual.iter().filter(|line| !is_said(line)).chain(&self.headers);
        let lines: String = lines.map(|line| format!("{line}\r\n")).collect();
        format!("HTTP/1.1 {} Scripted\r\n{lines}\r\n", self.status.unwrap_or(200))
    }

    /// Sends bytes of the body, each time as a chunk of its own where it comes in chunks.
    async fn piece(&mut self, bytes: &[u8]) -> io::Result<()> {
        if self.body == Body::Before {
            self.begin(EVENTS, None).await?;
        }
        if self.body != Body::InChunks {
            return self.stream.write_all(bytes).await;
        }
        let mut chunk = format!("{:x}\r\n", bytes.len()).into_bytes();
        chunk.extend_from_slice(bytes);
        chunk.extend_from_slice(b"\r\n");
        self.stream.write_all(&chunk).await
    }

    /// Sends many bytes and holds few.
    async fn pour(&mut self, total: Option<usize>, bytes: &[u8]) -> io::Result<()> {
        let portion = bytes.repeat(PORTION.div_ceil(bytes.len()));
        let mut left = total.unwrap_or(usize::MAX);
        while left > 0 {
            let next = &portion[..portion.len().min(left)];
            self.piece(next).await?;
            left -= next.len();
        }
        Ok(())
    }

    /// Sends zeros without end, 64 KiB of them in each 83 bytes.
    async fn explode(&mut self) -> io::Result<()> {
        let start = hex::decode("ecc101010000008090feafee080a").unwrap();
        let block = [start, vec![0; 63], hex::decode("6a000000ffff").unwrap()].concat();
        self.headers.push("content-encoding: gzip".to_owned());
        self.begin(JSON, None).await?;
        self.piece(b"\x1f\x8b\x08\0\0\0\0\0\x02\x03").await?;
        self.pour(None, &block).await
    }
}

/// Returns the name of a header's line.
fn name(line: &str) -> String {
    line.split(':').next().unwrap_or("").to_ascii_lowercase()
}
