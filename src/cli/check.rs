//! `refrain check`: is every part well, and how is it mended?

use anyhow::bail;
use clap::Args;
use serde_json::{Value, json};

use super::admin::stats_of_holder;
use super::output::{columns, inline, print, print_json};
use super::{Listeners, Place, configuration};
use crate::app::{self, Finding};

/// Check configuration, model, runtime, store, index and providers
///
/// One line for each, and what mends it where it is not well; exit code 1 if anything is not. Beside a running server
/// store and index are that server's.
#[derive(Debug, Args)]
#[command(after_help = "Example:\n  refrain check --config /etc/refrain.toml")]
pub struct CheckArgs {
    #[command(flatten)]
    listeners: Listeners,
    /// Print JSON
    #[arg(long)]
    json: bool,
}

pub async fn run(args: CheckArgs, place: &Place) -> anyhow::Result<()> {
    let findings = find(&args.listeners, place).await;
    if args.json {
        print_json(&findings.iter().map(as_json).collect())?;
    } else {
        print(&text(&findings))?;
    }
    let unwell: Vec<_> = findings.iter().filter(|finding| !finding.ok).map(|finding| finding.part).collect();
    if unwell.is_empty() { Ok(()) } else { bail!("not well: {}", unwell.join(", ")) }
}

async fn find(listeners: &Listeners, place: &Place) -> Vec<Finding> {
    let well = |part, detail| Finding { part, ok: true, detail, remedy: None };
    let config = match configuration(&listeners.flags(place)) {
        Ok(config) => config,
        Err(error) => {
            let remedy = Some("every key and its meaning: examples/refrain.toml".to_owned());
            return vec![Finding { part: "configuration", ok: false, detail: format!("{error:#}"), remedy }];
        }
    };
    let mut findings = vec![well("configuration", "every key is known and makes sense".to_owned())];
    findings.extend(app::check(&config).await);
    if let Some((pid, stats)) = stats_of_holder(&config).await {
        for finding in findings.iter_mut().filter(|finding| HELD.contains(&finding.part)) {
            *finding = of_holder(finding.part, pid, &stats);
        }
    }
    findings
}

/// The parts that only the process which holds the data folder can speak for.
const HELD: [&str; 2] = ["store", "index"];

fn of_holder(part: &'static str, pid: u32, stats: &anyhow::Result<Value>) -> Finding {
    let (ok, detail) = match stats.as_ref().map(|stats| &stats[part]) {
        Ok(Value::Null) => (true, format!("switched off in the running server (process {pid})")),
        Ok(numbers) => match numbers["error"].as_str() {
            Some(error) => (false, error.to_owned()),
            None => (true, format!("of the running server (process {pid}): {}", inline(numbers))),
        },
        Err(error) => (false, format!("process {pid} holds the data folder and does not answer: {error:#}")),
    };
    let remedy = (!ok).then(|| "see the server's log".to_owned());
    Finding { part, ok, detail, remedy }
}

fn as_json(finding: &Finding) -> Value {
    let Finding { part, ok, detail, remedy } = finding;
    json!({"part": part, "ok": ok, "detail": detail, "remedy": remedy})
}

fn text(findings: &[Finding]) -> String {
    let rows: Vec<_> = findings
        .iter()
        .map(|Finding { part, ok, detail, remedy }| {
            let word = if *ok { "ok  " } else { "FAIL" };
            let remedy = remedy.as_deref().map(|remedy| format!("; {remedy}")).unwrap_or_default();
            (*part, format!("{word}  {detail}{remedy}"))
        })
        .collect();
    columns(&rows, 0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_part_is_one_line_with_its_remedy() {
        let findings = [
            Finding { part: "model", ok: true, detail: "all-minilm-l6-v2".into(), remedy: None },
            Finding {
                part: "runtime",
                ok: false,
                detail: "libonnxruntime.so is missing".into(),
                remedy: Some("run `make models`".into()),
            },
        ];
        assert_eq!(
            text(&findings),
            "model    ok    all-minilm-l6-v2\nruntime  FAIL  libonnxruntime.so is missing; run `make models`\n"
        );
    }
}
