//! `refrain stats`: what is in the cache, and what it did.

use clap::Args;

use super::Place;
use super::admin::{self, AdminArgs};
use super::output::{print, print_json, sections};

/// Show what is in the cache and what it did
#[derive(Debug, Args)]
#[command(after_help = "Examples:\n  refrain stats\n  refrain stats --json | jq .\n  \
                  REFRAIN_API_KEY=… refrain stats --server http://10.0.0.7:9464")]
pub struct StatsArgs {
    #[command(flatten)]
    admin: AdminArgs,
}

pub async fn run(args: StatsArgs, place: &Place) -> anyhow::Result<()> {
    let stats = admin::get(&args.admin, place, "/admin/stats").await?;
    if args.admin.json { print_json(&stats) } else { print(&sections(&stats)) }
}
