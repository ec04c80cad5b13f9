//! What one dialect keeps as its callers wrote it, and another cannot be told.

use serde_json::Value;

use super::Inexpressible;
use crate::chat::{ChatRequest, Dialect, Message, OutputFormat, Part, Tool, ToolChoice};

/// Refuses fields that shape an answer, parts, tools, choices and formats that only callers of one dialect understand.
/// Other fields that we do not know are no such thing: they are left out, since most of them are settings of the
/// dialect itself.
///
/// # Errors
/// Names the first such place; `vendor` says in the message who cannot be told.
pub(super) fn refuse_foreign(
    request: &ChatRequest,
    own: &[Dialect],
    vendor: &str,
) -> Result<(), Inexpressible> {
    if own.contains(&request.dialect) || !request.has_foreign() {
        return Ok(());
    }
    let refuse = |field: String, kind: Option<&str>| {
        let kind = kind.map(|kind| format!(" of type `{kind}`")).unwrap_or_default();
        Err(Inexpressible::new(field, format!("is something{kind} that {vendor} cannot be told")))
    };
    if let Some(field) = shaping_field(request) {
        return refuse(field.clone(), None);
    }
    for (at, message) in request.messages.iter().enumerate() {
        if let Some(field) = said_elsewhere(message) {
            return refuse(format!("messages[{at}].{field}"), None);
        }
        for (part_at, part) in message.content.iter().enumerate() {
            match part {
                // Thoughts sealed by one vendor are of no use to another, which thinks for itself.
                Part::Other(fields) if fields.get("type").is_some_and(|kind| kind == "redacted_thinking") => {
                }
                Part::Other(fields) => {
                    let kind = fields.get("type").and_then(|kind| kind.as_str());
                    return refuse(format!("messages[{at}].content[{part_at}]"), kind);
                }
                Part::Text(_)
                | Part::Cited { .. }
                | Part::Image(_)
                | Part::Reasoning(_)
                | Part::Refusal(_)
                | Part::ToolCall(_) => {}
            }
        }
    }
    for (at, tool) in request.tools.iter().enumerate() {
        if let Tool::Other(fields) = tool {
            return refuse(format!("tools[{at}]"), fields.get("type").and_then(|kind| kind.as_str()));
        }
    }
    if let Some(ToolChoice::Other(_)) = request.tool_choice {
        return refuse("tool_choice".to_owned(), None);
    }
    if let OutputFormat::Other(_) = request.output_format {
        return refuse("response_format".to_owned(), None);
    }
    Ok(())
}

/// Returns a field that makes the answer another one and that only one dialect has.
fn shaping_field(request: &ChatRequest) -> Option<&String> {
    let shapes = |field: &str, value: &Value| match (request.dialect, field) {
        (Dialect::OpenAi, "modalities") => *value != serde_json::json!(["text"]),
        (Dialect::OpenAi, "functions" | "function_call" | "audio" | "web_search_options" | "moderation") => {
            !is_empty(value)
        }
        (Dialect::Anthropic, "container" | "inference_geo" | "mcp_servers") => !is_empty(value),
        (Dialect::Anthropic, "context_management") => !clears_thoughts_only(value),
        _ => false,
    };
    request.unknown.iter().find(|(field, value)| shapes(field, value)).map(|(field, _)| field)
}

fn is_empty(value: &Value) -> bool {
    value.as_array().is_some_and(Vec::is_empty)
}

/// Returns whether only earlier thoughts are to be taken out, which others are never told anyway.
fn clears_thoughts_only(management: &Value) -> bool {
    let clears = |edit: &Value| {
        edit.get("type").and_then(Value::as_str).is_some_and(|kind| kind.starts_with("clear_thinking"))
    };
    let edits = management.get("edits").and_then(Value::as_array);
    edits.is_none_or(|edits| edits.iter().all(clears))
        && management.as_object().is_some_and(|fields| fields.keys().all(|field| field == "edits"))
}

/// Returns the field in which a turn says something that is not in its content: calls of another kind, a sound.
fn said_elsewhere(message: &Message) -> Option<&str> {
    let Message { role: _, content, name: _, tool_call_id: _, is_error: _, unknown } = message;
    let says = |field: &str| ["tool_calls", "function_call", "audio"].contains(&field);
    unknown.keys().map(String::as_str).find(|field| content.is_empty() || says(field))
}

#[cfg(test)]
mod tests {
    use super::super::{anthropic, gemini, openai};
    use super::*;
    use serde_json::json;

    fn refused_by_others(field: &str, mut body: Value) {
        body["max_tokens"] = 5.into();
        let own = openai::parse_request(body.to_string().as_bytes()).unwrap().request;
        assert_eq!(refuse_foreign(&own, &[Dialect::OpenAi], "OpenAI"), Ok(()));
        assert_eq!(anthropic::encode_request(&own, "m", false).unwrap_err().field, field);
        assert_eq!(gemini::encode_request(&own, "m").unwrap_err().field, field);
    }

    #[test]
    fn what_a_turn_says_outside_of_its_content_is_never_dropped() {
        let custom = json!({"id": "a", "type": "custom", "custom": {"name": "c", "input": "x"}});
        let odd =
            json!({"id": "a", "type": "function", "function": {"name": "f", "arguments": "{}"}, "odd": 1});
        for (field, value) in [
            ("tool_calls", json!([custom])),
            ("tool_calls", json!([odd])),
            ("function_call", json!({"name": "f", "arguments": "{}"})),
            ("audio", json!({"id": "a"})),
        ] {
            for content in [Value::Null, json!("words")] {
                let turn = json!({"role": "assistant", "content": content, field: value});
                let messages = json!([{"role": "user", "content": "q"}, turn]);
                refused_by_others(&format!("messages[1].{field}"), json!({"messages": messages}));
            }
        }
    }

    #[test]
    fn fields_that_shape_the_answer_go_to_nobody_who_does_not_know_them() {
        for (field, value) in [
            ("functions", json!([{"name": "f"}])),
            ("function_call", json!("auto")),
            ("modalities", json!(["text", "audio"])),
            ("audio", json!({"voice": "alloy"})),
            ("web_search_options", json!({})),
            ("moderation", json!({"model": "m"})),
        ] {
            refused_by_others(field, json!({"messages": [{"role": "user", "content": "q"}], field: value}));
        }
        let told = |field: &str, value: Value| {
            let body = json!({"max_tokens": 5, "messages": [{"role": "user", "content": "q"}], field: value});
            let request = anthropic::parse_request(body.to_string().as_bytes()).unwrap().request;
            refuse_foreign(&request, &[], "Gemini").map_err(|refused| refused.field)
        };
        for (field, value) in [
            ("container", json!("c")),
            ("inference_geo", json!("eu")),
            ("mcp_servers", json!([{"name": "s"}])),
            ("context_management", json!({"edits": [{"type": "compact_20260112"}]})),
        ] {
            assert_eq!(told(field, value), Err(field.to_owned()));
        }
        for (field, value) in [
            ("mcp_servers", json!([])),
            ("thinking", json!({"type": "adaptive"})),
            ("speed", json!("fast")),
            ("context_management", json!({"edits": [{"type": "clear_thinking_20251015", "keep": "all"}]})),
        ] {
            assert_eq!(told(field, value), Ok(()), "{field}");
        }
    }
}
