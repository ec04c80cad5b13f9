//! Where log lines go: stderr, readable on a terminal and JSON elsewhere.

use std::io::IsTerminal;

use tracing_subscriber::EnvFilter;

/// How a log line is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LogFormat {
    Text,
    Json,
}

/// Sends log lines of this level and above to stderr; `directives` is what `RUST_LOG` would say, such as
/// `refrain=debug`. Without a format, a terminal gets text and anything else JSON.
///
/// From then on a panic is logged by its place alone. A second call changes nothing: the first subscriber stays.
pub fn start_logging(directives: &str, format: Option<LogFormat>) {
    let is_terminal = std::io::stderr().is_terminal();
    let format = format.unwrap_or(if is_terminal { LogFormat::Text } else { LogFormat::Json });
    let filter = EnvFilter::builder().parse_lossy(directives);
    let lines = tracing_subscriber::fmt().with_env_filter(filter).with_writer(std::io::stderr);
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
}
