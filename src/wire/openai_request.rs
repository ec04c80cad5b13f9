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
            "model" => request.model = Some(at.name(value)?),
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

#[cfg(test)]
mod tests {
    use super::super::json::tests::any_json;
    use super::*;
    use crate::chat::{Message, Part, Role};
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
        assert!(message.tool_calls.is_empty());
        assert_eq!(message.unknown["tool_calls"][0]["extra_content"]["s"], 1);
    }

    #[test]
    fn unknown_and_carried_fields_stay_within_their_dialect() {
        let mut request = asked(r#""vendor_knob": 1, "user": "u""#).unwrap().request;
        request.messages[0].unknown.insert("odd".into(), json!(1));
        let encoding = Encoding { model: "m", stream: false, native_limit: LimitSpelling::MaxTokens };
        let encoded = String::from_utf8(encode_request(&request, encoding)).unwrap();
        assert!(
            ["vendor_knob", "user", "odd"].iter().all(|field| encoded.contains(&format!("\"{field}\":")))
        );
        request.dialect = Dialect::Native;
        let encoded = String::from_utf8(encode_request(&request, encoding)).unwrap();
        assert!(
            !["vendor_knob", "user", "odd"].iter().any(|field| encoded.contains(&format!("\"{field}\":")))
        );
    }

    /// Any request that a body in this dialect can spell.
    fn any_request() -> impl Strategy<Value = ChatRequest> {
        let text = || "[^\\x00]{0,12}";
        let part = prop_oneof![
            text().prop_map(Part::Text),
            any_json().prop_map(|url| match json!({"type": "image_url", "image_url": url}) {
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
            let encoding = Encoding { model: "m", stream: false, native_limit: LimitSpelling::MaxTokens };
            let read = parse_request(&encode_request(&request, encoding));
            prop_assert_eq!(read.unwrap().request, request);
        }

        #[test]
        fn any_json_is_a_request_or_a_named_fault(body in any_json(), messages in any_json()) {
            let _ = parse_request(body.to_string().as_bytes());
            let _ = parse_request(json!({"messages": [messages], "tools": [body]}).to_string().as_bytes());
        }
    }
}
