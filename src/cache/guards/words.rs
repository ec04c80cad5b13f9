//! The words of a prompt that carry meaning, and when two of them are the same one.

use std::collections::{HashMap, HashSet};
use std::sync::LazyLock;

use rust_stemmers::{Algorithm, Stemmer};

use super::lexicon::{List, WordSet};
use super::token::{Kind, Token};

/// Shorter words are other words when one letter differs: "cat" and "car".
const TYPO_LETTERS_MIN: usize = 4;
/// Words of a prompt that are read; whatever has more is longer than any model's window, and matched by equality alone.
const WORDS_MAX: usize = 600;
/// What may stand behind one stem for it to be the same word: "university" and "universe" share a stem and no meaning.
const INFLECTIONS: [&str; 24] = [
    "", "s", "es", "'s", "e", "ed", "d", "ing", "er", "ers", "r", "y", "ies", "ied", "ly", "al", "ally",
    "ily", "n", "en", "est", "ier", "iest", "ic",
];
/// A prompt in which so many of a hundred words begin with a capital does not mark its names by them.
const TITLE_CASE_PERCENT: usize = 75;

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
    /// Whether it is a common word, so that it is no slip of another one.
    pub(super) is_known: bool,
    /// The meanings that it may have: two words that share one may stand for one another.
    meanings: &'static [u32],
    unit: Option<&'static str>,
}

struct Lists {
    function: WordSet,
    light: WordSet,
    negations: WordSet,
    /// Common words, and their stems: what is none of them may be a typo of one.
    common: WordSet,
    known: HashSet<String>,
    /// Word to the meanings that it may have, and the same by stem for forms that stand in no list.
    meanings: HashMap<String, Vec<u32>>,
    meanings_by_stem: HashMap<String, Vec<u32>>,
    units: super::lexicon::WordMap<&'static str>,
}

static LISTS: LazyLock<Lists> = LazyLock::new(|| {
    let stemmer = stemmer();
    let stem = |word: &str| stemmer.stem(word).into_owned();
    let (mut meanings, mut meanings_by_stem) = (HashMap::new(), HashMap::new());
    let note = |map: &mut HashMap<String, Vec<u32>>, word: String, meaning| {
        let known = map.entry(word).or_default();
        if !known.contains(&meaning) {
            known.push(meaning);
        }
    };
    let written = List::Alike
        .pairs("alike")
        .map(|(name, forms)| forms.split(',').map(str::trim).chain([name]).collect::<Vec<_>>());
    let wordnet = List::Synonyms.pairs("synonyms").map(|(one, other)| vec![one, other]);
    for (meaning, words) in (0_u32..).zip(written.chain(wordnet)) {
        for word in words {
            note(&mut meanings, word.to_owned(), meaning);
            note(&mut meanings_by_stem, stem(word), meaning);
        }
    }
    Lists {
        function: List::Content.lines("function words").collect(),
        light: List::Content.lines("light words").collect(),
        negations: List::Negation.lines("negations").filter(|line| !line.contains(' ')).collect(),
        common: List::Words.lines("words").collect(),
        known: List::Words.lines("words").map(stem).collect(),
        meanings,
        meanings_by_stem,
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
        if found.len() >= WORDS_MAX {
            break;
        }
        let begins_sentence = std::mem::replace(&mut begins, false);
        let mut push = |text: &str, may_be_name: bool| {
            let stem = stemmer.stem(text).into_owned();
            let is_known = LISTS.known.contains(&stem);
            found.push(Word {
                // The first word of a sentence has its capital for that.
                is_name: may_be_name && (!begins_sentence || !is_known),
                is_light: LISTS.light.contains(text),
                meanings: meanings_of(text, &stem),
                unit: LISTS.units.get(text).copied(),
                text: text.to_owned(),
                stem,
                at,
                is_known,
            });
        };
        match &token.kind {
            Kind::Word if carries_meaning(&token.text) => push(&token.text, token.capital && marks_names),
            // Vitamin A, plan A, hepatitis A.
            Kind::Word if token.text == "a" && token.capital && marks_names && !begins_sentence => {
                push("a", true)
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

/// A word that is common itself has no meanings of another one with its stem: "university" and "universe".
fn meanings_of(text: &str, stem: &str) -> &'static [u32] {
    let by_stem = || LISTS.meanings_by_stem.get(stem).filter(|_| !LISTS.common.contains(text));
    LISTS.meanings.get(text).or_else(by_stem).map_or(&[], Vec::as_slice)
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
}

/// Where most words have a capital, or nearly all letters are capitals, a capital marks no name. The first word has one
/// anyway.
fn marks_names(tokens: &[Token]) -> bool {
    let words =
        tokens.iter().filter(|token| token.kind == Kind::Word && token.text.chars().count() > 1).skip(1);
    let (capitals, all) =
        words.fold((0, 0), |(capitals, all), token| (capitals + usize::from(token.capital), all + 1));
    all < 2 || capitals * 100 < all * TITLE_CASE_PERCENT
}

/// Returns whether two words say the same: one word in two forms, one unit, one meaning, or one of them a slip of the other.
pub(super) fn same(one: &Word, other: &Word) -> bool {
    if one.text == other.text {
        return true;
    }
    if let (Some(ours), Some(theirs)) = (one.unit, other.unit) {
        return ours == theirs;
    }
    is_inflected(one, other)
        || one.meanings.iter().any(|meaning| other.meanings.contains(meaning))
        || is_typo(one, other)
}

/// One stem, and nothing but an ending behind what both begin with.
fn is_inflected(one: &Word, other: &Word) -> bool {
    if one.stem != other.stem {
        return false;
    }
    let common: usize =
        one.text.chars().zip(other.text.chars()).take_while(|(a, b)| a == b).map(|(a, _)| a.len_utf8()).sum();
    // "run" and "running" double a letter, "make" and "making" lose one.
    let is_ending = |word: &Word| {
        let ending = &word.text[common..];
        let doubled = ending.chars().next().filter(|first| word.text[..common].ends_with(*first));
        INFLECTIONS.contains(&ending)
            || doubled.is_some_and(|first| INFLECTIONS.contains(&&ending[first.len_utf8()..]))
    };
    is_ending(one) && is_ending(other)
}

/// A word that is no common word may be a slip of one that is. Two common words are two words however near, and so are two
/// that nobody knows: names and terms often differ in one letter.
fn is_typo(one: &Word, other: &Word) -> bool {
    let is_prose = |word: &Word| word.text.chars().all(char::is_alphabetic);
    one.is_known != other.is_known
        && !one.is_name
        && !other.is_name
        && one.text.chars().next() == other.text.chars().next()
        && one.text.chars().count().min(other.text.chars().count()) >= TYPO_LETTERS_MIN
        && is_prose(one)
        && is_prose(other)
        && strsim::osa_distance(&one.text, &other.text) <= 1
}
