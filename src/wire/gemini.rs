//! Google Gemini's `generateContent`, as we speak it to upstreams.

use super::{AnswerError, Inexpressible, sse};
use crate::chat::{ChatRequest, ChatResponse, Delta};

/// Writes a request for an upstream. Model and streaming stand in the address.
///
/// # Errors
/// Names what the request asks for that this format cannot say.
pub fn encode_request(request: &ChatRequest, model: &str) -> Result<Vec<u8>, Inexpressible> {
    let _ = (request, model);
    Ok(Vec::new())
}

/// Reads a whole answer.
///
/// # Errors
/// When it is an error, a refusal to look at the prompt, no JSON, or says nothing.
pub fn decode_response(body: &[u8]) -> Result<ChatResponse, AnswerError> {
    let _ = body;
    Err(AnswerError::Malformed("not read yet".into()))
}

/// Reads the events of one streamed answer.
#[derive(Debug, Default)]
pub struct ChunkDecoder;

impl ChunkDecoder {
    /// Adds the pieces in one event.
    ///
    /// # Errors
    /// When it is an error, or none of this format.
    pub fn decode(&mut self, event: &sse::Event, deltas: &mut Vec<Delta>) -> Result<(), AnswerError> {
        let _ = (event, deltas);
        Ok(())
    }

    /// Returns whether each of the `choices` asked for has said why it ended.
    pub fn is_finished(&self, choices: u32) -> bool {
        let _ = choices;
        false
    }
}
