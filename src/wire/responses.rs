//! OpenAI Responses, the stateless subset, as clients speak it to us.

use serde_json::{Map, Value};

use super::{Asked, ErrorShape, WireError};
use crate::chat::{ChatResponse, Delta};

/// Reads the body of a client's request. `Delivery::echo` gets the fields that answers repeat.
///
/// # Errors
/// Names the field that has a wrong type or an impossible value, or that this subset does not have.
pub fn parse_request(body: &[u8]) -> Result<Asked, WireError> {
    let _ = body;
    Err(WireError::Field { field: "body".into(), reason: "is not read yet".into() })
}

/// Writes an answer for a client, with the fields of its request that answers repeat.
pub fn encode_response(answer: &ChatResponse, echo: &Map<String, Value>) -> Vec<u8> {
    let _ = (answer, echo);
    Vec::new()
}

/// Writes the events of one stream for a client.
#[derive(Debug, Default)]
pub struct EventEncoder;

impl EventEncoder {
    /// Begins a stream whose answers repeat these fields of the request.
    pub fn new(echo: Map<String, Value>) -> Self {
        let _ = echo;
        Self
    }

    /// Appends the events that carry this piece.
    pub fn push(&mut self, delta: &Delta, out: &mut Vec<u8>) {
        let _ = (delta, out);
    }

    /// Appends the end of a stream that went well.
    pub fn finish(&mut self, out: &mut Vec<u8>) {
        let _ = out;
    }

    /// Appends an error, after which nothing follows.
    pub fn error(&mut self, error: &ErrorShape<'_>, out: &mut Vec<u8>) {
        let _ = (error, out);
    }
}
