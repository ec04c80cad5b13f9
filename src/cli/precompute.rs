//! `refrain precompute`: tomorrow's answers, bought tonight.

use std::io::IsTerminal as _;
use std::path::PathBuf;
use std::time::Duration;

use anyhow::{Context, bail};
use bytes::Bytes;
use clap::Args;
use indicatif::{HumanDuration, ProgressBar, ProgressStyle};
use serde_json::Value;

use super::admin::{AdminArgs, Session};
use super::output::{note, print, print_json};
use super::{Place, StoppedWithWorkLeft};
use crate::precompute::{Report, State};
use crate::templates;

/// Buy the answers to lists of prompts ahead of time
///
/// A list is a `.toml` of templates, a `.jsonl` with a request on each line, or a `.txt` with a prompt on each. What is in
/// the cache and stays fresh is not bought again, so it is safe to run every night, and to run again after it was stopped.
/// Exit code 0: nothing is left to buy; 3: the window closed or the budget is spent with work left; 1: it failed.
#[derive(Debug, Args)]
#[command(
    after_help = "Examples:\n  refrain precompute faq.toml --check\n  refrain precompute faq.toml --dry-run\n  \
                  refrain precompute --from-traffic --max-cost-usd 2\n  \
                  refrain precompute faq.toml --window 01:00-05:00 --time-zone Europe/Berlin --max-cost-usd 5"
)]
pub struct PrecomputeArgs {
    /// The lists
    #[arg(required_unless_present = "from_traffic", value_name = "FILE")]
    files: Vec<PathBuf>,
    /// Buy anew what this tenant's own traffic asked for most and what is about to expire
    #[arg(long, value_name = "TENANT", num_args = 0..=1, default_missing_value = "default")]
    from_traffic: Option<String>,
    /// How many days back traffic is looked at [default: precompute.traffic_days]
    #[arg(long, value_name = "N", requires = "from_traffic")]
    traffic_days: Option<u32>,
    /// Only say whether the lists are well formed
    #[arg(long, conflicts_with = "dry_run")]
    check: bool,
    /// Only say what would be bought, and what it would cost
    #[arg(long)]
    dry_run: bool,
    /// The most to spend, in USD [default: precompute.max_cost_usd]
    #[arg(long, value_name = "USD")]
    max_cost_usd: Option<f64>,
    /// The most answers to buy [default: precompute.max_items]
    #[arg(long, value_name = "N")]
    max_items: Option<usize>,
    /// Buy in these hours only, such as 01:00-05:00 [default: precompute.window]
    #[arg(long, value_name = "FROM-TO")]
    window: Option<String>,
    /// The time zone of the window [default: precompute.time_zone]
    #[arg(long, value_name = "NAME")]
    time_zone: Option<String>,
    /// Answers at a time [default: precompute.concurrency]
    #[arg(long, value_name = "N")]
    concurrency: Option<usize>,
    /// The share of the upstreams' limits to use, up to 1 [default: precompute.share_of_limit]
    #[arg(long, value_name = "SHARE")]
    share_of_limit: Option<f64>,
    /// Wait for a run that is under way, and begin then
    #[arg(long)]
    wait: bool,
    #[command(flatten)]
    admin: AdminArgs,
}

/// Between two looks at a run.
const LOOK_EVERY: Duration = Duration::from_millis(500);
/// Between two attempts to begin while another run is under way, and the status that says that one is.
const WAIT_EVERY: Duration = Duration::from_secs(5);
const BUSY: &str = "409";
/// Between two lines where nobody draws a bar.
const LINE_EVERY: Duration = Duration::from_secs(10);
/// How long a server that is away is waited for.
const AWAY_MAX: Duration = Duration::from_secs(120);

pub async fn run(args: PrecomputeArgs, place: &Place) -> anyhow::Result<()> {
    let list = list(&args)?;
    if args.check {
        return print(&format!("{} requests, none of them wrong", list.count));
    }
    let session = Session::open(&args.admin, place).await?;
    let bought = buy(&args, &session, list).await;
    session.close().await;
    bought
}

/// A list as it is sent: a request on each line.
struct List {
    lines: Vec<u8>,
    count: usize,
}

/// Reads every list before anything is sent.
fn list(args: &PrecomputeArgs) -> anyhow::Result<List> {
    let mut list = List { lines: Vec::new(), count: 0 };
    for file in &args.files {
        for item in templates::read(file)? {
            serde_json::to_writer(&mut list.lines, &item)?;
            list.lines.push(b'\n');
            list.count += 1;
        }
    }
    if list.count == 0 && args.from_traffic.is_none() {
        bail!("the lists ask for nothing");
    }
    Ok(list)
}

async fn buy(args: &PrecomputeArgs, session: &Session, list: List) -> anyhow::Result<()> {
    let begun = begin(args, session, list).await?;
    if args.dry_run {
        return if args.admin.json { print_json(&begun) } else { print(&plan_text(&begun["plan"])) };
    }
    let run = begun["run"].as_str().context("the server named no run")?.to_owned();
    if args.admin.json {
        event("planned", &begun);
    } else {
        note(&plan_text(&begun["plan"]));
    }
    let report = watch(args, session, &run).await?;
    if args.admin.json {
        event("ended", &serde_json::to_value(&report)?);
    } else {
        print(&report_text(&report))?;
    }
    match report.state {
        State::Done if report.failed.is_empty() => Ok(()),
        State::Stopped | State::Cancelled => Err(StoppedWithWorkLeft.into()),
        _ => bail!("{}", report.reason.unwrap_or_else(|| "some answers could not be bought".to_owned())),
    }
}

async fn begin(args: &PrecomputeArgs, session: &Session, list: List) -> anyhow::Result<Value> {
    let (path, lines) = (path(args), Bytes::from(list.lines));
    let mut is_told = false;
    loop {
        match session.post_lines(&path, lines.clone()).await {
            Err(error) if args.wait && error.to_string().contains(BUSY) => {
                if !is_told {
                    note("another run is under way; waiting for its end");
                    is_told = true;
                }
                tokio::time::sleep(WAIT_EVERY).await;
            }
            begun => return begun,
        }
    }
}

fn path(args: &PrecomputeArgs) -> String {
    let wishes = [
        ("dry_run", args.dry_run.then(|| "true".to_owned())),
        ("max_cost_usd", args.max_cost_usd.map(|most| most.to_string())),
        ("max_items", args.max_items.map(|most| most.to_string())),
        ("from_traffic", args.from_traffic.clone()),
        ("traffic_days", args.traffic_days.map(|days| days.to_string())),
        ("window", args.window.clone()),
        ("time_zone", args.time_zone.clone()),
        ("concurrency", args.concurrency.map(|count| count.to_string())),
        ("share_of_limit", args.share_of_limit.map(|share| share.to_string())),
    ];
    let said = wishes.into_iter().filter_map(|(name, value)| Some((name, value?)));
    let query = url::form_urlencoded::Serializer::new(String::new()).extend_pairs(said).finish();
    format!("/admin/precompute?{query}")
}

/// Shows how far the run is until it is over. Ctrl-C stops it; what it has begun to buy is still stored.
async fn watch(args: &PrecomputeArgs, session: &Session, run: &str) -> anyhow::Result<Report> {
    let path = format!("/admin/precompute/{run}");
    let bar = bar(args);
    let (mut last_line, mut last_seen) = (tokio::time::Instant::now(), tokio::time::Instant::now());
    loop {
        tokio::select! {
            () = tokio::time::sleep(LOOK_EVERY) => {}
            _ = tokio::signal::ctrl_c() => {
                note("refrain: stopping; what is on its way is still stored");
                session.delete(&path).await?;
            }
        }
        let report: Report = match session.get(&path).await {
            Ok(report) => serde_json::from_value(report).context("cannot read the server's answer")?,
            Err(_) if last_seen.elapsed() < AWAY_MAX => continue,
            Err(error) => {
                return Err(
                    error.context("the run goes on without being watched, or has ended with its server")
                );
            }
        };
        last_seen = tokio::time::Instant::now();
        bar.set_length(report.planned as u64);
        bar.set_position(report.ended() as u64);
        bar.set_message(format!("{:.2} USD, {} tokens", report.spent_usd, report.tokens));
        if report.state.is_over() {
            bar.finish_and_clear();
            return Ok(report);
        }
        if bar.is_hidden() && last_line.elapsed() >= LINE_EVERY {
            last_line = tokio::time::Instant::now();
            if args.admin.json {
                event("progress", &serde_json::to_value(&report)?);
            } else {
                let (ended, planned, spent) = (report.ended(), report.planned, report.spent_usd);
                note(&format!("{}: {ended} of {planned}, {spent:.2} USD", report.state.name()));
            }
        }
    }
}

fn bar(args: &PrecomputeArgs) -> ProgressBar {
    if args.admin.json || !std::io::stderr().is_terminal() {
        return ProgressBar::hidden();
    }
    let form = "{bar:30} {pos}/{len}  {per_sec}  {msg}  {eta} left";
    ProgressBar::new(0)
        .with_style(ProgressStyle::with_template(form).unwrap_or_else(|_| ProgressStyle::default_bar()))
}

/// Writes what happened as a line of JSON.
fn event(kind: &str, about: &Value) {
    let line = serde_json::json!({ "event": kind, "at": jiff::Timestamp::now().to_string(), "about": about });
    // Whoever closed standard output has had enough; the run goes on.
    let _ = print(&line.to_string());
}

fn plan_text(plan: &Value) -> String {
    let count = |name: &str| plan[name].as_u64().unwrap_or(0);
    let seconds = |name: &str| plan[name].as_f64().map(Duration::from_secs_f64);
    let mut lines = vec![format!(
        "to buy: {} new, {} anew; {} stay fresh, {} asked for twice, {} left out",
        count("new"),
        count("refresh"),
        count("fresh"),
        count("duplicates"),
        count("left_out")
    )];
    for (reason, count) in plan["refused"].as_object().into_iter().flatten() {
        lines.push(format!(
            "not bought, since the answer would not be kept until tomorrow ({reason}): {count}"
        ));
    }
    let cost = match plan["cost_usd"].as_f64() {
        Some(cost) => format!("about {cost:.2} USD"),
        None => "at a price that is not known".to_owned(),
    };
    let takes = seconds("seconds").unwrap_or_default();
    lines.push(format!("{} tokens, {cost}, about {}", count("tokens"), HumanDuration(takes)));
    match seconds("window_seconds") {
        Some(window) if window < takes => {
            lines.push(format!(
                "the window is {} long, so the rest waits for the next one",
                HumanDuration(window)
            ));
        }
        Some(window) => lines.push(format!("it fits the window of {}", HumanDuration(window))),
        None => {}
    }
    if plan["exceeds_budget"].as_bool() == Some(true) {
        lines.push("the budget ends before the list does".to_owned());
    }
    lines.join("\n")
}

fn report_text(report: &Report) -> String {
    let Report {
        state,
        reason,
        bought,
        refreshed,
        skipped,
        failed,
        failures,
        spent_usd,
        unpriced,
        tokens,
        seconds,
        ..
    } = report;
    let reason = reason.as_ref().map(|reason| format!(": {reason}")).unwrap_or_default();
    let took = HumanDuration(Duration::from_secs_f64(seconds.max(0.0)));
    let mut lines = vec![
        format!("{}{reason}", state.name()),
        format!(
            "bought {bought} new and {refreshed} anew, {skipped} were there already, {} left",
            report.left()
        ),
        format!("spent {spent_usd:.4} USD for {tokens} tokens in {took}"),
    ];
    if *unpriced > 0 {
        lines.push(format!("the cost of {unpriced} answers is not known"));
    }
    for (reason, count) in failed {
        lines.push(format!("not bought ({reason}): {count}"));
    }
    for one in failures {
        lines.push(format!("  {} {} {}", one.template, one.reason, one.key));
    }
    lines.join("\n")
}
