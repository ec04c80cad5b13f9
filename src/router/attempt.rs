//! One call of one upstream, under its timers.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use tokio::time::{Instant, timeout_at};
use uuid::Uuid;

use super::clock::unix_seconds;
use super::generate::{Event, Opened, Times};
use super::{Router, Step};
use crate::chat::{self, Assembly, ChatRequest, ChatResponse, Delta, FinishReason};
use crate::providers::{ProviderError, ProviderErrorKind, StreamDecoder, failed, is_event_stream, refused};
use crate::transport::{BODY_BYTES_MAX, Body, CallLimits, Incoming, Outgoing};
use crate::wire::Format;

/// How one call ended.
pub(super) enum Ended {
    Answered(Box<ChatResponse>),
    /// Nothing was sent: the upstream's format has no words for the request.
    Unsendable(ProviderError),
    /// Nothing was handed on: somebody else may be asked.
    Failed(ProviderError),
    /// Pieces were handed on before it broke.
    Broken(ProviderError),
}

/// One call.
pub(super) struct Attempt<'a> {
    pub router: &'a Router,
    pub step: &'a Step,
    pub request: &'a Arc<ChatRequest>,
    pub times: Times,
}

/// How long an upstream that does not stream may take for the whole answer; its first byte is its last.
const WHOLE_ANSWER: Duration = Duration::from_secs(120);
/// How long usage and the last event are waited for, once every choice has ended.
const GRACE: Duration = Duration::from_secs(2);
/// The largest error body that is read, and how long it may take after its headers. What came by then is judged.
pub(super) const ERROR_BYTES_MAX: usize = 64 << 10;
pub(super) const ERROR_TIME: Duration = Duration::from_secs(5);
/// Answers from this size on are read off the async threads: they take longer than half a millisecond.
const LARGE_ANSWER_BYTES: usize = 128 << 10;

impl Attempt<'_> {
    /// Makes the call and notes it among `attempts`, before the first event where it succeeds. What the upstream's
    /// format cannot express is not sent, and so is no attempt.
    pub async fn run(
        &self,
        attempts: &mut Vec<chat::Attempt>,
        sink: &mut (impl FnMut(Event) + Send),
    ) -> Ended {
        let streams = self.step.upstream.streams(&self.step.model);
        let ended = self.call(streams, attempts, sink).await;
        match ended {
            Ended::Failed(error) if streams && says_it_cannot_stream(&error) => {
                self.step.upstream.learn_whole_only(&self.step.model);
                self.note_failure(attempts, &error);
                self.call(false, attempts, sink).await
            }
            ended => ended,
        }
        .inspect_failure(|error| self.note_failure(attempts, error))
    }

    async fn call(
        &self,
        streams: bool,
        attempts: &mut Vec<chat::Attempt>,
        sink: &mut (impl FnMut(Event) + Send),
    ) -> Ended {
        let Step { upstream, model, .. } = self.step;
        let outgoing = match upstream.provider.prepare(self.request, model, streams) {
            Ok(outgoing) => outgoing,
            Err(error) => return Ended::Unsendable(error),
        };
        let began = Instant::now();
        let mut progress = Progress { attempt: self, began, sink, attempts, opened: false };
        let ended = progress.call(outgoing, streams).await;
        let outcome = match &ended {
            Ended::Answered(answer) if is_refusal(answer) => ProviderErrorKind::Refusal.name(),
            Ended::Answered(_) => "ok",
            Ended::Failed(error) | Ended::Broken(error) | Ended::Unsendable(error) => error.kind.name(),
        };
        let (telemetry, upstream) = (&self.router.telemetry, &self.step.upstream.name);
        let model = self.step.model_label();
        telemetry.upstream_called(upstream, model, outcome, began.elapsed().as_secs_f64());
        ended
    }

    fn note_failure(&self, attempts: &mut Vec<chat::Attempt>, error: &ProviderError) {
        // Its class and not its words: a vendor may quote the prompt when it says what is wrong with it.
        let (upstream, kind, status) = (self.step.name(), error.kind.name(), error.status);
        tracing::warn!(upstream, kind, status, "an upstream failed");
        attempts.push(chat::Attempt { upstream: self.step.name(), result: error.attempt_label() });
    }
}

impl Ended {
    /// Calls `note` with the failure of a call that nothing was handed on of. One that broke later was noted as a
    /// success when it began.
    fn inspect_failure(self, note: impl FnOnce(&ProviderError)) -> Self {
        if let Self::Failed(error) = &self {
            note(error);
        }
        self
    }
}

/// Returns whether the model or its vendor would not answer, in an answer.
fn is_refusal(answer: &ChatResponse) -> bool {
    answer.choices.iter().any(|choice| {
        matches!(choice.finish, Some(FinishReason::Refusal | FinishReason::ContentFilter))
            || choice.refusal().is_some_and(|words| !words.is_empty())
    })
}

/// Recognises the one complaint that is mended by asking for a whole answer.
fn says_it_cannot_stream(error: &ProviderError) -> bool {
    let is_refusal = matches!(error.kind, ProviderErrorKind::Capability | ProviderErrorKind::BadRequest);
    is_refusal && error.param.as_deref() == Some("stream")
}

/// A call under way.
struct Progress<'a, S> {
    attempt: &'a Attempt<'a>,
    began: Instant,
    sink: &'a mut S,
    attempts: &'a mut Vec<chat::Attempt>,
    /// Whether anything was handed on.
    opened: bool,
}

impl<S: FnMut(Event) + Send> Progress<'_, S> {
    async fn call(&mut self, outgoing: Outgoing, streams: bool) -> Ended {
        let result = if streams { self.stream(outgoing).await } else { self.whole(outgoing).await };
        match result {
            Ok(answer) => Ended::Answered(Box::new(answer)),
            Err(error) if self.opened => Ended::Broken(error),
            Err(error) => Ended::Failed(error),
        }
    }

    async fn send(&self, outgoing: Outgoing, first_byte: Instant) -> Result<Incoming, ProviderError> {
        let Attempt { router, step, times, .. } = self.attempt;
        let limits = CallLimits {
            connect_timeout: Duration::from_millis(step.upstream.timeouts.connect_ms),
            deadline: times.whole,
            body_bytes_max: BODY_BYTES_MAX,
        };
        let sent = timeout_at(first_byte, router.transport.send(outgoing, limits));
        let response = sent.await.map_err(|_| ProviderError::timeout("response"))??;
        if response.status.as_u16() == 200 {
            return Ok(response);
        }
        let Incoming { status, headers, body } = response;
        Err(failed(status, &headers, &body.at_most(ERROR_BYTES_MAX, ERROR_TIME).await))
    }

    async fn whole(&mut self, outgoing: Outgoing) -> Result<ChatResponse, ProviderError> {
        let response = self.send(outgoing, self.whole_deadline()).await?;
        self.read_whole(response.body).await
    }

    fn whole_deadline(&self) -> Instant {
        let times = &self.attempt.times;
        times.whole.min(times.first_token.max(self.began + WHOLE_ANSWER))
    }

    async fn read_whole(&mut self, body: Body) -> Result<ChatResponse, ProviderError> {
        let read = timeout_at(self.whole_deadline(), body.whole());
        let bytes = read.await.map_err(|_| ProviderError::timeout("answer"))??;
        let mut answer = decode(self.attempt.step.upstream.provider.format(), bytes).await?;
        complete(&mut answer.id, &mut answer.created, &mut answer.model, &self.attempt.step.model);
        for delta in answer.deltas() {
            self.hand_on(delta, &answer.model);
        }
        Ok(answer)
    }

    async fn stream(&mut self, outgoing: Outgoing) -> Result<ChatResponse, ProviderError> {
        let Attempt { step, request, times, .. } = self.attempt;
        let response = self.send(outgoing, times.first_token).await?;
        if !is_event_stream(&response.headers) {
            // Some servers answer whole although a stream was asked for. Once that was an answer, and not a proxy's
            // page or an error in disguise, they are asked for it the next time.
            let answer = self.read_whole(response.body).await?;
            tracing::warn!(upstream = step.name(), "asked to stream, the upstream answered whole");
            step.upstream.learn_whole_only(&step.model);
            return Ok(answer);
        }
        let decoder = StreamDecoder::new(step.upstream.provider.format(), request.choices());
        let mut incoming = Stream { body: response.body, decoder, last_token: None, completed: None };
        let mut assembly = Assembly::default();
        let mut model = step.model.clone();
        let mut held = Vec::new();
        let mut deltas = Vec::new();
        loop {
            let more = incoming.next(&mut deltas, self.attempt).await;
            for mut delta in deltas.drain(..) {
                if let Delta::Start { id, created, model: named, .. } = &mut delta {
                    complete(id, created, named, &step.model);
                    model.clone_from(named);
                }
                assembly.push(&delta);
                if self.opened || says_something(&delta) {
                    for held in held.drain(..) {
                        self.hand_on(held, &model);
                    }
                    self.hand_on(delta, &model);
                } else {
                    held.push(delta);
                }
            }
            if !more? {
                break;
            }
        }
        // A last word of the vendor's is no end where a choice has not said why it ended. Some servers ignore how many
        // choices were asked for, so those that began count.
        if !assembly.is_finished(1) {
            return Err(ProviderError::broken_off());
        }
        for held in held {
            self.hand_on(held, &model);
        }
        assembly.into_answer().ok_or_else(ProviderError::broken_off)
    }

    /// Hands a piece on; after the first one nobody else is asked.
    fn hand_on(&mut self, delta: Delta, model: &str) {
        if !self.opened {
            self.opened = true;
            let Attempt { router, step, .. } = self.attempt;
            let elapsed = self.began.elapsed().as_secs_f64();
            router.telemetry.first_token(&step.upstream.name, step.model_label(), elapsed);
            self.attempts.push(chat::Attempt { upstream: step.name(), result: "200".to_owned() });
            (self.sink)(Event::Opened(Opened {
                provider: step.upstream.name.clone(),
                model: model.to_owned(),
                attempts: self.attempts.clone(),
            }));
        }
        (self.sink)(Event::Delta(delta));
    }
}

/// The body of a streamed answer.
struct Stream {
    body: Body,
    decoder: StreamDecoder,
    /// When the last piece came that says something; `None` before the first.
    last_token: Option<Instant>,
    /// When every choice had ended.
    completed: Option<Instant>,
}

impl Stream {
    /// Adds the next pieces, those that came before an error too, and returns whether there may be more. Comments and
    /// pings are no pieces, and do not stop the timers.
    async fn next(&mut self, deltas: &mut Vec<Delta>, attempt: &Attempt<'_>) -> Result<bool, ProviderError> {
        let timeouts = attempt.step.upstream.timeouts;
        loop {
            let (patience, phase) = match (self.completed, self.last_token) {
                (Some(completed), _) => (completed + GRACE, "end"),
                (None, None) => (attempt.times.first_token, "first token"),
                (None, Some(last)) => (last + Duration::from_millis(timeouts.idle_ms), "token"),
            };
            let patience = patience.min(attempt.times.whole);
            let chunk: Option<Bytes> = match timeout_at(patience, self.body.chunk()).await {
                Ok(Ok(chunk)) => chunk,
                // Every choice has ended, so nothing of the answer is missing.
                Ok(Err(_)) | Err(_) if self.decoder.is_complete() => return Ok(false),
                Ok(Err(error)) => return Err(error.into()),
                Err(_) => return Err(ProviderError::timeout(phase)),
            };
            let Some(chunk) = chunk else {
                self.decoder.finish(deltas)?;
                return Ok(false);
            };
            let fed = self.decoder.feed(&chunk, deltas);
            if deltas.iter().any(says_something) {
                self.last_token = Some(Instant::now());
            }
            if self.completed.is_none() && self.decoder.is_complete() {
                self.completed = Some(Instant::now());
            }
            fed?;
            if self.decoder.is_done() {
                return Ok(false);
            }
            if !deltas.is_empty() {
                return Ok(true);
            }
        }
    }
}

/// Reads a whole answer, a large one off the async threads.
async fn decode(format: Format, bytes: Bytes) -> Result<ChatResponse, ProviderError> {
    if bytes.len() < LARGE_ANSWER_BYTES {
        return format.decode(&bytes).map_err(refused);
    }
    let decoded = tokio::task::spawn_blocking(move || format.decode(&bytes)).await;
    decoded.map_err(|_| ProviderError::malformed("the answer cannot be read"))?.map_err(refused)
}

/// Gives an answer the name, date and model that its vendor left out: SDKs count on each of them, and OpenAI's for Node
/// takes a piece without an id for none.
fn complete(id: &mut String, created: &mut i64, model: &mut String, asked_for: &str) {
    if id.is_empty() {
        *id = format!("gen-{}", Uuid::new_v4().simple());
    }
    if *created == 0 {
        *created = unix_seconds();
    }
    if model.is_empty() {
        asked_for.clone_into(model);
    }
}

/// Returns whether a piece is something that can be read. The bare start of a stream is held back until such a piece
/// comes, so that an upstream that dies or falls silent right after it can still be replaced.
fn says_something(delta: &Delta) -> bool {
    match delta {
        Delta::Start { .. } | Delta::Usage(_) | Delta::Break { .. } => false,
        Delta::Text { text, .. } | Delta::Refusal { text, .. } | Delta::Reasoning { text, .. } => {
            !text.is_empty()
        }
        Delta::Citation { .. }
        | Delta::ToolCall { .. }
        | Delta::Part { .. }
        | Delta::Logprobs { .. }
        | Delta::Unknown { .. }
        | Delta::Finish { .. } => true,
    }
}
