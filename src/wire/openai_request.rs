//! A Chat Completions request: read from a client, written to an upstream.

use std::borrow::Cow;

use serde::ser::SerializeMap;
use serde::{Serialize, Serializer};
use serde_json::{Map, Value, json};

use super::fields::Path;
use super::foreign::refuse_foreign;
use super::openai_marks::{CACHE_MARK, Marks};
use super::openai_message::{
    OutMessage, OutTools, read_messages, read_tool_choice, read_tools, tool_choice_json,
};
use super::openai_response::WRITES;
use super::{Asked, BodyControls, Delivery, Inexpressible, WireError, json};
use crate::chat::{
    CacheMark, ChatRequest, Dialect, JsonSchema, LimitSpelling, OutputFormat, OutputLimit, Part, Role,
    Sampling,
};

/// The most answers that may be asked for at once, which is OpenAI's own limit.
const CHOICES_MAX: u32 = 128;

/// The most marks for the vendor's prompt cache that a request may have; vendors take four.
pub(super) const MARKS_MAX: usize = 64;

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
    let mut marks = Vec::new();
    for (field, value) in body {
        let at = Path::Body.field(&field);
        let ChatRequest { sampling, .. } = &mut request;
        match field.as_str() {
            _ if value.is_null() => {}
            "model" => request.model = Some(at.name(value)?),
            "messages" => request.messages = read_messages(value, &at, &mut marks)?,
            "tools" => request.tools = read_tools(value, &at, &mut marks)?,
            "tool_choice" => request.tool_choice = Some(read_tool_choice(value, &at)?),
            "parallel_tool_calls" => request.parallel_tool_calls = Some(at.bool(value)?),
            "response_format" => request.output_format = read_format(value, &at)?,
            "temperature" => sampling.temperature = Some(at.f64(value)?),
            "top_p" => sampling.top_p = Some(at.f64(value)?),
            // OpenAI has no such field; most servers that speak its format do.
            "top_k" if value.as_u64().is_some_and(|k| k <= u64::from(u32::MAX)) => {
                sampling.top_k = value.as_u64().and_then(|k| u32::try_from(k).ok());
            }
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
    request.cache_marks = within_limit(marks)?;
    request.sampling.logprobs = logprobs.read()?;
    let metadata = request.carried.get("metadata").and_then(Value::as_object);
    request.end_user = end_user(&request.carried, metadata);
    Ok(Asked { request, delivery, cache, task: None })
}

/// Returns the marks, where there are not too many.
fn within_limit(marks: Vec<CacheMark>) -> Result<Vec<CacheMark>, WireError> {
    if marks.len() > MARKS_MAX {
        let reason = format!("has more than {MARKS_MAX} `{CACHE_MARK}` marks");
        return Err(Path::Body.field("messages").error(reason));
    }
    Ok(marks)
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
            Some(Value::Object(schema)) => match read_schema(schema) {
                Ok(schema) => OutputFormat::JsonSchema(schema),
                Err(schema) => {
                    fields.insert("json_schema".to_owned(), Value::Object(schema));
                    OutputFormat::Other(Value::Object(fields))
                }
            },
            _ => return Err(at.field("json_schema").error("must be an object")),
        },
        _ => OutputFormat::Other(Value::Object(fields)),
    })
}

/// Reads a schema and what belongs to it; gives the fields back where there is anything else among them.
pub(super) fn read_schema(fields: Map<String, Value>) -> Result<JsonSchema, Map<String, Value>> {
    let mut read = JsonSchema { name: None, description: None, schema: None, strict: None };
    for (field, value) in &fields {
        match (field.as_str(), value) {
            ("name", Value::String(name)) => read.name = Some(name.clone()),
            ("description", Value::String(text)) => read.description = Some(text.clone()),
            ("schema", Value::Object(_)) => read.schema = Some(value.clone()),
            ("strict", Value::Bool(yes)) => read.strict = Some(*yes),
            ("description" | "strict", Value::Null) => {}
            _ => return Err(fields),
        }
    }
    Ok(read)
}

fn read_include_usage(value: Value, at: &Path<'_>) -> Result<bool, WireError> {
    match at.object(value)?.remove("include_usage") {
        None | Some(Value::Null) => Ok(false),
        Some(value) => at.field("include_usage").bool(value),
    }
}

/// Returns whom the caller speaks for: the first of OpenAI's two fields, else Anthropic's.
pub(super) fn end_user(
    carried: &Map<String, Value>,
    metadata: Option<&Map<String, Value>>,
) -> Option<String> {
    let in_metadata = || metadata.and_then(|metadata| metadata.get("user_id"));
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
    /// How the output limit is spelled; a request in this very dialect keeps its own spelling.
    pub limit: LimitSpelling,
    /// Whether it takes fields that OpenAI itself does not have, such as `top_k`.
    pub is_extended: bool,
}

/// Writes a request for an upstream that speaks this dialect. Fields that we do not know, and those carried along, are
/// left out where the request came in another one.
///
/// # Errors
/// Names what the request asks for that this dialect cannot say.
pub fn encode_request(request: &ChatRequest, encoding: Encoding<'_>) -> Result<Vec<u8>, Inexpressible> {
    refuse_foreign(request, &[Dialect::OpenAi], "OpenAI's Chat Completions")?;
    refuse_unspeakable(request, encoding)?;
    let is_own = request.dialect == Dialect::OpenAi;
    Ok(serde_json::to_vec(&OutRequest { request, encoding, is_own }).expect(WRITES))
}

/// Writes a request for a person to read: all of it, in this dialect's spelling, whatever dialect it came in.
pub fn show_request(request: &ChatRequest, model: &str) -> Vec<u8> {
    let encoding = Encoding { model, stream: false, limit: LimitSpelling::MaxTokens, is_extended: true };
    serde_json::to_vec(&OutRequest { request, encoding, is_own: true }).expect(WRITES)
}

fn refuse_unspeakable(request: &ChatRequest, encoding: Encoding<'_>) -> Result<(), Inexpressible> {
    if request.sampling.top_k.is_some() && !encoding.is_extended {
        return Err(Inexpressible::new("top_k", "cannot be told to OpenAI; use `top_p` or leave it out"));
    }
    for (at, message) in request.messages.iter().enumerate() {
        let part = message.content.iter().position(|part| matches!(part, Part::Image(_)));
        // A request in the dialect itself goes on as its sender wrote it.
        if let Some(part) = part.filter(|_| message.role != Role::User && request.dialect != Dialect::OpenAi)
        {
            return Err(Inexpressible::new(
                format!("messages[{at}].content[{part}]"),
                "is a picture, which OpenAI's Chat Completions takes from the user alone",
            ));
        }
    }
    Ok(())
}

struct OutRequest<'a> {
    request: &'a ChatRequest,
    encoding: Encoding<'a>,
    /// Whether fields that we do not know, and those carried along, are for this reader.
    is_own: bool,
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
            betas: _,       // Anthropic's.
            cache_marks: _, // Written with what they stand at.
            unknown,
            carried,
            end_user,
        } = self.request;
        let Encoding { model, stream, limit: spelling, is_extended } = self.encoding;
        let is_own = self.is_own;
        let marks = Marks { own: Some(self.request).filter(|_| is_own), is_extended };
        let out_message = |(at, message)| OutMessage { message, at, marks, is_own, is_extended };
        let out_messages = messages.iter().enumerate().map(out_message).filter(OutMessage::says_something);
        let out_messages: Vec<_> = out_messages.collect();

        let mut map = serializer.serialize_map(None)?;
        map.serialize_entry("model", model)?;
        map.serialize_entry("messages", &out_messages)?;
        if !tools.is_empty() {
            map.serialize_entry("tools", &OutTools { tools, marks })?;
        }
        if let Some(choice) = tool_choice {
            map.serialize_entry("tool_choice", &tool_choice_json(choice))?;
        }
        // OpenAI refuses it where there are no tools.
        if let Some(yes) = parallel_tool_calls.filter(|_| is_own || !tools.is_empty()) {
            map.serialize_entry("parallel_tool_calls", &yes)?;
        }
        if let Some(format) = format_json(output_format) {
            map.serialize_entry("response_format", &format)?;
        }
        sampling_entries(sampling, &mut map)?;
        if let Some(OutputLimit { tokens, spelling: own }) = limit {
            map.serialize_entry(limit_field(if is_own { *own } else { spelling }), tokens)?;
        }
        if stream {
            map.serialize_entry("stream", &true)?;
            map.serialize_entry("stream_options", &json!({"include_usage": true}))?;
        }
        match dialect {
            _ if is_own => {
                for (field, value) in carried.iter().chain(unknown) {
                    map.serialize_entry(field, value)?;
                }
            }
            // What Responses carries has the same names and the same sense here.
            Dialect::Responses => {
                for (field, value) in carried {
                    map.serialize_entry(field, value)?;
                }
            }
            Dialect::Native | Dialect::OpenAi | Dialect::Anthropic => {
                if let Some(user) = end_user {
                    map.serialize_entry("user", &out_user(user))?;
                }
            }
        }
        map.end()
    }
}

/// The most characters of the field `user`, beyond which OpenAI answers 400 (`string_above_max_length`).
const USER_CHARS_MAX: usize = 64;

/// Returns whom a caller of another dialect speaks for. What is longer than OpenAI takes is sent as the hex digits of
/// its BLAKE3 digest, which are exactly as many: nobody reads the field, it only tells users apart.
fn out_user(user: &str) -> Cow<'_, str> {
    if user.chars().count() <= USER_CHARS_MAX {
        return Cow::Borrowed(user);
    }
    Cow::Owned(blake3::hash(user.as_bytes()).to_hex().to_string())
}

fn format_json(format: &OutputFormat) -> Option<Value> {
    Some(match format {
        OutputFormat::Text => return None,
        OutputFormat::JsonObject => json!({"type": "json_object"}),
        OutputFormat::JsonSchema(JsonSchema { name, description, schema, strict }) => {
            // OpenAI insists on a name; other dialects have none.
            let mut fields =
                Map::from_iter([("name".to_owned(), name.as_deref().unwrap_or("answer").into())]);
            let optional = [
                ("description", description.as_deref().map(Value::from)),
                ("schema", schema.clone()),
                ("strict", strict.map(Value::from)),
            ];
            fields.extend(optional.into_iter().filter_map(|(field, value)| Some((field.to_owned(), value?))));
            json!({"type": "json_schema", "json_schema": fields})
        }
        OutputFormat::Other(format) => format.clone(),
    })
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
    if let Some(k) = top_k {
        map.serialize_entry("top_k", k)?;
    }
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

#[cfg(test)]
mod tests {
    use super::super::json::tests::any_json;
    use super::super::{anthropic, gemini, responses};
    use super::*;
    use crate::chat::{Image, ImageSource, Message};
    use proptest::prelude::*;

    fn asked(fields: &str) -> Result<Asked, WireError> {
        let comma = if fields.is_empty() { "" } else { ", " };
        parse_request(
            format!("{{\"messages\": [{{\"role\": \"user\", \"content\": \"q\"}}]{comma}{fields}}}")
                .as_bytes(),
        )
    }

    #[test]
    fn different_spellings_of_one_wish_are_one_request() {
        let plain = asked("").unwrap().request;
        for fields in [
            "\"temperature\": null, \"tools\": null",
            "\"n\": 1",
            "\"logprobs\": false, \"top_logprobs\": 0",
            "\"response_format\": {\"type\": \"text\"}",
            "\"stream\": true, \"stream_options\": {\"include_usage\": true}",
            "\"cache\": {\"ttl\": 1}",
        ] {
            assert_eq!(asked(fields).unwrap().request, plain, "{fields}");
        }
        assert_eq!(asked("\"stop\": \"x\"").unwrap(), asked("\"stop\": [\"x\"]").unwrap());
        let parts =
            br#"{"messages": [{"role": "user", "content": [{"type": "text", "text": "q"}], "name": null}]}"#;
        assert_eq!(parse_request(parts).unwrap().request, plain);
        assert_eq!(plain.messages, [Message::text(Role::User, "q")]);
    }

    #[test]
    fn the_field_at_fault_is_named() {
        for (fields, message) in [
            ("\"temperature\": \"hot\"", "`temperature` must be a number, not a string"),
            ("\"model\": 4", "`model` must be a string, not a number"),
            ("\"model\": \"m\\r\\nx: y\"", "`model` must have 1 to 256 bytes and no control characters"),
            ("\"n\": 0", "`n` must be a whole number from 1 to 128"),
            ("\"max_tokens\": -1", "`max_tokens` must be"),
            (
                "\"max_tokens\": 1, \"max_completion_tokens\": 2",
                "`max_tokens` and `max_completion_tokens` cannot",
            ),
            ("\"top_logprobs\": 2", "`top_logprobs` needs `logprobs`"),
            ("\"stop\": [1]", "`stop[0]` must be a string"),
            (
                "\"stream_options\": {\"include_usage\": 1}",
                "`stream_options.include_usage` must be a boolean",
            ),
            ("\"response_format\": {}", "`response_format.type` must be a string"),
            ("\"tools\": [1]", "`tools[0]` must be an object"),
            ("\"user\": 5", "`user` must be a string"),
            ("\"cache\": {\"ttl\": 0}", "`cache.ttl` must be a whole number of seconds from 1 to 31536000"),
            ("\"cache\": {\"ttl\": 31536001}", "`cache.ttl` must be"),
            ("\"cache\": {\"namespace\": \"a b\"}", "`cache.namespace` must be"),
            ("\"cache\": {\"no_cache\": true}", "`cache.no_cache` is not known"),
        ] {
            let error = asked(fields).unwrap_err().to_string();
            assert!(error.starts_with(message), "{error}");
        }
        for (body, message) in [
            ("[]", "`body` must be an object, not a list"),
            ("{}", "`messages` is missing"),
            (r#"{"messages": []}"#, "`messages` must have at least one message"),
            (r#"{"messages": "q"}"#, "`messages` must be a list"),
            (r#"{"messages": [{"content": "q"}]}"#, "`messages[0].role` is missing"),
            (r#"{"messages": [{"role": "function", "content": "q"}]}"#, "`messages[0].role` must be one of"),
            (r#"{"messages": [{"role": "user"}]}"#, "`messages[0].content` is missing"),
            (
                r#"{"messages": [{"role": "user", "content": []}]}"#,
                "`messages[0].content` is missing or empty",
            ),
            (
                r#"{"messages": [{"role": "user", "content": 1}]}"#,
                "`messages[0].content` must be a string or",
            ),
            (
                r#"{"messages": [{"role": "user", "content": [{"type": "text"}]}]}"#,
                "`messages[0].content[0].text`",
            ),
            (
                r#"{"messages": [{"role": "user", "content": ["x"]}]}"#,
                "`messages[0].content[0]` must be an object",
            ),
            (r#"{"messages": [{"role": "tool", "content": "x"}]}"#, "`messages[0].tool_call_id` is missing"),
            (
                r#"{"messages": [{"role": "assistant", "tool_calls": 1}]}"#,
                "`messages[0].tool_calls` must be a list",
            ),
        ] {
            let error = parse_request(body.as_bytes()).unwrap_err().to_string();
            assert!(error.starts_with(message), "{error}");
        }
        let many = format!("{{\"messages\": [{}]}}", vec!["{}"; MANY].join(","));
        let error = parse_request(many.as_bytes()).unwrap_err();
        assert_eq!(error.param(), Some("messages"));
    }

    const MANY: usize = super::super::MESSAGES_MAX + 1;

    #[test]
    fn who_asks_is_found_in_three_places() {
        for (fields, user) in [
            (r#""metadata": {"user_id": "c"}"#, "c"),
            (r#""metadata": {"user_id": "c"}, "safety_identifier": "b""#, "b"),
            (r#""safety_identifier": "b", "user": "a""#, "a"),
        ] {
            assert_eq!(asked(fields).unwrap().request.end_user.as_deref(), Some(user));
        }
    }

    #[test]
    fn a_call_with_more_than_a_function_goes_on_as_it_came() {
        let call = r#"{"id": "1", "type": "function", "function": {"name": "f", "arguments": "{}"}, "extra_content": {"s": 1}}"#;
        let body = format!(r#"{{"messages": [{{"role": "assistant", "tool_calls": [{call}]}}]}}"#);
        let message = &parse_request(body.as_bytes()).unwrap().request.messages[0];
        assert_eq!(message.tool_calls().count(), 0);
        assert_eq!(message.unknown["tool_calls"][0]["extra_content"]["s"], 1);
    }

    #[test]
    fn a_call_that_an_sdk_sends_back_is_a_call() {
        let call = r#"{"id": "1", "type": "function", "index": 0, "odd": null, "function":
            {"name": "f", "arguments": "{}", "parsed_arguments": {"a": 1}}}"#;
        let body = format!(r#"{{"messages": [{{"role": "assistant", "tool_calls": [{call}]}}]}}"#);
        let message = &parse_request(body.as_bytes()).unwrap().request.messages[0];
        assert_eq!(message.tool_calls().map(|call| call.name.as_str()).collect::<Vec<_>>(), ["f"]);
        assert!(message.unknown.is_empty());
    }

    fn sent(request: &ChatRequest, is_extended: bool) -> Value {
        let encoding = Encoding { is_extended, ..ENCODING };
        serde_json::from_slice(&encode_request(request, encoding).unwrap()).unwrap()
    }

    #[test]
    fn googles_seal_goes_to_nobody_who_refuses_what_he_does_not_know() {
        let body = r#"{"messages": [{"role": "assistant", "tool_calls": [{"id": "1", "type": "function",
            "function": {"name": "f", "arguments": "{}"}, "extra_content": {"google": {"thought_signature": "s"}}}]}]}"#;
        let request = parse_request(body.as_bytes()).unwrap().request;
        let call = |is_extended| sent(&request, is_extended)["messages"][0]["tool_calls"][0].clone();
        assert_eq!(call(true)["extra_content"]["google"]["thought_signature"], "s");
        assert_eq!(call(false).get("extra_content"), None);
    }

    #[test]
    fn a_long_name_of_who_asks_is_sent_as_its_digest() {
        for (length, is_kept) in [(64, true), (65, false), (150, false)] {
            let user = "u".repeat(length);
            let request = ChatRequest { end_user: Some(user.clone()), ..ChatRequest::from_prompt("q") };
            let told = sent(&request, false)["user"].as_str().unwrap().to_owned();
            assert_eq!((told.len(), told == user), (64, is_kept), "{told}");
        }
    }

    #[test]
    fn thoughts_of_earlier_turns_go_unsealed_to_servers_that_take_them() {
        let responses = r#"{"input": [{"role": "user", "content": "q"},
            {"type": "reasoning", "summary": [], "content": [{"type": "reasoning_text", "text": "hm"}]},
            {"type": "function_call", "call_id": "c", "name": "f", "arguments": "{}"},
            {"type": "function_call_output", "call_id": "c", "output": "1"},
            {"type": "reasoning", "summary": [], "encrypted_content": "sealed"},
            {"type": "reasoning", "summary": [], "content": [{"type": "reasoning_text", "text": "led nowhere"}]},
            {"role": "user", "content": "so?"}]}"#;
        let thinking = |seal: &str| {
            format!(
                r#"{{"max_tokens": 5, "messages": [{{"role": "user", "content": "q"}}, {{"role": "assistant", "content": [
                {{"type": "thinking", "thinking": "hm", "signature": "{seal}"}},
                {{"type": "tool_use", "id": "c", "name": "f", "input": {{}}}}]}}]}}"#
            )
        };
        let responses = responses::parse_request(responses.as_bytes()).unwrap().request;
        let unsealed = anthropic::parse_request(thinking("").as_bytes()).unwrap().request;
        let sealed = anthropic::parse_request(thinking("s").as_bytes()).unwrap().request;
        for (request, thought) in [(&responses, true), (&unsealed, true), (&sealed, false)] {
            let extended = sent(request, true);
            let expected = thought.then(|| json!("hm"));
            assert_eq!(extended["messages"][1].get("reasoning_content"), expected.as_ref(), "{extended}");
            assert_eq!(extended["messages"][1]["tool_calls"][0]["id"], "c");
            assert!(!sent(request, false).to_string().contains("reasoning_content"));
        }
        assert_eq!(sent(&responses, true)["messages"].as_array().unwrap().len(), 4);
    }

    #[test]
    fn the_name_of_the_tool_that_answers_is_known_from_its_call() {
        let body = r#"{"max_tokens": 5, "messages": [{"role": "user", "content": "q"},
            {"role": "assistant", "tool_calls": [{"id": "c", "type": "function", "function": {"name": "f", "arguments": "{}"}}]},
            {"role": "tool", "tool_call_id": "c", "name": "f", "content": "1"}]}"#;
        let request = parse_request(body.as_bytes()).unwrap().request;
        assert!(anthropic::encode_request(&request, "m", false).is_ok());
        assert!(gemini::encode_request(&request, "m").is_ok());
    }

    #[test]
    fn unknown_and_carried_fields_stay_within_their_dialect() {
        let mut request = asked(r#""vendor_knob": 1, "user": "u""#).unwrap().request;
        request.messages[0].unknown.insert("odd".into(), json!(1));
        let encoding = ENCODING;
        let encoded = String::from_utf8(encode_request(&request, encoding).unwrap()).unwrap();
        assert!(
            ["vendor_knob", "user", "odd"].iter().all(|field| encoded.contains(&format!("\"{field}\":")))
        );
        request.dialect = Dialect::Native;
        let encoded = String::from_utf8(encode_request(&request, encoding).unwrap()).unwrap();
        assert!(!["vendor_knob", "odd"].iter().any(|field| encoded.contains(&format!("\"{field}\":"))));
        // Who asks is known in every dialect.
        assert!(encoded.contains(r#""user":"u""#));
    }

    const ENCODING: Encoding<'_> =
        Encoding { model: "m", stream: false, limit: LimitSpelling::MaxTokens, is_extended: true };

    #[test]
    fn what_this_dialect_has_no_words_for_is_refused_and_named() {
        let refused = |request: &ChatRequest, encoding| encode_request(request, encoding).unwrap_err().field;
        let mut request = asked(r#""top_k": 5"#).unwrap().request;
        assert!(encode_request(&request, ENCODING).is_ok());
        assert_eq!(refused(&request, Encoding { is_extended: false, ..ENCODING }), "top_k");
        request.dialect = Dialect::Anthropic;
        request.messages[0].content.push(Part::Other(Map::new()));
        assert_eq!(refused(&request, ENCODING), "messages[0].content[1]");
    }

    #[test]
    fn marks_for_the_prompt_cache_go_to_servers_that_know_them() {
        let body = r#"{"messages": [{"role": "system", "content": [{"type": "text", "text": "s", "cache_control": {"type": "ephemeral"}}]},
            {"role": "user", "content": "q"}], "tools": [{"type": "function", "function": {"name": "f"}, "cache_control": {"a": 1}}]}"#;
        let request = parse_request(body.as_bytes()).unwrap().request;
        let plain = body
            .replace(r#", "cache_control": {"type": "ephemeral"}"#, "")
            .replace(r#", "cache_control": {"a": 1}"#, "");
        let unmarked = ChatRequest { cache_marks: Vec::new(), ..request.clone() };
        assert_eq!(unmarked, parse_request(plain.as_bytes()).unwrap().request);
        let sent = |encoding| -> Value {
            serde_json::from_slice(&encode_request(&request, encoding).unwrap()).unwrap()
        };
        let marked = sent(ENCODING);
        assert_eq!(marked["messages"][0]["content"][0]["cache_control"], json!({"type": "ephemeral"}));
        assert_eq!(marked["tools"][0]["cache_control"], json!({"a": 1}));
        assert_eq!(marked["messages"][1]["content"], "q");
        let official = sent(Encoding { is_extended: false, ..ENCODING }).to_string();
        assert!(!official.contains("cache_control"), "{official}");
    }

    #[test]
    fn openais_own_mark_is_no_part_of_the_text_and_goes_to_it() {
        let body = r#"{"messages": [{"role": "user", "content": [
            {"type": "text", "text": "q", "prompt_cache_breakpoint": {"mode": "explicit"}}]}]}"#;
        let request = parse_request(body.as_bytes()).unwrap().request;
        assert_eq!(request.messages, ChatRequest::from_prompt("q").messages);
        let part = &sent(&request, false)["messages"][0]["content"][0];
        let mark = json!({"mode": "explicit"});
        assert_eq!(*part, json!({"type": "text", "text": "q", "prompt_cache_breakpoint": mark}));
    }

    /// Any request that a body in this dialect can spell.
    fn any_request() -> impl Strategy<Value = ChatRequest> {
        let text = || "[^\\x00]{0,12}";
        let part = prop_oneof![
            text().prop_map(Part::Text),
            ("https://[a-z]{1,4}", prop::option::of("low|high"))
                .prop_map(|(url, detail)| { Part::Image(Image { source: ImageSource::Url(url), detail }) }),
            any_json().prop_map(|sound| match json!({"type": "input_audio", "input_audio": sound}) {
                Value::Object(fields) => Part::Other(fields),
                _ => unreachable!(),
            }),
        ];
        let message = (
            prop::sample::select(vec![
                Role::System,
                Role::Developer,
                Role::User,
                Role::Assistant,
                Role::Tool,
            ]),
            prop::collection::vec(part, 1..4),
            prop::option::of(text()),
        )
            .prop_map(|(role, content, name)| Message {
                role,
                content,
                name,
                tool_call_id: (role == Role::Tool).then(|| "call".into()),
                ..Message::text(role, "")
            });
        let number = || prop::option::of(any::<f64>().prop_filter("finite", |number| number.is_finite()));
        let sampling =
            (number(), number(), any::<Option<i64>>(), prop::collection::vec(text(), 0..3), 2..9_u32);
        (prop::collection::vec(message, 1..5), sampling, any::<Option<u16>>(), any_json(), any_json())
            .prop_map(|(messages, (temperature, top_p, seed, stop, n), limit, unknown, carried)| {
                ChatRequest {
                    model: Some("m".into()),
                    messages,
                    sampling: Sampling {
                        temperature,
                        top_p,
                        seed,
                        stop,
                        n: Some(n),
                        logprobs: seed.map(|_| n),
                        ..Sampling::default()
                    },
                    limit: limit.map(|tokens| OutputLimit {
                        tokens: u32::from(tokens) + 1,
                        spelling: LimitSpelling::MaxCompletionTokens,
                    }),
                    dialect: Dialect::OpenAi,
                    unknown: [("x_unknown".to_owned(), unknown)]
                        .into_iter()
                        .filter(|(_, value)| !value.is_null())
                        .collect(),
                    carried: [("prediction".to_owned(), carried)]
                        .into_iter()
                        .filter(|(_, value)| !value.is_null())
                        .collect(),
                    ..ChatRequest::from_prompt("")
                }
            })
    }

    proptest! {
        #[test]
        fn what_is_written_for_an_upstream_reads_as_the_same_request(request in any_request()) {
            let encoding = ENCODING;
            let read = parse_request(&encode_request(&request, encoding).unwrap());
            prop_assert_eq!(read.unwrap().request, request);
        }

        #[test]
        fn any_json_is_a_request_or_a_named_fault(body in any_json(), messages in any_json()) {
            let _ = parse_request(body.to_string().as_bytes());
            let _ = parse_request(json!({"messages": [messages], "tools": [body]}).to_string().as_bytes());
        }
    }
}
