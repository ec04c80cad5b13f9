//! What does the operator type, and what comes back?
//!
//! The clap types, and one file per subcommand with its arguments and its `run`. Data goes to standard output and
//! nothing else does; every failure is one line on standard error, with a hint below it where there is one.

mod admin;
mod calibrate;
mod calibration_report;
mod check;
mod explain;
mod feedback;
mod invalidate;
mod key;
mod output;
mod precompute;
mod semantic;
mod serve;
mod stats;

use std::ffi::OsString;
use std::future::Future;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::process::ExitCode;

use clap::{Args, Parser, Subcommand};

use crate::config::{Config, Environment, Flags, load};

/// The command did not do what it was asked to.
const FAILED: u8 = 1;
/// The command line itself was wrong.
const USAGE: u8 = 2;
/// It stopped as it was told to, with work left.
const WORK_LEFT: u8 = 3;

/// What was to be done is not done yet, and nothing is wrong.
#[derive(Debug, thiserror::Error)]
#[error("stopped with work left")]
struct StoppedWithWorkLeft;

/// The whole command line.
#[derive(Debug, Parser)]
#[command(
    name = "refrain",
    version,
    about = "A semantic response cache server for LLM APIs",
    arg_required_else_help = true,
    after_help = "Start here:\n  refrain serve --sandbox              try it without a key\n  \
                  refrain check                        is everything well, and how to mend it\n  \
                  refrain explain \"how do I …?\"        why this prompt is, or is not, answered from the cache"
)]
struct Cli {
    #[command(flatten)]
    place: Place,
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    Serve(serve::ServeArgs),
    Check(check::CheckArgs),
    Calibrate(calibrate::CalibrateArgs),
    #[command(subcommand)]
    Key(key::KeyCommand),
    Explain(explain::ExplainArgs),
    Stats(stats::StatsArgs),
    Semantic(semantic::SemanticArgs),
    Precompute(precompute::PrecomputeArgs),
    Feedback(feedback::FeedbackArgs),
    Invalidate(invalidate::InvalidateArgs),
}

/// Where this installation lies; each flag wins over the configuration.
#[derive(Debug, Args)]
#[command(next_help_heading = "Installation")]
struct Place {
    /// The configuration file [default: $REFRAIN_CONFIG, else ./refrain.toml if it is there]
    #[arg(long, global = true, value_name = "PATH")]
    config: Option<PathBuf>,
    /// The folder of the store, the index and the lock file
    #[arg(long, global = true, value_name = "PATH")]
    data_dir: Option<PathBuf>,
    /// The folder of the models and the ONNX Runtime
    #[arg(long, global = true, value_name = "PATH")]
    models_dir: Option<PathBuf>,
}

impl Place {
    fn flags(&self) -> Flags {
        Flags {
            config: self.config.clone(),
            data_dir: self.data_dir.clone(),
            models_dir: self.models_dir.clone(),
            ..Flags::default()
        }
    }
}

/// What a running server is told besides.
#[derive(Debug, Args)]
#[command(next_help_heading = "Server")]
struct Listeners {
    /// The public listener; port 0 picks a free one [default: 127.0.0.1:8080]
    #[arg(long, value_name = "ADDRESS")]
    listen: Option<SocketAddr>,
    /// The admin listener; port 0 picks a free one [default: 127.0.0.1:9464]
    #[arg(long, value_name = "ADDRESS")]
    admin_listen: Option<SocketAddr>,
    /// Answer from the sandbox alone: made-up texts, any model name, no key needed
    #[arg(long)]
    sandbox: bool,
}

impl Listeners {
    fn flags(&self, place: &Place) -> Flags {
        Flags { listen: self.listen, admin_listen: self.admin_listen, sandbox: self.sandbox, ..place.flags() }
    }
}

/// Runs the command line and returns the process's exit code. A reader that closes standard output early, as `head`
/// does, has got what it wanted: that is success.
pub fn run(arguments: impl IntoIterator<Item = OsString>) -> ExitCode {
    let cli = match Cli::try_parse_from(arguments) {
        Ok(cli) => cli,
        Err(error) => {
            // Help and version are data, a wrong command line is not; where even that cannot be written, who would read?
            let _ = error.print();
            return if error.use_stderr() { ExitCode::from(USAGE) } else { ExitCode::SUCCESS };
        }
    };
    match execute(cli) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) if error.is::<output::Closed>() => ExitCode::SUCCESS,
        Err(error) if error.is::<StoppedWithWorkLeft>() => ExitCode::from(WORK_LEFT),
        Err(error) => {
            output::report(&error);
            ExitCode::from(FAILED)
        }
    }
}

fn execute(cli: Cli) -> anyhow::Result<()> {
    let Cli { place, command } = cli;
    match command {
        Command::Serve(args) => wait(serve::run(args, &place)),
        Command::Check(args) => wait(check::run(args, &place)),
        Command::Calibrate(args) => wait(calibrate::run(args, &place)),
        Command::Key(command) => key::run(command),
        Command::Explain(args) => wait(explain::run(args, &place)),
        Command::Stats(args) => wait(stats::run(args, &place)),
        Command::Semantic(args) => wait(semantic::run(args, &place)),
        Command::Precompute(args) => wait(precompute::run(args, &place)),
        Command::Feedback(args) => wait(feedback::run(args, &place)),
        Command::Invalidate(args) => wait(invalidate::run(args, &place)),
    }
}

fn wait(command: impl Future<Output = anyhow::Result<()>>) -> anyhow::Result<()> {
    tokio::runtime::Builder::new_multi_thread().enable_all().build()?.block_on(command)
}

fn configuration(flags: &Flags) -> anyhow::Result<Config> {
    Ok(load(flags, &Environment::of_process())?)
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::CommandFactory;

    #[test]
    fn the_command_line_is_well_formed() {
        Cli::command().debug_assert();
    }
}
