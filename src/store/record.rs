//! The one stored form of requests and answers: JSON with a version.
//!
//! The domain's types are not serialisable on purpose, so that a change there cannot change what is on disk. Both
//! directions take their input apart without `..`: a new field does not compile until it has a place here. A change
//! that old readers would misread raises [`VERSION`]; a new optional field does not.

use serde::{Deserialize, Deserializer, Serialize};
use serde_json::Value;

use super::StoreError;
use super::answer_record::AnswerRecord;
use super::request_record::RequestRecord;
use crate::chat::{ChatRequest, ChatResponse, Message, Role, ToolCall};

/// The version of the form below.
pub(super) const VERSION: u32 = 1;

/// A request as it lies in the store: what many share, and the last prompt, which is nearly always another.
#[derive(Debug)]
pub(super) struct SplitRequest {
    /// The request without its last message where that is a plain prompt, else the whole of it.
    pub(super) context: Vec<u8>,
    /// The text of the last message, where it is a plain prompt.
    pub(super) prompt: Option<String>,
}

/// Writes a request.
pub(super) fn write_request(request: &ChatRequest) -> Result<SplitRequest, StoreError> {
    // PostgreSQL's texts cannot hold a NUL; such a prompt stays in the JSON, which escapes it.
    let prompt = request.last_prompt().filter(|prompt| !prompt.contains('\0'));
    let messages = &request.messages[..request.messages.len() - usize::from(prompt.is_some())];
    Ok(SplitRequest {
        context: to_json(&RequestRecord::new(request, messages))?,
        prompt: prompt.map(str::to_owned),
    })
}

/// Reads a request back; `None` if it is not in a form we know.
pub(super) fn read_request(context: &[u8], prompt: Option<String>) -> Option<ChatRequest> {
    let record: RequestRecord = serde_json::from_slice(context).ok()?;
    if record.v != VERSION {
        return None;
    }
    let mut request = record.into_request();
    request.messages.extend(prompt.map(|prompt| Message::text(Role::User, prompt)));
    Some(request)
}

/// Writes an answer and its entry's tags.
pub(super) fn write_answer(answer: &ChatResponse, tags: &[String]) -> Result<Vec<u8>, StoreError> {
    to_json(&AnswerRecord::new(answer, tags))
}

/// Reads an answer and its entry's tags back; `None` if it is not in a form we know.
pub(super) fn read_answer(bytes: &[u8]) -> Option<(ChatResponse, Vec<String>)> {
    let record: AnswerRecord = serde_json::from_slice(bytes).ok()?;
    (record.v == VERSION).then(|| record.into_answer())
}

fn to_json(record: &impl Serialize) -> Result<Vec<u8>, StoreError> {
    serde_json::to_vec(record).map_err(|_| StoreError::Unfit { reason: "it has no JSON form" })
}

/// Reads a field that is there, even where it says `null`: that is not the same request as an absent field.
pub(super) fn present<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<Value>, D::Error> {
    Value::deserialize(deserializer).map(Some)
}

#[derive(Serialize, Deserialize)]
pub(super) struct ToolCallRecord {
    id: String,
    name: String,
    arguments: String,
}

pub(super) fn tool_call_record(call: &ToolCall) -> ToolCallRecord {
    let ToolCall { id, name, arguments } = call.clone();
    ToolCallRecord { id, name, arguments }
}

impl ToolCallRecord {
    pub(super) fn into_tool_call(self) -> ToolCall {
        ToolCall { id: self.id, name: self.name, arguments: self.arguments }
    }
}
