//! An answer in pieces, and the way back to the whole.

use serde_json::{Map, Value};

use super::{ChatResponse, Choice, Dialect, FinishReason, Part, Reasoning, ToolCall, Usage};

/// A piece of an answer under way.
#[derive(Clone, Debug, PartialEq)]
pub enum Delta {
    /// The first piece of every stream.
    Start {
        id: String,
        created: i64,
        model: String,
        /// See [`ChatResponse::dialect`].
        dialect: Dialect,
        unknown: Map<String, Value>,
    },
    /// A field of the answer, not of a message, that we do not know and that came after the start. It replaces one of the
    /// same name.
    Late {
        field: String,
        value: Value,
    },
    /// The next text, thought or refusal is another part than the one before.
    Break {
        choice: u32,
    },
    Text {
        choice: u32,
        text: String,
    },
    /// A source of the text under way.
    Citation {
        choice: u32,
        value: Value,
    },
    Reasoning {
        choice: u32,
        text: String,
        signature: Option<String>,
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
        signature: Option<String>,
    },
    /// A whole part that has no pieces.
    Part {
        choice: u32,
        part: Part,
    },
    Logprobs {
        choice: u32,
        value: Value,
    },
    /// A message field we do not know; its values add up.
    Unknown {
        choice: u32,
        field: String,
        value: Value,
    },
    Finish {
        choice: u32,
        reason: FinishReason,
    },
    /// All tokens so far: each one replaces the one before.
    Usage(Usage),
}

/// Folds the pieces of a stream into the answer they spell.
#[derive(Debug, Default)]
pub struct Assembly {
    answer: ChatResponse,
    has_begun: bool,
    /// Every tool call met so far; vendors do not always count from zero.
    calls: Vec<Call>,
    /// Choices whose next piece begins a new part.
    broken: Vec<u32>,
}

/// Where a tool call under way stands.
#[derive(Debug)]
struct Call {
    choice: u32,
    /// The vendor's number for it.
    index: u32,
    /// Its place among the choice's parts.
    at: usize,
}

impl Assembly {
    /// Begins with what is there of an answer already.
    pub fn of(answer: ChatResponse) -> Self {
        Self { answer, has_begun: true, ..Self::default() }
    }

    /// Takes in one piece. Pieces before the first [`Delta::Start`] are kept under an empty id.
    pub fn push(&mut self, delta: &Delta) {
        self.has_begun = true;
        let answer = &mut self.answer;
        match delta {
            Delta::Start { id, created, model, dialect, unknown } => {
                answer.id.clone_from(id);
                answer.created = *created;
                answer.model.clone_from(model);
                answer.dialect = *dialect;
                answer.unknown.clone_from(unknown);
            }
            Delta::Late { field, value } => drop(answer.unknown.insert(field.clone(), value.clone())),
            Delta::Break { choice } => self.broken.push(*choice),
            Delta::Text { choice, text } => {
                let is_new = self.takes_break(*choice);
                push_text(choice_of(&mut self.answer, *choice), text, is_new);
            }
            Delta::Citation { choice, value } => {
                cite(&mut choice_of(&mut self.answer, *choice).content, value)
            }
            Delta::Reasoning { choice, text, signature } => {
                let is_new = self.takes_break(*choice);
                let content = &mut choice_of(&mut self.answer, *choice).content;
                think(content, text, signature.as_deref(), is_new);
            }
            Delta::Refusal { choice, text } => {
                let is_new = self.takes_break(*choice);
                let content = &mut choice_of(&mut self.answer, *choice).content;
                match content.last_mut() {
                    Some(Part::Refusal(words)) if !is_new => words.push_str(text),
                    _ => content.push(Part::Refusal(text.clone())),
                }
            }
            Delta::ToolCall { choice, index, id, name, arguments, signature } => {
                let call = self.call(*choice, *index);
                call.id.push_str(id.as_deref().unwrap_or(""));
                call.name.push_str(name.as_deref().unwrap_or(""));
                call.arguments.push_str(arguments);
                if let Some(signature) = signature {
                    call.signature.get_or_insert_default().push_str(signature);
                }
            }
            Delta::Part { choice, part } => {
                choice_of(&mut self.answer, *choice).content.push(part.clone());
            }
            Delta::Logprobs { choice, value } => {
                let choice = choice_of(&mut self.answer, *choice);
                merge(choice.logprobs.get_or_insert(Value::Null), value);
            }
            Delta::Unknown { choice, field, value } => {
                let unknown = &mut choice_of(&mut self.answer, *choice).unknown;
                let so_far = unknown.entry(field).or_insert(Value::Null);
                match (so_far, value) {
                    (Value::Array(calls), Value::Array(parts)) if field == "tool_calls" => {
                        parts.iter().for_each(|part| merge_call(calls, part));
                    }
                    (so_far, value) => merge(so_far, value),
                }
            }
            Delta::Finish { choice, reason } => {
                // The first terminal wins: a second one is a vendor's slip (fault 50).
                choice_of(&mut self.answer, *choice).finish.get_or_insert_with(|| reason.clone());
            }
            Delta::Usage(usage) => answer.usage = Some(usage.clone()),
        }
    }

    /// Returns whether the choice's next piece begins a new part, and forgets it.
    fn takes_break(&mut self, choice: u32) -> bool {
        let at = self.broken.iter().position(|broken| *broken == choice);
        at.map(|at| self.broken.swap_remove(at)).is_some()
    }

    /// Returns the tool call with the vendor's number, making it when it is new.
    fn call(&mut self, choice: u32, index: u32) -> &mut ToolCall {
        let content = &mut choice_of(&mut self.answer, choice).content;
        let known = self.calls.iter().find(|call| call.choice == choice && call.index == index);
        let at = known.map_or(content.len(), |call| call.at);
        if known.is_none() {
            self.calls.push(Call { choice, index, at });
            content.push(Part::ToolCall(ToolCall::default()));
        }
        match &mut content[at] {
            Part::ToolCall(call) => call,
            _ => unreachable!("parts are only ever appended, and a call was put at this place"),
        }
    }

    /// Returns whether each of the `choices` asked for has said why it ended.
    pub fn is_finished(&self, choices: u32) -> bool {
        let ended = &self.answer.choices;
        ended.len() >= choices as usize && ended.iter().all(|choice| choice.finish.is_some())
    }

    /// Returns the last part of the first choice's text so far, empty where that is none.
    pub fn text(&self) -> &str {
        let content = self.answer.choices.first().map_or(&[][..], |choice| &choice.content);
        content.last().and_then(Part::text).unwrap_or("")
    }

    /// Returns the answer so far, or `None` if nothing came.
    pub fn into_answer(self) -> Option<ChatResponse> {
        self.has_begun.then_some(self.answer)
    }
}

/// Continues the text under way, or begins one. An empty piece begins nothing unless it is the first thing said.
fn push_text(choice: &mut Choice, text: &str, is_new: bool) {
    let is_first = choice.content.is_empty();
    match choice.content.last_mut() {
        Some(Part::Text(words) | Part::Cited { text: words, .. }) if !is_new => words.push_str(text),
        _ if text.is_empty() && !is_first && !is_new => {}
        _ => choice.content.push(Part::Text(text.to_owned())),
    }
}

fn cite(content: &mut Vec<Part>, value: &Value) {
    match content.last_mut() {
        Some(Part::Cited { citations, .. }) => citations.push(value.clone()),
        Some(part @ Part::Text(_)) => {
            let text = part.text().unwrap_or("").to_owned();
            *part = Part::Cited { text, citations: vec![value.clone()] };
        }
        _ => content.push(Part::Cited { text: String::new(), citations: vec![value.clone()] }),
    }
}

fn think(content: &mut Vec<Part>, text: &str, signature: Option<&str>, is_new: bool) {
    match content.last_mut() {
        Some(Part::Reasoning(so_far)) if !is_new => {
            so_far.text.push_str(text);
            if let Some(signature) = signature {
                so_far.signature.get_or_insert_default().push_str(signature);
            }
        }
        _ => content.push(Part::Reasoning(Reasoning {
            text: text.to_owned(),
            signature: signature.map(str::to_owned),
        })),
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

/// Continues a call of a kind that we do not know with its next part, or begins it: the parts of one have one number.
fn merge_call(calls: &mut Vec<Value>, part: &Value) {
    let number = part.get("index").filter(|number| number.is_number());
    let known = calls.iter_mut().find(|call| number.is_some() && call.get("index") == number);
    match known {
        Some(call) => merge(call, part),
        None => calls.push(part.clone()),
    }
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
    use crate::chat::any_part;
    use proptest::prelude::*;
    use serde_json::json;

    fn answer(text: &str) -> ChatResponse {
        ChatResponse {
            id: "chatcmpl-1".into(),
            created: 1_700_000_000,
            model: "m".into(),
            choices: vec![Choice {
                content: vec![Part::Text(text.into())],
                finish: Some(FinishReason::Stop),
                ..Choice::default()
            }],
            usage: Some(Usage { prompt_tokens: 3, completion_tokens: 4, ..Usage::default() }),
            ..ChatResponse::default()
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
        fn an_answer_cut_into_pieces_and_joined_is_the_same_answer(
            contents in prop::collection::vec(prop::collection::vec(any_part(), 0..5), 1..3),
        ) {
            let mut whole = answer("");
            whole.choices = contents
                .into_iter()
                .zip(0..)
                .map(|(content, index)| Choice {
                    index,
                    content,
                    finish: Some(FinishReason::Stop),
                    unknown: Map::from_iter([("annotations".to_owned(), json!(["a"]))]),
                    ..Choice::default()
                })
                .collect();
            prop_assert_eq!(assembled(&whole.deltas()), whole);
        }
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
