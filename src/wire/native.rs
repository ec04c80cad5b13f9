//! `/v1/generate`: our own format, both directions.

use serde::Serialize;
use serde_json::Value;
use serde_json::value::RawValue;

use super::fields::Path;
use super::openai_message::read_messages;
use super::openai_response::{WRITES, write_error};
use super::openai_usage::OutUsage;
use super::{Asked, BodyControls, Delivery, ErrorShape, WireError, json, sse};
use crate::chat::{ChatRequest, Dialect, LimitSpelling, Message, OutputLimit, Role, Usage, Usd};

/// The output limit of a request that names none.
const MAX_TOKENS: u32 = 1_000;

/// Reads the body of a request. Where no `messages` stand, `prompt` is the only turn.
///
/// # Errors
/// Names the field at fault. A field that we do not know is at fault too: there is no upstream that speaks this
/// format and could be given it, and a misspelt wish must not be dropped in silence.
pub fn parse_request(body: &[u8]) -> Result<Asked, WireError> {
    let body = Path::Body.object(json::parse(body)?)?;
    let mut request = ChatRequest { messages: Vec::new(), ..ChatRequest::from_prompt(String::new()) };
    debug_assert_eq!(request.dialect, Dialect::Native);
    let mut delivery = Delivery::default();
    let mut cache = BodyControls::default();
    let (mut task, mut prompt, mut system) = (None, None, None);
    let mut tokens = MAX_TOKENS;
    for (field, value) in body {
        let at = Path::Body.field(&field);
        match field.as_str() {
            _ if value.is_null() => {}
            "prompt" => prompt = Some(at.text(value)?),
            "messages" => request.messages = read_plain_messages(value, &at)?,
            "system" => system = Some(at.text(value)?),
            "model" => request.model = Some(at.name(value)?),
            "max_tokens" => tokens = at.count(value, u32::MAX)?,
            "temperature" => request.sampling.temperature = Some(at.f64(value)?),
            "stream" => delivery.stream = at.bool(value)?,
            "task" => task = Some(at.name(value)?),
            "cache" => cache = BodyControls::read(value, &at)?,
            _ => {
                return Err(at.error(
                    "is not known; `prompt`, `messages`, `system`, `model`, `max_tokens`, `temperature`, `stream`, \
                     `task` and `cache` are",
                ));
            }
        }
    }
    match prompt {
        Some(_) if !request.messages.is_empty() => {
            return Err(Path::Body.field("prompt").error("and `messages` cannot both be given"));
        }
        Some(text) if text.trim().is_empty() => {
            return Err(Path::Body.field("prompt").error("must not be empty"));
        }
        Some(text) => request.messages.push(Message::text(Role::User, text)),
        None if request.messages.is_empty() => {
            return Err(Path::Body.field("prompt").error("is missing, and so is `messages`"));
        }
        None => {}
    }
    request.messages.splice(0..0, system.map(|text| Message::text(Role::System, text)));
    request.limit = Some(OutputLimit { tokens, spelling: LimitSpelling::MaxTokens });
    Ok(Asked { request, delivery, cache, task })
}

/// Reads messages that any vendor can be given: a role and text.
fn read_plain_messages(value: Value, at: &Path<'_>) -> Result<Vec<Message>, WireError> {
    let messages = read_messages(value, at, &mut Vec::new())?;
    for (index, message) in messages.iter().enumerate() {
        let at = at.item(index);
        let Message { role, content, name, tool_call_id, is_error: _, unknown } = message;
        let known = "is not taken here; `role` and `content` are. /v1/chat/completions takes more";
        if *role == Role::Tool {
            return Err(at.field("role").error("must be one of `system`, `developer`, `user`, `assistant`"));
        }
        for (field, is_given) in [
            ("name", name.is_some()),
            ("tool_calls", message.tool_calls().next().is_some()),
            ("tool_call_id", tool_call_id.is_some()),
        ] {
            if is_given {
                return Err(at.field(field).error(known));
            }
        }
        if let Some(field) = unknown.keys().next() {
            return Err(at.field(field).error(known));
        }
        if let Some(part) = content.iter().position(|part| part.text().is_none()) {
            return Err(at
                .field("content")
                .item(part)
                .error("must be text; /v1/chat/completions takes more"));
        }
    }
    Ok(messages)
}

/// An answer in our own format.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct NativeAnswer {
    pub id: String,
    /// The answer; `None` in the summary of a stream, which has said it already.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub text: Option<String>,
    /// How it was come by: the value of `x-cache-source`.
    pub source: String,
    pub model: String,
    pub provider: String,
    pub finish_reason: Option<String>,
    #[serde(serialize_with = "usage_json")]
    pub usage: Option<Usage>,
    pub cache: NativeCache,
    /// In [0, 1].
    pub quality: Option<f64>,
    /// Why a step of the ladder answered, which `source` names: the value of `x-degraded`.
    pub degraded: Option<String>,
    pub latency_ms: f64,
    #[serde(serialize_with = "usd_json")]
    pub cost_usd: Option<f64>,
    #[serde(serialize_with = "usd_json")]
    pub saved_usd: Option<f64>,
}

/// What the cache did. A `None` is written as `null`: unknown, none, or not for the caller's eyes.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct NativeCache {
    pub key: Option<String>,
    pub entry: Option<String>,
    pub tier: Option<String>,
    /// Cosine.
    pub similarity: Option<f64>,
    pub age_seconds: Option<u64>,
    pub ttl_seconds: Option<i64>,
}

fn usage_json<S: serde::Serializer>(usage: &Option<Usage>, serializer: S) -> Result<S::Ok, S::Error> {
    usage.as_ref().map(|usage| OutUsage { usage, with_unknown: false }).serialize(serializer)
}

/// Writes an amount with the digits that the header has.
fn usd_json<S: serde::Serializer>(usd: &Option<f64>, serializer: S) -> Result<S::Ok, S::Error> {
    let written = usd.map(|usd| {
        let written = Usd(usd).to_string();
        // A fraction also where it is none: some languages take a number without one for another type.
        if written.contains('.') { written } else { written + ".0" }
    });
    let number = written.map(RawValue::from_string).transpose();
    number.map_err(serde::ser::Error::custom)?.serialize(serializer)
}

/// Writes a whole answer.
pub fn encode_answer(answer: &NativeAnswer) -> Vec<u8> {
    let text_bytes = answer.text.as_ref().map_or(0, String::len);
    let mut out = Vec::with_capacity(768 + text_bytes + text_bytes / 16);
    serde_json::to_writer(&mut out, answer).expect(WRITES);
    out
}

/// Appends a piece of a streamed answer.
pub fn encode_delta(text: &str, out: &mut Vec<u8>) {
    #[derive(Serialize)]
    struct Piece<'a> {
        delta: &'a str,
    }
    sse::event(out, |out| serde_json::to_writer(out, &Piece { delta: text }).expect(WRITES));
}

/// Appends the end of a stream that went well: the summary and `[DONE]`.
pub fn encode_summary(summary: &NativeAnswer, out: &mut Vec<u8>) {
    #[derive(Serialize)]
    struct Last<'a> {
        summary: &'a NativeAnswer,
    }
    sse::event(out, |out| serde_json::to_writer(out, &Last { summary }).expect(WRITES));
    out.extend_from_slice(sse::DONE);
}

/// Appends an error, after which nothing follows.
pub fn encode_stream_error(error: &ErrorShape<'_>, out: &mut Vec<u8>) {
    sse::event(out, |out| write_error(error, out));
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_prompt_and_one_user_message_are_the_same_request() {
        let prompt = parse_request(br#"{"prompt": "q", "system": "s"}"#).unwrap();
        let messages =
            br#"{"messages": [{"role": "system", "content": "s"}, {"role": "user", "content": "q"}]}"#;
        assert_eq!(parse_request(messages).unwrap(), prompt);
        assert_eq!(prompt.request.limit.unwrap().tokens, 1_000);
    }

    #[test]
    fn an_amount_is_a_number_with_a_fraction_and_no_exponent() {
        let written = |cost_usd, saved_usd| {
            let answer = NativeAnswer { cost_usd, saved_usd, ..NativeAnswer::default() };
            String::from_utf8(encode_answer(&answer)).unwrap()
        };
        let known = written(Some(0.0), Some(0.000_000_25));
        assert!(known.ends_with(r#""cost_usd":0.0,"saved_usd":0.00000025}"#), "{known}");
        let unknown = written(None, None);
        assert!(unknown.ends_with(r#""cost_usd":null,"saved_usd":null}"#), "{unknown}");
    }

    #[test]
    fn the_field_at_fault_is_named() {
        for (body, message) in [
            ("{}", "`prompt` is missing"),
            (r#"{"prompt": " "}"#, "`prompt` must not be empty"),
            (r#"{"prompt": "a", "messages": [{"role": "user", "content": "b"}]}"#, "`prompt` and `messages`"),
            (r#"{"prompt": "a", "top_p": 1}"#, "`top_p` is not known; `prompt`, `messages`"),
            (r#"{"prompt": "a", "max_tokens": 0}"#, "`max_tokens` must be a whole number from 1"),
            (r#"{"messages": []}"#, "`messages` must have at least one"),
            (
                r#"{"messages": [{"role": "user", "content": "b", "x": 1}]}"#,
                "`messages[0].x` is not taken here",
            ),
            (
                r#"{"messages": [{"role": "user", "content": [{"type": "image_url"}]}]}"#,
                "`messages[0].content[0]` must be text",
            ),
        ] {
            let error = parse_request(body.as_bytes()).unwrap_err().to_string();
            assert!(error.starts_with(message), "{error}");
        }
    }
}
