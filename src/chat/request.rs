//! A request for a generation, as every dialect means it.
//!
//! Fields are grouped by what they do to the answer. What shapes it is part of the key; what only says how it is
//! delivered, billed or observed is not, and lies in [`ChatRequest::carried`] or outside this type altogether.

use serde_json::{Map, Value};

/// A request for a generation.
#[derive(Clone, Debug, PartialEq)]
pub struct ChatRequest {
    /// The model as the caller named it; `None` means the alias `default`.
    pub model: Option<String>,
    /// System text, earlier turns and the last turn, in order; never empty.
    pub messages: Vec<Message>,
    /// Tools the model may call.
    pub tools: Vec<Tool>,
    /// Which of them it may, must or must not call.
    pub tool_choice: Option<ToolChoice>,
    /// Whether it may call several at once.
    pub parallel_tool_calls: Option<bool>,
    /// What the answer's text must look like.
    pub output_format: OutputFormat,
    /// How tokens are drawn.
    pub sampling: Sampling,
    /// The most tokens the answer may have. Not part of the key: see [`super::Entry::serves_limit`].
    pub limit: Option<OutputLimit>,
    /// The wire format the request came in; what we do not understand only travels to upstreams that speak it.
    pub dialect: Dialect,
    /// Fields we do not know, kept whole. They may shape the answer, so they are part of the key.
    pub unknown: Map<String, Value>,
    /// Fields we know that leave the answer's text alone (`user`, `metadata`, `service_tier`, …): forwarded, not keyed.
    pub carried: Map<String, Value>,
    /// The end user the caller speaks for; part of the key only with scope `user`.
    pub end_user: Option<String>,
}

impl ChatRequest {
    /// Returns a plain one-question request with everything else left at its default.
    pub fn from_prompt(prompt: impl Into<String>) -> Self {
        Self {
            model: None,
            messages: vec![Message::text(Role::User, prompt)],
            tools: Vec::new(),
            tool_choice: None,
            parallel_tool_calls: None,
            output_format: OutputFormat::Text,
            sampling: Sampling::default(),
            limit: None,
            dialect: Dialect::Native,
            unknown: Map::new(),
            carried: Map::new(),
            end_user: None,
        }
    }

    /// Returns the text of the last message if it is plain text of the user: the one thing that may differ in a
    /// semantic match. A tool result, a prefill, an image or a named speaker gives `None`.
    pub fn last_prompt(&self) -> Option<&str> {
        match self.messages.last()? {
            Message { role: Role::User, content, name: None, tool_calls, tool_call_id: None, unknown }
                if tool_calls.is_empty() && unknown.is_empty() =>
            {
                match content.as_slice() {
                    [Part::Text(text)] => Some(text),
                    _ => None,
                }
            }
            _ => None,
        }
    }

    /// Returns how many answers are asked for.
    pub fn choices(&self) -> u32 {
        self.sampling.n.unwrap_or(1)
    }
}

/// The wire format of a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Dialect {
    /// `/v1/generate`.
    Native,
    /// OpenAI Chat Completions.
    OpenAi,
}

impl Dialect {
    /// Returns the metric label.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Native => "native",
            Self::OpenAi => "openai",
        }
    }
}

/// One message of the conversation.
#[derive(Clone, Debug, PartialEq)]
pub struct Message {
    pub role: Role,
    pub content: Vec<Part>,
    /// The participant's name, where the dialect has one.
    pub name: Option<String>,
    /// Calls the assistant made in this turn.
    pub tool_calls: Vec<ToolCall>,
    /// The call this message answers, for [`Role::Tool`].
    pub tool_call_id: Option<String>,
    /// Fields we do not know, part of the key.
    pub unknown: Map<String, Value>,
}

impl Message {
    /// Returns a message that is one piece of text.
    pub fn text(role: Role, text: impl Into<String>) -> Self {
        Self {
            role,
            content: vec![Part::Text(text.into())],
            name: None,
            tool_calls: Vec::new(),
            tool_call_id: None,
            unknown: Map::new(),
        }
    }
}

/// Who speaks.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Role {
    System,
    Developer,
    User,
    Assistant,
    Tool,
}

impl Role {
    /// Returns OpenAI's word for it, which is also the stored one.
    pub const fn name(self) -> &'static str {
        match self {
            Self::System => "system",
            Self::Developer => "developer",
            Self::User => "user",
            Self::Assistant => "assistant",
            Self::Tool => "tool",
        }
    }

    /// Returns whether it speaks for whoever built the application.
    pub const fn is_instruction(self) -> bool {
        matches!(self, Self::System | Self::Developer)
    }

    /// Parses [`Role::name`].
    pub fn parse(name: &str) -> Option<Self> {
        [Self::System, Self::Developer, Self::User, Self::Assistant, Self::Tool]
            .into_iter()
            .find(|role| role.name() == name)
    }
}

/// A piece of a message.
#[derive(Clone, Debug, PartialEq)]
pub enum Part {
    Text(String),
    /// An image, a sound, a file or whatever comes next, kept as the dialect wrote it.
    Other(Map<String, Value>),
}

/// A function the model may call.
#[derive(Clone, Debug, PartialEq)]
pub enum Tool {
    Function {
        name: String,
        description: Option<String>,
        /// JSON Schema of the arguments.
        parameters: Option<Value>,
        strict: Option<bool>,
    },
    /// A vendor's own tool, kept as the dialect wrote it.
    Other(Value),
}

/// Which tool is to be called.
#[derive(Clone, Debug, PartialEq)]
pub enum ToolChoice {
    Auto,
    None,
    Required,
    Function(String),
    Other(Value),
}

/// A call of a tool, as the model wrote it.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct ToolCall {
    pub id: String,
    pub name: String,
    /// The arguments' JSON text, byte for byte.
    pub arguments: String,
}

/// What the answer's text must look like.
#[derive(Clone, Debug, Default, PartialEq)]
pub enum OutputFormat {
    #[default]
    Text,
    /// Any JSON object.
    JsonObject,
    /// JSON that fits a schema: the dialect's whole `json_schema` object.
    JsonSchema(Value),
    /// A format we do not know.
    Other(Value),
}

/// How tokens are drawn. An absent field is the vendor's default, which is not the same as any value.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Sampling {
    pub temperature: Option<f64>,
    pub top_p: Option<f64>,
    pub presence_penalty: Option<f64>,
    pub frequency_penalty: Option<f64>,
    pub seed: Option<i64>,
    /// Texts at which the answer ends.
    pub stop: Vec<String>,
    /// How many answers; 1 is stored as `None`.
    pub n: Option<u32>,
    pub logit_bias: Option<Value>,
    /// Number of alternatives per token; `Some(0)` asks for log probabilities without alternatives.
    pub logprobs: Option<u32>,
    pub reasoning_effort: Option<String>,
    pub verbosity: Option<String>,
}

/// The most tokens an answer may have, and how the caller spelled it: some models refuse the other spelling.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct OutputLimit {
    pub tokens: u32,
    pub spelling: LimitSpelling,
}

/// The field that carried the output limit.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LimitSpelling {
    MaxTokens,
    MaxCompletionTokens,
}
