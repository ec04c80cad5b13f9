//! A finished answer.

use std::borrow::Cow;

use serde_json::{Map, Value};

use super::{Delta, Dialect, Part, Reasoning, ToolCall};

/// A finished answer.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct ChatResponse {
    /// The vendor's id of the generation.
    pub id: String,
    /// When it was made, in Unix seconds.
    pub created: i64,
    /// The model as the vendor names it.
    pub model: String,
    pub choices: Vec<Choice>,
    /// Tokens as the vendor counted them; `None` where it did not say.
    pub usage: Option<Usage>,
    /// The wire format it was written in: fields that we do not know are shown only to callers who speak it.
    /// [`Dialect::Native`] where it holds none of them.
    pub dialect: Dialect,
    /// Fields we do not know (`system_fingerprint`, …).
    pub unknown: Map<String, Value>,
}

impl ChatResponse {
    /// Returns the text of the first choice, empty where it has none.
    pub fn text(&self) -> Cow<'_, str> {
        self.choices.first().and_then(Choice::text).unwrap_or_default()
    }

    /// Returns the pieces that a stream of this answer would have had, text cut at character boundaries. The usage comes
    /// early, since some formats tell it before the first word.
    pub fn deltas(&self) -> Vec<Delta> {
        let mut deltas = vec![Delta::Start {
            id: self.id.clone(),
            created: self.created,
            model: self.model.clone(),
            dialect: self.dialect,
            unknown: self.unknown.clone(),
        }];
        deltas.extend(self.usage.clone().map(Delta::Usage));
        for choice in &self.choices {
            choice.push_deltas(&mut deltas);
        }
        deltas
    }
}

/// One of the answers to a request; nearly always the only one.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Choice {
    pub index: u32,
    /// What was said, thought and called, in order.
    pub content: Vec<Part>,
    /// Why generation ended; `None` means it did not end, and then the answer is not finished.
    pub finish: Option<FinishReason>,
    pub logprobs: Option<Value>,
    /// Message fields we do not know (`annotations`, …).
    pub unknown: Map<String, Value>,
}

/// Length of the text in one replayed piece, in bytes, about that of a few tokens.
const PIECE_BYTES: usize = 24;

impl Choice {
    /// Returns all its text, without copying where it is one piece; `None` where there is none.
    pub fn text(&self) -> Option<Cow<'_, str>> {
        let mut texts = self.content.iter().filter_map(Part::text);
        let first = Cow::Borrowed(texts.next()?);
        Some(texts.fold(first, |text, more| text + more))
    }

    /// Returns the vendor's own words of refusal.
    pub fn refusal(&self) -> Option<&str> {
        self.content.iter().find_map(|part| match part {
            Part::Refusal(words) => Some(words.as_str()),
            _ => None,
        })
    }

    /// Returns the calls it makes.
    pub fn tool_calls(&self) -> impl Iterator<Item = &ToolCall> + Clone {
        self.content.iter().filter_map(Part::tool_call)
    }

    /// Returns whether it makes any. Calls of a shape that we do not understand stay whole among the unknown fields.
    pub fn calls_tools(&self) -> bool {
        let is_unknown_call =
            ["tool_calls", "function_call"].iter().any(|field| self.unknown.contains_key(*field));
        is_unknown_call || self.tool_calls().next().is_some()
    }

    fn push_deltas(&self, deltas: &mut Vec<Delta>) {
        let Self { index: choice, content, finish, logprobs, unknown } = self;
        let choice = *choice;
        for (field, value) in unknown {
            deltas.push(Delta::Unknown { choice, field: field.clone(), value: value.clone() });
        }
        let mut calls = 0;
        for (at, part) in content.iter().enumerate() {
            let before = at.checked_sub(1).map(|at| &content[at]);
            if before.is_some_and(|before| needs_break(before, part)) {
                deltas.push(Delta::Break { choice });
            }
            push_part(choice, part, &mut calls, deltas);
        }
        if let Some(value) = logprobs {
            deltas.push(Delta::Logprobs { choice, value: value.clone() });
        }
        if let Some(reason) = finish {
            deltas.push(Delta::Finish { choice, reason: reason.clone() });
        }
    }
}

/// Returns whether the pieces of a part would run into the one before it, or be taken for nothing.
fn needs_break(before: &Part, part: &Part) -> bool {
    match (before, part) {
        (_, Part::Text(text) | Part::Cited { text, .. }) => before.text().is_some() || text.is_empty(),
        (Part::Reasoning(_), Part::Reasoning(_)) | (Part::Refusal(_), Part::Refusal(_)) => true,
        _ => false,
    }
}

fn push_part(choice: u32, part: &Part, calls: &mut u32, deltas: &mut Vec<Delta>) {
    match part {
        Part::Text(text) => {
            deltas.extend(pieces(text).map(|piece| Delta::Text { choice, text: piece.to_owned() }));
        }
        Part::Cited { text, citations } => {
            deltas.extend(pieces(text).map(|piece| Delta::Text { choice, text: piece.to_owned() }));
            deltas.extend(citations.iter().map(|value| Delta::Citation { choice, value: value.clone() }));
        }
        Part::Reasoning(Reasoning { text, signature }) => {
            let piece = |text: &str| Delta::Reasoning { choice, text: text.to_owned(), signature: None };
            deltas.extend(pieces(text).map(piece));
            if signature.is_some() {
                deltas.push(Delta::Reasoning { choice, text: String::new(), signature: signature.clone() });
            }
        }
        Part::Refusal(text) => {
            deltas.extend(pieces(text).map(|piece| Delta::Refusal { choice, text: piece.to_owned() }));
        }
        Part::ToolCall(ToolCall { id, name, arguments, signature }) => {
            deltas.push(Delta::ToolCall {
                choice,
                index: *calls,
                id: Some(id.clone()),
                name: Some(name.clone()),
                arguments: arguments.clone(),
                signature: signature.clone(),
            });
            *calls += 1;
        }
        Part::Image(_) | Part::Other(_) => deltas.push(Delta::Part { choice, part: part.clone() }),
    }
}

/// Cuts a text into pieces of about [`PIECE_BYTES`]; an empty text is one empty piece, since it was said.
fn pieces(text: &str) -> impl Iterator<Item = &str> {
    let mut rest = Some(text);
    std::iter::from_fn(move || {
        let text = rest.take()?;
        let cut = text.ceil_char_boundary(PIECE_BYTES.min(text.len()));
        let (piece, tail) = text.split_at(cut);
        if !tail.is_empty() {
            rest = Some(tail);
        }
        Some(piece)
    })
}

/// Why generation ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum FinishReason {
    Stop,
    /// One of the request's stop texts came up: this one.
    StopText(String),
    /// The output limit was reached: the answer is cut.
    Length,
    ToolCalls,
    /// A filter of the vendor cut or withheld the answer.
    ContentFilter,
    /// The model would not answer.
    Refusal,
    /// A reason we do not know, in the vendor's word.
    Other(String),
}

impl FinishReason {
    /// Returns OpenAI's word for it.
    pub fn name(&self) -> &str {
        match self {
            Self::Stop | Self::StopText(_) => "stop",
            Self::Length => "length",
            Self::ToolCalls => "tool_calls",
            Self::ContentFilter | Self::Refusal => "content_filter",
            Self::Other(word) => word,
        }
    }

    /// Returns what a caller of another format than the vendor's is told, which knows none of its own words. An answer
    /// that ended in a way we do not know is told as a cut one, never as one that ended cleanly.
    pub const fn abroad(&self) -> &Self {
        match self {
            Self::Other(_) => &Self::Length,
            Self::Stop
            | Self::StopText(_)
            | Self::Length
            | Self::ToolCalls
            | Self::ContentFilter
            | Self::Refusal => self,
        }
    }

    /// Parses OpenAI's word.
    pub fn parse(word: &str) -> Self {
        match word {
            // The latter two are what Together and Hugging Face have said.
            "stop" | "eos" | "eos_token" => Self::Stop,
            "length" => Self::Length,
            "tool_calls" => Self::ToolCalls,
            "content_filter" => Self::ContentFilter,
            other => Self::Other(other.to_owned()),
        }
    }
}

/// Tokens of one generation.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Usage {
    /// Tokens of the request, those that the vendor had in its own cache included.
    pub prompt_tokens: u64,
    /// Tokens of the answer, reasoning included.
    pub completion_tokens: u64,
    /// How many of the request's tokens came from the vendor's prompt cache.
    pub cached_tokens: Option<u64>,
    /// How many of them were written to it.
    pub cache_write_tokens: Option<u64>,
    /// How many of the answer's tokens were thoughts.
    pub reasoning_tokens: Option<u64>,
    /// Whether we counted ourselves because the vendor did not.
    pub is_estimated: bool,
    /// Details we do not interpret.
    pub unknown: Map<String, Value>,
}

impl Usage {
    /// Returns the tokens of two calls together.
    #[must_use]
    pub fn plus(&self, other: &Self) -> Self {
        let sum = |one: Option<u64>, other: Option<u64>| match (one, other) {
            (None, None) => None,
            (one, other) => Some(one.unwrap_or(0).saturating_add(other.unwrap_or(0))),
        };
        Self {
            prompt_tokens: self.prompt_tokens.saturating_add(other.prompt_tokens),
            completion_tokens: self.completion_tokens.saturating_add(other.completion_tokens),
            cached_tokens: sum(self.cached_tokens, other.cached_tokens),
            cache_write_tokens: sum(self.cache_write_tokens, other.cache_write_tokens),
            reasoning_tokens: sum(self.reasoning_tokens, other.reasoning_tokens),
            is_estimated: self.is_estimated || other.is_estimated,
            unknown: Map::new(),
        }
    }
}
