//! How many tokens does a prompt have?

use std::sync::Arc;
use std::time::Duration;

use tokio::time::Instant;

use super::failure::ChainFailure;
use super::{Route, Router, Step};
use crate::chat::ChatRequest;
use crate::providers::{ProviderError, failed, refused};
use crate::transport::{CallLimits, Incoming};
use crate::wire::anthropic;

/// How long Anthropic may take for a count, which costs nothing and decides nothing.
const PATIENCE: Duration = Duration::from_secs(10);
/// The largest body that a count may have.
const BYTES_MAX: usize = 64 << 10;

/// A count of tokens.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TokenCount {
    pub tokens: u64,
    /// Whether we counted, with a tokenizer of another vendor.
    pub is_estimated: bool,
}

impl Router {
    /// Counts the tokens of a request: the first upstream of the route that counts them does, else we estimate. `None`
    /// where not even that was done in time.
    ///
    /// # Errors
    /// What the upstream says of the caller's own mistake.
    pub async fn count(
        &self,
        route: &Route,
        request: &Arc<ChatRequest>,
    ) -> Result<Option<TokenCount>, ChainFailure> {
        for step in &route.chain {
            match self.ask_for_count(step, request).await {
                Ok(None) => continue,
                Ok(Some(tokens)) => return Ok(Some(TokenCount { tokens, is_estimated: false })),
                Err(error) if error.status.is_some() && error.kind.is_callers_fault() => {
                    return Err(ChainFailure::of_one(step.name(), error, step.is_free));
                }
                Err(error) => {
                    let (upstream, kind, status) = (step.name(), error.kind.name(), error.status);
                    tracing::warn!(
                        upstream,
                        kind,
                        status,
                        "an upstream did not count; the count is estimated"
                    );
                }
            }
            break;
        }
        Ok(self.estimate(request).await)
    }

    /// Estimates the tokens of a request and asks nobody; `None` where that was not done in time.
    pub async fn estimate(&self, request: &Arc<ChatRequest>) -> Option<TokenCount> {
        let tokens = self.counter.prompt(request).await?;
        Some(TokenCount { tokens, is_estimated: true })
    }

    async fn ask_for_count(&self, step: &Step, request: &ChatRequest) -> Result<Option<u64>, ProviderError> {
        let Step { upstream, model, .. } = step;
        let Some(outgoing) = upstream.provider.prepare_count(request, model)? else { return Ok(None) };
        let limits = CallLimits {
            connect_timeout: Duration::from_millis(upstream.timeouts.connect_ms),
            deadline: Instant::now() + PATIENCE,
            body_bytes_max: BYTES_MAX,
        };
        let Incoming { status, headers, body } = self.transport.send(outgoing, limits).await?;
        let body = body.whole().await?;
        if status.as_u16() != 200 {
            return Err(failed(status, &headers, &body));
        }
        anthropic::decode_count(&body).map(Some).map_err(refused)
    }
}
