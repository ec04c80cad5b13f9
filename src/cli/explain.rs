//! `refrain explain`: why is this prompt, or is it not, answered from the cache?

use std::fmt::Write as _;
use std::io::Read;
use std::path::{Path, PathBuf};

use anyhow::Context;
use clap::Args;
use serde::Deserialize;
use serde_json::{Map, Value, json};

use super::Place;
use super::admin::{self, AdminArgs};
use super::output::{columns, excerpt, print, print_json, printable};
use super::semantic::Checks;

/// Say why a prompt is, or is not, answered from the cache
///
/// Calls no provider and changes nothing.
#[derive(Debug, Args)]
#[command(after_help = "Examples:\n  refrain explain \"How do I reset my password?\"\n  \
                  refrain explain \"How do I reset my password?\" --system \"Be brief.\" --model openai/gpt-4o-mini\n  \
                  refrain explain --endpoint /v1/chat/completions --body request.json")]
pub struct ExplainArgs {
    /// The prompt, as for /v1/generate
    #[arg(required_unless_present = "body", conflicts_with_all = ["endpoint", "body"])]
    prompt: Option<String>,
    /// The system text
    #[arg(long, requires = "prompt")]
    system: Option<String>,
    /// The model
    #[arg(long, requires = "prompt")]
    model: Option<String>,
    /// The path that the request would be sent to
    #[arg(long, value_name = "PATH", default_value = "/v1/generate", requires = "body")]
    endpoint: String,
    /// The file with the request's body; `-` is standard input
    #[arg(long, value_name = "FILE")]
    body: Option<PathBuf>,
    /// A header of the request, such as `x-cache-namespace: faq`; may be repeated
    #[arg(long = "header", value_name = "NAME: VALUE", value_parser = header)]
    headers: Vec<(String, String)>,
    /// The tenant who asks [default: that of the key]
    #[arg(long)]
    tenant: Option<String>,
    #[command(flatten)]
    admin: AdminArgs,
}

fn header(text: &str) -> Result<(String, String), String> {
    let (name, value) = text.split_once(':').ok_or("expected `name: value`")?;
    Ok((name.trim().to_ascii_lowercase(), value.trim().to_owned()))
}

pub async fn run(args: ExplainArgs, place: &Place) -> anyhow::Result<()> {
    let ask = json!({
        "endpoint": args.endpoint,
        "tenant": args.tenant,
        "headers": args.headers.into_iter().collect::<std::collections::BTreeMap<_, _>>(),
        "body": match &args.body {
            Some(file) => read_body(file)?,
            None => prompt_body(args.prompt, args.system, args.model),
        },
    });
    let explanation = admin::post(&args.admin, place, "/admin/explain", &ask).await?;
    if args.admin.json {
        return print_json(&explanation);
    }
    let explanation =
        Explanation::deserialize(explanation).context("cannot read the server's explanation")?;
    print(&explanation.text())
}

fn prompt_body(prompt: Option<String>, system: Option<String>, model: Option<String>) -> Value {
    [("prompt", prompt), ("system", system), ("model", model)]
        .into_iter()
        .filter_map(|(field, value)| Some((field.to_owned(), json!(value?))))
        .collect::<Map<_, _>>()
        .into()
}

fn read_body(file: &Path) -> anyhow::Result<Value> {
    let text = if file == Path::new("-") {
        let mut text = String::new();
        std::io::stdin().read_to_string(&mut text).map(|_| text)
    } else {
        std::fs::read_to_string(file)
    };
    let text = text.with_context(|| format!("cannot read {}", file.display()))?;
    serde_json::from_str(&text).with_context(|| format!("{} is not JSON", file.display()))
}

/// The answer of `POST /admin/explain`.
#[derive(Debug, Deserialize)]
struct Explanation {
    /// `serve`, `miss` or `bypass`.
    decision: String,
    source: Option<String>,
    key: Option<String>,
    partition: Option<String>,
    policy: Policy,
    #[serde(default)]
    tiers: Vec<Tier>,
    #[serde(default)]
    candidates: Vec<Candidate>,
    stranger: Option<Stranger>,
    /// What checks have found of the route's hits.
    checks: Option<Checks>,
}

#[derive(Debug, Deserialize)]
struct Policy {
    read: bool,
    write: bool,
    volatile: bool,
    reason: Option<String>,
}

#[derive(Debug, Deserialize)]
struct Tier {
    tier: String,
    outcome: String,
}

/// A neighbour that was looked at.
#[derive(Debug, Deserialize)]
struct Candidate {
    entry: String,
    prompt: Option<String>,
    similarity: f64,
    verifier: Option<f64>,
    served: bool,
    #[serde(default)]
    layers: Vec<Layer>,
}

#[derive(Debug, Deserialize)]
struct Layer {
    layer: String,
    /// `pass`, `veto` or `skipped`.
    verdict: String,
    reason: Option<String>,
}

/// The nearest entry of another partition: what would have to be equal for it to be looked at.
#[derive(Debug, Deserialize)]
struct Stranger {
    entry: String,
    similarity: f64,
    differs_in: Vec<String>,
}

/// Characters of a stored prompt that are shown.
const PROMPT_CHARACTERS: usize = 160;

impl Explanation {
    fn text(&self) -> String {
        let mut text = match (self.decision.as_str(), &self.source) {
            ("serve", Some(source)) => format!("serve: answered from the cache ({source})\n\n"),
            ("miss", _) => "miss: a provider would be asked\n\n".to_owned(),
            ("bypass", _) => "bypass: the cache is left alone\n\n".to_owned(),
            (other, _) => format!("{}\n\n", printable(other)),
        };
        let absent = || "none: such a request has none".to_owned();
        let mut rows = vec![
            ("key", self.key.clone().unwrap_or_else(absent)),
            ("partition", self.partition.clone().unwrap_or_else(absent)),
            ("policy", self.policy.text()),
        ];
        rows.extend(self.checks.as_ref().map(|checks| ("checks", checks.text())));
        text += &columns(&rows, 0);
        if !self.tiers.is_empty() {
            text += "\ntiers\n";
            text +=
                &columns(&self.tiers.iter().map(|tier| (&tier.tier, &tier.outcome)).collect::<Vec<_>>(), 2);
        }
        for (at, candidate) in (1..).zip(&self.candidates) {
            let _ = write!(text, "\ncandidate {at}  {}", candidate.text());
        }
        if let Some(Stranger { entry, similarity, differs_in }) = &self.stranger {
            let _ = write!(
                text,
                "\nnearest in another partition  similarity {similarity:.4}  entry {entry}\n  differs in: {}\n",
                differs_in.join(", ")
            );
        }
        text
    }
}

impl Policy {
    fn text(&self) -> String {
        let word = |yes: bool| if yes { "yes" } else { "no" };
        let mut text = format!("read {}, write {}", word(self.read), word(self.write));
        if self.volatile {
            text += ", volatile";
        }
        if let Some(reason) = &self.reason {
            let _ = write!(text, " ({})", printable(reason));
        }
        text
    }
}

impl Candidate {
    fn text(&self) -> String {
        let mut text = format!("similarity {:.4}", self.similarity);
        if let Some(score) = self.verifier {
            let _ = write!(text, "  verifier {score:.4}");
        }
        let served = if self.served { "  served" } else { "" };
        let _ = writeln!(text, "{served}\n  entry {}", self.entry);
        if let Some(prompt) = &self.prompt {
            let _ = writeln!(text, "  “{}”", excerpt(prompt, PROMPT_CHARACTERS));
        }
        let rows: Vec<_> = self.layers.iter().map(|layer| (&layer.layer, layer.text())).collect();
        text + &columns(&rows, 2)
    }
}

impl Layer {
    fn text(&self) -> String {
        match &self.reason {
            Some(reason) => format!("{:<7}  {}", self.verdict, printable(reason)),
            None => self.verdict.clone(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_explanation_reads_well_in_a_terminal() {
        let explanation = Explanation::deserialize(json!({
            "decision": "miss", "source": null, "key": "aa11", "partition": "bb22",
            "policy": {"read": true, "write": true, "volatile": false, "reason": null},
            "tiers": [{"tier": "memory", "outcome": "miss"}, {"tier": "semantic", "outcome": "rejected"}],
            "candidates": [{
                "entry": "cc33", "prompt": "What changed in 2023?\u{1b}[2J", "similarity": 0.963_21, "verifier": null,
                "served": false,
                "layers": [
                    {"layer": "threshold", "verdict": "pass", "reason": null},
                    {"layer": "numbers", "verdict": "veto", "reason": "2023 is not 2024"},
                    {"layer": "code", "verdict": "skipped", "reason": "refused before"},
                ],
            }],
            "stranger": {"entry": "dd44", "similarity": 0.98, "differs_in": ["system"]},
        }))
        .unwrap();
        assert_eq!(
            explanation.text(),
            "\
miss: a provider would be asked

key        aa11
partition  bb22
policy     read yes, write yes

tiers
  memory    miss
  semantic  rejected

candidate 1  similarity 0.9632
  entry cc33
  “What changed in 2023?\\u{1b}[2J”
  threshold  pass
  numbers    veto     2023 is not 2024
  code       skipped  refused before

nearest in another partition  similarity 0.9800  entry dd44
  differs in: system
"
        );
    }

    #[test]
    fn a_header_is_a_name_and_a_value() {
        assert_eq!(header("X-Cache-Mode:  exact"), Ok(("x-cache-mode".into(), "exact".into())));
        assert!(header("exact").is_err());
    }
}
