//! What one dialect keeps as its callers wrote it, and another cannot be told.

use super::Inexpressible;
use crate::chat::{ChatRequest, Dialect, OutputFormat, Part, Tool, ToolChoice};

/// Refuses parts, tools, choices and formats that only callers of another dialect understand. Fields that we do not
/// know are no such thing: they are left out, since most of them are settings of the dialect itself.
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
    for (at, message) in request.messages.iter().enumerate() {
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
