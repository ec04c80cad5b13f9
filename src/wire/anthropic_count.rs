//! What Anthropic's token counting takes and gives: `/v1/messages/count_tokens`.

use serde::Serialize;
use serde_json::{Map, Value};

use super::anthropic_request::encode_request;
use super::failure::parse;
use super::openai_response::WRITES;
use super::{AnswerError, Inexpressible};
use crate::chat::ChatRequest;

/// The fields of a request that may be counted; it refuses all others (SDK 2.10, `MessageCountTokensParams`).
const COUNTED: [&str; 8] =
    ["model", "messages", "system", "tools", "tool_choice", "thinking", "output_config", "speed"];

/// Writes a request whose tokens are to be counted.
///
/// # Errors
/// As [`encode_request`].
pub fn encode_count(request: &ChatRequest, model: &str) -> Result<Vec<u8>, Inexpressible> {
    let whole = encode_request(request, model, false)?;
    let mut fields: Map<String, Value> = serde_json::from_slice(&whole).expect("it was written a moment ago");
    fields.retain(|field, _| COUNTED.contains(&field.as_str()));
    Ok(serde_json::to_vec(&fields).expect(WRITES))
}

/// Reads a count.
///
/// # Errors
/// When it is none.
pub fn decode_count(body: &[u8]) -> Result<u64, AnswerError> {
    let value = parse(body)?;
    let count = value.get("input_tokens").and_then(Value::as_u64);
    count.ok_or_else(|| AnswerError::malformed("there is no `input_tokens`"))
}

/// Writes a count for a client. One that no vendor made says so, in a field that Anthropic does not have.
pub fn write_count(input_tokens: u64, is_estimated: bool) -> Vec<u8> {
    #[derive(Serialize)]
    struct Count {
        input_tokens: u64,
        #[serde(skip_serializing_if = "std::ops::Not::not")]
        estimated: bool,
    }
    serde_json::to_vec(&Count { input_tokens, estimated: is_estimated }).expect(WRITES)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_is_counted_is_sent() {
        let mut request = ChatRequest::from_prompt("q");
        request.sampling.temperature = Some(0.5);
        let body: Value = serde_json::from_slice(&encode_count(&request, "claude-x").unwrap()).unwrap();
        let fields: Vec<_> = body.as_object().unwrap().keys().map(String::as_str).collect();
        assert_eq!(fields, ["model", "messages"]);
    }

    #[test]
    fn a_count_is_read_and_written() {
        assert_eq!(decode_count(&write_count(7, false)), Ok(7));
        assert_eq!(write_count(7, true), br#"{"input_tokens":7,"estimated":true}"#);
        assert!(decode_count(br#"{"input_tokens": -1}"#).is_err());
    }
}
