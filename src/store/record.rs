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
use crate::chat::{ChatRequest, ChatResponse, Dialect, Message, Role};

/// The version of the form below.
pub(super) const VERSION: u32 = 2;

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

pub(super) fn to_json(record: &impl Serialize) -> Result<Vec<u8>, StoreError> {
    serde_json::to_vec(record).map_err(|_| StoreError::Unfit { reason: "it has no JSON form" })
}

/// Reads a field that is there, even where it says `null`: that is not the same request as an absent field.
pub(super) fn present<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<Value>, D::Error> {
    Value::deserialize(deserializer).map(Some)
}

#[derive(Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum DialectRecord {
    Native,
    Openai,
    Responses,
    Anthropic,
}

pub(super) fn dialect_record(dialect: Dialect) -> DialectRecord {
    match dialect {
        Dialect::Native => DialectRecord::Native,
        Dialect::OpenAi => DialectRecord::Openai,
        Dialect::Responses => DialectRecord::Responses,
        Dialect::Anthropic => DialectRecord::Anthropic,
    }
}

impl DialectRecord {
    pub(super) fn into_dialect(self) -> Dialect {
        match self {
            Self::Native => Dialect::Native,
            Self::Openai => Dialect::OpenAi,
            Self::Responses => Dialect::Responses,
            Self::Anthropic => Dialect::Anthropic,
        }
    }
}

#[cfg(test)]
pub(super) mod tests {
    use proptest::collection::vec;
    use proptest::option::of;
    use proptest::prelude::*;
    use serde_json::{Map, Number};

    use super::*;
    use crate::chat::any_part;
    use crate::chat::{
        Choice, FinishReason, JsonSchema, LimitSpelling, OutputFormat, OutputLimit, Sampling, Tool,
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

    fn message() -> impl Strategy<Value = Message> {
        let role = prop_oneof![
            Just(Role::System),
            Just(Role::Developer),
            Just(Role::User),
            Just(Role::Assistant),
            Just(Role::Tool)
        ];
        let full = (
            role.clone(),
            vec(any_part(), 0..3),
            any::<Option<String>>(),
            any::<Option<String>>(),
            any::<bool>(),
            fields(),
        )
            .prop_map(|(role, content, name, tool_call_id, is_error, unknown)| Message {
                role,
                content,
                name,
                tool_call_id,
                is_error,
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
            (any::<[Option<String>; 2]>(), of(json()), any::<Option<bool>>()).prop_map(
                |([name, description], schema, strict)| {
                    OutputFormat::JsonSchema(JsonSchema { name, description, schema, strict })
                }
            ),
            json().prop_map(OutputFormat::Other),
        ]
    }

    fn sampling() -> impl Strategy<Value = Sampling> {
        (
            any::<[Option<f64>; 4]>(),
            any::<Option<i64>>(),
            any::<Vec<String>>(),
            any::<[Option<u32>; 3]>(),
            of(json()),
            any::<[Option<String>; 2]>(),
        )
            .prop_map(
                |(numbers, seed, stop, [n, logprobs, top_k], logit_bias, [reasoning_effort, verbosity])| {
                    let [temperature, top_p, presence_penalty, frequency_penalty] = numbers;
                    Sampling {
                        temperature,
                        top_p,
                        top_k,
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

    fn dialect() -> impl Strategy<Value = Dialect> {
        prop_oneof![
            Just(Dialect::Native),
            Just(Dialect::OpenAi),
            Just(Dialect::Responses),
            Just(Dialect::Anthropic)
        ]
    }

    pub(in super::super) fn request() -> impl Strategy<Value = ChatRequest> {
        let what = (vec(message(), 1..4), vec(tool(), 0..3), of(tool_choice()), output_format(), sampling());
        let how = (of(limit()), dialect(), any::<Vec<String>>(), fields(), fields());
        let who = any::<(Option<String>, Option<bool>, Option<String>)>();
        (what, how, who).prop_map(
            |(
                (messages, tools, tool_choice, output_format, sampling),
                (limit, dialect, betas, unknown, carried),
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
                betas,
                cache_marks: Vec::new(),
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
            Just(FinishReason::Refusal),
            any::<String>().prop_map(FinishReason::StopText),
            any::<String>().prop_map(FinishReason::Other),
        ];
        (any::<u32>(), vec(any_part(), 0..4), of(finish), of(json()), fields()).prop_map(
            |(index, content, finish, logprobs, unknown)| Choice {
                index,
                content,
                finish,
                logprobs,
                unknown,
            },
        )
    }

    fn answer() -> impl Strategy<Value = ChatResponse> {
        let usage = (any::<[u64; 2]>(), any::<[Option<u64>; 3]>(), any::<bool>(), fields()).prop_map(
            |(
                [prompt_tokens, completion_tokens],
                [cached_tokens, cache_write_tokens, reasoning_tokens],
                is_estimated,
                unknown,
            )| Usage {
                prompt_tokens,
                completion_tokens,
                cached_tokens,
                cache_write_tokens,
                reasoning_tokens,
                is_estimated,
                unknown,
            },
        );
        (any::<(String, i64, String)>(), vec(choice(), 0..3), of(usage), dialect(), fields()).prop_map(
            |((id, created, model), choices, usage, dialect, unknown)| ChatResponse {
                id,
                created,
                model,
                choices,
                usage,
                dialect,
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
        let newer = String::from_utf8(split.context).unwrap().replacen("\"v\":2", "\"v\":3", 1);
        assert_eq!(read_request(newer.as_bytes(), split.prompt), None);
    }
}
