//! Messages and tools in OpenAI's spelling, both directions.

use serde::ser::{SerializeMap, SerializeSeq};
use serde::{Serialize, Serializer};
use serde_json::{Map, Value};

use super::fields::Path;
use super::{MESSAGES_MAX, WireError};
use crate::chat::{Dialect, Message, Part, Role, Tool, ToolCall, ToolChoice};

/// The mark by which some vendors are told what to keep in their prompt cache. It changes what a call costs and never
/// what it answers, and the domain has no place for it inside a message: it is dropped there, and carried where it
/// stands at the top of the body.
pub(super) const CACHE_MARK: &str = "cache_control";

/// Reads the field `messages`.
pub(super) fn read_messages(value: Value, at: &Path<'_>) -> Result<Vec<Message>, WireError> {
    let items = at.list(value)?;
    if items.is_empty() {
        return Err(at.error("must have at least one message"));
    }
    if items.len() > MESSAGES_MAX {
        return Err(at.error(format!("has {} messages; {MESSAGES_MAX} is the most", items.len())));
    }
    items.into_iter().enumerate().map(|(index, item)| read_message(item, &at.item(index))).collect()
}

fn read_message(value: Value, at: &Path<'_>) -> Result<Message, WireError> {
    let mut role = None;
    let mut message = Message {
        role: Role::User,
        content: Vec::new(),
        name: None,
        tool_calls: Vec::new(),
        tool_call_id: None,
        unknown: Map::new(),
    };
    for (field, value) in at.object(value)? {
        let at = at.field(&field);
        match field.as_str() {
            _ if value.is_null() => {}
            "role" => role = Some(read_role(value, &at)?),
            "content" => message.content = read_content(value, &at)?,
            "name" => message.name = Some(at.text(value)?),
            "tool_call_id" => message.tool_call_id = Some(at.text(value)?),
            "tool_calls" => match read_tool_calls(value, &at)? {
                Ok(calls) => message.tool_calls = calls,
                Err(value) => drop(message.unknown.insert(field, value)),
            },
            CACHE_MARK => {}
            _ => drop(message.unknown.insert(field, value)),
        }
    }
    message.role = role.ok_or_else(|| at.field("role").error("is missing"))?;
    let says_nothing = message.content.is_empty();
    if says_nothing && (message.role != Role::Assistant || is_empty(&message)) {
        return Err(at.field("content").error("is missing or empty"));
    }
    if message.role == Role::Tool && message.tool_call_id.is_none() {
        return Err(at.field("tool_call_id").error("is missing"));
    }
    Ok(message)
}

/// An assistant's turn may be calls alone, or a field we do not know (`refusal`, `audio`, `function_call`).
fn is_empty(message: &Message) -> bool {
    message.tool_calls.is_empty() && message.unknown.is_empty()
}

fn read_role(value: Value, at: &Path<'_>) -> Result<Role, WireError> {
    let name = at.text(value)?;
    Role::parse(&name)
        .ok_or_else(|| at.error("must be one of `system`, `developer`, `user`, `assistant`, `tool`"))
}

fn read_content(value: Value, at: &Path<'_>) -> Result<Vec<Part>, WireError> {
    match value {
        Value::String(text) => Ok(vec![Part::Text(text)]),
        Value::Array(parts) => {
            parts.into_iter().enumerate().map(|(index, part)| read_part(part, &at.item(index))).collect()
        }
        _ => Err(at.error("must be a string or a list of parts")),
    }
}

fn read_part(value: Value, at: &Path<'_>) -> Result<Part, WireError> {
    let mut fields = at.object(value)?;
    fields.remove(CACHE_MARK);
    match fields.get("type") {
        Some(Value::String(kind)) if kind == "text" => {}
        Some(Value::String(_)) => return Ok(Part::Other(fields)),
        _ => return Err(at.field("type").error("must be a string")),
    }
    match fields.get_mut("text") {
        Some(Value::String(text)) => {
            let text = std::mem::take(text);
            if fields.len() == 2 {
                return Ok(Part::Text(text));
            }
            fields.insert("text".to_owned(), Value::String(text));
            Ok(Part::Other(fields))
        }
        _ => Err(at.field("text").error("must be a string")),
    }
}

/// Reads calls that are a function's name and arguments; gives the list back whole where one is or has anything else
/// (a custom tool, a vendor's signature), since such a call must go on as it came.
fn read_tool_calls(value: Value, at: &Path<'_>) -> Result<Result<Vec<ToolCall>, Value>, WireError> {
    let Value::Array(items) = &value else { return Err(at.error("must be a list")) };
    for (index, item) in items.iter().enumerate() {
        if !item.is_object() {
            return Err(at.item(index).error("must be an object"));
        }
    }
    Ok(plain_calls(items).ok_or(value))
}

/// Returns the calls where each is a function's id, name and arguments and nothing else.
pub(super) fn plain_calls(items: &[Value]) -> Option<Vec<ToolCall>> {
    items.iter().map(plain_call).collect()
}

fn plain_call(item: &Value) -> Option<ToolCall> {
    let mut call = ToolCall::default();
    for (field, value) in item.as_object()? {
        match (field.as_str(), value) {
            ("id", Value::String(id)) => call.id.clone_from(id),
            ("type", Value::String(kind)) if kind == "function" => {}
            ("function", Value::Object(function)) => {
                for (field, value) in function {
                    match (field.as_str(), value) {
                        ("name", Value::String(name)) => call.name.clone_from(name),
                        ("arguments", Value::String(text)) => call.arguments.clone_from(text),
                        _ => return None,
                    }
                }
            }
            _ => return None,
        }
    }
    Some(call)
}

/// Reads the field `tools`.
pub(super) fn read_tools(value: Value, at: &Path<'_>) -> Result<Vec<Tool>, WireError> {
    at.list(value)?
        .into_iter()
        .enumerate()
        .map(|(index, item)| {
            let mut fields = at.item(index).object(item)?;
            fields.remove(CACHE_MARK);
            Ok(plain_tool(&fields).unwrap_or_else(|| Tool::Other(Value::Object(fields))))
        })
        .collect()
}

fn plain_tool(fields: &Map<String, Value>) -> Option<Tool> {
    if fields.len() != 2 || fields.get("type")? != "function" {
        return None;
    }
    let mut tool_name = None;
    let (mut description, mut parameters, mut strict) = (None, None, None);
    for (field, value) in fields.get("function")?.as_object()? {
        match (field.as_str(), value) {
            ("name", Value::String(name)) => tool_name = Some(name.clone()),
            ("description" | "parameters" | "strict", Value::Null) => {}
            ("description", Value::String(text)) => description = Some(text.clone()),
            ("parameters", schema) => parameters = Some(schema.clone()),
            ("strict", Value::Bool(yes)) => strict = Some(*yes),
            _ => return None,
        }
    }
    Some(Tool::Function { name: tool_name?, description, parameters, strict })
}

/// Reads the field `tool_choice`.
pub(super) fn read_tool_choice(value: Value, at: &Path<'_>) -> Result<ToolChoice, WireError> {
    match &value {
        Value::String(word) => match word.as_str() {
            "auto" => Ok(ToolChoice::Auto),
            "none" => Ok(ToolChoice::None),
            "required" => Ok(ToolChoice::Required),
            _ => Ok(ToolChoice::Other(value)),
        },
        Value::Object(fields) => {
            let function = fields.get("function").and_then(Value::as_object);
            let name =
                function.filter(|function| function.len() == 1).and_then(|function| function.get("name"));
            match name.and_then(Value::as_str) {
                Some(name) if fields.len() == 2 && fields["type"] == "function" => {
                    Ok(ToolChoice::Function(name.to_owned()))
                }
                _ => Ok(ToolChoice::Other(value)),
            }
        }
        _ => Err(at.error("must be a string or an object")),
    }
}

/// A message on its way to an upstream. Fields that we do not know go only to those of the dialect they came in.
pub(super) struct OutMessage<'a> {
    pub(super) message: &'a Message,
    pub(super) with_unknown: bool,
}

impl OutMessage<'_> {
    pub(super) fn same_dialect(dialect: Dialect) -> bool {
        match dialect {
            Dialect::OpenAi => true,
            Dialect::Native => false,
        }
    }
}

impl Serialize for OutMessage<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let Message { role, content, name, tool_calls, tool_call_id, unknown } = self.message;
        let mut map = serializer.serialize_map(None)?;
        map.serialize_entry("role", role.name())?;
        match content.as_slice() {
            [] => map.serialize_entry("content", &Value::Null)?,
            [Part::Text(text)] => map.serialize_entry("content", text)?,
            parts => map.serialize_entry("content", &OutParts(parts))?,
        }
        if let Some(name) = name {
            map.serialize_entry("name", name)?;
        }
        if let Some(id) = tool_call_id {
            map.serialize_entry("tool_call_id", id)?;
        }
        if !tool_calls.is_empty() {
            map.serialize_entry("tool_calls", &OutCalls(tool_calls))?;
        }
        if self.with_unknown {
            for (field, value) in unknown {
                map.serialize_entry(field, value)?;
            }
        }
        map.end()
    }
}

struct OutParts<'a>(&'a [Part]);

impl Serialize for OutParts<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        #[derive(Serialize)]
        struct Text<'a> {
            r#type: &'static str,
            text: &'a str,
        }
        let mut list = serializer.serialize_seq(Some(self.0.len()))?;
        for part in self.0 {
            match part {
                Part::Text(text) => list.serialize_element(&Text { r#type: "text", text })?,
                Part::Other(fields) => list.serialize_element(fields)?,
            }
        }
        list.end()
    }
}

/// Calls of functions, in a request or an answer.
pub(super) struct OutCalls<'a>(pub(super) &'a [ToolCall]);

impl Serialize for OutCalls<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        #[derive(Serialize)]
        struct Call<'a> {
            id: &'a str,
            r#type: &'static str,
            function: Function<'a>,
        }
        #[derive(Serialize)]
        struct Function<'a> {
            name: &'a str,
            arguments: &'a str,
        }
        serializer.collect_seq(self.0.iter().map(|ToolCall { id, name, arguments }| Call {
            id,
            r#type: "function",
            function: Function { name, arguments },
        }))
    }
}

/// Tools on their way to an upstream.
pub(super) struct OutTools<'a>(pub(super) &'a [Tool]);

impl Serialize for OutTools<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        #[derive(Serialize)]
        struct Function<'a> {
            name: &'a str,
            #[serde(skip_serializing_if = "Option::is_none")]
            description: Option<&'a str>,
            #[serde(skip_serializing_if = "Option::is_none")]
            parameters: Option<&'a Value>,
            #[serde(skip_serializing_if = "Option::is_none")]
            strict: Option<bool>,
        }
        #[derive(Serialize)]
        struct Typed<'a> {
            r#type: &'static str,
            function: Function<'a>,
        }
        let mut list = serializer.serialize_seq(Some(self.0.len()))?;
        for tool in self.0 {
            match tool {
                Tool::Function { name, description, parameters, strict } => {
                    list.serialize_element(&Typed {
                        r#type: "function",
                        function: Function {
                            name,
                            description: description.as_deref(),
                            parameters: parameters.as_ref(),
                            strict: *strict,
                        },
                    })?;
                }
                Tool::Other(value) => list.serialize_element(value)?,
            }
        }
        list.end()
    }
}

/// Returns the choice in OpenAI's spelling.
pub(super) fn tool_choice_json(choice: &ToolChoice) -> Value {
    match choice {
        ToolChoice::Auto => "auto".into(),
        ToolChoice::None => "none".into(),
        ToolChoice::Required => "required".into(),
        ToolChoice::Function(name) => serde_json::json!({"type": "function", "function": {"name": name}}),
        ToolChoice::Other(value) => value.clone(),
    }
}
