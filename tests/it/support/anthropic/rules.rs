//! What Messages takes, in the version of 2023-06-01.
//!
//! Fields are those of the official SDK for Python, versions 0.121.0 (with the sampling that later ones lost) and 2.10.0.

use serde_json::Value;

use super::super::fields::{Allowed, Fault, Places, Walk};

/// What both asking and counting take.
const SHARED: &[&str] =
    &["cache_control", "output_config", "speed", "system", "thinking", "tool_choice", "tools"];
/// What asking alone takes.
const ASKING: &[&str] = &[
    "container",
    "diagnostics",
    "inference_geo",
    "metadata",
    "service_tier",
    "stop_sequences",
    "stream",
    "temperature",
    "top_k",
    "top_p",
];

/// Returns the first fault of a body; `counts` says that only its tokens are to be counted.
pub fn fault(body: &Value, counts: bool, allowed: &Allowed) -> Option<Fault> {
    let mut walk = Walk::new(allowed, Places::Dots);
    let required: &[&str] =
        if counts { &["model", "messages"] } else { &["model", "max_tokens", "messages"] };
    let optional = if counts { SHARED.to_vec() } else { [SHARED, ASKING].concat() };
    walk.object(body, "", required, &optional);
    walk.field(body, "max_tokens", "", |walk, most, at| {
        walk.check(most.as_u64().is_some_and(|it| it > 0), at, "Input should be greater than 0");
    });
    walk.field(body, "messages", "", |walk, messages, at| {
        let is_empty = messages.as_array().is_some_and(Vec::is_empty);
        walk.check(!is_empty, at, "at least one message is required");
        walk.list(messages, at, message);
        results_follow_uses(walk, messages);
    });
    walk.field(body, "system", "", |walk, system, at| texts(walk, system, at));
    walk.field(body, "tools", "", |walk, tools, at| walk.list(tools, at, tool));
    walk.field(body, "tool_choice", "", tool_choice);
    let chooses = body.get("tool_choice").is_some();
    walk.check(!chooses || body.get("tools").is_some(), "tool_choice", "may only be given with `tools`");
    walk.field(body, "metadata", "", |walk, it, at| walk.object(it, at, &[], &["user_id"]));
    walk.field(body, "output_config", "", |walk, it, at| {
        walk.object(it, at, &[], &["effort", "format"]);
        walk.field(it, "format", at, |walk, it, at| walk.object(it, at, &["type", "schema"], &[]));
    });
    for name in ["temperature", "top_p"] {
        walk.field(body, name, "", |walk, value, at| {
            walk.check(value.as_f64().is_some_and(|it| (0.0..=1.0).contains(&it)), at, "range: 0..1");
        });
    }
    walk.field(body, "stop_sequences", "", |walk, all, at| {
        walk.list(all, at, |walk, text, at| {
            let has_words = text.as_str().is_some_and(|text| !text.trim().is_empty());
            walk.check(has_words, at, "each stop sequence must contain non-whitespace");
        });
    });
    walk.field(body, "thinking", "", |walk, it, at| thinking(walk, it, at, body));
    walk.end()
}

fn message(walk: &mut Walk<'_>, message: &Value, at: &str) {
    walk.object(message, at, &["role", "content"], &[]);
    let role = message["role"].as_str().unwrap_or("");
    let is_role = ["user", "assistant", "system"].contains(&role);
    walk.check(is_role, &format!("{at}.role"), "Input should be 'user', 'assistant' or 'system'");
    walk.field(message, "content", at, |walk, content, at| match content {
        Value::String(text) => walk.check(!text.is_empty(), at, "must have non-empty content"),
        Value::Array(all) => {
            walk.check(!all.is_empty(), at, "must have non-empty content");
            walk.list(content, at, |walk, it, at| block(walk, it, at, role));
        }
        _ => walk.check(false, at, "Input should be a valid string or list"),
    });
}

fn block(walk: &mut Walk<'_>, block: &Value, at: &str, role: &str) {
    let kind = block["type"].as_str().unwrap_or("");
    let (required, optional): (&[&str], &[&str]) = match (kind, role) {
        ("text", _) => (&["type", "text"], &["cache_control", "citations"]),
        ("image", "user") => (&["type", "source"], &["cache_control", "transformations"]),
        ("document", "user") => (&["type", "source"], &["cache_control", "citations", "context", "title"]),
        ("tool_result", "user") => {
            (&["type", "tool_use_id"], &["cache_control", "content", "is_error", "toolset_name"])
        }
        ("tool_use", "assistant") => {
            (&["type", "id", "name", "input"], &["cache_control", "caller", "toolset_name"])
        }
        ("thinking", "assistant") => (&["type", "thinking", "signature"], &[]),
        ("redacted_thinking", "assistant") => (&["type", "data"], &[]),
        _ => {
            return walk.check(
                false,
                at,
                format!("Input tag '{kind}' found using 'type' is not expected here"),
            );
        }
    };
    walk.object(block, at, required, optional);
    match kind {
        "text" => walk.check(block["text"] != "", at, "text content blocks must be non-empty"),
        "image" => walk.field(block, "source", at, source),
        "tool_use" => walk.check(block["input"].is_object(), at, "Input should be a valid dictionary"),
        "tool_result" => walk.field(block, "content", at, |walk, content, at| {
            if content.is_array() {
                walk.list(content, at, |walk, it, at| self::block(walk, it, at, "user"));
            }
        }),
        _ => {}
    }
}

fn source(walk: &mut Walk<'_>, source: &Value, at: &str) {
    match source["type"].as_str().unwrap_or("") {
        "base64" => walk.object(source, at, &["type", "media_type", "data"], &[]),
        "url" => walk.object(source, at, &["type", "url"], &[]),
        "file" => walk.object(source, at, &["type", "file_id"], &[]),
        _ => walk.check(false, at, "is no source"),
    }
}

/// A text, or blocks of nothing but text.
fn texts(walk: &mut Walk<'_>, texts: &Value, at: &str) {
    if !texts.is_string() {
        walk.list(texts, at, |walk, it, at| block(walk, it, at, "system"));
    }
}

fn tool(walk: &mut Walk<'_>, tool: &Value, at: &str) {
    let optional = &[
        "allowed_callers",
        "cache_control",
        "defer_loading",
        "description",
        "eager_input_streaming",
        "input_examples",
        "strict",
        "type",
    ];
    walk.object(tool, at, &["name", "input_schema"], optional);
    let is_object = tool["input_schema"]["type"] == "object";
    walk.check(is_object, &format!("{at}.input_schema.type"), "Input should be 'object'");
}

fn tool_choice(walk: &mut Walk<'_>, choice: &Value, at: &str) {
    match choice["type"].as_str().unwrap_or("") {
        "auto" | "any" => walk.object(choice, at, &["type"], &["disable_parallel_tool_use"]),
        "tool" => walk.object(choice, at, &["type", "name"], &["disable_parallel_tool_use"]),
        "none" => walk.object(choice, at, &["type"], &[]),
        _ => walk.check(false, at, "does not match any of the expected tags"),
    }
}

fn thinking(walk: &mut Walk<'_>, thinking: &Value, at: &str, body: &Value) {
    match thinking["type"].as_str().unwrap_or("") {
        "enabled" => {
            walk.object(thinking, at, &["type", "budget_tokens"], &["display"]);
            let budget = thinking["budget_tokens"].as_u64().unwrap_or(0);
            let why = "Input should be greater than or equal to 1024";
            walk.check(budget >= 1024, &format!("{at}.budget_tokens"), why);
            let fits = body["max_tokens"].as_u64().is_none_or(|most| most > budget);
            walk.check(fits, "max_tokens", "must be greater than `thinking.budget_tokens`");
            let is_cool = body.get("temperature").is_none_or(|it| it == 1.0 || it == 1);
            walk.check(is_cool, "temperature", "may only be set to 1 when thinking is enabled");
        }
        "adaptive" => walk.object(thinking, at, &["type"], &["display"]),
        "disabled" | "between_tools" => walk.object(thinking, at, &["type"], &[]),
        _ => walk.check(false, at, "does not match any of the expected tags"),
    }
}

/// Each `tool_use` is answered in the turn after it, and nothing else is. Messages of one role are one turn.
fn results_follow_uses(walk: &mut Walk<'_>, messages: &Value) {
    let messages = messages.as_array().map_or(&[][..], Vec::as_slice);
    let mut open: Vec<&str> = Vec::new();
    for turn in messages.chunk_by(|one, next| one["role"] == next["role"]) {
        let of_kind = |kind: &'static str, id: &'static str| {
            let blocks = turn.iter().flat_map(|message| message["content"].as_array().into_iter().flatten());
            blocks.filter(move |block| block["type"] == kind).filter_map(move |block| block[id].as_str())
        };
        for id in of_kind("tool_result", "tool_use_id") {
            let why =
                "each `tool_result` block must have a corresponding `tool_use` block in the previous message";
            walk.check(open.contains(&id), "messages", why);
            open.retain(|other| *other != id);
        }
        let why = "`tool_use` ids were found without `tool_result` blocks immediately after";
        walk.check(open.is_empty(), "messages", why);
        open = of_kind("tool_use", "id").collect();
    }
    walk.check(open.is_empty(), "messages", "`tool_use` ids were found without `tool_result` blocks");
}
