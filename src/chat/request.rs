//! A request for a generation, as every dialect means it.
//!
//! Fields are grouped by what they do to the answer. What shapes it is part of the key; what only says how it is
//! delivered, billed or observed is not, and lies in [`ChatRequest::carried`] or outside this type altogether.

use serde_json::{Map, Value};

use super::{Part, ToolCall};

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
    /// Anthropic's beta features that the caller switched on, sorted: they shape the answer, and no other vendor has
    /// them.
    pub betas: Vec<String>,
    /// What the caller wants kept in the vendor's prompt cache, and its like. It changes what a call costs and never what it answers:
    /// forwarded within the dialect, not keyed.
    pub cache_marks: Vec<CacheMark>,
    /// Fields we do not know, or that only one vendor has, kept whole. They may shape the answer, so they are part of
    /// the key.
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
            betas: Vec::new(),
            cache_marks: Vec::new(),
            unknown: Map::new(),
            carried: Map::new(),
            end_user: None,
        }
    }

    /// Returns the text of the last message if it is plain text of the user: the one thing that may differ in a
    /// semantic match. A tool result, a prefill, an image or a named speaker gives `None`.
    pub fn last_prompt(&self) -> Option<&str> {
        match self.messages.last()? {
            Message {
                role: Role::User,
                content,
                name: None,
                tool_call_id: None,
                is_error: false,
                unknown,
            } if unknown.is_empty() => match content.as_slice() {
                [Part::Text(text)] => Some(text),
                _ => None,
            },
            _ => None,
        }
    }

    /// Returns whether any of it is kept as its dialect wrote it, and so means nothing in another one.
    pub fn has_foreign(&self) -> bool {
        let in_message = |message: &Message| {
            let is_foreign = |part: &Part| matches!(part, Part::Other(_) | Part::Cited { .. });
            !message.unknown.is_empty() || message.content.iter().any(is_foreign)
        };
        !self.unknown.is_empty()
            || self.messages.iter().any(in_message)
            || self.tools.iter().any(|tool| matches!(tool, Tool::Other(_)))
            || matches!(self.tool_choice, Some(ToolChoice::Other(_)))
            || matches!(self.output_format, OutputFormat::Other(_))
    }

    /// Returns the mark that stands at a place in this field.
    pub fn cache_mark(&self, place: MarkedPlace, field: &str) -> Option<&Value> {
        let mut marks = self.cache_marks.iter();
        marks.find(|mark| mark.place == place && mark.field == field).map(|mark| &mark.mark)
    }

    /// Returns how many answers are asked for.
    pub fn choices(&self) -> u32 {
        self.sampling.n.unwrap_or(1)
    }

    /// Returns whether the model is asked to think before it speaks, so that its first word may take a while.
    pub fn asks_for_reasoning(&self) -> bool {
        let effort = self.sampling.reasoning_effort.as_deref();
        let thinks = |thinking: &Value| thinking.get("type").is_none_or(|kind| kind != "disabled");
        effort.is_some_and(|effort| effort != "none")
            || (self.dialect == Dialect::Anthropic && self.unknown.get("thinking").is_some_and(thinks))
    }
}

/// A wire format that callers speak to us.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum Dialect {
    /// `/v1/generate`.
    #[default]
    Native,
    /// OpenAI Chat Completions.
    OpenAi,
    /// OpenAI Responses.
    Responses,
    /// Anthropic Messages.
    Anthropic,
}

impl Dialect {
    /// Returns the metric label.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Native => "native",
            Self::OpenAi => "openai",
            Self::Responses => "responses",
            Self::Anthropic => "anthropic",
        }
    }
}

/// A mark up to which the vendor is to keep the prompt in its cache (`cache_control`), or another field of a part or
/// tool that says how a call is paid or delivered, and nothing about its answer.
#[derive(Clone, Debug, PartialEq)]
pub struct CacheMark {
    pub place: MarkedPlace,
    /// The dialect's name for it.
    pub field: &'static str,
    /// The mark as the dialect wrote it.
    pub mark: Value,
}

/// What a mark stands at, by its place in the request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum MarkedPlace {
    Tool(usize),
    /// A message as a whole, such as the result of a tool.
    Message(usize),
    Part {
        message: usize,
        part: usize,
    },
}

/// One message of the conversation.
#[derive(Clone, Debug, PartialEq)]
pub struct Message {
    pub role: Role,
    pub content: Vec<Part>,
    /// The participant's name, where the dialect has one.
    pub name: Option<String>,
    /// The call this message answers, for [`Role::Tool`].
    pub tool_call_id: Option<String>,
    /// Whether the tool failed, for [`Role::Tool`].
    pub is_error: bool,
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
            tool_call_id: None,
            is_error: false,
            unknown: Map::new(),
        }
    }

    /// Returns the calls the assistant made in this turn.
    pub fn tool_calls(&self) -> impl Iterator<Item = &ToolCall> {
        self.content.iter().filter_map(Part::tool_call)
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

/// What the answer's text must look like.
#[derive(Clone, Debug, Default, PartialEq)]
pub enum OutputFormat {
    #[default]
    Text,
    /// Any JSON object.
    JsonObject,
    /// JSON that fits a schema.
    JsonSchema(JsonSchema),
    /// A format we do not know.
    Other(Value),
}

/// What an answer in JSON must look like.
#[derive(Clone, Debug, PartialEq)]
pub struct JsonSchema {
    /// OpenAI insists on one; others have none.
    pub name: Option<String>,
    pub description: Option<String>,
    pub schema: Option<Value>,
    pub strict: Option<bool>,
}

/// How tokens are drawn. An absent field is the vendor's default, which is not the same as any value.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Sampling {
    pub temperature: Option<f64>,
    pub top_p: Option<f64>,
    /// How many of the likeliest tokens are drawn from; OpenAI itself has no field for it.
    pub top_k: Option<u32>,
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
