//! Walking a chain: one upstream after the other until one answers.

use std::sync::Arc;
use std::time::Duration;

use tokio::time::Instant;

use super::attempt::{Attempt, Ended};
use super::{Route, Router, Step};
use crate::chat::{self, ChatRequest, ChatResponse, Delta};
use crate::config::Timeouts;
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

/// An answer, and what is known only now that it is whole.
#[derive(Debug)]
pub struct Generation {
    pub answer: ChatResponse,
    /// What the call that answered cost; `None` where the model's price or the tokens are not known.
    pub cost_usd: Option<f64>,
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
    /// How each upstream failed that was called.
    pub kinds: Vec<ProviderErrorKind>,
    /// The shortest wait that any of them asked for.
    pub retry_after: Option<Duration>,
    /// Whether the model that is missing was named freely by the caller.
    pub is_model_free: bool,
}

impl ChainFailure {
    /// Builds the failure of a call that was made to one upstream only.
    pub(super) fn of_one(upstream: String, error: ProviderError, is_model_free: bool) -> Self {
        let attempt = chat::Attempt { upstream, result: error.attempt_label() };
        let (kinds, retry_after) = (vec![error.kind], error.wait_hint());
        Self { error, attempts: vec![attempt], kinds, retry_after, is_model_free }
    }
}

/// The first-token time of a model that is to think first, while somebody else is left to ask.
const THINKING: Duration = Duration::from_secs(120);

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
        request: &Arc<ChatRequest>,
        times: Times,
        mut sink: impl FnMut(Event) + Send,
    ) -> Result<Generation, Failure> {
        let mut attempts = Vec::new();
        let mut blame = Blame::default();
        let mut too_small = TooSmall::default();
        for (at, step) in route.chain.iter().enumerate() {
            if too_small.has(step) {
                continue;
            }
            let rest = &route.chain[at + 1..];
            let is_last = rest.iter().all(|step| too_small.has(step));
            let attempt =
                Attempt { router: self, step, request, times: limited(step, request, times, is_last) };
            let error = match attempt.run(&mut attempts, &mut sink).await {
                Ended::Answered(mut answer) => {
                    let cost_usd = attempt.settle(&mut answer, &mut sink).await;
                    return Ok(Generation { answer: *answer, cost_usd });
                }
                Ended::Broken(error) => {
                    // It was noted as a success when it began.
                    if let Some(last) = attempts.last_mut() {
                        last.result = error.attempt_label();
                    }
                    return Err(Failure::Upstream(blame.on(error, step, attempts)));
                }
                Ended::Unsendable(error) => {
                    blame.unsendable(error, step);
                    continue;
                }
                Ended::Failed(error) => error,
            };
            let is_over = Instant::now() >= times.first_token;
            if is_over && error.kind == ProviderErrorKind::Timeout {
                return Err(Failure::TimedOut);
            }
            too_small.learn(step, &error);
            let is_final = is_over || (blame.is_first_asked() && !error.kind.may_fail_over());
            blame.failed(error, step);
            if is_final {
                break;
            }
        }
        Err(Failure::Upstream(blame.settled(attempts)))
    }
}

/// Which of the failures along a chain is reported.
///
/// Only the first upstream that was asked may blame the caller: a later one may just not understand the request's shape.
/// What could not even be put to an upstream is reported where nobody was asked.
#[derive(Debug, Default)]
struct Blame {
    /// The error, and whether the caller named its model freely.
    asked: Option<(ProviderError, bool)>,
    unsendable: Option<(ProviderError, bool)>,
    /// How each upstream failed that was asked.
    kinds: Vec<ProviderErrorKind>,
    /// The shortest wait that any of them asked for.
    retry_after: Option<Duration>,
}

impl Blame {
    const fn is_first_asked(&self) -> bool {
        self.asked.is_none()
    }

    fn unsendable(&mut self, error: ProviderError, step: &Step) {
        self.unsendable.get_or_insert((error, step.is_free));
    }

    fn failed(&mut self, error: ProviderError, step: &Step) {
        self.kinds.push(error.kind);
        self.retry_after = [self.retry_after, error.wait_hint()].into_iter().flatten().min();
        self.asked = match self.asked.take() {
            Some(earlier) if earlier.0.kind.is_callers_fault() || error.kind.is_callers_fault() => {
                Some(earlier)
            }
            _ => Some((error, step.is_free)),
        };
    }

    /// Reports this failure, whatever came before.
    fn on(self, error: ProviderError, step: &Step, attempts: Vec<chat::Attempt>) -> ChainFailure {
        let Self { asked: _, unsendable: _, mut kinds, retry_after } = self;
        kinds.push(error.kind);
        ChainFailure { error, attempts, kinds, retry_after, is_model_free: step.is_free }
    }

    fn settled(self, attempts: Vec<chat::Attempt>) -> ChainFailure {
        let Self { asked, unsendable, kinds, retry_after } = self;
        // The gateway asks for no generation along an empty chain.
        let nobody =
            || (ProviderError::new(ProviderErrorKind::ModelMissing, "the route has no upstream"), false);
        let (error, is_model_free) = asked.or(unsendable).unwrap_or_else(nobody);
        ChainFailure { error, attempts, kinds, retry_after, is_model_free }
    }
}

/// The largest declared window that the request did not fit into; a model whose window is declared to be no larger need
/// not be asked.
#[derive(Debug, Default)]
struct TooSmall(Option<u64>);

impl TooSmall {
    fn has(&self, step: &Step) -> bool {
        step.context_window().is_some_and(|window| Some(window) <= self.0)
    }

    fn learn(&mut self, step: &Step, error: &ProviderError) {
        if error.kind == ProviderErrorKind::ContextTooLong {
            self.0 = self.0.max(step.context_window());
        }
    }
}

/// While somebody else is left to ask, an upstream has only its own first-token time.
fn limited(step: &Step, request: &ChatRequest, times: Times, is_last: bool) -> Times {
    if is_last {
        return times;
    }
    let own = Instant::now() + patience(&step.upstream.timeouts, request);
    Times { first_token: times.first_token.min(own), ..times }
}

/// Returns how long an upstream may be silent at first, while somebody else is left to ask.
fn patience(timeouts: &Timeouts, request: &ChatRequest) -> Duration {
    let configured = Duration::from_millis(timeouts.first_token_ms);
    if request.asks_for_reasoning() { configured.max(THINKING) } else { configured }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::{ModelConfig, ProviderConfig, ProviderKind};
    use crate::providers::OpenAi;
    use crate::router::Upstream;

    #[test]
    fn a_model_that_is_to_think_first_may_take_longer() {
        let timeouts = |first_token_ms| Timeouts { first_token_ms, ..Timeouts::default() };
        let plain = ChatRequest::from_prompt("q");
        let mut thinking = plain.clone();
        thinking.sampling.reasoning_effort = Some("low".to_owned());
        for (configured, request, seconds) in [
            (10_000, &plain, 10),
            (10_000, &thinking, 120),
            (300_000, &plain, 300),
            (300_000, &thinking, 300),
        ] {
            assert_eq!(patience(&timeouts(configured), request), Duration::from_secs(seconds));
        }
    }

    fn step(context_window: Option<u64>) -> Step {
        let models = vec![ModelConfig { context_window, ..ModelConfig::named("m") }];
        let config =
            ProviderConfig { models: Some(models), ..ProviderConfig::named("any", ProviderKind::OpenAi) };
        let provider = Arc::new(OpenAi::official(&config).unwrap());
        Step { upstream: Arc::new(Upstream::new(&config, provider)), model: "m".to_owned(), is_free: false }
    }

    #[test]
    fn a_window_is_too_small_when_one_no_smaller_was() {
        let mut too_small = TooSmall::default();
        assert!(!too_small.has(&step(Some(1))) && !too_small.has(&step(None)));
        too_small.learn(&step(Some(8)), &ProviderError::new(ProviderErrorKind::ServerError, ""));
        assert!(!too_small.has(&step(Some(1))));
        let too_long = ProviderError::new(ProviderErrorKind::ContextTooLong, "");
        for refused in [None, Some(8), Some(4), None] {
            too_small.learn(&step(refused), &too_long);
        }
        assert!(too_small.has(&step(Some(4))) && too_small.has(&step(Some(8))));
        assert!(!too_small.has(&step(Some(9))) && !too_small.has(&step(None)));
    }
}
