//! What does a gateway share with those before and after it?

use std::sync::Arc;

use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use super::AiSwitch;
use crate::cache::Cache;
use crate::checks::Checks;
use crate::telemetry::Telemetry;

/// What outlives a change of the configuration.
#[derive(Clone)]
pub struct Shared {
    pub cache: Arc<Cache>,
    pub ai: Arc<AiSwitch>,
    pub checks: Arc<Checks>,
    pub telemetry: Arc<Telemetry>,
    /// Generations and checks under way: they outlive the callers that began them.
    pub tasks: TaskTracker,
    /// Cancelled when the time to finish is over.
    pub shutdown: CancellationToken,
}
