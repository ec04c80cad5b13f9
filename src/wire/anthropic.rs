//! Anthropic Messages, both directions: as clients speak it to us, and as we speak it to upstreams.

use super::{AnswerError, Asked, ErrorShape, Inexpressible, WireError, sse};
use crate::chat::{ChatRequest, ChatResponse, Delta};

/// Reads the body of a client's request.
///
/// # Errors
/// Names the field that has a wrong type or an impossible value.
pub fn parse_request(body: &[u8]) -> Result<Asked, WireError> {
    let _ = body;
    Err(WireError::Field { field: "body".into(), reason: "is not read yet".into() })
}

/// Reads the body of a client who only wants its request counted: the same without `max_tokens`.
///
/// # Errors
/// As [`parse_request`].
pub fn parse_count(body: &[u8]) -> Result<Asked, WireError> {
    parse_request(body)
}

/// Writes an answer for a client.
pub fn encode_response(answer: &ChatResponse) -> Vec<u8> {
    let _ = answer;
    Vec::new()
}

/// Writes an error for a client.
pub fn encode_error(error: &ErrorShape<'_>, request_id: &str) -> Vec<u8> {
    let _ = (error, request_id);
    Vec::new()
}

/// Writes the events of one stream for a client.
#[derive(Debug, Default)]
pub struct EventEncoder;

impl EventEncoder {
    /// Appends the events that carry this piece.
    pub fn push(&mut self, delta: &Delta, out: &mut Vec<u8>) {
        let _ = (delta, out);
    }

    /// Appends the end of a stream that went well.
    pub fn finish(&mut self, out: &mut Vec<u8>) {
        let _ = out;
    }

    /// Appends an error, after which nothing follows, `message_stop` least of all.
    pub fn error(&mut self, error: &ErrorShape<'_>, out: &mut Vec<u8>) {
        let _ = (error, out);
    }
}

/// Writes a request for an upstream that speaks this dialect.
///
/// # Errors
/// Names what the request asks for that this dialect cannot say.
pub fn encode_request(request: &ChatRequest, model: &str, stream: bool) -> Result<Vec<u8>, Inexpressible> {
    let _ = (request, model, stream);
    Ok(Vec::new())
}

/// Reads a whole answer of an upstream.
///
/// # Errors
/// When it is an error, no JSON, or says nothing.
pub fn decode_response(body: &[u8]) -> Result<ChatResponse, AnswerError> {
    let _ = body;
    Err(AnswerError::Malformed("not read yet".into()))
}

/// Reads the events of one streamed answer.
#[derive(Debug, Default)]
pub struct EventDecoder;

impl EventDecoder {
    /// Adds the pieces in one event.
    ///
    /// # Errors
    /// When it is an error, or none of this format.
    pub fn decode(&mut self, event: &sse::Event, deltas: &mut Vec<Delta>) -> Result<(), AnswerError> {
        let _ = (event, deltas);
        Ok(())
    }

    /// Returns whether the answer has said why it ended.
    pub const fn is_finished(&self) -> bool {
        false
    }

    /// Returns whether `message_stop` has come.
    pub const fn is_done(&self) -> bool {
        false
    }
}
