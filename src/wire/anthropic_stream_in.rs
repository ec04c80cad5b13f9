//! A streamed Anthropic Messages answer, read from an upstream.

use serde_json::{Map, Value};

use super::anthropic_message::{plain_call, signature_of};
use super::anthropic_response::{Head, read_finish};
use super::anthropic_usage::read_usage;
use super::failure::{AnswerError, parse};
use super::sse;
use crate::chat::{Delta, Dialect, Part, ToolCall};

/// The only choice there is.
const CHOICE: u32 = 0;

/// Reads the events of one streamed answer.
///
/// Anthropic sends one block after the other and servers that imitate it miscount, so a block's number is not read: a
/// piece belongs to the block that began last.
#[derive(Debug, Default)]
pub struct EventDecoder {
    has_started: bool,
    is_finished: bool,
    is_done: bool,
    /// The counts so far. Each event tells totals, but not all of them.
    usage: Map<String, Value>,
    /// Fields we do not know that are told at the end.
    late: Map<String, Value>,
    block: Block,
    /// What came last, which a block of the same kind must be kept apart from.
    last: Last,
    /// How many calls have begun.
    calls: u32,
    /// How many pieces went into blocks that are told whole.
    kept: usize,
}

/// The block under way.
#[derive(Debug, Default)]
enum Block {
    #[default]
    None,
    Text {
        /// Whether some of it was told.
        is_told: bool,
    },
    Thinking {
        is_told: bool,
    },
    Call {
        index: u32,
        /// The arguments in the block's beginning, which stand only where no pieces follow.
        arguments: String,
    },
    /// A block that we do not know, and the pieces of its `input`.
    Other {
        fields: Map<String, Value>,
        input: String,
    },
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum Last {
    Text,
    Thinking,
    #[default]
    Else,
}

impl EventDecoder {
    /// Adds the pieces in one event. Events and pieces of a kind that we do not know have none, as Anthropic demands of
    /// its clients, and neither has whatever follows `message_stop`.
    ///
    /// # Errors
    /// When it is an error, or none of this format.
    pub fn decode(&mut self, event: &sse::Event, deltas: &mut Vec<Delta>) -> Result<(), AnswerError> {
        let data = event.data.trim();
        // OpenAI's last word, which servers that speak both formats add.
        self.is_done |= data == "[DONE]";
        if self.is_done || data.is_empty() {
            return Ok(());
        }
        let Value::Object(mut fields) = parse(data.as_bytes())? else {
            return Err(AnswerError::malformed("an event is not an object"));
        };
        let inner = |fields: &mut Map<String, Value>, field: &str| match fields.remove(field) {
            Some(Value::Object(inner)) => inner,
            _ => Map::new(),
        };
        let kind = fields.get("type").and_then(Value::as_str).or(event.name.as_deref()).map(str::to_owned);
        match kind.as_deref() {
            Some("message_start") => self.start(Head::read(inner(&mut fields, "message"))?, deltas),
            Some("content_block_start") => {
                self.begin(deltas);
                self.open(inner(&mut fields, "content_block"), deltas);
            }
            Some("content_block_delta") => {
                self.begin(deltas);
                self.piece(inner(&mut fields, "delta"), deltas);
            }
            Some("content_block_stop") => self.close(deltas),
            Some("message_delta") => {
                self.begin(deltas);
                let delta = inner(&mut fields, "delta");
                let usage = inner(&mut fields, "usage");
                fields.remove("type");
                self.end(delta, usage, fields, deltas);
            }
            Some("message_stop") => {
                self.close(deltas);
                self.is_done = true;
            }
            Some("error") => return Err(AnswerError::said(&Value::Object(fields))),
            None if fields.contains_key("error") => return Err(AnswerError::said(&Value::Object(fields))),
            _ => {}
        }
        Ok(())
    }

    /// Returns whether the answer has said why it ended.
    pub const fn is_finished(&self) -> bool {
        self.is_finished
    }

    /// Returns whether `message_stop` has come.
    pub const fn is_done(&self) -> bool {
        self.is_done
    }

    /// Returns how many pieces were kept until their block is whole: nothing of them is told yet, but the vendor is at
    /// work.
    pub const fn kept(&self) -> usize {
        self.kept
    }

    /// Makes up the beginning of a stream whose server forgot it.
    fn begin(&mut self, deltas: &mut Vec<Delta>) {
        if !self.has_started {
            self.start(Head::default(), deltas);
        }
    }

    fn start(&mut self, head: Head, deltas: &mut Vec<Delta>) {
        if std::mem::replace(&mut self.has_started, true) {
            return;
        }
        let Head { id, model, usage, unknown, late, .. } = head;
        self.late = late;
        deltas.push(Delta::Start { id, created: 0, model, dialect: Dialect::Anthropic, unknown });
        self.count(usage, deltas);
    }

    /// Takes in counts that replace those before, where they are told.
    fn count(&mut self, usage: Map<String, Value>, deltas: &mut Vec<Delta>) {
        let told = usage.into_iter().filter(|(_, value)| !value.is_null());
        let before = self.usage.clone();
        self.usage.extend(told);
        if self.usage != before {
            deltas.extend(read_usage(self.usage.clone()).map(Delta::Usage));
        }
    }

    /// Begins a block. What stands in it already, though it should be empty, is its first piece.
    fn open(&mut self, fields: Map<String, Value>, deltas: &mut Vec<Delta>) {
        self.close(deltas);
        match fields.get("type").and_then(Value::as_str) {
            Some("text") => {
                self.block = Block::Text { is_told: false };
                self.text(text_of(&fields, "text"), deltas);
                for citation in fields.get("citations").and_then(Value::as_array).into_iter().flatten() {
                    self.cite(citation.clone(), deltas);
                }
            }
            Some("thinking") => {
                self.block = Block::Thinking { is_told: false };
                self.think(text_of(&fields, "thinking").to_owned(), signature_of(&fields), deltas);
            }
            Some("tool_use") => match plain_call(&fields) {
                Some(Part::ToolCall(call)) => self.open_call(call, deltas),
                _ => self.block = Block::Other { fields, input: String::new() },
            },
            _ => self.block = Block::Other { fields, input: String::new() },
        }
    }

    fn open_call(&mut self, call: ToolCall, deltas: &mut Vec<Delta>) {
        let ToolCall { id, name, arguments, signature: _ } = call;
        let index = self.calls;
        self.calls += 1;
        self.last = Last::Else;
        let (id, name) = (Some(id), Some(name));
        let none = String::new();
        deltas.push(Delta::ToolCall { choice: CHOICE, index, id, name, arguments: none, signature: None });
        self.block = Block::Call { index, arguments };
    }

    fn piece(&mut self, fields: Map<String, Value>, deltas: &mut Vec<Delta>) {
        if let Block::Other { fields: block, input } = &mut self.block {
            add_piece(block, input, fields);
            self.kept += 1;
            return;
        }
        match (fields.get("type").and_then(Value::as_str), &mut self.block) {
            (Some("text_delta"), _) => self.text(text_of(&fields, "text"), deltas),
            (Some("citations_delta"), _) => {
                if let Some(citation) = fields.get("citation") {
                    self.cite(citation.clone(), deltas);
                }
            }
            (Some("thinking_delta"), _) => {
                self.think(text_of(&fields, "thinking").to_owned(), None, deltas);
            }
            (Some("signature_delta"), _) => self.think(String::new(), signature_of(&fields), deltas),
            (Some("input_json_delta"), Block::Call { index, arguments }) => {
                let piece = text_of(&fields, "partial_json");
                if !piece.is_empty() {
                    arguments.clear();
                    deltas.push(continued(*index, piece.to_owned()));
                }
            }
            _ => {}
        }
    }

    fn text(&mut self, text: &str, deltas: &mut Vec<Delta>) {
        if text.is_empty() {
            return;
        }
        if !matches!(self.block, Block::Text { is_told: true }) {
            self.keep_apart(Last::Text, deltas);
            self.block = Block::Text { is_told: true };
        }
        deltas.push(Delta::Text { choice: CHOICE, text: text.to_owned() });
    }

    fn cite(&mut self, value: Value, deltas: &mut Vec<Delta>) {
        if !matches!(self.block, Block::Text { is_told: true }) {
            // A text without words, so that its source is not taken for that of the text before.
            self.close(deltas);
            self.last = Last::Text;
            self.block = Block::Text { is_told: true };
            deltas.push(Delta::Break { choice: CHOICE });
            deltas.push(Delta::Text { choice: CHOICE, text: String::new() });
        }
        deltas.push(Delta::Citation { choice: CHOICE, value });
    }

    fn think(&mut self, text: String, signature: Option<String>, deltas: &mut Vec<Delta>) {
        if text.is_empty() && signature.is_none() {
            return;
        }
        if !matches!(self.block, Block::Thinking { is_told: true }) {
            self.keep_apart(Last::Thinking, deltas);
            self.block = Block::Thinking { is_told: true };
        }
        deltas.push(Delta::Reasoning { choice: CHOICE, text, signature });
    }

    fn keep_apart(&mut self, kind: Last, deltas: &mut Vec<Delta>) {
        self.close(deltas);
        if self.last == kind {
            deltas.push(Delta::Break { choice: CHOICE });
        }
        self.last = kind;
    }

    /// Ends the block under way, if there is one.
    fn close(&mut self, deltas: &mut Vec<Delta>) {
        match std::mem::take(&mut self.block) {
            Block::None | Block::Text { .. } | Block::Thinking { .. } => {}
            Block::Call { arguments, .. } if arguments.is_empty() => {}
            Block::Call { index, arguments } => deltas.push(continued(index, arguments)),
            Block::Other { mut fields, input } => {
                if let Ok(input) = serde_json::from_str(&input) {
                    fields.insert("input".to_owned(), input);
                }
                self.last = Last::Else;
                deltas.push(Delta::Part { choice: CHOICE, part: Part::Other(fields) });
            }
        }
    }

    /// Takes in what is told at the end; `beside` is what stands beside it.
    fn end(
        &mut self,
        mut delta: Map<String, Value>,
        usage: Map<String, Value>,
        beside: Map<String, Value>,
        deltas: &mut Vec<Delta>,
    ) {
        self.count(usage, deltas);
        let text = |value: Option<Value>| value.and_then(|value| value.as_str().map(str::to_owned));
        let reason = text(delta.remove("stop_reason"));
        let sequence = text(delta.remove("stop_sequence"));
        self.late.extend(delta.into_iter().chain(beside).filter(|(_, value)| !value.is_null()));
        let Some(reason) = reason.filter(|_| !self.is_finished) else { return };
        self.close(deltas);
        self.is_finished = true;
        let late = std::mem::take(&mut self.late).into_iter();
        deltas.extend(late.map(|(field, value)| Delta::Unknown { choice: CHOICE, field, value }));
        deltas.push(Delta::Finish { choice: CHOICE, reason: read_finish(reason, sequence) });
    }
}

fn text_of<'a>(fields: &'a Map<String, Value>, field: &str) -> &'a str {
    fields.get(field).and_then(Value::as_str).unwrap_or_default()
}

fn continued(index: u32, arguments: String) -> Delta {
    Delta::ToolCall { choice: CHOICE, index, id: None, name: None, arguments, signature: None }
}

/// Adds a piece to a block that we do not know: texts and lists grow, and anything else is replaced.
fn add_piece(block: &mut Map<String, Value>, input: &mut String, piece: Map<String, Value>) {
    for (field, value) in piece {
        match (field.as_str(), value) {
            ("type", _) => {}
            ("partial_json", Value::String(text)) => input.push_str(&text),
            ("citation", value) => match block.get_mut("citations") {
                Some(Value::Array(citations)) => citations.push(value),
                _ => drop(block.insert("citations".to_owned(), Value::Array(vec![value]))),
            },
            (_, value) => match (block.get_mut(&field), value) {
                (Some(Value::String(text)), Value::String(more)) => text.push_str(&more),
                (Some(Value::Array(items)), Value::Array(more)) => items.extend(more),
                (_, value) => drop(block.insert(field, value)),
            },
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::json::tests::any_json;
    use super::*;
    use crate::chat::{Assembly, ChatResponse, FinishReason, Reasoning};
    use proptest::prelude::*;
    use serde_json::json;

    fn decoded(events: &[Value]) -> Result<(EventDecoder, Vec<Delta>), AnswerError> {
        let mut decoder = EventDecoder::default();
        let mut deltas = Vec::new();
        for event in events {
            decoder.decode(&sse::Event { name: None, data: event.to_string() }, &mut deltas)?;
        }
        Ok((decoder, deltas))
    }

    fn assembled(deltas: &[Delta]) -> ChatResponse {
        let mut assembly = Assembly::default();
        deltas.iter().for_each(|delta| assembly.push(delta));
        assembly.into_answer().unwrap()
    }

    /// Returns what an answer of these blocks says, each with its pieces.
    fn read(blocks: &[(Value, &[Value])]) -> Vec<Part> {
        let mut events = vec![json!({"type": "message_start", "message": {"id": "m"}})];
        for (index, (block, pieces)) in blocks.iter().enumerate() {
            events.push(json!({"type": "content_block_start", "index": index, "content_block": block}));
            let piece = |delta| json!({"type": "content_block_delta", "index": index, "delta": delta});
            events.extend(pieces.iter().map(piece));
            events.push(json!({"type": "content_block_stop", "index": index}));
        }
        let (_, deltas) = decoded(&events).unwrap();
        assembled(&deltas).choices.pop().map(|choice| choice.content).unwrap_or_default()
    }

    fn input(piece: &str) -> Value {
        json!({"type": "input_json_delta", "partial_json": piece})
    }

    fn words(text: &str) -> Value {
        json!({"type": "text_delta", "text": text})
    }

    fn arguments(parts: &[Part]) -> Vec<&str> {
        parts.iter().filter_map(|part| Some(part.tool_call()?.arguments.as_str())).collect()
    }

    #[test]
    fn a_call_has_its_arguments_wherever_they_stand() {
        let call = |input: Value| json!({"type": "tool_use", "id": "t", "name": "f", "input": input});
        let parts = read(&[
            (call(json!({})), &[input(""), input("{\"a\""), input(": 1}")]),
            (call(json!({})), &[input("")]),
            (call(json!({"b": 2})), &[]),
            (call(json!({"b": 2})), &[input("{\"c\": 3}")]),
            (call(Value::Null), &[]),
        ]);
        assert_eq!(arguments(&parts), ["{\"a\": 1}", "{}", "{\"b\":2}", "{\"c\": 3}", "{}"]);
    }

    #[test]
    fn blocks_of_one_kind_stay_apart_and_empty_ones_are_none() {
        let text = || json!({"type": "text", "text": ""});
        let thought = || json!({"type": "thinking", "thinking": "", "signature": ""});
        let think = |text: &str| json!({"type": "thinking_delta", "thinking": text, "estimated_tokens": 3});
        let seal = |text: &str| json!({"type": "signature_delta", "signature": text});
        let cite = || json!({"type": "citations_delta", "citation": {"type": "char_location"}});
        let parts = read(&[
            (thought(), &[think("a"), think("b"), seal("s")]),
            (thought(), &[]),
            (thought(), &[seal("t")]),
            (text(), &[words("c"), words(""), words("d")]),
            (text(), &[]),
            (text(), &[cite(), words("e")]),
            (json!({"type": "text", "text": "f", "citations": [1]}), &[json!({"type": "later_delta"})]),
        ]);
        let thought = |text: &str, signature: &str| {
            Part::Reasoning(Reasoning { text: text.into(), signature: Some(signature.into()) })
        };
        let cited = |text: &str, citation| Part::Cited { text: text.into(), citations: vec![citation] };
        assert_eq!(
            parts,
            [
                thought("ab", "s"),
                thought("", "t"),
                Part::Text("cd".into()),
                cited("e", json!({"type": "char_location"})),
                cited("f", json!(1)),
            ]
        );
    }

    #[test]
    fn blocks_that_we_do_not_know_come_whole() {
        let search = json!({"type": "server_tool_use", "id": "s", "name": "web_search", "input": {}});
        let result =
            json!({"type": "web_search_tool_result", "tool_use_id": "s", "content": [{"url": "https://a"}]});
        let later = json!({"type": "later", "content": null, "list": [1]});
        let piece = |text: &str| json!({"type": "later_delta", "content": text, "list": [2]});
        let parts = read(&[
            (search, &[input("{\"query\":"), input(" \"x\"}")]),
            (result.clone(), &[]),
            (later, &[piece("a"), piece("b"), json!({"type": "citations_delta", "citation": 1})]),
        ]);
        let whole = [
            json!({"type": "server_tool_use", "id": "s", "name": "web_search", "input": {"query": "x"}}),
            result,
            json!({"type": "later", "content": "ab", "list": [1, 2, 2], "citations": [1]}),
        ];
        assert_eq!(parts, whole.map(|block| Part::Other(block.as_object().unwrap().clone())));
    }

    #[test]
    fn pieces_of_a_block_that_is_told_whole_are_counted() {
        let mut decoder = EventDecoder::default();
        let mut deltas = Vec::new();
        for (data, kept) in [
            (json!({"type": "message_start", "message": {"id": "m"}}), 0),
            (
                json!({"type": "content_block_start", "index": 0, "content_block": {"type": "server_tool_use"}}),
                0,
            ),
            (
                json!({"type": "content_block_delta", "delta": {"type": "input_json_delta", "partial_json": "{"}}),
                1,
            ),
            (json!({"type": "ping"}), 1),
            (
                json!({"type": "content_block_delta", "delta": {"type": "input_json_delta", "partial_json": "}"}}),
                2,
            ),
        ] {
            decoder.decode(&sse::Event { name: None, data: data.to_string() }, &mut deltas).unwrap();
            assert_eq!(decoder.kept(), kept, "{data}");
        }
    }

    #[test]
    fn counts_are_totals_that_replace_one_another() {
        let events = [
            json!({"type": "message_start", "message": {"usage": {
                "input_tokens": 9, "cache_read_input_tokens": 4, "output_tokens": 1, "service_tier": "standard",
            }}}),
            json!({"type": "message_delta", "delta": {"stop_reason": "end_turn"}, "usage": {
                "input_tokens": null, "output_tokens": 12, "output_tokens_details": {"thinking_tokens": 5},
            }}),
        ];
        let (_, deltas) = decoded(&events).unwrap();
        let usage = assembled(&deltas).usage.unwrap();
        assert_eq!((usage.prompt_tokens, usage.completion_tokens), (13, 12));
        assert_eq!((usage.cached_tokens, usage.reasoning_tokens), (Some(4), Some(5)));
        assert_eq!(usage.unknown["service_tier"], "standard");
    }

    #[test]
    fn what_the_end_tells_is_told_once() {
        let start = json!({"type": "message_start", "message": {"container": {"id": "c"}, "odd": 1}});
        let end = |reason: Value, details: Value| {
            json!({
                "type": "message_delta",
                "delta": {"stop_reason": reason, "stop_sequence": "END", "stop_details": details},
                "context_management": {"applied_edits": []},
            })
        };
        let stop = json!({"type": "message_stop"});
        let details = json!({"category": "cyber"});
        let events = [start, end(Value::Null, Value::Null), end(json!("stop_sequence"), details.clone())];
        let (decoder, deltas) = decoded(&events).unwrap();
        assert!(decoder.is_finished() && !decoder.is_done());
        let again = [&events[..], &[end(json!("refusal"), details.clone()), stop, words("late")]].concat();
        let (decoder, more) = decoded(&again).unwrap();
        assert!(decoder.is_done());
        assert_eq!(more, deltas);
        let answer = assembled(&deltas);
        let choice = &answer.choices[0];
        assert_eq!(choice.finish, Some(FinishReason::StopText("END".into())));
        assert_eq!(choice.unknown["container"], json!({"id": "c"}));
        assert_eq!(choice.unknown["stop_details"], details);
        assert_eq!(choice.unknown["context_management"], json!({"applied_edits": []}));
        assert_eq!(answer.unknown.keys().collect::<Vec<_>>(), ["odd"]);
    }

    #[test]
    fn servers_that_imitate_are_understood() {
        // Without beginnings, numbers, types or ends.
        let piece = |delta| json!({"type": "content_block_delta", "delta": delta});
        let call = json!({"type": "tool_use", "id": "t", "name": "f", "input": {"a": 1}});
        let events = [
            json!({"type": "ping"}),
            json!({"type": "later_event"}),
            piece(json!({"type": "thinking_delta", "thinking": "hm"})),
            piece(words("so")),
            json!({"type": "content_block_start", "content_block": call}),
            piece(words("and")),
            json!({"type": "content_block_start", "content_block": call}),
            json!({"type": "message_delta", "delta": {"stop_reason": "tool_use"}}),
        ];
        let (decoder, deltas) = decoded(&events).unwrap();
        assert!(matches!(deltas[0], Delta::Start { dialect: Dialect::Anthropic, .. }));
        assert!(decoder.is_finished());
        let parts = assembled(&deltas).choices.remove(0).content;
        assert_eq!(parts.len(), 5, "{parts:?}");
        assert_eq!(arguments(&parts), [r#"{"a":1}"#; 2]);

        let mut decoder = EventDecoder::default();
        let mut deltas = Vec::new();
        for (name, data) in
            [("message_start", r#"{"message": {"id": "m"}}"#), ("message_stop", "{}"), ("x", "")]
        {
            let event = sse::Event { name: Some(name.into()), data: data.into() };
            decoder.decode(&event, &mut deltas).unwrap();
        }
        assert!(decoder.is_done() && !decoder.is_finished() && deltas.len() == 1);
        let mut decoder = EventDecoder::default();
        decoder.decode(&sse::Event { name: None, data: "[DONE]".into() }, &mut deltas).unwrap();
        assert!(decoder.is_done());
    }

    #[test]
    fn an_error_among_the_events_is_an_error() {
        let error = json!({"type": "overloaded_error", "message": "Overloaded"});
        for event in [json!({"type": "error", "error": error}), json!({"error": error})] {
            let Err(AnswerError::Error(read)) = decoded(&[event]) else { panic!("no error") };
            assert_eq!(
                (read.kind.as_deref(), read.message.as_str()),
                (Some("overloaded_error"), "Overloaded")
            );
        }
        assert!(matches!(decoded(&[json!([])]), Err(AnswerError::Malformed(_))));
    }

    proptest! {
        #[test]
        fn any_json_is_an_event_or_a_fault(
            values in prop::collection::vec((0..8_usize, any_json()), 0..8),
            whole in any_json(),
        ) {
            let _ = decoded(&[whole]);
            let mut decoder = EventDecoder::default();
            let mut deltas = Vec::new();
            for (kind, value) in values {
                let event = match kind {
                    0 => json!({"type": "message_start", "message": value}),
                    1 => json!({"type": "content_block_start", "content_block": value}),
                    2 => json!({"type": "content_block_start", "content_block": {"type": "tool_use", "id": "t", "name": "f", "input": value}}),
                    3 => json!({"type": "content_block_start", "content_block": {"type": "later", "text": value}}),
                    4 => json!({"type": "content_block_delta", "delta": {"type": "input_json_delta", "partial_json": value}}),
                    5 => json!({"type": "content_block_delta", "delta": {"type": "citations_delta", "citation": value, "text": value}}),
                    6 => json!({"type": "content_block_stop"}),
                    _ => json!({"type": "message_delta", "delta": {"stop_reason": value, "odd": value}, "usage": value}),
                };
                let _ = decoder.decode(&sse::Event { name: None, data: event.to_string() }, &mut deltas);
            }
        }
    }
}
