//! The text in a prompt that its instruction works on, as it was written.
//!
//! What `payload` compares is folded, and it takes too much for material rather than too little. This is for showing:
//! the lines are as they were, and where the instruction cannot be told from the text there is no material.

use std::borrow::Cow;

use super::instruction::{self, Clue};
use super::payload::{collapsed, instruction_line, lines, without_label, without_name};

/// Lines of instruction that may stand before and after the text: who the model is to be, what it is to do, how long.
const INSTRUCTIONS_MAX: usize = 3;

/// A prompt taken apart.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Material<'a> {
    /// What is to be done.
    pub instruction: String,
    /// What it is to be done with; never empty.
    pub text: Cow<'a, str>,
}

impl<'a> Material<'a> {
    /// Takes a prompt apart; `None` where it is no instruction over a text, or the two cannot be told apart.
    pub fn of(prompt: &'a str) -> Option<Self> {
        let mut material = peeled(prompt)?;
        for _ in 1..INSTRUCTIONS_MAX {
            let Cow::Borrowed(text) = material.text else { break };
            // A text may well begin with a question of its own; only what works on a text belongs to the instruction.
            let Some((more, text)) = by_line(text).filter(|(line, _)| operates(line)) else { break };
            let instruction = format!("{} {more}", material.instruction);
            material = Self { instruction, text: Cow::Borrowed(text) };
        }
        Some(material)
    }

    /// Returns whether the instruction asks for a summary of the text.
    pub fn is_to_be_summarised(&self) -> bool {
        instruction::asks_for_summary(&self.instruction)
    }
}

fn operates(instruction: &str) -> bool {
    instruction::clue(instruction, false) != Clue::None
}

/// Takes the instruction off a prompt: a line of its own, what stands before a colon, or a sentence of the only line.
fn peeled(prompt: &str) -> Option<Material<'_>> {
    let lines = lines(prompt);
    let first = lines.first()?.text;
    let headed = || headed(first).and_then(|head| parted(head, prompt.split_once(head)?.1));
    match by_line(prompt).or_else(headed) {
        Some((instruction, text)) => {
            Some(Material { instruction: instruction.to_owned(), text: Cow::Borrowed(text) })
        }
        None if lines.len() == 1 => within(first),
        None => None,
    }
}

/// Takes a line of instruction off the beginning or the end of several.
fn by_line(text: &str) -> Option<(&str, &str)> {
    let lines = lines(text);
    if lines.len() < 2 {
        return None;
    }
    let at = instruction_line(&lines)?;
    let line = lines[at].text;
    match at {
        0 => {
            // Where the line goes on behind a colon, the text begins there.
            let head = headed(line).unwrap_or(line);
            parted(head, text.split_once(head)?.1)
        }
        _ => parted(line, text.rsplit_once(line)?.0),
    }
}

fn parted<'a>(instruction: &'a str, text: &'a str) -> Option<(&'a str, &'a str)> {
    let text = bare(text);
    (!text.is_empty()).then_some((instruction, text))
}

/// Returns the head of "Summarise the following: TEXT".
fn headed(line: &str) -> Option<&str> {
    let line = without_label(line);
    let colon = line.match_indices(':').map(|(at, _)| at + 1);
    let mut parts =
        colon.map(|end| line.split_at(end)).filter(|(_, text)| text.starts_with(char::is_whitespace));
    parts.next().filter(|(head, text)| operates(head) && !text.trim().is_empty()).map(|(head, _)| head)
}

/// "Summarise this text. TEXT": the text is what the operation leaves over.
fn within(line: &str) -> Option<Material<'_>> {
    let Clue::Material(words) = instruction::clue(without_label(line), false) else { return None };
    let line = collapsed(line);
    let start = line.find(&words)?;
    // The words come without the punctuation behind them.
    let rest = &line[start + words.len()..];
    let end =
        start + words.len() + (rest.len() - rest.trim_start_matches(['.', '!', '?', '"', '”', '\'']).len());
    let instruction = format!("{}{}", &line[..start], &line[end..]);
    let text = bare(&line[start..end]);
    (!text.is_empty()).then(|| Material { instruction, text: Cow::Owned(text.to_owned()) })
}

/// Takes away what only shows where a text begins and ends: rules, fences, quotes around it, "Text:".
fn bare(text: &str) -> &str {
    let mut text = text.trim();
    loop {
        let shorter = without_mark(text);
        if shorter.len() == text.len() {
            return without_name(text).trim();
        }
        text = shorter;
    }
}

fn without_mark(text: &str) -> &str {
    const QUOTES: [(char, char); 5] = [('"', '"'), ('“', '”'), ('«', '»'), ('\'', '\''), ('`', '`')];
    let is_mark = |line: &str| {
        let is_fence = line.starts_with("```") || line.starts_with("~~~");
        is_fence || !line.contains(char::is_alphanumeric)
    };
    if let Some((first, rest)) = text.split_once('\n')
        && is_mark(first)
    {
        return rest.trim();
    }
    if let Some((rest, last)) = text.rsplit_once('\n')
        && is_mark(last)
    {
        return rest.trim();
    }
    let quoted = QUOTES.iter().find_map(|(open, close)| {
        let inside = text.strip_prefix(*open)?.strip_suffix(*close)?;
        (!inside.contains([*open, *close])).then_some(inside)
    });
    quoted.map_or(text, str::trim)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn a_text_is_told_from_its_instruction() {
        for (prompt, text) in [
            ("Summarize the following: Cats sleep. Dogs bark.", "Cats sleep. Dogs bark."),
            ("Summarise:\n\nCats sleep.\nDogs bark.", "Cats sleep.\nDogs bark."),
            ("Please summarize this article.\n\nCats sleep.\n\nDogs bark.", "Cats sleep.\n\nDogs bark."),
            ("Summarise this: Cats sleep.\n\nDogs bark.", "Cats sleep.\n\nDogs bark."),
            ("Cats sleep. Dogs bark.\n\nSummarise the text above in one sentence.", "Cats sleep. Dogs bark."),
            ("Summarize this text. Cats sleep. Dogs bark.", "Cats sleep. Dogs bark."),
            ("You are an editor.\nSummarize the text below.\n\nCats sleep all day.", "Cats sleep all day."),
            ("Summarize:\n\n```\nCats sleep.\n```", "Cats sleep."),
            ("Summarize the text.\n---\nText: Cats sleep.\n---", "Cats sleep."),
            ("Give me a summary of: \"Cats sleep. Dogs bark.\"", "Cats sleep. Dogs bark."),
            ("Translate into French: good morning", "good morning"),
        ] {
            let material = Material::of(prompt).unwrap_or_else(|| panic!("no material: {prompt}"));
            assert_eq!(material.text, text, "{prompt}");
            assert_eq!(material.is_to_be_summarised(), !prompt.starts_with("Translate"), "{prompt}");
        }
    }

    #[test]
    fn where_there_is_no_text_to_work_on_there_is_no_material() {
        for prompt in ["What is a fjord?", "", "---", "Cats sleep.\nDogs bark.\nCows moo.", "Note: it rains."]
        {
            assert_eq!(Material::of(prompt), None, "{prompt}");
        }
    }

    #[test]
    fn a_summary_is_asked_for_by_the_instruction_and_not_by_the_text() {
        let asks = |prompt| Material::of(prompt).is_some_and(|material| material.is_to_be_summarised());
        assert!(asks("tl;dr: Cats sleep. Dogs bark."));
        assert!(asks("List the key points of this text:\n\nCats sleep. Dogs bark."));
        assert!(!asks("Correct the grammar of this text: The summary were bad."));
        assert!(!asks("What is a summary judgment?"));
    }

    proptest! {
        #[test]
        fn whatever_is_taken_apart_was_there(
            pieces in prop::collection::vec(
                prop::sample::select(vec![
                    "Summarise", "this", "text", "the following", ":", ": ", "\n", "\n\n", "Cats sleep.", "é", "\"", "```",
                    "Text: ", " ", "above", "in one sentence", "?", "---",
                ]),
                0..12,
            ),
        ) {
            let prompt = pieces.concat();
            if let Some(material) = Material::of(&prompt) {
                prop_assert!(!material.text.trim().is_empty(), "{prompt:?}");
                let there = prompt.contains(&*material.text) || collapsed(&prompt).contains(&*material.text);
                prop_assert!(there, "{material:?} of {prompt:?}");
            }
        }
    }
}
