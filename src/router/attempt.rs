//! One call of one upstream, under its timers.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use tokio::time::{Instant, timeout_at};
use uuid::Uuid;

use super::clock::unix_seconds;
use super::generate::{Event, Opened};
use super::target::Permit;
use super::{Router, Step};
use crate::chat::{self, Assembly, ChatRequest, ChatResponse, Delta, FinishReason};
use crate::providers::{ProviderError, ProviderErrorKind, StreamDecoder, failed, is_event_stream, refused};
use crate::quality::{self, Defect};
use crate::transport::{BODY_BYTES_MAX, Body, CallLimits, Incoming, Outgoing};
use crate::wire::Format;

/// How one call ended.
pub(super) enum Ended {
    Answered(Box<ChatResponse>),
    /// It is whole, and none: nothing of it is handed on.
    Defective(Box<ChatResponse>, Defect),
    /// Nothing was sent: the upstream's format has no words for the request.
    Unsendable(ProviderError),
    /// Nothing is handed on: somebody else may be asked.
    Failed(ProviderError),
    /// Pieces that cannot be taken back were handed on before it broke: these.
    Broken(ProviderError, Box<ChatResponse>),
    /// Whoever takes the pieces wants no more of them.
    Stopped,
}

/// How one call ended, and what it took.
pub(super) struct Called {
    pub ended: Ended,
    /// What came of it, where that is not the answer and does not stand beside how it ended: it was paid for.
    pub said: Option<Box<ChatResponse>>,
    pub first_token: Option<Duration>,
    pub took: Duration,
}

/// One call.
pub(super) struct Attempt<'a> {
    pub router: &'a Router,
    pub step: &'a Step,
    pub request: &'a Arc<ChatRequest>,
    pub times: CallTimes,
    /// How long the upstream may be silent at first by its own measure; less is our own hurry.
    pub patience: Duration,
}

/// The limits of one call.
#[derive(Clone, Copy, Debug)]
pub(super) struct CallTimes {
    /// Nothing has come by then: given up.
    pub first_token: Instant,
    /// Not over by then: given up.
    pub whole: Instant,
}

/// How long an upstream that does not stream may take for the whole answer; its first byte is its last.
const WHOLE_ANSWER: Duration = Duration::from_secs(120);
/// How long usage and the last event are waited for, once every choice has ended.
const GRACE: Duration = Duration::from_secs(2);
/// The largest error body that is read, and how long it may take after its headers. What came by then is judged.
pub(super) const ERROR_BYTES_MAX: usize = 64 << 10;
pub(super) const ERROR_TIME: Duration = Duration::from_secs(5);
/// Bytes of text after which a stream is looked at again for endless repetition.
const CHECK_BYTES: usize = 4 << 10;
/// Answers from this size on are read off the async threads: they take longer than half a millisecond.
const LARGE_ANSWER_BYTES: usize = 128 << 10;

impl Attempt<'_> {
    /// Makes the call and notes it among `attempts`, before the first event where it succeeds. What the upstream's
    /// format cannot express is not sent, and so is no attempt.
    pub async fn run(
        &self,
        permit: &mut Permit,
        attempts: &mut Vec<chat::Attempt>,
        sink: &mut (impl FnMut(Event) -> bool + Send),
    ) -> Called {
        let streams = self.step.upstream.streams(&self.step.model);
        let called = self.call(streams, permit, attempts, sink).await;
        match called.ended {
            Ended::Failed(error) if streams && says_it_cannot_stream(&error) => {
                self.step.upstream.learn_whole_only(&self.step.model);
                self.call(false, permit, attempts, sink).await
            }
            ended => Called { ended, ..called },
        }
    }

    async fn call(
        &self,
        streams: bool,
        permit: &mut Permit,
        attempts: &mut Vec<chat::Attempt>,
        sink: &mut (impl FnMut(Event) -> bool + Send),
    ) -> Called {
        let Step { upstream, model, .. } = self.step;
        let began = Instant::now();
        let outgoing = match upstream.provider.prepare(self.request, model, streams) {
            Ok(outgoing) => outgoing,
            Err(error) => {
                let ended = Ended::Unsendable(error);
                return Called { ended, said: None, first_token: None, took: Duration::ZERO };
            }
        };
        let mut progress = Progress {
            attempt: self,
            began,
            permit,
            sink,
            attempts,
            last_heard: None,
            assembly: Assembly::default(),
            checked: 0,
            first_token: None,
            is_judged: false,
            opened: false,
        };
        let ended = progress.call(outgoing, streams).await;
        let first_token = progress.first_token;
        let said = std::mem::take(&mut progress.assembly).into_answer().map(Box::new);
        let took = began.elapsed();
        let label = match &ended {
            Ended::Answered(answer) if is_refusal(answer) => ProviderErrorKind::Refusal.name(),
            Ended::Answered(_) => "ok",
            Ended::Defective(_, _) => "defective",
            Ended::Stopped => "stopped",
            Ended::Failed(error) | Ended::Broken(error, _) | Ended::Unsendable(error) => error.kind.name(),
        };
        let telemetry = &self.router.telemetry;
        telemetry.upstream_called(&upstream.name, self.step.model_label(), label, took.as_secs_f64());
        self.note(&ended, attempts);
        Called { ended, said, first_token, took }
    }

    /// Notes how a call ended; one that was opened stands there already, as a success.
    fn note(&self, ended: &Ended, attempts: &mut Vec<chat::Attempt>) {
        let result = match ended {
            Ended::Answered(_) | Ended::Stopped | Ended::Unsendable(_) => return,
            Ended::Defective(_, defect) => {
                tracing::debug!(upstream = self.step.name(), defect = defect.name(), "an answer is none");
                ProviderErrorKind::Malformed.name().to_owned()
            }
            Ended::Broken(error, _) => {
                // It was noted as a success when it began.
                attempts.pop();
                error.attempt_label()
            }
            Ended::Failed(error) => {
                // Its class and not its words: a vendor may quote the prompt when it says what is wrong with it. What
                // concerns more than this one request is logged louder, once, when it changes what is done.
                let (upstream, kind, status) = (self.step.name(), error.kind.name(), error.status);
                tracing::debug!(upstream, kind, status, "a call failed");
                error.attempt_label()
            }
        };
        attempts.push(chat::Attempt { upstream: self.step.name(), result });
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
    permit: &'a mut Permit,
    sink: &'a mut S,
    attempts: &'a mut Vec<chat::Attempt>,
    /// When the last piece of a stream came that says something.
    last_heard: Option<Instant>,
    /// What has come of a stream so far.
    assembly: Assembly,
    /// Bytes of its text that were looked at for endless repetition.
    checked: usize,
    first_token: Option<Duration>,
    /// Whether the answer was found to be one before anything of it was handed on.
    is_judged: bool,
    /// Whether anything was handed on.
    opened: bool,
}

/// Why a call goes no further.
enum Halt {
    Failed(ProviderError),
    /// Nobody wants more of it.
    Stopped,
}

impl<E: Into<ProviderError>> From<E> for Halt {
    fn from(error: E) -> Self {
        Self::Failed(error.into())
    }
}

impl<S: FnMut(Event) -> bool + Send> Progress<'_, S> {
    async fn call(&mut self, outgoing: Outgoing, streams: bool) -> Ended {
        let own_time = if streams { self.attempt.patience } else { WHOLE_ANSWER };
        let result = if streams { self.stream(outgoing).await } else { self.whole(outgoing).await };
        let error = match result {
            Ok(answer) => return self.judge(answer),
            Err(Halt::Stopped) => return Ended::Stopped,
            Err(Halt::Failed(error)) => self.hurried(error, own_time),
        };
        if self.take_back() {
            return Ended::Failed(error);
        }
        let said = std::mem::take(&mut self.assembly).into_answer().unwrap_or_default();
        Ended::Broken(error, Box::new(said))
    }

    /// Returns the failure as one that says nothing of the upstream, where the time that passed was not its own.
    fn hurried(&self, error: ProviderError, own_time: Duration) -> ProviderError {
        let idle = Duration::from_millis(self.attempt.step.upstream.timeouts.idle_ms);
        let was_hurried = match self.last_heard {
            None => self.began.elapsed() < own_time,
            Some(last) => last.elapsed() < idle,
        };
        let is_ours = error.kind == ProviderErrorKind::Timeout && !error.is_of_connecting();
        if is_ours && was_hurried { error.blameless() } else { error }
    }

    /// Holds back a whole answer that is none, if that can still be done.
    fn judge(&mut self, answer: ChatResponse) -> Ended {
        let answer = Box::new(answer);
        let defect = if self.is_judged { None } else { quality::defect(self.attempt.request, &answer) };
        match defect {
            Some(defect) if self.take_back() => Ended::Defective(answer, defect),
            _ => Ended::Answered(answer),
        }
    }

    /// Takes back all that was handed on, with the attempt that was noted for it. Returns whether nothing is left.
    fn take_back(&mut self) -> bool {
        if !self.opened {
            return true;
        }
        let is_back = (self.sink)(Event::Withdrawn);
        if is_back {
            // It was noted as a success when it began; how it ended is noted in its place.
            self.attempts.pop();
            self.opened = false;
        }
        is_back
    }

    async fn send(&self, outgoing: Outgoing, first_byte: Instant) -> Result<Incoming, ProviderError> {
        let Attempt { router, step, request, times, .. } = self.attempt;
        let limits = CallLimits {
            connect_timeout: Duration::from_millis(step.upstream.timeouts.connect_ms),
            deadline: times.whole,
            body_bytes_max: BODY_BYTES_MAX,
        };
        let sent = timeout_at(first_byte, router.transport.send(outgoing, limits));
        let response = sent.await.map_err(|_| ProviderError::timeout("response"))??;
        if response.status.as_u16() == 200 {
            router.learn_room(step, request, &response.headers);
            return Ok(response);
        }
        let Incoming { status, headers, body } = response;
        let time = ERROR_TIME.min(first_byte.saturating_duration_since(Instant::now()));
        Err(failed(status, &headers, &body.at_most(ERROR_BYTES_MAX, time).await))
    }

    async fn whole(&mut self, outgoing: Outgoing) -> Result<ChatResponse, Halt> {
        let response = self.send(outgoing, self.whole_deadline()).await?;
        self.read_whole(response.body).await
    }

    fn whole_deadline(&self) -> Instant {
        let times = &self.attempt.times;
        times.whole.min(times.first_token.max(self.began + WHOLE_ANSWER))
    }

    async fn read_whole(&mut self, body: Body) -> Result<ChatResponse, Halt> {
        let bytes = self.read_body(body).await?;
        let mut answer = decode(self.attempt.step.upstream.provider.format(), bytes).await?;
        complete(&mut answer.id, &mut answer.created, &mut answer.model, &self.attempt.step.model);
        if quality::defect(self.attempt.request, &answer).is_some() {
            // Nothing of it has been handed on, and nothing is.
            return Ok(answer);
        }
        self.is_judged = true;
        for delta in answer.deltas() {
            self.hand_on(delta, &answer.model)?;
        }
        Ok(answer)
    }

    /// Reads a body that must not fall silent once it has begun.
    async fn read_body(&mut self, mut body: Body) -> Result<Bytes, ProviderError> {
        let idle = Duration::from_millis(self.attempt.step.upstream.timeouts.idle_ms);
        let mut read = BytesMut::new();
        loop {
            let patience = self.whole_deadline().min(Instant::now() + idle);
            let chunk = timeout_at(patience, body.chunk()).await;
            match chunk.map_err(|_| ProviderError::timeout("rest of the answer"))?? {
                Some(chunk) if read.is_empty() => read = BytesMut::from(chunk),
                Some(chunk) => read.extend_from_slice(&chunk),
                None => return Ok(read.freeze()),
            }
            self.last_heard = Some(Instant::now());
        }
    }

    async fn stream(&mut self, outgoing: Outgoing) -> Result<ChatResponse, Halt> {
        let Attempt { step, request, times, .. } = self.attempt;
        let response = self.send(outgoing, times.first_token).await?;
        if !is_event_stream(&response.headers) {
            // Some servers answer whole although a stream was asked for. Nothing is learned from one answer, which may be
            // a proxy's doing; whoever does so always is better declared, since it has more time then.
            let answer = self.read_whole(response.body).await?;
            if !step.upstream.is_whole_told.swap(true, Ordering::Relaxed) {
                tracing::warn!(
                    upstream = step.name(),
                    model = step.model,
                    "asked to stream, the upstream answered whole; if the model never streams, set `stream = false` for it \
                     under `[[providers.models]]`"
                );
            }
            return Ok(answer);
        }
        let decoder = StreamDecoder::new(step.upstream.provider.format(), request.choices());
        let mut incoming = Stream { body: response.body, decoder, last_token: None, completed: None };
        let mut model = step.model.clone();
        let mut held = Vec::new();
        let mut deltas = Vec::new();
        loop {
            let more = incoming.next(&mut deltas, self.attempt).await;
            self.last_heard = incoming.last_token;
            for mut delta in deltas.drain(..) {
                if let Delta::Start { id, created, model: named, .. } = &mut delta {
                    complete(id, created, named, &step.model);
                    model.clone_from(named);
                }
                self.assembly.push(&delta);
                if self.opened || says_something(&delta) {
                    for held in held.drain(..) {
                        self.hand_on(held, &model)?;
                    }
                    self.hand_on(delta, &model)?;
                } else {
                    held.push(delta);
                }
            }
            if !more? {
                break;
            }
            self.check_for_repetition()?;
        }
        // A last word of the vendor's is no end where a choice has not said why it ended. Some servers ignore how many
        // choices were asked for, so those that began count.
        if !self.assembly.is_finished(1) {
            return Err(ProviderError::broken_off().into());
        }
        for held in held {
            self.hand_on(held, &model)?;
        }
        let answer = std::mem::take(&mut self.assembly).into_answer();
        Ok(answer.ok_or_else(ProviderError::broken_off)?)
    }

    /// Ends a stream that says the same for ever, if nobody has seen it yet: there is no end to wait for.
    fn check_for_repetition(&mut self) -> Result<(), Halt> {
        let text = self.assembly.text();
        if text.len() < self.checked + CHECK_BYTES {
            return Ok(());
        }
        self.checked = text.len();
        if quality::is_endless(text) && self.take_back() {
            // The prompt may have asked for just that.
            let endless = ProviderError::malformed("the answer repeats itself without end");
            return Err(endless.blameless().into());
        }
        Ok(())
    }

    /// Hands a piece on, unless nobody wants it.
    fn hand_on(&mut self, delta: Delta, model: &str) -> Result<(), Halt> {
        let mut is_wanted = true;
        if !self.opened {
            self.opened = true;
            let Attempt { router, step, .. } = self.attempt;
            let elapsed = self.began.elapsed();
            self.first_token = Some(elapsed);
            router.opened(step, self.permit);
            router.telemetry.first_token(&step.upstream.name, step.model_label(), elapsed.as_secs_f64());
            self.attempts.push(chat::Attempt { upstream: step.name(), result: "200".to_owned() });
            is_wanted = (self.sink)(Event::Opened(Opened {
                provider: step.upstream.name.to_string(),
                model: model.to_owned(),
                attempts: self.attempts.clone(),
            }));
        }
        is_wanted &= (self.sink)(Event::Delta(delta));
        if is_wanted { Ok(()) } else { Err(Halt::Stopped) }
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
            let kept = self.decoder.kept();
            let fed = self.decoder.feed(&chunk, deltas);
            if self.decoder.kept() > kept || deltas.iter().any(says_something) {
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
        Delta::Start { .. } | Delta::Late { .. } | Delta::Usage(_) | Delta::Break { .. } => false,
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
