//! A Responses request, read from a client.

use serde_json::{Map, Value};

use super::fields::Path;
use super::openai_request::end_user;
use super::responses_echo::Echo;
use super::responses_input::{read_input, refuse_others};
use super::{Asked, BodyControls, Delivery, WireError, json};
use crate::chat::{
    ChatRequest, Dialect, JsonSchema, LimitSpelling, Message, OutputFormat, OutputLimit, Role, Tool, ToolChoice,
};

/// The most alternatives per token, which is OpenAI's own limit.
const TOP_LOGPROBS_MAX: u64 = 20;

/// Reads the body of a client's request. `Delivery::echo` gets the fields that answers repeat.
///
/// `instructions` become a system message, which OpenAI's "system (or developer) message" leaves open and which every
/// vendor knows. `null` and no field are the same, as are a text and a list of one message of it. Of the two fields that
/// ask for log probabilities `include` decides, and `top_logprobs` alone asks for nothing, as with OpenAI. A function
/// without `strict` keeps its schema as it is: OpenAI would rewrite it into a strict one.
///
/// # Errors
/// Names the field that has a wrong type or an impossible value, or that this subset does not have.
pub fn parse_request(body: &[u8]) -> Result<Asked, WireError> {
    let mut reading = Reading::new();
    for (field, value) in Path::Body.object(json::parse(body)?)? {
        if !value.is_null() {
            reading.read(field, value)?;
        }
    }
    reading.finish()
}

/// A request of which some fields have been read.
struct Reading {
    request: ChatRequest,
    instructions: Option<String>,
    metadata: Map<String, Value>,
    top_logprobs: u32,
    wants_logprobs: bool,
    stream: bool,
    cache: BodyControls,
}

impl Reading {
    fn new() -> Self {
        Self {
            request: ChatRequest {
                messages: Vec::new(),
                dialect: Dialect::Responses,
                ..ChatRequest::from_prompt(String::new())
            },
            instructions: None,
            metadata: Map::new(),
            top_logprobs: 0,
            wants_logprobs: false,
            stream: false,
            cache: BodyControls::default(),
        }
    }

    fn read(&mut self, field: String, value: Value) -> Result<(), WireError> {
        let at = Path::Body.field(&field);
        let request = &mut self.request;
        match field.as_str() {
            "model" => request.model = Some(at.name(value)?),
            "input" => request.messages = read_input(value, &at)?,
            "instructions" => self.instructions = Some(at.text(value)?),
            "tools" => request.tools = read_tools(value, &at)?,
            "tool_choice" => request.tool_choice = Some(read_tool_choice(value, &at)?),
            "parallel_tool_calls" => request.parallel_tool_calls = Some(at.bool(value)?),
            "text" => self.read_text(value, &at)?,
            "temperature" => request.sampling.temperature = Some(at.f64(value)?),
            "top_p" => request.sampling.top_p = Some(at.f64(value)?),
            "reasoning" => self.read_reasoning(value, &at)?,
            "max_output_tokens" => {
                let tokens = at.count(value, u32::MAX)?;
                request.limit = Some(OutputLimit { tokens, spelling: LimitSpelling::MaxCompletionTokens });
            }
            "top_logprobs" => {
                let count = at.u64(value)?;
                let count = u32::try_from(count).ok().filter(|_| count <= TOP_LOGPROBS_MAX);
                let reason = || at.error(format!("must be a whole number from 0 to {TOP_LOGPROBS_MAX}"));
                self.top_logprobs = count.ok_or_else(reason)?;
            }
            "include" => self.read_include(value, &at)?,
            "stream" => self.stream = at.bool(value)?,
            "stream_options" => refuse_others(&at.object(value)?, &["include_obfuscation"], &at)?,
            "cache" => self.cache = BodyControls::read(value, &at)?,
            "metadata" => self.metadata = at.object(value)?,
            "user" | "safety_identifier" | "service_tier" | "prompt_cache_key" | "prompt_cache_retention" => {
                let text = at.text(value)?;
                request.carried.insert(field, Value::String(text));
            }
            "prompt_cache_options" => {
                let options = at.object(value)?;
                // Chat Completions has these two of them.
                refuse_others(&options, &["mode", "ttl"], &at)?;
                request.carried.insert(field, Value::Object(options));
            }
            "store" => drop(at.bool(value)?),
            "background" if at.bool(value.clone())? => {
                return Err(at.error("must be false: nothing runs here after its request; stream the answer instead"));
            }
            "background" => {}
            "truncation" if value == "disabled" => {}
            "truncation" => return Err(at.error("must be `disabled`: nothing is left out of a request here")),
            _ => return Err(at.error(reason_against(&field))),
        }
        Ok(())
    }

    fn read_text(&mut self, value: Value, at: &Path<'_>) -> Result<(), WireError> {
        let mut fields = at.object(value)?;
        refuse_others(&fields, &["format", "verbosity"], at)?;
        if let Some(format) = given(&mut fields, "format") {
            self.request.output_format = read_format(format, &at.field("format"))?;
        }
        if let Some(verbosity) = given(&mut fields, "verbosity") {
            self.request.sampling.verbosity = Some(at.field("verbosity").text(verbosity)?);
        }
        Ok(())
    }

    fn read_reasoning(&mut self, value: Value, at: &Path<'_>) -> Result<(), WireError> {
        let mut fields = at.object(value)?;
        // `context` says which earlier thoughts the model sees; it sees none of them here.
        refuse_others(&fields, &["effort", "summary", "generate_summary", "context", "mode"], at)?;
        if let Some(effort) = given(&mut fields, "effort") {
            self.request.sampling.reasoning_effort = Some(at.field("effort").text(effort)?);
        }
        match given(&mut fields, "mode") {
            Some(mode) if mode != "standard" => Err(at.field("mode").error("must be `standard`: others are OpenAI's own")),
            _ => Ok(()),
        }
    }

    fn read_include(&mut self, value: Value, at: &Path<'_>) -> Result<(), WireError> {
        for (index, item) in at.list(value)?.into_iter().enumerate() {
            let at = at.item(index);
            match at.text(item)?.as_str() {
                "message.output_text.logprobs" => self.wants_logprobs = true,
                "reasoning.encrypted_content" => {}
                _ => {
                    return Err(at.error(
                        "must be `message.output_text.logprobs` or `reasoning.encrypted_content`; \
                         the others belong to built-in tools",
                    ));
                }
            }
        }
        Ok(())
    }

    fn finish(self) -> Result<Asked, WireError> {
        let Self { mut request, instructions, metadata, top_logprobs, wants_logprobs, stream, cache } = self;
        if request.messages.is_empty() {
            return Err(Path::Body.field("input").error("is missing"));
        }
        let instructions = instructions.filter(|text| !text.is_empty());
        if let Some(text) = &instructions {
            request.messages.insert(0, Message::text(Role::System, text));
        }
        request.sampling.logprobs = wants_logprobs.then_some(top_logprobs);
        request.end_user = end_user(&request.carried, Some(&metadata));
        let echo = Echo { request: &request, instructions, metadata, top_logprobs }.into_fields();
        let delivery = Delivery { stream, include_usage: true, echo };
        Ok(Asked { request, delivery, cache, task: None })
    }
}

/// Returns the field, unless it is missing or `null`.
pub(super) fn given(fields: &mut Map<String, Value>, field: &str) -> Option<Value> {
    fields.remove(field).filter(|value| !value.is_null())
}

/// Returns why a field is not taken, with what to use instead.
fn reason_against(field: &str) -> &'static str {
    match field {
        "previous_response_id" | "conversation" => {
            "needs what this endpoint does not keep, it is stateless; send the earlier turns in `input`"
        }
        "prompt" => "names a template that only OpenAI has; send its text in `instructions` and `input`",
        "context_management" => "needs what only OpenAI does; send in `input` what the model is to see",
        "max_tool_calls" => "limits built-in tools, which this endpoint does not have",
        "moderation" => "is done by OpenAI alone",
        "messages" => "is called `input` here",
        "max_tokens" | "max_completion_tokens" => "is called `max_output_tokens` here",
        "response_format" => "is called `text.format` here",
        "reasoning_effort" => "is called `reasoning.effort` here",
        "verbosity" => "is called `text.verbosity` here",
        "n" | "stop" | "seed" | "presence_penalty" | "frequency_penalty" | "logit_bias" | "logprobs" => {
            "is not known here; `/v1/chat/completions` has it"
        }
        _ => "is not known here, and no provider could be told of it",
    }
}

fn read_format(value: Value, at: &Path<'_>) -> Result<OutputFormat, WireError> {
    let mut fields = at.object(value)?;
    let kind = match given(&mut fields, "type") {
        Some(kind) => at.field("type").text(kind)?,
        None => return Err(at.field("type").error("is missing")),
    };
    let (format, known): (_, &[&str]) = match kind.as_str() {
        "text" => (OutputFormat::Text, &[]),
        "json_object" => (OutputFormat::JsonObject, &[]),
        "json_schema" => {
            let mut text = |field| given(&mut fields, field).map(|value| at.field(field).text(value)).transpose();
            let (name, description) = (text("name")?, text("description")?);
            let schema = given(&mut fields, "schema").map(|value| at.field("schema").object(value)).transpose()?;
            let strict = given(&mut fields, "strict").map(|value| at.field("strict").bool(value)).transpose()?;
            let schema = schema.map(Value::Object);
            (OutputFormat::JsonSchema(JsonSchema { name, description, schema, strict }), &[])
        }
        _ => return Err(at.field("type").error("must be one of `text`, `json_object`, `json_schema`")),
    };
    refuse_others(&fields, known, at)?;
    Ok(format)
}

fn read_tools(value: Value, at: &Path<'_>) -> Result<Vec<Tool>, WireError> {
    at.list(value)?.into_iter().enumerate().map(|(index, item)| read_tool(item, &at.item(index))).collect()
}

fn read_tool(value: Value, at: &Path<'_>) -> Result<Tool, WireError> {
    let mut fields = at.object(value)?;
    match given(&mut fields, "type") {
        Some(kind) if kind == "function" => {}
        Some(_) => {
            return Err(at.field("type").error(
                "must be `function`: only function tools can be translated, built-in tools need the provider itself",
            ));
        }
        None => return Err(at.field("type").error("is missing")),
    }
    if given(&mut fields, "function").is_some() {
        let reason = "is not known here: `name`, `description`, `parameters` and `strict` stand beside `type`";
        return Err(at.field("function").error(reason));
    }
    let mut text = |field| given(&mut fields, field).map(|value| at.field(field).text(value)).transpose();
    let name = text("name")?.ok_or_else(|| at.field("name").error("is missing"))?;
    let description = text("description")?;
    let parameters = given(&mut fields, "parameters").map(|value| at.field("parameters").object(value)).transpose()?;
    let strict = given(&mut fields, "strict").map(|value| at.field("strict").bool(value)).transpose()?;
    refuse_others(&fields, &[], at)?;
    Ok(Tool::Function { name, description, parameters: parameters.map(Value::Object), strict })
}

fn read_tool_choice(value: Value, at: &Path<'_>) -> Result<ToolChoice, WireError> {
    const CHOICES: &str = "must be `auto`, `none`, `required` or `{\"type\": \"function\", \"name\": …}`";
    match &value {
        Value::String(word) => match word.as_str() {
            "auto" => Ok(ToolChoice::Auto),
            "none" => Ok(ToolChoice::None),
            "required" => Ok(ToolChoice::Required),
            _ => Err(at.error(CHOICES)),
        },
        Value::Object(fields) if fields.get("type").is_some_and(|kind| kind == "function") => {
            refuse_others(fields, &["type", "name"], at)?;
            let name = fields.get("name").and_then(Value::as_str);
            name.map(|name| ToolChoice::Function(name.to_owned()))
                .ok_or_else(|| at.field("name").error("must be a string"))
        }
        _ => Err(at.error(CHOICES)),
    }
}
