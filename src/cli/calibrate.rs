//! `refrain calibrate`: what the decision makes of labelled pairs, and which threshold they speak for.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::io::IsTerminal as _;
use std::path::{Path, PathBuf};

use anyhow::{Context, bail};
use clap::Args;
use futures_util::stream::{self, StreamExt as _};
use serde_json::{Value, json};

use super::output::{excerpt, note, print, print_json};
use super::{Place, configuration};
use crate::app::{Calibration, Calibrator, Verdict};
use crate::cache::decision::Layer;
use crate::calibration::{Curve, Judged, LabelledPair, Point, read_pairs, svg};
use crate::config::Flags;

/// Run the real decision over labelled pairs
///
/// PAIRS holds tab-separated values with a header, or JSON lines: `a` is asked, the answer to `b` is stored, `label` is 1
/// where one answer may serve both, and `category` says what kind of pair it is. Nothing is read from or written to a
/// cache, and no provider is asked.
#[derive(Debug, Args)]
#[command(after_help = "Examples:\n  refrain calibrate benches/pairs.tsv\n  \
                        refrain calibrate pairs.jsonl --max-wrong-rate 0.02 --svg curve.svg --json")]
pub struct CalibrateArgs {
    /// The labelled pairs
    #[arg(value_name = "PAIRS")]
    pairs: PathBuf,
    /// The largest share of wrong answers among those served that is acceptable
    #[arg(long, default_value_t = 0.02, value_name = "SHARE")]
    max_wrong_rate: f64,
    /// Draw the curve into this file
    #[arg(long, value_name = "FILE")]
    svg: Option<PathBuf>,
    /// Show so many pairs that are decided wrongly
    #[arg(long, default_value_t = 0, value_name = "N")]
    show: usize,
    /// Print JSON
    #[arg(long)]
    json: bool,
}

/// Thresholds of the table, the highest first.
const THRESHOLDS: [f64; 9] = [0.97, 0.95, 0.925, 0.90, 0.85, 0.80, 0.70, 0.60, 0.50];
/// How far the picture reaches to the right, as a share of the traps.
const PICTURE_TRAPS_MAX: f64 = 0.25;
/// Pairs between two words of progress.
const PROGRESS_EVERY: usize = 500;
/// Characters of a prompt that are shown.
const SHOWN: usize = 90;

struct Decided {
    pair: LabelledPair,
    verdict: Verdict,
}

impl Decided {
    /// Returns the first layer that refuses the pair at this threshold, the verifier's own included.
    fn refused_by(&self, threshold: f64) -> Option<&'static str> {
        let vetoed_by = self.verdict.refused_by.first().copied();
        let is_below = f64::from(self.verdict.verified) < threshold;
        vetoed_by.or_else(|| is_below.then_some(Layer::Verifier)).map(Layer::name)
    }

    fn judged(&self) -> Judged {
        let vetoed_by = self.verdict.refused_by.first().map(|layer| layer.name());
        Judged { may_share: self.pair.may_share, score: f64::from(self.verdict.verified), vetoed_by }
    }

    fn without_guards(&self) -> Judged {
        Judged { vetoed_by: None, ..self.judged() }
    }

    fn by_similarity(&self) -> Judged {
        Judged { vetoed_by: None, score: f64::from(self.verdict.similarity), ..self.judged() }
    }
}

pub async fn run(args: CalibrateArgs, place: &Place) -> anyhow::Result<()> {
    if !(0.0..1.0).contains(&args.max_wrong_rate) {
        bail!("--max-wrong-rate: expected a share of at least 0 and below 1, such as 0.02");
    }
    let config = configuration(&Flags { sandbox: true, ..place.flags() })?;
    let name = args.pairs.display();
    let text = std::fs::read_to_string(&args.pairs).with_context(|| format!("cannot read {name}"))?;
    let pairs = read_pairs(&text).with_context(|| name.to_string())?;
    let calibrator = Calibrator::open(&config).await?;
    let decided = decide(&calibrator, pairs).await?;
    if let Err(error) = Calibration::of(&config, decided.len()).keep(&config.data_dir) {
        note(&format!("refrain: `refrain check` will not know of this calibration: {error:#}"));
    }
    let report = Report::of(&decided, f64::from(calibrator.threshold()), args.max_wrong_rate);
    if let Some(file) = &args.svg {
        draw(&report, file)?;
    }
    if args.json {
        print_json(&report.json())
    } else {
        print(&(report.text() + &shown(&decided, &report, args.show)))
    }
}

async fn decide(calibrator: &Calibrator, pairs: Vec<LabelledPair>) -> anyhow::Result<Vec<Decided>> {
    let all = pairs.len();
    let is_watched = std::io::stderr().is_terminal();
    let mut judged = stream::iter(pairs)
        .map(|pair| async move {
            let verdict = calibrator.judge(&pair.asked, &pair.stored).await?;
            anyhow::Ok(Decided { pair, verdict })
        })
        .buffered(calibrator.width());
    let mut decided = Vec::with_capacity(all);
    while let Some(one) = judged.next().await {
        decided.push(one?);
        if is_watched && decided.len() % PROGRESS_EVERY == 0 {
            note(&format!("{} of {all} pairs", decided.len()));
        }
    }
    Ok(decided)
}

struct Report {
    curve: Curve,
    /// The same score without the layers before it, and the cosine alone.
    bare: Curve,
    cosine: Curve,
    categories: BTreeMap<(bool, String), Curve>,
    /// How many pairs each layer refuses, traps and shareable ones; a pair counts with the first that does.
    layers: BTreeMap<&'static str, (u64, u64)>,
    in_force: Point,
    max_wrong_rate: f64,
    suggested: Option<Point>,
}

impl Report {
    fn of(decided: &[Decided], threshold: f64, max_wrong_rate: f64) -> Self {
        let curve = Curve::new(decided.iter().map(Decided::judged).collect());
        let mut categories: BTreeMap<(bool, String), Vec<Judged>> = BTreeMap::new();
        let mut layers: BTreeMap<&'static str, (u64, u64)> = BTreeMap::new();
        for one in decided {
            let category = (one.pair.may_share, one.pair.category.clone());
            categories.entry(category).or_default().push(one.judged());
            if let Some(layer) = one.refused_by(threshold) {
                let (traps, shareable) = layers.entry(layer).or_default();
                *(if one.pair.may_share { shareable } else { traps }) += 1;
            }
        }
        Self {
            bare: Curve::new(decided.iter().map(Decided::without_guards).collect()),
            cosine: Curve::new(decided.iter().map(Decided::by_similarity).collect()),
            categories: categories.into_iter().map(|(name, judged)| (name, Curve::new(judged))).collect(),
            layers,
            in_force: curve.at(threshold),
            suggested: curve.suggest(max_wrong_rate),
            curve,
            max_wrong_rate,
        }
    }

    fn curves(&self) -> [(&'static str, &Curve); 3] {
        [
            ("the decision", &self.curve),
            ("without the guards", &self.bare),
            ("similarity alone", &self.cosine),
        ]
    }

    fn text(&self) -> String {
        let Point { shareable, traps, .. } = self.in_force;
        let mut out =
            format!("{} pairs: {shareable} that may share an answer, {traps} traps\n\n", shareable + traps);
        // A String takes whatever is written to it.
        let _ = writeln!(
            out,
            "{:>9}  {:>22}  {:>22}  {:>22}  {:>7}",
            "threshold", "right served (95 %)", "traps served (95 %)", "wrong of served (95 %)", "served"
        );
        for threshold in THRESHOLDS {
            let _ = writeln!(out, "{}", row(&self.curve.at(threshold)));
        }
        let _ = writeln!(out, "{}  in force", row(&self.in_force));
        match &self.suggested {
            Some(point) => {
                let _ = writeln!(
                    out,
                    "{}  suggested: at most {} wrong",
                    row(point),
                    percent(self.max_wrong_rate)
                );
            }
            None => {
                let _ =
                    writeln!(out, "no threshold keeps to {} wrong of served", percent(self.max_wrong_rate));
            }
        }
        let (one, five) = ("right at 1 % of traps", "right at 5 % of traps");
        let _ = writeln!(out, "\n{:<24} {:>7} {one:>24} {five:>24}", "", "AUC");
        for (name, curve) in self.curves() {
            let (one, five) = (percent(curve.recall_at_traps(0.01)), percent(curve.recall_at_traps(0.05)));
            let _ = writeln!(out, "{name:<24} {:>7.3} {one:>24} {five:>24}", curve.auc());
        }
        let _ = writeln!(out, "\n{:<28} {:>7} {:>7}", "first refused by", "traps", "right");
        for (layer, (traps, shareable)) in &self.layers {
            let _ = writeln!(out, "{layer:<28} {traps:>7} {shareable:>7}");
        }
        let _ = writeln!(out, "\n{:<60} {:>6}  served in force", "category", "pairs");
        for ((may_share, name), curve) in &self.categories {
            let point = curve.at(self.in_force.threshold);
            let (count, rate) = if *may_share {
                (point.shareable, point.hit_rate())
            } else {
                (point.traps, point.trap_rate())
            };
            let word = if *may_share { "right" } else { "trap " };
            let name = excerpt(if name.is_empty() { "-" } else { name }, 50);
            let _ = writeln!(out, "{:<60} {count:>6}  {}", format!("{word} {name}"), rate);
        }
        out
    }

    fn json(&self) -> Value {
        let point = |point: &Point| {
            json!({
                "threshold": point.threshold, "hits": point.hits, "shareable": point.shareable, "wrong": point.wrong,
                "traps": point.traps, "hit_rate": point.hit_rate(), "trap_rate": point.trap_rate(),
                "wrong_of_served": point.wrong_rate(), "served": point.served(),
            })
        };
        let categories = self.categories.iter().map(|((may_share, name), curve)| {
            let point = curve.at(self.in_force.threshold);
            let (served, pairs) =
                if *may_share { (point.hits, point.shareable) } else { (point.wrong, point.traps) };
            json!({"category": name, "label": u8::from(*may_share), "pairs": pairs, "served": served})
        });
        let layers = self.layers.iter().map(
            |(layer, (traps, shareable))| json!({"layer": layer, "traps": traps, "shareable": shareable}),
        );
        let thresholds = THRESHOLDS.iter().map(|threshold| point(&self.curve.at(*threshold)));
        json!({
            "in_force": point(&self.in_force),
            "suggested": self.suggested.as_ref().map(point),
            "max_wrong_rate": self.max_wrong_rate,
            "auc": self.curve.auc(),
            "auc_without_guards": self.bare.auc(),
            "auc_of_similarity": self.cosine.auc(),
            "recall_at_1_percent_of_traps": self.curve.recall_at_traps(0.01),
            "recall_at_5_percent_of_traps": self.curve.recall_at_traps(0.05),
            "thresholds": thresholds.collect::<Vec<_>>(),
            "categories": categories.collect::<Vec<_>>(),
            "layers": layers.collect::<Vec<_>>(),
        })
    }
}

fn row(point: &Point) -> String {
    format!(
        "{:>9.4}  {:>22}  {:>22}  {:>22}  {:>7}",
        point.threshold,
        point.hit_rate(),
        point.trap_rate(),
        point.wrong_rate(),
        percent(point.served().share)
    )
}

fn percent(share: f64) -> String {
    format!("{:.1} %", share * 100.0)
}

fn draw(report: &Report, file: &Path) -> anyhow::Result<()> {
    let picture =
        svg("What is served at which price", &report.curves(), Some(report.in_force), PICTURE_TRAPS_MAX);
    std::fs::write(file, picture).with_context(|| format!("cannot write {}", file.display()))
}

/// Shows pairs that are decided wrongly: traps that are served first, then what is refused.
fn shown(decided: &[Decided], report: &Report, most: usize) -> String {
    let refused_by = |one: &Decided| one.refused_by(report.in_force.threshold);
    let wrong = decided.iter().filter(|one| refused_by(one).is_none() && !one.pair.may_share);
    let missed = decided.iter().filter(|one| refused_by(one).is_some() && one.pair.may_share);
    let mut out = String::new();
    for (word, pairs) in [
        ("served wrongly", wrong.take(most).collect::<Vec<_>>()),
        ("not served", missed.take(most).collect()),
    ] {
        for one in pairs {
            let (Decided { pair, verdict }, why) = (one, refused_by(one).unwrap_or("-"));
            let (asked, stored) = (excerpt(&pair.asked, SHOWN), excerpt(&pair.stored, SHOWN));
            let _ = writeln!(
                out,
                "{word}\t{:.3}\t{:.3}\t{why}\t{}\t{asked}\t{stored}",
                verdict.verified, verdict.similarity, pair.category
            );
        }
    }
    if out.is_empty() { out } else { format!("\n{out}") }
}
