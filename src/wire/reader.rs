//! The formats in which vendors answer.

use super::{AnswerError, anthropic, gemini, openai, sse};
use crate::chat::{ChatResponse, Delta};

/// The wire format of an upstream's answers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Format {
    /// OpenAI Chat Completions.
    OpenAi,
    /// Anthropic Messages.
    Anthropic,
    /// Google Gemini's `generateContent`.
    Gemini,
}

impl Format {
    /// Reads a whole answer.
    ///
    /// # Errors
    /// When it is an error, no JSON, or says nothing.
    pub fn decode(self, body: &[u8]) -> Result<ChatResponse, AnswerError> {
        match self {
            Self::OpenAi => openai::decode_response(body),
            Self::Anthropic => anthropic::decode_response(body),
            Self::Gemini => gemini::decode_response(body),
        }
    }
}

/// Reads the events of one streamed answer.
#[derive(Debug)]
pub enum AnswerReader {
    OpenAi(openai::ChunkDecoder),
    Anthropic(anthropic::EventDecoder),
    Gemini(gemini::ChunkDecoder),
}

impl AnswerReader {
    /// Begins to read an answer.
    pub fn new(format: Format) -> Self {
        match format {
            Format::OpenAi => Self::OpenAi(openai::ChunkDecoder::default()),
            Format::Anthropic => Self::Anthropic(anthropic::EventDecoder::default()),
            Format::Gemini => Self::Gemini(gemini::ChunkDecoder::default()),
        }
    }

    /// Adds the pieces in one event; none for a ping.
    ///
    /// # Errors
    /// When the event is an error, or none of this format. Pieces that came before it stay.
    pub fn read(&mut self, event: &sse::Event, deltas: &mut Vec<Delta>) -> Result<(), AnswerError> {
        match self {
            Self::OpenAi(chunks) => chunks.decode(&event.data, deltas),
            Self::Anthropic(events) => events.decode(event, deltas),
            Self::Gemini(chunks) => chunks.decode(event, deltas),
        }
    }

    /// Returns whether each of the `choices` asked for has said why it ended. Usage may still follow.
    pub fn is_finished(&self, choices: u32) -> bool {
        match self {
            Self::OpenAi(chunks) => chunks.is_finished(choices),
            Self::Anthropic(events) => events.is_finished(),
            Self::Gemini(chunks) => chunks.is_finished(choices),
        }
    }

    /// Returns how many pieces were taken in of which nothing is told yet. While it grows the vendor is at work.
    pub const fn kept(&self) -> usize {
        match self {
            Self::OpenAi(_) | Self::Gemini(_) => 0,
            Self::Anthropic(events) => events.kept(),
        }
    }

    /// Returns whether the vendor has said that nothing follows.
    pub const fn is_done(&self) -> bool {
        match self {
            Self::OpenAi(chunks) => chunks.is_done(),
            Self::Anthropic(events) => events.is_done(),
            // It has no last word: the body just ends.
            Self::Gemini(_) => false,
        }
    }
}
