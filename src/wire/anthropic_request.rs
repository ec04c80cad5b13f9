//! An Anthropic Messages request: read from a client, written to an upstream.

use serde::ser::SerializeMap;
use serde::{Serialize, Serializer};
use serde_json::{Map, Value, json};

use super::anthropic_conversation::OutConversation;
use super::anthropic_message::{Turns, read_messages, read_system};
use super::anthropic_thread::read_thread;
use super::anthropic_tool::{OutTools, read_tool_choice, read_tools, tool_choice_json};
use super::fields::Path;
use super::foreign::refuse_foreign;
use super::openai_marks::CACHE_MARK;
use super::openai_request::MARKS_MAX;
use super::openai_response::WRITES;
use super::{Asked, BodyControls, Delivery, Inexpressible, WireError, json as strict};
use crate::chat::{
    ChatRequest, Dialect, JsonSchema, LimitSpelling, OutputFormat, OutputLimit, Sampling, ToolChoice,
};

/// Where the format of the answer and the effort put into it stand.
const OUTPUT_CONFIG: &str = "output_config";

/// Reads the body of a client's request.
///
/// Spellings of the same wish become the same request: a text and one text block, `null` and no field.
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
    let mut tool_marks = Vec::new();
    let (mut system, mut turns) = (Turns::default(), Turns::default());
    for (field, value) in body {
        let at = Path::Body.field(&field);
        let ChatRequest { sampling, .. } = &mut request;
        match field.as_str() {
            _ if value.is_null() => {}
            "model" => request.model = Some(at.name(value)?),
            "system" => read_system(value, &at, &mut system)?,
            "messages" => read_messages(value, &at, &mut turns)?,
            "max_tokens" => request.limit = Some(read_limit(value, &at)?),
            "tools" => (request.tools, tool_marks) = read_tools(value, &at)?,
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
            "thread" => read_thread(value, &at)?,
            "service_tier" | CACHE_MARK => drop(request.carried.insert(field, value)),
            _ => drop(request.unknown.insert(field, value)),
        }
    }
    if turns.messages.is_empty() {
        return Err(Path::Body.field("messages").error("is missing"));
    }
    turns.follow(system);
    request.messages = turns.messages;
    request.cache_marks = tool_marks;
    request.cache_marks.append(&mut turns.marks);
    if request.cache_marks.iter().filter(|mark| mark.field == CACHE_MARK).count() > MARKS_MAX {
        let reason = format!("has more than {MARKS_MAX} `cache_control` marks");
        return Err(Path::Body.field("messages").error(reason));
    }
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
        temperature,
        top_p: _,
        top_k: _,
        presence_penalty,
        frequency_penalty,
        seed,
        stop,
        n: _,
        logit_bias,
        logprobs,
        reasoning_effort: _,
        verbosity,
    } = &request.sampling;
    let is_penalty = |penalty: &Option<f64>| penalty.is_some_and(|penalty| penalty != 0.0);
    // A caller of this dialect knows its bounds, and is told them by Anthropic itself.
    let is_own = request.dialect == Dialect::Anthropic;
    let is_hot = !is_own && temperature.is_some_and(|temperature| temperature > 1.0);
    let is_blank = !is_own && stop.iter().any(|text| text.trim().is_empty());
    let unspeakable = [
        ("temperature", is_hot, "it takes 1 at most"),
        ("stop", is_blank, "it does not stop at white space"),
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
            betas: _,       // They travel in a header.
            cache_marks: _, // Written with what they stand at.
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
            map.serialize_entry("tools", &OutTools { request: self.request, is_own: self.is_own })?;
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

#[cfg(test)]
mod tests {
    use super::super::json::tests::any_json;
    use super::super::openai;
    use super::*;
    use crate::chat::{
        Image, ImageSource, KeyRules, Message, ModelAlias, Namespace, OwnerNames, Part, Reasoning, Role,
        TenantId, Tool, ToolCall,
    };
    use proptest::prelude::*;

    fn asked(fields: &str) -> Result<Asked, WireError> {
        let comma = if fields.is_empty() { "" } else { ", " };
        let body = format!(
            r#"{{"max_tokens": 9, "messages": [{{"role": "user", "content": "q"}}]{comma}{fields}}}"#
        );
        parse_request(body.as_bytes())
    }

    fn with_messages(messages: Value) -> Result<Vec<Message>, WireError> {
        let body = json!({"messages": messages}).to_string();
        parse_count(body.as_bytes()).map(|asked| asked.request.messages)
    }

    #[test]
    fn different_spellings_of_one_wish_are_one_request() {
        let plain = asked("").unwrap().request;
        for fields in [
            r#""temperature": null, "tools": null, "system": null"#,
            r#""system": """#,
            r#""system": []"#,
            r#""output_config": {"format": null}"#,
            r#""stream": true"#,
            r#""cache": {"ttl": 1}"#,
            r#""thread": {"type": "create"}"#,
        ] {
            assert_eq!(asked(fields).unwrap().request, plain, "{fields}");
        }
        let mark = json!({"type": "ephemeral"});
        let block = json!({"type": "text", "text": "q", "citations": null, "cache_control": mark});
        let turn = json!([{"role": "user", "content": [block.clone()]}]);
        assert_eq!(with_messages(turn).unwrap(), plain.messages);
        let unmarked =
            |fields: &str| ChatRequest { cache_marks: Vec::new(), ..asked(fields).unwrap().request };
        assert_eq!(unmarked(&format!(r#""system": [{block}]"#)), unmarked(r#""system": "q""#));
        let tool = json!({"name": "f", "input_schema": {}});
        let marked = json!({"type": "custom", "name": "f", "input_schema": {}, "cache_control": mark});
        assert_eq!(unmarked(&format!(r#""tools": [{tool}]"#)), unmarked(&format!(r#""tools": [{marked}]"#)));
    }

    #[test]
    fn the_field_at_fault_is_named() {
        for (fields, message) in [
            ("\"temperature\": \"hot\"", "`temperature` must be a number, not a string"),
            ("\"top_k\": 5000000000", "`top_k` is larger than"),
            ("\"model\": 4", "`model` must be a string, not a number"),
            ("\"stop_sequences\": \"x\"", "`stop_sequences` must be a list"),
            ("\"stop_sequences\": [1]", "`stop_sequences[0]` must be a string"),
            ("\"system\": 1", "`system` must be a string or a list"),
            ("\"system\": [{\"type\": \"text\", \"text\": \"\"}]", "`system[0].text` must not be empty"),
            ("\"tools\": [1]", "`tools[0]` must be an object"),
            ("\"tools\": [{\"type\": 1}]", "`tools[0].type` must be a string"),
            ("\"tools\": [{\"input_schema\": {}}]", "`tools[0].name` must be a string"),
            ("\"tools\": [{\"name\": \"f\"}]", "`tools[0].input_schema` must be an object"),
            ("\"tool_choice\": \"auto\"", "`tool_choice` must be an object"),
            ("\"tool_choice\": {}", "`tool_choice.type` must be a string"),
            ("\"tool_choice\": {\"type\": \"tool\"}", "`tool_choice.name` must be a string"),
            (
                "\"tool_choice\": {\"type\": \"any\", \"disable_parallel_tool_use\": 1}",
                "`tool_choice.disable_parallel_tool_use` must be a boolean",
            ),
            ("\"output_config\": 1", "`output_config` must be an object"),
            ("\"output_config\": {\"effort\": 1}", "`output_config.effort` must be a string"),
            ("\"output_config\": {\"format\": \"json\"}", "`output_config.format` must be an object"),
            ("\"metadata\": \"u\"", "`metadata` must be an object"),
            ("\"stream\": 1", "`stream` must be a boolean"),
            ("\"thread\": \"create\"", "`thread` must be an object"),
            ("\"thread\": {\"type\": \"fork\"}", "`thread.type` must be one of"),
            ("\"cache\": {\"no_cache\": true}", "`cache.no_cache` is not known"),
        ] {
            let error = asked(fields).unwrap_err().to_string();
            assert!(error.starts_with(message), "{error}");
        }
        for (body, message) in [
            (r#"[]"#, "`body` must be an object, not a list"),
            (r#"{"max_tokens": 1}"#, "`messages` is missing"),
            (r#"{"messages": [{"role": "user", "content": "q"}]}"#, "`max_tokens` is missing"),
            (r#"{"max_tokens": -1}"#, "`max_tokens` must be a whole number"),
            (r#"{"max_tokens": 5000000000}"#, "`max_tokens` is larger than"),
        ] {
            let error = parse_request(body.as_bytes()).unwrap_err().to_string();
            assert!(error.starts_with(message), "{error}");
        }
    }

    #[test]
    fn the_message_at_fault_is_named() {
        let turn = |role: &str, content: Value| json!([{"role": role, "content": content}]);
        let block = |block: Value| json!([{"role": "user", "content": [block]}]);
        for (messages, message) in [
            (json!([]), "`messages` must have at least one message"),
            (json!("q"), "`messages` must be a list"),
            (json!([{"content": "q"}]), "`messages[0].role` is missing"),
            (turn("tool", json!("q")), "`messages[0].role` must be one of"),
            (json!([{"role": "user"}]), "`messages[0].content` is missing"),
            (turn("user", json!("")), "`messages[0].content` must not be empty"),
            (turn("user", json!([])), "`messages[0].content` must not be empty"),
            (turn("assistant", json!("")), "`messages[0].content` must not be empty"),
            (turn("user", json!(1)), "`messages[0].content` must be a string or a list"),
            (turn("user", json!(["x"])), "`messages[0].content[0]` must be an object"),
            (block(json!({"text": "x"})), "`messages[0].content[0].type` must be a string"),
            (block(json!({"type": "text"})), "`messages[0].content[0].text` must be a string"),
            (block(json!({"type": "text", "text": ""})), "`messages[0].content[0].text` must not be empty"),
            (
                block(json!({"type": "text", "text": "x", "citations": 1})),
                "`messages[0].content[0].citations` must be a list",
            ),
            (block(json!({"type": "tool_result"})), "`messages[0].content[0].tool_use_id` is missing"),
            (
                block(
                    json!({"type": "tool_result", "tool_use_id": "t", "content": [{"type": "text", "text": ""}]}),
                ),
                "`messages[0].content[0].content[0].text` must not be empty",
            ),
            (json!(vec![json!({"role": "user", "content": "q"}); MANY]), "`messages` has 2049 messages"),
            (
                turn("user", json!(vec![json!({"type": "tool_result", "tool_use_id": "t"}); MANY])),
                "`messages` has 2049 messages and tool results",
            ),
        ] {
            let error = with_messages(messages).unwrap_err().to_string();
            assert!(error.starts_with(message), "{error}");
        }
    }

    const MANY: usize = super::super::MESSAGES_MAX + 1;

    #[test]
    fn a_turn_is_split_where_a_tool_has_its_say() {
        let result =
            |id: &str, content: Value| json!({"type": "tool_result", "tool_use_id": id, "content": content});
        let image = json!({"type": "image", "source": {"type": "url", "url": "https://a.example/b.png"}});
        let mut odd = result("t3", Value::Null);
        odd["is_error"] = json!(true);
        odd["toolset_name"] = json!("browser");
        let messages = with_messages(json!([
            {"role": "user", "content": [
                result("t1", json!("one")),
                result("t2", json!([{"type": "text", "text": "two"}, image])),
                odd,
                {"type": "text", "text": "and?"},
            ]},
            {"role": "system", "content": "Be brief."},
            {"role": "assistant", "content": ""},
        ]))
        .unwrap();
        let roles: Vec<_> = messages.iter().map(|message| message.role).collect();
        assert_eq!(roles, [Role::Tool, Role::Tool, Role::Tool, Role::User, Role::System]);
        assert_eq!(messages[0].tool_call_id.as_deref(), Some("t1"));
        assert!(matches!(messages[1].content.as_slice(), [Part::Text(_), Part::Image(_)]));
        assert_eq!(messages[2].content, [Part::Text(String::new())]);
        assert!(messages[2].is_error && messages[2].unknown["toolset_name"] == "browser");
        assert_eq!(messages[3], Message::text(Role::User, "and?"));
    }

    #[test]
    fn blocks_that_only_anthropic_knows_go_on_as_they_came() {
        for block in [
            json!({"type": "redacted_thinking", "data": "x"}),
            json!({"type": "server_tool_use", "id": "s", "name": "web_search", "input": {}}),
            json!({"type": "text", "text": "x", "odd": 1}),
            json!({"type": "image", "source": {"type": "file", "file_id": "f"}}),
            json!({"type": "tool_use", "id": "t", "name": "f", "input": {}, "caller": {"type": "code_execution_20260120"}}),
            json!({"type": "tool_use", "id": "t", "name": "f", "input": {}, "toolset_name": "computer"}),
            json!({"type": "thinking", "thinking": "x", "signature": "s", "odd": 1}),
        ] {
            let messages = with_messages(json!([{"role": "assistant", "content": [block]}])).unwrap();
            let Part::Other(fields) = &messages[0].content[0] else { panic!("{messages:?}") };
            assert_eq!(Value::Object(fields.clone()), block);
        }
        let direct = json!({"type": "tool_use", "id": "t", "name": "f", "input": {"b": 1, "a": [2]}, "caller": {"type": "direct"}});
        let messages = with_messages(json!([{"role": "assistant", "content": [direct]}])).unwrap();
        let Part::ToolCall(call) = &messages[0].content[0] else { panic!("{messages:?}") };
        // In the order of the caller, which the vendor's prompt cache and the key may depend on.
        assert_eq!(call.arguments, r#"{"b":1,"a":[2]}"#);
    }

    #[test]
    fn how_a_tools_call_is_delivered_does_not_make_the_tool_anthropics_own() {
        let tools = json!([{"name": "f", "input_schema": {"type": "object"}, "eager_input_streaming": true,
            "defer_loading": false, "allowed_callers": ["direct"]}]);
        let request = asked(&format!(r#""tools": {tools}"#)).unwrap().request;
        let plain = asked(r#""tools": [{"name": "f", "input_schema": {"type": "object"}}]"#).unwrap().request;
        assert_eq!(request.tools, plain.tools);
        assert_eq!(encoded(&request)["tools"][0]["eager_input_streaming"], true);
        for own in [json!({"defer_loading": true}), json!({"allowed_callers": ["code_execution_20260120"]})] {
            let mut tools = tools.clone();
            tools[0].as_object_mut().unwrap().extend(own.as_object().unwrap().clone());
            let request = asked(&format!(r#""tools": {tools}"#)).unwrap().request;
            assert!(matches!(&request.tools[0], Tool::Other(_)), "{tools}");
        }
    }

    #[test]
    fn what_others_have_fields_for_is_understood() {
        let request = asked(
            r#""output_config": {"effort": "low", "format": {"type": "json_schema", "schema": {"type": "object"}}},
               "tools": [{"name": "f", "description": "d", "input_schema": {"type": "object"}, "strict": true},
                         {"type": "web_search_20250305", "name": "web_search"}],
               "tool_choice": {"type": "any", "disable_parallel_tool_use": true},
               "metadata": {"user_id": "u"}, "service_tier": "auto", "thinking": {"type": "adaptive"}"#,
        )
        .unwrap()
        .request;
        assert_eq!(request.sampling.reasoning_effort.as_deref(), Some("low"));
        assert!(matches!(
            request.output_format,
            OutputFormat::JsonSchema(JsonSchema { schema: Some(_), .. })
        ));
        assert!(matches!(&request.tools[0], Tool::Function { strict: Some(true), .. }));
        assert!(matches!(&request.tools[1], Tool::Other(_)));
        assert_eq!(request.tool_choice, Some(ToolChoice::Required));
        assert_eq!(request.parallel_tool_calls, Some(false));
        assert_eq!(request.end_user.as_deref(), Some("u"));
        assert_eq!(request.carried.len(), 2);
        assert_eq!(request.unknown.keys().collect::<Vec<_>>(), ["thinking"]);
        assert!(asked(r#""stream": true"#).unwrap().delivery.include_usage);

        let request =
            asked(r#""output_config": {"effort": "max", "task_budget": 5, "format": {"type": "xml"}}"#);
        let request = request.unwrap().request;
        assert_eq!(request.sampling.reasoning_effort.as_deref(), Some("max"));
        assert!(matches!(request.output_format, OutputFormat::Other(_)));
        assert_eq!(request.unknown["output_config"], json!({"task_budget": 5}));
        let sent = encoded(&request);
        assert_eq!(
            sent["output_config"],
            json!({"effort": "max", "format": {"type": "xml"}, "task_budget": 5})
        );
    }

    fn encoded(request: &ChatRequest) -> Value {
        serde_json::from_slice(&encode_request(request, "claude-opus-5", false).unwrap()).unwrap()
    }

    fn from_openai(body: Value) -> ChatRequest {
        openai::parse_request(body.to_string().as_bytes()).unwrap().request
    }

    #[test]
    fn a_conversation_of_another_dialect_is_put_into_turns() {
        let request = from_openai(json!({
            "messages": [
                {"role": "system", "content": "Be brief."},
                {"role": "user", "content": "Look"},
                {"role": "developer", "content": "In French."},
                {"role": "user", "content": [
                    {"type": "text", "text": "here"},
                    {"type": "image_url", "image_url": {"url": "data:image/png;base64,aGk="}},
                ]},
                {"role": "assistant", "content": "\n", "reasoning_content": "hm", "tool_calls": [
                    {"id": "c1", "type": "function", "function": {"name": "f", "arguments": "{\"x\":  1}"}},
                    {"id": "c2", "type": "function", "function": {"name": "g", "arguments": ""}},
                ]},
                {"role": "user", "content": "so?"},
                {"role": "tool", "tool_call_id": "c1", "content": "one"},
                {"role": "tool", "tool_call_id": "c2", "content": ""},
                {"role": "assistant", "content": "fine"},
                {"role": "assistant", "content": null, "refusal": "but no"},
            ],
            "user": "u",
        }));
        let sent = encoded(&request);
        let text = |text: &str| json!({"type": "text", "text": text});
        assert_eq!(sent["system"], json!([text("Be brief."), text("In French.")]));
        let image =
            json!({"type": "image", "source": {"type": "base64", "media_type": "image/png", "data": "aGk="}});
        assert_eq!(
            sent["messages"],
            json!([
                {"role": "user", "content": [text("Look"), text("here"), image]},
                {"role": "assistant", "content": [
                    {"type": "tool_use", "id": "c1", "name": "f", "input": {"x": 1}},
                    {"type": "tool_use", "id": "c2", "name": "g", "input": {}},
                ]},
                {"role": "user", "content": [
                    {"type": "tool_result", "tool_use_id": "c1", "content": "one"},
                    {"type": "tool_result", "tool_use_id": "c2"},
                    text("so?"),
                ]},
                {"role": "assistant", "content": [text("fine"), text("but no")]},
            ])
        );
        assert_eq!(sent["metadata"], json!({"user_id": "u"}));
        // Arguments are the model's own words, byte for byte.
        let bytes = encode_request(&request, "m", false).unwrap();
        assert!(String::from_utf8(bytes).unwrap().contains(r#""input":{"x":  1}"#));
    }

    #[test]
    fn instructions_between_turns_stay_there_for_who_put_them_there() {
        let messages = json!([
            {"role": "user", "content": "a"},
            {"role": "system", "content": "b"},
            {"role": "user", "content": "c"},
        ]);
        let body = json!({"system": "first", "messages": messages}).to_string();
        let mut request = parse_count(body.as_bytes()).unwrap().request;
        let sent = encoded(&request);
        assert_eq!((&sent["system"], &sent["messages"]), (&json!("first"), &messages));
        request.dialect = Dialect::Native;
        assert_eq!(encoded(&request)["system"].as_array().unwrap().len(), 2);
    }

    #[test]
    fn instructions_before_the_first_turn_are_the_system_text_wherever_they_stood() {
        let user = json!({"role": "user", "content": "q"});
        let asked = |system: &str| {
            let messages = json!([{"role": "system", "content": "b"}, user]);
            let body = json!({"system": system, "messages": messages}).to_string();
            encoded(&parse_count(body.as_bytes()).unwrap().request)
        };
        let text = |text: &str| json!({"type": "text", "text": text});
        for (sent, system) in [(asked(""), json!("b")), (asked("a"), json!([text("a"), text("b")]))] {
            assert_eq!((&sent["system"], &sent["messages"]), (&system, &json!([user])));
        }
    }

    #[test]
    fn a_limit_is_made_up_where_there_is_none() {
        let mut request = ChatRequest::from_prompt("q");
        let limit = |request: &ChatRequest, model: &str| {
            let sent: Value = serde_json::from_slice(&encode_request(request, model, true).unwrap()).unwrap();
            assert_eq!((&sent["model"], &sent["stream"]), (&json!(model), &json!(true)));
            sent["max_tokens"].as_u64().unwrap()
        };
        assert_eq!(limit(&request, "claude-opus-5"), 32_000);
        assert_eq!(limit(&request, "claude-3-haiku-20240307"), 4_096);
        request.limit = Some(OutputLimit { tokens: 7, spelling: LimitSpelling::MaxCompletionTokens });
        assert_eq!(limit(&request, "claude-opus-5"), 7);
    }

    #[test]
    fn tools_of_another_dialect_are_described_as_anthropic_wants() {
        let function = |name: &str| json!({"type": "function", "function": {"name": name}});
        let mut request = json!({
            "messages": [{"role": "user", "content": "q"}],
            "tools": [function("f"), function("g")],
            "parallel_tool_calls": false,
        });
        request["tools"][1]["function"]["parameters"] = json!({"properties": {}});
        request["tools"][1]["function"]["strict"] = json!(true);
        let sent = encoded(&from_openai(request.clone()));
        assert_eq!(
            sent["tools"],
            json!([
                {"name": "f", "input_schema": {"type": "object", "properties": {}}},
                {"name": "g", "input_schema": {"type": "object", "properties": {}}, "strict": true},
            ])
        );
        assert_eq!(sent["tool_choice"], json!({"type": "auto", "disable_parallel_tool_use": true}));
        for (choice, parallel, expected) in [
            (json!("required"), json!(true), json!({"type": "any", "disable_parallel_tool_use": false})),
            (json!("none"), json!(false), json!({"type": "none"})),
            (function("f"), Value::Null, json!({"type": "tool", "name": "f"})),
            (Value::Null, json!(true), Value::Null),
        ] {
            request["tool_choice"] = choice;
            request["parallel_tool_calls"] = parallel;
            assert_eq!(encoded(&from_openai(request.clone()))["tool_choice"], expected);
        }
        request["tools"] = Value::Null;
        request["tool_choice"] = json!("none");
        assert_eq!(encoded(&from_openai(request))["tool_choice"], Value::Null);
    }

    #[test]
    fn effort_has_one_scale_in_two_spellings() {
        let sent = |effort: &str| {
            let mut request = ChatRequest::from_prompt("q");
            request.sampling.reasoning_effort = Some(effort.to_owned());
            encoded(&request)
        };
        for (effort, level) in [
            ("minimal", "low"),
            ("low", "low"),
            ("medium", "medium"),
            ("high", "high"),
            ("xhigh", "xhigh"),
            ("max", "max"),
        ] {
            assert_eq!(sent(effort)["output_config"], json!({"effort": level}));
            assert_eq!(sent(effort)["thinking"], Value::Null);
        }
        let none = sent("none");
        assert_eq!((&none["thinking"], &none["output_config"]), (&json!({"type": "disabled"}), &Value::Null));
        let own = asked(r#""output_config": {"effort": "none"}"#).unwrap().request;
        assert_eq!(encoded(&own)["output_config"], json!({"effort": "none"}));
    }

    #[test]
    fn what_this_dialect_has_no_words_for_is_refused_and_named() {
        for (field, value, named) in [
            ("temperature", json!(1.5), "temperature"),
            ("stop", json!(["END", "\n"]), "stop"),
            ("presence_penalty", json!(0.5), "presence_penalty"),
            ("frequency_penalty", json!(-1), "frequency_penalty"),
            ("seed", json!(1), "seed"),
            ("n", json!(2), "n"),
            ("logit_bias", json!({}), "logit_bias"),
            ("logprobs", json!(true), "logprobs"),
            ("verbosity", json!("low"), "verbosity"),
            ("reasoning_effort", json!("vast"), "reasoning_effort"),
            ("response_format", json!({"type": "json_object"}), "response_format"),
            (
                "response_format",
                json!({"type": "json_schema", "json_schema": {"name": "s"}}),
                "response_format",
            ),
            ("tools", json!([{"type": "custom", "custom": {"name": "x"}}]), "tools[0]"),
            ("messages", json!([{"role": "user", "name": "ann", "content": "q"}]), "messages[0].name"),
            ("messages", json!([{"role": "system", "content": "q"}]), "messages"),
            (
                "messages",
                json!([{"role": "system", "content": [{"type": "image_url", "image_url": {"url": "https://a"}}]}]),
                "messages[0].content[0]",
            ),
            (
                "messages",
                json!([{"role": "user", "content": [{"type": "input_audio", "input_audio": {}}]}]),
                "messages[0].content[0]",
            ),
            (
                "messages",
                json!([{"role": "assistant", "tool_calls": [
                    {"id": "c", "type": "function", "function": {"name": "f", "arguments": "[1]"}}
                ]}]),
                "messages[0].tool_calls",
            ),
        ] {
            let mut body = json!({"messages": [{"role": "user", "content": "q"}]});
            body[field] = value;
            let error = encode_request(&from_openai(body), "m", false).unwrap_err();
            assert_eq!(error.field, named);
            assert!(error.reason.contains("Anthropic"), "{error}");
        }
        for (field, value) in [("presence_penalty", json!(0)), ("n", json!(1))] {
            let mut body = json!({"messages": [{"role": "user", "content": "q"}]});
            body[field] = value;
            assert!(encode_request(&from_openai(body), "m", false).is_ok(), "{field}");
        }
    }

    #[test]
    fn what_only_anthropic_understands_goes_nowhere_else() {
        let mut request =
            asked(r#""thinking": {"type": "adaptive"}, "service_tier": "auto""#).unwrap().request;
        request.betas.push("beta-1".into());
        let thought = |signature: Option<&str>| {
            let signature = signature.map(str::to_owned);
            Part::Reasoning(Reasoning { text: "hm".into(), signature })
        };
        let cited = Part::Cited { text: "so".into(), citations: vec![json!({"type": "x"})] };
        let content = vec![thought(None), thought(Some("s")), cited];
        request.messages.push(Message { content, ..Message::text(Role::Assistant, "") });
        request.messages[0].unknown.insert("odd".into(), json!(1));
        let bytes = String::from_utf8(encode_request(&request, "m", false).unwrap()).unwrap();
        for own in ["adaptive", "service_tier", "\"signature\":\"s\"", "citations", "odd"] {
            assert!(bytes.contains(own), "{own}: {bytes}");
        }
        assert!(!bytes.contains("beta-1") && bytes.matches("\"thinking\":\"hm\"").count() == 1, "{bytes}");
        request.dialect = Dialect::OpenAi;
        request.end_user = None;
        let sent = encoded(&request);
        assert_eq!(
            sent,
            json!({"model": "claude-opus-5", "max_tokens": 9, "messages": [
                {"role": "user", "content": "q"}, {"role": "assistant", "content": "so"},
            ]})
        );
    }

    /// The same question, put in each of two dialects.
    #[test]
    fn who_asks_the_same_in_two_dialects_shares_the_answer() {
        let schema = json!({"type": "object", "properties": {"city": {"type": "string"}}});
        let theirs = json!({
            "messages": [
                {"role": "system", "content": [{"type": "text", "text": "Be"}, {"type": "text", "text": "brief."}]},
                {"role": "user", "content": [
                    {"type": "text", "text": "What is this?"},
                    {"type": "image_url", "image_url": {"url": "https://a.example/b.png"}},
                    {"type": "image_url", "image_url": {"url": "data:image/png;base64,aGk="}},
                ]},
                {"role": "assistant", "content": "Wait.", "tool_calls": [
                    {"id": "c1", "type": "function", "function": {"name": "f", "arguments": "{\"city\":\"Bern\"}"}},
                    {"id": "c2", "type": "function", "function": {"name": "f", "arguments": "{}"}},
                ]},
                {"role": "tool", "tool_call_id": "c1", "content": "one"},
                {"role": "tool", "tool_call_id": "c2", "content": ""},
                {"role": "user", "content": "Well?"},
            ],
            "tools": [{"type": "function", "function": {"name": "f", "description": "d", "parameters": schema, "strict": true}}],
            "tool_choice": {"type": "function", "function": {"name": "f"}},
            "parallel_tool_calls": false,
            "temperature": 0.5, "top_p": 1, "stop": "END", "reasoning_effort": "high", "max_tokens": 5, "user": "u",
        });
        let ours = json!({
            "system": [{"type": "text", "text": "Be"}, {"type": "text", "text": "brief."}],
            "messages": [
                {"role": "user", "content": [
                    {"type": "text", "text": "What is this?"},
                    {"type": "image", "source": {"type": "url", "url": "https://a.example/b.png"}},
                    {"type": "image", "source": {"type": "base64", "media_type": "image/png", "data": "aGk="}},
                ]},
                {"role": "assistant", "content": [
                    {"type": "text", "text": "Wait."},
                    {"type": "tool_use", "id": "c1", "name": "f", "input": {"city": "Bern"}},
                    {"type": "tool_use", "id": "c2", "name": "f", "input": {}},
                ]},
                {"role": "user", "content": [
                    {"type": "tool_result", "tool_use_id": "c1", "content": "one"},
                    {"type": "tool_result", "tool_use_id": "c2"},
                    {"type": "text", "text": "Well?"},
                ]},
            ],
            "tools": [{"name": "f", "description": "d", "input_schema": schema, "strict": true}],
            "tool_choice": {"type": "tool", "name": "f", "disable_parallel_tool_use": true},
            "output_config": {"effort": "high"},
            "temperature": 0.5, "top_p": 1.0, "stop_sequences": ["END"], "max_tokens": 9,
            "metadata": {"user_id": "v"},
        });
        let fingerprint = |request: &ChatRequest| {
            let owner =
                OwnerNames { tenant: &TenantId::new("t"), user: None, namespace: &Namespace::new("n") };
            KeyRules::default().key(request, &ModelAlias::new("m"), owner).fingerprint
        };
        let ours = parse_request(ours.to_string().as_bytes()).unwrap().request;
        let theirs = from_openai(theirs);
        assert_eq!(fingerprint(&ours), fingerprint(&theirs));
        let mut other = ours.clone();
        other.sampling.top_k = Some(1);
        assert_ne!(fingerprint(&ours), fingerprint(&other));
        // And the same upstream hears the same from both, but for whom they speak for and how much they take.
        let heard = |request: &ChatRequest| {
            let Value::Object(mut fields) = encoded(request) else { panic!("no object") };
            fields.remove("metadata");
            fields.remove("max_tokens");
            fields
        };
        assert_eq!(heard(&ours), heard(&theirs));
    }

    fn text() -> impl Strategy<Value = String> {
        "[^\\x00]{1,12}"
    }

    fn any_fields(names: &'static str) -> impl Strategy<Value = Map<String, Value>> {
        let value = any_json().prop_filter("null is no field", |value| !value.is_null());
        prop::collection::vec((names, value), 0..3).prop_map(|fields| fields.into_iter().collect())
    }

    fn any_object() -> impl Strategy<Value = Value> {
        prop::collection::vec(("[a-z]{1,3}", any_json()), 0..3)
            .prop_map(|fields| Value::Object(fields.into_iter().collect()))
    }

    /// What both sides of a conversation may say.
    fn any_said() -> impl Strategy<Value = Part> {
        let source = prop_oneof![
            "https://[a-z]{1,4}".prop_map(ImageSource::Url),
            ("image/(png|jpeg)", "[a-z]{4}")
                .prop_map(|(media_type, base64)| ImageSource::Data { media_type, base64 }),
        ];
        prop_oneof![
            4 => text().prop_map(Part::Text),
            1 => (text(), prop::collection::vec(any_json(), 1..3))
                .prop_map(|(text, citations)| Part::Cited { text, citations }),
            1 => source.prop_map(|source| Part::Image(Image { source, detail: None })),
            1 => any_fields("f_[a-z]{1,3}").prop_map(|mut fields| {
                fields.insert("type".to_owned(), "document".into());
                Part::Other(fields)
            }),
        ]
    }

    fn any_thought_or_call() -> impl Strategy<Value = Part> {
        prop_oneof![
            // Without its seal a thought is not sent back.
            (text(), text()).prop_map(|(text, signature)| {
                Part::Reasoning(Reasoning { text, signature: Some(signature) })
            }),
            (text(), text(), any_object()).prop_map(|(id, name, input)| {
                Part::ToolCall(ToolCall { id, name, arguments: input.to_string(), signature: None })
            }),
        ]
    }

    fn message(role: Role, content: Vec<Part>) -> Message {
        Message { content, ..Message::text(role, "") }
    }

    /// Any turns of user and assistant: messages of one side that follow each other are one turn here, and a tool's
    /// results come before what the user says.
    fn any_turns() -> impl Strategy<Value = Vec<Message>> {
        let result =
            (text(), prop::collection::vec(any_said(), 0..3), any::<bool>(), any_fields("u_[a-z]{1,3}"))
                .prop_map(|(id, content, is_error, unknown)| {
                    let nothing = || vec![Part::Text(String::new())];
                    let content = Some(content).filter(|content| !content.is_empty()).unwrap_or_else(nothing);
                    Message { tool_call_id: Some(id), is_error, unknown, ..message(Role::Tool, content) }
                });
        let said = prop::collection::vec(any_said(), 1..3);
        let user = (prop::collection::vec(result, 0..3), said, any_fields("u_[a-z]{1,3}"));
        let answered = prop::collection::vec(prop_oneof![any_said(), any_thought_or_call()], 1..4);
        prop::collection::vec((user, answered), 1..3).prop_map(|turns| {
            let mut messages = Vec::new();
            for ((results, said, unknown), answered) in turns {
                // A turn with fields that we do not know is kept apart from others.
                let unknown = if results.is_empty() { unknown } else { Map::new() };
                messages.extend(results);
                messages.push(Message { unknown, ..message(Role::User, said) });
                messages.push(message(Role::Assistant, answered));
            }
            messages
        })
    }

    fn any_tools() -> impl Strategy<Value = (Vec<Tool>, Option<ToolChoice>, Option<bool>)> {
        let function = (text(), prop::option::of(text()), any_object(), any::<Option<bool>>()).prop_map(
            |(name, description, mut schema, strict)| {
                schema["type"] = "object".into();
                Tool::Function { name, description, parameters: Some(schema), strict }
            },
        );
        let other = any_fields("f_[a-z]{1,3}").prop_map(|mut fields| {
            fields.insert("type".to_owned(), "web_search_20250305".into());
            Tool::Other(Value::Object(fields))
        });
        let choice = prop_oneof![
            Just(ToolChoice::Auto),
            Just(ToolChoice::Required),
            Just(ToolChoice::None),
            text().prop_map(ToolChoice::Function),
        ];
        let tools = prop::collection::vec(prop_oneof![function, other], 0..3);
        (tools, prop::option::of(choice), any::<Option<bool>>()).prop_map(|(tools, choice, is_parallel)| {
            // Whether several may be called at once is said within a choice that allows any.
            let is_parallel = is_parallel.filter(|_| !matches!(choice, None | Some(ToolChoice::None)));
            (tools, choice, is_parallel)
        })
    }

    /// Any request that a body in this dialect can spell.
    fn any_request() -> impl Strategy<Value = ChatRequest> {
        let number = || prop::option::of(any::<f64>().prop_filter("finite", |number| number.is_finite()));
        let stop = prop::collection::vec("[^\\x00]{0,4}", 0..3);
        let sampling = (number(), number(), any::<Option<u32>>(), stop, prop::option::of(text()));
        let system = prop::option::of(prop::collection::vec(text().prop_map(Part::Text), 1..3));
        let format = prop_oneof![
            Just(OutputFormat::Text),
            any_object().prop_map(|schema| {
                let schema = Some(schema);
                OutputFormat::JsonSchema(JsonSchema { name: None, description: None, schema, strict: None })
            }),
        ];
        let more = (any::<u32>(), any_fields("x_[a-z]{1,3}"), prop::option::of(text()));
        (system, any_turns(), any_tools(), sampling, format, more).prop_map(
            |(system, turns, (tools, tool_choice, parallel_tool_calls), sampling, output_format, more)| {
                let (temperature, top_p, top_k, stop, reasoning_effort) = sampling;
                let (tokens, unknown, end_user) = more;
                let metadata = end_user.iter().map(|user| ("metadata".to_owned(), json!({"user_id": user})));
                ChatRequest {
                    model: Some("m".into()),
                    messages: system
                        .map(|system| message(Role::System, system))
                        .into_iter()
                        .chain(turns)
                        .collect(),
                    tools,
                    tool_choice,
                    parallel_tool_calls,
                    output_format,
                    sampling: Sampling {
                        temperature,
                        top_p,
                        top_k,
                        stop,
                        reasoning_effort,
                        ..Sampling::default()
                    },
                    limit: Some(OutputLimit { tokens, spelling: LimitSpelling::MaxTokens }),
                    dialect: Dialect::Anthropic,
                    cache_marks: Vec::new(),
                    betas: Vec::new(),
                    unknown,
                    carried: metadata.collect(),
                    end_user,
                }
            },
        )
    }

    #[test]
    fn marks_for_the_prompt_cache_go_on_where_they_stood_and_are_not_keyed() {
        let mark = r#""cache_control": {"type": "ephemeral", "ttl": "1h"}"#;
        let body = |mark: &str| {
            format!(
                r#"{{"model": "m", "max_tokens": 5,
                "system": [{{"type": "text", "text": "s"{mark}}}],
                "messages": [
                    {{"role": "user", "content": [{{"type": "text", "text": "q"}}, {{"type": "text", "text": "r"{mark}}}]}},
                    {{"role": "assistant", "content": [{{"type": "tool_use", "id": "1", "name": "f", "input": {{}}{mark}}}]}},
                    {{"role": "user", "content": [{{"type": "tool_result", "tool_use_id": "1", "content": "x"{mark}}}]}}
                ],
                "tools": [{{"name": "f", "input_schema": {{"type": "object"}}{mark}}}, {{"type": "web_search", "name": "w"{mark}}}]}}"#
            )
        };
        let marked = parse_request(body(&format!(", {mark}")).as_bytes()).unwrap().request;
        let plain = parse_request(body("").as_bytes()).unwrap().request;
        assert_eq!(marked.cache_marks.len(), 6);
        assert_eq!(ChatRequest { cache_marks: Vec::new(), ..marked.clone() }, plain);
        let sent: Value = serde_json::from_slice(&encode_request(&marked, "m", false).unwrap()).unwrap();
        let expected = json!({"type": "ephemeral", "ttl": "1h"});
        for place in [
            "/system/0",
            "/messages/0/content/1",
            "/messages/1/content/0",
            "/messages/2/content/0",
            "/tools/0",
            "/tools/1",
        ] {
            assert_eq!(sent.pointer(place).unwrap()["cache_control"], expected, "{place} {sent}");
        }
        assert_eq!(sent.pointer("/messages/0/content/0/cache_control"), None);
        let more = format!(r#"{{"type": "text", "text": "y", {mark}}}, "#).repeat(MARKS_MAX + 1);
        let many = body("").replacen(
            r#"{"type": "text", "text": "q"}"#,
            &format!("{more}{{\"type\": \"text\", \"text\": \"q\"}}"),
            1,
        );
        assert!(parse_request(many.as_bytes()).unwrap_err().to_string().contains("cache_control"));
    }

    proptest! {
        #[test]
        fn what_is_written_for_an_upstream_reads_as_the_same_request(request in any_request()) {
            let read = parse_request(&encode_request(&request, "m", false).unwrap());
            prop_assert_eq!(read.unwrap().request, request);
        }

        #[test]
        fn any_json_is_a_request_or_a_named_fault(body in any_json(), inner in any_json()) {
            let _ = parse_request(body.to_string().as_bytes());
            for body in [
                json!({"messages": [inner], "tools": [body], "tool_choice": body}),
                json!({"messages": [{"role": "user", "content": [inner]}], "output_config": body}),
                json!({"messages": [{"role": "user", "content": [{"type": body, "text": inner, "source": inner}]}]}),
                json!({"messages": [{"role": "user", "content": [{"type": "tool_result", "content": [inner]}]}]}),
            ] {
                let _ = parse_count(body.to_string().as_bytes());
            }
        }
    }
}
