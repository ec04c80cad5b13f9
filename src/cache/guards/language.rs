//! Neither prompt seems to be written in a language that the embedding model does not know.
//!
//! An English model puts unrelated sentences of another language close together. Short prompts of key words cannot be
//! told apart by a list of words alone, so three signs must agree: no function word of a known language, at least
//! three words, and letters with marks or many tokens per word. Code tells nothing.

use std::sync::LazyLock;

use super::Side;
use super::lexicon::{self, WordSet};
use super::token::{Kind, Token};
use super::words;

const WORDS_MIN: usize = 3;
/// Where so many of a hundred words are common words of a known language, it is written in it.
const KNOWN_PERCENT: usize = 60;
/// Tokens per word above which a text is likely in no language of the model's vocabulary. Measured with
/// all-MiniLM-L6-v2: English questions 1.0 to 1.4, English key words up to 1.8, other languages 1.3 to 5.
const TOKENS_PER_WORD_MAX: f32 = 1.5;
/// The marks that the tokenizer puts at both ends.
const SPECIAL_TOKENS: usize = 2;

static FUNCTION_WORDS: LazyLock<Vec<(&str, WordSet)>> = LazyLock::new(lexicon::function_words);

/// What one prompt shows of its language.
#[derive(Clone, Debug, Default)]
pub(super) struct Language {
    /// The languages whose function words it holds.
    told: Vec<&'static str>,
    words: usize,
    /// Those that are common words of a known language.
    known: usize,
    /// Signs and digits: tokens that are no words.
    signs: usize,
    marked: bool,
    code: bool,
}

impl Language {
    pub(super) fn of(text: &str, tokens: &[Token]) -> Self {
        let told = |(_, words): &&(&'static str, WordSet)| {
            tokens.iter().any(|token| token.kind == Kind::Word && words.contains(token.text.as_str()))
        };
        Self {
            told: FUNCTION_WORDS.iter().filter(told).map(|(language, _)| *language).collect(),
            words: tokens.iter().filter(|token| token.kind == Kind::Word).count(),
            known: tokens
                .iter()
                .filter(|token| token.kind == Kind::Word && words::is_known(&token.text))
                .count(),
            signs: text.chars().filter(|c| !c.is_alphabetic() && !c.is_whitespace()).count(),
            marked: text.chars().any(|c| !c.is_ascii() && c.is_alphabetic()),
            code: tokens.iter().any(|token| matches!(token.kind, Kind::Code { .. } | Kind::Symbol)),
        }
    }

    /// Whether the prompt seems to be in none of the known languages.
    fn is_foreign(&self, tokens: usize, known: &[String]) -> bool {
        let told = self.told.iter().any(|language| known.iter().any(|known| known == language));
        let spent = tokens.saturating_sub(SPECIAL_TOKENS + self.signs);
        let many = spent as f32 > self.words as f32 * TOKENS_PER_WORD_MAX;
        let is_known = self.known * 100 >= self.words * KNOWN_PERCENT;
        !told && !self.code && !is_known && self.words >= WORDS_MIN && (self.marked || many)
    }
}

/// Returns which prompt the model cannot be trusted with.
pub(super) fn differ(asked: &Side<'_>, stored: &Side<'_>, known: &[String]) -> Option<String> {
    let foreign = |side: &Side<'_>| side.prompt.language.is_foreign(side.tokens, known);
    let which = if foreign(asked) {
        "asked"
    } else if foreign(stored) {
        "stored"
    } else {
        return None;
    };
    Some(format!(
        "the {which} prompt seems to be written in a language that the embedding model does not know \
         (it knows {})",
        known.join(", ")
    ))
}
