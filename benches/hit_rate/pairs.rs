//! Labelled pairs through a real server: what is served that should be, and what that should not be?
//!
//! The answer to one prompt of a pair is stored, each pair in a namespace of its own; then the other prompt is asked with
//! `only-if-cached`. The same pairs are judged by what other caches do: equality alone, and cosine alone at three
//! thresholds.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::time::Duration;

use refrain::app::{Calibrator, Server};
use refrain::calibration::{Curve, Judged, LabelledPair, read_pairs, svg, wilson};
use refrain::config::Config;
use serde_json::{Value, json};

use super::load::Client;
use super::{COSINES, header, keep, named_file};

/// How far the picture reaches to the right, as a share of the traps.
const TRAPS_MAX: f64 = 0.5;

/// What became of one pair.
struct Asked {
    pair: LabelledPair,
    is_exact: bool,
    is_semantic: bool,
    cosine: f64,
}

#[derive(Clone, Copy, Default)]
struct Count {
    hits: u64,
    shareable: u64,
    wrong: u64,
    traps: u64,
}

impl Count {
    fn note(&mut self, may_share: bool, is_served: bool) {
        let (served, all) = if may_share {
            (&mut self.hits, &mut self.shareable)
        } else {
            (&mut self.wrong, &mut self.traps)
        };
        *served += u64::from(is_served);
        *all += 1;
    }
}

/// Runs the shipped pairs, or those of the file that `REFRAIN_BENCH_PAIRS` names, and prints the tables.
pub async fn run(server: &Server, config: &Config) {
    let (name, text) = named_file("REFRAIN_BENCH_PAIRS")
        .unwrap_or_else(|| ("benches/pairs.tsv".to_owned(), include_str!("../pairs.tsv").to_owned()));
    let pairs = read_pairs(&text).unwrap_or_else(|error| panic!("{name}: {error}"));
    let asked = ask_all(server, config, pairs).await;
    let tables = tables(&asked);
    println!(
        "\n{} labelled pairs of {name}, through the server as it is shipped\n\n{}",
        asked.len(),
        text_of(&tables)
    );
    write(&asked, &tables);
}

async fn ask_all(server: &Server, config: &Config, pairs: Vec<LabelledPair>) -> Vec<Asked> {
    let mut storing = Client::connect(server.public, "/v1/generate", "").await;
    let body = |at: usize, prompt: &str| {
        json!({"prompt": prompt, "cache": {"namespace": format!("pair-{at}")}}).to_string()
    };
    for (at, pair) in pairs.iter().enumerate() {
        let answer = storing.ask_with(&body(at, &pair.stored)).await;
        assert!(answer.head.starts_with("HTTP/1.1 200"), "{}", answer.head);
    }
    indexed(server, pairs.len() as u64).await;
    let calibrator = Calibrator::open(config).await.expect("the models are there");
    let mut asking = Client::connect(server.public, "/v1/generate", "").await;
    asking.add_header("cache-control: only-if-cached");
    let mut asked = Vec::with_capacity(pairs.len());
    for (at, pair) in pairs.into_iter().enumerate() {
        let answer = asking.ask_with(&body(at, &pair.asked)).await;
        let tier = header(&answer, "x-cache-source").unwrap_or_default();
        let cosine =
            calibrator.similarity(&pair.asked, &pair.stored).await.expect("a prompt can be embedded");
        let (is_exact, is_semantic) = (tier == "exact", tier == "semantic");
        asked.push(Asked { pair, is_exact, is_semantic, cosine: f64::from(cosine) });
    }
    asked
}

/// Waits until every entry is in the index, but for those that are not kept there, such as questions about now.
async fn indexed(server: &Server, expected: u64) {
    let points = async || match server.app().gateway.load().stats().await.index {
        Some(Ok(status)) => status.points,
        _ => 0,
    };
    let mut before = 0;
    for _ in 0..60 {
        let now = points().await;
        if now == expected || (now > 0 && now == before) {
            return;
        }
        before = now;
        tokio::time::sleep(Duration::from_millis(500)).await;
    }
    panic!("the index did not fill");
}

struct Tables {
    methods: Vec<(String, Count)>,
    categories: BTreeMap<(bool, String), Count>,
}

fn tables(asked: &[Asked]) -> Tables {
    let count = |serves: &dyn Fn(&Asked) -> bool| {
        let mut count = Count::default();
        asked.iter().for_each(|one| count.note(one.pair.may_share, serves(one)));
        count
    };
    let mut methods = vec![
        ("Refrain".to_owned(), count(&|one| one.is_exact || one.is_semantic)),
        ("exact only".to_owned(), count(&|one| one.is_exact)),
    ];
    for threshold in COSINES {
        methods.push((format!("cosine {threshold:.2} alone"), count(&|one| one.cosine >= threshold)));
    }
    let mut categories: BTreeMap<_, Count> = BTreeMap::new();
    for one in asked {
        let count = categories.entry((one.pair.may_share, one.pair.category.clone())).or_default();
        count.note(one.pair.may_share, one.is_exact || one.is_semantic);
    }
    Tables { methods, categories }
}

fn text_of(tables: &Tables) -> String {
    let mut out = format!(
        "{:<20} {:>24} {:>24} {:>24}\n",
        "", "right served (95 %)", "traps served (95 %)", "wrong of served (95 %)"
    );
    // A String takes whatever is written to it.
    for (name, count) in &tables.methods {
        let Count { hits, shareable, wrong, traps } = *count;
        let shares = [wilson(hits, shareable), wilson(wrong, traps), wilson(wrong, hits + wrong)];
        let _ = writeln!(out, "{name:<20} {:>24} {:>24} {:>24}", shares[0], shares[1], shares[2]);
    }
    let _ = writeln!(out, "\n{:<30} {:>6} {:>24}", "category", "pairs", "served");
    for ((may_share, name), count) in &tables.categories {
        let (served, all) =
            if *may_share { (count.hits, count.shareable) } else { (count.wrong, count.traps) };
        let word = if *may_share { "right" } else { "trap " };
        let _ = writeln!(out, "{:<30} {all:>6} {:>24}", format!("{word} {name}"), wilson(served, all));
    }
    out
}

/// Writes the figures as JSON, and a picture of the curve of cosine alone with the point where the server stands.
fn write(asked: &[Asked], tables: &Tables) {
    let of = |count: &Count| json!({"hits": count.hits, "shareable": count.shareable, "wrong": count.wrong, "traps": count.traps});
    let methods: Vec<Value> =
        tables.methods.iter().map(|(name, count)| json!({"method": name, "count": of(count)})).collect();
    let categories: Vec<Value> = tables
        .categories
        .iter()
        .map(|((may_share, name), count)| json!({"category": name, "label": u8::from(*may_share), "count": of(count)}))
        .collect();
    let figures = json!({"pairs": asked.len(), "methods": methods, "categories": categories});
    keep("pairs.json", &format!("{figures:#}\n"));
    let judged = |one: &Asked| Judged { may_share: one.pair.may_share, score: one.cosine, vetoed_by: None };
    let cosine = Curve::new(asked.iter().map(judged).collect());
    let ours = Curve::new(
        asked
            .iter()
            .map(|one| Judged { score: f64::from(u8::from(one.is_exact || one.is_semantic)), ..judged(one) })
            .collect(),
    );
    let curves = [("Refrain", &ours), ("cosine alone", &cosine)];
    let picture = svg("Right answers served against traps served", &curves, Some(ours.at(1.0)), TRAPS_MAX);
    keep("pairs.svg", &picture);
}
