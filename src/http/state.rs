//! What handlers share.

use std::sync::Arc;
use std::time::Duration;

use arc_swap::ArcSwap;

use super::body::BodyLimits;
use super::listener::Shutdown;
use super::reload::Reload;
use crate::config::PrecomputeConfig;
use crate::gateway::{AiSwitch, Gateway};
use crate::jobs::Jobs;
use crate::precompute::Precompute;
use crate::telemetry::Telemetry;

/// What handlers share; made once by the composition root.
pub struct AppState {
    /// Exchanged whole when the configuration is loaded again.
    pub gateway: Arc<ArcSwap<Gateway>>,
    /// Exchanged with it.
    pub edge: Arc<ArcSwap<Edge>>,
    pub ai: Arc<AiSwitch>,
    /// Generations in the background.
    pub jobs: Arc<Jobs>,
    /// Lists that are bought ahead of time, and how where a request says nothing else.
    pub precompute: Arc<Precompute>,
    pub precompute_config: Arc<PrecomputeConfig>,
    pub telemetry: Arc<Telemetry>,
    /// The public listener's end: from its beginning on the server is not ready.
    pub shutdown: Shutdown,
    pub reload: Reload,
}

/// What a request may cost before the gateway sees it, and its answer after that.
#[derive(Clone, Copy, Debug)]
pub struct Edge {
    pub body: BodyLimits,
    /// The time for a whole stream.
    pub stream_max: Duration,
}

impl AppState {
    /// Returns what counts now.
    pub(super) fn edge(&self) -> Edge {
        **self.edge.load()
    }
}
