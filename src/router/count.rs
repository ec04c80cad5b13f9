//! How many tokens does a prompt have?

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http::header::CONTENT_TYPE;
use http::{HeaderValue, Method};
use tokio::time::{Instant, timeout};

use super::{Route, Router, Step};
use crate::chat::ChatRequest;
use crate::providers::{ProviderError, failed, refused};
use crate::transport::{CallLimits, Incoming, Outgoing};
use crate::wire::{Format, anthropic};

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
    /// Counts the tokens of a request: Anthropic does where it is in the route's chain and answers in time, else we
    /// estimate. `None` where not even that was done in time.
    pub async fn count(&self, route: &Route, request: &Arc<ChatRequest>) -> Option<TokenCount> {
        let of_anthropic = |step: &&Step| step.upstream.provider.format() == Format::Anthropic;
        if let Some(step) = route.chain.iter().find(of_anthropic) {
            let began = Instant::now();
            let counted = timeout(PATIENCE, self.ask_for_count(step, request)).await;
            let counted = counted.unwrap_or_else(|_| Err(ProviderError::timeout("count")));
            let outcome = counted.as_ref().map_or_else(|error| error.kind.name(), |_| "ok");
            let upstream = &step.upstream.name;
            self.telemetry.upstream_called(
                upstream,
                step.model_label(),
                outcome,
                began.elapsed().as_secs_f64(),
            );
            match counted {
                Ok(tokens) => return Some(TokenCount { tokens, is_estimated: false }),
                Err(error) => {
                    let (kind, status) = (error.kind.name(), error.status);
                    tracing::warn!(
                        upstream,
                        kind,
                        status,
                        "an upstream did not count; the count is estimated"
                    );
                }
            }
        }
        let tokens = self.counter.prompt(request).await?;
        Some(TokenCount { tokens, is_estimated: true })
    }

    async fn ask_for_count(&self, step: &Step, request: &ChatRequest) -> Result<u64, ProviderError> {
        let Step { upstream, model, .. } = step;
        let body = Bytes::from(anthropic::encode_count(request, model)?);
        // The headers of a generation: key, version and beta features.
        let Outgoing { mut headers, .. } = upstream.provider.prepare(request, model, false)?;
        let (url, _) = upstream.provider.forward("messages/count_tokens")?;
        headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
        let limits = CallLimits {
            connect_timeout: Duration::from_millis(upstream.timeouts.connect_ms),
            deadline: Instant::now() + PATIENCE,
            body_bytes_max: BYTES_MAX,
        };
        let sent = self.transport.send(Outgoing { method: Method::POST, url, headers, body }, limits);
        let Incoming { status, headers, body } = sent.await?;
        let body = body.whole().await?;
        if status.as_u16() != 200 {
            return Err(failed(status, &headers, &body));
        }
        anthropic::decode_count(&body).map_err(refused)
    }
}
