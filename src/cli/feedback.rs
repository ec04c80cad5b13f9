//! `refrain feedback`: an answer was wrong, or right.

use anyhow::Context;
use clap::{Args, ValueEnum};
use serde::Deserialize;
use serde_json::{Map, Value, json};

use super::Place;
use super::admin::{self, AdminArgs};
use super::output::{print, print_json};

/// Say that an answer was wrong, or right
///
/// After `wrong` the entry that answered is gone, and that pair of prompts never matches again. The answer to a request
/// is known by the request's id (the header `x-request-id`) for 24 hours, by its key or entry for as long as it is kept.
#[derive(Debug, Args)]
#[command(after_help = "Examples:\n  refrain feedback wrong --request-id 0198c5a2-…\n  \
                  refrain feedback wrong --entry 9c01…")]
pub struct FeedbackArgs {
    verdict: Verdict,
    #[command(flatten)]
    about: About,
    /// The tenant whose answer it was [default: any; with --request-id: `default`]
    #[arg(long)]
    tenant: Option<String>,
    #[command(flatten)]
    admin: AdminArgs,
}

#[derive(Clone, Copy, Debug, ValueEnum)]
enum Verdict {
    Wrong,
    Right,
}

impl Verdict {
    const fn name(self) -> &'static str {
        match self {
            Self::Wrong => "wrong",
            Self::Right => "right",
        }
    }
}

/// Which answer; one of the three.
#[derive(Debug, Args)]
#[group(required = true, multiple = false)]
struct About {
    /// The `x-request-id` of the answer
    #[arg(long, value_name = "ID")]
    request_id: Option<String>,
    /// The `x-cache-key` of an answer that came from upstream or by an equal request, 64 hex digits
    #[arg(long, value_name = "HEX")]
    key: Option<String>,
    /// The `x-cache-entry` of any answer, 64 hex digits
    #[arg(long, value_name = "HEX")]
    entry: Option<String>,
}

/// The answer of `POST /admin/feedback`.
#[derive(Debug, Deserialize)]
struct Done {
    removed: u64,
    pair_blocked: bool,
}

pub async fn run(args: FeedbackArgs, place: &Place) -> anyhow::Result<()> {
    let About { request_id, key, entry } = args.about;
    let mut body = Map::new();
    body.insert("verdict".into(), json!(args.verdict.name()));
    for (field, value) in
        [("tenant", args.tenant), ("request_id", request_id), ("key", key), ("entry", entry)]
    {
        body.extend(value.map(|value| (field.to_owned(), json!(value))));
    }
    let done = admin::post(&args.admin, place, "/admin/feedback", &Value::Object(body)).await?;
    if args.admin.json {
        return print_json(&done);
    }
    let Done { removed, pair_blocked } =
        Done::deserialize(done).context("cannot read the server's answer")?;
    let pair = if pair_blocked { "; this pair of prompts will not match again" } else { "" };
    print(&format!("entries removed: {removed}{pair}"))
}
