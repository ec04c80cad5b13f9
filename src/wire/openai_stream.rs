//! A streamed Chat Completions answer: chunks read from an upstream, chunks written to a client.

use serde::Serialize;
use serde_json::{Map, Value};

use super::failure::{AnswerError, parse};
use super::openai_call::{TOOL_CALLS, extra_content};
use super::openai_message::{REASONING, REASONING_RENAMED};
use super::openai_response::{Head, WRITES, index_of, read_finish, write_error};
use super::openai_stream_calls::Calls;
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
    /// Fields of the answer that we do not know, as they were told last.
    unknown: Map<String, Value>,
    calls: Calls,
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
        if self.has_started {
            deltas.extend(unknown.into_iter().filter_map(|(field, value)| self.late(field, value)));
        } else {
            self.unknown.extend(unknown);
            // Azure's first chunk has filter results, an empty id and no choice: the stream begins after it.
            if choices.is_empty() && usage.is_none() {
                return Ok(());
            }
            self.has_started = true;
            let unknown = self.unknown.clone();
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

    /// Returns a field that later chunks bring, or bring anew. Most only repeat what the first one said.
    fn late(&mut self, field: String, value: Value) -> Option<Delta> {
        if self.unknown.get(&field) == Some(&value) {
            return None;
        }
        self.unknown.insert(field.clone(), value.clone());
        Some(Delta::Late { field, value })
    }

    fn read_choice(&mut self, value: Value, deltas: &mut Vec<Delta>) -> Result<(), AnswerError> {
        let Value::Object(mut fields) = value else {
            return Err(AnswerError::malformed("a choice is not an object"));
        };
        let choice = index_of(&fields).unwrap_or(0);
        if let Some(Value::Object(delta)) = fields.remove("delta") {
            self.read_delta(choice, delta, deltas)?;
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

    fn read_delta(
        &mut self,
        choice: u32,
        fields: Map<String, Value>,
        deltas: &mut Vec<Delta>,
    ) -> Result<(), AnswerError> {
        // Every first chunk of OpenAI has `content: ""`; beside a call or a refusal that text was never said.
        let says_else = ["tool_calls", "refusal", REASONING, REASONING_RENAMED]
            .iter()
            .any(|field| fields.get(*field).is_some_and(|value| !value.is_null()));
        let has_thought = fields.get(REASONING).is_some_and(Value::is_string);
        for (field, value) in fields {
            match (field.as_str(), value) {
                ("role", _) | (_, Value::Null) => {}
                (REASONING_RENAMED, Value::String(text)) => {
                    if !has_thought {
                        deltas.push(Delta::Reasoning { choice, text: text.clone(), signature: None });
                    }
                    // Kept besides, since callers of this dialect may look for it under this name.
                    deltas.push(Delta::Unknown { choice, field, value: Value::String(text) });
                }
                (REASONING, Value::String(text)) => {
                    deltas.push(Delta::Reasoning { choice, text, signature: None })
                }
                ("content", Value::String(text)) if text.is_empty() && says_else => {}
                ("content", Value::String(text)) => deltas.push(Delta::Text { choice, text }),
                ("content", _) => return Err(AnswerError::malformed("the content is not a text")),
                ("refusal", Value::String(text)) => deltas.push(Delta::Refusal { choice, text }),
                (TOOL_CALLS, Value::Array(parts)) => {
                    deltas.extend(parts.into_iter().map(|part| self.calls.read(choice, part)));
                }
                (_, value) => deltas.push(Delta::Unknown { choice, field, value }),
            }
        }
        Ok(())
    }
}

/// Writes the chunks of one stream.
#[derive(Debug)]
pub struct ChunkEncoder {
    include_usage: bool,
    /// What all chunks begin with: id, time and model.
    opening: Vec<u8>,
    /// Texts and numbers that we do not know, such as `system_fingerprint`. They stand in every chunk, and SDKs take
    /// them from the last one.
    always: Map<String, Value>,
    /// Lists and objects that we do not know: they may be large, so they go into the next chunk alone.
    once: Map<String, Value>,
    /// All of that but `once`, up to the value of `choices`.
    head: Vec<u8>,
    /// Whether a field has come that no chunk has shown yet.
    has_news: bool,
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
            opening: Vec::new(),
            always: Map::new(),
            once: Map::new(),
            head: Vec::new(),
            has_news: false,
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
        self.opening.clear();
        self.always.clear();
        self.once.clear();
        let head = Head { id, object: "chat.completion.chunk", created, model };
        serde_json::to_writer(&mut self.opening, &head).expect(WRITES);
        let brace = self.opening.pop();
        debug_assert_eq!(brace, Some(b'}'));
        if self.with_unknown {
            unknown.iter().for_each(|(field, value)| self.keep(field, value));
        }
        self.write_head();
    }

    /// Keeps a field that we do not know for the chunks it is to stand in.
    fn keep(&mut self, field: &str, value: &Value) {
        let is_large = value.is_array() || value.is_object();
        let (to, from) =
            if is_large { (&mut self.once, &mut self.always) } else { (&mut self.always, &mut self.once) };
        from.shift_remove(field);
        to.insert(field.to_owned(), value.clone());
    }

    fn write_head(&mut self) {
        self.head.clone_from(&self.opening);
        write_fields(&self.always, &mut self.head);
        self.head.extend_from_slice(b",\"choices\":");
    }

    /// Appends the chunks that carry this piece. Usage is kept for the end.
    pub fn push(&mut self, delta: &Delta, out: &mut Vec<u8>) {
        match delta {
            Delta::Start { id, created, model, dialect, unknown } => {
                self.with_unknown = *dialect == Dialect::OpenAi;
                self.start(id, *created, model, unknown);
            }
            Delta::Late { field, value } if self.with_unknown => {
                self.keep(field, value);
                self.write_head();
                self.has_news = true;
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
            Delta::Late { .. }
            | Delta::Unknown { .. }
            | Delta::Break { .. }
            | Delta::Citation { .. }
            | Delta::Part { .. } => {}
            Delta::Logprobs { choice, value } => self.chunk(*choice, &EMPTY, Some(value), None, out),
            Delta::Finish { choice, reason } => {
                self.open(*choice, out);
                self.chunk(*choice, &EMPTY, None, Some(reason), out);
            }
            Delta::Usage(usage) => self.usage = Some(usage.clone()),
        }
    }

    /// Appends the usage, where it was asked for and is known, and `[DONE]`. Only for a stream that ended well. Fields of
    /// the answer that came last stand there too, or in a chunk of their own.
    pub fn finish(&self, out: &mut Vec<u8>) {
        let usage = self.usage.as_ref().filter(|_| self.include_usage);
        if usage.is_some() || self.has_news {
            sse::event(out, |out| {
                out.extend_from_slice(&self.head);
                out.extend_from_slice(b"[]");
                write_fields(&self.once, out);
                if let Some(usage) = usage {
                    out.extend_from_slice(b",\"usage\":");
                    let usage = OutUsage { usage, with_unknown: self.with_unknown };
                    serde_json::to_writer(&mut *out, &usage).expect(WRITES);
                }
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
        let finish = finish.map(|finish| if self.with_unknown { finish } else { finish.abroad() });
        let choice = Choice { index: choice, delta, logprobs, finish_reason: finish.map(FinishReason::name) };
        self.has_news = false;
        sse::event(out, |out| {
            out.extend_from_slice(&self.head);
            serde_json::to_writer(&mut *out, &[choice]).expect(WRITES);
            write_fields(&std::mem::take(&mut self.once), out);
            out.extend_from_slice(if self.include_usage { b",\"usage\":null}" } else { b"}" });
        });
    }
}

/// Appends fields to an object under way.
fn write_fields(fields: &Map<String, Value>, out: &mut Vec<u8>) {
    for (field, value) in fields {
        out.push(b',');
        serde_json::to_writer(&mut *out, field).expect(WRITES);
        out.push(b':');
        serde_json::to_writer(&mut *out, value).expect(WRITES);
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
    use serde_json::json;

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

    fn assembled(chunks: &[Value]) -> crate::chat::ChatResponse {
        let mut decoder = ChunkDecoder::default();
        let mut assembly = Assembly::default();
        let mut deltas = Vec::new();
        for delta in chunks {
            let chunk = json!({"choices": [{"index": 0, "delta": {"tool_calls": delta}}]});
            decoder.decode(&chunk.to_string(), &mut deltas).unwrap();
        }
        deltas.iter().for_each(|delta| assembly.push(delta));
        assembly.into_answer().unwrap()
    }

    #[test]
    fn calls_are_told_apart_however_the_vendor_numbers_them() {
        let whole = |number: Value, id: &str| {
            let function = json!({"name": format!("f_{id}"), "arguments": format!("{{\"of\":\"{id}\"}}")});
            let mut call = json!({"id": id, "type": "function", "function": function});
            if !number.is_null() {
                call["index"] = number;
            }
            call
        };
        let none = || Value::Null;
        for chunks in [
            // Ollama numbers every call 0, others give no number.
            vec![json!([whole(0.into(), "a")]), json!([whole(0.into(), "b")])],
            vec![json!([whole(0.into(), "a"), whole(0.into(), "b")])],
            vec![json!([whole(none(), "a")]), json!([whole(none(), "b")])],
            vec![json!([whole(none(), "a"), whole(none(), "b")])],
            // SGLang has counted from 1.
            vec![json!([whole(1.into(), "a")]), json!([whole(2.into(), "b")])],
        ] {
            let mut deltas = Vec::new();
            let mut decoder = ChunkDecoder::default();
            for calls in &chunks {
                let chunk = json!({"choices": [{"delta": {"tool_calls": calls}}]});
                decoder.decode(&chunk.to_string(), &mut deltas).unwrap();
            }
            let numbers = deltas.iter().filter_map(|delta| match delta {
                Delta::ToolCall { index, .. } => Some(*index),
                _ => None,
            });
            assert_eq!(numbers.collect::<Vec<_>>(), [0, 1], "{chunks:?}");
            let answer = assembled(&chunks);
            let calls: Vec<_> = answer.choices[0].tool_calls().collect();
            assert_eq!((calls[0].id.as_str(), calls[1].name.as_str()), ("a", "f_b"), "{chunks:?}");
            assert_eq!((calls.len(), calls[1].arguments.as_str()), (2, r#"{"of":"b"}"#), "{chunks:?}");
        }
    }

    #[test]
    fn parts_of_a_call_come_together_even_where_they_repeat_who_they_are() {
        let part = |fields: Value, arguments: &str| {
            let mut part = fields;
            part["function"]["arguments"] = arguments.into();
            json!([part])
        };
        let named = json!({"id": "a", "function": {"name": "f"}});
        for (first, later) in [
            (json!({"index": 3, "id": "a", "function": {"name": "f"}}), json!({"index": 3})),
            (
                json!({"index": 3, "id": "a", "function": {"name": "f"}}),
                json!({"index": 3, "id": "a", "function": {"name": "f"}}),
            ),
            (named.clone(), json!({})),
            (named.clone(), named),
        ] {
            let answer = assembled(&[part(first, "{\"x\""), part(later.clone(), ":1"), part(later, "}")]);
            let calls: Vec<_> = answer.choices[0].tool_calls().collect();
            assert_eq!((calls.len(), calls[0].id.as_str(), calls[0].name.as_str()), (1, "a", "f"));
            assert_eq!(calls[0].arguments, "{\"x\":1}");
        }
    }

    #[test]
    fn what_a_vendor_adds_to_a_call_does_not_hide_it() {
        let answer = assembled(&[json!([{
            "index": 0, "id": "a", "type": "function", "odd": 1,
            "function": {"name": "f", "arguments": "{}", "parsed_arguments": null},
            "extra_content": {"vertex": {"thought_signature": "s"}},
        }])]);
        assert_eq!(answer.choices[0].tool_calls().map(|call| call.name.as_str()).collect::<Vec<_>>(), ["f"]);
        assert!(answer.choices[0].unknown.is_empty());
    }

    #[test]
    fn a_call_of_another_kind_is_one_however_it_was_cut() {
        let answer = assembled(&[
            json!([{"index": 0, "id": "a", "type": "custom", "custom": {"name": "c", "input": "x"}}]),
            json!([{"index": 1, "id": "b", "function": {"name": "f", "arguments": "{}"}}]),
            json!([{"index": 0, "custom": {"input": "y"}}]),
        ]);
        let custom = json!({"index": 0, "id": "a", "type": "custom", "custom": {"name": "c", "input": "xy"}});
        assert_eq!(answer.choices[0].unknown["tool_calls"], json!([custom]));
        // Both are in the one list.
        let written: Value = serde_json::from_slice(&super::super::openai::encode_response(&answer)).unwrap();
        let calls = written["choices"][0]["message"]["tool_calls"].as_array().unwrap();
        assert_eq!(calls.iter().map(|call| call["id"].as_str().unwrap()).collect::<Vec<_>>(), ["a", "b"]);
        assert_eq!(calls[0].get("index"), None);
    }

    #[test]
    fn fields_that_come_late_are_part_of_the_answer_and_told_once() {
        let (mut decoder, mut encoder) = (ChunkDecoder::default(), ChunkEncoder::new(false));
        let (mut assembly, mut deltas, mut out) = (Assembly::default(), Vec::new(), Vec::new());
        let word = |text: &str| json!([{"index": 0, "delta": {"content": text}}]);
        for chunk in [
            json!({"system_fingerprint": "fp", "service_tier": "auto", "choices": word("a")}),
            json!({"system_fingerprint": "fp", "service_tier": "default", "search_results": [1], "choices": word("b")}),
            json!({"search_results": [1], "choices": [{"index": 0, "delta": {}, "finish_reason": "stop"}]}),
            json!({"moderation": {"flagged": true}, "choices": []}),
        ] {
            decoder.decode(&chunk.to_string(), &mut deltas).unwrap();
        }
        deltas.iter().for_each(|delta| {
            assembly.push(delta);
            encoder.push(delta, &mut out);
        });
        encoder.finish(&mut out);
        let answer = assembly.into_answer().unwrap();
        let all = json!({"system_fingerprint": "fp", "service_tier": "default", "search_results": [1],
            "moderation": {"flagged": true}});
        assert_eq!(Value::Object(answer.unknown.clone()), all);
        let text = String::from_utf8(out.clone()).unwrap();
        assert_eq!((text.matches("search_results").count(), text.matches("moderation").count()), (1, 1));
        let (_, again) = decoded(&out).unwrap();
        let mut assembly = Assembly::default();
        again.iter().for_each(|delta| assembly.push(delta));
        assert_eq!(assembly.into_answer().unwrap(), answer);
    }

    #[test]
    fn thoughts_under_their_other_name_are_told_once_and_under_both() {
        let mut decoder = ChunkDecoder::default();
        let mut deltas = Vec::new();
        for delta in
            [json!({"reasoning": "h", "content": ""}), json!({"reasoning": "m", "reasoning_content": "m"})]
        {
            let chunk = json!({"choices": [{"delta": delta}]});
            decoder.decode(&chunk.to_string(), &mut deltas).unwrap();
        }
        let mut assembly = Assembly::default();
        deltas.iter().for_each(|delta| assembly.push(delta));
        let choice = assembly.into_answer().unwrap().choices.remove(0);
        let thought = crate::chat::Reasoning { text: "hm".into(), signature: None };
        assert_eq!(choice.content, [crate::chat::Part::Reasoning(thought)]);
        assert_eq!(choice.unknown["reasoning"], "hm");
    }

    #[test]
    fn calls_of_other_kinds_are_told_apart_by_their_ids_too() {
        let custom = |id: &str| json!([{"index": 0, "id": id, "type": "custom", "custom": {"name": "c", "input": id}}]);
        let answer = assembled(&[custom("a"), custom("b")]);
        let calls = answer.choices[0].unknown["tool_calls"].as_array().unwrap();
        assert_eq!(calls.iter().map(|call| &call["custom"]["input"]).collect::<Vec<_>>(), ["a", "b"]);
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
