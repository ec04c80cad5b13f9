//! How much does the cache answer, how fast, and how much of that is wrong?
//!
//! `cargo bench --bench hit_rate` runs labelled pairs (`hit_rate/pairs.rs`; `REFRAIN_BENCH_PAIRS` names a file of others) and
//! then sends a stream of prompts, one after the other, through a real server with real
//! embeddings and the sandbox as its provider, and prints the sources, the latency of hits by tier, and every semantic
//! hit with the prompt whose answer was served, to be read by a person: only a person can say which of them are wrong.
//!
//! `REFRAIN_BENCH_STREAM` names a file: JSON lines with a field `prompt`, tab-separated values with a header and a
//! column `text`, or plain text with a prompt on each line. Without it, a small stream of our own is sent.
//! `REFRAIN_BENCH_TAKE` limits the number of prompts (default 1,000), `REFRAIN_BENCH_SHUFFLE` is the seed of a random
//! order (default: the file's order). It needs the model (`make models`).

#![expect(clippy::print_stdout, reason = "its tables are what it is run for")]
#![expect(clippy::disallowed_methods, reason = "a bench is told by its environment what to measure")]

#[expect(dead_code, reason = "the other bench uses the rest of it")]
mod load;
#[path = "hit_rate/pairs.rs"]
mod pairs;

use std::collections::BTreeMap;

use rand::SeedableRng;
use rand::rngs::StdRng;
use rand::seq::SliceRandom;
use refrain::app::Server;
use refrain::chat::Fingerprint;
use refrain::config::{Config, Environment, Flags, load as load_config};
use tempfile::TempDir;

use load::{Answer, Client, Percentiles};

fn main() {
    // `cargo test --benches` only asks whether it starts.
    if std::env::args().any(|argument| argument == "--test") {
        return;
    }
    let runtime = tokio::runtime::Runtime::new().expect("a runtime starts");
    runtime.block_on(async {
        // A stream that was named is what somebody wants to see; pairs that were named likewise.
        let named = |variable| std::env::var_os(variable).is_some();
        let (pairs_named, stream_named) = (named("REFRAIN_BENCH_PAIRS"), named("REFRAIN_BENCH_STREAM"));
        if pairs_named || !stream_named {
            let (folder, config) = configured();
            let server = Server::start(&config).await.expect("the server starts");
            pairs::run(&server, &config).await;
            server.stop().await;
            drop(folder);
        }
        if stream_named || !pairs_named {
            replay(&prompts()).await;
        }
    });
}

fn configured() -> (TempDir, Config) {
    let folder = tempfile::tempdir().expect("there is room for a folder");
    let flags = Flags {
        data_dir: Some(folder.path().to_owned()),
        models_dir: Some("models".into()),
        listen: Some(([127, 0, 0, 1], 0).into()),
        admin_listen: Some(([127, 0, 0, 1], 0).into()),
        sandbox: true,
        ..Flags::default()
    };
    let mut config = load_config(&flags, &Environment::default()).expect("the configuration is right");
    config.providers[0].sandbox.latency_ms = 0;
    config.embedding.threads = Some(2);
    (folder, config)
}

async fn replay(prompts: &[String]) {
    let (_folder, config) = configured();
    let server = Server::start(&config).await.expect("the server starts");
    let mut client = Client::connect(server.public, "/v1/generate", "").await;

    let mut sources = BTreeMap::<String, Percentiles>::new();
    let mut pairs = Vec::new();
    for prompt in prompts {
        let body = serde_json::json!({ "prompt": prompt }).to_string();
        let mut spent = Percentiles::default();
        let answer = spent.time(client.ask_with(&body)).await;
        let source = header(&answer, "x-cache-tier").unwrap_or_else(|| "upstream".to_owned());
        let source = if answer.head.starts_with("HTTP/1.1 200") { source } else { "error".to_owned() };
        if source == "semantic" {
            let stored = stored_prompt(&server, &answer).await;
            pairs.push((header(&answer, "x-cache-similarity").unwrap_or_default(), prompt.clone(), stored));
        }
        sources.entry(source).or_default().append(spent);
    }
    server.stop().await;

    println!("\n{} prompts, one after the other\n", prompts.len());
    println!("{:<10} {:>7} {:>8} {:>10} {:>10}", "tier", "answers", "share", "p50 ms", "p99 ms");
    for (source, spent) in &mut sources {
        let share = spent.len() as f64 / prompts.len() as f64 * 100.0;
        let (p50, p99) = (spent.at(0.50), spent.at(0.99));
        println!("{source:<10} {:>7} {share:>7.1}% {p50:>10.2} {p99:>10.2}", spent.len());
    }
    println!("\nsemantic hits: similarity, what was asked, whose answer was served");
    for (similarity, asked, stored) in pairs {
        println!("{similarity}\t{}\t{}", one_line(&asked), one_line(&stored));
    }
}

fn header(answer: &Answer, name: &str) -> Option<String> {
    let mut lines = answer.head.lines();
    lines.find_map(|line| Some(line.strip_prefix(name)?.strip_prefix(": ")?.to_owned()))
}

async fn stored_prompt(server: &Server, answer: &Answer) -> String {
    let key = header(answer, "x-cache-entry").and_then(|key| Fingerprint::from_hex(&key));
    let key = key.expect("a hit names its entry");
    let entry = server.app().gateway.load().entry(&key).await.expect("the store answers");
    entry.and_then(|entry| entry.request.last_prompt().map(str::to_owned)).unwrap_or_default()
}

fn one_line(text: &str) -> String {
    let line = text.split_whitespace().collect::<Vec<_>>().join(" ");
    line.chars().take(200).collect()
}

fn prompts() -> Vec<String> {
    let mut prompts = match std::env::var("REFRAIN_BENCH_STREAM") {
        Ok(path) => {
            let text = std::fs::read_to_string(&path);
            read(&path, &text.unwrap_or_else(|error| panic!("REFRAIN_BENCH_STREAM: {path}: {error}")))
        }
        Err(_) => include_str!("stream.txt").lines().map(str::to_owned).collect(),
    };
    if let Some(seed) = number("REFRAIN_BENCH_SHUFFLE") {
        prompts.shuffle(&mut StdRng::seed_from_u64(seed));
    }
    prompts.retain(|prompt| !prompt.trim().is_empty());
    prompts.truncate(number("REFRAIN_BENCH_TAKE").unwrap_or(1_000) as usize);
    prompts
}

fn number(variable: &str) -> Option<u64> {
    std::env::var(variable)
        .ok()
        .map(|text| text.parse().unwrap_or_else(|_| panic!("{variable}: `{text}` is not a whole number")))
}

fn read(path: &str, text: &str) -> Vec<String> {
    if path.ends_with(".jsonl") {
        let prompt = |line: &str| {
            let fields: serde_json::Value = serde_json::from_str(line).expect("each line is JSON");
            fields["prompt"].as_str().expect("each line has a text `prompt`").to_owned()
        };
        return text.lines().map(prompt).collect();
    }
    if path.ends_with(".tsv") {
        let mut lines = text.lines();
        let header = lines.next().unwrap_or("");
        let column = header.split('\t').position(|name| name == "text").expect("a column is called `text`");
        return lines.filter_map(|line| line.split('\t').nth(column)).map(str::to_owned).collect();
    }
    text.lines().map(str::to_owned).collect()
}
