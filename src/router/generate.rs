//! Walking a chain: one upstream after the other until one answers.

use std::time::Duration;

use tokio::time::Instant;

use super::attempt::{Attempt, Ended};
use super::{Route, Router, Step};
use crate::chat::{self, ChatRequest, ChatResponse, Delta};
use crate::providers::{ProviderError, ProviderErrorKind};

/// What happens while an answer is generated.
#[derive(Debug)]
pub enum Event {
    /// An upstream has begun to answer; comes once, before the first piece, and after it nobody else is asked.
    Opened(Opened),
    Delta(Delta),
}

/// Who answers.
#[derive(Clone, Debug)]
pub struct Opened {
    /// The upstream's name.
    pub provider: String,
    /// The model as the vendor names it.
    pub model: String,
    /// All calls made so far, the one that answers last.
    pub attempts: Vec<chat::Attempt>,
}

/// The limits of a generation.
#[derive(Clone, Copy, Debug)]
pub struct Times {
    /// Nothing has come by then: given up.
    pub first_token: Instant,
    /// Not over by then: given up.
    pub whole: Instant,
}

/// Why there is no answer.
#[derive(Debug)]
pub enum Failure {
    TimedOut,
    Upstream(ChainFailure),
}

/// The failure of every upstream that was asked.
#[derive(Debug)]
pub struct ChainFailure {
    /// The one to report: the caller's own mistake where the first upstream saw one, else the last failure.
    pub error: ProviderError,
    pub attempts: Vec<chat::Attempt>,
    /// The shortest wait that any of them asked for.
    pub retry_after: Option<Duration>,
    /// Whether the model that is missing was named freely by the caller.
    pub is_model_free: bool,
}

impl Router {
    /// Has an answer generated, handing every piece to `sink` as it comes.
    ///
    /// Cancel safe: dropping the future ends the call under way.
    ///
    /// # Errors
    /// [`Failure`], after every upstream that may be asked was asked, or the time was over.
    pub async fn generate(
        &self,
        route: &Route,
        request: &ChatRequest,
        times: Times,
        mut sink: impl FnMut(Event) + Send,
    ) -> Result<ChatResponse, Failure> {
        let mut attempts = Vec::new();
        let mut retry_after: Option<Duration> = None;
        let mut failed: Option<(ProviderError, bool)> = None;
        for (at, step) in route.chain.iter().enumerate() {
            let is_last = at + 1 == route.chain.len();
            let attempt = Attempt { router: self, step, request, times: limited(step, times, is_last) };
            let error = match attempt.run(&mut attempts, &mut sink).await {
                Ended::Answered(answer) => return Ok(answer),
                Ended::Broken(error) => {
                    // It was noted as a success when it began.
                    if let Some(last) = attempts.last_mut() {
                        last.result = error.attempt_label();
                    }
                    let is_model_free = step.is_free;
                    return Err(Failure::Upstream(ChainFailure {
                        error,
                        attempts,
                        retry_after,
                        is_model_free,
                    }));
                }
                Ended::Failed(error) | Ended::Unsendable(error) => error,
            };
            retry_after = [retry_after, error.retry_after].into_iter().flatten().min();
            let is_over = Instant::now() >= times.first_token;
            if is_over && error.kind == ProviderErrorKind::Timeout {
                return Err(Failure::TimedOut);
            }
            let is_final = is_last || is_over || (at == 0 && !error.kind.may_fail_over());
            // Only the first upstream may blame the caller; a later one may just not understand the request's shape.
            let (error, is_model_free) = match failed.take() {
                Some(earlier) if earlier.0.kind.is_callers_fault() || error.kind.is_callers_fault() => {
                    earlier
                }
                _ => (error, step.is_free),
            };
            if is_final {
                return Err(Failure::Upstream(ChainFailure { error, attempts, retry_after, is_model_free }));
            }
            failed = Some((error, is_model_free));
        }
        // The gateway asks for no generation along an empty chain.
        let error = ProviderError::new(ProviderErrorKind::ModelMissing, "the route has no upstream");
        Err(Failure::Upstream(ChainFailure { error, attempts, retry_after, is_model_free: false }))
    }
}

/// While somebody else is left to ask, an upstream has only its own first-token time.
fn limited(step: &Step, times: Times, is_last: bool) -> Times {
    if is_last {
        return times;
    }
    let own = Instant::now() + Duration::from_millis(step.upstream.timeouts.first_token_ms);
    Times { first_token: times.first_token.min(own), ..times }
}
