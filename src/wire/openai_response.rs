//! A whole Chat Completions answer or error: read from an upstream, written to a client.

use serde::ser::SerializeMap;
use serde::{Serialize, Serializer};
use serde_json::{Map, Value};

use super::ErrorShape;
use super::openai_message::{OutCalls, plain_calls};
use crate::chat::{ChatResponse, Choice, FinishReason, Usage};

/// The most tokens that a count is believed to mean; beyond it the vendor did not count.
const BELIEVABLE_TOKENS: u64 = 1_000_000_000;

/// What an upstream's body can be instead of an answer.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum AnswerError {
    /// It is no answer; the text says what is wrong with it and quotes none of it.
    #[error("{0}")]
    Malformed(String),
    /// It is an error, though the status said otherwise.
    #[error("the upstream answered with an error")]
    Error(ErrorBody),
}

impl AnswerError {
    pub(super) fn malformed(reason: impl Into<String>) -> Self {
        Self::Malformed(reason.into())
    }
}

/// An upstream's error, in as much of OpenAI's shape as it has.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ErrorBody {
    pub message: String,
    pub kind: Option<String>,
    pub param: Option<String>,
    /// The code as text. vLLM, OpenRouter and others send the status here, as a number.
    pub code: Option<String>,
}

impl ErrorBody {
    /// Returns the status that stands in the code, where one does.
    pub fn status(&self) -> Option<u16> {
        self.code.as_ref()?.parse().ok().filter(|status| (400..600).contains(status))
    }

    /// Reads what stands in the field `error`, or in the whole body where there is none: an object, or only a text.
    pub(super) fn read(value: &Value) -> Option<Self> {
        let text = |value: Option<&Value>| match value? {
            Value::String(text) => Some(text.clone()),
            Value::Number(number) => Some(number.to_string()),
            _ => None,
        };
        match value.get("error").unwrap_or(value) {
            Value::String(message) => Some(Self { message: message.clone(), ..Self::default() }),
            Value::Object(fields) => {
                let body = Self {
                    message: text(fields.get("message")).unwrap_or_default(),
                    kind: text(fields.get("type")),
                    param: text(fields.get("param")),
                    code: text(fields.get("code")),
                };
                (body != Self::default()).then_some(body)
            }
            _ => None,
        }
    }
}

/// Reads the body of a response with an error status; `None` where it is not JSON or says nothing.
pub fn decode_error(body: &[u8]) -> Option<ErrorBody> {
    let value: Value = serde_json::from_slice(body).ok()?;
    // Gemini's compatible endpoint wraps its error object in a list of one.
    ErrorBody::read(value.get(0).unwrap_or(&value))
}

/// Reads a whole answer. Fields of the answer and of its messages that we do not know are kept; those of the choices
/// between them, which the domain has no place for, are not.
///
/// # Errors
/// When it is an error, no JSON, or has no choice that says anything.
pub fn decode_response(body: &[u8]) -> Result<ChatResponse, AnswerError> {
    let value = parse(body)?;
    let Value::Object(fields) = value else {
        return Err(AnswerError::malformed("the answer is not an object"));
    };
    let Head { id, created, model, choices, usage, unknown } = Head::read(fields)?;
    let choices = choices.into_iter().zip(0..).map(|(choice, at)| read_choice(choice, at));
    let choices = choices.collect::<Result<Vec<_>, _>>()?;
    if choices.is_empty() {
        return Err(AnswerError::malformed("the answer has no choices"));
    }
    Ok(ChatResponse { id, created, model, choices, usage, unknown })
}

/// Parses an upstream's JSON, without quoting it in the error.
pub(super) fn parse(body: &[u8]) -> Result<Value, AnswerError> {
    serde_json::from_slice(body).map_err(|error| {
        AnswerError::malformed(format!("no valid JSON at line {} column {}", error.line(), error.column()))
    })
}

/// What a whole answer and a chunk of one have in common.
#[derive(Default)]
pub(super) struct Head {
    pub(super) id: String,
    pub(super) created: i64,
    pub(super) model: String,
    pub(super) choices: Vec<Value>,
    pub(super) usage: Option<Usage>,
    pub(super) unknown: Map<String, Value>,
}

impl Head {
    pub(super) fn read(fields: Map<String, Value>) -> Result<Self, AnswerError> {
        let mut head = Self::default();
        for (field, value) in fields {
            match (field.as_str(), value) {
                ("error", error) if !error.is_null() => {
                    return Err(AnswerError::Error(ErrorBody::read(&error).unwrap_or_default()));
                }
                ("id", Value::String(id)) => head.id = id,
                ("model", Value::String(model)) => head.model = model,
                ("created", created) => head.created = whole_seconds(&created),
                ("choices", Value::Array(choices)) => head.choices = choices,
                ("usage", Value::Object(usage)) => head.usage = read_usage(usage),
                // `obfuscation` is random padding against eavesdroppers on token lengths; we pad nothing.
                ("id" | "model" | "choices" | "usage" | "error" | "object" | "obfuscation", _) => {}
                (_, Value::Null) => {}
                (_, value) => drop(head.unknown.insert(field, value)),
            }
        }
        Ok(head)
    }
}

/// Some servers write the time with a fraction.
fn whole_seconds(value: &Value) -> i64 {
    #[expect(clippy::cast_possible_truncation, reason = "a time beyond the range is as good as none")]
    value.as_i64().or_else(|| value.as_f64().map(|seconds| seconds as i64)).unwrap_or(0)
}

/// Reads token counts; `None` where the vendor did not count, or miscounted beyond belief.
fn read_usage(mut fields: Map<String, Value>) -> Option<Usage> {
    let mut count = |field| {
        let count = fields.remove(field)?.as_u64()?;
        (count <= BELIEVABLE_TOKENS).then_some(count)
    };
    let prompt_tokens = count("prompt_tokens")?;
    let completion_tokens = count("completion_tokens")?;
    // The sum says nothing new; a vendor whose total is another one counts something that we do not know.
    if fields.get("total_tokens").and_then(Value::as_u64) == Some(prompt_tokens + completion_tokens) {
        fields.remove("total_tokens");
    }
    fields.retain(|_, value| !value.is_null());
    Some(Usage { prompt_tokens, completion_tokens, unknown: fields })
}

fn read_choice(value: Value, at: u32) -> Result<Choice, AnswerError> {
    let Value::Object(mut fields) = value else {
        return Err(AnswerError::malformed("a choice is not an object"));
    };
    let Some(Value::Object(message)) = fields.remove("message") else {
        return Err(AnswerError::malformed("a choice has no message"));
    };
    let mut choice = Choice {
        index: index_of(&fields).unwrap_or(at),
        finish: fields.get("finish_reason").and_then(Value::as_str).map(FinishReason::parse),
        logprobs: fields.remove("logprobs").filter(|value| !value.is_null()),
        ..Choice::default()
    };
    for (field, value) in message {
        match (field.as_str(), value) {
            ("role", _) | (_, Value::Null) => {}
            ("content", Value::String(text)) => choice.text = Some(text),
            ("content", _) => return Err(AnswerError::malformed("the content is not a text")),
            ("refusal", Value::String(text)) => choice.refusal = Some(text),
            ("tool_calls", Value::Array(calls)) if calls.is_empty() => {}
            ("tool_calls", Value::Array(calls)) => match plain_calls(&calls) {
                Some(calls) => choice.tool_calls = calls,
                None => drop(choice.unknown.insert(field, Value::Array(calls))),
            },
            (_, value) => drop(choice.unknown.insert(field, value)),
        }
    }
    if choice.text.is_none()
        && choice.refusal.is_none()
        && choice.tool_calls.is_empty()
        && choice.unknown.values().all(says_nothing)
    {
        return Err(AnswerError::malformed("a message has neither content nor a call"));
    }
    Ok(choice)
}

/// `annotations: []` comes with every answer of OpenAI.
fn says_nothing(value: &Value) -> bool {
    value.as_array().is_some_and(Vec::is_empty)
}

pub(super) fn index_of(fields: &Map<String, Value>) -> Option<u32> {
    u32::try_from(fields.get("index")?.as_u64()?).ok()
}

/// Writes an answer for a client.
pub fn encode_response(answer: &ChatResponse) -> Vec<u8> {
    let text_bytes: usize =
        answer.choices.iter().filter_map(|choice| choice.text.as_ref()).map(String::len).sum();
    let mut out = Vec::with_capacity(512 + text_bytes + text_bytes / 16);
    serde_json::to_writer(&mut out, &OutAnswer(answer)).expect(WRITES);
    out
}

/// Why writing JSON cannot fail.
pub(super) const WRITES: &str =
    "texts, finite numbers and maps with text keys always have a JSON form, and memory takes it";

struct OutAnswer<'a>(&'a ChatResponse);

impl Serialize for OutAnswer<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let ChatResponse { id, created, model, choices, usage, unknown } = self.0;
        let mut map = serializer.serialize_map(None)?;
        map.serialize_entry("id", id)?;
        map.serialize_entry("object", "chat.completion")?;
        map.serialize_entry("created", created)?;
        map.serialize_entry("model", model)?;
        map.serialize_key("choices")?;
        map.serialize_value(&Each(choices.iter().map(OutChoice)))?;
        if let Some(usage) = usage {
            map.serialize_entry("usage", &OutUsage(usage))?;
        }
        for (field, value) in unknown {
            map.serialize_entry(field, value)?;
        }
        map.end()
    }
}

/// A list written without being built.
struct Each<I>(I);

impl<I: Iterator<Item: Serialize> + Clone> Serialize for Each<I> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_seq(self.0.clone())
    }
}

struct OutChoice<'a>(&'a Choice);

impl Serialize for OutChoice<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut map = serializer.serialize_map(Some(4))?;
        map.serialize_entry("index", &self.0.index)?;
        map.serialize_entry("message", &OutAnswerMessage(self.0))?;
        map.serialize_entry("logprobs", &self.0.logprobs)?;
        map.serialize_entry("finish_reason", &self.0.finish.as_ref().map(FinishReason::name))?;
        map.end()
    }
}

struct OutAnswerMessage<'a>(&'a Choice);

impl Serialize for OutAnswerMessage<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let Choice { index: _, text, refusal, tool_calls, finish: _, logprobs: _, unknown } = self.0;
        let mut map = serializer.serialize_map(None)?;
        map.serialize_entry("role", "assistant")?;
        map.serialize_entry("content", text)?;
        map.serialize_entry("refusal", refusal)?;
        if !tool_calls.is_empty() {
            map.serialize_entry("tool_calls", &OutCalls(tool_calls))?;
        }
        for (field, value) in unknown {
            map.serialize_entry(field, value)?;
        }
        map.end()
    }
}

/// Token counts in OpenAI's spelling, which is our own too.
pub(super) struct OutUsage<'a>(pub(super) &'a Usage);

impl Serialize for OutUsage<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let Usage { prompt_tokens, completion_tokens, unknown } = self.0;
        let mut map = serializer.serialize_map(None)?;
        map.serialize_entry("prompt_tokens", prompt_tokens)?;
        map.serialize_entry("completion_tokens", completion_tokens)?;
        if !unknown.contains_key("total_tokens") {
            map.serialize_entry("total_tokens", &prompt_tokens.saturating_add(*completion_tokens))?;
        }
        for (field, value) in unknown {
            map.serialize_entry(field, value)?;
        }
        map.end()
    }
}

/// Writes an error for a client, in OpenAI's shape, which is our own too.
pub fn encode_error(error: &ErrorShape<'_>) -> Vec<u8> {
    let mut out = Vec::with_capacity(192);
    write_error(error, &mut out);
    out
}

pub(super) fn write_error(error: &ErrorShape<'_>, out: &mut Vec<u8>) {
    #[derive(Serialize)]
    struct Body<'a> {
        error: Fields<'a>,
    }
    #[derive(Serialize)]
    struct Fields<'a> {
        message: &'a str,
        r#type: &'a str,
        param: Option<&'a str>,
        code: Option<&'a str>,
    }
    let ErrorShape { message, kind, param, code } = *error;
    serde_json::to_writer(out, &Body { error: Fields { message, r#type: kind, param, code } }).expect(WRITES);
}

#[cfg(test)]
pub(super) mod tests {
    use super::super::json::tests::any_json;
    use super::*;
    use crate::chat::ToolCall;
    use proptest::prelude::*;

    fn any_fields(prefix: &'static str) -> impl Strategy<Value = Map<String, Value>> {
        let value = any_json().prop_filter("null is no field", |value| !value.is_null());
        prop::collection::vec(("[a-zé\"]{0,4}", value), 0..3).prop_map(move |fields| {
            fields.into_iter().map(|(field, value)| (format!("{prefix}{field}"), value)).collect()
        })
    }

    fn any_choice() -> impl Strategy<Value = Choice> {
        let call = (any::<String>(), any::<String>(), any::<String>())
            .prop_map(|(id, name, arguments)| ToolCall { id, name, arguments });
        let finish = prop_oneof!["stop", "length", "tool_calls", "[a-z]{1,9}"];
        (
            any::<String>(),
            any::<Option<String>>(),
            prop::collection::vec(call, 0..3),
            prop::option::of(finish),
            any_fields("l_"),
            any_fields("m_"),
        )
            .prop_map(|(text, refusal, tool_calls, finish, logprobs, unknown)| Choice {
                index: 0,
                text: (!text.is_empty() || (refusal.is_none() && tool_calls.is_empty())).then_some(text),
                refusal,
                tool_calls,
                finish: finish.map(|word| FinishReason::parse(&word)),
                logprobs: (!logprobs.is_empty()).then_some(Value::Object(logprobs)),
                unknown,
            })
    }

    /// Any answer that says something.
    pub(in crate::wire) fn any_answer() -> impl Strategy<Value = ChatResponse> {
        let usage = (0..BELIEVABLE_TOKENS, 0..BELIEVABLE_TOKENS, any_fields("u_")).prop_map(
            |(prompt_tokens, completion_tokens, unknown)| Usage { prompt_tokens, completion_tokens, unknown },
        );
        (
            any::<(String, i64, String)>(),
            prop::collection::vec(any_choice(), 1..4),
            prop::option::of(usage),
            any_fields("a_"),
        )
            .prop_map(|((id, created, model), mut choices, usage, unknown)| {
                for (choice, index) in choices.iter_mut().zip(0..) {
                    choice.index = index;
                }
                ChatResponse { id, created, model, choices, usage, unknown }
            })
    }

    proptest! {
        #[test]
        fn an_answer_written_and_read_again_is_the_same(answer in any_answer()) {
            prop_assert_eq!(decode_response(&encode_response(&answer)), Ok(answer));
        }

        #[test]
        fn any_json_is_an_answer_or_a_fault(body in any_json(), choice in any_json()) {
            let _ = decode_response(body.to_string().as_bytes());
            let _ = decode_response(serde_json::json!({"choices": [{"message": choice}]}).to_string().as_bytes());
            let _ = decode_error(body.to_string().as_bytes());
        }
    }

    #[test]
    fn what_is_no_answer_is_malformed() {
        for body in [
            "",
            "{}",
            "null",
            "[]",
            "<html>",
            "{\"choices\": []}",
            "{\"choices\": null}",
            "{\"choices\": [{}]}",
            "{\"choices\": [{\"message\": null}]}",
            "{\"choices\": [{\"message\": {\"content\": null, \"annotations\": [], \"tool_calls\": []}}]}",
            "{\"choices\": [{\"message\": {\"content\": 5}}]}",
            "{\"choices\": [{\"message\": {\"content\": NaN}}]}",
        ] {
            assert!(matches!(decode_response(body.as_bytes()), Err(AnswerError::Malformed(_))), "{body}");
        }
        assert!(matches!(decode_response(b"\xef\xbb\xbf{}"), Err(AnswerError::Malformed(_))));
    }

    #[test]
    fn errors_are_read_in_every_shape() {
        for (body, message, code) in [
            (r#"{"error": {"message": "m", "type": "t", "param": null, "code": "c"}}"#, "m", Some("c")),
            (r#"{"error": {"message": "m", "code": 400}}"#, "m", Some("400")),
            (r#"{"error": "m"}"#, "m", None),
            (r#"[{"error": {"message": "m"}}]"#, "m", None),
            (r#"{"object": "error", "message": "m", "code": 404}"#, "m", Some("404")),
        ] {
            let error = decode_error(body.as_bytes()).unwrap();
            assert_eq!((error.message.as_str(), error.code.as_deref()), (message, code), "{body}");
        }
        assert_eq!(decode_error(b"<html>"), None);
        assert_eq!(decode_error(b"{}"), None);
        let disguised = decode_response(br#"{"error": {"message": "m", "code": 502}, "choices": []}"#);
        let Err(AnswerError::Error(error)) = disguised else { panic!("no error") };
        assert_eq!(error.status(), Some(502));
    }

    #[test]
    fn token_counts_that_cannot_be_are_none() {
        for (usage, is_known) in [
            (r#"{"prompt_tokens": 1, "completion_tokens": 2, "total_tokens": 3}"#, true),
            (r#"{"prompt_tokens": -1, "completion_tokens": 2}"#, false),
            (r#"{"prompt_tokens": 1}"#, false),
            (r#"{"prompt_tokens": 1, "completion_tokens": 1e300}"#, false),
            ("null", false),
        ] {
            let body = format!(r#"{{"choices": [{{"message": {{"content": "x"}}}}], "usage": {usage}}}"#);
            assert_eq!(decode_response(body.as_bytes()).unwrap().usage.is_some(), is_known, "{usage}");
        }
    }
}
