//! Messages and their content blocks in Anthropic's spelling, both directions.

use serde::{Serialize, Serializer};
use serde_json::value::RawValue;
use serde_json::{Map, Value};

use super::fields::Path;
use super::openai_marks::CACHE_MARK;
use super::{MESSAGES_MAX, WireError};
use crate::chat::{CacheMark, Image, ImageSource, MarkedPlace, Message, Part, Reasoning, Role, ToolCall};

/// What turns say, and what of it is to be kept in the vendor's prompt cache.
#[derive(Debug, Default)]
pub(super) struct Turns {
    pub(super) messages: Vec<Message>,
    pub(super) marks: Vec<CacheMark>,
}

impl Turns {
    /// Puts what was said before in front.
    pub(super) fn follow(&mut self, before: Self) {
        let by = before.messages.len();
        for mark in &mut self.marks {
            mark.place = match mark.place {
                MarkedPlace::Tool(at) => MarkedPlace::Tool(at),
                MarkedPlace::Message(at) => MarkedPlace::Message(at + by),
                MarkedPlace::Part { message, part } => MarkedPlace::Part { message: message + by, part },
            };
        }
        self.messages.splice(0..0, before.messages);
        self.marks.splice(0..0, before.marks);
    }

    fn mark(&mut self, place: MarkedPlace, mark: Option<Value>) {
        let mark = mark.filter(|mark| !mark.is_null());
        self.marks.extend(mark.map(|mark| CacheMark { place, field: CACHE_MARK, mark }));
    }

    /// Appends a part to what this role says, in its own message since `from`.
    fn say(&mut self, role: Role, from: usize, part: Part, mark: Option<Value>) {
        match self.messages[from..].last_mut() {
            Some(message) if message.role == role => message.content.push(part),
            _ => self.messages.push(Message { content: vec![part], ..Message::text(role, "") }),
        }
        let message = self.messages.len() - 1;
        let part = self.messages[message].content.len() - 1;
        self.mark(MarkedPlace::Part { message, part }, mark);
    }

    /// Appends a tool's result, whose own parts may be marked.
    fn answer(&mut self, result: Message, marks: Vec<(usize, Value)>, mark: Option<Value>) {
        let message = self.messages.len();
        self.messages.push(result);
        self.mark(MarkedPlace::Message(message), mark);
        for (part, mark) in marks {
            self.mark(MarkedPlace::Part { message, part }, Some(mark));
        }
    }
}

/// Reads the field `system`: a text or text blocks, which become one message. An empty one says nothing.
pub(super) fn read_system(value: Value, at: &Path<'_>, system: &mut Turns) -> Result<(), WireError> {
    read_content(value, Role::System, at, system)
}

/// Reads the field `messages` and appends what each turn says.
pub(super) fn read_messages(value: Value, at: &Path<'_>, said: &mut Turns) -> Result<(), WireError> {
    let turns = at.list(value)?;
    let count = turns.len();
    if count == 0 {
        return Err(at.error("must have at least one message"));
    }
    if count > MESSAGES_MAX {
        return Err(at.error(format!("has {count} messages; {MESSAGES_MAX} is the most")));
    }
    for (index, turn) in turns.into_iter().enumerate() {
        // A last turn of the assistant is what its answer begins with, which may be nothing.
        let may_be_empty = index > 0 && index + 1 == count;
        read_turn(turn, may_be_empty, &at.item(index), said)?;
    }
    if said.messages.len() > MESSAGES_MAX {
        let parts = said.messages.len();
        return Err(at.error(format!("has {parts} messages and tool results; {MESSAGES_MAX} is the most")));
    }
    Ok(())
}

fn read_turn(value: Value, may_be_empty: bool, at: &Path<'_>, said: &mut Turns) -> Result<(), WireError> {
    let (mut role, mut content, mut unknown) = (None, None, Map::new());
    for (field, value) in at.object(value)? {
        match field.as_str() {
            _ if value.is_null() => {}
            "role" => role = Some(read_role(value, &at.field("role"))?),
            "content" => content = Some(value),
            CACHE_MARK => {}
            _ => drop(unknown.insert(field, value)),
        }
    }
    let role = role.ok_or_else(|| at.field("role").error("is missing"))?;
    let at = at.field("content");
    let content = content.ok_or_else(|| at.error("is missing"))?;
    let from = said.messages.len();
    read_content(content, role, &at, said)?;
    match said.messages[from..].last_mut() {
        Some(message) => message.unknown.extend(unknown),
        None if role == Role::Assistant && may_be_empty => {}
        None => return Err(at.error("must not be empty")),
    }
    Ok(())
}

fn read_role(value: Value, at: &Path<'_>) -> Result<Role, WireError> {
    match at.text(value)?.as_str() {
        "user" => Ok(Role::User),
        "assistant" => Ok(Role::Assistant),
        // Newer models take instructions between turns too.
        "system" => Ok(Role::System),
        _ => Err(at.error("must be one of `user`, `assistant`, `system`")),
    }
}

/// Appends what a turn says: one message, and before, between or after its parts one for each tool result.
fn read_content(value: Value, role: Role, at: &Path<'_>, said: &mut Turns) -> Result<(), WireError> {
    let from = said.messages.len();
    match value {
        Value::String(text) if text.is_empty() => {}
        Value::String(text) => said.say(role, from, Part::Text(text), None),
        Value::Array(blocks) => {
            for (index, block) in blocks.into_iter().enumerate() {
                let at = at.item(index);
                let (fields, mark) = read_fields(block, &at)?;
                if role == Role::User && fields["type"] == "tool_result" {
                    let (result, marks) = read_tool_result(fields, &at)?;
                    said.answer(result, marks, mark);
                } else {
                    said.say(role, from, read_block(fields, role, &at)?, mark);
                }
            }
        }
        _ => return Err(at.error("must be a string or a list of content blocks")),
    }
    Ok(())
}

/// Reads the fields of a block, one of which is its type, and its mark.
fn read_fields(block: Value, at: &Path<'_>) -> Result<(Map<String, Value>, Option<Value>), WireError> {
    let mut fields = at.object(block)?;
    let mark = fields.shift_remove(CACHE_MARK);
    match fields.get("type") {
        Some(Value::String(_)) => Ok((fields, mark)),
        _ => Err(at.field("type").error("must be a string")),
    }
}

/// Reads a tool's result, and the marks of its parts.
fn read_tool_result(
    fields: Map<String, Value>,
    at: &Path<'_>,
) -> Result<(Message, Vec<(usize, Value)>), WireError> {
    let mut message = Message { content: Vec::new(), ..Message::text(Role::Tool, "") };
    let mut marks = Vec::new();
    for (field, value) in fields {
        let at = at.field(&field);
        match field.as_str() {
            "type" => {}
            _ if value.is_null() => {}
            "tool_use_id" => message.tool_call_id = Some(at.text(value)?),
            "is_error" => message.is_error = at.bool(value)?,
            "content" => {
                let mut said = Turns::default();
                read_content(value, Role::Tool, &at, &mut said)?;
                message.content = said.messages.pop().map(|said| said.content).unwrap_or_default();
                marks.extend(said.marks.into_iter().filter_map(|CacheMark { place, field: _, mark }| {
                    match place {
                        MarkedPlace::Part { message: _, part } => Some((part, mark)),
                        MarkedPlace::Tool(_) | MarkedPlace::Message(_) => None,
                    }
                }));
            }
            _ => drop(message.unknown.insert(field, value)),
        }
    }
    if message.tool_call_id.is_none() {
        return Err(at.field("tool_use_id").error("is missing"));
    }
    // A tool that returned nothing returned an empty text, as other dialects put it.
    if message.content.is_empty() {
        message.content.push(Part::Text(String::new()));
    }
    Ok((message, marks))
}

/// Reads a block. One that has anything about it that we do not know goes on as it came, and so does one that does
/// not belong to the role.
fn read_block(fields: Map<String, Value>, role: Role, at: &Path<'_>) -> Result<Part, WireError> {
    let of_assistant = role == Role::Assistant;
    let plain = match fields["type"].as_str() {
        Some("text") => return read_text(fields, at),
        Some("image") => plain_image(&fields),
        Some("thinking") if of_assistant => plain_thought(&fields),
        Some("tool_use") if of_assistant && has_only(&fields, CALL_FIELDS) => plain_call(&fields),
        _ => None,
    };
    Ok(plain.unwrap_or(Part::Other(fields)))
}

/// Returns whether every field but these is `null`.
pub(super) fn has_only(fields: &Map<String, Value>, known: &[&str]) -> bool {
    fields.iter().all(|(field, value)| known.contains(&field.as_str()) || value.is_null())
}

fn read_text(mut fields: Map<String, Value>, at: &Path<'_>) -> Result<Part, WireError> {
    match fields.get("text") {
        Some(Value::String(text)) if text.is_empty() => {
            return Err(at.field("text").error("must not be empty"));
        }
        Some(Value::String(_)) => {}
        _ => return Err(at.field("text").error("must be a string")),
    }
    if !has_only(&fields, &["type", "text", "citations"]) {
        return Ok(Part::Other(fields));
    }
    let citations = fields.remove("citations").filter(|value| !value.is_null());
    let citations = citations.map_or(Ok(Vec::new()), |value| at.field("citations").list(value))?;
    let text = fields.remove("text").map_or(Ok(String::new()), |text| at.field("text").text(text))?;
    Ok(text_part(text, citations))
}

/// Returns a text, with its sources where it has any.
pub(super) fn text_part(text: String, citations: Vec<Value>) -> Part {
    if citations.is_empty() { Part::Text(text) } else { Part::Cited { text, citations } }
}

fn plain_image(fields: &Map<String, Value>) -> Option<Part> {
    if !has_only(fields, &["type", "source"]) {
        return None;
    }
    let source = fields.get("source")?.as_object()?;
    let text = |field: &str| Some(source.get(field)?.as_str()?.to_owned());
    let source = match text("type")?.as_str() {
        "url" if source.len() == 2 => ImageSource::Url(text("url")?),
        "base64" if source.len() == 3 => {
            ImageSource::Data { media_type: text("media_type")?, base64: text("data")? }
        }
        _ => return None,
    };
    Some(Part::Image(Image { source, detail: None }))
}

fn plain_thought(fields: &Map<String, Value>) -> Option<Part> {
    if !has_only(fields, &["type", "thinking", "signature"]) {
        return None;
    }
    let text = fields.get("thinking")?.as_str()?.to_owned();
    Some(Part::Reasoning(Reasoning { text, signature: signature_of(fields) }))
}

/// Returns a thought's seal; an empty one is none.
pub(super) fn signature_of(fields: &Map<String, Value>) -> Option<String> {
    let signature = fields.get("signature")?.as_str()?;
    (!signature.is_empty()).then(|| signature.to_owned())
}

const CALL_FIELDS: &[&str] = &["type", "id", "name", "input", "caller", "toolset_name"];

/// Reads a call that the model made by itself, of a tool that the request described. Others, made by code that runs
/// at the vendor or of the vendor's own toolsets, mean nothing elsewhere.
pub(super) fn plain_call(fields: &Map<String, Value>) -> Option<Part> {
    let is_direct = match fields.get("caller") {
        None | Some(Value::Null) => true,
        Some(caller) => caller.get("type").is_some_and(|kind| kind == "direct"),
    };
    if !is_direct || fields.get("toolset_name").is_some_and(|name| !name.is_null()) {
        return None;
    }
    let text = |field: &str| Some(fields.get(field)?.as_str()?.to_owned());
    let arguments = match fields.get("input") {
        None | Some(Value::Null) => "{}".to_owned(),
        Some(input @ Value::Object(_)) => input.to_string(),
        Some(_) => return None,
    };
    Some(Part::ToolCall(ToolCall { id: text("id")?, name: text("name")?, arguments, signature: None }))
}

/// A content block on its way out, in a request or an answer. Only in a request is one marked.
#[derive(Debug, Serialize)]
#[serde(tag = "type", rename_all = "snake_case")]
pub(super) enum OutBlock<'a> {
    Text {
        text: &'a str,
        #[serde(skip_serializing_if = "<[Value]>::is_empty")]
        citations: &'a [Value],
        #[serde(skip_serializing_if = "Option::is_none")]
        cache_control: Mark<'a>,
    },
    Image {
        source: OutSource<'a>,
        #[serde(skip_serializing_if = "Option::is_none")]
        cache_control: Mark<'a>,
    },
    Thinking {
        thinking: &'a str,
        signature: &'a str,
    },
    ToolUse {
        id: &'a str,
        name: &'a str,
        input: &'a RawValue,
        #[serde(skip_serializing_if = "Option::is_none")]
        cache_control: Mark<'a>,
    },
    ToolResult {
        tool_use_id: &'a str,
        #[serde(skip_serializing_if = "OutContent::is_empty")]
        content: OutContent<'a>,
        #[serde(skip_serializing_if = "std::ops::Not::not")]
        is_error: bool,
        #[serde(skip_serializing_if = "Option::is_none")]
        cache_control: Mark<'a>,
        #[serde(flatten)]
        unknown: Option<&'a Map<String, Value>>,
    },
    /// A block kept as it came, its type among its fields.
    #[serde(untagged)]
    Other {
        #[serde(flatten)]
        fields: &'a Map<String, Value>,
        #[serde(skip_serializing_if = "Option::is_none")]
        cache_control: Mark<'a>,
    },
}

/// What the vendor is to keep in its prompt cache.
pub(super) type Mark<'a> = Option<&'a Value>;

impl<'a> OutBlock<'a> {
    pub(super) const fn text(text: &'a str) -> Self {
        Self::Text { text, citations: &[], cache_control: None }
    }

    pub(super) fn image(source: &'a ImageSource) -> Self {
        let source = match source {
            ImageSource::Url(url) => OutSource::Url { url },
            ImageSource::Data { media_type, base64 } => OutSource::Base64 { media_type, data: base64 },
        };
        Self::Image { source, cache_control: None }
    }

    /// Returns the block with this mark, where it can have one.
    pub(super) fn marked(mut self, mark: Mark<'a>) -> Self {
        match &mut self {
            Self::Text { cache_control, .. }
            | Self::Image { cache_control, .. }
            | Self::ToolUse { cache_control, .. }
            | Self::ToolResult { cache_control, .. }
            | Self::Other { cache_control, .. } => *cache_control = mark,
            // Anthropic keeps thoughts together with what follows them.
            Self::Thinking { .. } => {}
        }
        self
    }
}

/// Where a picture is.
#[derive(Debug, Serialize)]
#[serde(tag = "type", rename_all = "snake_case")]
pub(super) enum OutSource<'a> {
    Url { url: &'a str },
    Base64 { media_type: &'a str, data: &'a str },
}

/// Blocks, written as a text where they are one.
#[derive(Debug, Default)]
pub(super) struct OutContent<'a>(pub(super) Vec<OutBlock<'a>>);

impl OutContent<'_> {
    pub(super) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

impl Serialize for OutContent<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self.0.as_slice() {
            [OutBlock::Text { text, citations: [], cache_control: None }] => serializer.serialize_str(text),
            blocks => serializer.collect_seq(blocks),
        }
    }
}

/// Returns a call's arguments as JSON that is written as it stands, where they are an object; no text at all is an
/// object without fields.
pub(super) fn input_of(arguments: &str) -> Option<&RawValue> {
    let arguments = if arguments.trim().is_empty() { "{}" } else { arguments };
    let input: &RawValue = serde_json::from_str(arguments).ok()?;
    input.get().starts_with('{').then_some(input)
}
