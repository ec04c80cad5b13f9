//! What was asked and what was said, as every look sees it.

use std::borrow::Cow;
use std::cell::OnceCell;

use serde_json::Value;

use super::encoding::Breakage;
use super::endless::{self, Rounds};
use super::{json, repetition};
use crate::chat::{ChatRequest, Choice, FinishReason, OutputFormat, Part, Role};

/// One choice of an answer, and the request it answers.
pub(super) struct Said<'a> {
    pub(super) request: &'a ChatRequest,
    pub(super) choice: &'a Choice,
    pub(super) text: Cow<'a, str>,
    pub(super) breakage: Breakage,
    of_question: OnceCell<Breakage>,
    rounds: OnceCell<Option<Rounds>>,
    fits_format: OnceCell<bool>,
}

impl<'a> Said<'a> {
    pub(super) fn new(request: &'a ChatRequest, choice: &'a Choice) -> Self {
        let text = choice.text().unwrap_or_default();
        let breakage = Breakage::of(&text);
        Self {
            request,
            choice,
            text,
            breakage,
            of_question: OnceCell::new(),
            rounds: OnceCell::new(),
            fits_format: OnceCell::new(),
        }
    }

    /// Returns the last prompt, empty where the last turn is none.
    pub(super) fn question(&self) -> &'a str {
        self.request.last_prompt().unwrap_or_default()
    }

    /// Returns how broken the texts of the request are, all of them.
    pub(super) fn breakage_of_question(&self) -> Breakage {
        *self.of_question.get_or_init(|| {
            let parts = self.request.messages.iter().flat_map(|message| &message.content);
            parts.filter_map(Part::text).map(Breakage::of).fold(Breakage::default(), Breakage::and)
        })
    }

    pub(super) fn is_json_asked(&self) -> bool {
        matches!(self.request.output_format, OutputFormat::JsonObject | OutputFormat::JsonSchema(_))
    }

    /// Returns the rounds that the text ends with, if they are too many to be meant.
    pub(super) fn rounds(&self) -> Option<Rounds> {
        *self.rounds.get_or_init(|| endless::rounds(&self.text))
    }

    /// Returns whether going round in circles is meant: the question names the number of rounds or goes round itself, and
    /// the model found the end.
    pub(super) fn goes_round_by_request(&self) -> bool {
        let question = self.question();
        let is_counted = || self.rounds().is_some_and(|rounds| rounds.are_asked_for(question));
        self.ended_by_itself() && (is_counted() || repetition::goes_round(question))
    }

    /// Returns whether the text is what the output format asks for.
    pub(super) fn fits_format(&self) -> bool {
        *self.fits_format.get_or_init(|| json::fits(&self.text, &self.request.output_format))
    }

    /// Returns whether the model found the end of what it had to say, and nothing was said before: one that goes on with
    /// a beginning that it was given, or that is stopped by a text of the caller's, may have nothing to add, or half of
    /// it.
    pub(super) fn ended_by_itself(&self) -> bool {
        let is_prefilled =
            self.request.messages.last().is_some_and(|message| message.role == Role::Assistant);
        let is_end = matches!(self.choice.finish, Some(FinishReason::Stop | FinishReason::ToolCalls));
        is_end && self.request.sampling.stop.is_empty() && !is_prefilled
    }

    /// Returns whether a filter cut it, or the vendor says that it is a refusal.
    pub(super) fn is_refused(&self) -> bool {
        matches!(self.choice.finish, Some(FinishReason::ContentFilter | FinishReason::Refusal))
            || self.choice.refusal().is_some_and(|words| !words.is_empty())
    }

    /// Returns whether it says anything that is no text. Thoughts alone say nothing.
    pub(super) fn says_otherwise(&self) -> bool {
        let is_said = |part: &Part| match part {
            Part::Text(_) | Part::Cited { .. } | Part::Reasoning(_) => false,
            Part::Refusal(words) => !words.is_empty(),
            Part::Image(_) | Part::ToolCall(_) | Part::Other(_) => true,
        };
        self.choice.content.iter().any(is_said)
            || self.choice.calls_tools()
            || self.choice.unknown.values().any(is_something)
    }
}

/// Returns whether a field that we do not know can hold something that was said.
fn is_something(value: &Value) -> bool {
    match value {
        Value::Null | Value::Bool(_) | Value::Number(_) => false,
        Value::String(text) => !text.is_empty(),
        Value::Array(items) => !items.is_empty(),
        Value::Object(fields) => !fields.is_empty(),
    }
}
