//! Does a prompt ask about now?
//!
//! Such a prompt is answered only from its own exact repetition, and not for long. Words are matched whole and as
//! phrases, so `know` is no "now", `now()` is code, and "electric current" is no "current price". Material that an
//! operation works on says nothing about what is asked: "translate: see you tomorrow" keeps for ever.

use std::sync::LazyLock;

use super::guards::lexicon::{List, Phrases};
use super::guards::token::{self, Kind, Token};
use super::guards::without_material;

/// Whether the answer to a prompt depends on when it is asked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Volatility {
    /// Nothing says so.
    Timeless,
    /// The prompt holds this cue.
    AsksAboutNow {
        /// The line of the word file that was found.
        cue: &'static str,
    },
}

static CUES: LazyLock<Phrases> = LazyLock::new(|| List::Volatile.phrases("asks about now"));
static EXCEPTIONS: LazyLock<Phrases> = LazyLock::new(|| List::Volatile.phrases("not about now"));

impl Volatility {
    /// Judges a prompt by its words.
    pub fn of(prompt: &str) -> Self {
        // Few prompts hold a cue, so the material is cut out only where there is one.
        let found = cue(&token::tokens(prompt)).and_then(|cue_anywhere| match without_material(prompt) {
            Some(instruction) => cue(&token::tokens(&instruction)),
            None => Some(cue_anywhere),
        });
        found.map_or(Volatility::Timeless, |cue| Volatility::AsksAboutNow { cue })
    }

    /// Returns whether the prompt asks about now.
    pub fn is_volatile(self) -> bool {
        matches!(self, Volatility::AsksAboutNow { .. })
    }
}

/// Returns the first cue that stands outside every exception.
fn cue(tokens: &[Token]) -> Option<&'static str> {
    let mut covered = 0;
    let mut at = 0;
    // An exception may start before the cue ("chicken stock"), so both are sought from left to right.
    while at < tokens.len() {
        if let Some((length, _)) = EXCEPTIONS.at(tokens, at) {
            covered = covered.max(at + length);
        }
        if at >= covered
            && tokens[at].kind == Kind::Word
            && let Some((length, cue)) = CUES.at(tokens, at)
        {
            let excepted = (at + 1..at + length).any(|start| {
                EXCEPTIONS.at(tokens, start).is_some_and(|(taken, _)| start + taken >= at + length)
            });
            if !excepted {
                return Some(cue);
            }
        }
        at += 1;
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Lines of `volatile|timeless<TAB>prompt`.
    const CASES: &str = include_str!("../../models/guards/cases/volatile.txt");

    #[test]
    fn cases() {
        let wrong: Vec<String> = CASES
            .lines()
            .filter(|line| !line.is_empty() && !line.starts_with('#'))
            .filter_map(|line| {
                let (expected, prompt) = line.split_once('\t')?;
                let found = Volatility::of(&prompt.replace("\\n", "\n"));
                (found.is_volatile() != (expected == "volatile")).then(|| format!("{line}: {found:?}"))
            })
            .collect();
        assert!(wrong.is_empty(), "{wrong:#?}");
    }

    #[test]
    fn the_cue_is_named() {
        assert_eq!(Volatility::of("Weather in Oslo tomorrow?"), Volatility::AsksAboutNow { cue: "weather" });
    }
}
