//! A Chat Completions request: read from a client, written to an upstream.

use serde::ser::SerializeMap;
use serde::{Serialize, Serializer};
use serde_json::{Value, json};

use super::fields::Path;
use super::openai_message::{
    CACHE_MARK, OutMessage, OutTools, read_messages, read_tool_choice, read_tools, tool_choice_json,
};
use super::{Asked, BodyControls, Delivery, WireError, json};
use crate::chat::{ChatRequest, Dialect, LimitSpelling, OutputFormat, OutputLimit, Sampling};

/// The most answers that may be asked for at once, which is OpenAI's own limit.
const CHOICES_MAX: u32 = 128;

/// Reads the body of a client's request.
///
/// Spellings of the same wish become the same request: a text and one text part, `null` and no field, `n: 1` and none,
/// one stop text and a list of it, `logprobs: false` and none, the format `text` and none.
///
/// # Errors
/// Names the field that has a wrong type or an impossible value, or where the body stops being JSON. Whether numbers
/// such as the temperature suit the model is for the vendor to say: ranges differ.
pub fn parse_request(body: &[u8]) -> Result<Asked, WireError> {
    let body = Path::Body.object(json::parse(body)?)?;
    let mut request = ChatRequest {
        messages: Vec::new(),
        dialect: Dialect::OpenAi,
        ..ChatRequest::from_prompt(String::new())
    };
    let mut delivery = Delivery::default();
    let mut cache = BodyControls::default();
    let mut logprobs = Logprobs::default();
    for (field, value) in body {
        let at = Path::Body.field(&field);
        let ChatRequest { sampling, .. } = &mut request;
        match field.as_str() {
            _ if value.is_null() => {}
            "model" => request.model = Some(at.text(value)?),
            "messages" => request.messages = read_messages(value, &at)?,
            "tools" => request.tools = read_tools(value, &at)?,
            "tool_choice" => request.tool_choice = Some(read_tool_choice(value, &at)?),
            "parallel_tool_calls" => request.parallel_tool_calls = Some(at.bool(value)?),
            "response_format" => request.output_format = read_format(value, &at)?,
            "temperature" => sampling.temperature = Some(at.f64(value)?),
            "top_p" => sampling.top_p = Some(at.f64(value)?),
            "presence_penalty" => sampling.presence_penalty = Some(at.f64(value)?),
            "frequency_penalty" => sampling.frequency_penalty = Some(at.f64(value)?),
            "seed" => sampling.seed = Some(at.i64(value)?),
            "stop" => sampling.stop = read_stop(value, &at)?,
            "n" => sampling.n = Some(at.count(value, CHOICES_MAX)?).filter(|n| *n != 1),
            "logit_bias" => sampling.logit_bias = Some(Value::Object(at.object(value)?)),
            "logprobs" => logprobs.wanted = at.bool(value)?,
            "top_logprobs" => logprobs.alternatives = Some(at.u64(value)?),
            "reasoning_effort" => sampling.reasoning_effort = Some(at.text(value)?),
            "verbosity" => sampling.verbosity = Some(at.text(value)?),
            "max_tokens" => limit(&mut request, at.count(value, u32::MAX)?, LimitSpelling::MaxTokens)?,
            "max_completion_tokens" => {
                limit(&mut request, at.count(value, u32::MAX)?, LimitSpelling::MaxCompletionTokens)?;
            }
            "stream" => delivery.stream = at.bool(value)?,
            "stream_options" => delivery.include_usage = read_include_usage(value, &at)?,
            "cache" => cache = BodyControls::read(value, &at)?,
            "user" | "safety_identifier" => {
                let text = at.text(value)?;
                request.carried.insert(field, Value::String(text));
            }
            "metadata" => {
                let fields = at.object(value)?;
                request.carried.insert(field, Value::Object(fields));
            }
            "store"
            | "service_tier"
            | "prediction"
            | "prompt_cache_key"
            | "prompt_cache_options"
            | "prompt_cache_retention"
            | CACHE_MARK => drop(request.carried.insert(field, value)),
            _ => drop(request.unknown.insert(field, value)),
        }
    }
    if request.messages.is_empty() {
        return Err(Path::Body.field("messages").error("is missing"));
    }
    request.sampling.logprobs = logprobs.read()?;
    request.end_user = end_user(&request);
    Ok(Asked { request, delivery, cache, task: None })
}

/// The two fields that say one thing.
#[derive(Default)]
struct Logprobs {
    wanted: bool,
    alternatives: Option<u64>,
}

impl Logprobs {
    fn read(self) -> Result<Option<u32>, WireError> {
        let at = Path::Body.field("top_logprobs");
        match (self.wanted, self.alternatives) {
            (false, None | Some(0)) => Ok(None),
            (false, Some(_)) => Err(at.error("needs `logprobs` to be true")),
            (true, alternatives) => u32::try_from(alternatives.unwrap_or(0))
                .map(Some)
                .map_err(|_| at.error("is larger than any vendor gives")),
        }
    }
}

fn limit(request: &mut ChatRequest, tokens: u32, spelling: LimitSpelling) -> Result<(), WireError> {
    match request.limit.replace(OutputLimit { tokens, spelling }) {
        None => Ok(()),
        Some(_) => {
            Err(Path::Body.field("max_tokens").error("and `max_completion_tokens` cannot both be given"))
        }
    }
}

fn read_stop(value: Value, at: &Path<'_>) -> Result<Vec<String>, WireError> {
    match value {
        Value::String(text) => Ok(vec![text]),
        Value::Array(texts) => {
            texts.into_iter().enumerate().map(|(index, text)| at.item(index).text(text)).collect()
        }
        _ => Err(at.error("must be a string or a list of strings")),
    }
}

fn read_format(value: Value, at: &Path<'_>) -> Result<OutputFormat, WireError> {
    let mut fields = at.object(value)?;
    let Some(Value::String(kind)) = fields.get("type") else {
        return Err(at.field("type").error("must be a string"));
    };
    Ok(match (kind.as_str(), fields.len()) {
        ("text", 1) => OutputFormat::Text,
        ("json_object", 1) => OutputFormat::JsonObject,
        ("json_schema", 2) => match fields.remove("json_schema") {
            Some(schema @ Value::Object(_)) => OutputFormat::JsonSchema(schema),
            _ => return Err(at.field("json_schema").error("must be an object")),
        },
        _ => OutputFormat::Other(Value::Object(fields)),
    })
}

fn read_include_usage(value: Value, at: &Path<'_>) -> Result<bool, WireError> {
    match at.object(value)?.remove("include_usage") {
        None | Some(Value::Null) => Ok(false),
        Some(value) => at.field("include_usage").bool(value),
    }
}

/// Returns whom the caller speaks for: the first of OpenAI's two fields, else Anthropic's.
fn end_user(request: &ChatRequest) -> Option<String> {
    let carried = &request.carried;
    let in_metadata = || carried.get("metadata").and_then(|metadata| metadata.get("user_id"));
    ["user", "safety_identifier"]
        .into_iter()
        .find_map(|field| carried.get(field))
        .or_else(in_metadata)
        .and_then(Value::as_str)
        .map(str::to_owned)
}

/// How a request is put to an upstream.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Encoding<'a> {
    /// The model as the upstream names it.
    pub model: &'a str,
    /// Whether it is to stream; the usage is then asked for too.
    pub stream: bool,
    /// How the output limit of a native request is spelled; a request in OpenAI's own dialect keeps its spelling.
    pub native_limit: LimitSpelling,
}

/// Writes a request for an upstream that speaks this dialect. Fields that we do not know, and those carried along, are
/// left out where the request came in another one.
pub fn encode_request(request: &ChatRequest, encoding: Encoding<'_>) -> Vec<u8> {
    serde_json::to_vec(&OutRequest { request, encoding })
        .expect("texts, finite numbers and maps with text keys always have a JSON form")
}

struct OutRequest<'a> {
    request: &'a ChatRequest,
    encoding: Encoding<'a>,
}

impl Serialize for OutRequest<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let ChatRequest {
            model: _, // The upstream's own name for it stands in `encoding`.
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
            end_user: _, // Travels in the field it came in, which is carried.
        } = self.request;
        let Encoding { model, stream, native_limit } = self.encoding;
        let with_unknown = OutMessage::same_dialect(*dialect);
        let out_messages: Vec<_> =
            messages.iter().map(|message| OutMessage { message, with_unknown }).collect();

        let mut map = serializer.serialize_map(None)?;
        map.serialize_entry("model", model)?;
        map.serialize_entry("messages", &out_messages)?;
        if !tools.is_empty() {
            map.serialize_entry("tools", &OutTools(tools))?;
        }
        if let Some(choice) = tool_choice {
            map.serialize_entry("tool_choice", &tool_choice_json(choice))?;
        }
        if let Some(yes) = parallel_tool_calls {
            map.serialize_entry("parallel_tool_calls", yes)?;
        }
        match output_format {
            OutputFormat::Text => {}
            OutputFormat::JsonObject => {
                map.serialize_entry("response_format", &json!({"type": "json_object"}))?
            }
            OutputFormat::JsonSchema(schema) => {
                map.serialize_entry(
                    "response_format",
                    &json!({"type": "json_schema", "json_schema": schema}),
                )?;
            }
            OutputFormat::Other(format) => map.serialize_entry("response_format", format)?,
        }
        sampling_entries(sampling, &mut map)?;
        if let Some(OutputLimit { tokens, spelling }) = limit {
            let spelling = match dialect {
                Dialect::Native => native_limit,
                Dialect::OpenAi => *spelling,
            };
            map.serialize_entry(limit_field(spelling), tokens)?;
        }
        if stream {
            map.serialize_entry("stream", &true)?;
            map.serialize_entry("stream_options", &json!({"include_usage": true}))?;
        }
        if with_unknown {
            for (field, value) in carried.iter().chain(unknown) {
                map.serialize_entry(field, value)?;
            }
        }
        map.end()
    }
}

const fn limit_field(spelling: LimitSpelling) -> &'static str {
    match spelling {
        LimitSpelling::MaxTokens => "max_tokens",
        LimitSpelling::MaxCompletionTokens => "max_completion_tokens",
    }
}

fn sampling_entries<M: SerializeMap>(sampling: &Sampling, map: &mut M) -> Result<(), M::Error> {
    let Sampling {
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
    } = sampling;
    for (field, number) in [
        ("temperature", temperature),
        ("top_p", top_p),
        ("presence_penalty", presence_penalty),
        ("frequency_penalty", frequency_penalty),
    ] {
        if let Some(number) = number {
            map.serialize_entry(field, number)?;
        }
    }
    if let Some(seed) = seed {
        map.serialize_entry("seed", seed)?;
    }
    if !stop.is_empty() {
        map.serialize_entry("stop", stop)?;
    }
    if let Some(n) = n {
        map.serialize_entry("n", n)?;
    }
    if let Some(bias) = logit_bias {
        map.serialize_entry("logit_bias", bias)?;
    }
    if let Some(alternatives) = logprobs {
        map.serialize_entry("logprobs", &true)?;
        if *alternatives > 0 {
            map.serialize_entry("top_logprobs", alternatives)?;
        }
    }
    for (field, word) in [("reasoning_effort", reasoning_effort), ("verbosity", verbosity)] {
        if let Some(word) = word {
            map.serialize_entry(field, word)?;
        }
    }
    Ok(())
}
