//! `refrain serve`: until somebody says stop.

use anyhow::Context;
use clap::Args;

use super::{Listeners, Place, configuration};
use crate::app;
use crate::telemetry::start_logging;

/// Start the server
#[derive(Debug, Args)]
#[command(after_help = "Examples:\n  refrain serve --sandbox\n  OPENAI_API_KEY=sk-… refrain serve\n  \
                  refrain serve --config /etc/refrain.toml --listen 127.0.0.1:0\n\n\
                  Ends on SIGTERM or SIGINT, after the requests under way; a second one does not wait for them.\n\
                  SIGHUP has the configuration loaded again.")]
pub struct ServeArgs {
    #[command(flatten)]
    listeners: Listeners,
}

pub async fn run(args: ServeArgs, place: &Place) -> anyhow::Result<()> {
    let config = configuration(&args.listeners.flags(place))?;
    let _logs = start_logging(&config.log, None).context("nothing can be logged")?;
    app::serve(config).await
}
