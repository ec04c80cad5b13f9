//! A `generateContent` request, written for an upstream.

use serde::Serialize;
use serde_json::{Map, Value, json};

use super::Inexpressible;
use super::foreign::refuse_foreign;
use super::gemini_turns::{Conversation, Turn};
use super::openai_response::WRITES;
use crate::chat::{ChatRequest, JsonSchema, OutputFormat, OutputLimit, Sampling, Tool, ToolChoice};

/// Writes a request for an upstream. Model and streaming stand in the address; `model` only says which generation of
/// fields it takes.
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
        betas: _,       // Anthropic's.
        cache_marks: _, // Its prompt cache has objects of its own.
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
    let Conversation { system, turns } = Conversation::of(messages, generation == Generation::Levels)?;
    let declarations: Vec<_> = tools.iter().filter_map(declaration).collect();
    let out = OutRequest {
        contents: turns,
        system_instruction: system,
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
    use crate::chat::{Dialect, LimitSpelling, Message, Part, Role, ToolCall, any_part};
    use proptest::prelude::*;

    const OLD: &str = "gemini-2.5-flash";
    const NEW: &str = "gemini-3-flash-preview";

    fn encoded(request: &ChatRequest, model: &str) -> Value {
        serde_json::from_slice(&encode_request(request, model).unwrap()).unwrap()
    }

    fn refused(request: &ChatRequest) -> String {
        encode_request(request, NEW).unwrap_err().field
    }

    #[test]
    fn what_gemini_has_no_words_for_is_refused_and_named() {
        let plain = ChatRequest::from_prompt("q");
        let sampling = |sampling| ChatRequest { sampling, ..plain.clone() };
        let default = Sampling::default;
        let sound = Part::Other(Map::from_iter([("type".to_owned(), "input_audio".into())]));
        let mut with_sound = plain.clone();
        with_sound.messages[0].content.push(sound);
        for (request, field) in [
            (sampling(Sampling { logit_bias: Some(json!({})), ..default() }), "logit_bias"),
            (sampling(Sampling { logprobs: Some(0), ..default() }), "logprobs"),
            (sampling(Sampling { verbosity: Some("low".into()), ..default() }), "verbosity"),
            (sampling(Sampling { seed: Some(1 << 31), ..default() }), "seed"),
            (sampling(Sampling { reasoning_effort: Some("max".into()), ..default() }), "reasoning_effort"),
            (with_sound, "messages[0].content[1]"),
        ] {
            assert_eq!(refused(&request), field);
        }
    }

    #[test]
    fn the_generation_stands_in_the_name() {
        for model in ["gemini-2", "gemini-1.5-pro-002", "models/gemini-2.5-flash"] {
            assert!(Generation::of(model) == Generation::Budgets, "{model}");
        }
        for model in [NEW, "models/gemini-3.5-pro", "gemini-flash-latest", "gemini-20-x", "tunedModels/mine"]
        {
            assert!(Generation::of(model) == Generation::Levels, "{model}");
        }
        let mut request = ChatRequest::from_prompt("q");
        let call = ToolCall { name: "f".into(), ..ToolCall::default() };
        request.messages.push(assistant(vec![Part::ToolCall(call)]));
        let seal = |model| encoded(&request, model)["contents"][1]["parts"][0]["thoughtSignature"].clone();
        assert_eq!(seal(OLD), Value::Null);
        assert!(seal(NEW).is_string());
    }

    fn assistant(content: Vec<Part>) -> Message {
        Message { content, ..Message::text(Role::Assistant, "") }
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
