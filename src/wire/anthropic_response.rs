//! A whole Anthropic Messages answer or error: read from an upstream, written to a client.

use serde::ser::SerializeMap;
use serde::{Serialize, Serializer};
use serde_json::{Map, Value};

use super::ErrorShape;
use super::anthropic_message::{OutBlock, input_of, plain_call, signature_of, text_part};
use super::anthropic_usage::{OutUsage, read_usage};
use super::failure::{AnswerError, ErrorBody, parse};
use super::openai_response::WRITES;
use crate::chat::{ChatResponse, Choice, Dialect, FinishReason, Part, Reasoning, ToolCall};

/// Reads a whole answer. Fields that we do not know are kept.
///
/// An answer without any content is one: models end their turn so after a tool's result, and a classifier that refuses
/// leaves nothing else.
///
/// # Errors
/// When it is an error, no JSON, or says neither anything nor why.
pub fn decode_response(body: &[u8]) -> Result<ChatResponse, AnswerError> {
    let Value::Object(fields) = parse(body)? else {
        return Err(AnswerError::malformed("the answer is not an object"));
    };
    let Head { id, model, content, stop_reason, stop_sequence, usage, unknown, late } = Head::read(fields)?;
    let Some(blocks) = content else {
        return Err(AnswerError::malformed("the answer has no content"));
    };
    let mut content = Vec::with_capacity(blocks.len());
    for block in blocks {
        let Value::Object(fields) = block else {
            return Err(AnswerError::malformed("a content block is not an object"));
        };
        content.extend(read_part(fields));
    }
    let finish = stop_reason.map(|word| read_finish(word, stop_sequence));
    if content.is_empty() && finish.is_none() {
        return Err(AnswerError::malformed("the answer says nothing"));
    }
    Ok(ChatResponse {
        id,
        created: 0, // Anthropic does not say.
        model,
        choices: vec![Choice { index: 0, content, finish, logprobs: None, unknown: late }],
        usage: read_usage(usage),
        dialect: Dialect::Anthropic,
        unknown,
    })
}

/// The fields of an answer that are known only at its end. In a stream they come with why it ended, so that they are
/// the message's, where those of the beginning are the answer's.
const LATE: [&str; 3] = ["stop_details", "container", "context_management"];

/// The fields of an answer, or of the beginning of one.
#[derive(Default)]
pub(super) struct Head {
    pub(super) id: String,
    pub(super) model: String,
    content: Option<Vec<Value>>,
    stop_reason: Option<String>,
    stop_sequence: Option<String>,
    pub(super) usage: Map<String, Value>,
    /// Fields that we do not know.
    pub(super) unknown: Map<String, Value>,
    /// Those of [`LATE`].
    pub(super) late: Map<String, Value>,
}

impl Head {
    pub(super) fn read(fields: Map<String, Value>) -> Result<Self, AnswerError> {
        let mut head = Self::default();
        for (field, value) in fields {
            match (field.as_str(), value) {
                (_, Value::Null) => {}
                ("error", error) => {
                    return Err(AnswerError::Error(ErrorBody::read(&error).unwrap_or_default()));
                }
                ("id", Value::String(id)) => head.id = id,
                ("model", Value::String(model)) => head.model = model,
                ("content", Value::Array(blocks)) => head.content = Some(blocks),
                ("stop_reason", Value::String(word)) => head.stop_reason = Some(word),
                ("stop_sequence", Value::String(text)) => head.stop_sequence = Some(text),
                ("usage", Value::Object(usage)) => head.usage = usage,
                (
                    "id" | "model" | "content" | "stop_reason" | "stop_sequence" | "usage" | "type" | "role",
                    _,
                ) => {}
                (known, value) if LATE.contains(&known) => drop(head.late.insert(field, value)),
                (_, value) => drop(head.unknown.insert(field, value)),
            }
        }
        Ok(head)
    }
}

/// Reads a content block of an answer; `None` where it says nothing, since a block that is sent back must say
/// something. What vendors add to texts and thoughts is left out, since everybody shall see those.
fn read_part(mut fields: Map<String, Value>) -> Option<Part> {
    let text = |fields: &mut Map<String, Value>, field: &str| match fields.remove(field) {
        Some(Value::String(text)) => text,
        _ => String::new(),
    };
    match fields.get("type").and_then(Value::as_str) {
        Some("text") => {
            let citations = match fields.remove("citations") {
                Some(Value::Array(citations)) => citations,
                _ => Vec::new(),
            };
            let text = text(&mut fields, "text");
            (!text.is_empty() || !citations.is_empty()).then(|| text_part(text, citations))
        }
        Some("thinking") => {
            let signature = signature_of(&fields);
            let text = text(&mut fields, "thinking");
            (!text.is_empty() || signature.is_some())
                .then_some(Part::Reasoning(Reasoning { text, signature }))
        }
        Some("tool_use") => Some(plain_call(&fields).unwrap_or(Part::Other(fields))),
        _ => Some(Part::Other(fields)),
    }
}

/// Reads why an answer ended.
pub(super) fn read_finish(word: String, sequence: Option<String>) -> FinishReason {
    match (word.as_str(), sequence) {
        ("stop_sequence", Some(text)) => FinishReason::StopText(text),
        ("end_turn" | "stop_sequence", _) => FinishReason::Stop,
        ("max_tokens", _) => FinishReason::Length,
        ("tool_use", _) => FinishReason::ToolCalls,
        ("refusal", _) => FinishReason::Refusal,
        _ => FinishReason::Other(word),
    }
}

/// Why an answer ended, in Anthropic's words; in nobody's while it has not.
#[derive(Clone, Copy, Default, Serialize)]
pub(super) struct OutFinish<'a> {
    stop_reason: Option<&'a str>,
    stop_sequence: Option<&'a str>,
}

impl<'a> OutFinish<'a> {
    /// `is_own` says whether the answer came in this dialect: a word that we do not know is another one's otherwise.
    pub(super) fn of(finish: Option<&'a FinishReason>, is_own: bool) -> Self {
        let stop_reason = finish.map(|finish| match finish {
            FinishReason::Stop => "end_turn",
            FinishReason::StopText(_) => "stop_sequence",
            FinishReason::Length => "max_tokens",
            FinishReason::ToolCalls => "tool_use",
            FinishReason::ContentFilter | FinishReason::Refusal => "refusal",
            FinishReason::Other(word) if is_own => word,
            FinishReason::Other(_) => "end_turn",
        });
        let stop_sequence = match finish {
            Some(FinishReason::StopText(text)) => Some(text.as_str()),
            _ => None,
        };
        Self { stop_reason, stop_sequence }
    }
}

/// Writes an answer for a client: its first choice, since this dialect has but one. What other vendors know besides,
/// and sources in their form, it does not show.
pub fn encode_response(answer: &ChatResponse) -> Vec<u8> {
    let ChatResponse { id, created: _, model, choices, usage, dialect, unknown } = answer;
    let is_own = *dialect == Dialect::Anthropic;
    let choice = choices.first();
    let blocks = choice.map_or(&[][..], |choice| &choice.content).iter();
    let texts = blocks.clone().filter_map(Part::text);
    let mut out = Vec::with_capacity(512 + texts.map(str::len).sum::<usize>() * 17 / 16);
    let none = Map::new();
    let message = OutMessage {
        id,
        model,
        content: blocks.filter_map(|part| out_block(part, is_own)).collect(),
        finish: OutFinish::of(choice.and_then(|choice| choice.finish.as_ref()), is_own),
        usage: OutUsage { usage: usage.as_ref(), with_unknown: is_own, is_start: false },
        unknown: if is_own { [unknown, choice.map_or(&none, |choice| &choice.unknown)] } else { [&none; 2] },
    };
    serde_json::to_writer(&mut out, &message).expect(WRITES);
    out
}

/// An answer on its way to a client, or the beginning of one.
pub(super) struct OutMessage<'a> {
    pub(super) id: &'a str,
    pub(super) model: &'a str,
    pub(super) content: Vec<OutBlock<'a>>,
    pub(super) finish: OutFinish<'a>,
    pub(super) usage: OutUsage<'a>,
    /// Fields that we do not know: the answer's and the message's.
    pub(super) unknown: [&'a Map<String, Value>; 2],
}

impl Serialize for OutMessage<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let Self { id, model, content, finish, usage, unknown } = self;
        let mut map = serializer.serialize_map(None)?;
        map.serialize_entry("id", id)?;
        map.serialize_entry("type", "message")?;
        map.serialize_entry("role", "assistant")?;
        map.serialize_entry("model", model)?;
        map.serialize_entry("content", content)?;
        map.serialize_entry("stop_reason", &finish.stop_reason)?;
        map.serialize_entry("stop_sequence", &finish.stop_sequence)?;
        map.serialize_entry("usage", usage)?;
        for (field, value) in unknown.iter().copied().flatten() {
            map.serialize_entry(field, value)?;
        }
        map.end()
    }
}

/// Returns a part of an answer as a block; `None` where it has none here, or says nothing.
///
/// A thought is shown whoever had it, but sealed only where Anthropic did: it takes nobody else's seal back.
fn out_block(part: &Part, is_own: bool) -> Option<OutBlock<'_>> {
    match part {
        Part::Cited { text, citations } if is_own => Some(OutBlock::Text { text, citations }),
        Part::Text(text) | Part::Cited { text, .. } | Part::Refusal(text) => {
            (!text.is_empty()).then(|| OutBlock::text(text))
        }
        Part::Reasoning(Reasoning { text, signature }) => {
            let signature = signature.as_deref().filter(|_| is_own).unwrap_or_default();
            (!text.is_empty() || !signature.is_empty())
                .then_some(OutBlock::Thinking { thinking: text, signature })
        }
        Part::ToolCall(ToolCall { id, name, arguments, signature: _ }) => {
            // Arguments that are no object have no form here. Anthropic's own always are one.
            let input = input_of(arguments).or_else(|| input_of("{}"))?;
            Some(OutBlock::ToolUse { id, name, input })
        }
        Part::Other(fields) => is_own.then_some(OutBlock::Other(fields)),
        Part::Image(_) => None,
    }
}

/// Writes an error for a client.
pub fn encode_error(error: &ErrorShape<'_>, request_id: &str) -> Vec<u8> {
    let mut out = Vec::with_capacity(192);
    write_error(error, Some(request_id), &mut out);
    out
}

/// Appends an error; the events of a stream do not name the request.
pub(super) fn write_error(error: &ErrorShape<'_>, request_id: Option<&str>, out: &mut Vec<u8>) {
    #[derive(Serialize)]
    struct Body<'a> {
        r#type: &'static str,
        error: Fields<'a>,
        #[serde(skip_serializing_if = "Option::is_none")]
        request_id: Option<&'a str>,
    }
    #[derive(Serialize)]
    struct Fields<'a> {
        r#type: &'static str,
        message: &'a str,
    }
    let ErrorShape { status, message, kind: _, param: _, code: _ } = *error;
    let body = Body { r#type: "error", error: Fields { r#type: error_type(status), message }, request_id };
    serde_json::to_writer(out, &body).expect(WRITES);
}

/// Returns Anthropic's class of errors with this status (its API reference, "Errors").
const fn error_type(status: u16) -> &'static str {
    match status {
        401 => "authentication_error",
        402 => "billing_error",
        403 => "permission_error",
        404 => "not_found_error",
        409 => "conflict_error",
        413 => "request_too_large",
        429 => "rate_limit_error",
        400..500 => "invalid_request_error",
        503 | 529 => "overloaded_error",
        504 => "timeout_error",
        _ => "api_error",
    }
}
