//! A stream through a real server, one prompt after the other: who answered, how fast, and with whose answer.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use refrain::app::Server;
use refrain::chat::Fingerprint;
use serde_json::json;

use super::header;
use super::load::{Answer, Client, Percentiles};
use super::stream::{Prompt, Stream};

/// How long an answer is waited for to be found by similarity before the next prompt is sent, since people think longer.
/// What is kept for equal prompts only, such as questions about now, never is.
const INDEXED_WITHIN: Duration = Duration::from_millis(100);
const LOOK_EVERY: Duration = Duration::from_millis(1);

/// What became of one prompt.
pub struct Sent<'a> {
    pub prompt: &'a Prompt,
    pub by: By,
    /// The prompt whose answer was served, where the cache served one.
    pub stored: Option<String>,
    pub similarity: String,
}

/// Who answered.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum By {
    Memory,
    Store,
    Semantic,
    Upstream,
    Error,
}

impl By {
    fn of(answer: &Answer) -> Self {
        if !answer.head.starts_with("HTTP/1.1 200") {
            return Self::Error;
        }
        match header(answer, "x-cache-tier").as_deref() {
            Some("memory") => Self::Memory,
            Some("store") => Self::Store,
            Some("semantic") => Self::Semantic,
            Some(tier) => panic!("a tier is called {tier}"),
            None => Self::Upstream,
        }
    }

    fn name(self) -> &'static str {
        match self {
            Self::Memory => "memory",
            Self::Store => "store",
            Self::Semantic => "semantic",
            Self::Upstream => "upstream",
            Self::Error => "error",
        }
    }
}

/// Sends a stream, and prints who answered.
pub async fn replay<'a>(server: &Server, stream: &'a Stream) -> Vec<Sent<'a>> {
    let mut client = Client::connect(server.public, "/v1/generate", "").await;
    let mut latencies = BTreeMap::<By, Percentiles>::new();
    let mut sent = Vec::with_capacity(stream.prompts.len());
    for prompt in &stream.prompts {
        let before = points(server).await;
        let mut spent = Percentiles::default();
        let body = json!({ "prompt": prompt.text }).to_string();
        let answer = spent.time(client.ask_with(&body)).await;
        let by = By::of(&answer);
        let stored = match by {
            By::Memory | By::Store | By::Semantic => Some(stored_prompt(server, &answer).await),
            By::Upstream | By::Error => None,
        };
        if by == By::Upstream {
            indexed(server, before).await;
        }
        latencies.entry(by).or_default().append(spent);
        let similarity = header(&answer, "x-cache-similarity").unwrap_or_default();
        sent.push(Sent { prompt, by, stored, similarity });
    }
    print(stream.prompts.len(), &mut latencies);
    sent
}

fn print(prompts: usize, latencies: &mut BTreeMap<By, Percentiles>) {
    println!("\n{prompts} prompts, one after the other\n");
    println!("{:<10} {:>7} {:>8} {:>10} {:>10}", "tier", "answers", "share", "p50 ms", "p99 ms");
    for (by, spent) in latencies {
        let share = spent.len() as f64 / prompts as f64 * 100.0;
        let (p50, p99) = (spent.at(0.50), spent.at(0.99));
        println!("{:<10} {:>7} {share:>7.1}% {p50:>10.2} {p99:>10.2}", by.name(), spent.len());
    }
}

async fn points(server: &Server) -> u64 {
    match server.app().gateway.load().stats().await.index {
        Some(Ok(status)) => status.points,
        _ => 0,
    }
}

async fn indexed(server: &Server, before: u64) {
    let began = Instant::now();
    while points(server).await == before && began.elapsed() < INDEXED_WITHIN {
        tokio::time::sleep(LOOK_EVERY).await;
    }
}

async fn stored_prompt(server: &Server, answer: &Answer) -> String {
    let key = header(answer, "x-cache-entry").and_then(|key| Fingerprint::from_hex(&key));
    let key = key.expect("a hit names its entry");
    let entry = server.app().gateway.load().entry(&key).await.expect("the store answers");
    entry.and_then(|entry| entry.request.last_prompt().map(str::to_owned)).unwrap_or_default()
}
