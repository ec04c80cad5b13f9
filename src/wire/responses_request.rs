//! A Responses request, read from a client.

use serde_json::{Map, Value};

use super::fields::Path;
use super::openai_request::end_user;
use super::responses_echo::Echo;
use super::responses_fields::{UNKNOWN, given, refuse_others, take, take_text};
use super::responses_input::read_input;
use super::{Asked, BodyControls, Delivery, WireError, json};
use crate::chat::{
    ChatRequest, Dialect, JsonSchema, LimitSpelling, Message, OutputFormat, OutputLimit, Role, Tool,
    ToolChoice,
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
                return Err(
                    at.error("must be false: nothing runs here after its request; stream the answer instead")
                );
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
        self.request.output_format = take(&mut fields, "format", at, read_format)?.unwrap_or_default();
        self.request.sampling.verbosity = take(&mut fields, "verbosity", at, Path::text)?;
        Ok(())
    }

    fn read_reasoning(&mut self, value: Value, at: &Path<'_>) -> Result<(), WireError> {
        let mut fields = at.object(value)?;
        // `context` says which earlier thoughts the model sees; it sees none of them here.
        refuse_others(&fields, &["effort", "summary", "generate_summary", "context", "mode"], at)?;
        self.request.sampling.reasoning_effort = take(&mut fields, "effort", at, Path::text)?;
        match given(&mut fields, "mode") {
            Some(mode) if mode != "standard" => {
                Err(at.field("mode").error("must be `standard`: others are OpenAI's own"))
            }
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
        _ => UNKNOWN,
    }
}

fn read_format(at: &Path<'_>, value: Value) -> Result<OutputFormat, WireError> {
    let mut fields = at.object(value)?;
    let format = match take_text(&mut fields, "type", at)?.as_str() {
        "text" => OutputFormat::Text,
        "json_object" => OutputFormat::JsonObject,
        "json_schema" => OutputFormat::JsonSchema(take_schema(&mut fields, at)?),
        _ => return Err(at.field("type").error("must be one of `text`, `json_object`, `json_schema`")),
    };
    refuse_others(&fields, &[], at)?;
    Ok(format)
}

fn take_schema(fields: &mut Map<String, Value>, at: &Path<'_>) -> Result<JsonSchema, WireError> {
    Ok(JsonSchema {
        name: take(fields, "name", at, Path::text)?,
        description: take(fields, "description", at, Path::text)?,
        schema: take(fields, "schema", at, Path::object)?.map(Value::Object),
        strict: take(fields, "strict", at, Path::bool)?,
    })
}

fn read_tools(value: Value, at: &Path<'_>) -> Result<Vec<Tool>, WireError> {
    at.list(value)?.into_iter().enumerate().map(|(index, item)| read_tool(item, &at.item(index))).collect()
}

fn read_tool(value: Value, at: &Path<'_>) -> Result<Tool, WireError> {
    let mut fields = at.object(value)?;
    if take_text(&mut fields, "type", at)? != "function" {
        return Err(at.field("type").error(
            "must be `function`: only function tools can be translated, built-in tools need the provider itself",
        ));
    }
    if given(&mut fields, "function").is_some() {
        let reason =
            "is not known here: `name`, `description`, `parameters` and `strict` stand beside `type`";
        return Err(at.field("function").error(reason));
    }
    let tool = Tool::Function {
        name: take_text(&mut fields, "name", at)?,
        description: take(&mut fields, "description", at, Path::text)?,
        parameters: take(&mut fields, "parameters", at, Path::object)?.map(Value::Object),
        strict: take(&mut fields, "strict", at, Path::bool)?,
    };
    refuse_others(&fields, &[], at)?;
    Ok(tool)
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

#[cfg(test)]
mod tests {
    use super::super::json::tests::any_json;
    use super::super::{MESSAGES_MAX, openai};
    use super::*;
    use crate::chat::{Key, KeyRules, ModelAlias, Namespace, OwnerNames, TenantId};
    use proptest::prelude::*;
    use serde_json::json;

    fn parsed(body: &Value) -> Result<Asked, WireError> {
        parse_request(body.to_string().as_bytes())
    }

    /// Reads a plain request with more fields.
    fn asked(fields: Value) -> Result<Asked, WireError> {
        let mut body = json!({"input": "q"});
        body.as_object_mut().unwrap().extend(fields.as_object().unwrap().clone());
        parsed(&body)
    }

    fn key(request: &ChatRequest) -> Key {
        let (tenant, namespace) = (TenantId::new("t"), Namespace::new("n"));
        let owner = OwnerNames { tenant: &tenant, user: None, namespace: &namespace };
        KeyRules::default().key(request, &ModelAlias::new("m"), owner)
    }

    #[test]
    fn a_request_shares_its_key_with_the_same_one_in_chat_completions() {
        let user = json!({"role": "user", "content": "q"});
        let schema = json!({"type": "object"});
        let call = json!({"id": "c", "type": "function", "function": {"name": "f", "arguments": "{}"}});
        for (ours, chat) in [
            (json!({"input": "q"}), json!({"messages": [user]})),
            (
                json!({"instructions": "be brief", "input": "q", "max_output_tokens": 9, "store": true}),
                json!({"messages": [{"role": "system", "content": "be brief"}, user], "max_tokens": 5}),
            ),
            (
                json!({"input": [{"role": "developer", "content": "d"}, user], "temperature": 0.5, "top_p": 1}),
                json!({"messages": [{"role": "developer", "content": "d"}, user], "temperature": 0.5, "top_p": 1}),
            ),
            (
                json!({"input": "q", "tools": [{"type": "function", "name": "f", "parameters": schema, "strict": true}],
                    "tool_choice": {"type": "function", "name": "f"}, "parallel_tool_calls": false}),
                json!({"messages": [user], "tools": [{"type": "function", "function":
                    {"name": "f", "parameters": schema, "strict": true}}],
                    "tool_choice": {"type": "function", "function": {"name": "f"}}, "parallel_tool_calls": false}),
            ),
            (
                json!({"input": "q", "text": {"verbosity": "low", "format":
                    {"type": "json_schema", "name": "s", "schema": schema, "strict": true}}}),
                json!({"messages": [user], "verbosity": "low", "response_format":
                    {"type": "json_schema", "json_schema": {"name": "s", "schema": schema, "strict": true}}}),
            ),
            (
                json!({"input": "q", "reasoning": {"effort": "low", "summary": "auto"}, "top_logprobs": 2,
                    "include": ["message.output_text.logprobs", "reasoning.encrypted_content"]}),
                json!({"messages": [user], "reasoning_effort": "low", "logprobs": true, "top_logprobs": 2}),
            ),
            (
                json!({"input": [{"role": "user", "content": [{"type": "input_text", "text": "what is it?"},
                    {"type": "input_image", "image_url": "https://a.example/b.png", "detail": "low"}]}]}),
                json!({"messages": [{"role": "user", "content": [{"type": "text", "text": "what is it?"},
                    {"type": "image_url", "image_url": {"url": "https://a.example/b.png", "detail": "low"}}]}]}),
            ),
            (
                json!({"input": [user, {"type": "reasoning", "id": "rs_1", "summary": [], "encrypted_content": "x"},
                    {"type": "message", "id": "msg_1", "role": "assistant", "status": "completed", "content":
                        [{"type": "output_text", "text": "well", "annotations": [], "logprobs": []}]},
                    {"type": "function_call", "id": "fc_1", "call_id": "c", "name": "f", "arguments": "{}", "status": "completed"},
                    {"type": "function_call_output", "call_id": "c", "output": "5"}]}),
                json!({"messages": [user, {"role": "assistant", "content": "well", "tool_calls": [call]},
                    {"role": "tool", "tool_call_id": "c", "content": "5"}]}),
            ),
        ] {
            let ours = parsed(&ours).unwrap().request;
            let theirs = openai::parse_request(chat.to_string().as_bytes()).unwrap().request;
            assert_eq!(key(&ours), key(&theirs), "{chat}");
            assert_eq!(ours.messages, theirs.messages);
        }
    }

    #[test]
    fn different_spellings_of_one_wish_are_one_request() {
        let plain = asked(json!({})).unwrap().request;
        for fields in [
            json!({"temperature": null, "tools": null, "instructions": "", "previous_response_id": null}),
            json!({"text": {"format": {"type": "text"}}, "reasoning": {"summary": "auto", "mode": "standard"}}),
            json!({"store": false, "background": false, "truncation": "disabled", "include": []}),
            json!({"stream": true, "stream_options": {"include_obfuscation": false}, "top_logprobs": 0}),
            json!({"metadata": {"a": "b"}, "cache": {"ttl": 1}}),
            json!({"input": [{"role": "user", "content": "q"}]}),
            json!({"input": [{"type": "message", "role": "user", "content": [{"type": "input_text", "text": "q"}]}]}),
            json!({"input": [{"type": "reasoning"}, {"role": "user", "content": "q", "id": null, "phase": null}]}),
        ] {
            assert_eq!(asked(fields.clone()).unwrap().request, plain, "{fields}");
        }
    }

    #[test]
    fn what_the_assistant_says_and_calls_in_a_row_is_one_turn() {
        let call = |id| json!({"type": "function_call", "call_id": id, "name": "f", "arguments": "{}"});
        let output = |id| json!({"type": "function_call_output", "call_id": id, "output": [{"type": "input_text", "text": "r"}]});
        let said = |text| json!({"role": "assistant", "content": text});
        let input = json!([{"role": "user", "content": "q"}, said("a"), call("1"), call("2"), output("1"), output("2"),
            call("3"), said("b"), output("3"), said("c")]);
        let messages = parsed(&json!({"input": input})).unwrap().request.messages;
        let turns: Vec<_> = messages.iter().map(|message| (message.role, message.content.len())).collect();
        let (assistant, tool) = (Role::Assistant, Role::Tool);
        assert_eq!(
            turns,
            [
                (Role::User, 1),
                (assistant, 3),
                (tool, 1),
                (tool, 1),
                (assistant, 2),
                (tool, 1),
                (assistant, 1)
            ]
        );
    }

    #[test]
    fn what_only_delivers_bills_or_observes_is_carried_and_repeated() {
        let carried = json!({"user": "u", "safety_identifier": "s", "service_tier": "flex", "prompt_cache_key": "k",
            "prompt_cache_retention": "24h", "prompt_cache_options": {"mode": "explicit"}});
        let Asked { request, delivery, .. } = asked(carried.clone()).unwrap();
        assert_eq!(Value::Object(request.carried), carried);
        assert_eq!(request.end_user.as_deref(), Some("u"));
        for field in
            ["user", "safety_identifier", "service_tier", "prompt_cache_key", "prompt_cache_retention"]
        {
            assert_eq!(delivery.echo[field], carried[field]);
        }
        // OpenAI takes `metadata` only from who lets it store the answer.
        let Asked { request, delivery, .. } =
            asked(json!({"metadata": {"user_id": "m"}, "store": true})).unwrap();
        assert!(request.carried.is_empty());
        assert_eq!(request.end_user.as_deref(), Some("m"));
        assert_eq!(
            (&delivery.echo["metadata"], &delivery.echo["store"]),
            (&json!({"user_id": "m"}), &json!(false))
        );
    }

    #[test]
    fn the_field_at_fault_is_named() {
        for (fields, message) in [
            (json!({"temperature": "hot"}), "`temperature` must be a number, not a string"),
            (json!({"model": 4}), "`model` must be a string, not a number"),
            (json!({"max_output_tokens": 0}), "`max_output_tokens` must be a whole number from 1"),
            (
                json!({"previous_response_id": "resp_1"}),
                "`previous_response_id` needs what this endpoint does not keep, it is stateless",
            ),
            (json!({"conversation": "conv_1"}), "`conversation` needs what this endpoint does not keep"),
            (json!({"prompt": {"id": "pmpt_1"}}), "`prompt` names a template"),
            (json!({"background": true}), "`background` must be false"),
            (json!({"truncation": "auto"}), "`truncation` must be `disabled`"),
            (json!({"max_tool_calls": 1}), "`max_tool_calls` limits built-in tools"),
            (json!({"moderation": {}}), "`moderation` is done by OpenAI alone"),
            (json!({"messages": []}), "`messages` is called `input` here"),
            (json!({"max_tokens": 1}), "`max_tokens` is called `max_output_tokens` here"),
            (json!({"seed": 1}), "`seed` is not known here; `/v1/chat/completions` has it"),
            (json!({"knob": 1}), "`knob` is not known here"),
            (json!({"store": "no"}), "`store` must be a boolean"),
            (json!({"include": ["file_search_call.results"]}), "`include[0]` must be"),
            (json!({"top_logprobs": 21}), "`top_logprobs` must be a whole number from 0 to 20"),
            (
                json!({"stream_options": {"include_usage": true}}),
                "`stream_options.include_usage` is not known",
            ),
            (
                json!({"prompt_cache_options": {"prewarm": true}}),
                "`prompt_cache_options.prewarm` is not known",
            ),
            (json!({"reasoning": {"mode": "pro"}}), "`reasoning.mode` must be `standard`"),
            (json!({"reasoning": {"budget": 1}}), "`reasoning.budget` is not known"),
            (json!({"text": {"format": {"type": "grammar"}}}), "`text.format.type` must be one of"),
            (json!({"text": {"format": {}}}), "`text.format.type` is missing"),
            (
                json!({"text": {"format": {"type": "json_schema", "schema": 1}}}),
                "`text.format.schema` must be an object",
            ),
            (
                json!({"text": {"format": {"type": "text", "json_schema": {}}}}),
                "`text.format.json_schema` is not known",
            ),
            (
                json!({"tools": [{"type": "web_search"}]}),
                "`tools[0].type` must be `function`: only function tools can",
            ),
            (
                json!({"tools": [{"type": "function", "function": {"name": "f"}}]}),
                "`tools[0].function` is not known here",
            ),
            (json!({"tools": [{"type": "function"}]}), "`tools[0].name` is missing"),
            (
                json!({"tools": [{"type": "function", "name": "f", "defer_loading": true}]}),
                "`tools[0].defer_loading` is not known",
            ),
            (json!({"tool_choice": {"type": "allowed_tools"}}), "`tool_choice` must be `auto`"),
            (json!({"tool_choice": {"type": "function"}}), "`tool_choice.name` must be a string"),
            (json!({"user": 5}), "`user` must be a string"),
            (json!({"cache": {"ttl": 0}}), "`cache.ttl` must be"),
        ] {
            let error = asked(fields).unwrap_err().to_string();
            assert!(error.starts_with(message), "{error}");
        }
        assert_eq!(parse_request(b"[]").unwrap_err().to_string(), "`body` must be an object, not a list");
        assert_eq!(parse_request(b"{}").unwrap_err().to_string(), "`input` is missing");
    }

    #[test]
    fn the_item_at_fault_is_named() {
        let user = |content: Value| json!([{"role": "user", "content": content}]);
        for (input, message) in [
            (json!(1), "`input` must be a string or a list of items"),
            (json!([]), "`input` must have at least one message"),
            (json!([{"type": "reasoning"}]), "`input` must have at least one message"),
            (json!(vec![0; MESSAGES_MAX + 1]), "`input` has 2049 items"),
            (json!(["x"]), "`input[0]` must be an object"),
            (json!([{}]), "`input[0].type` is missing"),
            (
                json!([{"id": "msg_1"}]),
                "`input[0]` refers to an item that this endpoint has not kept, it is stateless",
            ),
            (json!([{"type": "item_reference", "id": "rs_1"}]), "`input[0]` refers to an item"),
            (json!([{"type": "computer_call"}]), "`input[0].type` must be one of `message`"),
            (json!([{"role": "tool", "content": "x"}]), "`input[0].role` must be one of"),
            (json!([{"role": "user"}]), "`input[0].content` is missing or empty"),
            (user(json!([])), "`input[0].content` is missing or empty"),
            (user(json!(5)), "`input[0].content` must be a string or a list of parts"),
            (json!([{"role": "user", "content": "x", "name": "n"}]), "`input[0].name` is not known here"),
            (user(json!([{"type": "input_text"}])), "`input[0].content[0].text` is missing"),
            (user(json!([{"type": "text", "text": "x"}])), "`input[0].content[0].type` must be one of"),
            (
                user(json!([{"type": "input_file", "file_id": "f"}])),
                "`input[0].content[0].type` is a file or a sound",
            ),
            (
                user(json!([{"type": "input_image", "file_id": "f"}])),
                "`input[0].content[0].file_id` names a file",
            ),
            (user(json!([{"type": "input_image"}])), "`input[0].content[0].image_url` is missing"),
            (
                user(json!([{"type": "input_image", "image_url": "data:,x"}])),
                "`input[0].content[0].image_url` must be",
            ),
            (json!([{"type": "function_call", "name": "f"}]), "`input[0].call_id` is missing"),
            (
                json!([{"type": "function_call_output", "call_id": "c"}]),
                "`input[0].output` is missing or empty",
            ),
        ] {
            let error = parsed(&json!({"input": input})).unwrap_err().to_string();
            assert!(error.starts_with(message), "{error}");
        }
    }

    proptest! {
        #[test]
        fn any_json_is_a_request_or_a_named_fault(body in any_json(), part in any_json(), kind in 0..6_usize) {
            let kinds = ["message", "function_call", "function_call_output", "input_image", "input_text", "refusal"];
            let _ = parsed(&body);
            let item = json!({"type": kinds[kind], "role": "user", "content": part, "output": part, "call_id": part});
            let content = json!([{"type": kinds[kind], "text": part, "image_url": part, "refusal": part}]);
            for input in [json!([body]), json!([item]), json!([{"role": "user", "content": content}]), part.clone()] {
                let _ = parsed(&json!({"input": input}));
            }
            for field in ["tools", "tool_choice", "text", "reasoning", "include", "metadata", "stream_options"] {
                if let Err(error) = asked(json!({field: body})) {
                    prop_assert!(error.param().is_some_and(|param| param.starts_with(field)));
                }
            }
        }
    }
}
