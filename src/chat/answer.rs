//! An answer, whole or in pieces, and the way from one to the other.

use serde_json::{Map, Value};

use super::request::ToolCall;

/// A finished answer.
#[derive(Clone, Debug, PartialEq)]
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
    /// Fields we do not know (`system_fingerprint`, …).
    pub unknown: Map<String, Value>,
}

impl ChatResponse {
    /// Returns the text of the first choice, empty where it has none.
    pub fn text(&self) -> &str {
        self.choices.first().and_then(|choice| choice.text.as_deref()).unwrap_or("")
    }

    /// Returns the pieces that a stream of this answer would have had, text cut at character boundaries.
    pub fn deltas(&self) -> Vec<Delta> {
        let mut deltas = vec![Delta::Start {
            id: self.id.clone(),
            created: self.created,
            model: self.model.clone(),
            unknown: self.unknown.clone(),
        }];
        for choice in &self.choices {
            choice.push_deltas(&mut deltas);
        }
        deltas.extend(self.usage.clone().map(Delta::Usage));
        deltas
    }
}

/// One of the answers to a request; nearly always the only one.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Choice {
    pub index: u32,
    pub text: Option<String>,
    /// The vendor's own words of refusal.
    pub refusal: Option<String>,
    pub tool_calls: Vec<ToolCall>,
    /// Why generation ended; `None` means it did not end, and then the answer is not finished.
    pub finish: Option<FinishReason>,
    pub logprobs: Option<Value>,
    /// Message fields we do not know (`reasoning_content`, `annotations`, …).
    pub unknown: Map<String, Value>,
}

/// Length of the text in one replayed piece, in bytes, about that of a few tokens.
const PIECE_BYTES: usize = 24;

impl Choice {
    fn push_deltas(&self, deltas: &mut Vec<Delta>) {
        let Self { index: choice, text, refusal, tool_calls, finish, logprobs, unknown } = self;
        let choice = *choice;
        for (field, value) in unknown {
            deltas.push(Delta::Unknown { choice, field: field.clone(), value: value.clone() });
        }
        if let Some(text) = text {
            deltas.extend(pieces(text).map(|piece| Delta::Text { choice, text: piece.to_owned() }));
        }
        if let Some(text) = refusal {
            deltas.extend(pieces(text).map(|piece| Delta::Refusal { choice, text: piece.to_owned() }));
        }
        for (index, call) in (0..).zip(tool_calls) {
            deltas.push(Delta::ToolCall {
                choice,
                index,
                id: Some(call.id.clone()),
                name: Some(call.name.clone()),
                arguments: call.arguments.clone(),
            });
        }
        if let Some(value) = logprobs {
            deltas.push(Delta::Logprobs { choice, value: value.clone() });
        }
        if let Some(reason) = finish {
            deltas.push(Delta::Finish { choice, reason: reason.clone() });
        }
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
    /// The output limit was reached: the answer is cut.
    Length,
    ToolCalls,
    ContentFilter,
    /// A reason we do not know, in the vendor's word.
    Other(String),
}

impl FinishReason {
    /// Returns OpenAI's word for it.
    pub fn name(&self) -> &str {
        match self {
            Self::Stop => "stop",
            Self::Length => "length",
            Self::ToolCalls => "tool_calls",
            Self::ContentFilter => "content_filter",
            Self::Other(word) => word,
        }
    }

    /// Parses OpenAI's word.
    pub fn parse(word: &str) -> Self {
        match word {
            "stop" => Self::Stop,
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
    pub prompt_tokens: u64,
    /// Tokens of the answer, reasoning included.
    pub completion_tokens: u64,
    /// Details we do not interpret (`prompt_tokens_details`, …).
    pub unknown: Map<String, Value>,
}

/// A piece of an answer under way.
#[derive(Clone, Debug, PartialEq)]
pub enum Delta {
    /// The first piece of every stream.
    Start {
        id: String,
        created: i64,
        model: String,
        unknown: Map<String, Value>,
    },
    Text {
        choice: u32,
        text: String,
    },
    Refusal {
        choice: u32,
        text: String,
    },
    /// A part of a tool call; `id` and `name` come with its first part.
    ToolCall {
        choice: u32,
        index: u32,
        id: Option<String>,
        name: Option<String>,
        arguments: String,
    },
    Logprobs {
        choice: u32,
        value: Value,
    },
    /// A message field we do not know.
    Unknown {
        choice: u32,
        field: String,
        value: Value,
    },
    Finish {
        choice: u32,
        reason: FinishReason,
    },
    Usage(Usage),
}

/// Folds the pieces of a stream into the answer they spell.
#[derive(Debug, Default)]
pub struct Assembly {
    answer: Option<ChatResponse>,
    /// (choice, vendor's index) of every tool call met so far; vendors do not always count from zero.
    calls: Vec<(u32, u32)>,
}

impl Assembly {
    /// Takes in one piece. Pieces before the first [`Delta::Start`] are kept under an empty id.
    pub fn push(&mut self, delta: &Delta) {
        let answer = self.answer.get_or_insert_with(|| ChatResponse {
            id: String::new(),
            created: 0,
            model: String::new(),
            choices: Vec::new(),
            usage: None,
            unknown: Map::new(),
        });
        match delta {
            Delta::Start { id, created, model, unknown } => {
                answer.id.clone_from(id);
                answer.created = *created;
                answer.model.clone_from(model);
                answer.unknown.clone_from(unknown);
            }
            Delta::Text { choice, text } => {
                choice_of(answer, *choice).text.get_or_insert_default().push_str(text);
            }
            Delta::Refusal { choice, text } => {
                choice_of(answer, *choice).refusal.get_or_insert_default().push_str(text);
            }
            Delta::ToolCall { choice, index, id, name, arguments } => {
                let known = self.calls.contains(&(*choice, *index));
                if !known {
                    self.calls.push((*choice, *index));
                }
                let of_choice = self.calls.iter().filter(|(of, _)| of == choice);
                let at = of_choice.map(|(_, index)| index).position(|known| known == index);
                let at = at.expect("the pair was pushed above");
                let calls = &mut choice_of(answer, *choice).tool_calls;
                if !known {
                    calls.push(ToolCall::default());
                }
                let call = &mut calls[at];
                call.id.push_str(id.as_deref().unwrap_or(""));
                call.name.push_str(name.as_deref().unwrap_or(""));
                call.arguments.push_str(arguments);
            }
            Delta::Logprobs { choice, value } => {
                let choice = choice_of(answer, *choice);
                merge(choice.logprobs.get_or_insert(Value::Null), value);
            }
            Delta::Unknown { choice, field, value } => {
                let unknown = &mut choice_of(answer, *choice).unknown;
                merge(unknown.entry(field).or_insert(Value::Null), value);
            }
            Delta::Finish { choice, reason } => {
                // The first terminal wins: a second one is a vendor's slip (fault 50).
                choice_of(answer, *choice).finish.get_or_insert_with(|| reason.clone());
            }
            Delta::Usage(usage) => answer.usage = Some(usage.clone()),
        }
    }

    /// Returns whether each of the `choices` asked for has said why it ended.
    pub fn is_finished(&self, choices: u32) -> bool {
        self.answer.as_ref().is_some_and(|answer| {
            answer.choices.len() >= choices as usize
                && answer.choices.iter().all(|choice| choice.finish.is_some())
        })
    }

    /// Returns the answer so far, or `None` if nothing came.
    pub fn into_answer(self) -> Option<ChatResponse> {
        self.answer
    }
}

/// Returns the choice with this index, making it, and the list sorted, when it is new.
fn choice_of(answer: &mut ChatResponse, index: u32) -> &mut Choice {
    let at = match answer.choices.binary_search_by_key(&index, |choice| choice.index) {
        Ok(at) => at,
        Err(at) => {
            answer.choices.insert(at, Choice { index, ..Choice::default() });
            at
        }
    };
    &mut answer.choices[at]
}

/// Continues a value with its next piece: texts and lists grow, objects merge, anything else is replaced.
fn merge(so_far: &mut Value, next: &Value) {
    match (so_far, next) {
        (Value::String(text), Value::String(more)) => text.push_str(more),
        (Value::Array(items), Value::Array(more)) => items.extend(more.iter().cloned()),
        (Value::Object(fields), Value::Object(more)) => {
            for (field, value) in more {
                merge(fields.entry(field).or_insert(Value::Null), value);
            }
        }
        (_, Value::Null) => {}
        (so_far, next) => *so_far = next.clone(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use serde_json::json;

    fn answer(text: &str) -> ChatResponse {
        ChatResponse {
            id: "chatcmpl-1".into(),
            created: 1_700_000_000,
            model: "m".into(),
            choices: vec![Choice {
                text: Some(text.into()),
                finish: Some(FinishReason::Stop),
                ..Choice::default()
            }],
            usage: Some(Usage { prompt_tokens: 3, completion_tokens: 4, ..Usage::default() }),
            unknown: Map::new(),
        }
    }

    fn assembled(deltas: &[Delta]) -> ChatResponse {
        let mut assembly = Assembly::default();
        for delta in deltas {
            assembly.push(delta);
        }
        assembly.into_answer().expect("something was pushed")
    }

    proptest! {
        #[test]
        fn an_answer_cut_into_pieces_and_joined_is_the_same_answer(text in any::<String>()) {
            let whole = answer(&text);
            prop_assert_eq!(assembled(&whole.deltas()), whole);
        }
    }

    #[test]
    fn tool_calls_and_fields_we_do_not_know_survive_the_cut() {
        let mut whole = answer("");
        whole.choices[0].text = None;
        whole.choices[0].finish = Some(FinishReason::ToolCalls);
        whole.choices[0].tool_calls = vec![
            ToolCall { id: "a".into(), name: "f".into(), arguments: "{\"x\": 1}".into() },
            ToolCall { id: "b".into(), name: "g".into(), arguments: "{}".into() },
        ];
        whole.choices[0].unknown.insert("reasoning_content".into(), json!("because"));
        assert_eq!(assembled(&whole.deltas()), whole);
    }

    #[test]
    fn a_stream_is_finished_when_every_choice_asked_for_has_ended() {
        let mut assembly = Assembly::default();
        assembly.push(&Delta::Finish { choice: 0, reason: FinishReason::Stop });
        assert!(assembly.is_finished(1));
        assert!(!assembly.is_finished(2));
        assembly.push(&Delta::Text { choice: 1, text: "x".into() });
        assert!(!assembly.is_finished(2));
    }
}
