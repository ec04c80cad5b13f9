//! Do two answers say the same?
//!
//! Only what both say in words can be compared: an answer that calls tools, has no text, did not end by itself or refuses
//! says nothing of whether the hit was right.

use unicode_segmentation::UnicodeSegmentation;

use super::judge::beginning;
use crate::chat::{ChatResponse, FinishReason};
use crate::quality::is_refusal;

/// What a comparison has found.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    Same,
    Different,
    /// It cannot be told.
    Unclear,
}

/// Up to so many words an answer is short: one of them may be all that matters, and an embedding hardly sees it.
const SHORT_WORDS: usize = 8;
/// The cosine from which longer answers are taken for the same. It is coarse: answers to one question that contradict each
/// other lie above it, too, and good answers in very other words may lie below. So it finds hits that answer something
/// else, and counts the rest as right; `judge_model` is the precise way. Chosen and not measured: no set of answers to pairs
/// of prompts was at hand.
const SAME_COSINE: f32 = 0.70;
/// Characters of an answer that are embedded; the models here read about half of that and leave the rest.
const EMBEDDED_CHARS: usize = 2_000;

/// The words of two answers.
#[derive(Clone, Debug)]
pub struct Texts {
    pub served: String,
    pub fresh: String,
}

impl Texts {
    /// Returns what can be compared of two answers, or `None` where nothing can.
    pub fn of(served: &ChatResponse, fresh: &ChatResponse) -> Option<Self> {
        Some(Self { served: words_of(served)?, fresh: words_of(fresh)? })
    }

    /// Returns what the words alone tell; `None` where somebody must read or measure them. Where a judge is at hand it
    /// reads short answers, too, since "yes" and "yes, it does" are the same to it alone.
    ///
    /// Longer answers are never held to differ for a number that only one of them names: one of them gives an example
    /// more, or a year, and both are right.
    pub fn by_words(&self, has_judge: bool) -> Option<Verdict> {
        if normal(&self.served) == normal(&self.fresh) {
            return Some(Verdict::Same);
        }
        let are_short = is_short(&self.served) && is_short(&self.fresh);
        (are_short && !has_judge).then_some(Verdict::Different)
    }

    /// Returns what is to be embedded of them.
    pub fn beginnings(&self) -> [&str; 2] {
        [&self.served, &self.fresh].map(|text| beginning(text, EMBEDDED_CHARS))
    }
}

/// Returns what the cosine of the embeddings of two longer answers means.
pub fn by_cosine(cosine: f32) -> Verdict {
    if cosine >= SAME_COSINE { Verdict::Same } else { Verdict::Different }
}

/// Returns the text of the first choice, if it is nothing but a text that ended by itself.
fn words_of(answer: &ChatResponse) -> Option<String> {
    let choice = answer.choices.first()?;
    let has_ended = matches!(choice.finish, Some(FinishReason::Stop | FinishReason::StopText(_)));
    let text = choice.text().filter(|text| has_ended && !choice.calls_tools() && !text.trim().is_empty())?;
    (!is_refusal(&text)).then(|| text.into_owned())
}

/// By the words that any script has, and not by the spaces between them.
fn is_short(text: &str) -> bool {
    text.unicode_words().take(SHORT_WORDS + 1).count() <= SHORT_WORDS
}

/// Returns a text without what says nothing: case, white space, and what ends it.
fn normal(text: &str) -> String {
    let words: Vec<_> = text.split_whitespace().map(str::to_lowercase).collect();
    words.join(" ").trim_end_matches(|end: char| ".!?…。！？".contains(end) || end.is_whitespace()).to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::chat::{Choice, Part, ToolCall};

    fn answer(content: Vec<Part>, finish: FinishReason) -> ChatResponse {
        let choice = Choice { content, finish: Some(finish), ..Choice::default() };
        ChatResponse { choices: vec![choice], ..ChatResponse::default() }
    }

    fn said(text: &str) -> ChatResponse {
        answer(vec![Part::Text(text.to_owned())], FinishReason::Stop)
    }

    fn by_words(served: &str, fresh: &str) -> Option<Verdict> {
        Texts::of(&said(served), &said(fresh)).expect("two texts").by_words(false)
    }

    #[test]
    fn what_has_no_words_of_its_own_cannot_be_compared() {
        let fine = said("It is blue.");
        let calls = vec![Part::Text("Let me see.".into()), Part::ToolCall(ToolCall::default())];
        for other in [
            ChatResponse::default(),
            said(" \n"),
            said("I'm sorry, but I can't help with that."),
            answer(calls, FinishReason::ToolCalls),
            answer(vec![Part::Text("It is".into())], FinishReason::Length),
        ] {
            assert!(Texts::of(&fine, &other).is_none() && Texts::of(&other, &fine).is_none(), "{other:?}");
        }
    }

    #[test]
    fn short_answers_are_the_same_when_they_are_equal() {
        for (one, other) in
            [("Paris", "paris."), (" Yes!\n", "yes"), ("42", "42"), ("So  it\tis", "so it is…")]
        {
            assert_eq!(by_words(one, other), Some(Verdict::Same), "{one} {other}");
        }
        for (one, other) in [("Paris", "London"), ("42", "43"), ("Yes", "No"), ("3.5", "35"), ("-1", "1")] {
            assert_eq!(by_words(one, other), Some(Verdict::Different), "{one} {other}");
        }
    }

    #[test]
    fn longer_answers_are_left_to_be_measured_whatever_numbers_they_name() {
        let one =
            "Glaciers carve valleys over thousands of years, by their weight and by the stones in them.";
        let other = format!("{one} The last one here melted in 1912, and its valley is 7 km long.");
        assert_eq!(by_words(one, &other), None);
        assert_eq!(by_words("Yes", one), None, "one of them is not short");
        assert_eq!(by_words(one, &one.to_uppercase()), Some(Verdict::Same));
        assert_eq!((by_cosine(0.70), by_cosine(0.69)), (Verdict::Same, Verdict::Different));
    }

    #[test]
    fn a_judge_reads_short_answers_unless_they_are_equal() {
        let texts = |one, other| Texts::of(&said(one), &said(other)).expect("two texts").by_words(true);
        assert_eq!(texts("Yes.", "yes"), Some(Verdict::Same));
        assert_eq!(texts("Yes.", "Yes, it does."), None);
    }

    #[test]
    fn a_script_without_spaces_has_words_too() {
        let long = "冰川用自身的重量和其中的石头在数千年里刻出山谷";
        assert_eq!(by_words(long, "河流在平原上慢慢地流动并带来泥沙和养分"), None);
    }

    #[test]
    fn only_the_beginning_is_embedded() {
        let texts = Texts::of(&said(&"é ".repeat(3_000)), &said("short")).expect("two texts");
        let [served, fresh] = texts.beginnings();
        assert_eq!((served.chars().count(), fresh), (EMBEDDED_CHARS, "short"));
    }
}
