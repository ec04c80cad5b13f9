//! An upstream that misbehaves on command, on raw sockets.
//!
//! It reads requests and writes bytes, with no HTTP library between, so that it can do what no such library would. What
//! it does depends on the model that is asked for, so that a scenario needs no header and many go on at a time; any
//! other model is answered well, as the prompt deserves.

mod door;
mod format;
mod http2;
mod play;
mod reply;
mod request;
mod script;
mod tls;

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Instant;

use serde_json::Value;
use tokio::net::TcpStream;

pub use door::Door;
pub use format::{Failure, Format, Said, Words, halves};

pub use http2::Refusal;
pub use reply::{Reply, Step};
pub use script::Script;
pub use tls::{Authority, Face, TlsServer};

use super::eventually;
use super::upstream::Asked;
use door::Entrance;
use format::Question;
use play::{Next, Stage};
use request::Head;

/// A running server; ends with its test's runtime.
pub struct FaultServer {
    base_url: String,
    state: Arc<State>,
    /// Keeps what stands at the entrance where nobody is let in.
    _entrance: Option<Entrance>,
}

/// One request as it came.
#[derive(Clone, Debug)]
pub struct Heard {
    /// When all of it had come.
    pub at: Instant,
    /// Which connection brought it, counted from zero.
    pub connection: usize,
    pub model: String,
    /// The text of the last message of the user.
    pub prompt: String,
    pub streams: bool,
    /// Null where it was not read, or was no JSON.
    pub body: Value,
}

struct State {
    format: Format,
    door: Door,
    record: Mutex<Record>,
}

#[derive(Default)]
struct Record {
    scripts: HashMap<String, Script>,
    heard: Vec<Heard>,
    forgets: bool,
    /// Requests, whether remembered or not.
    calls: usize,
    connections: usize,
    under_way: usize,
    most_at_once: usize,
}

impl FaultServer {
    /// Listens on a free port and speaks OpenAI's format.
    pub async fn start() -> Self {
        Self::start_as(Format::OpenAi, Door::Open).await
    }

    /// Listens on a free port, or does not let anybody in.
    pub async fn start_as(format: Format, door: Door) -> Self {
        let entrance = Entrance::make(door).await;
        let base_url = format!("http://{}{}", entrance.address(), format.base_path());
        let state = Arc::new(State { format, door, record: Mutex::default() });
        let entrance = match entrance {
            Entrance::Open(listener) => {
                let state = Arc::clone(&state);
                tokio::spawn(async move {
                    while let Ok((stream, _)) = listener.accept().await {
                        tokio::spawn(Arc::clone(&state).serve(stream));
                    }
                });
                None
            }
            shut => Some(shut),
        };
        Self { base_url, state, _entrance: entrance }
    }

    /// Returns what a client is to be configured with.
    pub fn base_url(&self) -> &str {
        &self.base_url
    }

    /// Answers whoever asks for this model by this script, from now on and from its beginning.
    pub fn on(&self, model: &str, script: impl Into<Script>) {
        self.state.record().scripts.insert(model.to_owned(), script.into());
    }

    /// Forgets every request so far, as if it had just begun to listen.
    pub fn begin_anew(&self) {
        let mut record = self.state.record();
        (record.heard, record.calls, record.most_at_once) = (Vec::new(), 0, record.under_way);
    }

    /// Answers everybody well, from now on.
    pub fn recover(&self) {
        self.state.record().scripts.clear();
    }

    /// Remembers nothing of requests but their number, so that a long drill does not fill the memory.
    pub fn forget(&self) {
        let mut record = self.state.record();
        record.forgets = true;
        record.heard = Vec::new();
    }

    /// Returns every request so far.
    pub fn heard(&self) -> Vec<Heard> {
        self.state.record().heard.clone()
    }

    /// Returns every request for this model so far.
    pub fn heard_of(&self, model: &str) -> Vec<Heard> {
        self.state.record().heard.iter().filter(|heard| heard.model == model).cloned().collect()
    }

    /// Returns how many requests came.
    pub fn calls(&self) -> usize {
        self.state.record().calls
    }

    /// Returns how many connections were let in.
    pub fn connections(&self) -> usize {
        self.state.record().connections
    }

    /// Returns how many requests were under way at a time, at most.
    pub fn most_at_once(&self) -> usize {
        self.state.record().most_at_once
    }

    /// Waits until so many requests have come.
    pub async fn called(&self, times: usize) {
        eventually("a call of the fault server", async || (self.calls() >= times).then_some(())).await;
    }
}

impl State {
    fn record(&self) -> MutexGuard<'_, Record> {
        self.record.lock().unwrap()
    }

    /// Answers the requests of one connection, until one end of it has had enough.
    async fn serve(self: Arc<Self>, mut stream: TcpStream) {
        // What is written apart goes out apart.
        stream.set_nodelay(true).unwrap();
        let connection = {
            let mut record = self.record();
            record.connections += 1;
            record.connections - 1
        };
        let mut served = 0;
        while let Ok(Some((head, rest))) = request::head(&mut stream).await {
            if self.door == Door::Once && served > 0 {
                // The client took an idle connection for a living one.
                let _ = stream.set_zero_linger();
                return;
            }
            let body = match self.door {
                Door::Deaf => Vec::new(),
                _ => match request::body(&mut stream, &head, rest).await {
                    Ok(body) => body,
                    Err(_) => return,
                },
            };
            let (question, reply) = self.hear(connection, &head, &body);
            let under_way = UnderWay::begin(&self);
            let next = Stage::new(&mut stream, self.format, &question).play(&reply).await;
            drop(under_way);
            served += 1;
            match (next, self.door) {
                (Ok(Next::Request), Door::Open | Door::Once) => {}
                _ => return,
            }
        }
    }

    /// Remembers a request and returns what it is answered.
    fn hear(&self, connection: usize, head: &Head, body: &[u8]) -> (Question, Reply) {
        let body: Value = serde_json::from_slice(body).unwrap_or_default();
        let question = self.format.question(&head.target, &body);
        let mut record = self.record();
        record.calls += 1;
        if !record.forgets {
            let Asked { model, prompt, streams } = question.asked.clone();
            record.heard.push(Heard { at: Instant::now(), connection, model, prompt, streams, body });
        }
        // Whoever reads no body knows no model: one script is for all.
        let script = match self.door {
            Door::Deaf => record.scripts.values_mut().next(),
            _ => record.scripts.get_mut(&question.asked.model),
        };
        let reply = script.and_then(Script::next).unwrap_or_else(Reply::well);
        (question, reply)
    }
}

/// Counts a request as under way for as long as it lives.
struct UnderWay<'a>(&'a State);

impl<'a> UnderWay<'a> {
    fn begin(state: &'a State) -> Self {
        let mut record = state.record();
        record.under_way += 1;
        record.most_at_once = record.most_at_once.max(record.under_way);
        Self(state)
    }
}

impl Drop for UnderWay<'_> {
    fn drop(&mut self) {
        self.0.record().under_way -= 1;
    }
}
