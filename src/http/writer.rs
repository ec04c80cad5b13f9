//! An answer in the caller's dialect, whole or as the events of a stream.

use super::error::HttpError;
use super::generate;
use crate::chat::{ChatResponse, Delta, Dialect};
use crate::gateway::Conclusion;
use crate::wire::native::{self, NativeAnswer};
use crate::wire::openai::ChunkEncoder;
use crate::wire::{Delivery, anthropic, openai, responses};

/// Room for one event of a few tokens, with all that the dialects write around them.
const EVENT_BYTES: usize = 256;

/// Writes a whole answer; `summary` is what our own format says around its text.
pub(super) fn whole(
    dialect: Dialect,
    summary: NativeAnswer,
    answer: &ChatResponse,
    delivery: &Delivery,
) -> Vec<u8> {
    match dialect {
        Dialect::Native => {
            let text = Some(answer.text().into_owned());
            native::encode_answer(&NativeAnswer { text, ..summary })
        }
        Dialect::OpenAi => openai::encode_response(answer),
        Dialect::Responses => responses::encode_response(answer, &delivery.echo),
        Dialect::Anthropic => anthropic::encode_response(answer),
    }
}

/// Writes the events of one stream.
#[derive(Debug)]
pub(super) enum Writer {
    /// With the summary that ends the stream.
    Native(Box<NativeAnswer>),
    OpenAi(Box<ChunkEncoder>),
    Responses(Box<responses::EventEncoder>),
    Anthropic(Box<anthropic::EventEncoder>),
}

impl Writer {
    /// Begins a stream.
    pub(super) fn new(dialect: Dialect, summary: NativeAnswer, delivery: Delivery) -> Self {
        match dialect {
            Dialect::Native => Self::Native(Box::new(summary)),
            Dialect::OpenAi => Self::OpenAi(Box::new(ChunkEncoder::new(delivery.include_usage))),
            Dialect::Responses => Self::Responses(Box::new(responses::EventEncoder::new(delivery.echo))),
            Dialect::Anthropic => Self::Anthropic(Box::default()),
        }
    }

    /// Appends the events of a piece, which may be none.
    pub(super) fn push(&mut self, delta: &Delta, out: &mut Vec<u8>) {
        match self {
            Self::Native(_) => {
                if let Delta::Text { choice: 0, text } = delta {
                    native::encode_delta(text, out);
                }
            }
            Self::OpenAi(encoder) => encoder.push(delta, out),
            Self::Responses(encoder) => encoder.push(delta, out),
            Self::Anthropic(encoder) => encoder.push(delta, out),
        }
    }

    /// Appends the end of a stream that went well.
    pub(super) fn finish(&mut self, out: &mut Vec<u8>) {
        match self {
            Self::Native(summary) => native::encode_summary(summary, out),
            Self::OpenAi(encoder) => encoder.finish(out),
            Self::Responses(encoder) => encoder.finish(out),
            Self::Anthropic(encoder) => encoder.finish(out),
        }
    }

    /// Takes in what only the end of the stream tells.
    pub(super) fn conclude(&mut self, conclusion: &Conclusion) {
        if let Self::Native(summary) = self {
            generate::conclude(summary, conclusion);
        }
    }

    /// Appends an error. Nothing follows it, the dialect's last word least of all: the answer is not done.
    pub(super) fn fail(&mut self, error: &HttpError, out: &mut Vec<u8>) {
        match self {
            Self::Native(_) => native::encode_stream_error(&error.shape(), out),
            Self::OpenAi(_) => ChunkEncoder::error(&error.shape(), out),
            Self::Responses(encoder) => encoder.error(&error.shape(), out),
            Self::Anthropic(encoder) => encoder.error(&error.shape(), out),
        }
    }

    /// Returns the whole stream of an answer that is there already.
    pub(super) fn replay(mut self, answer: &ChatResponse) -> Vec<u8> {
        let deltas = answer.deltas();
        let mut out = Vec::with_capacity(deltas.len() * EVENT_BYTES);
        for delta in &deltas {
            self.push(delta, &mut out);
        }
        self.finish(&mut out);
        out
    }
}
