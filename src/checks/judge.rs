//! What is a model asked that says whether two answers are the same, and what does its word mean?
//!
//! It reads the prompt that was asked and both answers, each cut to its beginning. Somebody may have written a prompt that
//! talks to the judge; all that this can bring about is a wrong count.

use std::fmt::Write;

use super::compare::Verdict;
use crate::chat::{ChatRequest, Message, Role};

const INSTRUCTIONS: &str = include_str!("judge.txt");
/// Of the prompt and of each answer the judge reads so many characters: about 1,000 tokens of English, so that a check
/// costs little beside the answer that it checks.
const CHARS_MAX: usize = 4_000;

/// Returns the question to the judge.
pub fn request(model: &str, prompt: &str, served: &str, fresh: &str) -> ChatRequest {
    let mut material = String::new();
    for (mark, text) in [("question", prompt), ("answer_1", served), ("answer_2", fresh)] {
        let text = beginning(text, CHARS_MAX);
        write!(material, "<{mark}>\n{text}\n</{mark}>\n").expect("a text takes whatever is written to it");
    }
    let instructions = Message::text(Role::System, INSTRUCTIONS.trim());
    let mut request = ChatRequest::from_prompt(material);
    request.messages.insert(0, instructions);
    request.model = Some(model.to_owned());
    request
}

/// Returns what the judge has said; whoever says more than the one word has not understood, and has said nothing.
pub fn verdict(said: &str) -> Verdict {
    // Some put their word into bold letters, quotes or a sentence's end.
    let word = said.trim_matches(|character: char| !character.is_alphanumeric());
    match word.to_ascii_uppercase().as_str() {
        "SAME" => Verdict::Same,
        "DIFFERENT" => Verdict::Different,
        _ => Verdict::Unclear,
    }
}

/// Returns the beginning of a text, at most so many characters.
pub(super) fn beginning(text: &str, chars: usize) -> &str {
    text.char_indices().nth(chars).map_or(text, |(end, _)| &text[..end])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_word_is_a_verdict_and_anything_else_is_none() {
        for said in ["SAME", "same", " Same.\n", "**SAME**", "\"same\""] {
            assert_eq!(verdict(said), Verdict::Same, "{said}");
        }
        assert_eq!(verdict("Different"), Verdict::Different);
        for said in ["", "SAME or DIFFERENT", "They are the same.", "SAMEDIFFERENT", "NOT SAME", "yes"] {
            assert_eq!(verdict(said), Verdict::Unclear, "{said}");
        }
    }

    #[test]
    fn the_judge_reads_the_prompt_and_both_answers_each_to_its_limit() {
        let long = "é".repeat(CHARS_MAX + 1);
        let request = request("referee", "Why?", &long, "Because.");
        assert_eq!(request.model.as_deref(), Some("referee"));
        let [instructions, material] = request.messages.as_slice() else { panic!("{request:?}") };
        assert!(instructions.role == Role::System && INSTRUCTIONS.contains("SAME or DIFFERENT"));
        let Some(text) = request.last_prompt() else { panic!("{material:?}") };
        let cut = "é".repeat(CHARS_MAX);
        assert_eq!(
            text,
            format!(
                "<question>\nWhy?\n</question>\n<answer_1>\n{cut}\n</answer_1>\n<answer_2>\nBecause.\n</answer_2>\n"
            )
        );
    }
}
