//! What the cache has no part in: calls that are passed on, and counts of tokens.

use std::sync::Arc;

use tokio::time::Instant;

use super::{Gateway, GatewayError};
use crate::chat::ChatRequest;
use crate::router::{Failure, Passing, Times, TokenCount};
use crate::single_flight::Wanted;
use crate::transport::Incoming;

impl Gateway {
    /// Passes a call on as it came, and returns the provider that answers and its response, body and all as it comes.
    ///
    /// # Errors
    /// [`GatewayError::NotForwarded`] where no provider is configured for it, [`GatewayError::AiDisabled`] where nobody is
    /// asked.
    pub async fn forward(&self, passing: Passing) -> Result<(String, Incoming), GatewayError> {
        if !self.ai.is_on() {
            return Err(GatewayError::AiDisabled);
        }
        let began = Instant::now();
        let deadline = began + self.limits.deadline;
        let times = Times {
            first_token: deadline,
            whole: began + self.limits.stream,
            wanted: Wanted::until(deadline),
            is_whole_wanted: false,
        };
        match self.router.forward(passing, times).await {
            Some(Ok(passed)) => Ok(passed),
            Some(Err(Failure::TimedOut)) => Err(GatewayError::Deadline(self.limits.deadline)),
            Some(Err(Failure::Upstream(failure))) => Err(GatewayError::Upstream(Arc::new(failure))),
            None => Err(GatewayError::NotForwarded),
        }
    }

    /// Counts the tokens of a request, as its first upstream of Anthropic does, else by estimate; with AI switched off
    /// by estimate alone.
    ///
    /// # Errors
    /// For a model that is not known, or when no count came in time.
    pub async fn count_tokens(&self, request: &Arc<ChatRequest>) -> Result<TokenCount, GatewayError> {
        let route = self.router.resolve(request.model.as_deref())?;
        if !self.ai.is_on() {
            return self.router.estimate(request).await.ok_or(GatewayError::Overloaded);
        }
        let counted = self.router.count(&route, request).await;
        let counted = counted.map_err(|failure| GatewayError::Upstream(Arc::new(failure)))?;
        counted.ok_or(GatewayError::Overloaded)
    }
}
