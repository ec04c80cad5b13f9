//! What does a semantic hit spend its time on, and how does that grow with the prompt?
//!
//! The server says itself how long embedding, search and verifier took (`server-timing`); the guards, which it does not time,
//! are run here over the same prompts. The budget is one that nothing exceeds, so that the slow ones are not left out; how
//! many the usual budget leaves out is then counted with a second server.

use std::time::{Duration, Instant};

use refrain::app::Server;
use refrain::cache::decision::{self, Layers, Pair, Settings};
use refrain::cache::guards::{Analysed, Scripts, Side};
use refrain::config::SemanticConfig;
use refrain::embed::Weights;

use super::load::prompts::long_prompts;
use super::load::{Answer, Client, Percentiles};
use super::{config, native};

/// Tokens of a prompt, about, and how many sentences before the question make them.
const LENGTHS: [(usize, usize); 3] = [(12, 0), (60, 3), (250, 14)];
const PROMPTS: usize = 100;
/// More than any look takes.
const NO_BUDGET_MS: u64 = 60_000;
const INDEXED_WITHIN: Duration = Duration::from_secs(60);
const TIMED_OUT: &str = r#"refrain_cache_lookups_total{tier="semantic",outcome="timeout"} "#;

/// The milliseconds of the hits of one length, and of the guards over the same prompts.
#[derive(Default)]
struct Spent {
    embed: Percentiles,
    search: Percentiles,
    guards: Percentiles,
    verify: Percentiles,
    whole: Percentiles,
}

/// Prints a row for each length.
pub async fn print() {
    let usual_ms = SemanticConfig::default().budget_ms;
    let in_budget = format!("within {usual_ms} ms");
    println!(
        "\nsemantic hits by their parts, one client, among {PROMPTS} entries: p50 / p99 in ms, and the share of looks that \
         are decided within the usual budget\n  {:<7} {:>8} {:>15} {:>15} {:>15} {:>15} {:>15} {in_budget:>13}",
        "tokens", "served", "embed", "search", "guards", "verify", "over HTTP"
    );
    for (tokens, sentences) in LENGTHS {
        let mut spent = Spent::default();
        asked_of_a_server(NO_BUDGET_MS, sentences, &mut spent).await;
        guards(sentences, &mut spent.guards);
        let timed_out = asked_of_a_server(usual_ms, sentences, &mut Spent::default()).await;
        let Spent { embed, search, guards, verify, whole } = &mut spent;
        let served = format!("{}/{PROMPTS}", whole.len());
        let parts =
            [embed, search, guards, verify, whole].map(|part| format!(" {:>15}", said(part))).concat();
        let decided = 100.0 * (1.0 - timed_out / PROMPTS as f64);
        println!("  {tokens:<7} {served:>8}{parts} {decided:>11.0} %");
    }
}

fn said(spent: &mut Percentiles) -> String {
    match spent.len() {
        0 => "-".to_owned(),
        _ => format!("{:.2} / {:.2}", spent.at(0.50), spent.at(0.99)),
    }
}

/// Stores one half of the prompts and asks the other half; returns how many looks took longer than this budget.
async fn asked_of_a_server(budget_ms: u64, sentences: usize, spent: &mut Spent) -> f64 {
    let folder = tempfile::tempdir().expect("there is room for a folder");
    let mut config = config(folder.path());
    config.cache.semantic.budget_ms = budget_ms;
    let server = Server::start(&config).await.expect("the server starts");
    let mut storing = Client::connect(server.public, "/v1/generate", "").await;
    // Each is to have an entry, whatever its neighbours are taken to ask.
    storing.add_header("cache-control: no-cache");
    for (stored, _) in (0..PROMPTS).map(|at| long_prompts(at, sentences)) {
        storing.ask_with(&native(&stored)).await;
    }
    indexed(&server).await;
    let before = timed_out(&server);
    let mut asking = Client::connect(server.public, "/v1/generate", "").await;
    // What is no hit is not to become an entry, and so a neighbour of the next one.
    asking.add_header("cache-control: only-if-cached");
    for (_, asked) in (0..PROMPTS).map(|at| long_prompts(at, sentences)) {
        let mut whole = Percentiles::default();
        let answer = whole.time(asking.ask_with(&native(&asked))).await;
        if answer.head.contains("x-cache-source: semantic") {
            spent.whole.append(whole);
            for (part, into) in
                [("embed", &mut spent.embed), ("search", &mut spent.search), ("verify", &mut spent.verify)]
            {
                into.push(phase(&answer, part));
            }
        }
    }
    let timed_out = timed_out(&server) - before;
    server.stop().await;
    timed_out
}

async fn indexed(server: &Server) {
    let began = Instant::now();
    let points = async || match server.app().gateway.load().stats().await.index {
        Some(Ok(status)) => status.points,
        _ => 0,
    };
    while points().await < PROMPTS as u64 {
        assert!(began.elapsed() < INDEXED_WITHIN, "the index did not fill");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

fn timed_out(server: &Server) -> f64 {
    let metrics = server.app().telemetry.render();
    let count = metrics.lines().find_map(|line| line.strip_prefix(TIMED_OUT));
    count.map_or(0.0, |count| count.parse().expect("a count is a number"))
}

/// Returns the milliseconds of a phase of `server-timing`.
fn phase(answer: &Answer, name: &str) -> f64 {
    let timing = answer.head.lines().find_map(|line| line.strip_prefix("server-timing: "));
    let mut phases = timing.into_iter().flat_map(|timing| timing.split(", "));
    let millis = phases.find_map(|phase| phase.strip_prefix(name)?.strip_prefix(";dur="));
    millis.and_then(|millis| millis.parse().ok()).expect("a semantic hit says what it took")
}

/// Runs the guards as a hit does: both prompts are read, and every layer before the verifier agrees.
fn guards(sentences: usize, spent: &mut Percentiles) {
    let settings = Settings {
        similarity_threshold: 0.5,
        verifier_threshold: 0.5,
        doubt_threshold: 0.5,
        weights: Weights::VERIFIER_ALONE,
        layers: Layers::ALL,
        scripts: Some(Scripts::of("Latin")),
        languages: Some(vec!["en".to_owned()]),
    };
    for (stored, asked) in (0..PROMPTS).map(|at| long_prompts(at, sentences)) {
        let began = Instant::now();
        let prompts = (Analysed::new(&asked), Analysed::new(&stored));
        let side = |prompt| Side { prompt, tokens: 0, truncated: false };
        let pair =
            Pair { asked: side(&prompts.0), stored: side(&prompts.1), similarity: 0.9, verified: None };
        std::hint::black_box(decision::propose(&pair, &settings));
        spent.push(began.elapsed().as_secs_f64() * 1e3);
    }
}
