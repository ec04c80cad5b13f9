//! What handlers share.

use std::sync::Arc;
use std::time::Duration;

use arc_swap::ArcSwap;

use super::body::BodyLimits;
use super::listener::Shutdown;
use crate::gateway::Gateway;
use crate::telemetry::Telemetry;

/// What handlers share; made once by the composition root.
pub struct AppState {
    /// Exchanged whole when the configuration is loaded again.
    pub gateway: Arc<ArcSwap<Gateway>>,
    pub telemetry: Arc<Telemetry>,
    pub body: BodyLimits,
    /// The time for a whole stream.
    pub stream_max: Duration,
    /// The public listener's end: from its beginning on the server is not ready.
    pub shutdown: Shutdown,
}
