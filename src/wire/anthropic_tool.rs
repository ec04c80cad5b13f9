//! Tools in Anthropic's spelling, both directions.

use serde::ser::SerializeSeq;
use serde::{Serialize, Serializer};
use serde_json::{Map, Value};

use super::WireError;
use super::anthropic_message::has_only;
use super::fields::Path;
use super::openai_marks::CACHE_MARK;
use crate::chat::{CacheMark, ChatRequest, MarkedPlace, Tool, ToolChoice};

/// Whether a call's arguments are sent before they are known to be JSON: how an answer comes, never what it is.
const EAGER: &str = "eager_input_streaming";

/// Reads the field `tools`, and what of it is to be kept in the vendor's prompt cache.
pub(super) fn read_tools(value: Value, at: &Path<'_>) -> Result<(Vec<Tool>, Vec<CacheMark>), WireError> {
    let (mut tools, mut marks) = (Vec::new(), Vec::new());
    for (index, tool) in at.list(value)?.into_iter().enumerate() {
        let at = at.item(index);
        let mut fields = at.object(tool)?;
        for field in [CACHE_MARK, EAGER] {
            let mark = fields.shift_remove(field).filter(|mark| !mark.is_null());
            marks.extend(mark.map(|mark| CacheMark { place: MarkedPlace::Tool(index), field, mark }));
        }
        tools.push(read_tool(fields, &at)?);
    }
    Ok((tools, marks))
}

fn read_tool(fields: Map<String, Value>, at: &Path<'_>) -> Result<Tool, WireError> {
    match fields.get("type") {
        None | Some(Value::Null) => {}
        Some(Value::String(kind)) if kind == "custom" => {}
        Some(Value::String(_)) => return Ok(Tool::Other(Value::Object(fields))),
        Some(_) => return Err(at.field("type").error("must be a string")),
    }
    if !fields.get("name").is_some_and(Value::is_string) {
        return Err(at.field("name").error("must be a string"));
    }
    if !fields.get("input_schema").is_some_and(Value::is_object) {
        return Err(at.field("input_schema").error("must be an object"));
    }
    Ok(plain_tool(&fields).unwrap_or(Tool::Other(Value::Object(fields))))
}

fn plain_tool(fields: &Map<String, Value>) -> Option<Tool> {
    let (mut tool_name, mut description, mut parameters, mut strict) = (None, None, None, None);
    for (field, value) in fields {
        match (field.as_str(), value) {
            ("type", _) | (_, Value::Null) => {}
            ("name", Value::String(name)) => tool_name = Some(name.clone()),
            ("description", Value::String(text)) => description = Some(text.clone()),
            ("input_schema", schema) => parameters = Some(schema.clone()),
            ("strict", Value::Bool(yes)) => strict = Some(*yes),
            // What holds where nothing is said.
            ("defer_loading", Value::Bool(false)) => {}
            ("allowed_callers", Value::Array(callers)) if *callers == ["direct"] => {}
            _ => return None,
        }
    }
    Some(Tool::Function { name: tool_name?, description, parameters, strict })
}

/// Where a choice of tools says whether the model may call several at once.
const NOT_PARALLEL: &str = "disable_parallel_tool_use";

/// Reads the field `tool_choice`: the choice, and whether several calls at once are allowed, where it says so.
pub(super) fn read_tool_choice(value: Value, at: &Path<'_>) -> Result<(ToolChoice, Option<bool>), WireError> {
    let fields = at.object(value)?;
    let Some(Value::String(kind)) = fields.get("type") else {
        return Err(at.field("type").error("must be a string"));
    };
    let is_parallel = match fields.get(NOT_PARALLEL) {
        None | Some(Value::Null) => None,
        Some(value) => Some(!at.field(NOT_PARALLEL).bool(value.clone())?),
    };
    let choice = match kind.as_str() {
        "auto" => Some(ToolChoice::Auto),
        "any" => Some(ToolChoice::Required),
        "none" => Some(ToolChoice::None),
        "tool" => match fields.get("name") {
            Some(Value::String(name)) => Some(ToolChoice::Function(name.clone())),
            _ => return Err(at.field("name").error("must be a string")),
        },
        _ => None,
    };
    let known: &[&str] =
        if kind == "tool" { &["type", "name", NOT_PARALLEL] } else { &["type", NOT_PARALLEL] };
    match choice.filter(|_| has_only(&fields, known)) {
        Some(choice) => Ok((choice, is_parallel)),
        None => Ok((ToolChoice::Other(Value::Object(fields)), None)),
    }
}

/// Returns the choice in Anthropic's spelling; `None` where there is nothing to choose.
pub(super) fn tool_choice_json(choice: Option<&ToolChoice>, is_parallel: Option<bool>) -> Option<Value> {
    let mut fields = Map::new();
    let kind = match choice {
        Some(ToolChoice::Other(choice)) => return Some(choice.clone()),
        // Several at once is the default, and where none may be called there is no such field.
        None if is_parallel != Some(false) => return None,
        None | Some(ToolChoice::Auto) => "auto",
        Some(ToolChoice::Required) => "any",
        Some(ToolChoice::None) => "none",
        Some(ToolChoice::Function(name)) => {
            fields.insert("name".to_owned(), Value::from(name.as_str()));
            "tool"
        }
    };
    fields.insert("type".to_owned(), Value::from(kind));
    if let Some(yes) = is_parallel.filter(|_| kind != "none") {
        fields.insert(NOT_PARALLEL.to_owned(), Value::from(!yes));
    }
    Some(Value::Object(fields))
}

/// Tools on their way to an upstream.
pub(super) struct OutTools<'a> {
    pub(super) request: &'a ChatRequest,
    /// Whether the request came in this dialect, so that its marks mean something here.
    pub(super) is_own: bool,
}

impl Serialize for OutTools<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        #[derive(Serialize)]
        struct Custom<'a> {
            name: &'a str,
            #[serde(skip_serializing_if = "Option::is_none")]
            description: Option<&'a str>,
            input_schema: &'a OutSchema<'a>,
            #[serde(skip_serializing_if = "Option::is_none")]
            strict: Option<bool>,
            #[serde(flatten)]
            marks: Marks<'a>,
        }
        #[derive(Serialize)]
        struct Marked<'a> {
            #[serde(flatten)]
            tool: &'a Value,
            #[serde(flatten)]
            marks: Marks<'a>,
        }
        #[derive(Clone, Copy, Serialize)]
        struct Marks<'a> {
            #[serde(skip_serializing_if = "Option::is_none")]
            cache_control: Option<&'a Value>,
            #[serde(skip_serializing_if = "Option::is_none")]
            eager_input_streaming: Option<&'a Value>,
        }
        let tools = &self.request.tools;
        let mut list = serializer.serialize_seq(Some(tools.len()))?;
        for (at, tool) in tools.iter().enumerate() {
            let mark = |field| self.request.cache_mark(MarkedPlace::Tool(at), field).filter(|_| self.is_own);
            let marks = Marks { cache_control: mark(CACHE_MARK), eager_input_streaming: mark(EAGER) };
            match tool {
                Tool::Function { name, description, parameters, strict } => {
                    list.serialize_element(&Custom {
                        name,
                        description: description.as_deref(),
                        input_schema: &OutSchema(parameters.as_ref()),
                        strict: *strict,
                        marks,
                    })?;
                }
                Tool::Other(tool) => list.serialize_element(&Marked { tool, marks })?,
            }
        }
        list.end()
    }
}

/// A schema of arguments. Anthropic insists on one, and that it says that they are an object; OpenAI does not.
struct OutSchema<'a>(Option<&'a Value>);

impl Serialize for OutSchema<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self.0 {
            None => serde_json::json!({"type": "object", "properties": {}}).serialize(serializer),
            Some(Value::Object(fields)) if !fields.contains_key("type") => {
                let kind = [("type".to_owned(), Value::from("object"))];
                serializer.collect_map(kind.iter().map(|(field, value)| (field, value)).chain(fields))
            }
            Some(schema) => schema.serialize(serializer),
        }
    }
}
