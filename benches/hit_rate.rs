//! How much does the cache answer, how fast, and how much of that is wrong?
//!
//! `cargo bench --bench hit_rate` runs labelled pairs (`hit_rate/pairs.rs`; `REFRAIN_BENCH_PAIRS` names a file of others) and
//! then sends a stream of prompts, one after the other, through a real server with real embeddings and the sandbox as its
//! provider, and prints the sources and the latency of hits by tier.
//!
//! `REFRAIN_BENCH_STREAM` names a file of prompts (`hit_rate/stream.rs` says in which forms); without it, our own stream is
//! sent, `stream.tsv`. Where the file says what is meant by each prompt (`intent`), what was served is counted, and what was
//! served with the answer to another intent, beside what other caches make of the same prompts in the same order
//! (`hit_rate/labelled.rs`). Where it does not, every semantic hit is printed with the prompt whose answer was served, to be
//! read by a person: only a person can say then which of them are wrong.
//!
//! `REFRAIN_BENCH_TAKE` limits the number of prompts (default 1,000), `REFRAIN_BENCH_SHUFFLE` is the seed of a random order
//! (default: the file's order; for labelled streams a seed of their own). It needs the model (`make models`).
//!
//! The last tables, our own pairs and our own stream:
//!
//! ```text
//!                           right served (95 %)      traps served (95 %)   wrong of served (95 %)
//! Refrain                    51.7 % (44.4–58.9)          1.2 % (0.4–3.3)          3.1 % (1.1–8.8)
//! exact only                    0.0 % (0.0–2.1)          0.0 % (0.0–1.5)        0.0 % (0.0–100.0)
//! cosine 0.80 alone          71.7 % (64.7–77.7)       56.9 % (50.8–62.8)       53.4 % (47.5–59.2)
//! cosine 0.90 alone          56.7 % (49.4–63.7)       30.0 % (24.8–35.8)       43.3 % (36.3–50.6)
//! cosine 0.95 alone          32.8 % (26.3–39.9)       16.2 % (12.2–21.1)       41.6 % (32.5–51.3)
//!
//!                       served            of all (95 %)   wrong         of served (95 %)
//! Refrain                  259       44.2 % (40.2–48.2)       2          0.8 % (0.2–2.8)
//!   by exact                22          3.8 % (2.5–5.6)       0         0.0 % (0.0–14.9)
//!   by semantic            237       40.4 % (36.5–44.5)       2          0.8 % (0.2–3.0)
//! exact only                31          5.3 % (3.8–7.4)       0         0.0 % (0.0–11.0)
//! cosine 0.80 alone        363       61.9 % (57.9–65.8)      56       15.4 % (12.1–19.5)
//! cosine 0.90 alone        248       42.3 % (38.4–46.4)      26        10.5 % (7.3–14.9)
//! ```

#![expect(clippy::print_stdout, reason = "its tables are what it is run for")]
#![expect(clippy::disallowed_methods, reason = "a bench is told by its environment what to measure")]

#[path = "hit_rate/labelled.rs"]
mod labelled;
#[expect(dead_code, reason = "the other bench uses the rest of it")]
mod load;
#[path = "hit_rate/methods.rs"]
mod methods;
#[path = "hit_rate/pairs.rs"]
mod pairs;
#[path = "hit_rate/picture.rs"]
mod picture;
#[path = "hit_rate/replay.rs"]
mod replay;
#[path = "hit_rate/stream.rs"]
mod stream;

use std::path::PathBuf;

use refrain::app::Server;
use refrain::config::{Config, Environment, Flags, load as load_config};
use tempfile::TempDir;

use load::Answer;
use replay::{By, Sent};
use stream::Stream;

/// Cosine alone, as caches ship it.
const COSINES: [f64; 3] = [0.80, 0.90, 0.95];
/// Prompts of a stream that are sent where nothing else is asked for.
const PROMPTS_MAX: u64 = 1_000;
/// Where figures and pictures go, beside criterion's.
const FOLDER: &str = "hit_rate";

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
            run_stream().await;
        }
    });
}

async fn run_stream() {
    let (name, text) = named_file("REFRAIN_BENCH_STREAM")
        .unwrap_or_else(|| ("benches/stream.tsv".to_owned(), include_str!("stream.tsv").to_owned()));
    let most = number("REFRAIN_BENCH_TAKE").unwrap_or(PROMPTS_MAX) as usize;
    let stream = Stream::read(&name, &text).in_order_of(number("REFRAIN_BENCH_SHUFFLE"), most);
    let (_folder, config) = configured();
    let server = Server::start(&config).await.expect("the server starts");
    let sent = replay::replay(&server, &stream).await;
    server.stop().await;
    if stream.is_labelled() {
        labelled::report(&name, &stream, &sent, &config.embedding.model).await;
    } else {
        print_hits(&sent);
    }
}

fn print_hits(sent: &[Sent<'_>]) {
    println!("\nsemantic hits: similarity, what was asked, whose answer was served");
    for one in sent.iter().filter(|one| one.by == By::Semantic) {
        let stored = one.stored.as_deref().unwrap_or_default();
        println!("{}\t{}\t{}", one.similarity, one_line(&one.prompt.text), one_line(stored));
    }
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

fn header(answer: &Answer, name: &str) -> Option<String> {
    let mut lines = answer.head.lines();
    lines.find_map(|line| Some(line.strip_prefix(name)?.strip_prefix(": ")?.to_owned()))
}

fn one_line(text: &str) -> String {
    let line = text.split_whitespace().collect::<Vec<_>>().join(" ");
    line.chars().take(200).collect()
}

/// Writes a file of figures, or a picture.
fn keep(file: &str, text: &str) {
    let target = std::env::var_os("CARGO_TARGET_DIR").map_or_else(|| PathBuf::from("target"), PathBuf::from);
    let path = target.join(FOLDER).join(file);
    std::fs::create_dir_all(target.join(FOLDER)).expect("the build folder can be written");
    std::fs::write(&path, text).expect("the build folder can be written");
    println!("written: {}", path.display());
}

/// Returns the name and the text of the file that a variable names.
fn named_file(variable: &str) -> Option<(String, String)> {
    let path = std::env::var(variable).ok()?;
    let text = std::fs::read_to_string(&path);
    let text = text.unwrap_or_else(|error| panic!("{variable}: {path}: {error}"));
    Some((path, text))
}

fn number(variable: &str) -> Option<u64> {
    std::env::var(variable)
        .ok()
        .map(|text| text.parse().unwrap_or_else(|_| panic!("{variable}: `{text}` is not a whole number")))
}
