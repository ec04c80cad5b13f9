//! A streamed Responses answer: events written to a client.
//!
//! The last event holds the whole answer, the same that [`super::responses_response`] writes. Log probabilities stand
//! there alone: vendors send them beside the text or after it, and an answer from the cache has them in one piece.

use serde::Serialize;
use serde::de::IgnoredAny;
use serde_json::{Map, Value};

use super::ErrorShape;
use super::responses_events::{Events, Items};
use super::responses_item::{Item, ItemStatus, Words};
use super::responses_response::{Head, OutResponse, Status, of_tokens};
use crate::chat::{Delta, FinishReason, Usage};

/// Writes the events of one stream.
#[derive(Debug, Default)]
pub struct EventEncoder {
    /// Fields of the request that answers repeat.
    echo: Map<String, Value>,
    has_begun: bool,
    items: Items,
    /// The vendor's number of every call that has been opened; the last is that of the open one, if one is.
    calls: Vec<u32>,
    /// What came while a call lacked some of its arguments: vendors may mix the pieces of several calls.
    waiting: Vec<Delta>,
    logprobs: Vec<Value>,
    finish: Option<FinishReason>,
    usage: Option<Usage>,
    /// How many events have been written.
    events: u64,
}

impl EventEncoder {
    /// Begins a stream whose answers repeat these fields of the request.
    pub fn new(echo: Map<String, Value>) -> Self {
        Self { echo, ..Self::default() }
    }

    /// Appends the events that carry this piece. This dialect has one choice; usage and log probabilities are kept for
    /// the end.
    pub fn push(&mut self, delta: &Delta, out: &mut Vec<u8>) {
        match delta {
            Delta::Start { id, created, model, dialect: _, unknown: _ } => {
                self.begin(Head::new(id, *created, model), out);
            }
            Delta::Usage(usage) => self.usage = Some(usage.clone()),
            Delta::Logprobs { choice: 0, value } => self.logprobs.extend_from_slice(of_tokens(value)),
            Delta::Finish { choice: 0, reason } => {
                self.finish.get_or_insert_with(|| reason.clone());
            }
            Delta::Break { choice: 0 }
            | Delta::Text { choice: 0, .. }
            | Delta::Citation { choice: 0, .. }
            | Delta::Reasoning { choice: 0, .. }
            | Delta::Refusal { choice: 0, .. }
            | Delta::ToolCall { choice: 0, .. }
            | Delta::Part { choice: 0, .. } => {
                self.begin(Head::default(), out);
                self.place(delta, out);
            }
            // Other choices, and what only another dialect shows.
            Delta::Late { .. }
            | Delta::Logprobs { .. }
            | Delta::Finish { .. }
            | Delta::Break { .. }
            | Delta::Text { .. }
            | Delta::Citation { .. }
            | Delta::Reasoning { .. }
            | Delta::Refusal { .. }
            | Delta::ToolCall { .. }
            | Delta::Part { .. }
            | Delta::Unknown { .. } => {}
        }
    }

    /// Appends the end of a stream that went well.
    pub fn finish(&mut self, out: &mut Vec<u8>) {
        self.begin(Head::default(), out);
        while !self.waiting.is_empty() {
            // Nothing more comes for the call that was waited for.
            self.items.close(ItemStatus::Completed, &mut Events { count: &mut self.events, out });
            self.place_waiting(out);
        }
        let status = Status::of(self.finish.as_ref());
        self.items.close(status.of_last_item(), &mut Events { count: &mut self.events, out });
        let kind = match status {
            Status::Incomplete(_) => "response.incomplete",
            Status::Completed | Status::InProgress => "response.completed",
        };
        self.write_whole(kind, status, out);
    }

    /// Appends an error, after which nothing follows.
    ///
    /// What it says stands twice: flat, as OpenAI documents it, and in an object, as OpenAI sends it. Without the
    /// object OpenAI's SDKs raise no error and hand the event on like any other.
    pub fn error(&mut self, error: &ErrorShape<'_>, out: &mut Vec<u8>) {
        #[derive(Serialize)]
        struct Flat<'a> {
            code: Option<&'a str>,
            message: &'a str,
            param: Option<&'a str>,
            error: Object<'a>,
        }
        #[derive(Serialize)]
        struct Object<'a> {
            r#type: &'a str,
            code: Option<&'a str>,
            message: &'a str,
            param: Option<&'a str>,
        }
        let ErrorShape { status: _, message, kind, param, code } = *error;
        let object = Object { r#type: kind, code, message, param };
        let mut events = Events { count: &mut self.events, out };
        events.write("error", &Flat { code, message, param, error: object });
    }

    /// Appends the beginning, once.
    fn begin(&mut self, head: Head, out: &mut Vec<u8>) {
        if !std::mem::replace(&mut self.has_begun, true) {
            self.items = Items::begin(head);
            self.write_whole("response.created", Status::InProgress, out);
            self.write_whole("response.in_progress", Status::InProgress, out);
        }
    }

    fn write_whole(&mut self, kind: &'static str, status: Status, out: &mut Vec<u8>) {
        #[derive(Serialize)]
        struct Whole<'a> {
            response: OutResponse<'a>,
        }
        let response = OutResponse {
            head: self.items.head(),
            status,
            items: self.items.all(),
            logprobs: &self.logprobs,
            usage: self.usage.as_ref().filter(|_| status != Status::InProgress),
            echo: &self.echo,
        };
        Events { count: &mut self.events, out }.write(kind, &Whole { response });
    }

    /// Takes in a piece of the choice, or keeps it where the open call has to be finished first.
    fn place(&mut self, delta: &Delta, out: &mut Vec<u8>) {
        let open = self.open_call();
        match delta {
            Delta::ToolCall { index, .. } if open != Some(*index) && self.calls.contains(index) => {
                // It was closed with all its arguments; what still comes is no part of them.
            }
            _ if open.is_none() => self.take(delta, out),
            Delta::ToolCall { index, .. } if open == Some(*index) => {
                self.take(delta, out);
                if !self.waiting.is_empty() && self.has_arguments() {
                    self.place_waiting(out);
                }
            }
            // Without words it is no item, and calls stand apart without a break.
            _ if self.waiting.is_empty() && !has_words(delta) => {}
            _ if self.waiting.is_empty() && self.has_arguments() => self.take(delta, out),
            _ => self.waiting.push(delta.clone()),
        }
    }

    fn place_waiting(&mut self, out: &mut Vec<u8>) {
        for delta in std::mem::take(&mut self.waiting) {
            self.place(&delta, out);
        }
    }

    /// Returns the vendor's number of the call that is open, if one is.
    fn open_call(&self) -> Option<u32> {
        self.calls.last().copied().filter(|_| matches!(self.items.open(), Some(Item::Call { .. })))
    }

    /// Returns whether the open call has all its arguments: nothing can follow the end of a JSON object.
    fn has_arguments(&self) -> bool {
        match self.items.open() {
            Some(Item::Call { arguments, .. }) => {
                arguments.trim_start().starts_with('{')
                    && serde_json::from_str::<IgnoredAny>(arguments.as_ref()).is_ok()
            }
            _ => true,
        }
    }

    fn take(&mut self, delta: &Delta, out: &mut Vec<u8>) {
        let items = &mut self.items;
        let mut events = Events { count: &mut self.events, out };
        match delta {
            Delta::Text { text, .. } if text.is_empty() => {}
            Delta::Text { text, .. } => items.say(&Words::Text(text.into()), &mut events),
            // A refusal or a thought without words is no part of ours, but ends the one before.
            Delta::Refusal { text, .. } if text.is_empty() => {
                if !matches!(items.open_words(), Some(Words::Refusal(_))) {
                    items.break_off();
                }
            }
            Delta::Refusal { text, .. } => items.say(&Words::Refusal(text.into()), &mut events),
            Delta::Reasoning { text, .. } if text.is_empty() => {
                if !matches!(items.open(), Some(Item::Reasoning(_))) {
                    items.break_off();
                }
            }
            Delta::Reasoning { text, .. } => items.think(text, &mut events),
            Delta::Citation { .. } => {
                if !matches!(items.open_words(), Some(Words::Text(_))) {
                    items.break_off();
                }
            }
            Delta::Break { .. } | Delta::Part { .. } => items.break_off(),
            Delta::ToolCall { index, id, name, arguments, .. } => {
                if !self.calls.contains(index) {
                    self.calls.push(*index);
                    let (id, name) = (id.as_deref().unwrap_or(""), name.as_deref().unwrap_or(""));
                    items.begin_call(id, name, &mut events);
                }
                items.call(arguments, &mut events);
            }
            Delta::Start { .. }
            | Delta::Late { .. }
            | Delta::Logprobs { .. }
            | Delta::Unknown { .. }
            | Delta::Finish { .. }
            | Delta::Usage(_) => {}
        }
    }
}

/// Returns whether a piece begins an item, or goes on with one.
fn has_words(delta: &Delta) -> bool {
    match delta {
        Delta::Text { text, .. } | Delta::Reasoning { text, .. } | Delta::Refusal { text, .. } => {
            !text.is_empty()
        }
        Delta::ToolCall { .. } => true,
        Delta::Start { .. }
        | Delta::Late { .. }
        | Delta::Break { .. }
        | Delta::Citation { .. }
        | Delta::Part { .. }
        | Delta::Logprobs { .. }
        | Delta::Unknown { .. }
        | Delta::Finish { .. }
        | Delta::Usage(_) => false,
    }
}

#[cfg(test)]
mod tests {
    use super::super::openai_response::tests::any_usage;
    use super::super::responses_response::encode_response;
    use super::super::sse;
    use super::*;
    use crate::chat::{Assembly, ChatResponse, Choice, any_part};
    use proptest::prelude::*;
    use serde_json::json;

    fn echo() -> Map<String, Value> {
        Map::from_iter([("temperature".to_owned(), json!(0.5))])
    }

    fn streamed(deltas: &[Delta]) -> Vec<Value> {
        let mut encoder = EventEncoder::new(echo());
        let mut out = Vec::new();
        deltas.iter().for_each(|delta| encoder.push(delta, &mut out));
        encoder.finish(&mut out);
        read(&out)
    }

    fn read(out: &[u8]) -> Vec<Value> {
        let events = sse::Decoder::default().feed(out).unwrap();
        let events = events.into_iter().zip(0_u64..).map(|(event, number)| {
            let data: Value = serde_json::from_str(&event.data).unwrap();
            assert_eq!(data["type"].as_str(), event.name.as_deref());
            assert_eq!(data["sequence_number"], number);
            data
        });
        events.collect()
    }

    fn whole(answer: &ChatResponse) -> Value {
        serde_json::from_slice(&encode_response(answer, &echo())).unwrap()
    }

    /// Puts the events together as a client does, and checks that each has its place. Returns the last answer.
    fn followed(events: &[Value]) -> Value {
        let [created, in_progress, events @ .., last] = events else { panic!("too few events") };
        for (event, kind) in [(created, "response.created"), (in_progress, "response.in_progress")] {
            assert_eq!(event["type"], kind);
            assert_eq!(event["response"]["status"], "in_progress");
            assert_eq!(event["response"]["output"], json!([]));
        }
        let mut items: Vec<Value> = Vec::new();
        let mut open = None;
        let mut open_part = None;
        for event in events {
            let place = event["output_index"].as_u64();
            match event["type"].as_str().unwrap() {
                "response.output_item.added" => {
                    assert_eq!((open, place), (None, Some(items.len() as u64)));
                    open = place;
                    items.push(event["item"].clone());
                }
                "response.output_item.done" => {
                    assert_eq!((open.take(), open_part), (place, None));
                    let item = items.last_mut().unwrap();
                    item["status"] = event["item"]["status"].clone();
                    assert_eq!(*item, event["item"]);
                }
                kind => {
                    let item = items.last_mut().unwrap();
                    assert_eq!((place, &event["item_id"]), (open, &item["id"]));
                    follow(kind, event, item, &mut open_part);
                }
            }
        }
        assert_eq!(open, None);
        let response = &last["response"];
        assert_eq!(last["type"], json!(format!("response.{}", response["status"].as_str().unwrap())));
        assert_eq!(without_logprobs(response["output"].clone()), Value::Array(items));
        response.clone()
    }

    /// Does to an item what an event says.
    fn follow(kind: &str, event: &Value, item: &mut Value, open: &mut Option<u64>) {
        let grow = |text: &mut Value| {
            let delta = event["delta"].as_str().unwrap();
            assert_ne!(delta, "");
            *text = json!(text.as_str().unwrap().to_owned() + delta);
        };
        match kind {
            "response.function_call_arguments.delta" => return grow(&mut item["arguments"]),
            "response.function_call_arguments.done" => {
                return assert_eq!(item["arguments"], event["arguments"]);
            }
            _ => {}
        }
        let place = event["content_index"].as_u64();
        let parts = item["content"].as_array_mut().unwrap();
        if kind == "response.content_part.added" {
            assert_eq!((*open, place), (None, Some(parts.len() as u64)));
            *open = place;
            return parts.push(event["part"].clone());
        }
        assert_eq!(*open, place);
        let part = parts.last_mut().unwrap();
        match kind {
            "response.output_text.delta" | "response.reasoning_text.delta" => grow(&mut part["text"]),
            "response.refusal.delta" => grow(&mut part["refusal"]),
            "response.output_text.done" | "response.reasoning_text.done" => {
                assert_eq!(part["text"], event["text"]);
            }
            "response.refusal.done" => assert_eq!(part["refusal"], event["refusal"]),
            "response.content_part.done" => {
                assert_eq!(*part, event["part"]);
                *open = None;
            }
            other => panic!("{other}"),
        }
    }

    fn without_logprobs(mut output: Value) -> Value {
        for item in output.as_array_mut().unwrap() {
            for part in item.get_mut("content").and_then(Value::as_array_mut).into_iter().flatten() {
                if part["type"] == "output_text" {
                    part["logprobs"] = json!([]);
                }
            }
        }
        output
    }

    fn any_finish() -> impl Strategy<Value = Option<FinishReason>> {
        prop_oneof![
            Just(None),
            "stop|length|tool_calls|content_filter|eos".prop_map(|word| Some(FinishReason::parse(&word))),
            Just(Some(FinishReason::Refusal)),
        ]
    }

    fn any_answer() -> impl Strategy<Value = ChatResponse> {
        let logprobs = prop_oneof![
            Just(None),
            Just(Some(json!({"content": null, "refusal": null}))),
            Just(Some(
                json!({"content": [{"token": "a", "logprob": -0.5, "bytes": [97], "top_logprobs": []}]})
            )),
        ];
        let id = prop_oneof!["resp_[a-z]{1,3}", "[a-z]{0,3}", any::<String>()];
        (prop::collection::vec(any_part(), 0..6), any_finish(), logprobs, prop::option::of(any_usage()), id)
            .prop_map(|(content, finish, logprobs, usage, id)| ChatResponse {
                id,
                created: 7,
                model: "m".into(),
                choices: vec![Choice { content, finish, logprobs, ..Choice::default() }],
                usage,
                ..ChatResponse::default()
            })
    }

    /// Pieces of words and thoughts, and of calls whose own pieces come in order, in any mix.
    fn any_pieces() -> impl Strategy<Value = Vec<Delta>> {
        let text = || "[ab]{0,2}";
        let piece = prop_oneof![
            text().prop_map(|text| vec![Delta::Text { choice: 0, text }]),
            text().prop_map(|text| vec![Delta::Break { choice: 0 }, Delta::Text { choice: 0, text }]),
            text().prop_map(|text| vec![Delta::Refusal { choice: 0, text }]),
            text().prop_map(|text| vec![Delta::Reasoning { choice: 0, text, signature: None }]),
            text().prop_map(|text| {
                vec![Delta::Break { choice: 0 }, Delta::Reasoning { choice: 0, text, signature: None }]
            }),
            Just(vec![Delta::Citation { choice: 0, value: json!(1) }]),
            Just(vec![Delta::Part { choice: 0, part: crate::chat::Part::Other(Map::new()) }]),
            Just(vec![Delta::Text { choice: 1, text: "other".into() }]),
        ];
        let arguments = prop_oneof![
            4 => Just(vec!["{\"a\"", ": [1", "]}"]),
            2 => Just(vec!["{}"]),
            1 => Just(vec!["", " {", "}"]),
            1 => Just(vec![""]),
            1 => Just(vec!["{\"cut", " of"]),
        ];
        let calls = prop::collection::vec(arguments, 0..4);
        (prop::collection::vec(piece, 0..8), calls, prop::collection::vec(0..8_usize, 24)).prop_map(
            |(mut words, calls, turns)| {
                words.reverse();
                let mut calls: Vec<_> =
                    calls.into_iter().map(|pieces| pieces.into_iter().enumerate()).collect();
                let mut mixed = Vec::new();
                for turn in turns {
                    if let Some(pieces) = calls.get_mut(turn) {
                        mixed.extend(pieces.next().map(|(at, arguments)| Delta::ToolCall {
                            choice: 0,
                            index: u32::try_from(turn).unwrap(),
                            id: (at == 0).then(|| format!("call_{turn}")),
                            name: (at == 0).then(|| "f".to_owned()),
                            arguments: arguments.to_owned(),
                            signature: None,
                        }));
                    } else {
                        mixed.extend(words.pop().into_iter().flatten());
                    }
                }
                mixed
            },
        )
    }

    proptest! {
        #[test]
        fn the_last_event_holds_the_answer_that_is_written_whole(answer in any_answer()) {
            let events = streamed(&answer.deltas());
            prop_assert_eq!(followed(&events), whole(&answer));
        }

        #[test]
        fn pieces_in_any_order_give_the_answer_that_they_spell(mut pieces in any_pieces(), finish in any_finish()) {
            pieces.insert(0, Delta::Start {
                id: "a".into(),
                created: 7,
                model: "m".into(),
                dialect: crate::chat::Dialect::OpenAi,
                unknown: Map::new(),
            });
            pieces.extend(finish.map(|reason| Delta::Finish { choice: 0, reason }));
            let mut assembly = Assembly::default();
            pieces.iter().for_each(|piece| assembly.push(piece));
            let mut answer = assembly.into_answer().unwrap();
            answer.choices.retain(|choice| choice.index == 0);
            prop_assert_eq!(followed(&streamed(&pieces)), whole(&answer));
        }
    }

    fn call(index: u32, arguments: &str) -> Delta {
        let id = arguments.starts_with('{').then(|| format!("call_{index}"));
        let name = id.as_ref().map(|_| "f".to_owned());
        Delta::ToolCall { choice: 0, index, id, name, arguments: arguments.into(), signature: None }
    }

    #[test]
    fn a_call_with_all_its_arguments_does_not_hold_up_the_next() {
        let mut encoder = EventEncoder::new(Map::new());
        let mut out = Vec::new();
        encoder.push(&call(0, "{\"a\""), &mut out);
        encoder.push(&call(0, ":1}"), &mut out);
        encoder.push(&call(1, "{"), &mut out);
        let kinds: Vec<_> =
            read(&out)[2..].iter().map(|event| event["type"].as_str().unwrap()[9..].to_owned()).collect();
        let grows = "function_call_arguments.delta";
        let ends = ["function_call_arguments.done", "output_item.done"];
        assert_eq!(kinds, ["output_item.added", grows, grows, ends[0], ends[1], "output_item.added", grows]);

        // What comes for the first call now is no part of it, and none of the second.
        encoder.push(&call(0, " "), &mut out);
        encoder.push(&call(1, "}"), &mut out);
        encoder.finish(&mut out);
        let response = followed(&read(&out));
        assert_eq!(
            (&response["output"][0]["arguments"], &response["output"][1]["arguments"]),
            (&json!("{\"a\":1}"), &json!("{}"))
        );
    }

    #[test]
    fn an_error_is_the_last_event_and_the_answer_is_not_done() {
        let mut encoder = EventEncoder::new(Map::new());
        let mut out = Vec::new();
        encoder.push(&Delta::Text { choice: 0, text: "x".into() }, &mut out);
        let shape = ErrorShape {
            status: 502,
            message: "cut",
            kind: "server_error",
            param: None,
            code: Some("upstream_interrupted"),
        };
        encoder.error(&shape, &mut out);
        let events = read(&out);
        let error = events.last().unwrap();
        assert_eq!(
            (&error["type"], &error["message"], &error["code"]),
            (&json!("error"), &json!("cut"), &json!("upstream_interrupted"))
        );
        let object =
            json!({"type": "server_error", "message": "cut", "code": "upstream_interrupted", "param": null});
        assert_eq!(error["error"], object);
        assert!(!events.iter().any(|event| event["type"] == "response.completed"));
    }
}
