//! An answer that broke off after its first words had gone out: who finishes it?
//!
//! What a caller has seen cannot be taken back, but what is missing may come from the next upstream: it goes on where
//! the first one stopped, where its model is declared to take that; else it is asked afresh, and follows if it says the
//! same; else, where the route wants it, in one more turn. A caller never hears that a fallback would not go on: the
//! break is what went wrong.

use std::sync::Arc;
use std::time::Duration;

use tokio::time::Instant;

use super::attempt::{Attempt, CallTimes, Called, Ended};
use super::failure::Failure;
use super::generate::{Event, Generation, Walk, Whole, patience, tokens_of};
use super::splice::{OVERLAP_MIN, Splice, Way};
use super::{Route, Step};
use crate::chat::{Assembly, ChatRequest, ChatResponse, Delta, Message, Part, Role};
use crate::config::Capability;
use crate::providers::ProviderError;

/// What the next upstream is told in one more turn.
const GO_ON: &str = "Your last message was cut off. Continue it exactly where it stops. Do not repeat any of it, do not \
                     comment on it, begin with the very next characters.";

/// What went out of an answer so far.
struct Rescue {
    /// All of it.
    assembly: Assembly,
    /// Its text.
    text: String,
}

/// How one try to finish an answer ended.
enum Tried {
    Finished(Box<Generation>),
    /// This one is well and does not go on like that; another way may do.
    Otherwise,
    /// This one is not to be asked again.
    Lost,
}

impl<S: FnMut(Event) -> bool + Send> Walk<'_, S> {
    /// Finishes an answer of which `said` went out, by who is left in `rest`.
    pub(super) async fn rescue(
        &mut self,
        at: usize,
        rest: &[usize],
        error: ProviderError,
        said: ChatResponse,
    ) -> Result<Generation, Failure> {
        self.calls += 1;
        // Neither what the caller has done wrong nor what a filter has stopped is carried to others.
        let text = plain_text(&said, self.request).filter(|_| error.may_fail_over());
        self.spoken.push((at, Box::new(said.clone())));
        if let Some(text) = text {
            let mut rescue = Rescue { assembly: Assembly::of(said), text };
            for next in rest {
                if let Some(generation) = self.finish_by(*next, &mut rescue).await {
                    return Ok(generation);
                }
            }
        }
        self.settle_spoken().await;
        Err(Failure::Upstream(self.broken(error, &self.route.chain[at])))
    }

    /// Has one upstream finish the answer in whichever way it can.
    async fn finish_by(&mut self, at: usize, rescue: &mut Rescue) -> Option<Generation> {
        for way in ways(self.route, &self.route.chain[at], &rescue.text) {
            match self.try_way(at, way, rescue).await {
                Tried::Finished(generation) => return Some(*generation),
                Tried::Otherwise => {}
                Tried::Lost => return None,
            }
        }
        None
    }

    async fn try_way(&mut self, at: usize, way: Way, rescue: &mut Rescue) -> Tried {
        let step = &self.route.chain[at];
        let request = match way {
            Way::Afresh => Arc::clone(self.request),
            Way::Prefill | Way::Turn => Arc::new(continued(self.request, way, &rescue.text)),
        };
        if self.calls >= self.route.retry.attempts_per_request
            || self.too_small.has(step)
            || step.objection(&request).is_some()
        {
            return Tried::Lost;
        }
        let until = Instant::now() + Duration::from_millis(self.route.retry.max_wait_ms);
        let Ok(place) = step.upstream.limits().enter(tokens_of(&request), until).await else {
            return Tried::Lost;
        };
        let now = Instant::now();
        let Ok(mut permit) = step.upstream.admit(&step.model, now) else { return Tried::Lost };
        self.calls += 1;
        step.upstream.count_request(now);
        let patience = patience(step, &request);
        let whole = self.times.whole;
        // The first byte is long out: what counts now is that somebody goes on.
        let times = CallTimes { first_token: whole.min(now + patience), whole };
        let attempt = Attempt { router: self.router, step, request: &request, times, patience };
        let mut seam = Seam { splice: Splice::new(way, &rescue.text), rescue, out: &mut self.sink };
        let called = attempt.run(&mut permit, &mut self.attempts, &mut |event| seam.take(event)).await;
        drop(place);
        let Called { ended, said, first_token, took } = called;
        match ended {
            Ended::Answered(answer) => {
                let is_finished = seam.finish(&answer);
                self.router.answered(step, permit, first_token.unwrap_or(took), took);
                if is_finished {
                    return Tried::Finished(Box::new(self.spliced(at, way, &request, *answer, rescue).await));
                }
                self.spoken.push((at, answer));
                Tried::Otherwise
            }
            // It is well, and says something else.
            Ended::Stopped => {
                self.router.answered(step, permit, first_token.unwrap_or(took), took);
                self.spoken.extend(said.map(|said| (at, said)));
                Tried::Otherwise
            }
            Ended::Failed(error) => {
                self.router.failed(step, permit, &error);
                self.spoken.extend(said.map(|said| (at, said)));
                // A model that does not take a prefill says so.
                if error.kind.is_callers_fault() { Tried::Otherwise } else { Tried::Lost }
            }
            Ended::Broken(error, said) => {
                self.router.failed(step, permit, &error);
                self.spoken.push((at, said));
                Tried::Lost
            }
            Ended::Defective(answer, _) => {
                self.spoken.push((at, answer));
                Tried::Otherwise
            }
            Ended::Unsendable(_) => Tried::Otherwise,
        }
    }

    /// Tells what all calls took, and returns the answer as the caller got it.
    async fn spliced(
        &mut self,
        at: usize,
        way: Way,
        request: &Arc<ChatRequest>,
        mut own: ChatResponse,
        rescue: &mut Rescue,
    ) -> Generation {
        let step = &self.route.chain[at];
        let own_cost_usd = self.router.settle(step, request, &mut own, &mut |_| true).await;
        let (usage, cost_usd) = self.settle_all_spoken(own.usage.as_ref(), own_cost_usd).await;
        if let Some(usage) = &usage {
            (self.sink)(Event::Delta(Delta::Usage(usage.clone())));
        }
        let mut answer = std::mem::take(&mut rescue.assembly).into_answer().unwrap_or_default();
        answer.usage = usage;
        self.note_fallback(at);
        tracing::info!(upstream = step.name(), way = way.name(), "an answer that broke off was finished");
        Generation {
            answer,
            whole: match way {
                Way::Afresh => Whole::Other(Box::new(own), own_cost_usd),
                Way::Prefill | Way::Turn => Whole::Nothing,
            },
            provider: step.upstream.name.to_string(),
            model: step.model.clone(),
            attempts: std::mem::take(&mut self.attempts),
            cost_usd,
        }
    }
}

/// Where the second answer meets what went out of the first.
struct Seam<'a, S> {
    splice: Splice,
    rescue: &'a mut Rescue,
    out: &'a mut S,
}

impl<S: FnMut(Event) -> bool> Seam<'_, S> {
    /// Takes an event of the second answer, hands on what is new of it, and returns whether more is wanted.
    fn take(&mut self, event: Event) -> bool {
        match event {
            Event::Opened(_) => true,
            // What was handed on went out.
            Event::Withdrawn => false,
            Event::Delta(delta) => self.take_delta(delta),
        }
    }

    fn take_delta(&mut self, delta: Delta) -> bool {
        match delta {
            Delta::Text { choice: 0, text } => match self.splice.push(&text) {
                Ok(new) => {
                    self.hand_on_text(new);
                    true
                }
                Err(_) => false,
            },
            // The answer's beginning has gone out, and its end is told when all of it is there.
            Delta::Start { .. }
            | Delta::Late { .. }
            | Delta::Break { .. }
            | Delta::Usage(_)
            | Delta::Reasoning { .. }
            | Delta::Logprobs { .. }
            | Delta::Finish { .. } => true,
            Delta::Text { .. }
            | Delta::Citation { .. }
            | Delta::Refusal { .. }
            | Delta::ToolCall { .. }
            | Delta::Part { .. }
            | Delta::Unknown { .. } => {
                let fits = self.splice.is_flowing();
                if fits {
                    self.hand_on(delta);
                }
                fits
            }
        }
    }

    /// Takes the end of the second answer. Returns whether it fits.
    fn finish(&mut self, answer: &ChatResponse) -> bool {
        let Ok(new) = self.splice.finish() else { return false };
        self.hand_on_text(new);
        let reason = answer.choices.first().and_then(|choice| choice.finish.clone());
        if let Some(reason) = reason {
            self.hand_on(Delta::Finish { choice: 0, reason });
        }
        true
    }

    fn hand_on_text(&mut self, text: String) {
        if !text.is_empty() {
            self.rescue.text.push_str(&text);
            self.hand_on(Delta::Text { choice: 0, text });
        }
    }

    fn hand_on(&mut self, delta: Delta) {
        self.rescue.assembly.push(&delta);
        // Whoever listens to a stream that has begun listens to its end.
        (self.out)(Event::Delta(delta));
    }
}

/// Returns the text that went out, if there is nothing beside it that a second answer could not be compared with.
fn plain_text(said: &ChatResponse, request: &ChatRequest) -> Option<String> {
    let [choice] = said.choices.as_slice() else { return said.choices.is_empty().then(String::new) };
    let is_plain = |part: &Part| matches!(part, Part::Text(_) | Part::Reasoning(_));
    let texts = choice.content.iter().filter(|part| part.text().is_some()).count();
    let is_comparable = choice.content.iter().all(is_plain)
        && texts <= 1
        && choice.finish.is_none()
        && choice.unknown.is_empty();
    (request.choices() == 1 && is_comparable).then(|| choice.text().unwrap_or_default().into_owned())
}

/// Returns the ways in which an upstream may finish an answer, the best first.
fn ways(route: &Route, step: &Step, text: &str) -> impl Iterator<Item = Way> + use<> {
    // Too little to tell a repetition from what only begins like it.
    let has_text = text.chars().filter(|character| !character.is_whitespace()).count() >= OVERLAP_MIN;
    let prefill = (has_text && step.declares(Capability::Prefill)).then_some(Way::Prefill);
    let turn = (has_text && route.rescue_by_turn).then_some(Way::Turn);
    prefill.into_iter().chain([Way::Afresh]).chain(turn)
}

/// Returns the request with what went out as the assistant's last words. Anthropic refuses white space at their end.
fn continued(request: &ChatRequest, way: Way, text: &str) -> ChatRequest {
    let mut request = request.clone();
    request.messages.push(Message::text(Role::Assistant, text.trim_end()));
    if way == Way::Turn {
        request.messages.push(Message::text(Role::User, GO_ON));
    }
    request
}
