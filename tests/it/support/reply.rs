//! What a fake upstream says, and when: scripted, or made from the prompt.
//!
//! What an answer is made of and how it is written is each vendor's own; how it is delivered is told here.

use std::sync::Arc;
use std::time::Duration;

use axum::body::{Body, Bytes};
use axum::response::Response;
use futures_util::{Stream, StreamExt, stream};
use tokio::sync::watch;

use super::openai;
use super::upstream::{Asked, Vendor};

/// One answer of an upstream that speaks Chat Completions.
pub type Reply = Scripted<openai::Words>;

/// Returns what the upstream answers to a prompt that nothing was scripted for.
pub fn answer_to(prompt: &str) -> String {
    format!("What I know about \"{prompt}\" is this and that.")
}

/// Something that waits until a test lets it go on.
#[derive(Clone, Debug)]
pub struct Gate(Arc<watch::Sender<bool>>);

impl Gate {
    /// Returns a gate that is shut.
    pub fn shut() -> Self {
        Self(Arc::new(watch::Sender::new(false)))
    }

    pub fn open(&self) {
        self.0.send_replace(true);
    }

    /// Waits until it is open.
    pub async fn passed(&self) {
        // The sender lives as long as this gate.
        let _ = self.0.subscribe().wait_for(|is_open| *is_open).await;
    }
}

/// One answer of an upstream whose answers are made of `W`.
#[derive(Clone, Debug)]
pub struct Scripted<W> {
    kind: Kind<W>,
    headers: Vec<(&'static str, &'static str)>,
    before: Option<Gate>,
    midway: Option<Gate>,
    ends: Ends,
    /// Tokens of prompt and answer.
    usage: Option<(u64, u64)>,
    /// Said in place of a stream: a status and a body.
    refuses_to_stream: Option<(u16, String)>,
    /// Said in place of the first half of a stream.
    opening: Option<Bytes>,
    /// Said over and over in place of what comes after the opening.
    murmur: Option<&'static str>,
}

#[derive(Clone, Debug)]
enum Kind<W> {
    Words(W),
    Error(u16, String),
    /// These bytes under this content type, whatever was asked.
    Bytes(&'static str, Vec<u8>),
}

/// How a stream ends.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Ends {
    Whole,
    /// The connection breaks after half of the text.
    Cut,
    /// The body ends in good order after half of the text.
    Early,
    /// These bytes, and nothing more, follow on half of the text.
    With(Bytes),
}

impl<W> Scripted<W> {
    fn of(kind: Kind<W>) -> Self {
        Self {
            kind,
            headers: Vec::new(),
            before: None,
            midway: None,
            ends: Ends::Whole,
            usage: Some((9, 12)),
            refuses_to_stream: None,
            opening: None,
            murmur: None,
        }
    }

    pub(super) fn words(words: W) -> Self {
        Self::of(Kind::Words(words))
    }

    /// Fails with this status and body.
    pub fn failing(status: u16, body: String) -> Self {
        Self::of(Kind::Error(status, body))
    }

    /// Answers 200 with bytes that are no answer.
    pub fn bytes(content_type: &'static str, bytes: impl Into<Vec<u8>>) -> Self {
        Self::of(Kind::Bytes(content_type, bytes.into()))
    }

    pub fn header(mut self, name: &'static str, value: &'static str) -> Self {
        self.headers.push((name, value));
        self
    }

    /// Says nothing, not even a status, before the gate opens.
    pub fn held(mut self, gate: &Gate) -> Self {
        self.before = Some(gate.clone());
        self
    }

    /// Says half of its text, and the rest when the gate opens. A gate that never opens is a stall.
    pub fn held_midway(mut self, gate: &Gate) -> Self {
        self.midway = Some(gate.clone());
        self
    }

    /// Says half of its text, then breaks the connection.
    pub fn cut_midway(mut self) -> Self {
        self.ends = Ends::Cut;
        self
    }

    /// Says half of its text and ends there, as if that were all.
    pub fn ending_early(mut self) -> Self {
        self.ends = Ends::Early;
        self
    }

    /// Says half of its text and then these bytes, as they are.
    pub fn ending_with(mut self, bytes: impl Into<Bytes>) -> Self {
        self.ends = Ends::With(bytes.into());
        self
    }

    /// Says these bytes in place of the first half of a stream.
    pub fn opening_with(mut self, bytes: impl Into<Bytes>) -> Self {
        self.opening = Some(bytes.into());
        self
    }

    /// Says this over and over, after the opening or in place of everything, for as long as anybody listens.
    pub fn murmuring(mut self, text: &'static str) -> Self {
        self.murmur = Some(text);
        self
    }

    /// Counts this many tokens of prompt and answer.
    pub fn usage(mut self, prompt: u64, completion: u64) -> Self {
        self.usage = Some((prompt, completion));
        self
    }

    /// Counts no tokens.
    pub fn without_usage(mut self) -> Self {
        self.usage = None;
        self
    }

    pub(super) fn refusing_to_stream(mut self, status: u16, body: String) -> Self {
        self.refuses_to_stream = Some((status, body));
        self
    }

    pub(super) fn words_mut(&mut self) -> &mut W {
        match &mut self.kind {
            Kind::Words(words) => words,
            Kind::Error(..) | Kind::Bytes(..) => panic!("only an answer is made of words"),
        }
    }

    /// Answers one request.
    pub(super) async fn respond<V: Vendor<Words = W>>(&self, vendor: &V, asked: &Asked) -> Response {
        if let Some(gate) = &self.before {
            gate.passed().await;
        }
        let (status, content_type, body) = match (&self.kind, &self.refuses_to_stream) {
            (_, Some((status, body))) if asked.streams => {
                (*status, "application/json", Body::from(body.clone()))
            }
            (Kind::Error(status, body), _) => (*status, "application/json", Body::from(body.clone())),
            (Kind::Bytes(content_type, bytes), _) => (200, *content_type, Body::from(bytes.clone())),
            (Kind::Words(_), _) if let (Some(text), true) = (self.murmur, asked.streams) => {
                (200, "text/event-stream", Body::from_stream(murmured(self.opening.clone(), text)))
            }
            (Kind::Words(words), _) if asked.streams => {
                let mut halves = vendor.events(words, asked, self.usage);
                if let Some(opening) = &self.opening {
                    halves[0] = vec![opening.clone()];
                }
                let delivered = delivered(halves, self.midway.clone(), self.ends.clone());
                (200, "text/event-stream", Body::from_stream(delivered))
            }
            (Kind::Words(words), _) => {
                let whole = vendor.whole(words, asked, self.usage);
                (200, "application/json", Body::from(whole.to_string()))
            }
        };
        let mut response = written(status, content_type, body);
        for (name, value) in &self.headers {
            response.headers_mut().insert(*name, value.parse().expect("a header value"));
        }
        response
    }
}

/// Returns events as they are sent. They stop for the gate, or for ever, between their halves.
fn delivered(
    [first, second]: [Vec<Bytes>; 2],
    midway: Option<Gate>,
    ends: Ends,
) -> impl Stream<Item = std::io::Result<Bytes>> {
    let rest = stream::once(async move {
        if let Some(gate) = midway {
            gate.passed().await;
        }
        // What was said is flushed only when there is nothing to say at once; a break would take it along.
        tokio::task::yield_now().await;
        stream::iter(match ends {
            Ends::Whole => second.into_iter().map(Ok).collect(),
            Ends::Cut => vec![Err(std::io::Error::other("cut"))],
            Ends::Early => Vec::new(),
            Ends::With(bytes) => vec![Ok(bytes)],
        })
    });
    stream::iter(first.into_iter().map(Ok)).chain(rest.flatten())
}

/// Returns an opening, and then a text again and again, with a moment between.
fn murmured(opening: Option<Bytes>, text: &'static str) -> impl Stream<Item = std::io::Result<Bytes>> {
    let tick = tokio::time::interval(Duration::from_millis(10));
    let murmurs = stream::unfold(tick, move |mut tick| async move {
        tick.tick().await;
        Some((Ok(Bytes::from_static(text.as_bytes())), tick))
    });
    stream::iter(opening.map(Ok)).chain(murmurs)
}

/// Returns the words of a text, each with the space after it.
pub(super) fn pieces(text: &str) -> Vec<&str> {
    text.split_inclusive(' ').collect()
}

pub(super) fn written(status: u16, content_type: &str, body: Body) -> Response {
    Response::builder().status(status).header("content-type", content_type).body(body).expect("a response")
}
