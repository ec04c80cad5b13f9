//! Calls that the cache has no part in.

use tokio::time::Instant;

use super::{Gateway, GatewayError};
use crate::router::{Failure, Passing, Times};
use crate::transport::Incoming;
use std::sync::Arc;

impl Gateway {
    /// Passes a call on as it came, and returns the provider that answers and its response, body and all as it comes.
    ///
    /// # Errors
    /// [`GatewayError::NotForwarded`] where no provider is configured for it.
    pub async fn forward(&self, passing: Passing) -> Result<(String, Incoming), GatewayError> {
        let began = Instant::now();
        let times = Times { first_token: began + self.limits.deadline, whole: began + self.limits.stream };
        let name = self.router.forwards_to().ok_or(GatewayError::NotForwarded)?.to_owned();
        match self.router.forward(passing, times).await {
            Some(Ok(response)) => Ok((name, response)),
            Some(Err(Failure::TimedOut)) => Err(GatewayError::Deadline(self.limits.deadline)),
            Some(Err(Failure::Upstream(failure))) => Err(GatewayError::Upstream(Arc::new(failure))),
            None => Err(GatewayError::NotForwarded),
        }
    }
}
