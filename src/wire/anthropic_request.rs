//! An Anthropic Messages request: read from a client, written to an upstream.

use serde::ser::SerializeMap;
use serde::{Serialize, Serializer};
use serde_json::{Map, Value, json};

use super::anthropic_conversation::OutConversation;
use super::anthropic_message::{read_messages, read_system};
use super::anthropic_tool::{OutTools, read_tool_choice, read_tools, tool_choice_json};
use super::fields::Path;
use super::foreign::refuse_foreign;
use super::openai_message::CACHE_MARK;
use super::openai_response::WRITES;
use super::{Asked, BodyControls, Delivery, Inexpressible, WireError, json as strict};
use crate::chat::{
    ChatRequest, Dialect, JsonSchema, LimitSpelling, OutputFormat, OutputLimit, Sampling, ToolChoice,
};

/// Where the format of the answer and the effort put into it stand.
const OUTPUT_CONFIG: &str = "output_config";

/// Reads the body of a client's request.
///
/// Spellings of the same wish become the same request: a text and one text block, `null` and no field. Marks of what
/// the vendor is to keep in its prompt cache are dropped, but for the one that stands at the top of the body.
///
/// # Errors
/// Names the field that has a wrong type or an impossible value, or where the body stops being JSON. Whether numbers
/// such as the temperature suit the model is for the vendor to say: newer models take none.
pub fn parse_request(body: &[u8]) -> Result<Asked, WireError> {
    let asked = parse_count(body)?;
    if asked.request.limit.is_none() {
        return Err(Path::Body.field("max_tokens").error("is missing"));
    }
    Ok(asked)
}

/// Reads the body of a client who only wants its request counted: the same without `max_tokens`.
///
/// # Errors
/// As [`parse_request`].
pub fn parse_count(body: &[u8]) -> Result<Asked, WireError> {
    let body = Path::Body.object(strict::parse(body)?)?;
    let mut request = ChatRequest {
        messages: Vec::new(),
        dialect: Dialect::Anthropic,
        ..ChatRequest::from_prompt(String::new())
    };
    // A stream in this dialect always tells the usage.
    let mut delivery = Delivery { include_usage: true, ..Delivery::default() };
    let mut cache = BodyControls::default();
    let (mut system, mut turns) = (None, Vec::new());
    for (field, value) in body {
        let at = Path::Body.field(&field);
        let ChatRequest { sampling, .. } = &mut request;
        match field.as_str() {
            _ if value.is_null() => {}
            "model" => request.model = Some(at.name(value)?),
            "system" => system = read_system(value, &at)?,
            "messages" => read_messages(value, &at, &mut turns)?,
            "max_tokens" => request.limit = Some(read_limit(value, &at)?),
            "tools" => request.tools = read_tools(value, &at)?,
            "tool_choice" => {
                let (choice, is_parallel) = read_tool_choice(value, &at)?;
                request.tool_choice = Some(choice);
                request.parallel_tool_calls = is_parallel;
            }
            "temperature" => sampling.temperature = Some(at.f64(value)?),
            "top_p" => sampling.top_p = Some(at.f64(value)?),
            "top_k" => {
                let k = u32::try_from(at.u64(value)?);
                sampling.top_k = Some(k.map_err(|_| at.error("is larger than any vendor takes"))?);
            }
            "stop_sequences" => {
                let texts = at.list(value)?.into_iter().enumerate();
                sampling.stop =
                    texts.map(|(index, text)| at.item(index).text(text)).collect::<Result<_, _>>()?;
            }
            OUTPUT_CONFIG => read_output_config(value, &at, &mut request)?,
            "stream" => delivery.stream = at.bool(value)?,
            "cache" => cache = BodyControls::read(value, &at)?,
            "metadata" => {
                let fields = at.object(value)?;
                request.end_user = fields.get("user_id").and_then(Value::as_str).map(str::to_owned);
                request.carried.insert(field, Value::Object(fields));
            }
            "service_tier" | CACHE_MARK => drop(request.carried.insert(field, value)),
            _ => drop(request.unknown.insert(field, value)),
        }
    }
    if turns.is_empty() {
        return Err(Path::Body.field("messages").error("is missing"));
    }
    request.messages.extend(system);
    request.messages.append(&mut turns);
    Ok(Asked { request, delivery, cache, task: None })
}

/// Reads the output limit. Zero is one: it asks only that the vendor's prompt cache be filled.
fn read_limit(value: Value, at: &Path<'_>) -> Result<OutputLimit, WireError> {
    let tokens = u32::try_from(at.u64(value)?).map_err(|_| at.error("is larger than any model writes"))?;
    Ok(OutputLimit { tokens, spelling: LimitSpelling::MaxTokens })
}

/// Reads what others have fields for, and keeps the rest.
fn read_output_config(value: Value, at: &Path<'_>, request: &mut ChatRequest) -> Result<(), WireError> {
    let mut rest = Map::new();
    for (field, value) in at.object(value)? {
        let at = at.field(&field);
        match field.as_str() {
            _ if value.is_null() => {}
            "effort" => request.sampling.reasoning_effort = Some(at.text(value)?),
            "format" => request.output_format = read_format(at.object(value)?),
            _ => drop(rest.insert(field, value)),
        }
    }
    if !rest.is_empty() {
        request.unknown.insert(OUTPUT_CONFIG.to_owned(), Value::Object(rest));
    }
    Ok(())
}

fn read_format(fields: Map<String, Value>) -> OutputFormat {
    match (fields.get("type").and_then(Value::as_str), fields.get("schema")) {
        (Some("json_schema"), Some(schema @ Value::Object(_))) if fields.len() == 2 => {
            let schema = Some(schema.clone());
            OutputFormat::JsonSchema(JsonSchema { name: None, description: None, schema, strict: None })
        }
        _ => OutputFormat::Other(Value::Object(fields)),
    }
}

/// The output limit where the caller set none: Anthropic insists on one, and OpenAI's models, for which such a request
/// was written, stop only where they end. All models since Claude 4 write at least this much.
const LIMIT: u32 = 32_000;
/// The same for models before Claude 4, the smallest of which write no more than this.
const CLAUDE_3_LIMIT: u32 = 4_096;

/// Writes a request for an upstream that speaks this dialect. Fields that we do not know, and those carried along, are
/// left out where the request came in another one, but for whom it speaks for.
///
/// A schema's name and description are left out: Anthropic has no fields for them. Its answers always fit the schema,
/// so whether that was insisted on is left out too.
///
/// # Errors
/// Names what the request asks for that this dialect cannot say.
pub fn encode_request(request: &ChatRequest, model: &str, stream: bool) -> Result<Vec<u8>, Inexpressible> {
    refuse_foreign(request, &[Dialect::Anthropic], "Anthropic")?;
    refuse_unspeakable(request)?;
    let is_own = request.dialect == Dialect::Anthropic;
    let conversation = OutConversation::of(request)?;
    let thought = Thought::of(request.sampling.reasoning_effort.as_deref(), is_own)?;
    let format = format_json(&request.output_format)?;
    let out = OutRequest { request, model, stream, conversation, thought, format, is_own };
    Ok(serde_json::to_vec(&out).expect(WRITES))
}

/// How much is to be thought.
struct Thought<'a> {
    effort: Option<&'a str>,
    is_off: bool,
}

impl<'a> Thought<'a> {
    /// Reads OpenAI's words. Anthropic's levels have the same names, but for `minimal`, which is its lowest, and for
    /// `none`, which it says elsewhere; a model that cannot help thinking refuses that.
    fn of(effort: Option<&'a str>, is_own: bool) -> Result<Self, Inexpressible> {
        let effort = match effort {
            Some("none") if !is_own => return Ok(Self { effort: None, is_off: true }),
            Some("minimal") if !is_own => Some("low"),
            Some("low" | "medium" | "high" | "xhigh" | "max") | None => effort,
            Some(_) if is_own => effort,
            Some(word) => {
                let reason =
                    format!("is `{word}`, which Anthropic does not know; `low`, `medium` and `high` work");
                return Err(Inexpressible::new("reasoning_effort", reason));
            }
        };
        Ok(Self { effort, is_off: false })
    }
}

/// Returns the format in Anthropic's spelling.
fn format_json(format: &OutputFormat) -> Result<Option<Value>, Inexpressible> {
    match format {
        OutputFormat::Text => Ok(None),
        OutputFormat::JsonSchema(JsonSchema { schema: Some(schema), .. }) => {
            Ok(Some(json!({"type": "json_schema", "schema": schema})))
        }
        OutputFormat::JsonObject | OutputFormat::JsonSchema(_) => Err(Inexpressible::new(
            "response_format",
            "asks for any JSON, which Anthropic cannot be told; ask for `json_schema` with a schema",
        )),
        OutputFormat::Other(format) => Ok(Some(format.clone())),
    }
}

/// Refuses what shapes an answer and has no field here: an answer without it would be another one.
fn refuse_unspeakable(request: &ChatRequest) -> Result<(), Inexpressible> {
    let Sampling {
        temperature: _,
        top_p: _,
        top_k: _,
        presence_penalty,
        frequency_penalty,
        seed,
        stop: _,
        n: _,
        logit_bias,
        logprobs,
        reasoning_effort: _,
        verbosity,
    } = &request.sampling;
    let is_penalty = |penalty: &Option<f64>| penalty.is_some_and(|penalty| penalty != 0.0);
    let unspeakable = [
        ("presence_penalty", is_penalty(presence_penalty), "leave it out or at 0"),
        ("frequency_penalty", is_penalty(frequency_penalty), "leave it out or at 0"),
        ("seed", seed.is_some(), "leave it out"),
        ("n", request.choices() > 1, "ask several times"),
        ("logit_bias", logit_bias.is_some(), "leave it out"),
        ("logprobs", logprobs.is_some(), "leave it out"),
        ("verbosity", verbosity.is_some(), "say in words how long the answer is to be"),
    ];
    match unspeakable.into_iter().find(|(_, is_asked, _)| *is_asked) {
        None => Ok(()),
        Some((field, _, instead)) => {
            Err(Inexpressible::new(field, format!("cannot be told to Anthropic; {instead}")))
        }
    }
}

struct OutRequest<'a> {
    request: &'a ChatRequest,
    model: &'a str,
    stream: bool,
    conversation: OutConversation<'a>,
    thought: Thought<'a>,
    format: Option<Value>,
    /// Whether fields that we do not know, and those carried along, are for this reader.
    is_own: bool,
}

impl Serialize for OutRequest<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let ChatRequest {
            model: _,    // The upstream's own name for it stands beside the request.
            messages: _, // Put in order already.
            tools,
            tool_choice,
            parallel_tool_calls,
            output_format: _, // Put into words already.
            sampling,
            limit,
            dialect: _,
            betas: _, // They travel in a header.
            unknown,
            carried,
            end_user,
        } = self.request;
        let mut map = serializer.serialize_map(None)?;
        map.serialize_entry("model", self.model)?;
        map.serialize_entry("max_tokens", &limit.map_or_else(|| limit_of(self.model), |limit| limit.tokens))?;
        if !self.conversation.system.is_empty() {
            map.serialize_entry("system", &self.conversation.system)?;
        }
        map.serialize_entry("messages", &self.conversation.turns)?;
        if !tools.is_empty() {
            map.serialize_entry("tools", &OutTools(tools))?;
        }
        // Without tools there is nothing to choose; Anthropic refuses even to be told so.
        let is_idle = !self.is_own && tools.is_empty();
        let idle = |choice: &&ToolChoice| matches!(choice, ToolChoice::Auto | ToolChoice::None);
        let choice = tool_choice.as_ref().filter(|choice| !(is_idle && idle(choice)));
        let is_parallel = parallel_tool_calls.filter(|_| !is_idle);
        if let Some(choice) = tool_choice_json(choice, is_parallel) {
            map.serialize_entry("tool_choice", &choice)?;
        }
        sampling_entries(sampling, &mut map)?;
        if self.thought.is_off {
            map.serialize_entry("thinking", &json!({"type": "disabled"}))?;
        }
        let output_config = self.output_config();
        if !output_config.is_empty() {
            map.serialize_entry(OUTPUT_CONFIG, &output_config)?;
        }
        if self.is_own {
            for (field, value) in carried.iter().chain(unknown).filter(|(field, _)| *field != OUTPUT_CONFIG) {
                map.serialize_entry(field, value)?;
            }
        } else if let Some(user) = end_user {
            map.serialize_entry("metadata", &json!({"user_id": user}))?;
        }
        if self.stream {
            map.serialize_entry("stream", &true)?;
        }
        map.end()
    }
}

impl OutRequest<'_> {
    fn output_config(&self) -> Map<String, Value> {
        let effort = self.thought.effort.map(|effort| ("effort".to_owned(), Value::from(effort)));
        let format = self.format.clone().map(|format| ("format".to_owned(), format));
        let rest = self.request.unknown.get(OUTPUT_CONFIG).filter(|_| self.is_own);
        let rest = rest.and_then(Value::as_object).cloned().unwrap_or_default();
        effort.into_iter().chain(format).chain(rest).collect()
    }
}

fn limit_of(model: &str) -> u32 {
    if model.starts_with("claude-3") { CLAUDE_3_LIMIT } else { LIMIT }
}

/// Writes the settings that have a field here; the others have been refused.
fn sampling_entries<M: SerializeMap>(sampling: &Sampling, map: &mut M) -> Result<(), M::Error> {
    for (field, number) in [("temperature", sampling.temperature), ("top_p", sampling.top_p)] {
        if let Some(number) = number {
            map.serialize_entry(field, &number)?;
        }
    }
    if let Some(k) = sampling.top_k {
        map.serialize_entry("top_k", &k)?;
    }
    if !sampling.stop.is_empty() {
        map.serialize_entry("stop_sequences", &sampling.stop)?;
    }
    Ok(())
}
