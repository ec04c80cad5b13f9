//! `refrain stats`: what is in the cache, and what it did.

use clap::{Args, ValueEnum};
use serde_json::Value;

use super::Place;
use super::admin::{self, AdminArgs};
use super::output::{print, print_json, sections};

/// Show what is in the cache and what it did
#[derive(Debug, Args)]
#[command(
    after_help = "Examples:\n  refrain stats\n  refrain stats precompute\n  refrain stats --json | jq .\n  \
                  REFRAIN_API_KEY=… refrain stats --server http://10.0.0.7:9464"
)]
pub struct StatsArgs {
    /// Only this part
    part: Option<Part>,
    #[command(flatten)]
    admin: AdminArgs,
}

#[derive(Clone, Copy, Debug, ValueEnum)]
enum Part {
    /// Of what was bought ahead of time, how much was hit since, and what that saved
    Precompute,
}

pub async fn run(args: StatsArgs, place: &Place) -> anyhow::Result<()> {
    let path = match args.part {
        None => "/admin/stats",
        Some(Part::Precompute) => "/admin/precompute",
    };
    let stats = admin::get(&args.admin, place, path).await?;
    match args.part {
        _ if args.admin.json => print_json(&stats),
        None => print(&sections(&stats)),
        Some(Part::Precompute) => print(&precompute(&stats)),
    }
}

/// A line for each template, those first that saved the most over what they cost.
fn precompute(stats: &Value) -> String {
    let mut templates: Vec<&Value> = stats["templates"].as_array().into_iter().flatten().collect();
    if templates.is_empty() {
        return "nothing was bought ahead of time yet; see `refrain precompute --help`".to_owned();
    }
    let gain = |template: &Value| usd(template, "saved_usd") - usd(template, "spent_usd");
    templates.sort_by(|one, other| gain(other).total_cmp(&gain(one)));
    let mut lines = vec![format!(
        "{:<28} {:>7} {:>7} {:>7} {:>11} {:>11}",
        "template", "bought", "hit", "hits", "spent", "saved"
    )];
    for template in templates {
        let count = |name: &str| template[name].as_u64().unwrap_or(0);
        lines.push(format!(
            "{:<28} {:>7} {:>7} {:>7} {:>7.4} USD {:>7.4} USD",
            template["template"].as_str().unwrap_or_default(),
            count("bought"),
            count("used"),
            count("hits"),
            usd(template, "spent_usd"),
            usd(template, "saved_usd"),
        ));
    }
    lines.join("\n")
}

fn usd(template: &Value, name: &str) -> f64 {
    template[name].as_f64().unwrap_or(0.0)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn what_saved_most_comes_first() {
        let template = |name: &str, spent: f64, saved: f64| json!({"template": name, "bought": 3, "used": 2, "hits": 5, "spent_usd": spent, "saved_usd": saved});
        let text =
            precompute(&json!({"templates": [template("dear", 2.0, 0.5), template("good", 1.0, 4.0)]}));
        let lines: Vec<_> = text.lines().collect();
        assert!(lines[1].starts_with("good") && lines[2].starts_with("dear"), "{text}");
        assert!(lines[1].ends_with("4.0000 USD"), "{text}");
        assert!(precompute(&json!({"templates": []})).contains("nothing was bought"));
    }
}
