//! Stub of the gateway's interface, to be replaced whole.

mod generation;
mod outcome;

use std::sync::Arc;

use crate::chat::{ChatRequest, Directives, Entry, Fingerprint, Partition, Source, TenantId, Tier};
use crate::store::{EntrySummary, Selection, StoreError};

pub use generation::{Conclusion, LiveAnswer};
pub use outcome::{Answer, GatewayError, Outcome, UpstreamFailure};

#[derive(Debug)]
pub struct Ask {
    pub request: Arc<ChatRequest>,
    pub directives: Directives,
    pub stream: bool,
    pub request_id: Arc<str>,
}

#[derive(Debug)]
pub struct ListedModel {
    pub id: String,
    pub owned_by: String,
}

#[derive(Debug)]
pub enum About {
    Request(String),
    Key(Fingerprint),
    Entry(Fingerprint),
}

#[derive(Clone, Copy, Debug)]
pub enum Verdict {
    Wrong,
    Right,
}

#[derive(Debug)]
pub struct Removed {
    pub removed: u64,
    pub pair_blocked: bool,
}

#[derive(Debug, thiserror::Error)]
pub enum FeedbackError {
    #[error("unknown")]
    Unknown,
    #[error("{0}")]
    Unsupported(&'static str),
    #[error(transparent)]
    Store(#[from] StoreError),
}

#[derive(Debug, Default)]
pub struct Stats {}

#[derive(Debug)]
pub struct Explanation {
    pub decision: &'static str,
    pub source: Option<Source>,
    pub key: Option<Fingerprint>,
    pub partition: Option<Partition>,
    pub policy: PolicyReading,
    pub tiers: Vec<TierReading>,
    pub candidates: Vec<Candidate>,
    pub stranger: Option<Stranger>,
}

#[derive(Debug)]
pub struct PolicyReading {
    pub read: bool,
    pub write: bool,
    pub volatile: bool,
    pub reason: Option<String>,
}

#[derive(Debug)]
pub struct TierReading {
    pub tier: Tier,
    pub outcome: String,
}

#[derive(Debug)]
pub struct Candidate {
    pub entry: Fingerprint,
    pub prompt: String,
    pub similarity: f32,
    pub verifier: Option<f32>,
    pub served: bool,
    pub layers: Vec<LayerReading>,
}

#[derive(Debug)]
pub struct LayerReading {
    pub layer: &'static str,
    pub verdict: &'static str,
    pub reason: Option<String>,
}

#[derive(Debug)]
pub struct Stranger {
    pub entry: Fingerprint,
    pub similarity: f32,
    pub differs_in: Vec<String>,
}

#[derive(Debug, Default)]
pub struct Gateway {}

impl Gateway {
    pub async fn answer(self: &Arc<Self>, _ask: Ask) -> Result<Outcome, GatewayError> {
        Err(GatewayError::NoProvider)
    }
    pub async fn explain(&self, _ask: Ask) -> Result<Explanation, GatewayError> {
        Err(GatewayError::NoProvider)
    }
    pub fn models(&self) -> Vec<ListedModel> {
        Vec::new()
    }
    pub async fn feedback(
        &self,
        _tenant: Option<&TenantId>,
        _about: About,
        _verdict: Verdict,
    ) -> Result<Removed, FeedbackError> {
        Err(FeedbackError::Unknown)
    }
    pub async fn stats(&self) -> Stats {
        Stats::default()
    }
    pub async fn entries(
        &self,
        _selection: &Selection,
        _limit: u32,
        _after: Option<Fingerprint>,
    ) -> Result<Vec<EntrySummary>, StoreError> {
        Ok(Vec::new())
    }
    pub async fn entry(&self, _key: &Fingerprint) -> Result<Option<Arc<Entry>>, StoreError> {
        Ok(None)
    }
    pub async fn remove(&self, _keys: &[Fingerprint]) -> Result<u64, StoreError> {
        Ok(0)
    }
    pub async fn invalidate(&self, _selection: &Selection, _dry_run: bool) -> Result<u64, StoreError> {
        Ok(0)
    }
    pub async fn is_ready(&self) -> bool {
        true
    }
    pub fn route_label(&self, _model: Option<&str>) -> Arc<str> {
        Arc::from("other")
    }
}
