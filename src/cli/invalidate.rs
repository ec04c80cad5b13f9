//! `refrain invalidate`: takes entries out of the cache.

use anyhow::Context;
use clap::Args;
use serde::Deserialize;
use serde_json::{Map, Value, json};

use super::Place;
use super::admin::{self, AdminArgs};
use super::output::{note, print, print_json};

/// Count the entries that fit, and with --yes remove them
#[derive(Debug, Args)]
#[command(
    after_help = "Examples:\n  refrain invalidate --tag prices\n  refrain invalidate --tag prices --yes\n  \
                  refrain invalidate --tenant shop --model openai/gpt-4o-mini --older-than-seconds 86400 --yes"
)]
pub struct InvalidateArgs {
    #[command(flatten)]
    selection: Selection,
    /// Remove them; without it they are only counted
    #[arg(long)]
    yes: bool,
    #[command(flatten)]
    admin: AdminArgs,
}

/// What an entry must fit, all of it.
#[derive(Debug, Args)]
#[group(required = true, multiple = true)]
struct Selection {
    /// Entries that carry this tag
    #[arg(long)]
    tag: Option<String>,
    /// Entries of this model: a route's alias, else provider/model
    #[arg(long)]
    model: Option<String>,
    /// Entries of this tenant
    #[arg(long)]
    tenant: Option<String>,
    /// Entries of this namespace
    #[arg(long)]
    namespace: Option<String>,
    /// Entries whose prompt begins so
    #[arg(long, value_name = "TEXT")]
    prompt_prefix: Option<String>,
    /// Entries whose answer was made longer ago
    #[arg(long, value_name = "SECONDS")]
    older_than_seconds: Option<u64>,
    /// Entries of this end user, where the scope is `user`
    #[arg(long)]
    user: Option<String>,
}

impl Selection {
    fn into_body(self, dry_run: bool) -> Value {
        let Self { tag, model, tenant, namespace, prompt_prefix, older_than_seconds, user } = self;
        let texts = [
            ("tag", tag),
            ("model", model),
            ("tenant", tenant),
            ("namespace", namespace),
            ("prompt_prefix", prompt_prefix),
            ("user", user),
        ];
        let mut body: Map<String, Value> =
            texts.into_iter().filter_map(|(field, value)| Some((field.to_owned(), json!(value?)))).collect();
        body.extend(older_than_seconds.map(|seconds| ("older_than_seconds".to_owned(), json!(seconds))));
        body.insert("dry_run".into(), json!(dry_run));
        Value::Object(body)
    }
}

/// The answer of `POST /admin/invalidate`.
#[derive(Debug, Deserialize)]
struct Done {
    count: u64,
    dry_run: bool,
}

pub async fn run(args: InvalidateArgs, place: &Place) -> anyhow::Result<()> {
    let body = args.selection.into_body(!args.yes);
    let done = admin::post(&args.admin, place, "/admin/invalidate", &body).await?;
    if args.admin.json {
        print_json(&done)?;
    } else {
        let Done { count, dry_run } = Done::deserialize(done).context("cannot read the server's answer")?;
        let what = if dry_run { "entries that fit" } else { "entries removed" };
        print(&format!("{what}: {count}"))?;
    }
    if !args.yes {
        note("nothing was removed; the same command with --yes removes them");
    }
    Ok(())
}
