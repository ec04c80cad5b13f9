//! `refrain calibrate`: what the decision makes of labelled pairs, and which threshold they speak for.

use std::fmt::Write as _;
use std::io::IsTerminal as _;
use std::path::{Path, PathBuf};

use anyhow::{Context, bail};
use clap::Args;
use futures_util::stream::{self, StreamExt as _};

use super::calibration_report::{Decided, InForce, PICTURE_TRAPS_MAX, Report};
use super::output::{Advised, excerpt, note, print, print_json};
use super::{Place, configuration};
use crate::app::{Calibration, Calibrator};
use crate::calibration::{LabelledPair, read_pairs, svg};
use crate::config::{Config, Flags};

/// Run the real decision over labelled pairs
///
/// PAIRS holds tab-separated values with a header, or JSON lines: `a` is asked, the answer to `b` is stored, `label` is 1
/// where one answer may serve both, and `category` says what kind of pair it is; other fields are left alone. Nothing is
/// read from or written to a cache, and no provider is asked.
#[derive(Debug, Args)]
#[command(after_help = "Examples:\n  refrain calibrate benches/pairs.tsv\n  \
                        refrain calibrate pairs.jsonl --route support --max-wrong-rate 0.02\n  \
                        refrain calibrate pairs.jsonl --svg curve.svg --json")]
pub struct CalibrateArgs {
    /// The labelled pairs
    #[arg(value_name = "PAIRS")]
    pairs: PathBuf,
    /// Decide as this route does [default: as `[cache]` says]
    #[arg(long, value_name = "MODEL")]
    route: Option<String>,
    /// The largest share of wrong answers among those served that is acceptable
    #[arg(long, default_value_t = 0.02, value_name = "SHARE")]
    max_wrong_rate: f64,
    /// Draw the curve into this file
    #[arg(long, value_name = "FILE")]
    svg: Option<PathBuf>,
    /// Write every pair with its similarity, its score and all that refuses it into this file, tab-separated
    #[arg(long, value_name = "FILE")]
    details: Option<PathBuf>,
    /// Show so many pairs that are decided wrongly
    #[arg(long, default_value_t = 0, value_name = "N")]
    show: usize,
    /// Print JSON
    #[arg(long)]
    json: bool,
}

/// Pairs between two words of progress.
const PROGRESS_EVERY: usize = 500;
/// Characters of a prompt that are shown.
const SHOWN: usize = 90;

pub async fn run(args: CalibrateArgs, place: &Place) -> anyhow::Result<()> {
    if !(0.0..1.0).contains(&args.max_wrong_rate) {
        bail!("--max-wrong-rate: expected a share of at least 0 and below 1, such as 0.02");
    }
    let config =
        as_route(configuration(&Flags { calls_nobody: true, ..place.flags() })?, args.route.as_deref())?;
    let name = args.pairs.display();
    let text = std::fs::read_to_string(&args.pairs).with_context(|| format!("cannot read {name}"))?;
    let pairs = read_pairs(&text).with_context(|| name.to_string())?;
    let calibrator = Calibrator::open(&config).await?;
    let decided = decide(&calibrator, pairs).await?;
    if let Err(error) = Calibration::of(&config, decided.len()).keep(&config.data_dir) {
        note(&format!("refrain: `refrain check` will not know of this calibration: {error:#}"));
    }
    let in_force = InForce { route: args.route, mode: config.cache.mode, threshold: calibrator.threshold() };
    let report = Report::of(&decided, in_force, args.max_wrong_rate);
    if let Some(file) = &args.svg {
        draw(&report, file)?;
    }
    if let Some(file) = &args.details {
        std::fs::write(file, details(&decided))
            .with_context(|| format!("cannot write {}", file.display()))?;
    }
    if args.json {
        print_json(&report.json())
    } else {
        print(&(report.text() + &shown(&decided, &report, args.show)))
    }
}

/// Puts a route's own settings in the place of those that all routes begin with.
fn as_route(config: Config, route: Option<&str>) -> anyhow::Result<Config> {
    let Some(name) = route else { return Ok(config) };
    let Some(route) = config.routes.iter().find(|route| route.model == name) else {
        let known: Vec<_> = config.routes.iter().map(|route| format!("`{}`", route.model)).collect();
        let hint = match known.as_slice() {
            [] => "no [[routes]] are configured; without --route, `[cache]` decides".to_owned(),
            known => format!("configured are {}; without --route, `[cache]` decides", known.join(", ")),
        };
        return Err(Advised::new(format!("no route is called `{name}`"), hint).into());
    };
    let cache = config.cache.overridden(&route.cache);
    Ok(Config { cache, ..config })
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

fn draw(report: &Report, file: &Path) -> anyhow::Result<()> {
    let picture = svg("What is served at which price", &report.curves(), report.mark(), PICTURE_TRAPS_MAX);
    std::fs::write(file, picture).with_context(|| format!("cannot write {}", file.display()))
}

/// Writes pairs in the form in which they are read, and beside them all that was found.
fn details(decided: &[Decided]) -> String {
    let mut out = "a\tb\tlabel\tcategory\tsimilarity\tscore\tvetoes\n".to_owned();
    for Decided { pair, verdict } in decided {
        let text = |text: &str| text.replace(['\t', '\r'], " ").replace('\n', "\\n");
        let vetoes: Vec<_> = verdict.vetoes.iter().map(|veto| veto.name()).collect();
        let _ = writeln!(
            out,
            "{}\t{}\t{}\t{}\t{:.4}\t{:.4}\t{}",
            text(&pair.asked),
            text(&pair.stored),
            u8::from(pair.may_share),
            text(&pair.category),
            verdict.similarity,
            verdict.verified,
            vetoes.join(",")
        );
    }
    out
}

/// Shows pairs that are decided wrongly: traps that are served first, then what is refused.
fn shown(decided: &[Decided], report: &Report, most: usize) -> String {
    let refused_by = |one: &Decided| report.in_force.refused_by(&one.verdict);
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
