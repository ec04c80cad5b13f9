//! What a Responses answer is made of: items, written alike whole and in a stream.

use std::borrow::Cow;

use serde::ser::SerializeMap;
use serde::{Serialize, Serializer};
use serde_json::Value;

use crate::chat::{Choice, Part, Reasoning, ToolCall};

/// An output item.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Item<'a> {
    /// What the model thought. The vendor's seal on it is not shown: it opens nothing in this dialect.
    Reasoning(Cow<'a, str>),
    /// What it said without a thought or a call in between.
    Message(Vec<Words<'a>>),
    Call {
        id: Cow<'a, str>,
        name: Cow<'a, str>,
        arguments: Cow<'a, str>,
    },
}

impl Item<'_> {
    /// Returns the id of the item at this place, which is the same in every replay of the answer.
    pub(super) fn id(&self, answer: &str, at: usize) -> String {
        let kind = match self {
            Self::Reasoning(_) => "rs",
            Self::Message(_) => "msg",
            Self::Call { .. } => "fc",
        };
        format!("{kind}_{answer}_{at}")
    }

    /// Returns whether it has text, to which log probabilities belong.
    pub(super) fn has_text(&self) -> bool {
        matches!(self, Self::Message(words) if words.iter().any(|words| matches!(words, Words::Text(_))))
    }
}

/// A piece of a message.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Words<'a> {
    Text(Cow<'a, str>),
    Refusal(Cow<'a, str>),
}

impl Words<'_> {
    /// Returns the words themselves.
    pub(super) fn as_str(&self) -> &str {
        match self {
            Self::Text(words) | Self::Refusal(words) => words,
        }
    }

    /// Returns whether the other words are of the same kind.
    pub(super) const fn is_like(&self, other: &Words<'_>) -> bool {
        matches!((self, other), (Self::Text(_), Words::Text(_)) | (Self::Refusal(_), Words::Refusal(_)))
    }

    /// Returns the beginning of words of this kind.
    pub(super) const fn emptied(&self) -> Words<'static> {
        match self {
            Self::Text(_) => Words::Text(Cow::Borrowed("")),
            Self::Refusal(_) => Words::Refusal(Cow::Borrowed("")),
        }
    }

    /// Goes on with more of the same.
    pub(super) fn push_str(&mut self, more: &str) {
        match self {
            Self::Text(words) | Self::Refusal(words) => words.to_mut().push_str(more),
        }
    }

    /// Returns the form in which it is written.
    pub(super) fn out<'a>(&'a self, logprobs: &'a [Value]) -> OutPart<'a> {
        match self {
            Self::Text(text) => OutPart::OutputText { annotations: NONE, logprobs, text },
            Self::Refusal(refusal) => OutPart::Refusal { refusal },
        }
    }
}

/// Returns the items of a choice. What has no words is no item; pictures, sources and whatever only its own dialect
/// understands have no place among them.
pub(super) fn items_of(choice: &Choice) -> Vec<Item<'_>> {
    let mut items = Vec::new();
    for part in &choice.content {
        match part {
            Part::Reasoning(Reasoning { text, .. }) if !text.is_empty() => {
                items.push(Item::Reasoning(text.into()));
            }
            Part::Text(text) | Part::Cited { text, .. } if !text.is_empty() => {
                push_words(&mut items, Words::Text(text.into()));
            }
            Part::Refusal(words) if !words.is_empty() => push_words(&mut items, Words::Refusal(words.into())),
            Part::ToolCall(ToolCall { id, name, arguments, signature: _ }) => {
                items.push(Item::Call { id: id.into(), name: name.into(), arguments: arguments.into() });
            }
            Part::Reasoning(_) | Part::Text(_) | Part::Cited { .. } | Part::Refusal(_) => {}
            Part::Image(_) | Part::Other(_) => {}
        }
    }
    items
}

fn push_words<'a>(items: &mut Vec<Item<'a>>, words: Words<'a>) {
    match items.last_mut() {
        Some(Item::Message(message)) => message.push(words),
        _ => items.push(Item::Message(vec![words])),
    }
}

/// How far an item has come.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum ItemStatus {
    InProgress,
    Completed,
    /// The answer was cut in it.
    Incomplete,
}

/// An item on its way to a client.
pub(super) struct OutItem<'a> {
    pub(super) item: &'a Item<'a>,
    pub(super) id: &'a str,
    pub(super) status: ItemStatus,
    /// Of its first text.
    pub(super) logprobs: &'a [Value],
}

impl Serialize for OutItem<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let Self { item, id, status, logprobs } = self;
        let mut map = serializer.serialize_map(None)?;
        map.serialize_entry("id", id)?;
        match item {
            Item::Reasoning(text) => {
                map.serialize_entry("type", "reasoning")?;
                map.serialize_entry("summary", NONE)?;
                // An item that has only begun has none.
                let text = Some(OutPart::ReasoningText { text }).filter(|_| !text.is_empty());
                map.serialize_entry("content", text.as_slice())?;
            }
            Item::Message(words) => {
                map.serialize_entry("type", "message")?;
                map.serialize_entry("role", "assistant")?;
                let first = words.iter().position(|words| matches!(words, Words::Text(_)));
                let of = |at| if Some(at) == first { logprobs } else { NONE };
                let content: Vec<_> = words.iter().enumerate().map(|(at, words)| words.out(of(at))).collect();
                map.serialize_entry("content", &content)?;
            }
            Item::Call { id: call_id, name, arguments } => {
                map.serialize_entry("type", "function_call")?;
                // Some servers give their calls no id; the caller needs one to answer it.
                let call_id = if call_id.is_empty() { id } else { call_id.as_ref() };
                map.serialize_entry("call_id", call_id)?;
                map.serialize_entry("name", name)?;
                map.serialize_entry("arguments", arguments)?;
            }
        }
        map.serialize_entry("status", status)?;
        map.end()
    }
}

/// An empty list.
pub(super) const NONE: &[Value] = &[];

/// A piece of an item on its way to a client.
#[derive(Clone, Copy, Serialize)]
#[serde(tag = "type", rename_all = "snake_case")]
pub(super) enum OutPart<'a> {
    OutputText { annotations: &'a [Value], logprobs: &'a [Value], text: &'a str },
    Refusal { refusal: &'a str },
    ReasoningText { text: &'a str },
}
