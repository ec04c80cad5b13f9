//! The conversation in Responses' spelling: items, of which some are messages.

use serde_json::{Map, Value};

use super::fields::Path;
use super::openai_marks::CACHE_BREAKPOINT;
use super::responses_fields::{given, refuse_others, take, take_text};
use super::{MESSAGES_MAX, WireError, data_url};
use crate::chat::{Image, Message, Part, Reasoning, Role, ToolCall};

/// Reads the field `input`. Items of the assistant that follow one another, messages and calls, are one turn of it,
/// which is how every other format has them.
pub(super) fn read_input(value: Value, at: &Path<'_>) -> Result<Vec<Message>, WireError> {
    let items = match value {
        Value::String(text) => return Ok(vec![Message::text(Role::User, text)]),
        Value::Array(items) => items,
        _ => return Err(at.error("must be a string or a list of items")),
    };
    if items.len() > MESSAGES_MAX {
        return Err(at.error(format!("has {} items; {MESSAGES_MAX} is the most", items.len())));
    }
    let mut messages = Vec::with_capacity(items.len() + 1);
    for (index, item) in items.into_iter().enumerate() {
        read_item(item, &at.item(index), &mut messages)?;
    }
    // An item without words, or a thought that led nowhere.
    messages.retain(|turn| !turn.content.iter().all(|part| matches!(part, Part::Reasoning(_))));
    if messages.is_empty() {
        return Err(at.error("must have at least one message"));
    }
    Ok(messages)
}

fn read_item(value: Value, at: &Path<'_>, messages: &mut Vec<Message>) -> Result<(), WireError> {
    let fields = at.object(value)?;
    match kind_of(&fields, at)? {
        "message" => {
            let (role, content) = read_message(fields, at)?;
            say(messages, role, content);
        }
        "function_call" => say(messages, Role::Assistant, vec![Part::ToolCall(read_call(fields, at)?)]),
        "function_call_output" => messages.push(read_output(fields, at)?),
        "reasoning" => say(messages, Role::Assistant, read_thoughts(&fields)),
        "item_reference" => {
            return Err(at.error(
                "refers to an item that this endpoint has not kept, it is stateless; send the item itself \
                 (clients do with `store` set to false)",
            ));
        }
        _ => {
            return Err(at.field("type").error(
                "must be one of `message`, `function_call`, `function_call_output`, `reasoning`; \
                 items of built-in tools need the provider itself",
            ));
        }
    }
    Ok(())
}

/// Reads what was thought earlier, as our own answers show it. Thoughts sealed for OpenAI mean nothing to anybody else,
/// and summaries are not what was thought.
fn read_thoughts(fields: &Map<String, Value>) -> Vec<Part> {
    if fields.get("encrypted_content").is_some_and(|seal| !seal.is_null()) {
        return Vec::new();
    }
    let pieces = fields.get("content").and_then(Value::as_array).map_or(&[][..], Vec::as_slice);
    let texts = pieces.iter().filter_map(|piece| piece.get("text")?.as_str()).filter(|text| !text.is_empty());
    texts.map(|text| Part::Reasoning(Reasoning { text: text.to_owned(), signature: None })).collect()
}

/// Returns what an item is. Messages and references may leave it unsaid.
fn kind_of<'a>(fields: &'a Map<String, Value>, at: &Path<'_>) -> Result<&'a str, WireError> {
    match fields.get("type") {
        Some(Value::String(kind)) => Ok(kind),
        None | Some(Value::Null) if fields.contains_key("role") => Ok("message"),
        None | Some(Value::Null) if fields.contains_key("id") => Ok("item_reference"),
        None | Some(Value::Null) => Err(at.field("type").error("is missing")),
        Some(_) => Err(at.field("type").error("must be a string")),
    }
}

fn say(messages: &mut Vec<Message>, role: Role, content: Vec<Part>) {
    match messages.last_mut() {
        Some(turn) if turn.role == Role::Assistant && role == Role::Assistant => turn.content.extend(content),
        _ => messages.push(Message { content, ..Message::text(role, "") }),
    }
}

fn read_message(mut fields: Map<String, Value>, at: &Path<'_>) -> Result<(Role, Vec<Part>), WireError> {
    let role = take_text(&mut fields, "role", at)?;
    let role = Role::parse(&role)
        .filter(|role| *role != Role::Tool)
        .ok_or_else(|| at.field("role").error("must be one of `system`, `developer`, `user`, `assistant`"))?;
    let content = read_content(&mut fields, "content", at)?;
    refuse_others(&fields, &["type", "id", "status", "phase"], at)?;
    Ok((role, content))
}

fn read_call(mut fields: Map<String, Value>, at: &Path<'_>) -> Result<ToolCall, WireError> {
    let id = take_text(&mut fields, "call_id", at)?;
    let name = take_text(&mut fields, "name", at)?;
    let arguments = take_text(&mut fields, "arguments", at)?;
    refuse_others(&fields, &["type", "id", "status"], at)?;
    Ok(ToolCall { id, name, arguments, signature: None })
}

fn read_output(mut fields: Map<String, Value>, at: &Path<'_>) -> Result<Message, WireError> {
    let call_id = take_text(&mut fields, "call_id", at)?;
    let content = read_content(&mut fields, "output", at)?;
    // The call says the tool's name.
    refuse_others(&fields, &["type", "id", "status", "name"], at)?;
    Ok(Message { content, tool_call_id: Some(call_id), ..Message::text(Role::Tool, "") })
}

fn read_content(fields: &mut Map<String, Value>, field: &str, at: &Path<'_>) -> Result<Vec<Part>, WireError> {
    let at = at.field(field);
    match given(fields, field) {
        Some(Value::String(text)) => Ok(vec![Part::Text(text)]),
        Some(Value::Array(parts)) if !parts.is_empty() => {
            parts.into_iter().enumerate().map(|(index, part)| read_part(part, &at.item(index))).collect()
        }
        None | Some(Value::Array(_)) => Err(at.error("is missing or empty")),
        Some(_) => Err(at.error("must be a string or a list of parts")),
    }
}

fn read_part(value: Value, at: &Path<'_>) -> Result<Part, WireError> {
    let mut fields = at.object(value)?;
    match take_text(&mut fields, "type", at)?.as_str() {
        "input_text" | "output_text" => {
            let text = take_text(&mut fields, "text", at)?;
            // Sources and log probabilities of an earlier answer mean nothing to whoever goes on from it. What is to
            // be kept in the vendor's prompt cache changes a call's price and never its answer, and is not passed on.
            refuse_others(&fields, &["annotations", "logprobs", CACHE_BREAKPOINT], at)?;
            Ok(Part::Text(text))
        }
        "refusal" => {
            let words = take_text(&mut fields, "refusal", at)?;
            refuse_others(&fields, &[], at)?;
            Ok(Part::Refusal(words))
        }
        "input_image" => Ok(Part::Image(read_image(fields, at)?)),
        "input_file" | "input_audio" => Err(at
            .field("type")
            .error("is a file or a sound, which cannot be forwarded; send its text as `input_text`")),
        _ => Err(at
            .field("type")
            .error("must be one of `input_text`, `input_image`, `output_text`, `refusal`")),
    }
}

fn read_image(mut fields: Map<String, Value>, at: &Path<'_>) -> Result<Image, WireError> {
    if given(&mut fields, "file_id").is_some() {
        let reason =
            "names a file kept by OpenAI, which cannot be forwarded; send the picture as `image_url`";
        return Err(at.field("file_id").error(reason));
    }
    let url = take_text(&mut fields, "image_url", at)?;
    let source = data_url::read(&url).ok_or_else(|| {
        at.field("image_url").error("must be an address, or a data URL with a media type and base64")
    })?;
    let detail = take(&mut fields, "detail", at, Path::text)?;
    refuse_others(&fields, &[CACHE_BREAKPOINT], at)?;
    Ok(Image { source, detail })
}
