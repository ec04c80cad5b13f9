//! Is this an answer at all?

use super::encoding::Breakage;
use super::endless::{self, Rounds};
use super::json;
use crate::chat::{ChatRequest, ChatResponse, Choice, FinishReason, Part, Role};

/// What makes an answer none, so that another upstream had better be asked.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Defect {
    /// It ended by itself and says nothing.
    Empty,
    /// It says the same over and over, to its end.
    Endless,
    /// Its characters are not those that were meant.
    BrokenEncoding,
    /// JSON was asked for, and this is none, or not what the schema says.
    InvalidJson,
}

impl Defect {
    /// Returns the word for it in labels and messages.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Empty => "empty",
            Self::Endless => "endless",
            Self::BrokenEncoding => "broken_encoding",
            Self::InvalidJson => "invalid_json",
        }
    }
}

/// The longest question whose numbers are read: one that brings a document along is full of them.
const QUESTION_BYTES_MAX: usize = 2_000;

/// Returns what makes an answer none: the defect of its first choice, where every choice has one.
///
/// Takes time linear in the answer. An answer that a filter cut or that refuses has no defect: whoever gave it meant it.
pub fn defect(request: &ChatRequest, answer: &ChatResponse) -> Option<Defect> {
    let [first, others @ ..] = answer.choices.as_slice() else { return Some(Defect::Empty) };
    let defect = of_choice(request, first)?;
    others.iter().all(|choice| of_choice(request, choice).is_some()).then_some(defect)
}

/// Returns what makes one choice none.
pub(super) fn of_choice(request: &ChatRequest, choice: &Choice) -> Option<Defect> {
    let is_meant = matches!(choice.finish, Some(FinishReason::ContentFilter | FinishReason::Refusal));
    if is_meant || choice.refusal().is_some_and(|words| !words.is_empty()) {
        return None;
    }
    let ended = ended_by_itself(request, choice);
    let text = choice.text().unwrap_or_default();
    if text.trim().is_empty() {
        return (ended && !says_otherwise(choice)).then_some(Defect::Empty);
    }
    if endless::rounds(&text).is_some_and(|rounds| !(ended && asks_for(request, rounds))) {
        return Some(Defect::Endless);
    }
    let breakage = Breakage::of(&text);
    if breakage.is_broken() && !breakage.is_shared_by(of_question(request)) {
        return Some(Defect::BrokenEncoding);
    }
    let is_invalid = ended && !calls(choice) && !json::fits(&text, &request.output_format);
    is_invalid.then_some(Defect::InvalidJson)
}

/// Returns whether the model found the end of what it had to say, and nothing was said before: one that goes on with a
/// beginning that it was given, or that is stopped by a text of the caller's, may have nothing to add, or half of it.
fn ended_by_itself(request: &ChatRequest, choice: &Choice) -> bool {
    let is_prefilled = request.messages.last().is_some_and(|message| message.role == Role::Assistant);
    let is_end = matches!(choice.finish, Some(FinishReason::Stop | FinishReason::ToolCalls));
    is_end && request.sampling.stop.is_empty() && !is_prefilled
}

/// Returns whether it says anything that is no text. Thoughts alone say nothing.
fn says_otherwise(choice: &Choice) -> bool {
    let is_said = |part: &Part| match part {
        Part::Text(_) | Part::Cited { .. } | Part::Reasoning(_) | Part::Refusal(_) => false,
        Part::Image(_) | Part::ToolCall(_) | Part::Other(_) => true,
    };
    choice.content.iter().any(is_said) || calls(choice) || choice.unknown.values().any(is_something)
}

fn is_something(value: &serde_json::Value) -> bool {
    use serde_json::Value;
    match value {
        Value::Null | Value::Bool(_) | Value::Number(_) => false,
        Value::String(text) => !text.is_empty(),
        Value::Array(items) => !items.is_empty(),
        Value::Object(fields) => !fields.is_empty(),
    }
}

/// Looks among the fields we do not know too: calls of a shape we do not understand stay there whole.
fn calls(choice: &Choice) -> bool {
    choice.tool_calls().next().is_some()
        || ["tool_calls", "function_call"].iter().any(|field| choice.unknown.contains_key(*field))
}

/// Returns whether the question names about as many rounds: "a hundred times" in digits, the side of a matrix.
fn asks_for(request: &ChatRequest, rounds: Rounds) -> bool {
    let Some(question) = request.last_prompt().filter(|text| text.len() <= QUESTION_BYTES_MAX) else {
        return false;
    };
    let numbers =
        question.split(|char: char| !char.is_ascii_digit()).filter_map(|digits| digits.parse().ok());
    let about = rounds.least / 2..=rounds.most.saturating_mul(2);
    numbers.into_iter().any(|number: usize| about.contains(&number))
}

/// Returns how broken the texts of a question are, all of them.
fn of_question(request: &ChatRequest) -> Breakage {
    let parts = request.messages.iter().flat_map(|message| &message.content);
    parts.filter_map(Part::text).map(Breakage::of).fold(Breakage::default(), Breakage::and)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::chat::{Message, OutputFormat, Reasoning, ToolCall};
    use serde_json::json;

    fn choice(text: &str, finish: FinishReason) -> Choice {
        Choice { content: vec![Part::Text(text.into())], finish: Some(finish), ..Choice::default() }
    }

    fn of(request: &ChatRequest, choice: Choice) -> Option<Defect> {
        defect(request, &ChatResponse { choices: vec![choice], ..ChatResponse::default() })
    }

    fn of_text(prompt: &str, text: &str) -> Option<Defect> {
        of(&ChatRequest::from_prompt(prompt), choice(text, FinishReason::Stop))
    }

    #[test]
    fn a_short_right_answer_has_no_defect() {
        for text in ["42", "Yes.", "no", "{}", "👍", "א", "7", "…", "?", "-", "\u{fffd}", "true", "是"]
        {
            assert_eq!(of_text("q", text), None, "{text}");
        }
    }

    #[test]
    fn an_answer_is_empty_if_it_ended_by_itself_and_nothing_at_all_was_said() {
        let asked = ChatRequest::from_prompt("q");
        assert_eq!(defect(&asked, &ChatResponse::default()), Some(Defect::Empty));
        assert_eq!(of(&asked, choice(" \n", FinishReason::Stop)), Some(Defect::Empty));
        let with = |part| Choice { content: vec![part], ..choice("", FinishReason::Stop) };
        let thoughts = Reasoning { text: "Hm.".into(), signature: None };
        assert_eq!(of(&asked, with(Part::Reasoning(thoughts))), Some(Defect::Empty));
        assert_eq!(of(&asked, with(Part::ToolCall(ToolCall::default()))), None);
        assert_eq!(of(&asked, with(Part::Refusal("I would rather not.".into()))), None);
        assert_eq!(of(&asked, with(Part::Other(serde_json::Map::new()))), None);
        let mut called = choice("", FinishReason::Stop);
        called.unknown.insert("function_call".into(), json!({"name": "f"}));
        assert_eq!(of(&asked, called), None);
        let mut noted = choice("", FinishReason::Stop);
        noted.unknown.insert("annotations".into(), json!([]));
        assert_eq!(of(&asked, noted), Some(Defect::Empty));
    }

    #[test]
    fn nothing_said_is_right_where_the_answer_was_cut_stopped_or_begun_by_the_caller() {
        let asked = ChatRequest::from_prompt("q");
        for finish in [
            FinishReason::Length,
            FinishReason::ContentFilter,
            FinishReason::Refusal,
            FinishReason::StopText("\n".into()),
        ] {
            assert_eq!(of(&asked, choice("", finish)), None);
        }
        let mut stopped = asked.clone();
        stopped.sampling.stop = vec!["\n".into()];
        assert_eq!(of(&stopped, choice("", FinishReason::Stop)), None);
        let mut begun = asked;
        begun.messages.push(Message::text(Role::Assistant, "42"));
        assert_eq!(of(&begun, choice("", FinishReason::Stop)), None);
    }

    #[test]
    fn rounds_that_were_asked_for_by_number_are_meant() {
        let lines = "I will not talk in class.\n".repeat(100);
        assert_eq!(of_text("Write \u{201c}I will not talk in class\u{201d} 100 times.", &lines), None);
        assert_eq!(of_text("What is the capital of France?", &lines), Some(Defect::Endless));
        assert_eq!(of_text("Name 5 rules of the school.", &lines), Some(Defect::Endless));
        let row = format!("[{}],\n", ["0"; 64].join(", "));
        assert_eq!(of_text("Give me a 64x64 matrix of zeros.", &row.repeat(64)), None);
        assert_eq!(of_text("Write 5000 words about nothing", &"word ".repeat(5_000)), None);
        let endless = of(
            &ChatRequest::from_prompt("Write it 100 times."),
            choice(&"I will not talk. ".repeat(100), FinishReason::Length),
        );
        assert_eq!(endless, Some(Defect::Endless), "it was stopped, it did not stop");
    }

    #[test]
    fn broken_characters_are_a_defect_unless_the_question_has_them() {
        let soup = "\u{fffd}\u{fffd} \u{fffd}x".repeat(20);
        assert_eq!(of_text("What is the capital of France?", &soup), Some(Defect::BrokenEncoding));
        assert_eq!(of_text("What does \u{fffd} mean? Show it often.", &soup), None);
    }

    #[test]
    fn json_that_was_asked_for_is_wanted_only_of_an_answer_that_ended_by_itself() {
        let mut request = ChatRequest::from_prompt("q");
        request.output_format = OutputFormat::JsonObject;
        assert_eq!(of(&request, choice("{}", FinishReason::Stop)), None);
        assert_eq!(of(&request, choice("{\"a\": ", FinishReason::Stop)), Some(Defect::InvalidJson));
        assert_eq!(of(&request, choice("{\"a\": ", FinishReason::Length)), None);
        assert_eq!(of(&request, choice("", FinishReason::Stop)), Some(Defect::Empty));
        let mut calls = choice("Let me look.", FinishReason::ToolCalls);
        calls.content.push(Part::ToolCall(ToolCall::default()));
        assert_eq!(of(&request, calls), None);
        request.sampling.stop = vec!["}".into()];
        assert_eq!(of(&request, choice("{\"a\": 1", FinishReason::Stop)), None);
    }

    #[test]
    fn one_good_choice_is_an_answer() {
        let request = ChatRequest::from_prompt("q");
        let choices = |texts: [&str; 2]| ChatResponse {
            choices: texts.map(|text| choice(text, FinishReason::Stop)).to_vec(),
            ..ChatResponse::default()
        };
        assert_eq!(defect(&request, &choices(["", "Paris."])), None);
        assert_eq!(defect(&request, &choices(["", " "])), Some(Defect::Empty));
    }
}
