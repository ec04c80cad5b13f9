//! A streamed Chat Completions answer: chunks read from an upstream, chunks written to a client.

use serde::Serialize;
use serde_json::{Map, Value};

use super::failure::{AnswerError, parse};
use super::openai_message::{EXTRA, REASONING, extra_content, google_signature};
use super::openai_response::{Head, WRITES, index_of, read_finish, write_error};
use super::openai_usage::OutUsage;
use super::{ErrorShape, sse};
use crate::chat::{Delta, Dialect, FinishReason, Usage};

/// Reads the chunks of one stream.
#[derive(Debug, Default)]
pub struct ChunkDecoder {
    has_started: bool,
    is_done: bool,
    /// The choices that have said why they ended.
    finished: Vec<u32>,
    /// Fields we do not know, from chunks before the first with a choice.
    unknown: Map<String, Value>,
}

impl ChunkDecoder {
    /// Adds the pieces in the data of one event. Whatever follows `[DONE]` has none.
    ///
    /// # Errors
    /// When the data is an error, or no chunk.
    pub fn decode(&mut self, data: &str, deltas: &mut Vec<Delta>) -> Result<(), AnswerError> {
        if data.starts_with("[DONE]") {
            self.is_done = true;
        }
        if self.is_done || data.trim().is_empty() {
            return Ok(());
        }
        let Value::Object(fields) = parse(data.as_bytes())? else {
            return Err(AnswerError::malformed("a chunk is not an object"));
        };
        let Head { id, created, model, choices, usage, unknown } = Head::read(fields)?;
        if !self.has_started {
            self.unknown.extend(unknown);
            // Azure's first chunk has filter results, an empty id and no choice: the stream begins after it.
            if choices.is_empty() && usage.is_none() {
                return Ok(());
            }
            self.has_started = true;
            let unknown = std::mem::take(&mut self.unknown);
            deltas.push(Delta::Start { id, created, model, dialect: Dialect::OpenAi, unknown });
        }
        for choice in choices {
            self.read_choice(choice, deltas)?;
        }
        deltas.extend(usage.map(Delta::Usage));
        Ok(())
    }

    /// Returns whether `[DONE]` has come.
    pub const fn is_done(&self) -> bool {
        self.is_done
    }

    /// Returns whether each of the `choices` asked for has said why it ended. Usage may still follow.
    pub fn is_finished(&self, choices: u32) -> bool {
        self.finished.len() >= choices as usize
    }

    fn read_choice(&mut self, value: Value, deltas: &mut Vec<Delta>) -> Result<(), AnswerError> {
        let Value::Object(mut fields) = value else {
            return Err(AnswerError::malformed("a choice is not an object"));
        };
        let choice = index_of(&fields).unwrap_or(0);
        if let Some(Value::Object(delta)) = fields.remove("delta") {
            read_delta(choice, delta, deltas)?;
        }
        match fields.remove("logprobs") {
            None | Some(Value::Null) => {}
            Some(value) => deltas.push(Delta::Logprobs { choice, value }),
        }
        if let Some(reason) = read_finish(&fields)?
            && !self.finished.contains(&choice)
        {
            self.finished.push(choice);
            deltas.push(Delta::Finish { choice, reason });
        }
        Ok(())
    }
}

fn read_delta(choice: u32, fields: Map<String, Value>, deltas: &mut Vec<Delta>) -> Result<(), AnswerError> {
    // Every first chunk of OpenAI has `content: ""`; beside a call or a refusal that text was never said.
    let says_else = ["tool_calls", "refusal", REASONING]
        .iter()
        .any(|field| fields.get(*field).is_some_and(|value| !value.is_null()));
    for (field, value) in fields {
        match (field.as_str(), value) {
            ("role", _) | (_, Value::Null) => {}
            (REASONING, Value::String(text)) => {
                deltas.push(Delta::Reasoning { choice, text, signature: None })
            }
            ("content", Value::String(text)) if text.is_empty() && says_else => {}
            ("content", Value::String(text)) => deltas.push(Delta::Text { choice, text }),
            ("content", _) => return Err(AnswerError::malformed("the content is not a text")),
            ("refusal", Value::String(text)) => deltas.push(Delta::Refusal { choice, text }),
            ("tool_calls", Value::Array(calls)) => {
                for (call, at) in calls.into_iter().zip(0..) {
                    deltas.push(read_call(choice, call, at));
                }
            }
            (_, value) => deltas.push(Delta::Unknown { choice, field, value }),
        }
    }
    Ok(())
}

/// Reads a part of a call. One that is more than a function's name and arguments goes on as a field that we do not
/// know, so that nothing of it is lost.
fn read_call(choice: u32, value: Value, at: u32) -> Delta {
    plain_part(choice, &value, at).unwrap_or_else(|| Delta::Unknown {
        choice,
        field: "tool_calls".to_owned(),
        value: Value::Array(vec![value]),
    })
}

fn plain_part(choice: u32, value: &Value, at: u32) -> Option<Delta> {
    let fields = value.as_object()?;
    let (mut id, mut name, mut arguments, mut signature) = (None, None, String::new(), None);
    for (field, value) in fields {
        match (field.as_str(), value) {
            ("index", _) | (_, Value::Null) => {}
            ("id", Value::String(text)) => id = Some(text.clone()),
            ("type", Value::String(kind)) if kind == "function" || kind.is_empty() => {}
            ("function", Value::Object(function)) => {
                for (field, value) in function {
                    match (field.as_str(), value) {
                        (_, Value::Null) => {}
                        ("name", Value::String(text)) => name = Some(text.clone()),
                        ("arguments", Value::String(text)) => arguments.clone_from(text),
                        _ => return None,
                    }
                }
            }
            (EXTRA, extra) => signature = Some(google_signature(extra)?.to_owned()),
            _ => return None,
        }
    }
    Some(Delta::ToolCall { choice, index: index_of(fields).unwrap_or(at), id, name, arguments, signature })
}

/// Writes the chunks of one stream.
#[derive(Debug)]
pub struct ChunkEncoder {
    include_usage: bool,
    /// The beginning that all chunks share, up to the value of `choices`.
    head: Vec<u8>,
    /// Lists and objects that we do not know: they may be large, so they go into the first chunk alone. Texts and
    /// numbers, such as `system_fingerprint`, stand in every chunk, and SDKs take them from the last one.
    once: Vec<u8>,
    /// The choices whose role has been written.
    opened: Vec<u32>,
    usage: Option<Usage>,
    /// Whether the answer came in this dialect: fields that we do not know are shown only then.
    with_unknown: bool,
}

impl ChunkEncoder {
    /// Begins a stream; with `include_usage` it ends with the usage, if one has come.
    pub fn new(include_usage: bool) -> Self {
        let mut encoder = Self {
            include_usage,
            head: Vec::new(),
            once: Vec::new(),
            opened: Vec::new(),
            usage: None,
            with_unknown: false,
        };
        encoder.start("", 0, "", &Map::new());
        encoder
    }

    fn start(&mut self, id: &str, created: i64, model: &str, unknown: &Map<String, Value>) {
        #[derive(Serialize)]
        struct Head<'a> {
            id: &'a str,
            object: &'static str,
            created: i64,
            model: &'a str,
        }
        self.head.clear();
        self.once.clear();
        let head = Head { id, object: "chat.completion.chunk", created, model };
        serde_json::to_writer(&mut self.head, &head).expect(WRITES);
        let brace = self.head.pop();
        debug_assert_eq!(brace, Some(b'}'));
        for (field, value) in unknown.iter().filter(|_| self.with_unknown) {
            let is_large = value.is_array() || value.is_object();
            let part = if is_large { &mut self.once } else { &mut self.head };
            part.push(b',');
            serde_json::to_writer(&mut *part, field).expect(WRITES);
            part.push(b':');
            serde_json::to_writer(&mut *part, value).expect(WRITES);
        }
        self.head.extend_from_slice(b",\"choices\":");
    }

    /// Appends the chunks that carry this piece. Usage is kept for the end.
    pub fn push(&mut self, delta: &Delta, out: &mut Vec<u8>) {
        match delta {
            Delta::Start { id, created, model, dialect, unknown } => {
                self.with_unknown = *dialect == Dialect::OpenAi;
                self.start(id, *created, model, unknown);
            }
            Delta::Text { choice, text } => {
                self.piece(*choice, &DeltaFields { content: Some(text), ..EMPTY }, out)
            }
            Delta::Refusal { choice, text } => {
                self.piece(*choice, &DeltaFields { refusal: Some(text), ..EMPTY }, out);
            }
            Delta::Reasoning { text, .. } if text.is_empty() => {}
            Delta::Reasoning { choice, text, signature: _ } => {
                self.piece(*choice, &DeltaFields { reasoning_content: Some(text), ..EMPTY }, out);
            }
            Delta::ToolCall { choice, index, id, name, arguments, signature } => {
                let call = CallFields {
                    index: *index,
                    id: id.as_deref(),
                    r#type: id.is_some().then_some("function"),
                    function: FunctionFields { name: name.as_deref(), arguments },
                    extra_content: signature.as_deref().map(extra_content),
                };
                self.piece(*choice, &DeltaFields { tool_calls: Some([call]), ..EMPTY }, out);
            }
            Delta::Unknown { choice, field, value } if self.with_unknown => {
                self.piece(*choice, &std::collections::BTreeMap::from([(field, value)]), out);
            }
            // This dialect has one text and no words for sources, blocks and other vendors' fields.
            Delta::Unknown { .. } | Delta::Break { .. } | Delta::Citation { .. } | Delta::Part { .. } => {}
            Delta::Logprobs { choice, value } => self.chunk(*choice, &EMPTY, Some(value), None, out),
            Delta::Finish { choice, reason } => {
                self.open(*choice, out);
                self.chunk(*choice, &EMPTY, None, Some(reason), out);
            }
            Delta::Usage(usage) => self.usage = Some(usage.clone()),
        }
    }

    /// Appends the usage, where it was asked for and is known, and `[DONE]`. Only for a stream that ended well.
    pub fn finish(&self, out: &mut Vec<u8>) {
        if let Some(usage) = self.usage.as_ref().filter(|_| self.include_usage) {
            sse::event(out, |out| {
                out.extend_from_slice(&self.head);
                out.extend_from_slice(b"[],\"usage\":");
                let usage = OutUsage { usage, with_unknown: self.with_unknown };
                serde_json::to_writer(&mut *out, &usage).expect(WRITES);
                out.push(b'}');
            });
        }
        out.extend_from_slice(sse::DONE);
    }

    /// Appends an error, after which nothing follows, `[DONE]` least of all.
    pub fn error(error: &ErrorShape<'_>, out: &mut Vec<u8>) {
        sse::event(out, |out| write_error(error, out));
    }

    fn piece(&mut self, choice: u32, delta: &impl Serialize, out: &mut Vec<u8>) {
        self.open(choice, out);
        self.chunk(choice, delta, None, None, out);
    }

    /// Writes the role of a choice, once, before anything else of it.
    fn open(&mut self, choice: u32, out: &mut Vec<u8>) {
        if !self.opened.contains(&choice) {
            self.opened.push(choice);
            self.chunk(choice, &DeltaFields { role: Some("assistant"), ..EMPTY }, None, None, out);
        }
    }

    fn chunk(
        &mut self,
        choice: u32,
        delta: &impl Serialize,
        logprobs: Option<&Value>,
        finish: Option<&FinishReason>,
        out: &mut Vec<u8>,
    ) {
        #[derive(Serialize)]
        struct Choice<'a, D> {
            index: u32,
            delta: &'a D,
            logprobs: Option<&'a Value>,
            finish_reason: Option<&'a str>,
        }
        let choice = Choice { index: choice, delta, logprobs, finish_reason: finish.map(FinishReason::name) };
        sse::event(out, |out| {
            out.extend_from_slice(&self.head);
            serde_json::to_writer(&mut *out, &[choice]).expect(WRITES);
            out.append(&mut self.once);
            out.extend_from_slice(if self.include_usage { b",\"usage\":null}" } else { b"}" });
        });
    }
}

#[derive(Serialize)]
struct DeltaFields<'a> {
    #[serde(skip_serializing_if = "Option::is_none")]
    role: Option<&'static str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    content: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    refusal: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    reasoning_content: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    tool_calls: Option<[CallFields<'a>; 1]>,
}

const EMPTY: DeltaFields<'static> =
    DeltaFields { role: None, content: None, refusal: None, reasoning_content: None, tool_calls: None };

#[derive(Serialize)]
struct CallFields<'a> {
    index: u32,
    #[serde(skip_serializing_if = "Option::is_none")]
    id: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    r#type: Option<&'static str>,
    function: FunctionFields<'a>,
    #[serde(skip_serializing_if = "Option::is_none")]
    extra_content: Option<Value>,
}

#[derive(Serialize)]
struct FunctionFields<'a> {
    #[serde(skip_serializing_if = "Option::is_none")]
    name: Option<&'a str>,
    arguments: &'a str,
}

#[cfg(test)]
mod tests {
    use super::super::openai_response::tests::any_answer;
    use super::*;
    use crate::chat::Assembly;
    use proptest::prelude::*;

    fn decoded(stream: &[u8]) -> Result<(ChunkDecoder, Vec<Delta>), AnswerError> {
        let mut events = sse::Decoder::default();
        let mut chunks = ChunkDecoder::default();
        let mut deltas = Vec::new();
        for event in events.feed(stream).expect("the stream is well-formed") {
            chunks.decode(&event.data, &mut deltas)?;
        }
        Ok((chunks, deltas))
    }

    proptest! {
        #[test]
        fn an_answer_streamed_and_read_again_is_the_same(answer in any_answer()) {
            let mut bytes = Vec::new();
            let mut encoder = ChunkEncoder::new(true);
            answer.deltas().iter().for_each(|delta| encoder.push(delta, &mut bytes));
            encoder.finish(&mut bytes);
            let (chunks, deltas) = decoded(&bytes).unwrap();
            prop_assert!(chunks.is_done());
            let mut assembly = Assembly::default();
            deltas.iter().for_each(|delta| assembly.push(delta));
            prop_assert_eq!(assembly.into_answer().unwrap(), answer);
        }

        #[test]
        fn any_json_is_a_chunk_or_a_fault(
            data in super::super::json::tests::any_json(),
            choice in super::super::json::tests::any_json(),
        ) {
            let mut decoder = ChunkDecoder::default();
            let mut deltas = Vec::new();
            let _ = decoder.decode(&data.to_string(), &mut deltas);
            let chunk = serde_json::json!({"choices": [{"delta": choice}]});
            let _ = decoder.decode(&chunk.to_string(), &mut deltas);
        }
    }

    #[test]
    fn an_error_in_a_chunk_is_an_error() {
        let Err(AnswerError::Error(error)) =
            decoded(b"data: {\"error\":{\"message\":\"no\",\"code\":429}}\n\n")
        else {
            panic!("no error");
        };
        assert_eq!((error.status(), error.message.as_str()), (Some(429), "no"));
    }

    #[test]
    fn nothing_follows_the_end() {
        let stream =
            b"data: [DONE]\n\ndata: {\"choices\":[{\"delta\":{\"content\":\"x\"}}]}\n\ndata: [DONE]\n\n";
        let (chunks, deltas) = decoded(stream).unwrap();
        assert!(chunks.is_done() && deltas.is_empty());
    }

    #[test]
    fn a_stream_ends_with_usage_only_where_it_was_asked_for() {
        for (include_usage, count) in [(true, 1), (false, 0)] {
            let mut out = Vec::new();
            let mut encoder = ChunkEncoder::new(include_usage);
            encoder.push(&Delta::Usage(Usage::default()), &mut out);
            encoder.push(&Delta::Text { choice: 0, text: "x".into() }, &mut out);
            encoder.finish(&mut out);
            let text = String::from_utf8(out).unwrap();
            assert_eq!(text.matches("\"choices\":[],\"usage\":{").count(), count, "{text}");
            assert_eq!(text.matches("\"usage\":null").count(), 2 * count, "{text}");
            assert!(text.ends_with("data: [DONE]\n\n"));
        }
    }
}
