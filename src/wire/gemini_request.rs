//! A `generateContent` request, written for an upstream.

use std::borrow::Cow;

use serde::Serialize;
use serde_json::value::RawValue;
use serde_json::{Map, Value, json};

use super::Inexpressible;
use super::foreign::refuse_foreign;
use super::openai_response::WRITES;
use crate::chat::{
    ChatRequest, Image, ImageSource, JsonSchema, Message, OutputFormat, OutputLimit, Part, Role, Sampling,
    Tool, ToolCall, ToolChoice,
};

/// Writes a request for an upstream. Model and streaming stand in the address; `model` only says which generation of
/// fields it takes.
///
/// System texts are hoisted, in order, to where Gemini has its one place for them. Turns of one role that follow each
/// other become one turn. What the model thought in earlier turns is left out: thoughts mean something only to the
/// vendor that thought them, and all that Gemini wants back of its own is the seal on its calls. How closely to look at
/// a picture is a hint that it has no field for, and texts without a character are nothing to it.
///
/// # Errors
/// Names what the request asks for that this format cannot say.
pub fn encode_request(request: &ChatRequest, model: &str) -> Result<Vec<u8>, Inexpressible> {
    refuse_foreign(request, &[], "Gemini")?;
    let ChatRequest {
        model: _, // Stands in the address.
        messages,
        tools,
        tool_choice,
        parallel_tool_calls,
        output_format,
        sampling,
        limit,
        dialect: _,
        betas: _, // Anthropic's.
        // Fields of other dialects, every one of them.
        unknown: _,
        carried: _,
        end_user: _,
    } = request;
    let may_call = !tools.is_empty() && !matches!(tool_choice, Some(ToolChoice::None));
    if *parallel_tool_calls == Some(false) && may_call {
        let reason = "cannot be false with Gemini, which decides itself how many functions it calls at once";
        return Err(Inexpressible::new("parallel_tool_calls", reason));
    }
    let generation = Generation::of(model);
    let mut conversation = Conversation::default();
    for at in 0..messages.len() {
        conversation.add(messages, at, generation)?;
    }
    let Conversation { system, turns } = conversation;
    if turns.is_empty() {
        let reason = "has no turn that says anything, and Gemini does not begin by itself";
        return Err(Inexpressible::new("messages", reason));
    }
    let declarations: Vec<_> = tools.iter().filter_map(declaration).collect();
    let out = OutRequest {
        contents: turns,
        system_instruction: (!system.is_empty()).then_some(Turn { role: None, parts: system }),
        tool_config: tool_config(tools, tool_choice.as_ref()),
        tools: (!declarations.is_empty()).then_some([OutTools { function_declarations: declarations }]),
        generation_config: generation_config(sampling, output_format, *limit, generation)?,
    };
    Ok(serde_json::to_vec(&out).expect(WRITES))
}

/// What a model's generation wants to be told, and how.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Generation {
    /// Up to Gemini 2.5: thinking has a budget of tokens.
    Budgets,
    /// From Gemini 3 on: thinking has levels, and calls must carry their seals.
    Levels,
}

impl Generation {
    /// Returns the generation of a model. A name without a number, such as `gemini-flash-latest`, is a recent one.
    fn of(model: &str) -> Self {
        let name = model.rsplit('/').next().unwrap_or(model);
        let is_old = |number: &str| {
            name.strip_prefix("gemini-")
                .and_then(|rest| rest.strip_prefix(number))
                .is_some_and(|rest| !rest.starts_with(|next: char| next.is_ascii_digit()))
        };
        if ["1", "2"].into_iter().any(is_old) { Self::Budgets } else { Self::Levels }
    }
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct OutRequest<'a> {
    contents: Vec<Turn<'a>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    system_instruction: Option<Turn<'a>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    tools: Option<[OutTools<'a>; 1]>,
    #[serde(skip_serializing_if = "Option::is_none")]
    tool_config: Option<Value>,
    #[serde(skip_serializing_if = "Map::is_empty")]
    generation_config: Map<String, Value>,
}

#[derive(Serialize)]
struct Turn<'a> {
    #[serde(skip_serializing_if = "Option::is_none")]
    role: Option<&'static str>,
    parts: Vec<OutPart<'a>>,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct OutPart<'a> {
    #[serde(flatten)]
    said: Said<'a>,
    #[serde(skip_serializing_if = "Option::is_none")]
    thought_signature: Option<&'a str>,
}

impl<'a> From<Said<'a>> for OutPart<'a> {
    fn from(said: Said<'a>) -> Self {
        Self { said, thought_signature: None }
    }
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
enum Said<'a> {
    Text(&'a str),
    InlineData(InlineData<'a>),
    FunctionCall(FunctionCall<'a>),
    FunctionResponse(FunctionResponse<'a>),
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct InlineData<'a> {
    mime_type: &'a str,
    data: &'a str,
}

#[derive(Serialize)]
struct FunctionCall<'a> {
    #[serde(skip_serializing_if = "str::is_empty")]
    id: &'a str,
    name: &'a str,
    args: &'a RawValue,
}

#[derive(Serialize)]
struct FunctionResponse<'a> {
    #[serde(skip_serializing_if = "str::is_empty")]
    id: &'a str,
    name: &'a str,
    response: ToolResult<'a>,
}

/// What a function gave. An object goes as it is; the two names for anything else are Google's (`FunctionResponse`).
#[derive(Serialize)]
#[serde(rename_all = "lowercase")]
enum ToolResult<'a> {
    Output(Cow<'a, str>),
    Error(Cow<'a, str>),
    #[serde(untagged)]
    Object(Box<RawValue>),
}

/// What stands for the seal of a call that no Gemini made, as Google's page on thought signatures has it: from Gemini 3
/// on a turn whose first call has no seal is refused.
const UNSEALED: &str = "skip_thought_signature_validator";

/// The arguments of a call that has none.
const NO_ARGUMENTS: &str = "{}";

/// System texts and turns, as far as they were read.
#[derive(Default)]
struct Conversation<'a> {
    system: Vec<OutPart<'a>>,
    turns: Vec<Turn<'a>>,
}

impl<'a> Conversation<'a> {
    fn add(
        &mut self,
        messages: &'a [Message],
        at: usize,
        generation: Generation,
    ) -> Result<(), Inexpressible> {
        // Fields that we do not know are another dialect's.
        let Message { role, content, name, tool_call_id, is_error, unknown: _ } = &messages[at];
        if name.is_some() {
            let reason = "cannot be told to Gemini; name the speaker in the text";
            return Err(Inexpressible::new(format!("messages[{at}].name"), reason));
        }
        let mut calls = 0;
        let mut parts = Vec::with_capacity(content.len() + 1);
        if *role == Role::Tool {
            let id = tool_call_id.as_deref().unwrap_or("");
            let name = name_of_call(&messages[..at], id).ok_or_else(|| {
                let reason =
                    "answers no call of an earlier message, so Gemini cannot be told which function it was";
                Inexpressible::new(format!("messages[{at}].tool_call_id"), reason)
            })?;
            let response = tool_result(content, *is_error);
            parts.push(Said::FunctionResponse(FunctionResponse { id, name, response }).into());
        }
        for (part_at, part) in content.iter().enumerate() {
            let refuse =
                |reason: &str| Err(Inexpressible::new(format!("messages[{at}].content[{part_at}]"), reason));
            match part {
                // Stands in the function's response.
                Part::Text(_) | Part::Cited { .. } | Part::Refusal(_) if *role == Role::Tool => {}
                Part::Text(text) | Part::Cited { text, .. } | Part::Refusal(text) => {
                    parts.extend((!text.is_empty()).then_some(Said::Text(text).into()));
                }
                Part::Image(_) if role.is_instruction() => {
                    return refuse("is a picture, which Gemini does not take in a system text");
                }
                Part::Image(Image { source: ImageSource::Data { media_type, base64 }, detail: _ }) => {
                    parts.push(Said::InlineData(InlineData { mime_type: media_type, data: base64 }).into());
                }
                Part::Image(Image { source: ImageSource::Url(_), detail: _ }) => {
                    return refuse(
                        "is the address of a picture, and Gemini wants the picture itself: send it as a `data:` URL",
                    );
                }
                Part::ToolCall(call) if *role == Role::Assistant => {
                    parts.push(out_call(call, &format!("messages[{at}].tool_calls[{calls}]"))?);
                    calls += 1;
                }
                Part::ToolCall(_) => return refuse("is a call, which only the assistant makes"),
                // Other vendors' sealed thoughts: anything else of that kind was refused before.
                Part::Reasoning(_) | Part::Other(_) => {}
            }
        }
        match role {
            Role::System | Role::Developer => self.system.append(&mut parts),
            Role::User | Role::Tool => self.turn("user", parts),
            Role::Assistant => {
                self.turn("model", parts);
                if generation == Generation::Levels {
                    self.turns.last_mut().map(seal);
                }
            }
        }
        Ok(())
    }

    /// Adds to the turn under way, or begins one.
    fn turn(&mut self, role: &'static str, mut parts: Vec<OutPart<'a>>) {
        match self.turns.last_mut() {
            _ if parts.is_empty() => {}
            Some(turn) if turn.role == Some(role) => turn.parts.append(&mut parts),
            _ => self.turns.push(Turn { role: Some(role), parts }),
        }
    }
}

/// Gives the first call of a turn a seal; those made beside it need none.
fn seal(turn: &mut Turn<'_>) {
    let first = turn.parts.iter_mut().find(|part| matches!(part.said, Said::FunctionCall(_)));
    if let Some(OutPart { thought_signature, .. }) = first {
        thought_signature.get_or_insert(UNSEALED);
    }
}

/// Returns the function that the latest call with this id called.
fn name_of_call<'a>(earlier: &'a [Message], id: &str) -> Option<&'a str> {
    let mut calls = earlier.iter().rev().flat_map(Message::tool_calls);
    calls.find(|call| call.id == id).map(|call| call.name.as_str())
}

fn tool_result(content: &[Part], is_error: bool) -> ToolResult<'_> {
    let mut texts = content.iter().filter_map(|part| match part {
        Part::Refusal(text) => Some(text.as_str()),
        other => other.text(),
    });
    let first = Cow::Borrowed(texts.next().unwrap_or(""));
    let text = texts.fold(first, |text, more| text + more);
    if is_error {
        return ToolResult::Error(text);
    }
    let object =
        serde_json::from_str::<Box<RawValue>>(&text).ok().filter(|value| value.get().starts_with('{'));
    object.map_or(ToolResult::Output(text), ToolResult::Object)
}

fn out_call<'a>(call: &'a ToolCall, path: &str) -> Result<OutPart<'a>, Inexpressible> {
    let ToolCall { id, name, arguments, signature } = call;
    let text = if arguments.is_empty() { NO_ARGUMENTS } else { arguments };
    let args = serde_json::from_str::<&RawValue>(text).ok().filter(|value| value.get().starts_with('{'));
    let args = args.ok_or_else(|| {
        let reason = "is no JSON object, and Gemini takes nothing else";
        Inexpressible::new(format!("{path}.function.arguments"), reason)
    })?;
    Ok(OutPart {
        said: Said::FunctionCall(FunctionCall { id, name, args }),
        thought_signature: signature.as_deref(),
    })
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct OutTools<'a> {
    function_declarations: Vec<Declaration<'a>>,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Declaration<'a> {
    name: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    description: Option<&'a str>,
    /// Google's older field `parameters` takes only a part of JSON Schema.
    #[serde(skip_serializing_if = "Option::is_none")]
    parameters_json_schema: Option<&'a Value>,
}

fn declaration(tool: &Tool) -> Option<Declaration<'_>> {
    match tool {
        // Strictness is a mode of all tools together: see `tool_config`.
        Tool::Function { name, description, parameters, strict: _ } => Some(Declaration {
            name,
            description: description.as_deref(),
            parameters_json_schema: parameters.as_ref(),
        }),
        // Refused before.
        Tool::Other(_) => None,
    }
}

/// Returns which of the tools may, must or must not be called. Calls are held to their schemas in every mode but
/// `AUTO`, so one strict tool makes a free choice `VALIDATED`.
fn tool_config(tools: &[Tool], choice: Option<&ToolChoice>) -> Option<Value> {
    if tools.is_empty() {
        return None;
    }
    let is_strict = tools.iter().any(|tool| matches!(tool, Tool::Function { strict: Some(true), .. }));
    let config = match choice {
        None | Some(ToolChoice::Auto) if is_strict => json!({"mode": "VALIDATED"}),
        None | Some(ToolChoice::Other(_)) => return None,
        Some(ToolChoice::Auto) => json!({"mode": "AUTO"}),
        Some(ToolChoice::None) => json!({"mode": "NONE"}),
        Some(ToolChoice::Required) => json!({"mode": "ANY"}),
        Some(ToolChoice::Function(name)) => json!({"mode": "ANY", "allowedFunctionNames": [name]}),
    };
    Some(json!({"functionCallingConfig": config}))
}

fn generation_config(
    sampling: &Sampling,
    format: &OutputFormat,
    limit: Option<OutputLimit>,
    generation: Generation,
) -> Result<Map<String, Value>, Inexpressible> {
    let Sampling {
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
    } = sampling;
    // It has log probabilities in a shape of its own, but no model since 2.5 gives them.
    for (field, is_given) in [
        ("logit_bias", logit_bias.is_some()),
        ("logprobs", logprobs.is_some()),
        ("verbosity", verbosity.is_some()),
    ] {
        if is_given {
            return Err(Inexpressible::new(field, "cannot be told to Gemini; leave it out"));
        }
    }
    if seed.is_some_and(|seed| i32::try_from(seed).is_err()) {
        return Err(Inexpressible::new("seed", "must have at most 31 bits with Gemini"));
    }
    let thinking = reasoning_effort.as_deref().map(|effort| thinking(effort, generation)).transpose()?;
    let (media_type, schema) = match format {
        // A format that we do not know was refused before.
        OutputFormat::Text | OutputFormat::Other(_) => (None, None),
        OutputFormat::JsonObject => (Some("application/json"), None),
        OutputFormat::JsonSchema(schema) => (Some("application/json"), described(schema)),
    };
    let number = |number: &Option<f64>| number.map(Value::from);
    let count = |count: Option<u32>| count.map(Value::from);
    let fields = [
        ("temperature", number(temperature)),
        ("topP", number(top_p)),
        ("topK", count(*top_k)),
        ("presencePenalty", number(presence_penalty)),
        ("frequencyPenalty", number(frequency_penalty)),
        ("seed", seed.map(Value::from)),
        ("stopSequences", (!stop.is_empty()).then(|| stop.clone().into())),
        ("candidateCount", count(*n)),
        ("maxOutputTokens", count(limit.map(|OutputLimit { tokens, spelling: _ }| tokens))),
        ("thinkingConfig", thinking),
        ("responseMimeType", media_type.map(Value::from)),
        ("responseJsonSchema", schema),
    ];
    Ok(fields.into_iter().filter_map(|(field, value)| Some((field.to_owned(), value?))).collect())
}

/// Returns how hard the model is to think: for budgets the numbers of Google's own table of OpenAI's words. A model of
/// a later generation cannot be kept from thinking; the least it knows is `MINIMAL`.
fn thinking(effort: &str, generation: Generation) -> Result<Value, Inexpressible> {
    let config = match (generation, effort) {
        (Generation::Budgets, "none") => json!({"thinkingBudget": 0}),
        (Generation::Budgets, "minimal" | "low") => json!({"thinkingBudget": 1_024}),
        (Generation::Budgets, "medium") => json!({"thinkingBudget": 8_192}),
        (Generation::Budgets, "high") => json!({"thinkingBudget": 24_576}),
        (Generation::Levels, "none" | "minimal") => json!({"thinkingLevel": "MINIMAL"}),
        (Generation::Levels, "low") => json!({"thinkingLevel": "LOW"}),
        (Generation::Levels, "medium") => json!({"thinkingLevel": "MEDIUM"}),
        (Generation::Levels, "high") => json!({"thinkingLevel": "HIGH"}),
        (Generation::Levels, "xhigh") => json!({"thinkingLevel": "XHIGH"}),
        _ => {
            let reason = "is an effort that this Gemini does not know; `minimal`, `low`, `medium` and `high` are known";
            return Err(Inexpressible::new("reasoning_effort", reason));
        }
    };
    Ok(config)
}

/// Returns the schema with its description inside. It has no name here, and every schema is kept to strictly.
fn described(schema: &JsonSchema) -> Option<Value> {
    let JsonSchema { name: _, description, schema, strict: _ } = schema;
    let mut schema = schema.clone()?;
    if let (Some(words), Some(fields)) = (description, schema.as_object_mut()) {
        fields.entry("description").or_insert_with(|| words.as_str().into());
    }
    Some(schema)
}

#[cfg(test)]
mod tests {
    use super::super::json::tests::any_json;
    use super::*;
    use crate::chat::{Dialect, LimitSpelling, any_part};
    use proptest::prelude::*;

    const OLD: &str = "gemini-2.5-flash";
    const NEW: &str = "gemini-3-flash-preview";

    fn encoded(request: &ChatRequest, model: &str) -> Value {
        serde_json::from_slice(&encode_request(request, model).unwrap()).unwrap()
    }

    fn refused(request: &ChatRequest) -> String {
        encode_request(request, NEW).unwrap_err().field
    }

    fn call(id: &str, arguments: &str, signature: Option<&str>) -> Part {
        Part::ToolCall(ToolCall {
            id: id.into(),
            name: format!("f_{id}"),
            arguments: arguments.into(),
            signature: signature.map(str::to_owned),
        })
    }

    fn assistant(content: Vec<Part>) -> Message {
        Message { content, ..Message::text(Role::Assistant, "") }
    }

    fn tool(id: &str, text: &str) -> Message {
        Message { tool_call_id: Some(id.into()), ..Message::text(Role::Tool, text) }
    }

    fn conversation(messages: impl IntoIterator<Item = Message>) -> ChatRequest {
        let mut request = ChatRequest::from_prompt("q");
        request.messages.extend(messages);
        request
    }

    #[test]
    fn the_first_call_of_a_turn_is_sealed_for_later_models_alone() {
        let request = conversation([
            assistant(vec![Part::Text("t".into()), call("1", "{}", None), call("2", "{}", None)]),
            tool("1", "x"),
            tool("2", "y"),
            assistant(vec![call("3", "{}", Some("own")), call("4", "{}", None)]),
        ]);
        let seals = |model| {
            let encoded = encoded(&request, model);
            let turn = |at: usize| encoded["contents"][at]["parts"].as_array().unwrap().clone();
            let parts = turn(1).into_iter().chain(turn(3));
            parts.map(|part| part["thoughtSignature"].as_str().map(str::to_owned)).collect::<Vec<_>>()
        };
        let own = Some("own".to_owned());
        assert_eq!(seals(OLD), [None, None, None, own.clone(), None]);
        for model in [NEW, "models/gemini-3.5-pro", "gemini-flash-latest", "gemini-20-x"] {
            assert_eq!(seals(model), [None, Some(UNSEALED.into()), None, own.clone(), None], "{model}");
        }
        for model in ["gemini-2", "gemini-1.5-pro-002", "models/gemini-2.0-flash"] {
            assert!(Generation::of(model) == Generation::Budgets, "{model}");
        }
    }

    #[test]
    fn a_tools_answer_names_the_function_that_was_called_last_under_its_id() {
        let mut failed = tool("1", "{\"late\": true}");
        failed.is_error = true;
        let mut several = tool("1", "{\"a\":");
        several.content.extend([Part::Reasoning(crate::chat::Reasoning::default()), Part::Text("1}".into())]);
        let mut request = conversation([
            assistant(vec![call("1", "{\"n\": 12345678901234567890123}", None)]),
            tool("1", "[1]"),
            several,
            failed,
        ]);
        let responses = encoded(&request, OLD)["contents"][2].clone();
        assert_eq!(responses["role"], "user");
        let response = |at: usize| &responses["parts"][at]["functionResponse"];
        assert_eq!(*response(0), json!({"id": "1", "name": "f_1", "response": {"output": "[1]"}}));
        assert_eq!(response(1)["response"], json!({"a": 1}));
        assert_eq!(response(2)["response"], json!({"error": "{\"late\": true}"}));
        let bytes = String::from_utf8(encode_request(&request, OLD).unwrap()).unwrap();
        assert!(bytes.contains("12345678901234567890123"), "{bytes}");

        request.messages.push(tool("2", "x"));
        assert_eq!(refused(&request), "messages[5].tool_call_id");
    }

    #[test]
    fn what_gemini_has_no_words_for_is_refused_and_named() {
        let picture = |source| Part::Image(Image { source, detail: None });
        let url = || picture(ImageSource::Url("https://a.example/b.png".into()));
        let data = || picture(ImageSource::Data { media_type: "image/png".into(), base64: "aGk=".into() });
        let user = |part| Message { content: vec![part], ..Message::text(Role::User, "") };
        let named = Message { name: Some("Ann".into()), ..Message::text(Role::User, "q") };
        let system = Message { content: vec![data()], ..Message::text(Role::System, "") };
        let sound = Part::Other(Map::from_iter([("type".to_owned(), "input_audio".into())]));
        for (message, field) in [
            (user(url()), "messages[1].content[0]"),
            (user(sound), "messages[1].content[0]"),
            (user(call("1", "{}", None)), "messages[1].content[0]"),
            (system, "messages[1].content[0]"),
            (named, "messages[1].name"),
            (assistant(vec![call("1", "[1]", None)]), "messages[1].tool_calls[0].function.arguments"),
            (
                assistant(vec![Part::Text("t".into()), call("1", "", None), call("2", "{", None)]),
                "messages[1].tool_calls[1].function.arguments",
            ),
        ] {
            assert_eq!(refused(&conversation([message])), field);
        }
        let plain = ChatRequest::from_prompt("q");
        let sampling = |sampling| ChatRequest { sampling, ..plain.clone() };
        let default = Sampling::default;
        for (request, field) in [
            (sampling(Sampling { logit_bias: Some(json!({})), ..default() }), "logit_bias"),
            (sampling(Sampling { logprobs: Some(0), ..default() }), "logprobs"),
            (sampling(Sampling { verbosity: Some("low".into()), ..default() }), "verbosity"),
            (sampling(Sampling { seed: Some(1 << 31), ..default() }), "seed"),
            (sampling(Sampling { reasoning_effort: Some("max".into()), ..default() }), "reasoning_effort"),
            (ChatRequest::from_prompt(""), "messages"),
        ] {
            assert_eq!(refused(&request), field);
        }
        // A picture that comes along is one; nothing is fetched.
        let request = conversation([user(data())]);
        let parts = &encoded(&request, NEW)["contents"][0]["parts"];
        assert_eq!(parts[1], json!({"inlineData": {"mimeType": "image/png", "data": "aGk="}}));
    }

    #[test]
    fn one_call_at_a_time_cannot_be_asked_for_where_calls_are_possible() {
        let mut request = with_tools(None, None);
        request.parallel_tool_calls = Some(false);
        assert_eq!(refused(&request), "parallel_tool_calls");
        request.tool_choice = Some(ToolChoice::None);
        assert!(encode_request(&request, NEW).is_ok());
        request.tools.clear();
        assert!(encode_request(&request, NEW).is_ok());
    }

    fn with_tools(strict: Option<bool>, choice: Option<ToolChoice>) -> ChatRequest {
        let function = |name: &str, strict| Tool::Function {
            name: name.into(),
            description: None,
            parameters: Some(json!({"type": "object"})),
            strict,
        };
        ChatRequest {
            tools: vec![function("f", None), function("g", strict)],
            tool_choice: choice,
            ..ChatRequest::from_prompt("q")
        }
    }

    #[test]
    fn a_choice_of_tools_is_a_mode() {
        let all = json!({"mode": "ANY"});
        for (strict, choice, config) in [
            (None, None, Value::Null),
            (Some(false), None, Value::Null),
            (Some(true), None, json!({"mode": "VALIDATED"})),
            (Some(true), Some(ToolChoice::Auto), json!({"mode": "VALIDATED"})),
            (None, Some(ToolChoice::Auto), json!({"mode": "AUTO"})),
            (None, Some(ToolChoice::Required), all.clone()),
            (Some(true), Some(ToolChoice::Required), all),
            (Some(true), Some(ToolChoice::None), json!({"mode": "NONE"})),
            (
                Some(true),
                Some(ToolChoice::Function("g".into())),
                json!({"mode": "ANY", "allowedFunctionNames": ["g"]}),
            ),
        ] {
            let encoded = encoded(&with_tools(strict, choice.clone()), NEW);
            assert_eq!(encoded["toolConfig"]["functionCallingConfig"], config, "{strict:?} {choice:?}");
            let declared = &encoded["tools"][0]["functionDeclarations"][1];
            assert_eq!(*declared, json!({"name": "g", "parametersJsonSchema": {"type": "object"}}));
        }
        let mut none = with_tools(None, Some(ToolChoice::Required));
        none.tools.clear();
        assert!(encoded(&none, NEW).get("toolConfig").is_none());
    }

    #[test]
    fn an_effort_is_a_budget_or_a_level() {
        let mut request = ChatRequest::from_prompt("q");
        assert!(encoded(&request, NEW).get("generationConfig").is_none());
        for (effort, budget, level) in [
            ("none", Some(0), "MINIMAL"),
            ("minimal", Some(1_024), "MINIMAL"),
            ("low", Some(1_024), "LOW"),
            ("medium", Some(8_192), "MEDIUM"),
            ("high", Some(24_576), "HIGH"),
            ("xhigh", None, "XHIGH"),
        ] {
            request.sampling.reasoning_effort = Some(effort.into());
            let thinking = |model| encoded(&request, model)["generationConfig"]["thinkingConfig"].clone();
            assert_eq!(thinking(NEW), json!({"thinkingLevel": level}));
            match budget {
                Some(budget) => assert_eq!(thinking(OLD), json!({"thinkingBudget": budget})),
                None => assert!(encode_request(&request, OLD).is_err()),
            }
        }
    }

    #[test]
    fn a_schema_keeps_the_description_it_has() {
        let mut request = ChatRequest::from_prompt("q");
        for (own, kept) in [(None, "outer"), (Some("inner"), "inner")] {
            let mut schema = json!({"type": "object"});
            if let Some(own) = own {
                schema["description"] = own.into();
            }
            request.output_format = OutputFormat::JsonSchema(JsonSchema {
                name: Some("n".into()),
                description: Some("outer".into()),
                schema: Some(schema),
                strict: None,
            });
            let config = &encoded(&request, NEW)["generationConfig"];
            assert_eq!(config["responseMimeType"], "application/json");
            assert_eq!(config["responseJsonSchema"], json!({"type": "object", "description": kept}));
        }
        request.output_format = OutputFormat::JsonObject;
        assert_eq!(
            encoded(&request, NEW)["generationConfig"],
            json!({"responseMimeType": "application/json"})
        );
    }

    #[test]
    fn another_dialects_fields_stay_at_home() {
        let mut request = ChatRequest::from_prompt("q");
        let plain = encode_request(&request, NEW).unwrap();
        request.dialect = Dialect::Anthropic;
        request.unknown.insert("thinking".into(), json!({"type": "enabled"}));
        request.carried.insert("metadata".into(), json!({"user_id": "u"}));
        request.betas.push("b".into());
        request.end_user = Some("u".into());
        let redacted = Part::Other(Map::from_iter([("type".to_owned(), "redacted_thinking".into())]));
        request.messages.push(assistant(vec![redacted]));
        assert_eq!(encode_request(&request, NEW).unwrap(), plain);
    }

    /// Any request, most of which some dialect could spell.
    fn any_request() -> impl Strategy<Value = ChatRequest> {
        let roles = [Role::System, Role::Developer, Role::User, Role::Assistant, Role::Tool];
        let message = (prop::sample::select(roles.to_vec()), prop::collection::vec(any_part(), 0..4))
            .prop_map(|(role, content)| Message {
                content,
                tool_call_id: (role == Role::Tool).then(|| "a".into()),
                ..Message::text(role, "")
            });
        let tool = any_json().prop_map(|parameters| Tool::Function {
            name: "f".into(),
            description: None,
            parameters: Some(parameters),
            strict: None,
        });
        (prop::collection::vec(message, 0..6), prop::collection::vec(tool, 0..2), any::<Option<i32>>())
            .prop_map(|(messages, tools, seed)| ChatRequest {
                messages,
                tools,
                sampling: Sampling { seed: seed.map(i64::from), ..Sampling::default() },
                limit: Some(OutputLimit { tokens: 1, spelling: LimitSpelling::MaxTokens }),
                ..ChatRequest::from_prompt("")
            })
    }

    proptest! {
        #[test]
        fn any_request_is_written_in_alternating_turns_or_refused(request in any_request()) {
            match encode_request(&request, NEW) {
                Err(refused) => prop_assert!(!refused.field.is_empty()),
                Ok(body) => {
                    let body: Value = serde_json::from_slice(&body).unwrap();
                    let turns = body["contents"].as_array().unwrap();
                    prop_assert!(turns.windows(2).all(|pair| pair[0]["role"] != pair[1]["role"]));
                    prop_assert!(turns.iter().all(|turn| turn["parts"].as_array().is_some_and(|parts| !parts.is_empty())));
                }
            }
        }
    }
}
