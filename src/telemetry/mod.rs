//! What can be seen from outside?
//!
//! Every metric is declared once, in `metrics`, and every log line goes through `tracing`, set up in `logs`. Neither
//! ever carries a prompt, an answer, a key or a secret.

mod checked;
mod dollars;
mod events;
mod logs;
mod metrics;
mod rates;
mod sink;
mod upstreams;

pub use checked::CheckedRoute;
pub use events::{Events, Incident};
pub use logs::{LogFormat, Logs, start_logging};
pub use metrics::{Telemetry, Tokens};
pub use rates::{Rates, Totals};
pub use upstreams::UpstreamReading;
