//! The stored form of a request; see `record.rs`.

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use super::part_record::{PartRecord, part_record};
use super::record::{DialectRecord, VERSION, dialect_record, present};
use crate::chat::{
    ChatRequest, JsonSchema, LimitSpelling, Message, OutputFormat, OutputLimit, Role, Sampling, Tool,
    ToolChoice,
};

#[derive(Serialize, Deserialize)]
pub(super) struct RequestRecord {
    pub(super) v: u32,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    model: Option<String>,
    messages: Vec<MessageRecord>,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    tools: Vec<ToolRecord>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    tool_choice: Option<ToolChoiceRecord>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    parallel_tool_calls: Option<bool>,
    output_format: OutputFormatRecord,
    sampling: SamplingRecord,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    limit: Option<LimitRecord>,
    dialect: DialectRecord,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    betas: Vec<String>,
    #[serde(default, skip_serializing_if = "Map::is_empty")]
    unknown: Map<String, Value>,
    #[serde(default, skip_serializing_if = "Map::is_empty")]
    carried: Map<String, Value>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    end_user: Option<String>,
}

impl RequestRecord {
    /// Writes a request with these of its messages.
    pub(super) fn new(request: &ChatRequest, messages: &[Message]) -> Self {
        let ChatRequest {
            model,
            messages: _, // The caller says how many of them.
            tools,
            tool_choice,
            parallel_tool_calls,
            output_format,
            sampling,
            limit,
            dialect,
            betas,
            cache_marks: _, // They were for that one call.
            unknown,
            carried,
            end_user,
        } = request;
        Self {
            v: VERSION,
            model: model.clone(),
            messages: messages.iter().map(message_record).collect(),
            tools: tools.iter().map(tool_record).collect(),
            tool_choice: tool_choice.as_ref().map(tool_choice_record),
            parallel_tool_calls: *parallel_tool_calls,
            output_format: output_format_record(output_format),
            sampling: sampling_record(sampling),
            limit: limit.map(limit_record),
            dialect: dialect_record(*dialect),
            betas: betas.clone(),
            unknown: unknown.clone(),
            carried: carried.clone(),
            end_user: end_user.clone(),
        }
    }

    pub(super) fn into_request(self) -> ChatRequest {
        ChatRequest {
            model: self.model,
            messages: self.messages.into_iter().map(MessageRecord::into_message).collect(),
            tools: self.tools.into_iter().map(ToolRecord::into_tool).collect(),
            tool_choice: self.tool_choice.map(ToolChoiceRecord::into_tool_choice),
            parallel_tool_calls: self.parallel_tool_calls,
            output_format: self.output_format.into_output_format(),
            sampling: self.sampling.into_sampling(),
            limit: self.limit.map(LimitRecord::into_limit),
            dialect: self.dialect.into_dialect(),
            betas: self.betas,
            cache_marks: Vec::new(),
            unknown: self.unknown,
            carried: self.carried,
            end_user: self.end_user,
        }
    }
}

#[derive(Serialize, Deserialize)]
struct MessageRecord {
    role: RoleRecord,
    content: Vec<PartRecord>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    name: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    tool_call_id: Option<String>,
    #[serde(default, skip_serializing_if = "is_false")]
    is_error: bool,
    #[serde(default, skip_serializing_if = "Map::is_empty")]
    unknown: Map<String, Value>,
}

#[derive(Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
enum RoleRecord {
    System,
    Developer,
    User,
    Assistant,
    Tool,
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde passes a reference")]
fn is_false(yes: &bool) -> bool {
    !yes
}

fn message_record(message: &Message) -> MessageRecord {
    let Message { role, content, name, tool_call_id, is_error, unknown } = message;
    MessageRecord {
        role: match role {
            Role::System => RoleRecord::System,
            Role::Developer => RoleRecord::Developer,
            Role::User => RoleRecord::User,
            Role::Assistant => RoleRecord::Assistant,
            Role::Tool => RoleRecord::Tool,
        },
        content: content.iter().cloned().map(part_record).collect(),
        name: name.clone(),
        tool_call_id: tool_call_id.clone(),
        is_error: *is_error,
        unknown: unknown.clone(),
    }
}

impl MessageRecord {
    fn into_message(self) -> Message {
        Message {
            role: match self.role {
                RoleRecord::System => Role::System,
                RoleRecord::Developer => Role::Developer,
                RoleRecord::User => Role::User,
                RoleRecord::Assistant => Role::Assistant,
                RoleRecord::Tool => Role::Tool,
            },
            content: self.content.into_iter().map(PartRecord::into_part).collect(),
            name: self.name,
            tool_call_id: self.tool_call_id,
            is_error: self.is_error,
            unknown: self.unknown,
        }
    }
}

#[derive(Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
enum ToolRecord {
    Function {
        name: String,
        #[serde(default, skip_serializing_if = "Option::is_none")]
        description: Option<String>,
        #[serde(default, skip_serializing_if = "Option::is_none", deserialize_with = "present")]
        parameters: Option<Value>,
        #[serde(default, skip_serializing_if = "Option::is_none")]
        strict: Option<bool>,
    },
    Other(Value),
}

fn tool_record(tool: &Tool) -> ToolRecord {
    match tool.clone() {
        Tool::Function { name, description, parameters, strict } => {
            ToolRecord::Function { name, description, parameters, strict }
        }
        Tool::Other(value) => ToolRecord::Other(value),
    }
}

impl ToolRecord {
    fn into_tool(self) -> Tool {
        match self {
            Self::Function { name, description, parameters, strict } => {
                Tool::Function { name, description, parameters, strict }
            }
            Self::Other(value) => Tool::Other(value),
        }
    }
}

#[derive(Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
enum ToolChoiceRecord {
    Auto,
    None,
    Required,
    Function(String),
    Other(Value),
}

fn tool_choice_record(choice: &ToolChoice) -> ToolChoiceRecord {
    match choice.clone() {
        ToolChoice::Auto => ToolChoiceRecord::Auto,
        ToolChoice::None => ToolChoiceRecord::None,
        ToolChoice::Required => ToolChoiceRecord::Required,
        ToolChoice::Function(name) => ToolChoiceRecord::Function(name),
        ToolChoice::Other(value) => ToolChoiceRecord::Other(value),
    }
}

impl ToolChoiceRecord {
    fn into_tool_choice(self) -> ToolChoice {
        match self {
            Self::Auto => ToolChoice::Auto,
            Self::None => ToolChoice::None,
            Self::Required => ToolChoice::Required,
            Self::Function(name) => ToolChoice::Function(name),
            Self::Other(value) => ToolChoice::Other(value),
        }
    }
}

#[derive(Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
enum OutputFormatRecord {
    Text,
    JsonObject,
    JsonSchema {
        #[serde(default, skip_serializing_if = "Option::is_none")]
        name: Option<String>,
        #[serde(default, skip_serializing_if = "Option::is_none")]
        description: Option<String>,
        #[serde(default, skip_serializing_if = "Option::is_none", deserialize_with = "present")]
        schema: Option<Value>,
        #[serde(default, skip_serializing_if = "Option::is_none")]
        strict: Option<bool>,
    },
    Other(Value),
}

fn output_format_record(format: &OutputFormat) -> OutputFormatRecord {
    match format.clone() {
        OutputFormat::Text => OutputFormatRecord::Text,
        OutputFormat::JsonObject => OutputFormatRecord::JsonObject,
        OutputFormat::JsonSchema(JsonSchema { name, description, schema, strict }) => {
            OutputFormatRecord::JsonSchema { name, description, schema, strict }
        }
        OutputFormat::Other(value) => OutputFormatRecord::Other(value),
    }
}

impl OutputFormatRecord {
    fn into_output_format(self) -> OutputFormat {
        match self {
            Self::Text => OutputFormat::Text,
            Self::JsonObject => OutputFormat::JsonObject,
            Self::JsonSchema { name, description, schema, strict } => {
                OutputFormat::JsonSchema(JsonSchema { name, description, schema, strict })
            }
            Self::Other(value) => OutputFormat::Other(value),
        }
    }
}

#[derive(Serialize, Deserialize)]
struct SamplingRecord {
    #[serde(default, skip_serializing_if = "Option::is_none")]
    temperature: Option<f64>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    top_p: Option<f64>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    top_k: Option<u32>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    presence_penalty: Option<f64>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    frequency_penalty: Option<f64>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    seed: Option<i64>,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    stop: Vec<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    n: Option<u32>,
    #[serde(default, skip_serializing_if = "Option::is_none", deserialize_with = "present")]
    logit_bias: Option<Value>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    logprobs: Option<u32>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    reasoning_effort: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    verbosity: Option<String>,
}

fn sampling_record(sampling: &Sampling) -> SamplingRecord {
    let Sampling {
        temperature,
        top_p,
        top_k,
        presence_penalty,
        frequency_penalty,
        seed,
        stop,
        n,
        logit_bias,
        logprobs,
        reasoning_effort,
        verbosity,
    } = sampling.clone();
    SamplingRecord {
        temperature,
        top_p,
        top_k,
        presence_penalty,
        frequency_penalty,
        seed,
        stop,
        n,
        logit_bias,
        logprobs,
        reasoning_effort,
        verbosity,
    }
}

impl SamplingRecord {
    fn into_sampling(self) -> Sampling {
        Sampling {
            temperature: self.temperature,
            top_p: self.top_p,
            top_k: self.top_k,
            presence_penalty: self.presence_penalty,
            frequency_penalty: self.frequency_penalty,
            seed: self.seed,
            stop: self.stop,
            n: self.n,
            logit_bias: self.logit_bias,
            logprobs: self.logprobs,
            reasoning_effort: self.reasoning_effort,
            verbosity: self.verbosity,
        }
    }
}

#[derive(Serialize, Deserialize)]
struct LimitRecord {
    tokens: u32,
    spelling: LimitSpellingRecord,
}

#[derive(Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
enum LimitSpellingRecord {
    MaxTokens,
    MaxCompletionTokens,
}

fn limit_record(limit: OutputLimit) -> LimitRecord {
    let OutputLimit { tokens, spelling } = limit;
    let spelling = match spelling {
        LimitSpelling::MaxTokens => LimitSpellingRecord::MaxTokens,
        LimitSpelling::MaxCompletionTokens => LimitSpellingRecord::MaxCompletionTokens,
    };
    LimitRecord { tokens, spelling }
}

impl LimitRecord {
    fn into_limit(self) -> OutputLimit {
        let spelling = match self.spelling {
            LimitSpellingRecord::MaxTokens => LimitSpelling::MaxTokens,
            LimitSpellingRecord::MaxCompletionTokens => LimitSpelling::MaxCompletionTokens,
        };
        OutputLimit { tokens: self.tokens, spelling }
    }
}
