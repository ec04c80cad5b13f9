//! Both sides negate the same number of times.
//!
//! "Not without" and "not unknown" cancel out. A word beside its own contrary ("known" here, "unknown" there) counts as
//! one negation more. Where the count agrees, what is negated must not have changed places ("cats, not dogs").

use std::sync::LazyLock;

use super::lexicon::{List, Phrases, WordSet};
use super::token::{Kind, Token};

/// A second negation this close behind the first cancels it.
const CANCEL_WORDS_MAX: usize = 2;
/// Shorter stems are other words: "in" and "inform".
const STEM_BYTES_MIN: usize = 4;

struct Words {
    negations: Phrases,
    neutral: Phrases,
    auxiliaries: WordSet,
    fillers: WordSet,
    opposites: Vec<&'static str>,
    lessening: WordSet,
    implicit: WordSet,
}

static WORDS: LazyLock<Words> = LazyLock::new(|| Words {
    negations: List::Negation.phrases("negations"),
    neutral: List::Negation.phrases("neutral"),
    auxiliaries: List::Negation.lines("auxiliaries").collect(),
    fillers: List::Negation.lines("fillers").collect(),
    opposites: List::Negation.lines("opposites").collect(),
    lessening: List::Negation.lines("lessening").collect(),
    implicit: List::Negation.lines("implicit").collect(),
});

/// What one prompt negates.
#[derive(Clone, Debug, Default)]
pub(super) struct Negation {
    /// The words that negate, after cancelling.
    said: Vec<String>,
    /// The words that are negated, where the grammar leaves no doubt.
    targets: Vec<String>,
    /// Words that start like a contrary, with the length of the prefix: only the other prompt shows whether they are
    /// one.
    contraries: Vec<(String, usize)>,
    /// How many words lessen: beside a contrary they count like a negation ("less happy", "more unhappy").
    lessening: usize,
    /// Words that may say the same as a negation.
    implicit: Vec<String>,
}

impl Negation {
    pub(super) fn of(tokens: &[Token]) -> Self {
        let mut negation = Negation::default();
        let mut last: Option<usize> = None;
        let mut at = 0;
        while let Some(token) = tokens.get(at) {
            let start = at;
            at += 1;
            match token.kind {
                Kind::Word | Kind::Code { .. } => {}
                Kind::Break => {
                    // A comma does not part "not, without", a full stop does.
                    last = last.filter(|_| token.text == ",");
                    continue;
                }
                Kind::Number(_) | Kind::Symbol => continue,
            }
            if let Some((length, _)) = WORDS.neutral.at(tokens, start) {
                at = start + length;
                continue;
            }
            let Some(length) = negates(tokens, start) else {
                negation.note(&token.text);
                continue;
            };
            at = start + length;
            let cancels = last.is_some_and(|last| start - last <= CANCEL_WORDS_MAX + 1);
            if cancels
                || token.text == "nor" && negation.said.iter().any(|said| said == "neither" || said == "no")
            {
                if cancels {
                    negation.said.pop();
                    negation.targets.pop();
                }
                last = None;
                continue;
            }
            last = Some(start);
            negation.said.push(token.text.clone());
            if let Some(target) = target(tokens, start, at) {
                negation.targets.push(target.to_owned());
            }
        }
        negation
    }

    fn note(&mut self, word: &str) {
        let stem = |prefix: &&&str| word.starts_with(**prefix) && word.len() >= prefix.len() + STEM_BYTES_MIN;
        for prefix in WORDS.opposites.iter().filter(stem) {
            self.contraries.push((word.to_owned(), prefix.len()));
        }
        self.lessening += usize::from(WORDS.lessening.contains(word));
        if WORDS.implicit.contains(word) {
            self.implicit.push(word.to_owned());
        }
    }

    /// Returns why the two sides may not share an answer; the tokens are those the negations were read from.
    pub(super) fn differ(&self, here: &[Token], stored: &Negation, there: &[Token]) -> Option<String> {
        let ours = self.contraries_beside(here, there);
        let theirs = stored.contraries_beside(there, here);
        let (mut asked, mut other) = (self.said.len() + ours.len(), stored.said.len() + theirs.len());
        let mut same = asked == other;
        if ours.len() + theirs.len() > 0 {
            // A contrary may cancel a negation: "not unknown" beside "known".
            asked += self.lessening;
            other += stored.lessening;
            same = asked % 2 == other % 2;
        }
        let excused = if asked < other { self.excuses(there) } else { stored.excuses(here) };
        if !same && asked.abs_diff(other) > excused {
            return Some(format!(
                "one prompt negates what the other does not: asked {}, stored {}",
                list(&self.said, &ours),
                list(&stored.said, &theirs)
            ));
        }
        let ([a], [b]) = (self.targets.as_slice(), stored.targets.as_slice()) else { return None };
        (a != b && holds(there, a) && holds(here, b))
            .then(|| format!("the asked prompt excludes \"{a}\", the stored one \"{b}\""))
    }

    /// Returns how many negations of the other side this side may say in other words.
    fn excuses(&self, there: &[Token]) -> usize {
        self.implicit.iter().filter(|word| !holds(there, word)).count()
    }

    /// Returns this side's contraries whose stem stands on the other side, and that the other side lacks.
    fn contraries_beside(&self, here: &[Token], there: &[Token]) -> Vec<&str> {
        let contrary = |(word, prefix): &&(String, usize)| {
            let stem = &word[*prefix..];
            holds(there, stem) && !holds(there, word) && !holds(here, stem)
        };
        self.contraries.iter().filter(contrary).map(|(word, _)| word.as_str()).collect()
    }
}

fn holds(tokens: &[Token], word: &str) -> bool {
    tokens.iter().any(|token| token.text == word)
}

/// Returns how many words the negation at `at` takes.
fn negates(tokens: &[Token], at: usize) -> Option<usize> {
    let token = tokens.get(at).filter(|token| token.kind == Kind::Word)?;
    if token.text.ends_with("n't") {
        return Some(1);
    }
    WORDS.negations.at(tokens, at).map(|(length, _)| length)
}

/// Returns the word that the negation at `from..to` excludes; `None` where it negates the verb.
fn target(tokens: &[Token], from: usize, to: usize) -> Option<&str> {
    let constituent = matches!(tokens[from].text.as_str(), "not" | "without" | "no" | "non");
    let after_auxiliary = from > 0 && WORDS.auxiliaries.contains(tokens[from - 1].text.as_str());
    if !constituent || after_auxiliary {
        return None;
    }
    let mut words = tokens[to..].iter().take_while(|token| token.kind == Kind::Word);
    words.find(|token| !WORDS.fillers.contains(token.text.as_str())).map(|token| token.text.as_str())
}

fn list(said: &[String], contraries: &[&str]) -> String {
    let words: Vec<String> = said
        .iter()
        .map(String::as_str)
        .chain(contraries.iter().copied())
        .map(|w| format!("\"{w}\""))
        .collect();
    if words.is_empty() { "nothing".to_owned() } else { words.join(" and ") }
}
