//! What Chat Completions takes: the fields of the official SDK for Python, version 3.51.0.

use serde_json::Value;

use super::super::fields::{Allowed, Fault, Places, Walk};

const FIELDS: &[&str] = &[
    "audio",
    "frequency_penalty",
    "function_call",
    "functions",
    "logit_bias",
    "logprobs",
    "max_completion_tokens",
    "max_tokens",
    "metadata",
    "modalities",
    "moderation",
    "n",
    "parallel_tool_calls",
    "prediction",
    "presence_penalty",
    "prompt_cache_key",
    "prompt_cache_options",
    "prompt_cache_retention",
    "reasoning_effort",
    "response_format",
    "safety_identifier",
    "seed",
    "service_tier",
    "stop",
    "store",
    "stream",
    "stream_options",
    "temperature",
    "tool_choice",
    "tools",
    "top_logprobs",
    "top_p",
    "user",
    "verbosity",
    "web_search_options",
];

/// Returns the first fault of a body. Azure's deployments need no model.
pub fn fault(body: &Value, needs_model: bool, allowed: &Allowed) -> Option<Fault> {
    let mut walk = Walk::new(allowed, Places::Brackets);
    let required: &[&str] = if needs_model { &["messages", "model"] } else { &["messages"] };
    let optional = [FIELDS, if needs_model { &[] } else { &["model"] }].concat();
    walk.object(body, "", required, &optional);
    walk.field(body, "messages", "", |walk, messages, at| {
        walk.check(messages.as_array().is_some_and(|all| !all.is_empty()), at, "must not be empty");
        walk.list(messages, at, message);
        results_follow_calls(walk, messages);
    });
    walk.field(body, "tools", "", |walk, tools, at| walk.list(tools, at, tool));
    walk.field(body, "tool_choice", "", tool_choice);
    walk.check(
        body.get("tool_choice").is_none() || body.get("tools").is_some(),
        "tool_choice",
        "is only allowed when 'tools' are specified",
    );
    walk.field(body, "stream_options", "", |walk, options, at| {
        walk.object(options, at, &[], &["include_usage", "include_obfuscation"]);
        walk.check(body["stream"] == true, at, "is only allowed when 'stream' is enabled");
    });
    walk.field(body, "response_format", "", format);
    for (name, most) in [("temperature", 2.0), ("top_p", 1.0)] {
        walk.field(body, name, "", |walk, value, at| {
            walk.check(value.as_f64().is_some_and(|it| (0.0..=most).contains(&it)), at, "is out of range");
        });
    }
    walk.end()
}

fn message(walk: &mut Walk<'_>, message: &Value, at: &str) {
    let role = message["role"].as_str().unwrap_or("");
    let (required, optional): (&[&str], &[&str]) = match role {
        "system" | "developer" | "user" => (&["role", "content"], &["name"]),
        "assistant" => (&["role"], &["audio", "content", "function_call", "name", "refusal", "tool_calls"]),
        "tool" => (&["role", "content", "tool_call_id"], &[]),
        "function" => (&["role", "content", "name"], &[]),
        _ => return walk.check(false, &format!("{at}.role"), "is no role"),
    };
    walk.object(message, at, required, optional);
    let says = ["content", "refusal", "tool_calls", "function_call", "audio"];
    walk.check(says.iter().any(|field| !message[field].is_null()), at, "says nothing");
    walk.field(message, "content", at, |walk, content, at| match content {
        Value::String(_) => {}
        Value::Null if role == "assistant" => {}
        Value::Array(parts) => {
            walk.check(!parts.is_empty(), at, "must not be empty");
            walk.list(content, at, part);
        }
        _ => walk.check(false, at, "should be a string or a list of parts"),
    });
    walk.field(message, "tool_calls", at, |walk, calls, at| {
        walk.check(calls.as_array().is_some_and(|all| !all.is_empty()), at, "must not be empty");
        walk.list(calls, at, call);
    });
}

fn part(walk: &mut Walk<'_>, part: &Value, at: &str) {
    let (kind, fields): (&str, (&[&str], &[&str])) = match part["type"].as_str().unwrap_or("") {
        "text" | "refusal" => return words(walk, part, at),
        "image_url" => ("image_url", (&["url"], &["detail"])),
        "input_audio" => ("input_audio", (&["data", "format"], &[])),
        "file" => ("file", (&[], &["file_data", "file_id", "filename"])),
        _ => return walk.check(false, &format!("{at}.type"), "is no type of a part"),
    };
    walk.object(part, at, &["type", kind], &["prompt_cache_breakpoint"]);
    walk.field(part, kind, at, |walk, inner, at| walk.object(inner, at, fields.0, fields.1));
}

fn words(walk: &mut Walk<'_>, part: &Value, at: &str) {
    let kind = part["type"].as_str().expect("looked at before");
    let optional: &[&str] = if kind == "text" { &["prompt_cache_breakpoint"] } else { &[] };
    walk.object(part, at, &["type", kind], optional);
    walk.check(part[kind].is_string(), &format!("{at}.{kind}"), "should be a string");
}

fn call(walk: &mut Walk<'_>, call: &Value, at: &str) {
    let (kind, said) = if call["type"] == "custom" { ("custom", "input") } else { ("function", "arguments") };
    walk.object(call, at, &["id", "type", kind], &[]);
    walk.field(call, kind, at, |walk, inner, at| {
        walk.object(inner, at, &["name", said], &[]);
        walk.check(inner[said].is_string(), &format!("{at}.{said}"), "should be a string");
    });
}

fn tool(walk: &mut Walk<'_>, tool: &Value, at: &str) {
    let (kind, optional): (&str, &[&str]) = match tool["type"].as_str().unwrap_or("") {
        "function" => ("function", &["description", "parameters", "strict"]),
        "custom" => ("custom", &["description", "format"]),
        _ => return walk.check(false, &format!("{at}.type"), "is no type of a tool"),
    };
    walk.object(tool, at, &["type", kind], &[]);
    walk.field(tool, kind, at, |walk, inner, at| walk.object(inner, at, &["name"], optional));
}

fn tool_choice(walk: &mut Walk<'_>, choice: &Value, at: &str) {
    match choice {
        Value::String(word) => {
            walk.check(["none", "auto", "required"].contains(&word.as_str()), at, "is no choice");
        }
        choice => {
            let kind = choice["type"].as_str().unwrap_or("function");
            let fields: &[&str] = if kind == "allowed_tools" { &["mode", "tools"] } else { &["name"] };
            walk.object(choice, at, &["type", kind], &[]);
            walk.field(choice, kind, at, |walk, inner, at| walk.object(inner, at, fields, &[]));
        }
    }
}

fn format(walk: &mut Walk<'_>, format: &Value, at: &str) {
    match format["type"].as_str().unwrap_or("") {
        "text" | "json_object" => walk.object(format, at, &["type"], &[]),
        "json_schema" => {
            walk.object(format, at, &["type", "json_schema"], &[]);
            walk.field(format, "json_schema", at, |walk, inner, at| {
                walk.object(inner, at, &["name"], &["description", "schema", "strict"]);
            });
        }
        _ => walk.check(false, &format!("{at}.type"), "is no format"),
    }
}

/// A tool's message answers a call that the assistant has just made.
fn results_follow_calls(walk: &mut Walk<'_>, messages: &Value) {
    let mut open: Vec<&str> = Vec::new();
    for message in messages.as_array().into_iter().flatten() {
        if message["role"] == "tool" {
            let id = message["tool_call_id"].as_str().unwrap_or("");
            let why = "with role 'tool' must be a response to a preceding message with 'tool_calls'";
            walk.check(open.contains(&id), "messages", why);
            open.retain(|other| *other != id);
            continue;
        }
        walk.check(open.is_empty(), "messages", "must answer each of the 'tool_calls' before going on");
        let calls = message["tool_calls"].as_array().into_iter().flatten();
        open = calls.filter_map(|call| call["id"].as_str()).collect();
    }
    walk.check(open.is_empty(), "messages", "must answer each of the 'tool_calls'");
}
