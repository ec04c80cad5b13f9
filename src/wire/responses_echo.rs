//! The fields of a Responses request that its answers repeat.

use serde_json::{Map, Value, json};

use crate::chat::{ChatRequest, JsonSchema, OutputFormat, Tool, ToolChoice};

/// What a request said, on its way into its answers.
pub(super) struct Echo<'a> {
    pub(super) request: &'a ChatRequest,
    pub(super) instructions: Option<String>,
    pub(super) metadata: Map<String, Value>,
    pub(super) top_logprobs: u32,
}

impl Echo<'_> {
    /// Returns the fields, with OpenAI's defaults where the request said nothing. `store` is false whatever was asked
    /// and `summary` is `null`, since that is how the answer was made.
    pub(super) fn into_fields(self) -> Map<String, Value> {
        let Self { request, instructions, metadata, top_logprobs } = self;
        let ChatRequest {
            tools,
            tool_choice,
            parallel_tool_calls,
            output_format,
            sampling,
            limit,
            carried,
            ..
        } = request;
        let mut text = Map::from_iter([("format".to_owned(), format_json(output_format))]);
        if let Some(verbosity) = &sampling.verbosity {
            text.insert("verbosity".to_owned(), verbosity.as_str().into());
        }
        let said = json!({
            "background": false,
            "instructions": instructions,
            "max_output_tokens": limit.map(|limit| limit.tokens),
            "max_tool_calls": null,
            "metadata": metadata,
            "parallel_tool_calls": parallel_tool_calls.unwrap_or(true),
            "previous_response_id": null,
            "prompt_cache_key": carried.get("prompt_cache_key"),
            "prompt_cache_retention": carried.get("prompt_cache_retention"),
            "reasoning": {"effort": sampling.reasoning_effort, "summary": null},
            "safety_identifier": carried.get("safety_identifier"),
            "service_tier": carried.get("service_tier"),
            "store": false,
            "temperature": sampling.temperature.unwrap_or(1.0),
            "text": text,
            "tool_choice": tool_choice.as_ref().map_or_else(|| "auto".into(), tool_choice_json),
            "tools": tools.iter().map(tool_json).collect::<Vec<_>>(),
            "top_logprobs": top_logprobs,
            "top_p": sampling.top_p.unwrap_or(1.0),
            "truncation": "disabled",
            "user": carried.get("user"),
        });
        match said {
            Value::Object(fields) => fields,
            _ => unreachable!("an object was written"),
        }
    }
}

fn format_json(format: &OutputFormat) -> Value {
    match format {
        OutputFormat::Text => json!({"type": "text"}),
        OutputFormat::JsonObject => json!({"type": "json_object"}),
        OutputFormat::JsonSchema(JsonSchema { name, description, schema, strict }) => json!({
            "type": "json_schema", "name": name, "description": description, "schema": schema, "strict": strict,
        }),
        OutputFormat::Other(value) => value.clone(),
    }
}

fn tool_json(tool: &Tool) -> Value {
    match tool {
        Tool::Function { name, description, parameters, strict } => json!({
            "type": "function", "name": name, "description": description, "parameters": parameters, "strict": strict,
        }),
        Tool::Other(value) => value.clone(),
    }
}

fn tool_choice_json(choice: &ToolChoice) -> Value {
    match choice {
        ToolChoice::Auto => "auto".into(),
        ToolChoice::None => "none".into(),
        ToolChoice::Required => "required".into(),
        ToolChoice::Function(name) => json!({"type": "function", "name": name}),
        ToolChoice::Other(value) => value.clone(),
    }
}
