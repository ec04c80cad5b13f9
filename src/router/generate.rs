//! Walking a chain: one upstream after the other until one answers.

use std::ops::ControlFlow;
use std::sync::Arc;
use std::time::Duration;

use tokio::time::{Instant, sleep, sleep_until};

use super::attempt::{Attempt, CallTimes, Called, Ended};
use super::failure::{Blame, ChainFailure, Failure, TooSmall};
use super::limits::{Full, Place};
use super::retry::{Situation, wait_before_retry};
use super::target::{Permit, Unavailable};
use super::{Route, Router, Step};
use crate::chat::{self, ChatRequest, ChatResponse, Delta};
use crate::config::{Capability, Timeouts};
use crate::providers::{ProviderError, ProviderErrorKind};

/// What happens while an answer is generated. Whoever takes it says whether it wants more.
#[derive(Debug)]
pub enum Event {
    /// An upstream has begun to answer; comes before its first piece.
    Opened(Opened),
    Delta(Delta),
    /// All that came so far is to be forgotten; somebody else begins anew. Whoever takes it says whether that can still be
    /// done: what a caller has seen cannot be taken back.
    Withdrawn,
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
    /// The answer as the caller got it.
    pub answer: ChatResponse,
    /// What of it may be kept.
    pub whole: Whole,
    /// The upstream's name that wrote it, or the end of it.
    pub provider: String,
    /// The model that it was asked for.
    pub model: String,
    pub attempts: Vec<chat::Attempt>,
    /// What the calls for it cost; `None` where a price or the tokens are not known.
    pub cost_usd: Option<f64>,
}

/// What of an answer is one upstream's whole answer.
#[derive(Debug)]
pub enum Whole {
    /// It is.
    Itself,
    /// It was finished by another upstream that said the same from the beginning: this is what that one said, and what its
    /// call cost.
    Other(Box<ChatResponse>, Option<f64>),
    /// Its parts are by two.
    Nothing,
}

/// The limits of a generation.
#[derive(Clone, Copy, Debug)]
pub struct Times {
    /// Nothing has come by then: given up.
    pub first_token: Instant,
    /// Not over by then: given up.
    pub whole: Instant,
    /// Until then whoever began it waits, which may be less: of that time some is always kept for the next upstream.
    pub wanted: Instant,
    /// Whether the last byte is waited for, and not the first one.
    pub is_whole_wanted: bool,
}

/// The first-token time of a model that is to think first, while somebody else is left to ask.
const THINKING: Duration = Duration::from_secs(120);
/// The most of the time that is left that one upstream may take while another one is left.
const SHARE: f64 = 0.8;
/// After how long a caller may come again whom an upstream's line had no room for.
const LINE_WAIT: Duration = Duration::from_secs(1);

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
        sink: impl FnMut(Event) -> bool + Send,
    ) -> Result<Generation, Failure> {
        let walk = Walk {
            router: self,
            route,
            request,
            times,
            sink,
            attempts: Vec::new(),
            calls: 0,
            blame: Blame::default(),
            too_small: TooSmall::default(),
            best: None,
        };
        walk.run().await
    }
}

/// One request on its way along a chain.
pub(super) struct Walk<'a, S> {
    pub router: &'a Router,
    pub route: &'a Route,
    pub request: &'a Arc<ChatRequest>,
    pub times: Times,
    pub sink: S,
    pub attempts: Vec<chat::Attempt>,
    /// Calls made so far.
    pub calls: u32,
    pub blame: Blame,
    pub too_small: TooSmall,
    /// An answer that is none, by the one at that place, in case nothing better comes.
    best: Option<(usize, Box<ChatResponse>)>,
}

/// Goes on with the next one, or ends the walk.
type Walked = ControlFlow<Result<Generation, Failure>>;

/// Whom a call is made to.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Leave {
    /// To one that is thought to be well.
    Usual,
    /// To one that is not, since nobody else is left.
    LastResort,
}

impl<S: FnMut(Event) -> bool + Send> Walk<'_, S> {
    async fn run(mut self) -> Result<Generation, Failure> {
        let order = self.route.order(Instant::now(), rand::random);
        for (place, at) in order.iter().enumerate() {
            if let ControlFlow::Break(end) = self.ask(*at, &order[place + 1..], Leave::Usual).await {
                return end;
            }
        }
        if let Some(at) = self.soonest(&order)
            && let ControlFlow::Break(end) = self.ask(at, &[], Leave::LastResort).await
        {
            return end;
        }
        match self.best.take() {
            Some((at, answer)) => Ok(self.make_do_with(at, *answer).await),
            None => Err(self.failure()),
        }
    }

    /// Returns who is not well by our own judgement alone, and would be asked again the soonest.
    fn soonest(&self, order: &[usize]) -> Option<usize> {
        let now = Instant::now();
        let unwell = order.iter().filter_map(|at| {
            let step = &self.route.chain[*at];
            match step.unavailable(now)? {
                Unavailable::Open { until } | Unavailable::Cooling { until, is_hinted: false } => {
                    Some((until, *at))
                }
                Unavailable::Cooling { is_hinted: true, .. } | Unavailable::Parked { .. } => None,
            }
        });
        let was_asked = |at: usize| {
            let name = self.route.chain[at].name();
            self.attempts.iter().any(|attempt| attempt.upstream == name)
        };
        unwell.filter(|(_, at)| !was_asked(*at)).min().map(|(_, at)| at)
    }

    /// Asks one upstream, and again where that is of use. `rest` is who is left after it.
    async fn ask(&mut self, at: usize, rest: &[usize], leave: Leave) -> Walked {
        let step = &self.route.chain[at];
        if self.too_small.has(step) {
            return Walked::Continue(());
        }
        if let Some(error) = step.objection(self.request) {
            self.blame.unsendable(error, step);
            return Walked::Continue(());
        }
        let mut calls_here = 0;
        // Held until the call that it is for has ended.
        let mut retry = None;
        while self.calls < self.route.retry.attempts_per_request {
            let Some((permit, place)) = self.leave_to_call(step, rest, leave).await else { break };
            if calls_here == 0 {
                step.upstream.count_request(Instant::now());
            }
            let has_next = self.has_next(rest);
            let attempt = Attempt {
                router: self.router,
                step,
                request: self.request,
                times: self.call_times(step, has_next),
            };
            let Called { ended, first_token, took } = attempt.run(&mut self.attempts, &mut self.sink).await;
            drop(place);
            let error = match ended {
                Ended::Answered(answer) => {
                    self.router.answered(step, permit, first_token.unwrap_or(took), took);
                    return Walked::Break(Ok(self.conclude(at, *answer).await));
                }
                Ended::Unsendable(error) => {
                    self.blame.unsendable(error, step);
                    break;
                }
                Ended::Defective(answer, defect) => {
                    self.best.get_or_insert((at, answer));
                    ProviderError::malformed(format_args!("the answer is none: {}", defect.name()))
                }
                Ended::Broken(error, said) => {
                    self.router.failed(step, permit, &error);
                    return Walked::Break(self.rescue(at, rest, error, *said).await);
                }
                // Only a rescue stops what it has asked for.
                Ended::Stopped => break,
                Ended::Failed(error) => error,
            };
            (self.calls, calls_here) = (self.calls + 1, calls_here + 1);
            self.router.failed(step, permit, &error);
            let wait = self.after_failure(step, error, calls_here, rest)?;
            let Some(wait) = wait.filter(|_| leave == Leave::Usual) else { break };
            let budget_ratio = self.route.retry.budget_ratio;
            retry = step.upstream.take_retry(Instant::now(), budget_ratio);
            if retry.is_none() {
                break;
            }
            self.router.telemetry.retried(&step.upstream.name);
            sleep(wait).await;
        }
        drop(retry);
        Walked::Continue(())
    }

    /// Takes in a failure that nothing was handed on of. Returns after how long the same upstream is asked again.
    fn after_failure(
        &mut self,
        step: &Step,
        error: ProviderError,
        calls_here: u32,
        rest: &[usize],
    ) -> ControlFlow<Result<Generation, Failure>, Option<Duration>> {
        let now = Instant::now();
        let is_over = now >= self.times.first_token;
        let is_final = self.blame.is_first_asked() && !error.may_fail_over();
        self.too_small.learn(step, &error);
        let situation = Situation {
            calls_here,
            calls: self.calls,
            time_left: self.times.wanted.max(now).duration_since(now),
            has_next: self.has_available_next(rest),
            draw: rand::random(),
        };
        let retry = wait_before_retry(&error, &self.route.retry, situation);
        if is_over {
            self.blame.out_of_time();
        }
        self.blame.failed(error, step);
        if is_over || is_final {
            return ControlFlow::Break(Err(self.failure()));
        }
        ControlFlow::Continue(retry)
    }

    fn failure(&mut self) -> Failure {
        let (blame, attempts) = (std::mem::take(&mut self.blame), std::mem::take(&mut self.attempts));
        Failure::Upstream(blame.settled(attempts))
    }

    /// Reports this failure of a call that had been handed on, whatever came before.
    pub fn broken(&mut self, error: ProviderError, step: &Step) -> ChainFailure {
        let (blame, attempts) = (std::mem::take(&mut self.blame), std::mem::take(&mut self.attempts));
        blame.on(error, step, attempts)
    }

    /// Waits for leave to call and for a place to do it. `None` where there is none, or somebody else had better be asked.
    async fn leave_to_call(&mut self, step: &Step, rest: &[usize], leave: Leave) -> Option<(Permit, Place)> {
        let until = self.patience(rest);
        let permit = loop {
            let now = Instant::now();
            let (upstream, model) = (&step.upstream, &step.model);
            let asked = match leave {
                Leave::Usual => upstream.admit(model, now),
                Leave::LastResort => upstream.admit_as_last_resort(model, now),
            };
            match asked {
                Ok(permit) => break permit,
                Err(Unavailable::Cooling { until: free, .. }) if free <= until => sleep_until(free).await,
                Err(why) => {
                    self.blame.unavailable(why, now);
                    return None;
                }
            }
        };
        let place_until = if self.has_available_next(rest) { until } else { self.times.wanted };
        match step.upstream.limits.enter(tokens_of(self.request), place_until).await {
            Ok(place) => Some((permit, place)),
            Err(full) => {
                self.blame.limited(match full {
                    Full::Line => LINE_WAIT,
                    Full::Pace(wait) => wait,
                });
                None
            }
        }
    }

    /// Returns until when an upstream is waited for that is about to be free: not at all where another one is.
    fn patience(&self, rest: &[usize]) -> Instant {
        let now = Instant::now();
        if self.has_available_next(rest) {
            return now;
        }
        (now + Duration::from_millis(self.route.retry.max_wait_ms)).min(self.times.wanted)
    }

    /// Returns whether one of the rest may still be asked, sooner or later.
    fn has_next(&self, rest: &[usize]) -> bool {
        let now = Instant::now();
        let soon = now + Duration::from_millis(self.route.retry.max_wait_ms);
        self.fitting(rest).any(|step| match step.unavailable(now) {
            None | Some(Unavailable::Open { .. } | Unavailable::Cooling { is_hinted: false, .. }) => true,
            Some(Unavailable::Cooling { until, .. }) => until <= soon,
            Some(Unavailable::Parked { .. }) => false,
        })
    }

    /// Returns whether one of the rest can be asked now.
    fn has_available_next(&self, rest: &[usize]) -> bool {
        let now = Instant::now();
        self.fitting(rest).any(|step| step.unavailable(now).is_none())
    }

    fn fitting(&self, rest: &[usize]) -> impl Iterator<Item = &Step> {
        let steps = rest.iter().map(|at| &self.route.chain[*at]);
        steps.filter(|step| !self.too_small.has(step) && step.objection(self.request).is_none())
    }

    /// Returns the limits of one call: while somebody else is left, an upstream has only its own first-token time, and
    /// never all of what is left.
    pub fn call_times(&self, step: &Step, has_next: bool) -> CallTimes {
        let Times { first_token, whole, wanted, is_whole_wanted } = self.times;
        if !has_next {
            return CallTimes { first_token, whole };
        }
        let now = Instant::now();
        let share = match wanted.checked_duration_since(now) {
            Some(left) => now + left.mul_f64(SHARE),
            // Nobody waits any more, and the answer is made for later.
            None => first_token,
        };
        let own = now + patience(step, self.request);
        let is_whole = is_whole_wanted || !step.upstream.streams(&step.model);
        CallTimes {
            first_token: first_token.min(own).min(share),
            whole: if is_whole { whole.min(share) } else { whole },
        }
    }

    /// Settles the account of an answer.
    async fn conclude(&mut self, at: usize, mut answer: ChatResponse) -> Generation {
        let step = &self.route.chain[at];
        let cost_usd = self.router.settle(step, self.request, &mut answer, &mut self.sink).await;
        self.note_fallback(at);
        Generation {
            answer,
            whole: Whole::Itself,
            provider: step.upstream.name.to_string(),
            model: step.model.clone(),
            attempts: std::mem::take(&mut self.attempts),
            cost_usd,
        }
    }

    /// Hands on an answer that is none, since nothing better came.
    async fn make_do_with(&mut self, at: usize, answer: ChatResponse) -> Generation {
        let step = &self.route.chain[at];
        (self.sink)(Event::Opened(Opened {
            provider: step.upstream.name.to_string(),
            model: answer.model.clone(),
            attempts: self.attempts.clone(),
        }));
        for delta in answer.deltas() {
            (self.sink)(Event::Delta(delta));
        }
        self.conclude(at, answer).await
    }

    /// Counts an answer of another one than the chain's first.
    pub fn note_fallback(&self, at: usize) {
        if at == 0 {
            return;
        }
        let (first, step) = (&self.route.chain[0], &self.route.chain[at]);
        let reason = self.blame.first_kind().map_or("unavailable", ProviderErrorKind::name);
        self.router.telemetry.fell_back(&first.name(), &step.name(), reason);
    }
}

/// Returns how long an upstream may be silent at first, while somebody else is left to ask.
fn patience(step: &Step, request: &ChatRequest) -> Duration {
    let Timeouts { first_token_ms, .. } = step.upstream.timeouts;
    let configured = Duration::from_millis(first_token_ms);
    let thinks = request.asks_for_reasoning() || step.declares(Capability::Reasoning);
    if thinks { configured.max(THINKING) } else { configured }
}

/// Returns about how many tokens a call takes of a limit, which vendors reckon by prompt and output limit. A count would
/// cost more than a wrong guess does.
pub(super) fn tokens_of(request: &ChatRequest) -> u64 {
    const BYTES_PER_TOKEN: u64 = 4;
    let parts = request.messages.iter().flat_map(|message| &message.content);
    let bytes: usize = parts.filter_map(chat::Part::text).map(str::len).sum();
    let limit = request.limit.map_or(0, |limit| u64::from(limit.tokens));
    bytes as u64 / BYTES_PER_TOKEN + limit
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::{ModelConfig, ProviderConfig, ProviderKind};
    use crate::providers::OpenAi;
    use crate::router::Upstream;

    fn step(first_token_ms: u64, capabilities: Option<Vec<Capability>>) -> Step {
        let models = vec![ModelConfig { capabilities, ..ModelConfig::named("m") }];
        let config = ProviderConfig {
            models: Some(models),
            timeouts: Timeouts { first_token_ms, ..Timeouts::default() },
            ..ProviderConfig::named("any", ProviderKind::OpenAi)
        };
        let provider = Arc::new(OpenAi::official(&config).unwrap());
        Step { upstream: Arc::new(Upstream::new(&config, provider)), model: "m".to_owned(), is_free: false }
    }

    #[test]
    fn a_model_that_is_to_think_first_may_take_longer() {
        let plain = ChatRequest::from_prompt("q");
        let mut thinking = plain.clone();
        thinking.sampling.reasoning_effort = Some("low".to_owned());
        let declared = Some(vec![Capability::Reasoning]);
        for (configured, capabilities, request, seconds) in [
            (10_000, None, &plain, 10),
            (10_000, None, &thinking, 120),
            (10_000, declared, &plain, 120),
            (300_000, None, &plain, 300),
            (300_000, None, &thinking, 300),
        ] {
            assert_eq!(patience(&step(configured, capabilities), request), Duration::from_secs(seconds));
        }
    }

    #[test]
    fn a_model_is_not_asked_for_what_it_is_declared_to_be_unable_to_do() {
        let mut request = ChatRequest::from_prompt("q");
        let tool =
            chat::Tool::Function { name: "f".to_owned(), description: None, parameters: None, strict: None };
        request.tools = vec![tool];
        for (capabilities, is_asked) in [
            (None, true),
            (Some(vec![Capability::Tools, Capability::Images]), true),
            (Some(vec![Capability::Images]), false),
        ] {
            let objection = step(10_000, capabilities).objection(&request);
            assert_eq!(objection.is_none(), is_asked);
            if let Some(error) = objection {
                assert_eq!(
                    (error.kind, error.param.as_deref()),
                    (ProviderErrorKind::Capability, Some("tools"))
                );
            }
        }
    }
}
