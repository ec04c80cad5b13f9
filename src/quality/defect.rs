//! Is this an answer at all?

use super::Said;
use crate::chat::{ChatRequest, ChatResponse};

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

/// Returns what makes an answer none: the defect of its first choice, where every choice has one.
///
/// Takes time linear in the answer. An answer that a filter cut or that refuses has no defect: whoever gave it meant it.
pub fn defect(request: &ChatRequest, answer: &ChatResponse) -> Option<Defect> {
    let [first, others @ ..] = answer.choices.as_slice() else { return Some(Defect::Empty) };
    let of = |choice| of_said(&Said::new(request, choice));
    let defect = of(first)?;
    others.iter().all(|choice| of(choice).is_some()).then_some(defect)
}

/// Returns what makes one choice none.
pub(super) fn of_said(said: &Said<'_>) -> Option<Defect> {
    if said.is_refused() {
        return None;
    }
    let ended = said.ended_by_itself();
    if said.text.trim().is_empty() {
        return (ended && !said.says_otherwise()).then_some(Defect::Empty);
    }
    if said.rounds().is_some() && !said.goes_round_by_request() {
        return Some(Defect::Endless);
    }
    if said.breakage.is_broken() && !said.breakage.is_shared_by(said.breakage_of_question()) {
        return Some(Defect::BrokenEncoding);
    }
    let is_invalid = ended && !said.choice.calls_tools() && !said.fits_format();
    is_invalid.then_some(Defect::InvalidJson)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::chat::{Choice, FinishReason, Message, OutputFormat, Part, Reasoning, Role, ToolCall};
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
