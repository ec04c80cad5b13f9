//! The events of a streamed answer, in either dialect.

use super::error::HttpError;
use super::generate;
use crate::chat::{ChatResponse, Delta};
use crate::gateway::Conclusion;
use crate::wire::Delivery;
use crate::wire::native::{self, NativeAnswer};
use crate::wire::openai::ChunkEncoder;

/// Room for one event of a few tokens, with all that OpenAI writes around them.
const EVENT_BYTES: usize = 256;

/// Writes the events of one stream.
#[derive(Debug)]
pub(super) enum Writer {
    OpenAi(ChunkEncoder),
    /// With the summary that ends the stream.
    Native(Box<NativeAnswer>),
}

impl Writer {
    /// Begins a stream: in our own format where there is a summary to end it with, else in OpenAI's.
    pub(super) fn new(summary: Option<NativeAnswer>, delivery: Delivery) -> Self {
        match summary {
            Some(summary) => Self::Native(Box::new(summary)),
            None => Self::OpenAi(ChunkEncoder::new(delivery.include_usage)),
        }
    }

    /// Appends the events of a piece, which may be none.
    pub(super) fn push(&mut self, delta: &Delta, out: &mut Vec<u8>) {
        match self {
            Self::OpenAi(encoder) => encoder.push(delta, out),
            Self::Native(_) => {
                if let Delta::Text { choice: 0, text } = delta {
                    native::encode_delta(text, out);
                }
            }
        }
    }

    /// Appends the end of a stream that went well.
    pub(super) fn finish(&mut self, out: &mut Vec<u8>) {
        match self {
            Self::OpenAi(encoder) => encoder.finish(out),
            Self::Native(summary) => native::encode_summary(summary, out),
        }
    }

    /// Takes in what only the end of the stream tells.
    pub(super) fn conclude(&mut self, conclusion: &Conclusion) {
        if let Self::Native(summary) = self {
            generate::conclude(summary, conclusion);
        }
    }

    /// Appends an error. Nothing follows it, `[DONE]` least of all: the answer is not done.
    pub(super) fn fail(&self, error: &HttpError, out: &mut Vec<u8>) {
        match self {
            Self::OpenAi(_) => ChunkEncoder::error(&error.shape(), out),
            Self::Native(_) => native::encode_stream_error(&error.shape(), out),
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
