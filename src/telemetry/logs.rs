//! Where log lines go: stderr, readable on a terminal and JSON elsewhere.

use std::io::{self, IsTerminal};

use tracing_subscriber::EnvFilter;

use super::sink::Sink;

/// How a log line is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LogFormat {
    Text,
    Json,
}

/// Sends log lines of this level and above to stderr; `directives` is what `RUST_LOG` would say, such as
/// `refrain=debug`. Without a format, a terminal gets text and anything else JSON.
///
/// From then on a panic is logged by its place alone. A second call changes nothing: the first subscriber stays. What is
/// returned is to be kept for as long as anything is logged.
///
/// # Errors
/// The system's, where it has no thread for it.
pub fn start_logging(directives: &str, format: Option<LogFormat>) -> io::Result<Logs> {
    let is_terminal = io::stderr().is_terminal();
    let format = format.unwrap_or(if is_terminal { LogFormat::Text } else { LogFormat::Json });
    let filter = EnvFilter::builder().parse_lossy(directives);
    let sink = Sink::start(io::stderr())?;
    let writer = sink.clone();
    let lines = tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_writer(move || writer.clone())
        // It would say to stderr that it cannot write there, and panic where it cannot.
        .log_internal_errors(false);
    std::panic::set_hook(Box::new(|panic| {
        // Where, and never what: a message may quote the text that a task fell over.
        let location = panic.location().map(ToString::to_string);
        tracing::error!(location, "a task panicked");
    }));
    // An error here only says that a subscriber is there already, as in tests.
    let _ = match format {
        LogFormat::Text => lines.with_ansi(is_terminal).with_target(false).try_init(),
        LogFormat::Json => lines.json().flatten_event(true).with_target(false).try_init(),
    };
    Ok(Logs(sink))
}

/// Dropping it waits, for a moment, until the last lines are written.
pub struct Logs(Sink);

impl Drop for Logs {
    fn drop(&mut self) {
        self.0.flush();
    }
}
