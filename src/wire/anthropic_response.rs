//! A whole Anthropic Messages answer or error: read from an upstream, written to a client.

use serde::ser::SerializeMap;
use serde::{Serialize, Serializer};
use serde_json::{Map, Value};

use super::ErrorShape;
use super::anthropic_message::{OutBlock, input_of, plain_call, signature_of, text_part};
use super::anthropic_thread::THREAD_NOT_FOUND;
use super::anthropic_usage::{OutUsage, read_usage};
use super::failure::{AnswerError, parse};
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
                    return Err(AnswerError::said(&error));
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

/// What an answer has besides words, which other dialects do not count as a reason to end: they say `stop`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Besides {
    /// Calls of tools. Some servers say `stop` all the same, and a caller of this dialect would run none of them.
    pub(super) calls: bool,
    /// Words of refusal, which OpenAI has a field for.
    pub(super) refusal: bool,
}

impl<'a> OutFinish<'a> {
    /// `is_own` says whether the answer came in this dialect: a word that we do not know is another one's otherwise.
    pub(super) fn of(finish: Option<&'a FinishReason>, is_own: bool, besides: Besides) -> Self {
        let finish = finish.map(|finish| if is_own { finish } else { finish.abroad() });
        let stop_reason = finish.map(|finish| match finish {
            FinishReason::Stop if besides.refusal && !is_own => "refusal",
            FinishReason::Stop if besides.calls && !is_own => "tool_use",
            FinishReason::Stop => "end_turn",
            FinishReason::StopText(_) => "stop_sequence",
            FinishReason::Length => "max_tokens",
            FinishReason::ToolCalls => "tool_use",
            FinishReason::ContentFilter | FinishReason::Refusal => "refusal",
            FinishReason::Other(word) => word,
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
    let besides = Besides {
        calls: choice.is_some_and(|choice| choice.tool_calls().next().is_some()),
        refusal: choice.and_then(Choice::refusal).is_some_and(|words| !words.is_empty()),
    };
    let message = OutMessage {
        id,
        model,
        content: blocks.filter_map(|part| out_block(part, is_own)).collect(),
        finish: OutFinish::of(choice.and_then(|choice| choice.finish.as_ref()), is_own, besides),
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
        Part::Cited { text, citations } if is_own => {
            Some(OutBlock::Text { text, citations, cache_control: None })
        }
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
            Some(OutBlock::ToolUse { id, name, input, cache_control: None })
        }
        Part::Other(fields) => is_own.then_some(OutBlock::Other { fields, cache_control: None }),
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
        #[serde(skip_serializing_if = "Option::is_none")]
        details: Option<Details<'a>>,
    }
    #[derive(Serialize)]
    struct Details<'a> {
        error_code: &'a str,
    }
    let ErrorShape { status, message, kind: _, param: _, code } = *error;
    // Codes of our own are none that Anthropic's SDKs know.
    let details = code.filter(|code| *code == THREAD_NOT_FOUND).map(|error_code| Details { error_code });
    let error = Fields { r#type: error_type(status), message, details };
    let body = Body { r#type: "error", error, request_id };
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

#[cfg(test)]
pub(super) mod tests {
    use super::super::anthropic_usage::tests::any_usage;
    use super::super::json::tests::any_json;
    use super::super::openai;
    use super::*;
    use crate::chat::{Image, ImageSource, Usage};
    use proptest::prelude::*;
    use serde_json::json;

    fn any_fields(names: &'static str) -> impl Strategy<Value = Map<String, Value>> {
        let value = any_json().prop_filter("null is no field", |value| !value.is_null());
        prop::collection::vec((names, value), 0..3).prop_map(|fields| fields.into_iter().collect())
    }

    /// Any part that this format has a block for. A text without words and a thought without words or seal have none; a
    /// refusal is a text here, and a picture is never answered. A call's arguments are an object, and how their JSON was
    /// spaced is not kept.
    fn any_part() -> impl Strategy<Value = Part> {
        let text = || prop_oneof!["[ab]{1,2}", ".{1,40}"];
        let citation = any_json().prop_filter("null is no source", |value| !value.is_null());
        let citations = prop::collection::vec(citation, 1..3);
        let thought = (any::<String>(), prop::option::of("[ab]{1,2}"));
        let input = any_fields("[a-z]{0,3}").prop_map(|fields| Value::Object(fields).to_string());
        prop_oneof![
            4 => text().prop_map(Part::Text),
            2 => (any::<String>(), citations).prop_map(|(text, citations)| Part::Cited { text, citations }),
            2 => thought
                .prop_filter("says something", |(text, seal)| !text.is_empty() || seal.is_some())
                .prop_map(|(text, signature)| Part::Reasoning(Reasoning { text, signature })),
            2 => (any::<String>(), any::<String>(), input).prop_map(|(id, name, arguments)| {
                Part::ToolCall(ToolCall { id, name, arguments, signature: None })
            }),
            1 => ("x_[a-z]{0,3}", any_fields("f_[a-z]{0,2}")).prop_map(|(kind, mut fields)| {
                fields.insert("type".to_owned(), kind.into());
                Part::Other(fields)
            }),
        ]
    }

    fn any_finish() -> impl Strategy<Value = FinishReason> {
        prop_oneof![
            Just(FinishReason::Stop),
            any::<String>().prop_map(FinishReason::StopText),
            Just(FinishReason::Length),
            Just(FinishReason::ToolCalls),
            Just(FinishReason::Refusal),
            "x_[a-z]{0,3}".prop_map(FinishReason::Other),
        ]
    }

    /// Any answer that this format can carry: one choice, when it was made unsaid, its tokens counted. Of the fields that
    /// we do not know, those told at the end are the message's, all others the answer's.
    pub(in crate::wire) fn any_answer() -> impl Strategy<Value = ChatResponse> {
        let late = prop::sample::select(LATE.to_vec());
        let value = any_json().prop_filter("null is no field", |value| !value.is_null());
        let late = prop::collection::btree_map(late.prop_map(str::to_owned), value, 0..3);
        let choice = (prop::collection::vec(any_part(), 0..6), prop::option::of(any_finish()), late)
            .prop_filter("says something", |(content, finish, _)| !content.is_empty() || finish.is_some());
        (any::<(String, String)>(), choice, any_usage(), any_fields("a_[a-z]{0,2}")).prop_map(
            |((id, model), (content, finish, late), usage, unknown)| ChatResponse {
                id,
                created: 0,
                model,
                choices: vec![Choice {
                    index: 0,
                    content,
                    // What is told at the end is told only where there is one.
                    unknown: if finish.is_some() { late.into_iter().collect() } else { Map::new() },
                    finish,
                    logprobs: None,
                }],
                usage: Some(usage),
                dialect: Dialect::Anthropic,
                unknown,
            },
        )
    }

    proptest! {
        #[test]
        fn an_answer_written_and_read_again_is_the_same(answer in any_answer()) {
            prop_assert_eq!(decode_response(&encode_response(&answer)), Ok(answer));
        }

        #[test]
        fn any_answer_of_another_vendor_is_written(
            mut answer in super::super::openai_response::tests::any_answer(),
        ) {
            // Without words or a reason to end it would say nothing.
            answer.choices[0].finish.get_or_insert(FinishReason::Stop);
            let read = decode_response(&encode_response(&answer)).unwrap();
            let texts = answer.choices[0].content.iter().filter_map(|part| match part {
                Part::Refusal(words) => Some(words.as_str()),
                part => part.text(),
            });
            prop_assert_eq!(read.text(), texts.collect::<String>());
            prop_assert_eq!(read.choices[0].tool_calls().count(), answer.choices[0].tool_calls().count());
        }

        #[test]
        fn any_json_is_an_answer_or_a_fault(body in any_json(), kind in any_json(), block in any_json()) {
            let _ = decode_response(body.to_string().as_bytes());
            for kind in [kind, json!("text"), json!("thinking"), json!("tool_use")] {
                let block = json!({"type": kind, "text": block, "thinking": block, "input": block, "caller": block});
                let body = json!({"content": [block], "usage": body, "stop_reason": body});
                let _ = decode_response(body.to_string().as_bytes());
            }
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
            r#"{"content": []}"#,
            r#"{"content": null, "stop_reason": "end_turn"}"#,
            r#"{"content": "x", "stop_reason": "end_turn"}"#,
            r#"{"content": ["x"], "stop_reason": "end_turn"}"#,
            r#"{"content": [{"type": "text", "text": ""}]}"#,
            r#"{"choices": [{"message": {"content": "x"}}]}"#,
        ] {
            assert!(matches!(decode_response(body.as_bytes()), Err(AnswerError::Malformed(_))), "{body}");
        }
        let refused = br#"{"content": [], "stop_reason": "refusal", "stop_details": {"type": "refusal"}}"#;
        let refused = decode_response(refused).unwrap();
        assert_eq!(refused.choices[0].finish, Some(FinishReason::Refusal));
        assert!(refused.choices[0].unknown.contains_key("stop_details"));
    }

    #[test]
    fn an_error_under_a_good_status_is_an_error() {
        let body = br#"{"type": "error", "error": {"type": "overloaded_error", "message": "Overloaded"}}"#;
        let Err(AnswerError::Error(error)) = decode_response(body) else { panic!("no error") };
        assert_eq!((error.kind.as_deref(), error.message.as_str()), (Some("overloaded_error"), "Overloaded"));
    }

    #[test]
    fn calls_of_the_callers_tools_are_calls_and_others_are_the_vendors_own() {
        let read = |block: Value| {
            let body = json!({"content": [block], "stop_reason": "tool_use"});
            decode_response(body.to_string().as_bytes()).unwrap().choices[0].content[0].clone()
        };
        let mut call = json!({"type": "tool_use", "id": "t", "name": "f", "input": {"b": 1, "a": 2}});
        call["caller"] = json!({"type": "direct"});
        call["later"] = json!("something new");
        assert!(matches!(read(call.clone()), Part::ToolCall(call) if call.arguments == r#"{"b":1,"a":2}"#));
        call["caller"] = json!({"type": "code_execution_20260120", "tool_id": "s"});
        assert!(matches!(read(call), Part::Other(_)));
        let search = json!({"type": "server_tool_use", "id": "s", "name": "web_search", "input": {}});
        assert!(matches!(read(search), Part::Other(_)));
        // Everybody shall see the text, whatever a vendor adds to it.
        let text = json!({"type": "text", "text": "x", "citations": null, "later": 1});
        assert_eq!(read(text), Part::Text("x".into()));
    }

    #[test]
    fn what_another_vendor_answered_is_shown_as_far_as_it_goes() {
        let content = vec![
            Part::Reasoning(Reasoning { text: "hm".into(), signature: Some("theirs".into()) }),
            Part::Text(String::new()),
            Part::Cited { text: "so".into(), citations: vec![json!({"type": "url_citation"})] },
            Part::Refusal("no".into()),
            Part::ToolCall(ToolCall {
                id: "c".into(),
                name: "f".into(),
                arguments: "{ \"x\": 1 }".into(),
                signature: None,
            }),
            Part::ToolCall(ToolCall {
                id: "d".into(),
                name: "f".into(),
                arguments: "[1]".into(),
                signature: None,
            }),
            Part::Image(Image { source: ImageSource::Url("https://a".into()), detail: None }),
            Part::Other(Map::from_iter([("type".to_owned(), json!("theirs"))])),
        ];
        let unknown = Map::from_iter([("theirs".to_owned(), json!(1))]);
        let choice = Choice {
            content,
            finish: Some(FinishReason::ContentFilter),
            unknown: unknown.clone(),
            ..Choice::default()
        };
        let answer = ChatResponse {
            id: "chatcmpl-1".into(),
            model: "m".into(),
            choices: vec![choice, Choice::default()],
            usage: Some(Usage {
                prompt_tokens: 5,
                cached_tokens: Some(3),
                unknown: unknown.clone(),
                ..Usage::default()
            }),
            dialect: Dialect::OpenAi,
            unknown,
            ..ChatResponse::default()
        };
        let shown: Value = serde_json::from_slice(&encode_response(&answer)).unwrap();
        assert_eq!(
            shown,
            json!({
                "id": "chatcmpl-1", "type": "message", "role": "assistant", "model": "m",
                "content": [
                    {"type": "thinking", "thinking": "hm", "signature": ""},
                    {"type": "text", "text": "so"},
                    {"type": "text", "text": "no"},
                    {"type": "tool_use", "id": "c", "name": "f", "input": {"x": 1}},
                    {"type": "tool_use", "id": "d", "name": "f", "input": {}},
                ],
                "stop_reason": "refusal", "stop_sequence": null,
                "usage": {"input_tokens": 2, "cache_read_input_tokens": 3, "output_tokens": 0},
            })
        );
    }

    #[test]
    fn the_end_of_another_vendors_answer_is_told_in_anthropics_words() {
        let call = ToolCall { id: "c".into(), name: "f".into(), ..ToolCall::default() };
        let choice = Choice { content: vec![Part::ToolCall(call)], ..Choice::default() };
        let mut answer =
            ChatResponse { choices: vec![choice], dialect: Dialect::OpenAi, ..ChatResponse::default() };
        let refused = Choice {
            content: vec![Part::Refusal("No.".into())],
            finish: Some(FinishReason::Stop),
            ..Choice::default()
        };
        let refused = ChatResponse { choices: vec![refused], ..answer.clone() };
        let shown: Value = serde_json::from_slice(&encode_response(&refused)).unwrap();
        assert_eq!((&shown["stop_reason"], &shown["content"][0]["text"]), (&json!("refusal"), &json!("No.")));
        for (finish, word) in [
            (Some(FinishReason::Length), json!("max_tokens")),
            (Some(FinishReason::ToolCalls), json!("tool_use")),
            // Said by servers that call tools all the same.
            (Some(FinishReason::Stop), json!("tool_use")),
            (Some(FinishReason::Other("theirs".into())), json!("max_tokens")),
            (None, Value::Null),
        ] {
            answer.choices[0].finish = finish;
            let shown: Value = serde_json::from_slice(&encode_response(&answer)).unwrap();
            assert_eq!(shown["stop_reason"], word);
            let mut events = Vec::new();
            let mut encoder = super::super::anthropic::EventEncoder::default();
            answer.deltas().iter().for_each(|delta| encoder.push(delta, &mut events));
            encoder.finish(&mut events);
            let streamed = String::from_utf8(events).unwrap();
            assert!(streamed.contains(&format!("\"delta\":{{\"stop_reason\":{word}")), "{streamed}");
        }
    }

    #[test]
    fn an_answer_of_anthropic_is_shown_to_openais_clients() {
        let body = json!({
            "id": "msg_1", "type": "message", "role": "assistant", "model": "claude",
            "content": [
                {"type": "thinking", "thinking": "hm", "signature": "s"},
                {"type": "text", "text": "It is ", "citations": null},
                {"type": "text", "text": "so.", "citations": [{"type": "char_location"}]},
                {"type": "tool_use", "id": "t", "name": "f", "input": {}},
            ],
            "stop_reason": "tool_use", "stop_sequence": null, "stop_details": null, "container": {"id": "c"},
            "usage": {"input_tokens": 1, "cache_read_input_tokens": 2, "output_tokens": 3, "service_tier": "standard"},
        });
        let answer = decode_response(body.to_string().as_bytes()).unwrap();
        let shown: Value = serde_json::from_slice(&openai::encode_response(&answer)).unwrap();
        let message = &shown["choices"][0]["message"];
        assert_eq!((&message["content"], &message["reasoning_content"]), (&json!("It is so."), &json!("hm")));
        assert_eq!(message["tool_calls"][0]["function"], json!({"name": "f", "arguments": "{}"}));
        assert_eq!(shown["choices"][0]["finish_reason"], "tool_calls");
        assert_eq!(shown["usage"]["prompt_tokens"], 3);
        assert!(!shown.to_string().contains("container") && !shown.to_string().contains("service_tier"));
    }

    #[test]
    fn errors_have_the_class_of_their_status() {
        for (status, class) in [
            (400, "invalid_request_error"),
            (401, "authentication_error"),
            (402, "billing_error"),
            (403, "permission_error"),
            (404, "not_found_error"),
            (405, "invalid_request_error"),
            (409, "conflict_error"),
            (413, "request_too_large"),
            (429, "rate_limit_error"),
            (500, "api_error"),
            (502, "api_error"),
            (503, "overloaded_error"),
            (504, "timeout_error"),
            (529, "overloaded_error"),
        ] {
            let error = ErrorShape { status, message: "m", kind: "k", param: Some("p"), code: Some("c") };
            let body: Value = serde_json::from_slice(&encode_error(&error, "req-1")).unwrap();
            assert_eq!(
                body,
                json!({"type": "error", "error": {"type": class, "message": "m"}, "request_id": "req-1"})
            );
        }
    }
}
