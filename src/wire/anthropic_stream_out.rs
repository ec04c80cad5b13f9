//! A streamed Anthropic Messages answer, written to a client.

use serde::Serialize;
use serde_json::{Map, Value};

use super::anthropic_message::{OutBlock, input_of};
use super::anthropic_response::{Besides, OutFinish, OutMessage, write_error};
use super::anthropic_usage::OutUsage;
use super::openai_response::WRITES;
use super::{ErrorShape, sse};
use crate::chat::{Delta, Dialect, FinishReason, Part, Usage};

/// Writes the events of one stream for a client: the first choice, since this dialect has but one.
#[derive(Debug, Default)]
pub struct EventEncoder {
    id: String,
    model: String,
    /// Whether the answer came in this dialect: what we do not know is shown only then.
    is_own: bool,
    unknown: Map<String, Value>,
    /// Fields of the message that we do not know: they are told at the end.
    late: Map<String, Value>,
    usage: Option<Usage>,
    finish: Option<FinishReason>,
    /// Whether words of refusal were said.
    has_refused: bool,
    has_begun: bool,
    /// How many blocks have begun.
    blocks: usize,
    open: Open,
    /// Calls that began while another was under way. Blocks come one after the other here.
    waiting: Vec<Call>,
    /// The numbers of calls whose block has ended.
    ended: Vec<u32>,
}

/// The block under way.
#[derive(Debug, Default)]
enum Open {
    #[default]
    None,
    Text,
    Refusal,
    Thinking {
        /// Told at the end: SDKs take the last piece of it for the whole.
        signature: String,
    },
    Call(Call),
}

/// A call under way.
#[derive(Debug, Default)]
struct Call {
    index: u32,
    id: String,
    name: String,
    /// What has not been written yet.
    arguments: String,
    extent: Extent,
    has_begun: bool,
}

impl EventEncoder {
    /// Appends the events that carry this piece. The stream begins with the first thing said, so that the usage can
    /// come before it.
    pub fn push(&mut self, delta: &Delta, out: &mut Vec<u8>) {
        match delta {
            Delta::Start { id, created: _, model, dialect, unknown } => {
                self.id.clone_from(id);
                self.model.clone_from(model);
                self.is_own = *dialect == Dialect::Anthropic;
                if self.is_own {
                    self.unknown.clone_from(unknown);
                }
            }
            Delta::Usage(usage) => self.usage = Some(usage.clone()),
            Delta::Break { choice: 0 } => {
                if !matches!(self.open, Open::Call(_)) {
                    self.close(out);
                }
            }
            Delta::Text { choice: 0, text } => self.text(text, false, out),
            Delta::Refusal { choice: 0, text } => {
                self.has_refused |= !text.is_empty();
                self.text(text, true, out);
            }
            Delta::Citation { choice: 0, value } => self.cite(value, out),
            Delta::Reasoning { choice: 0, text, signature } => {
                self.think(text, signature.as_deref().filter(|_| self.is_own).unwrap_or_default(), out);
            }
            Delta::ToolCall { choice: 0, index, id, name, arguments, signature: _ } => {
                let piece =
                    [id.as_deref().unwrap_or_default(), name.as_deref().unwrap_or_default(), arguments];
                self.call(*index, piece, out);
            }
            Delta::Part { choice: 0, part: Part::Other(fields) } if self.is_own => {
                self.close(out);
                self.begin_block(&OutBlock::Other { fields, cache_control: None }, out);
                self.end_block(out);
            }
            Delta::Unknown { choice: 0, field, value } if self.is_own => {
                self.late.insert(field.clone(), value.clone());
            }
            Delta::Finish { choice: 0, reason } => {
                self.finish.get_or_insert_with(|| reason.clone());
            }
            // Other choices, and what this dialect has no words for.
            Delta::Late { .. }
            | Delta::Break { .. }
            | Delta::Text { .. }
            | Delta::Refusal { .. }
            | Delta::Citation { .. }
            | Delta::Reasoning { .. }
            | Delta::ToolCall { .. }
            | Delta::Part { .. }
            | Delta::Logprobs { .. }
            | Delta::Unknown { .. }
            | Delta::Finish { .. } => {}
        }
    }

    /// Appends the end of a stream that went well.
    pub fn finish(&mut self, out: &mut Vec<u8>) {
        self.begin(out);
        self.close(out);
        let (in_delta, beside) = std::mem::take(&mut self.late)
            .into_iter()
            .partition(|(field, _)| matches!(field.as_str(), "stop_details" | "container"));
        let besides = Besides { calls: !self.ended.is_empty(), refusal: self.has_refused };
        let finish = OutFinish::of(self.finish.as_ref(), self.is_own, besides);
        let delta = EndDelta { finish, late: in_delta };
        write(&Event::MessageDelta { delta, usage: self.out_usage(false), beside }, out);
        write(&Event::MessageStop, out);
    }

    /// Appends an error, after which nothing follows, `message_stop` least of all.
    pub fn error(&mut self, error: &ErrorShape<'_>, out: &mut Vec<u8>) {
        sse::named_event(out, "error", |out| write_error(error, None, out));
    }

    const fn out_usage(&self, is_start: bool) -> OutUsage<'_> {
        OutUsage { usage: self.usage.as_ref(), with_unknown: self.is_own, is_start }
    }

    /// Writes the beginning of the stream, once.
    fn begin(&mut self, out: &mut Vec<u8>) {
        if std::mem::replace(&mut self.has_begun, true) {
            return;
        }
        let none = Map::new();
        let message = OutMessage {
            id: &self.id,
            model: &self.model,
            content: Vec::new(),
            finish: OutFinish::default(),
            usage: self.out_usage(true),
            unknown: [&self.unknown, &none],
        };
        write(&Event::MessageStart { message }, out);
        write(&Event::Ping, out);
    }

    fn text(&mut self, text: &str, is_refusal: bool, out: &mut Vec<u8>) {
        if text.is_empty() {
            return;
        }
        if !matches!((&self.open, is_refusal), (Open::Text, false) | (Open::Refusal, true)) {
            self.close(out);
            self.begin_block(&OutBlock::text(""), out);
            self.open = if is_refusal { Open::Refusal } else { Open::Text };
        }
        self.piece(OutDelta::Text { text }, out);
    }

    /// Names a source of the text, in the form that only this dialect knows.
    fn cite(&mut self, citation: &Value, out: &mut Vec<u8>) {
        if !self.is_own {
            return;
        }
        if !matches!(self.open, Open::Text) {
            self.close(out);
            self.begin_block(&OutBlock::text(""), out);
            self.open = Open::Text;
        }
        self.piece(OutDelta::Citations { citation }, out);
    }

    fn think(&mut self, thinking: &str, seal: &str, out: &mut Vec<u8>) {
        if thinking.is_empty() && seal.is_empty() {
            return;
        }
        if !matches!(self.open, Open::Thinking { .. }) {
            self.close(out);
            self.begin_block(&OutBlock::Thinking { thinking: "", signature: "" }, out);
            self.open = Open::Thinking { signature: String::new() };
        }
        if !thinking.is_empty() {
            self.piece(OutDelta::Thinking { thinking }, out);
        }
        if let Open::Thinking { signature } = &mut self.open {
            signature.push_str(seal);
        }
    }

    /// Writes a piece of a call, or keeps it until the call under way has ended.
    fn call(&mut self, index: u32, piece: [&str; 3], out: &mut Vec<u8>) {
        if self.ended.contains(&index) {
            return;
        }
        loop {
            match &mut self.open {
                Open::Call(call) if call.index == index => {
                    call.add(piece);
                    break;
                }
                Open::Call(call) if !call.extent.has_ended => {
                    self.keep(index, piece);
                    return;
                }
                _ => self.open_call(index, out),
            }
        }
        self.write_call(false, out);
    }

    /// Ends the block under way and goes on with the call that waits longest, or else with this one.
    fn open_call(&mut self, index: u32, out: &mut Vec<u8>) {
        let waiting = std::mem::take(&mut self.waiting);
        self.close(out);
        let mut waiting = waiting.into_iter();
        let next = waiting.next().unwrap_or_else(|| Call { index, ..Call::default() });
        self.open = Open::Call(next);
        self.waiting = waiting.collect();
    }

    fn keep(&mut self, index: u32, piece: [&str; 3]) {
        let at = self.waiting.iter().position(|call| call.index == index);
        let at = at.unwrap_or_else(|| {
            self.waiting.push(Call { index, ..Call::default() });
            self.waiting.len() - 1
        });
        self.waiting[at].add(piece);
    }

    /// Writes what has come of the call under way, once its name has, or `anyway`.
    fn write_call(&mut self, anyway: bool, out: &mut Vec<u8>) {
        let open = std::mem::take(&mut self.open);
        let Open::Call(mut call) = open else {
            self.open = open;
            return;
        };
        let is_named = !call.id.is_empty() && !call.name.is_empty();
        if !call.has_begun && (is_named || anyway) {
            let input = input_of("{}").expect("an object without fields is an object");
            let (id, name) = (&call.id, &call.name);
            self.begin_block(&OutBlock::ToolUse { id, name, input, cache_control: None }, out);
            call.has_begun = true;
        }
        if call.has_begun && !call.arguments.is_empty() {
            self.piece(OutDelta::InputJson { partial_json: &call.arguments }, out);
            call.arguments.clear();
        }
        self.open = Open::Call(call);
    }

    /// Ends the block under way, and writes the calls that waited for that.
    fn close(&mut self, out: &mut Vec<u8>) {
        loop {
            self.write_call(true, out);
            match std::mem::take(&mut self.open) {
                Open::None => return,
                Open::Text | Open::Refusal => {}
                Open::Thinking { signature } => {
                    if !signature.is_empty() {
                        self.piece(OutDelta::Signature { signature: &signature }, out);
                    }
                }
                Open::Call(call) => self.ended.push(call.index),
            }
            self.end_block(out);
            if !self.waiting.is_empty() {
                self.open = Open::Call(self.waiting.remove(0));
            }
        }
    }

    fn begin_block(&mut self, content_block: &OutBlock<'_>, out: &mut Vec<u8>) {
        self.begin(out);
        write(&Event::ContentBlockStart { index: self.blocks, content_block }, out);
        self.blocks += 1;
    }

    fn piece(&self, delta: OutDelta<'_>, out: &mut Vec<u8>) {
        write(&Event::ContentBlockDelta { index: self.blocks.saturating_sub(1), delta }, out);
    }

    fn end_block(&self, out: &mut Vec<u8>) {
        write(&Event::ContentBlockStop { index: self.blocks.saturating_sub(1) }, out);
    }
}

impl Call {
    fn add(&mut self, [id, name, arguments]: [&str; 3]) {
        self.id.push_str(id);
        self.name.push_str(name);
        self.arguments.push_str(arguments);
        self.extent.follow(arguments);
    }
}

/// Follows a JSON text piece by piece, as far as it takes to tell where its object ends.
#[derive(Debug, Default)]
struct Extent {
    depth: usize,
    in_text: bool,
    is_escaped: bool,
    has_ended: bool,
}

impl Extent {
    fn follow(&mut self, piece: &str) {
        for byte in piece.bytes() {
            match byte {
                _ if self.is_escaped => self.is_escaped = false,
                b'\\' if self.in_text => self.is_escaped = true,
                b'"' => self.in_text = !self.in_text,
                _ if self.in_text => {}
                b'{' | b'[' => self.depth += 1,
                b'}' | b']' => {
                    self.depth = self.depth.saturating_sub(1);
                    self.has_ended |= self.depth == 0;
                }
                _ => {}
            }
        }
    }
}

#[derive(Serialize)]
#[serde(tag = "type", rename_all = "snake_case")]
enum Event<'a> {
    MessageStart {
        message: OutMessage<'a>,
    },
    Ping,
    ContentBlockStart {
        index: usize,
        content_block: &'a OutBlock<'a>,
    },
    ContentBlockDelta {
        index: usize,
        delta: OutDelta<'a>,
    },
    ContentBlockStop {
        index: usize,
    },
    MessageDelta {
        delta: EndDelta<'a>,
        usage: OutUsage<'a>,
        #[serde(flatten)]
        beside: Map<String, Value>,
    },
    MessageStop,
}

impl Event<'_> {
    const fn name(&self) -> &'static str {
        match self {
            Self::MessageStart { .. } => "message_start",
            Self::Ping => "ping",
            Self::ContentBlockStart { .. } => "content_block_start",
            Self::ContentBlockDelta { .. } => "content_block_delta",
            Self::ContentBlockStop { .. } => "content_block_stop",
            Self::MessageDelta { .. } => "message_delta",
            Self::MessageStop => "message_stop",
        }
    }
}

#[derive(Serialize)]
#[serde(tag = "type")]
enum OutDelta<'a> {
    #[serde(rename = "text_delta")]
    Text { text: &'a str },
    #[serde(rename = "citations_delta")]
    Citations { citation: &'a Value },
    #[serde(rename = "thinking_delta")]
    Thinking { thinking: &'a str },
    #[serde(rename = "signature_delta")]
    Signature { signature: &'a str },
    #[serde(rename = "input_json_delta")]
    InputJson { partial_json: &'a str },
}

#[derive(Serialize)]
struct EndDelta<'a> {
    #[serde(flatten)]
    finish: OutFinish<'a>,
    #[serde(flatten)]
    late: Map<String, Value>,
}

fn write(event: &Event<'_>, out: &mut Vec<u8>) {
    sse::named_event(out, event.name(), |out| serde_json::to_writer(out, event).expect(WRITES));
}

#[cfg(test)]
mod tests {
    use super::super::anthropic::{EventDecoder, decode_response, encode_response};
    use super::super::anthropic_response::tests::any_answer;
    use super::super::{openai_response, sse};
    use super::*;
    use crate::chat::{Assembly, ChatResponse};
    use proptest::prelude::*;
    use serde_json::json;

    fn streamed(deltas: &[Delta]) -> Vec<u8> {
        let mut out = Vec::new();
        let mut encoder = EventEncoder::default();
        deltas.iter().for_each(|delta| encoder.push(delta, &mut out));
        encoder.finish(&mut out);
        out
    }

    fn events(stream: &[u8]) -> Vec<sse::Event> {
        sse::Decoder::default().feed(stream).expect("the stream is well-formed")
    }

    fn assembled(stream: &[u8]) -> ChatResponse {
        let (mut decoder, mut deltas) = (EventDecoder::default(), Vec::new());
        for event in events(stream) {
            decoder.decode(&event, &mut deltas).unwrap();
        }
        assert!(decoder.is_done());
        let mut assembly = Assembly::default();
        deltas.iter().for_each(|delta| assembly.push(delta));
        assembly.into_answer().unwrap()
    }

    /// Checks that blocks come one after the other, each begun, continued and ended under its own number.
    fn check_order(stream: &[u8]) {
        let (mut open, mut blocks) = (None, 0);
        for (at, event) in events(stream).into_iter().enumerate() {
            let data: Value = serde_json::from_str(&event.data).unwrap();
            assert_eq!(event.name.as_deref(), data["type"].as_str());
            assert_eq!(at == 0, data["type"] == "message_start");
            match data["type"].as_str().unwrap() {
                "content_block_start" => {
                    assert_eq!((open, &data["index"]), (None, &json!(blocks)));
                    open = Some(blocks);
                    blocks += 1;
                }
                "content_block_delta" => assert_eq!(json!(open), data["index"]),
                "content_block_stop" => assert_eq!(json!(open.take()), data["index"]),
                _ => assert_eq!(open, None),
            }
        }
        assert!(stream.ends_with(b"event: message_stop\ndata: {\"type\":\"message_stop\"}\n\n"));
    }

    proptest! {
        #[test]
        fn an_answer_streamed_and_read_again_is_the_same(answer in any_answer()) {
            let stream = streamed(&answer.deltas());
            check_order(&stream);
            prop_assert_eq!(assembled(&stream), answer);
        }

        #[test]
        fn a_stream_of_another_vendor_says_what_its_whole_answer_says(
            mut answer in openai_response::tests::any_answer(),
        ) {
            // Arguments that are no object are left out of the whole and handed on in the stream: they were told before
            // anybody could see what they would become.
            answer.choices[0].finish.get_or_insert(FinishReason::Stop);
            for part in &mut answer.choices[0].content {
                if let Part::ToolCall(call) = part {
                    call.arguments = format!("{{\"a\":{}}}", Value::from(call.arguments.as_str()));
                }
            }
            let stream = streamed(&answer.deltas());
            check_order(&stream);
            prop_assert_eq!(assembled(&stream), decode_response(&encode_response(&answer)).unwrap());
        }

        /// Whatever comes in whatever order, the events keep to theirs.
        #[test]
        fn pieces_in_any_order_are_blocks_in_order(
            pieces in prop::collection::vec((0..3_u32, prop_oneof!["\\{\"[ab]\":", "\"[ab]\"", "\\}"]), 0..12),
            others in prop::collection::vec((0..12_usize, 0..4_u8), 0..4),
        ) {
            let mut deltas: Vec<_> = pieces.iter().map(|(index, piece)| call(*index, piece)).collect();
            for (at, kind) in others {
                let at = at.min(deltas.len());
                deltas.insert(at, match kind {
                    0 => Delta::Text { choice: 0, text: "x".into() },
                    1 => Delta::Refusal { choice: 0, text: "y".into() },
                    2 => Delta::Reasoning { choice: 0, text: "z".into(), signature: None },
                    _ => Delta::Break { choice: 0 },
                });
            }
            check_order(&streamed(&deltas));
        }
    }

    fn call(index: u32, arguments: &str) -> Delta {
        let (id, name) = (Some(format!("c{index}")), Some(format!("f{index}")));
        Delta::ToolCall { choice: 0, index, id, name, arguments: arguments.into(), signature: None }
    }

    fn more(index: u32, arguments: &str) -> Delta {
        let arguments = arguments.into();
        Delta::ToolCall { choice: 0, index, id: None, name: None, arguments, signature: None }
    }

    fn calls(deltas: &[Delta]) -> Vec<(String, String)> {
        let stream = streamed(deltas);
        check_order(&stream);
        let answer = assembled(&stream);
        answer.choices[0].tool_calls().map(|call| (call.id.clone(), call.arguments.clone())).collect()
    }

    fn owned(calls: &[(&str, &str)]) -> Vec<(String, String)> {
        calls.iter().map(|(id, arguments)| ((*id).to_owned(), (*arguments).to_owned())).collect()
    }

    #[test]
    fn calls_whose_pieces_mingle_are_untangled() {
        let mingled = [
            call(0, ""),
            call(1, ""),
            more(0, "{\"a\": \"}"),
            more(1, "{\"b\": "),
            more(0, "\\\"\"}"),
            more(1, "1}"),
            call(2, "{}"),
            more(2, ""),
            Delta::Text { choice: 0, text: "so".into() },
        ];
        let expected = owned(&[("c0", "{\"a\": \"}\\\"\"}"), ("c1", "{\"b\": 1}"), ("c2", "{}")]);
        assert_eq!(calls(&mingled), expected);
        // A call that never ends holds the others back, and no longer than to the next thing said.
        let endless =
            [call(0, "{"), call(1, "{}"), Delta::Text { choice: 0, text: "so".into() }, more(0, "}")];
        assert_eq!(calls(&endless), owned(&[("c0", "{"), ("c1", "{}")]));
    }

    #[test]
    fn a_call_is_told_as_it_comes() {
        let mut encoder = EventEncoder::default();
        let mut out = Vec::new();
        encoder.push(&call(0, "{\"a\": 1}"), &mut out);
        encoder.push(&call(1, "{\"b\""), &mut out);
        let text = String::from_utf8(out).unwrap();
        assert!(text.contains(r#""partial_json":"{\"b\"""#), "{text}");
    }

    #[test]
    fn the_stream_begins_with_what_is_known_and_ends_with_all() {
        let usage = |completion_tokens| {
            Delta::Usage(Usage {
                prompt_tokens: 9,
                cached_tokens: Some(4),
                completion_tokens,
                ..Usage::default()
            })
        };
        let mut out = Vec::new();
        let mut encoder = EventEncoder::default();
        let start = Delta::Start {
            id: "m".into(),
            created: 1,
            model: "claude".into(),
            dialect: Dialect::OpenAi,
            unknown: Map::from_iter([("theirs".to_owned(), json!(1))]),
        };
        for delta in [start, usage(1), Delta::Text { choice: 0, text: String::new() }] {
            encoder.push(&delta, &mut out);
        }
        assert!(out.is_empty());
        encoder.push(&Delta::Text { choice: 1, text: "other".into() }, &mut out);
        encoder.push(&Delta::Text { choice: 0, text: "x".into() }, &mut out);
        encoder.push(&Delta::Finish { choice: 0, reason: FinishReason::Length }, &mut out);
        encoder.push(&usage(7), &mut out);
        encoder.finish(&mut out);
        check_order(&out);
        let datas: Vec<Value> =
            events(&out).iter().map(|event| serde_json::from_str(&event.data).unwrap()).collect();
        assert_eq!(
            datas[0]["message"],
            json!({
                "id": "m", "type": "message", "role": "assistant", "model": "claude", "content": [],
                "stop_reason": null, "stop_sequence": null,
                "usage": {"input_tokens": 5, "cache_read_input_tokens": 4, "output_tokens": 0},
            })
        );
        assert_eq!(datas[1], json!({"type": "ping"}));
        assert_eq!(
            datas[datas.len() - 2],
            json!({
                "type": "message_delta",
                "delta": {"stop_reason": "max_tokens", "stop_sequence": null},
                "usage": {"input_tokens": 5, "cache_read_input_tokens": 4, "output_tokens": 7},
            })
        );
        assert_eq!(datas.len(), 7);
    }

    #[test]
    fn an_error_is_an_event_of_its_own() {
        let mut out = Vec::new();
        let error = ErrorShape { status: 529, message: "m", kind: "k", param: None, code: None };
        EventEncoder::default().error(&error, &mut out);
        let expected = "event: error\ndata: {\"type\":\"error\",\"error\":{\"type\":\"overloaded_error\",\"message\":\"m\"}}\n\n";
        assert_eq!(String::from_utf8(out).unwrap(), expected);
    }
}
