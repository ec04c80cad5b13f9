//! Messages and tools in OpenAI's spelling, both directions.

use serde::ser::{SerializeMap, SerializeSeq};
use serde::{Serialize, Serializer};
use serde_json::{Map, Value};

use super::fields::Path;
use super::openai_call::{OutCalls, TOOL_CALLS, read_tool_calls};
use super::openai_marks::{CACHE_MARK, Marks, OutMarks, take_marks};
use super::{MESSAGES_MAX, WireError, data_url};
use crate::chat::{CacheMark, Image, MarkedPlace, Message, Part, Reasoning, Role, Tool, ToolChoice};

/// The field in which DeepSeek, vLLM, SGLang and others put what the model thought.
pub(super) const REASONING: &str = "reasoning_content";

/// What vLLM renamed it to, and OpenRouter's name for it.
pub(super) const REASONING_RENAMED: &str = "reasoning";

/// Reads the field `messages`, and adds what of it is to be kept in the vendor's prompt cache.
pub(super) fn read_messages(
    value: Value,
    at: &Path<'_>,
    marks: &mut Vec<CacheMark>,
) -> Result<Vec<Message>, WireError> {
    let items = at.list(value)?;
    if items.is_empty() {
        return Err(at.error("must have at least one message"));
    }
    if items.len() > MESSAGES_MAX {
        return Err(at.error(format!("has {} messages; {MESSAGES_MAX} is the most", items.len())));
    }
    let read = items.into_iter().enumerate().map(|(index, item)| {
        let (message, part_marks) = read_message(item, &at.item(index))?;
        marks.extend(part_marks.into_iter().map(|(part, (field, mark))| {
            let place =
                part.map_or(MarkedPlace::Message(index), |part| MarkedPlace::Part { message: index, part });
            CacheMark { place, field, mark }
        }));
        Ok(message)
    });
    read.collect()
}

/// The marks of one message, at its parts or at the whole of it.
type PartMarks = Vec<(Option<usize>, (&'static str, Value))>;

fn read_message(value: Value, at: &Path<'_>) -> Result<(Message, PartMarks), WireError> {
    let mut marks = PartMarks::new();
    let mut role = None;
    let mut message = Message {
        role: Role::User,
        content: Vec::new(),
        name: None,
        tool_call_id: None,
        is_error: false,
        unknown: Map::new(),
    };
    let (mut thought, mut refusal, mut calls) = (None, None, Vec::new());
    for (field, value) in at.object(value)? {
        let at = at.field(&field);
        match field.as_str() {
            _ if value.is_null() => {}
            "role" => role = Some(read_role(value, &at)?),
            "content" => message.content = read_content(value, &at, &mut marks)?,
            "name" => message.name = Some(at.text(value)?),
            "tool_call_id" => message.tool_call_id = Some(at.text(value)?),
            TOOL_CALLS => match read_tool_calls(value, &at)? {
                Ok(plain) => calls = plain,
                Err(value) => drop(message.unknown.insert(field, value)),
            },
            REASONING => thought = Some(at.text(value)?),
            "refusal" => refusal = Some(at.text(value)?),
            CACHE_MARK => marks.push((None, (CACHE_MARK, value))),
            _ => drop(message.unknown.insert(field, value)),
        }
    }
    let thought = thought.map(|text| Part::Reasoning(Reasoning { text, signature: None }));
    if thought.is_some() {
        marks.iter_mut().filter_map(|(part, _)| part.as_mut()).for_each(|part| *part += 1);
    }
    message.content.splice(0..0, thought);
    message.content.extend(refusal.map(Part::Refusal));
    message.content.extend(calls.into_iter().map(Part::ToolCall));
    message.role = role.ok_or_else(|| at.field("role").error("is missing"))?;
    // An assistant's turn may be a field that we do not know (`audio`, `function_call`).
    let is_foreign = message.role == Role::Assistant && !message.unknown.is_empty();
    if message.content.is_empty() && !is_foreign {
        return Err(at.field("content").error("is missing or empty"));
    }
    if message.role == Role::Tool && message.tool_call_id.is_none() {
        return Err(at.field("tool_call_id").error("is missing"));
    }
    Ok((message, marks))
}

/// What is wrong with other roles. OpenAI's older `function` is one of them: its messages do not say which call they
/// answer.
const ROLES: &str = "must be one of `system`, `developer`, `user`, `assistant`, `tool`; a function's result is a `tool` message";

fn read_role(value: Value, at: &Path<'_>) -> Result<Role, WireError> {
    let name = at.text(value)?;
    Role::parse(&name).ok_or_else(|| at.error(ROLES))
}

fn read_content(value: Value, at: &Path<'_>, marks: &mut PartMarks) -> Result<Vec<Part>, WireError> {
    match value {
        Value::String(text) => Ok(vec![Part::Text(text)]),
        Value::Array(parts) => {
            let read = parts.into_iter().enumerate().map(|(index, part)| {
                let at = at.item(index);
                let mut fields = at.object(part)?;
                marks.extend(take_marks(&mut fields).into_iter().map(|mark| (Some(index), mark)));
                read_part(fields, &at)
            });
            read.collect()
        }
        _ => Err(at.error("must be a string or a list of parts")),
    }
}

fn read_part(mut fields: Map<String, Value>, at: &Path<'_>) -> Result<Part, WireError> {
    match fields.get("type") {
        Some(Value::String(kind)) if kind == "text" => {}
        Some(Value::String(_)) => return Ok(plain_part(&fields).unwrap_or(Part::Other(fields))),
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

/// Returns a picture or a refusal that has nothing about it that we do not know.
fn plain_part(fields: &Map<String, Value>) -> Option<Part> {
    if fields.len() != 2 {
        return None;
    }
    match fields.get("type")?.as_str()? {
        "refusal" => Some(Part::Refusal(fields.get("refusal")?.as_str()?.to_owned())),
        "image_url" => {
            let (mut source, mut detail) = (None, None);
            for (field, value) in fields.get("image_url")?.as_object()? {
                match (field.as_str(), value) {
                    ("url", Value::String(url)) => source = Some(data_url::read(url)?),
                    ("detail", Value::String(word)) => detail = Some(word.clone()),
                    _ => return None,
                }
            }
            Some(Part::Image(Image { source: source?, detail }))
        }
        _ => None,
    }
}

/// Reads the field `tools`, and adds what of it is to be kept in the vendor's prompt cache.
pub(super) fn read_tools(
    value: Value,
    at: &Path<'_>,
    marks: &mut Vec<CacheMark>,
) -> Result<Vec<Tool>, WireError> {
    at.list(value)?
        .into_iter()
        .enumerate()
        .map(|(index, item)| {
            let mut fields = at.item(index).object(item)?;
            let place = MarkedPlace::Tool(index);
            let found = take_marks(&mut fields).into_iter();
            marks.extend(found.map(|(field, mark)| CacheMark { place, field, mark }));
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

/// A message on its way to an upstream.
pub(super) struct OutMessage<'a> {
    pub(super) message: &'a Message,
    /// Its place in the request.
    pub(super) at: usize,
    pub(super) marks: Marks<'a>,
    /// Whether the request came in this dialect: fields that we do not know go to nobody else.
    pub(super) is_own: bool,
    /// Whether the reader takes fields that OpenAI itself does not have.
    pub(super) is_extended: bool,
}

/// What a tool's text begins with where the tool failed: this dialect has no field for that.
const TOOL_ERROR: &str = "Error: ";

impl Serialize for OutMessage<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let Message { role, content, name, tool_call_id, is_error, unknown } = self.message;
        let mut map = serializer.serialize_map(None)?;
        map.serialize_entry("role", role.name())?;
        let mark_of = |part| self.marks.at(MarkedPlace::Part { message: self.at, part });
        let is_marked = (0..content.len()).any(|part| !mark_of(part).is_empty());
        let is_own = self.is_own;
        let mut said = content.iter().filter(|part| is_said(part, is_own));
        match (said.next(), said.next()) {
            _ if is_marked => map.serialize_entry(
                "content",
                &OutParts { parts: content, is_error: *is_error, is_own, mark_of: &mark_of },
            )?,
            // Other dialects have results without a word; here a result is a text.
            (None, _) if *role == Role::Tool && !is_own => {
                map.serialize_entry("content", if *is_error { TOOL_ERROR.trim_end() } else { "" })?;
            }
            (None, _) => map.serialize_entry("content", &Value::Null)?,
            (Some(Part::Text(text) | Part::Cited { text, .. }), None) if *is_error => {
                map.serialize_entry("content", &format_args!("{TOOL_ERROR}{text}"))?;
            }
            (Some(Part::Text(text) | Part::Cited { text, .. }), None) => {
                map.serialize_entry("content", text)?
            }
            _ => map.serialize_entry(
                "content",
                &OutParts { parts: content, is_error: *is_error, is_own, mark_of: &mark_of },
            )?,
        }
        if let Some(name) = name {
            map.serialize_entry("name", name)?;
        }
        if let Some(id) = tool_call_id {
            map.serialize_entry("tool_call_id", id)?;
        }
        let calls = content.iter().filter_map(Part::tool_call);
        if calls.clone().next().is_some() {
            map.serialize_entry(TOOL_CALLS, &OutCalls { calls, with_seals: self.is_extended })?;
        }
        if let Some(mark) = self.marks.at(MarkedPlace::Message(self.at)).cache_control {
            map.serialize_entry(CACHE_MARK, mark)?;
        }
        if let Some(thought) = unsealed_thoughts(content).filter(|_| self.is_own || self.is_extended) {
            map.serialize_entry(REASONING, &thought)?;
        }
        if self.is_own {
            for (field, value) in unknown {
                map.serialize_entry(field, value)?;
            }
        }
        map.end()
    }
}

/// Returns what was thought without a vendor's seal on it, which is nobody's in particular. DeepSeek wants such thoughts
/// back together with the calls that they led to.
fn unsealed_thoughts(content: &[Part]) -> Option<String> {
    let thoughts = content.iter().filter_map(|part| match part {
        Part::Reasoning(Reasoning { text, signature: None }) => Some(text.as_str()),
        _ => None,
    });
    thoughts.map(str::to_owned).reduce(|all, more| all + &more)
}

impl OutMessage<'_> {
    /// Returns whether anything of it is for this reader. Of a turn in another dialect thoughts alone may be there, and a
    /// turn that says nothing is refused.
    pub(super) fn says_something(&self) -> bool {
        let Message { role, content, .. } = self.message;
        self.is_own
            || *role != Role::Assistant
            || content.iter().any(|part| is_said(part, false) || part.tool_call().is_some())
    }
}

/// Returns whether a part stands in the content; the others have fields of their own. What another dialect has besides
/// was refused beforehand, but for thoughts that its vendor sealed: those are for nobody else.
fn is_said(part: &Part, is_own: bool) -> bool {
    match part {
        Part::Text(_) | Part::Cited { .. } | Part::Image(_) | Part::Refusal(_) => true,
        Part::Other(_) => is_own,
        Part::Reasoning(_) | Part::ToolCall(_) => false,
    }
}

struct OutParts<'a, F> {
    parts: &'a [Part],
    is_error: bool,
    is_own: bool,
    /// The mark of the part at this place.
    mark_of: &'a F,
}

/// A part with its mark.
#[derive(Serialize)]
struct Marked<'a, T: Serialize> {
    #[serde(flatten)]
    part: T,
    #[serde(flatten)]
    marks: OutMarks<'a>,
}

impl<'m, F: Fn(usize) -> OutMarks<'m>> Serialize for OutParts<'_, F> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        #[derive(Serialize)]
        #[serde(tag = "type", rename_all = "snake_case")]
        enum OutPart<'a> {
            Text { text: &'a str },
            Refusal { refusal: &'a str },
            ImageUrl { image_url: OutImage<'a> },
        }
        #[derive(Serialize)]
        struct OutImage<'a> {
            url: std::borrow::Cow<'a, str>,
            #[serde(skip_serializing_if = "Option::is_none")]
            detail: Option<&'a str>,
        }
        let mut list = serializer.serialize_seq(None)?;
        if self.is_error {
            list.serialize_element(&OutPart::Text { text: TOOL_ERROR })?;
        }
        for (at, part) in self.parts.iter().enumerate() {
            let marks = (self.mark_of)(at);
            let part = match part {
                Part::Text(text) | Part::Cited { text, .. } => OutPart::Text { text },
                Part::Refusal(refusal) => OutPart::Refusal { refusal },
                Part::Image(Image { source, detail }) => {
                    let image_url = OutImage { url: data_url::write(source), detail: detail.as_deref() };
                    OutPart::ImageUrl { image_url }
                }
                Part::Other(_) if !self.is_own => continue,
                Part::Other(part) => {
                    list.serialize_element(&Marked { part, marks })?;
                    continue;
                }
                Part::Reasoning(_) | Part::ToolCall(_) => continue,
            };
            list.serialize_element(&Marked { part, marks })?;
        }
        list.end()
    }
}

/// Tools on their way to an upstream.
pub(super) struct OutTools<'a> {
    pub(super) tools: &'a [Tool],
    pub(super) marks: Marks<'a>,
}

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
        let mut list = serializer.serialize_seq(Some(self.tools.len()))?;
        for (at, tool) in self.tools.iter().enumerate() {
            let marks = self.marks.at(MarkedPlace::Tool(at));
            match tool {
                Tool::Function { name, description, parameters, strict } => {
                    let part = Typed {
                        r#type: "function",
                        function: Function {
                            name,
                            description: description.as_deref(),
                            parameters: parameters.as_ref(),
                            strict: *strict,
                        },
                    };
                    list.serialize_element(&Marked { part, marks })?;
                }
                Tool::Other(part) => list.serialize_element(&Marked { part, marks })?,
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
