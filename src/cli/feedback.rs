//! `refrain feedback`: an answer was wrong, or right, and what was said so far.

use anyhow::Context;
use clap::{Args, Subcommand};
use serde::Deserialize;
use serde_json::{Map, Value, json};

use super::Place;
use super::admin::{self, AdminArgs};
use super::output::{print, print_json};

/// Say that an answer was wrong, or right
///
/// The answer to a request is known by the request's id (the header `x-request-id`) for 24 hours, by its key or entry for
/// as long as it is kept.
#[derive(Debug, Args)]
#[command(after_help = "Examples:\n  refrain feedback wrong --request-id 0198c5a2-…\n  \
                  refrain feedback right --request-id 0198c5a2-… --entry 9c01…\n  \
                  refrain feedback export > judged.jsonl && refrain calibrate judged.jsonl")]
pub struct FeedbackArgs {
    #[command(subcommand)]
    said: Said,
}

#[derive(Debug, Subcommand)]
enum Said {
    /// The entry that answered goes, and that pair of prompts never matches again
    Wrong(Judgement),
    /// The answer of the entry serves the request, too, whatever the decision's layers say
    ///
    /// Name the request, and the entry as well where another one or none answered it.
    Right(Judgement),
    /// Print what was said of pairs of prompts, as JSON lines that `refrain calibrate` reads
    Export {
        /// The tenant whose they are [default: any]
        #[arg(long)]
        tenant: Option<String>,
        #[command(flatten)]
        admin: AdminArgs,
    },
}

#[derive(Debug, Args)]
struct Judgement {
    #[command(flatten)]
    about: About,
    /// The tenant whose answer it was [default: any; with --request-id: `default`]
    #[arg(long)]
    tenant: Option<String>,
    #[command(flatten)]
    admin: AdminArgs,
}

/// Which answer.
#[derive(Debug, Args)]
#[group(required = true, multiple = true)]
struct About {
    /// The `x-request-id` of the answer
    #[arg(long, value_name = "ID", conflicts_with = "key")]
    request_id: Option<String>,
    /// The `x-cache-key` of the answer, 64 hex digits
    #[arg(long, value_name = "HEX")]
    key: Option<String>,
    /// The `x-cache-entry` of any answer, 64 hex digits; alone, or with one of the others
    #[arg(long, value_name = "HEX")]
    entry: Option<String>,
}

/// The answer of `POST /admin/feedback`.
#[derive(Debug, Deserialize)]
struct Done {
    removed: u64,
    pair_blocked: bool,
    #[serde(default)]
    alias: bool,
}

pub async fn run(args: FeedbackArgs, place: &Place) -> anyhow::Result<()> {
    match args.said {
        Said::Wrong(judgement) => judge("wrong", judgement, place).await,
        Said::Right(judgement) => judge("right", judgement, place).await,
        Said::Export { tenant, admin } => {
            let query = tenant.as_deref().map(|tenant| ("tenant", tenant));
            print(&admin::get_lines(&admin, place, "/admin/feedback", query.as_slice()).await?)
        }
    }
}

async fn judge(verdict: &str, judgement: Judgement, place: &Place) -> anyhow::Result<()> {
    let Judgement { about: About { request_id, key, entry }, tenant, admin } = judgement;
    let mut body = Map::new();
    body.insert("verdict".into(), json!(verdict));
    for (field, value) in [("tenant", tenant), ("request_id", request_id), ("key", key), ("entry", entry)] {
        body.extend(value.map(|value| (field.to_owned(), json!(value))));
    }
    let done = admin::post(&admin, place, "/admin/feedback", &Value::Object(body)).await?;
    if admin.json {
        return print_json(&done);
    }
    let Done { removed, pair_blocked, alias } =
        Done::deserialize(done).context("cannot read the server's answer")?;
    if alias {
        return print("the answer of that entry serves this prompt, too, from now on");
    }
    let pair = if pair_blocked { "; this pair of prompts will not match again" } else { "" };
    print(&format!("entries removed: {removed}{pair}"))
}
