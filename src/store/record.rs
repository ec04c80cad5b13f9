//! The one stored form of requests and answers: JSON with a version.
//!
//! The domain's types are not serialisable on purpose, so that a change there cannot change what is on disk. Both
//! directions take their input apart without `..`: a new field does not compile until it has a place here. A change
//! that old readers would misread raises [`VERSION`]; a new optional field does not.

use serde::{Deserialize, Deserializer, Serialize};
use serde_json::Value;

use super::StoreError;
use super::answer_record::AnswerRecord;
use super::request_record::RequestRecord;
use crate::chat::{ChatRequest, ChatResponse, Message, Role, ToolCall};

/// The version of the form below.
pub(super) const VERSION: u32 = 1;

/// A request as it lies in the store: what many share, and the last prompt, which is nearly always another.
#[derive(Debug)]
pub(super) struct SplitRequest {
    /// The request without its last message where that is a plain prompt, else the whole of it.
    pub(super) context: Vec<u8>,
    /// The text of the last message, where it is a plain prompt.
    pub(super) prompt: Option<String>,
}

/// Writes a request.
pub(super) fn write_request(request: &ChatRequest) -> Result<SplitRequest, StoreError> {
    // PostgreSQL's texts cannot hold a NUL; such a prompt stays in the JSON, which escapes it.
    let prompt = request.last_prompt().filter(|prompt| !prompt.contains('\0'));
    let messages = &request.messages[..request.messages.len() - usize::from(prompt.is_some())];
    Ok(SplitRequest {
        context: to_json(&RequestRecord::new(request, messages))?,
        prompt: prompt.map(str::to_owned),
    })
}

/// Reads a request back; `None` if it is not in a form we know.
pub(super) fn read_request(context: &[u8], prompt: Option<String>) -> Option<ChatRequest> {
    let record: RequestRecord = serde_json::from_slice(context).ok()?;
    if record.v != VERSION {
        return None;
    }
    let mut request = record.into_request();
    request.messages.extend(prompt.map(|prompt| Message::text(Role::User, prompt)));
    Some(request)
}

/// Writes an answer and its entry's tags.
pub(super) fn write_answer(answer: &ChatResponse, tags: &[String]) -> Result<Vec<u8>, StoreError> {
    to_json(&AnswerRecord::new(answer, tags))
}

/// Reads an answer and its entry's tags back; `None` if it is not in a form we know.
pub(super) fn read_answer(bytes: &[u8]) -> Option<(ChatResponse, Vec<String>)> {
    let record: AnswerRecord = serde_json::from_slice(bytes).ok()?;
    (record.v == VERSION).then(|| record.into_answer())
}

fn to_json(record: &impl Serialize) -> Result<Vec<u8>, StoreError> {
    serde_json::to_vec(record).map_err(|_| StoreError::Unfit { reason: "it has no JSON form" })
}

/// Reads a field that is there, even where it says `null`: that is not the same request as an absent field.
pub(super) fn present<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<Value>, D::Error> {
    Value::deserialize(deserializer).map(Some)
}

#[derive(Serialize, Deserialize)]
pub(super) struct ToolCallRecord {
    id: String,
    name: String,
    arguments: String,
}

pub(super) fn tool_call_record(call: &ToolCall) -> ToolCallRecord {
    let ToolCall { id, name, arguments } = call.clone();
    ToolCallRecord { id, name, arguments }
}

impl ToolCallRecord {
    pub(super) fn into_tool_call(self) -> ToolCall {
        ToolCall { id: self.id, name: self.name, arguments: self.arguments }
    }
}

#[cfg(test)]
mod tests {
    use proptest::collection::vec;
    use proptest::option::of;
    use proptest::prelude::*;
    use serde_json::{Map, Number};

    use super::*;
    use crate::chat::{
        Choice, Dialect, FinishReason, LimitSpelling, OutputFormat, OutputLimit, Part, Sampling, Tool,
        ToolChoice, Usage,
    };

    fn json() -> impl Strategy<Value = Value> {
        let leaf = prop_oneof![
            Just(Value::Null),
            any::<bool>().prop_map(Value::Bool),
            any::<i64>().prop_map(Value::from),
            any::<u64>().prop_map(Value::from),
            any::<f64>().prop_map(|number| Number::from_f64(number).map_or(Value::Null, Value::Number)),
            any::<String>().prop_map(Value::String),
        ];
        leaf.prop_recursive(3, 12, 4, |inner| {
            prop_oneof![
                vec(inner.clone(), 0..4).prop_map(Value::Array),
                vec((any::<String>(), inner), 0..4)
                    .prop_map(|fields| Value::Object(fields.into_iter().collect())),
            ]
        })
    }

    fn fields() -> impl Strategy<Value = Map<String, Value>> {
        vec((any::<String>(), json()), 0..3).prop_map(|fields| fields.into_iter().collect())
    }

    fn tool_call() -> impl Strategy<Value = ToolCall> {
        any::<(String, String, String)>().prop_map(|(id, name, arguments)| ToolCall { id, name, arguments })
    }

    fn message() -> impl Strategy<Value = Message> {
        let role = prop_oneof![
            Just(Role::System),
            Just(Role::Developer),
            Just(Role::User),
            Just(Role::Assistant),
            Just(Role::Tool)
        ];
        let part = prop_oneof![any::<String>().prop_map(Part::Text), fields().prop_map(Part::Other)];
        let full = (
            role.clone(),
            vec(part, 0..3),
            any::<Option<String>>(),
            vec(tool_call(), 0..2),
            any::<Option<String>>(),
            fields(),
        )
            .prop_map(|(role, content, name, tool_calls, tool_call_id, unknown)| Message {
                role,
                content,
                name,
                tool_calls,
                tool_call_id,
                unknown,
            });
        prop_oneof![full, (role, any::<String>()).prop_map(|(role, text)| Message::text(role, text))]
    }

    fn tool() -> impl Strategy<Value = Tool> {
        let function = (any::<String>(), any::<Option<String>>(), of(json()), any::<Option<bool>>())
            .prop_map(|(name, description, parameters, strict)| Tool::Function {
                name,
                description,
                parameters,
                strict,
            });
        prop_oneof![function, json().prop_map(Tool::Other)]
    }

    fn tool_choice() -> impl Strategy<Value = ToolChoice> {
        prop_oneof![
            Just(ToolChoice::Auto),
            Just(ToolChoice::None),
            Just(ToolChoice::Required),
            any::<String>().prop_map(ToolChoice::Function),
            json().prop_map(ToolChoice::Other),
        ]
    }

    fn output_format() -> impl Strategy<Value = OutputFormat> {
        prop_oneof![
            Just(OutputFormat::Text),
            Just(OutputFormat::JsonObject),
            json().prop_map(OutputFormat::JsonSchema),
            json().prop_map(OutputFormat::Other),
        ]
    }

    fn sampling() -> impl Strategy<Value = Sampling> {
        (
            any::<[Option<f64>; 4]>(),
            any::<Option<i64>>(),
            any::<Vec<String>>(),
            any::<[Option<u32>; 2]>(),
            of(json()),
            any::<[Option<String>; 2]>(),
        )
            .prop_map(
                |(numbers, seed, stop, [n, logprobs], logit_bias, [reasoning_effort, verbosity])| {
                    let [temperature, top_p, presence_penalty, frequency_penalty] = numbers;
                    Sampling {
                        temperature,
                        top_p,
                        presence_penalty,
                        frequency_penalty,
                        seed,
                        stop,
                        n,
                        logit_bias,
                        logprobs,
                        reasoning_effort,
                        verbosity,
                    }
                },
            )
    }

    fn limit() -> impl Strategy<Value = OutputLimit> {
        let spelling = prop_oneof![Just(LimitSpelling::MaxTokens), Just(LimitSpelling::MaxCompletionTokens)];
        (any::<u32>(), spelling).prop_map(|(tokens, spelling)| OutputLimit { tokens, spelling })
    }

    fn request() -> impl Strategy<Value = ChatRequest> {
        let what = (vec(message(), 1..4), vec(tool(), 0..3), of(tool_choice()), output_format(), sampling());
        let how =
            (of(limit()), prop_oneof![Just(Dialect::Native), Just(Dialect::OpenAi)], fields(), fields());
        let who = any::<(Option<String>, Option<bool>, Option<String>)>();
        (what, how, who).prop_map(
            |(
                (messages, tools, tool_choice, output_format, sampling),
                (limit, dialect, unknown, carried),
                (model, parallel_tool_calls, end_user),
            )| ChatRequest {
                model,
                messages,
                tools,
                tool_choice,
                parallel_tool_calls,
                output_format,
                sampling,
                limit,
                dialect,
                unknown,
                carried,
                end_user,
            },
        )
    }

    fn choice() -> impl Strategy<Value = Choice> {
        let finish = prop_oneof![
            Just(FinishReason::Stop),
            Just(FinishReason::Length),
            Just(FinishReason::ToolCalls),
            Just(FinishReason::ContentFilter),
            any::<String>().prop_map(FinishReason::Other),
        ];
        (any::<u32>(), any::<[Option<String>; 2]>(), vec(tool_call(), 0..3), of(finish), of(json()), fields())
            .prop_map(|(index, [text, refusal], tool_calls, finish, logprobs, unknown)| Choice {
                index,
                text,
                refusal,
                tool_calls,
                finish,
                logprobs,
                unknown,
            })
    }

    fn answer() -> impl Strategy<Value = ChatResponse> {
        let usage =
            (any::<[u64; 2]>(), fields()).prop_map(|([prompt_tokens, completion_tokens], unknown)| Usage {
                prompt_tokens,
                completion_tokens,
                unknown,
            });
        (any::<(String, i64, String)>(), vec(choice(), 0..3), of(usage), fields()).prop_map(
            |((id, created, model), choices, usage, unknown)| ChatResponse {
                id,
                created,
                model,
                choices,
                usage,
                unknown,
            },
        )
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(64))]

        #[test]
        fn any_request_comes_back_as_it_was(request in request()) {
            let split = write_request(&request).unwrap();
            prop_assert_eq!(read_request(&split.context, split.prompt), Some(request));
        }

        #[test]
        fn any_answer_comes_back_as_it_was(answer in answer(), tags in any::<Vec<String>>()) {
            let bytes = write_answer(&answer, &tags).unwrap();
            prop_assert_eq!(read_answer(&bytes), Some((answer, tags)));
        }
    }

    #[test]
    fn requests_that_differ_in_the_last_prompt_alone_share_their_context() {
        let split = |prompt| write_request(&ChatRequest::from_prompt(prompt)).unwrap();
        let (one, other) = (split("one"), split("other"));
        assert_eq!(one.context, other.context);
        assert_eq!(one.prompt.as_deref(), Some("one"));
    }

    #[test]
    fn a_form_of_another_version_is_not_read() {
        let split = write_request(&ChatRequest::from_prompt("q")).unwrap();
        let newer = String::from_utf8(split.context).unwrap().replacen("\"v\":1", "\"v\":2", 1);
        assert_eq!(read_request(newer.as_bytes(), split.prompt), None);
    }
}
