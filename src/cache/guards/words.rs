//! The words of a prompt that carry meaning, and when two of them are the same one.

use std::collections::{HashMap, HashSet};
use std::sync::LazyLock;

use rust_stemmers::{Algorithm, Stemmer};

use super::lexicon::{List, WordSet};
use super::token::{Kind, Token};

/// Shorter words are other words when one letter differs: "cat" and "car".
const TYPO_LETTERS_MIN: usize = 4;
/// From so many letters on, two slips are one word still.
const TWO_TYPOS_LETTERS_MIN: usize = 8;
/// A prompt in which so many of a hundred long words begin with a capital does not mark its names by them.
const TITLE_CASE_PERCENT: usize = 60;

/// A word that means something by itself.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Word {
    pub(super) text: String,
    pub(super) stem: String,
    /// Where it stands among the tokens.
    pub(super) at: usize,
    /// Whether it only frames what is asked ("please explain"), so that it may be missing on one side.
    pub(super) is_light: bool,
    /// Whether it names somebody or something, as far as its capital tells.
    pub(super) is_name: bool,
}

struct Lists {
    function: WordSet,
    light: WordSet,
    negations: WordSet,
    /// Stems of every common word: what is none of them may be a typo of one.
    known: HashSet<String>,
    /// Stem to the meanings that it may have.
    meanings: HashMap<String, Vec<u32>>,
    units: super::lexicon::WordMap<&'static str>,
}

static LISTS: LazyLock<Lists> = LazyLock::new(|| {
    let stemmer = stemmer();
    let stem = |word: &str| stemmer.stem(word).into_owned();
    let mut meanings: HashMap<String, Vec<u32>> = HashMap::new();
    let written = List::Alike
        .pairs("alike")
        .map(|(name, forms)| forms.split(',').map(str::trim).chain([name]).collect::<Vec<_>>());
    let wordnet = List::Synonyms.pairs("synonyms").map(|(one, other)| vec![one, other]);
    for (meaning, words) in (0_u32..).zip(written.chain(wordnet)) {
        for word in words {
            let known = meanings.entry(stem(word)).or_default();
            if !known.contains(&meaning) {
                known.push(meaning);
            }
        }
    }
    Lists {
        function: List::Content.lines("function words").collect(),
        light: List::Content.lines("light words").collect(),
        negations: List::Negation.lines("negations").filter(|line| !line.contains(' ')).collect(),
        known: List::Words.lines("words").map(stem).collect(),
        meanings,
        units: List::Units.forms("units"),
    }
});

fn stemmer() -> Stemmer {
    Stemmer::create(Algorithm::English)
}

/// Reads the words of a prompt that carry meaning, in their order.
pub(super) fn words(tokens: &[Token]) -> Vec<Word> {
    let stemmer = stemmer();
    let marks_names = marks_names(tokens);
    let mut found = Vec::new();
    let mut begins = true;
    for (at, token) in tokens.iter().enumerate() {
        let begins_sentence = std::mem::replace(&mut begins, false);
        let mut push = |text: &str, is_name: bool| {
            let is_light = LISTS.light.contains(text);
            found.push(Word {
                text: text.to_owned(),
                stem: stemmer.stem(text).into_owned(),
                at,
                is_light,
                is_name,
            });
        };
        match &token.kind {
            Kind::Word if carries_meaning(&token.text) => {
                let is_name = token.capital
                    && marks_names
                    && (!begins_sentence || !LISTS.known.contains(&*stemmer.stem(&token.text)));
                push(&token.text, is_name);
            }
            // The same may be written as words on the other side.
            Kind::Code { named: true } => {
                let parts = token.text.split(|c: char| !c.is_alphanumeric());
                parts.filter(|part| !part.is_empty()).for_each(|part| push(part, false));
            }
            Kind::Break => begins = matches!(token.text.as_str(), "." | "?" | "!" | ":" | "…"),
            Kind::Word | Kind::Code { named: false } | Kind::Number(_) | Kind::Symbol => {}
        }
    }
    found
}

/// Returns whether it is a common word, in any of its forms.
pub(super) fn is_known(word: &str) -> bool {
    LISTS.known.contains(&*stemmer().stem(word))
}

/// Numbers, dates and negations are read by guards of their own.
fn carries_meaning(word: &str) -> bool {
    !LISTS.function.contains(word)
        && !LISTS.negations.contains(word)
        && !word.ends_with("n't")
        && !super::mentions::is_numeral(word)
        && word.chars().count() > 1
}

/// Where most words have a capital, or nearly all letters are capitals, a capital marks no name.
fn marks_names(tokens: &[Token]) -> bool {
    let long = tokens.iter().filter(|token| token.kind == Kind::Word && token.text.len() > 3);
    let (capitals, all) =
        long.fold((0, 0), |(capitals, all), token| (capitals + usize::from(token.capital), all + 1));
    all < 3 || capitals * 100 < all * TITLE_CASE_PERCENT
}

/// Returns whether two words say the same: one stem, one unit, one meaning, or one of them a slip of the other.
pub(super) fn same(one: &Word, other: &Word) -> bool {
    one.text == other.text
        || one.stem == other.stem
        || same_unit(&one.text, &other.text)
        || share_meaning(&one.stem, &other.stem)
        || is_typo(one, other)
}

fn same_unit(one: &str, other: &str) -> bool {
    LISTS.units.get(one).is_some_and(|unit| LISTS.units.get(other) == Some(unit))
}

fn share_meaning(one: &str, other: &str) -> bool {
    let meanings = |stem: &str| LISTS.meanings.get(stem).map_or(&[][..], Vec::as_slice);
    meanings(one).iter().any(|meaning| meanings(other).contains(meaning))
}

/// Two words that are both common are two words, however near.
fn is_typo(one: &Word, other: &Word) -> bool {
    let letters = one.text.chars().count().min(other.text.chars().count());
    let is_prose = |word: &Word| word.text.chars().all(char::is_alphabetic);
    let slips_max = if letters >= TWO_TYPOS_LETTERS_MIN { 2 } else { 1 };
    letters >= TYPO_LETTERS_MIN
        && is_prose(one)
        && is_prose(other)
        && one.text.chars().next() == other.text.chars().next()
        && !(LISTS.known.contains(&one.stem) && LISTS.known.contains(&other.stem))
        && strsim::osa_distance(&one.text, &other.text) <= slips_max
}
