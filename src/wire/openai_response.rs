//! A whole Chat Completions answer or error: read from an upstream, written to a client.

use std::borrow::Cow;

use serde::ser::SerializeMap;
use serde::{Serialize, Serializer};
use serde_json::{Map, Value};

use super::ErrorShape;
use super::failure::{AnswerError, parse};
use super::openai_call::{OutCalls, TOOL_CALLS, function_calls};
use super::openai_message::{REASONING, REASONING_RENAMED};
use super::openai_usage::{OutUsage, read_usage};
use crate::chat::{ChatResponse, Choice, Dialect, FinishReason, Part, Reasoning, Usage};

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
    Ok(ChatResponse { id, created, model, choices, usage, dialect: Dialect::OpenAi, unknown })
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
                    return Err(AnswerError::said(&error));
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

fn read_choice(value: Value, at: u32) -> Result<Choice, AnswerError> {
    let Value::Object(mut fields) = value else {
        return Err(AnswerError::malformed("a choice is not an object"));
    };
    let finish = read_finish(&fields)?;
    // What a filter withheld, or a limit cut before the first word, is an answer; Azure leaves out even the message.
    let may_be_silent = matches!(finish, Some(FinishReason::ContentFilter | FinishReason::Length));
    let message = match fields.remove("message") {
        Some(Value::Object(message)) => message,
        None | Some(Value::Null) if may_be_silent => Map::new(),
        _ => return Err(AnswerError::malformed("a choice has no message")),
    };
    let (mut thought, mut renamed, mut text, mut refusal, mut calls) = (None, None, None, None, Vec::new());
    let mut unknown = Map::new();
    for (field, value) in message {
        match (field.as_str(), value) {
            ("role", _) | (_, Value::Null) => {}
            ("content", Value::String(words)) => text = Some(words),
            ("content", _) => return Err(AnswerError::malformed("the content is not a text")),
            (REASONING, Value::String(words)) => thought = Some(words).filter(|words| !words.is_empty()),
            (REASONING_RENAMED, Value::String(words)) => {
                // Kept besides, since callers of this dialect may look for it under this name.
                renamed = Some(words.clone()).filter(|words| !words.is_empty());
                unknown.insert(field, Value::String(words));
            }
            ("refusal", Value::String(words)) => refusal = Some(words),
            (TOOL_CALLS, Value::Array(items)) if items.is_empty() => {}
            (TOOL_CALLS, Value::Array(items)) => match function_calls(&items) {
                Some(functions) => calls = functions,
                None => drop(unknown.insert(field, Value::Array(items))),
            },
            (_, value) => drop(unknown.insert(field, value)),
        }
    }
    let thought = thought.or(renamed).map(|text| Part::Reasoning(Reasoning { text, signature: None }));
    let said = [thought, text.map(Part::Text), refusal.map(Part::Refusal)].into_iter().flatten();
    let content: Vec<_> = said.chain(calls.into_iter().map(Part::ToolCall)).collect();
    if content.is_empty() && !may_be_silent && unknown.values().all(says_nothing) {
        return Err(AnswerError::malformed("a message has neither content nor a call"));
    }
    Ok(Choice {
        index: index_of(&fields).unwrap_or(at),
        content,
        finish,
        logprobs: fields.remove("logprobs").filter(|value| !value.is_null()),
        unknown,
    })
}

/// Reads why a choice ended; `None` where it has not.
pub(super) fn read_finish(fields: &Map<String, Value>) -> Result<Option<FinishReason>, AnswerError> {
    match fields.get("finish_reason").and_then(Value::as_str) {
        None | Some("") => Ok(None),
        // What OpenRouter, DeepSeek and vLLM say where the model broke off.
        Some("error" | "insufficient_system_resource" | "abort") => {
            Err(AnswerError::malformed("the vendor ended the answer with an error"))
        }
        Some(word) => Ok(Some(FinishReason::parse(word))),
    }
}

/// `annotations: []` comes with every answer of OpenAI.
fn says_nothing(value: &Value) -> bool {
    value.as_array().is_some_and(Vec::is_empty)
}

pub(super) fn index_of(fields: &Map<String, Value>) -> Option<u32> {
    u32::try_from(fields.get("index")?.as_u64()?).ok()
}

/// Writes an answer for a client. What other vendors know besides, this dialect does not show: see the README.
pub fn encode_response(answer: &ChatResponse) -> Vec<u8> {
    let texts = answer.choices.iter().flat_map(|choice| &choice.content).filter_map(Part::text);
    let text_bytes: usize = texts.map(str::len).sum();
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
        let ChatResponse { id, created, model, choices, usage, dialect, unknown } = self.0;
        let with_unknown = *dialect == Dialect::OpenAi;
        let mut map = serializer.serialize_map(None)?;
        map.serialize_entry("id", id)?;
        map.serialize_entry("object", "chat.completion")?;
        map.serialize_entry("created", created)?;
        map.serialize_entry("model", model)?;
        map.serialize_key("choices")?;
        map.serialize_value(&Each(choices.iter().map(|choice| OutChoice { choice, with_unknown })))?;
        if let Some(usage) = usage {
            map.serialize_entry("usage", &OutUsage { usage, with_unknown })?;
        }
        if with_unknown {
            for (field, value) in unknown {
                map.serialize_entry(field, value)?;
            }
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

#[derive(Clone, Copy)]
struct OutChoice<'a> {
    choice: &'a Choice,
    with_unknown: bool,
}

impl Serialize for OutChoice<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let Choice { index, finish, logprobs, .. } = self.choice;
        let mut map = serializer.serialize_map(Some(4))?;
        map.serialize_entry("index", index)?;
        map.serialize_entry("message", &OutAnswerMessage(*self))?;
        map.serialize_entry("logprobs", logprobs)?;
        let finish = finish.as_ref().map(|finish| if self.with_unknown { finish } else { finish.abroad() });
        map.serialize_entry("finish_reason", &finish.map(FinishReason::name))?;
        map.end()
    }
}

struct OutAnswerMessage<'a>(OutChoice<'a>);

impl Serialize for OutAnswerMessage<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let OutChoice { choice, with_unknown } = self.0;
        let mut map = serializer.serialize_map(None)?;
        map.serialize_entry("role", "assistant")?;
        map.serialize_entry("content", &choice.text())?;
        map.serialize_entry("refusal", &choice.refusal())?;
        if let Some(thought) = thoughts(choice) {
            map.serialize_entry(REASONING, &thought)?;
        }
        let calls = OutCalls { calls: choice.tool_calls(), with_seals: true };
        match choice.unknown.get(TOOL_CALLS).filter(|_| with_unknown) {
            Some(Value::Array(others)) => map.serialize_entry(TOOL_CALLS, &in_order(&calls, others))?,
            _ if calls.calls.clone().next().is_some() => map.serialize_entry(TOOL_CALLS, &calls)?,
            _ => {}
        }
        if with_unknown {
            for (field, value) in choice.unknown.iter().filter(|(field, _)| *field != TOOL_CALLS) {
                map.serialize_entry(field, value)?;
            }
        }
        map.end()
    }
}

/// Puts calls that are no function's, whose place a stream has told, among those that are.
fn in_order(calls: &impl Serialize, others: &[Value]) -> Value {
    let mut all = serde_json::to_value(calls).expect(WRITES);
    if let Value::Array(all) = &mut all {
        for other in others {
            let mut other = other.clone();
            let at = other.as_object_mut().and_then(|fields| fields.shift_remove("index"));
            let at = at.and_then(|at| usize::try_from(at.as_u64()?).ok());
            all.insert(at.map_or(all.len(), |at| at.min(all.len())), other);
        }
    }
    all
}

/// Returns what the model thought before and between its words.
fn thoughts(choice: &Choice) -> Option<Cow<'_, str>> {
    let mut thoughts = choice.content.iter().filter_map(|part| match part {
        Part::Reasoning(Reasoning { text, .. }) => Some(text.as_str()),
        _ => None,
    });
    let first = Cow::Borrowed(thoughts.next()?);
    Some(thoughts.fold(first, |text, more| text + more))
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
    let ErrorShape { status: _, message, kind, param, code } = *error;
    serde_json::to_writer(out, &Body { error: Fields { message, r#type: kind, param, code } }).expect(WRITES);
}

#[cfg(test)]
pub(super) mod tests {
    use super::super::json::tests::any_json;
    use super::super::openai_usage::BELIEVABLE_TOKENS;
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
        let call = (any::<String>(), any::<String>(), any::<String>(), prop::option::of("[a-z]{1,4}"))
            .prop_map(|(id, name, arguments, signature)| {
                Part::ToolCall(ToolCall { id, name, arguments, signature })
            });
        let thought = ".{1,9}".prop_map(|text| Part::Reasoning(Reasoning { text, signature: None }));
        let finish = prop_oneof!["stop", "length", "tool_calls", "[a-z]{6,9}"];
        // This format has one place for each kind of part, so they always come in this order.
        let said = (prop::option::of(thought), any::<String>(), any::<Option<String>>());
        (
            said,
            prop::collection::vec(call, 0..3),
            prop::option::of(finish),
            any_fields("l_"),
            any_fields("m_"),
        )
            .prop_map(|((thought, text, refusal), calls, finish, logprobs, unknown)| {
                // An empty text is said only where nothing else is.
                let is_text =
                    !text.is_empty() || (thought.is_none() && refusal.is_none() && calls.is_empty());
                let text = is_text.then_some(Part::Text(text));
                let said = [thought, text, refusal.map(Part::Refusal)].into_iter().flatten();
                Choice {
                    index: 0,
                    content: said.chain(calls).collect(),
                    finish: finish.map(|word| FinishReason::parse(&word)),
                    logprobs: (!logprobs.is_empty()).then_some(Value::Object(logprobs)),
                    unknown,
                }
            })
    }

    /// Any counts that a vendor may give.
    pub(in crate::wire) fn any_usage() -> impl Strategy<Value = Usage> {
        let count = || 0..BELIEVABLE_TOKENS;
        let maybe = || prop::option::of(count());
        (count(), count(), [maybe(), maybe(), maybe()], any::<bool>(), any_fields("u_")).prop_map(
            |(prompt_tokens, completion_tokens, [cached, written, reasoning], is_estimated, unknown)| Usage {
                prompt_tokens,
                completion_tokens,
                cached_tokens: cached,
                cache_write_tokens: written,
                reasoning_tokens: reasoning,
                is_estimated,
                unknown,
            },
        )
    }

    /// Any answer that says something.
    pub(in crate::wire) fn any_answer() -> impl Strategy<Value = ChatResponse> {
        (
            any::<(String, i64, String)>(),
            prop::collection::vec(any_choice(), 1..4),
            prop::option::of(any_usage()),
            any_fields("a_"),
        )
            .prop_map(|((id, created, model), mut choices, usage, unknown)| {
                for (choice, index) in choices.iter_mut().zip(0..) {
                    choice.index = index;
                }
                ChatResponse { id, created, model, choices, usage, dialect: Dialect::OpenAi, unknown }
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
    fn an_error_under_a_good_status_is_an_error() {
        let disguised = decode_response(br#"{"error": {"message": "m", "code": 502}, "choices": []}"#);
        let Err(AnswerError::Error(error)) = disguised else { panic!("no error") };
        assert_eq!(error.status(), Some(502));
        let broken = br#"{"choices": [{"message": {"content": "x"}, "finish_reason": "error"}]}"#;
        assert!(matches!(decode_response(broken), Err(AnswerError::Malformed(_))));
    }

    fn one(message: &str, finish: &str) -> Result<ChatResponse, AnswerError> {
        decode_response(
            format!(r#"{{"choices": [{{"message": {message}, "finish_reason": "{finish}"}}]}}"#).as_bytes(),
        )
    }

    #[test]
    fn an_answer_that_was_withheld_or_cut_before_its_first_word_is_one() {
        for finish in ["content_filter", "length"] {
            for message in [r#"{"role": "assistant", "content": null}"#, "null"] {
                let answer = one(message, finish).unwrap();
                assert!(answer.choices[0].content.is_empty());
                assert_eq!(answer.choices[0].finish, Some(FinishReason::parse(finish)));
            }
        }
        assert!(one(r#"{"content": null}"#, "stop").is_err());
        for broken in ["insufficient_system_resource", "abort"] {
            assert!(matches!(one(r#"{"content": "x"}"#, broken), Err(AnswerError::Malformed(_))), "{broken}");
        }
    }

    #[test]
    fn a_vendors_own_word_is_told_abroad_as_a_cut() {
        let mut answer = one(r#"{"content": "x"}"#, "theirs").unwrap();
        let told = |answer: &ChatResponse| {
            let written: Value = serde_json::from_slice(&encode_response(answer)).unwrap();
            written["choices"][0]["finish_reason"].as_str().unwrap().to_owned()
        };
        assert_eq!(told(&answer), "theirs");
        answer.dialect = Dialect::Anthropic;
        assert_eq!(told(&answer), "length");
    }

    #[test]
    fn thoughts_are_found_under_both_names() {
        let thought = |text: &str| Part::Reasoning(Reasoning { text: text.into(), signature: None });
        for message in [
            r#"{"content": "x", "reasoning": "hm"}"#,
            r#"{"content": "x", "reasoning": "hm", "reasoning_content": "hm"}"#,
        ] {
            let answer = one(message, "stop").unwrap();
            assert_eq!(answer.choices[0].content, [thought("hm"), Part::Text("x".into())], "{message}");
            let written: Value = serde_json::from_slice(&encode_response(&answer)).unwrap();
            let message = &written["choices"][0]["message"];
            assert_eq!((&message["reasoning"], &message["reasoning_content"]), (&"hm".into(), &"hm".into()));
        }
    }

    #[test]
    fn thoughts_counted_beside_the_answer_are_counted_in() {
        let usage = |completion: u64, total: u64| {
            let fields = serde_json::json!({"prompt_tokens": 10, "completion_tokens": completion, "total_tokens": total,
                "completion_tokens_details": {"reasoning_tokens": 7}});
            read_usage(fields.as_object().unwrap().clone()).unwrap()
        };
        // xAI counts them beside, all others within.
        assert_eq!((usage(3, 20).completion_tokens, usage(9, 19).completion_tokens), (10, 9));
        assert!(usage(3, 20).unknown.is_empty());
        assert_eq!(usage(3, 21).completion_tokens, 3);
    }

    #[test]
    fn what_only_another_dialect_shows_is_left_out() {
        let mut answer =
            decode_response(br#"{"choices": [{"message": {"content": "x"}}], "odd": 1}"#).unwrap();
        answer.choices[0].content.push(Part::Other([("type".to_owned(), "x".into())].into_iter().collect()));
        assert!(String::from_utf8(encode_response(&answer)).unwrap().contains("odd"));
        answer.dialect = Dialect::Anthropic;
        assert!(!String::from_utf8(encode_response(&answer)).unwrap().contains("odd"));
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
