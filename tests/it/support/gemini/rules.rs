//! What `generateContent` takes: the fields of the official SDK for Python, version 3.3.0, in camel case alone.

use serde_json::Value;

use super::super::fields::{Allowed, Fault, Places, Walk};

const CONFIG: &[&str] = &[
    "candidateCount",
    "enableEnhancedCivicAnswers",
    "frequencyPenalty",
    "imageConfig",
    "logprobs",
    "maxOutputTokens",
    "mediaResolution",
    "presencePenalty",
    "responseJsonSchema",
    "responseLogprobs",
    "responseMimeType",
    "responseModalities",
    "responseSchema",
    "seed",
    "speechConfig",
    "stopSequences",
    "temperature",
    "thinkingConfig",
    "topK",
    "topP",
];

/// What a schema of OpenAPI's kind may have; JSON Schema proper goes into the fields that are named after it.
const SCHEMA: &[&str] = &[
    "anyOf",
    "default",
    "description",
    "enum",
    "example",
    "format",
    "items",
    "maxItems",
    "maxLength",
    "maxProperties",
    "maximum",
    "minItems",
    "minLength",
    "minProperties",
    "minimum",
    "nullable",
    "pattern",
    "properties",
    "propertyOrdering",
    "required",
    "title",
    "type",
];

/// What a part may hold, one of them each, with the fields it must and may have.
type Holding = (&'static str, &'static [&'static str], &'static [&'static str]);
const HOLDINGS: &[Holding] = &[
    ("inlineData", &["mimeType", "data"], &["displayName"]),
    ("fileData", &["fileUri"], &["mimeType", "displayName"]),
    ("functionCall", &["name"], &["args", "id"]),
    ("functionResponse", &["name", "response"], &["id", "parts", "scheduling", "willContinue"]),
    ("executableCode", &["code", "language"], &["id"]),
    ("codeExecutionResult", &["outcome"], &["id", "output"]),
];

/// Returns the first fault of a body.
pub fn fault(body: &Value, allowed: &Allowed) -> Option<Fault> {
    let mut walk = Walk::new(allowed, Places::Brackets);
    let optional = &[
        "cachedContent",
        "generationConfig",
        "safetySettings",
        "serviceTier",
        "store",
        "systemInstruction",
        "toolConfig",
        "tools",
    ];
    walk.object(body, "", &["contents"], optional);
    walk.field(body, "contents", "", |walk, contents, at| {
        walk.check(contents.as_array().is_some_and(|all| !all.is_empty()), at, "contents is not specified");
        walk.list(contents, at, |walk, it, at| {
            content(walk, it, at);
            walk.check(
                it["role"] == "user" || it["role"] == "model",
                at,
                "please use a valid role: user, model",
            );
        });
        responses_follow_calls(walk, contents);
    });
    walk.field(body, "systemInstruction", "", content);
    walk.field(body, "generationConfig", "", config);
    walk.field(body, "safetySettings", "", |walk, all, at| {
        walk.list(all, at, |walk, it, at| walk.object(it, at, &["category", "threshold"], &[]));
    });
    walk.field(body, "tools", "", |walk, all, at| walk.list(all, at, tool));
    walk.field(body, "toolConfig", "", |walk, it, at| {
        walk.object(it, at, &[], &["functionCallingConfig", "retrievalConfig"]);
        walk.field(it, "functionCallingConfig", at, |walk, it, at| {
            walk.object(it, at, &[], &["allowedFunctionNames", "mode"]);
            let mode = it["mode"].as_str().unwrap_or("AUTO");
            walk.check(["AUTO", "ANY", "NONE", "VALIDATED"].contains(&mode), at, "is no mode");
        });
    });
    walk.end()
}

fn content(walk: &mut Walk<'_>, content: &Value, at: &str) {
    walk.object(content, at, &["parts"], &["role"]);
    walk.field(content, "parts", at, |walk, parts, at| {
        walk.check(
            parts.as_array().is_some_and(|all| !all.is_empty()),
            at,
            "contents.parts must not be empty",
        );
        walk.list(parts, at, part);
    });
}

fn part(walk: &mut Walk<'_>, part: &Value, at: &str) {
    let mut optional = vec!["mediaResolution", "text", "thought", "thoughtSignature", "videoMetadata"];
    optional.extend(HOLDINGS.iter().map(|(name, ..)| name));
    walk.object(part, at, &[], &optional);
    let held = HOLDINGS.iter().filter(|(name, ..)| part.get(*name).is_some()).count();
    let said = usize::from(part.get("text").is_some());
    walk.check(held + said == 1, at, "required oneof field 'data' must have one initialized field");
    for (name, required, optional) in HOLDINGS {
        walk.field(part, name, at, |walk, it, at| walk.object(it, at, required, optional));
    }
    walk.field(part, "functionCall", at, |walk, call, at| {
        walk.check(call.get("args").is_none_or(Value::is_object), at, "args must be an object");
    });
    walk.field(part, "functionResponse", at, |walk, it, at| {
        walk.check(it["response"].is_object(), at, "response must be an object");
    });
}

fn config(walk: &mut Walk<'_>, config: &Value, at: &str) {
    walk.object(config, at, &[], CONFIG);
    let has_schema = ["responseSchema", "responseJsonSchema"].iter().any(|name| config.get(*name).is_some());
    let is_json = config["responseMimeType"] == "application/json";
    walk.check(!has_schema || is_json, at, "a response schema needs the mime type application/json");
    walk.field(config, "responseSchema", at, schema);
    walk.field(config, "thinkingConfig", at, |walk, it, at| {
        walk.object(it, at, &[], &["includeThoughts", "thinkingBudget", "thinkingLevel"]);
    });
    walk.field(config, "stopSequences", at, |walk, all, at| {
        walk.check(all.as_array().is_some_and(|all| all.len() <= 5), at, "has more than 5 entries");
    });
}

fn tool(walk: &mut Walk<'_>, tool: &Value, at: &str) {
    let optional = &[
        "codeExecution",
        "computerUse",
        "fileSearch",
        "functionDeclarations",
        "googleMaps",
        "googleSearch",
        "urlContext",
    ];
    walk.object(tool, at, &[], optional);
    walk.field(tool, "functionDeclarations", at, |walk, all, at| {
        walk.list(all, at, |walk, it, at| {
            let optional = &[
                "behavior",
                "description",
                "parameters",
                "parametersJsonSchema",
                "response",
                "responseJsonSchema",
            ];
            walk.object(it, at, &["name"], optional);
            walk.field(it, "parameters", at, schema);
        });
    });
}

fn schema(walk: &mut Walk<'_>, of: &Value, at: &str) {
    walk.object(of, at, &[], SCHEMA);
    walk.field(of, "items", at, schema);
    walk.field(of, "anyOf", at, |walk, all, at| walk.list(all, at, schema));
    for (name, of) in of["properties"].as_object().into_iter().flatten() {
        schema(walk, of, &format!("{at}.properties[{name}]"));
    }
}

/// Responses come in the turn after the calls, as many as those.
fn responses_follow_calls(walk: &mut Walk<'_>, contents: &Value) {
    let mut called = 0;
    for content in contents.as_array().into_iter().flatten() {
        let parts = content["parts"].as_array().map_or(&[][..], Vec::as_slice);
        let count = |name: &str| parts.iter().filter(|part| part.get(name).is_some()).count();
        let why = "the number of function response parts must equal that of the function call turn before";
        walk.check(count("functionResponse") == called, "contents", why);
        called = count("functionCall");
    }
    walk.check(called == 0, "contents", "a function call turn must be followed by its responses");
}
