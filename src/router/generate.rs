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
use crate::chat::{self, ChatRequest, ChatResponse, Delta, Usage};
use crate::config::{Capability, Timeouts};
use crate::providers::quota::Takes;
use crate::providers::{ProviderError, ProviderErrorKind};
use crate::single_flight::Wanted;

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
    /// It is; this is what its call cost.
    Itself(Option<f64>),
    /// It was finished by another upstream that said the same from the beginning: this is what that one said, and what its
    /// call cost.
    Other(Box<ChatResponse>, Option<f64>),
    /// Its parts are by two.
    Nothing,
}

/// The limits of a generation.
#[derive(Clone, Debug)]
pub struct Times {
    /// Nothing has come by then: given up.
    pub first_token: Instant,
    /// Not over by then: given up.
    pub whole: Instant,
    /// Until then somebody waits, which may be less: of that time some is always kept for the next upstream.
    pub wanted: Wanted,
    /// Whether the last byte is waited for, and not the first one.
    pub is_whole_wanted: bool,
}

/// The first-token time of a model that is to think first, while somebody else is left to ask.
const THINKING: Duration = Duration::from_secs(120);
/// The most of the time that is left that one upstream may take while another one is left.
const SHARE: f64 = 0.8;
/// How long a request waits for another one that finds out whether anybody is well again, and how often it looks.
const FINDING_OUT: Duration = Duration::from_secs(1);
const FINDING_OUT_EVERY: Duration = Duration::from_millis(25);
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
            first_choice: 0,
            spoken: Vec::new(),
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
    /// Whom an answer is no fallback of.
    first_choice: usize,
    /// What came of calls that were not the answer, by whom: it was paid for.
    pub spoken: Vec<(usize, Box<ChatResponse>)>,
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
        self.first_choice = self.route.first_choice().or(order.first().copied()).unwrap_or(0);
        match (self.walk(&order).await, self.best.take()) {
            (ControlFlow::Break(Ok(generation)), _) => Ok(generation),
            // Whatever went wrong after it: there is something to say.
            (_, Some((at, answer))) => Ok(self.make_do_with(at, *answer).await),
            (ControlFlow::Break(Err(failure)), None) => {
                self.settle_spoken().await;
                Err(failure)
            }
            (ControlFlow::Continue(()), None) => {
                self.settle_spoken().await;
                Err(self.failure())
            }
        }
    }

    async fn walk(&mut self, order: &[usize]) -> Walked {
        for (place, at) in order.iter().enumerate() {
            self.ask(*at, &order[place + 1..], Leave::Usual).await?;
        }
        let until = (Instant::now() + FINDING_OUT).min(self.times.wanted.latest());
        loop {
            let unwell = self.unwell(order);
            for at in &unwell {
                self.ask(*at, &[], Leave::LastResort).await?;
            }
            // Whoever comes while another one is finding out waits for that, and not for ever.
            let now = Instant::now();
            let is_hopeful =
                |at: &usize| !self.was_asked(*at) && self.route.chain[*at].target().is_found_out(now);
            if now >= until || !unwell.iter().any(is_hopeful) {
                return Walked::Continue(());
            }
            sleep(FINDING_OUT_EVERY).await;
            for at in order {
                let is_back = self.route.chain[*at].unavailable(Instant::now()).is_none();
                if is_back && !self.was_asked(*at) {
                    self.ask(*at, &[], Leave::Usual).await?;
                }
            }
        }
    }

    fn was_asked(&self, at: usize) -> bool {
        let name = self.route.chain[at].name();
        self.attempts.iter().any(|attempt| attempt.upstream == name)
    }

    /// Returns who is not well by our own judgement alone and was not asked, whoever would be asked again the soonest first.
    fn unwell(&self, order: &[usize]) -> Vec<usize> {
        let now = Instant::now();
        let unwell = order.iter().filter_map(|at| match self.route.chain[*at].unavailable(now)? {
            Unavailable::Open { until } | Unavailable::Cooling { until, is_hinted: false } => {
                Some((until, *at))
            }
            Unavailable::Cooling { is_hinted: true, .. } | Unavailable::Parked { .. } => None,
        });
        let mut unwell: Vec<_> = unwell.filter(|(_, at)| !self.was_asked(*at)).collect();
        unwell.sort_unstable();
        unwell.into_iter().map(|(_, at)| at).collect()
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
            let Some((mut permit, place)) = self.leave_to_call(step, rest, leave).await else { break };
            if calls_here == 0 {
                step.upstream.count_request(Instant::now());
            }
            let attempt = Attempt {
                router: self.router,
                step,
                request: self.request,
                times: self.call_times(step, &permit, rest),
                patience: patience(step, self.request),
            };
            let called = attempt.run(&mut permit, &mut self.attempts, &mut self.sink).await;
            drop((place, retry.take()));
            let Called { ended, said, first_token, took } = called;
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
                    match &self.best {
                        None => self.best = Some((at, answer)),
                        Some(_) => self.spoken.push((at, answer)),
                    }
                    ProviderError::malformed(format_args!("the answer is none: {}", defect.name()))
                        .blameless()
                }
                Ended::Broken(error, said) => {
                    self.router.failed(step, permit, &error);
                    return Walked::Break(self.rescue(at, rest, error, *said).await);
                }
                // Only a rescue stops what it has asked for.
                Ended::Stopped => break,
                Ended::Failed(error) => {
                    self.spoken.extend(said.map(|said| (at, said)));
                    error
                }
            };
            (self.calls, calls_here) = (self.calls + 1, calls_here + 1);
            self.router.failed(step, permit, &error);
            let wait = self.after_failure(step, error, calls_here, rest)?;
            let Some(wait) = wait.filter(|_| leave == Leave::Usual) else { break };
            retry = step.upstream.take_retry(Instant::now(), self.route.retry.budget_ratio);
            if retry.is_none() {
                break;
            }
            self.router.telemetry.retried(&step.upstream.name);
            sleep(wait).await;
        }
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
            others: u32::try_from(self.fitting(rest).count()).unwrap_or(u32::MAX),
            time_left: self.times.wanted.latest().max(now).duration_since(now),
            has_next: self.has_available_next(rest),
            draw: rand::random(),
        };
        // Who was just found unwell is not asked again.
        let is_open =
            matches!(step.unavailable(now), Some(Unavailable::Open { .. } | Unavailable::Parked { .. }));
        let retry = wait_before_retry(&error, &self.route.retry, situation).filter(|_| !is_open);
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
        loop {
            let now = Instant::now();
            // A place that is not needed is not waited for, and leave that waits in a line is none.
            let unavailable = step.unavailable(now).filter(|_| leave == Leave::Usual);
            let why = match unavailable {
                Some(why) => why,
                None => {
                    let place = self.place(step, rest).await?;
                    let (upstream, model, now) = (&step.upstream, &step.model, Instant::now());
                    let asked = match leave {
                        Leave::Usual => upstream.admit(model, now),
                        Leave::LastResort => upstream.admit_as_last_resort(model, now),
                    };
                    match asked {
                        Ok(permit) => return Some((permit, place)),
                        Err(why) => why,
                    }
                }
            };
            match why {
                Unavailable::Cooling { until: free, .. } if free <= until && leave == Leave::Usual => {
                    // Others wait for the same moment.
                    let spread = free.saturating_duration_since(now).mul_f64(0.1 * rand::random::<f64>());
                    sleep_until(free + spread).await;
                }
                why => {
                    self.blame.unavailable(why, now);
                    return None;
                }
            }
        }
    }

    /// Waits for a place among the calls of an upstream: a moment where somebody else can be asked, else for as long as
    /// there is time to use it.
    async fn place(&mut self, step: &Step, rest: &[usize]) -> Option<Place> {
        let now = Instant::now();
        let moment = now + Duration::from_millis(self.route.retry.max_wait_ms);
        let share = now + self.times.wanted.latest().saturating_duration_since(now).mul_f64(SHARE);
        let until = if self.has_available_next(rest) { moment.min(share) } else { share };
        match step.upstream.limits().enter(tokens_of(self.request), until).await {
            Ok(place) => Some(place),
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
        (now + Duration::from_millis(self.route.retry.max_wait_ms)).min(self.times.wanted.latest())
    }

    /// Returns whether something better than more of this upstream's silence is left: somebody who can be asked by the time
    /// that its own patience ends, or an answer that will have to do.
    fn has_next(&self, step: &Step, rest: &[usize]) -> bool {
        let now = Instant::now();
        let soon = now + patience(step, self.request);
        let is_near = |other: &Step| other.unavailable(now).is_none_or(|why| why.until() <= soon);
        self.best.is_some() || self.fitting(rest).any(is_near)
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
    /// never all of what is left. One that is to find out whether it is well again has no more than its own time either.
    fn call_times(&self, step: &Step, permit: &Permit, rest: &[usize]) -> CallTimes {
        let Times { first_token, whole, ref wanted, is_whole_wanted } = self.times;
        let now = Instant::now();
        let own = now + patience(step, self.request);
        if !self.has_next(step, rest) {
            let first_token = if permit.is_probe() { first_token.min(own) } else { first_token };
            return CallTimes { first_token, whole };
        }
        let share = match wanted.latest().checked_duration_since(now) {
            Some(left) => now + left.mul_f64(SHARE),
            // Nobody waits any more, and the answer is made for later.
            None => first_token,
        };
        let is_whole = is_whole_wanted || !step.upstream.streams(&step.model);
        CallTimes {
            first_token: first_token.min(own).min(share),
            whole: if is_whole { whole.min(share) } else { whole },
        }
    }

    /// Settles what came of calls that were not the answer, and returns what they cost: `None` where that is not known.
    pub async fn settle_spoken(&mut self) -> Option<f64> {
        self.settle_all_spoken(Some(&Usage::default()), Some(0.0)).await.1
    }

    /// Settles what came of calls that were not the answer, and returns the tokens and the cost of all calls, `usage` and
    /// `cost_usd` being those of the answer. What is not known of one call is not known of all.
    pub async fn settle_all_spoken(
        &mut self,
        usage: Option<&Usage>,
        cost_usd: Option<f64>,
    ) -> (Option<Usage>, Option<f64>) {
        let (mut tokens, mut sum) = (usage.cloned(), cost_usd);
        for (at, mut said) in std::mem::take(&mut self.spoken) {
            // What a vendor counts at the beginning of a stream is not what it had said by the time it broke.
            if said.choices.iter().any(|choice| choice.finish.is_none()) {
                said.usage = None;
            }
            let step = &self.route.chain[at];
            let cost_usd = self.router.settle(step, self.request, &mut said, &mut |_| true).await;
            tokens = tokens.zip(said.usage).map(|(tokens, more)| tokens.plus(&more));
            sum = sum.zip(cost_usd).map(|(sum, cost_usd)| sum + cost_usd);
        }
        (tokens, sum)
    }

    /// Settles the account of an answer.
    async fn conclude(&mut self, at: usize, mut answer: ChatResponse) -> Generation {
        let step = &self.route.chain[at];
        let own_cost_usd = self.router.settle(step, self.request, &mut answer, &mut self.sink).await;
        self.note_fallback(at);
        let cost_usd = own_cost_usd.zip(self.settle_spoken().await).map(|(own, others)| own + others);
        Generation {
            answer,
            whole: Whole::Itself(own_cost_usd),
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

    /// Counts an answer of another one than the first choice.
    pub fn note_fallback(&self, at: usize) {
        if at == self.first_choice {
            return;
        }
        let (first, step) = (&self.route.chain[self.first_choice], &self.route.chain[at]);
        let reason = self.blame.first_kind().map_or("unavailable", ProviderErrorKind::name);
        self.router.telemetry.fell_back(&first.name(), &step.name(), reason);
    }
}

/// Returns how long an upstream may be silent at first, while somebody else is left to ask.
pub(super) fn patience(step: &Step, request: &ChatRequest) -> Duration {
    let Timeouts { first_token_ms, .. } = step.upstream.timeouts;
    let configured = Duration::from_millis(first_token_ms);
    let thinks = request.asks_for_reasoning() || step.declares(Capability::Reasoning);
    if thinks { configured.max(THINKING) } else { configured }
}

/// Returns about how many tokens a call takes of a limit. A count would cost more than a wrong guess does.
pub(super) fn takes(request: &ChatRequest) -> Takes {
    const BYTES_PER_TOKEN: u64 = 4;
    let parts = request.messages.iter().flat_map(|message| &message.content);
    let bytes: usize = parts.filter_map(chat::Part::text).map(str::len).sum();
    let output = request.limit.map_or(0, |limit| u64::from(limit.tokens));
    Takes { input: bytes as u64 / BYTES_PER_TOKEN, output }
}

/// Returns how many of a limit of tokens a call takes, which vendors reckon by prompt and output limit.
pub(super) fn tokens_of(request: &ChatRequest) -> u64 {
    let Takes { input, output } = takes(request);
    input.saturating_add(output)
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
