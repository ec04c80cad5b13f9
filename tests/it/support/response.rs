//! What a server answered, in the words that tests ask for.

use reqwest::header::{HeaderMap, HeaderName, HeaderValue};
use serde_json::Value;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use super::PATIENCE;

/// A whole answer.
#[derive(Debug)]
pub struct Response {
    pub status: u16,
    headers: HeaderMap,
    body: Vec<u8>,
}

impl Response {
    pub(super) async fn read(response: reqwest::Response) -> Self {
        Self::try_read(response).await.unwrap()
    }

    pub(super) async fn try_read(response: reqwest::Response) -> reqwest::Result<Self> {
        let (status, headers) = (response.status().as_u16(), response.headers().clone());
        Ok(Self { status, headers, body: response.bytes().await?.into() })
    }

    /// Returns a header, or an empty text where it is not there.
    pub fn header(&self, name: &str) -> &str {
        self.headers.get(name).map_or("", |value| value.to_str().unwrap())
    }

    pub fn has_header(&self, name: &str) -> bool {
        self.headers.contains_key(name)
    }

    /// Returns the names of all headers.
    pub fn header_names(&self) -> Vec<&str> {
        self.headers.keys().map(HeaderName::as_str).collect()
    }

    pub fn text(&self) -> String {
        String::from_utf8(self.body.clone()).unwrap()
    }

    pub fn json(&self) -> Value {
        serde_json::from_slice(&self.body).unwrap_or_else(|error| panic!("{error}: {}", self.text()))
    }

    /// Returns where the answer came from: `x-cache-source`.
    pub fn source(&self) -> &str {
        self.header("x-cache-source")
    }

    /// Returns source and tier, such as `exact memory`; a tier that is not there is left out.
    pub fn served_by(&self) -> String {
        format!("{} {}", self.source(), self.header("x-cache-tier")).trim().to_owned()
    }

    /// Returns the words of the answer, whichever format it has, streamed or not.
    pub fn answer(&self) -> String {
        if self.header("content-type").starts_with("text/event-stream") {
            return self.events().iter().map(|event| piece(event)).collect();
        }
        let body = self.json();
        let text = body["text"].as_str().or_else(|| body["choices"][0]["message"]["content"].as_str());
        text.unwrap_or_else(|| panic!("no answer: {} {body}", self.status)).to_owned()
    }

    /// Returns the data of every event.
    pub fn events(&self) -> Vec<String> {
        events(&self.text())
    }

    /// Returns the field of `error` in OpenAI's shape, which both formats have.
    pub fn error(&self, field: &str) -> String {
        let body = self.json();
        assert!(body["error"].is_object(), "no error: {} {body}", self.status);
        body["error"][field].as_str().unwrap_or("").to_owned()
    }
}

/// Returns the data of each event of a stream.
fn events(text: &str) -> Vec<String> {
    let data = text.split("\n\n").filter(|event| !event.is_empty() && !event.starts_with(':'));
    data.map(|event| event.strip_prefix("data: ").expect("an event of one line").to_owned()).collect()
}

/// Returns the words in one event of a stream, in either format.
pub fn piece(event: &str) -> String {
    let value: Value = serde_json::from_str(event).unwrap_or_default();
    let words = value["delta"].as_str().or_else(|| value["choices"][0]["delta"]["content"].as_str());
    words.unwrap_or("").to_owned()
}

/// An answer on its way.
pub struct Streamed {
    pub status: u16,
    pub headers: HeaderMap,
    response: reqwest::Response,
    seen: Vec<u8>,
}

impl Streamed {
    pub(super) fn new(response: reqwest::Response) -> Self {
        let (status, headers) = (response.status().as_u16(), response.headers().clone());
        Self { status, headers, response, seen: Vec::new() }
    }

    /// Reads until this text has come.
    pub async fn read_until(&mut self, text: &str) {
        while !String::from_utf8_lossy(&self.seen).contains(text) {
            let chunk = self.response.chunk().await.unwrap();
            let chunk = chunk.unwrap_or_else(|| panic!("the stream ended before {text:?}"));
            self.seen.extend_from_slice(&chunk);
        }
    }

    /// Returns whether the connection ends before the body does.
    pub async fn breaks_off(mut self) -> bool {
        loop {
            match self.response.chunk().await {
                Ok(Some(_)) => {}
                Ok(None) => return false,
                Err(_) => return true,
            }
        }
    }

    /// Reads to the end.
    pub async fn rest(mut self) -> Response {
        while let Some(chunk) = self.response.chunk().await.unwrap() {
            self.seen.extend_from_slice(&chunk);
        }
        Response { status: self.status, headers: self.headers, body: self.seen }
    }
}

/// Sends these bytes over a connection of their own and returns the first response to them. Nothing is asked of the
/// bytes, so the response must end by its length or with the connection.
pub async fn raw(base: &str, bytes: &[u8]) -> Response {
    let mut stream = TcpStream::connect(base.trim_start_matches("http://")).await.unwrap();
    // A server that has seen enough may close before everything was sent.
    let _ = stream.write_all(bytes).await;
    let mut seen = Vec::new();
    loop {
        if let Some(response) = parsed(&seen) {
            return response;
        }
        let read = stream.read_buf(&mut seen).await;
        let is_over = !matches!(read, Ok(1..));
        assert!(!is_over, "the connection ended early: {:?}", String::from_utf8_lossy(&seen));
    }
}

/// Sends these bytes and returns all that came back until the server closed the connection.
pub async fn raw_to_the_end(base: &str, bytes: &[u8]) -> String {
    let mut stream = TcpStream::connect(base.trim_start_matches("http://")).await.unwrap();
    let _ = stream.write_all(bytes).await;
    let mut seen = Vec::new();
    // A reset after what was said is an end, too.
    let _ = tokio::time::timeout(PATIENCE, stream.read_to_end(&mut seen)).await.expect("the connection ends");
    String::from_utf8(seen).unwrap()
}

/// Returns the response once it is there to its last byte.
fn parsed(seen: &[u8]) -> Option<Response> {
    let end = seen.windows(4).position(|window| window == b"\r\n\r\n")?;
    let head = std::str::from_utf8(&seen[..end]).unwrap();
    let (first, fields) = head.split_once("\r\n").unwrap_or((head, ""));
    let status = first.split(' ').nth(1)?.parse().unwrap();
    let header = |line: &str| {
        let (name, value) = line.split_once(": ").unwrap();
        (name.parse::<HeaderName>().unwrap(), value.parse::<HeaderValue>().unwrap())
    };
    let headers: HeaderMap = fields.lines().map(header).collect();
    let length = headers.get("content-length").map_or(0, |length| length.to_str().unwrap().parse().unwrap());
    let body = seen.get(end + 4..end + 4 + length)?.to_vec();
    Some(Response { status, headers, body })
}
