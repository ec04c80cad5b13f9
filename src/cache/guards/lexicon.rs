//! The word lists of `models/guards/`, embedded and read once.
//!
//! The lists of all languages are read together. To add a language, add its files to the arrays below.

use std::collections::{HashMap, HashSet};
use std::hash::{BuildHasherDefault, Hasher};

const NEGATION: &[&str] = &[include_str!("../../../models/guards/negation.en.txt")];
const NUMBERS: &[&str] = &[include_str!("../../../models/guards/numbers.en.txt")];
const UNITS: &[&str] = &[include_str!("../../../models/guards/units.en.txt")];
const OPERATIONS: &[&str] = &[include_str!("../../../models/guards/operations.en.txt")];
const CODE: &[&str] = &[include_str!("../../../models/guards/code.txt")];
const CONTENT: &[&str] = &[include_str!("../../../models/guards/content.en.txt")];
const ALIKE: &[&str] = &[include_str!("../../../models/guards/alike.en.txt")];
const SYNONYMS: &[&str] = &[include_str!("../../../models/guards/synonyms.wordnet.en.txt")];
const WORDS: &[&str] = &[include_str!("../../../models/guards/words.wordnet.en.txt")];
const OPPOSITES: &[&str] = &[
    include_str!("../../../models/guards/opposites.en.txt"),
    include_str!("../../../models/guards/opposites.wordnet.en.txt"),
];
const SCOPE: &[&str] = &[include_str!("../../../models/guards/scope.en.txt")];
const PERSON: &[&str] = &[include_str!("../../../models/guards/person.en.txt")];
const ASKED: &[&str] = &[include_str!("../../../models/guards/asked.en.txt")];
const ROLES: &[&str] = &[include_str!("../../../models/guards/roles.en.txt")];
const VOLATILE: &[&str] = &[include_str!("../../../models/guards/volatile.en.txt")];

/// By language code: a model knows some languages and not others.
const LANGUAGES: &[(&str, &str)] = &[("en", include_str!("../../../models/guards/language.en.txt"))];

/// Words of a list with what the list says about them.
pub(in crate::cache) type WordMap<V> = HashMap<&'static str, V, BuildHasherDefault<Fnv>>;
/// Words of a list.
pub(in crate::cache) type WordSet = HashSet<&'static str, BuildHasherDefault<Fnv>>;

/// FNV-1a. Every word of a prompt is looked up several times; the keys are ours, so nobody can make them collide.
pub(in crate::cache) struct Fnv(u64);

impl Default for Fnv {
    fn default() -> Self {
        Fnv(0xcbf2_9ce4_8422_2325)
    }
}

impl Hasher for Fnv {
    fn finish(&self) -> u64 {
        self.0
    }

    fn write(&mut self, bytes: &[u8]) {
        for byte in bytes {
            self.0 = (self.0 ^ u64::from(*byte)).wrapping_mul(0x0100_0000_01b3);
        }
    }
}

/// One kind of word file.
#[derive(Clone, Copy)]
pub(in crate::cache) enum List {
    Negation,
    Numbers,
    Units,
    Operations,
    Code,
    Content,
    Alike,
    Synonyms,
    Words,
    Opposites,
    Scope,
    Person,
    Asked,
    Roles,
    Volatile,
}

impl List {
    #[cfg(test)]
    const ALL: [List; 15] = [
        List::Negation,
        List::Numbers,
        List::Units,
        List::Operations,
        List::Code,
        List::Content,
        List::Alike,
        List::Synonyms,
        List::Words,
        List::Opposites,
        List::Scope,
        List::Person,
        List::Asked,
        List::Roles,
        List::Volatile,
    ];

    fn files(self) -> &'static [&'static str] {
        match self {
            List::Negation => NEGATION,
            List::Numbers => NUMBERS,
            List::Units => UNITS,
            List::Operations => OPERATIONS,
            List::Code => CODE,
            List::Content => CONTENT,
            List::Alike => ALIKE,
            List::Synonyms => SYNONYMS,
            List::Words => WORDS,
            List::Opposites => OPPOSITES,
            List::Scope => SCOPE,
            List::Person => PERSON,
            List::Asked => ASKED,
            List::Roles => ROLES,
            List::Volatile => VOLATILE,
        }
    }

    /// Returns the lines of one section, without comments, in the order of the files.
    pub(in crate::cache) fn lines(self, section: &'static str) -> impl Iterator<Item = &'static str> {
        self.files().iter().flat_map(move |file| lines(file, section))
    }

    /// Returns `key: value` lines as pairs.
    pub(in crate::cache) fn pairs(
        self,
        section: &'static str,
    ) -> impl Iterator<Item = (&'static str, &'static str)> {
        self.lines(section).map(|line| match line.rsplit_once(':') {
            Some((key, value)) => (key.trim(), value.trim()),
            None => (line, ""),
        })
    }

    /// Returns the forms of `canonical: form, form` lines, each with its canonical name; the name is a form too.
    pub(in crate::cache) fn forms(self, section: &'static str) -> WordMap<&'static str> {
        self.pairs(section)
            .flat_map(|(name, forms)| {
                let forms = forms.split(',').map(str::trim).filter(|form| !form.is_empty());
                forms.chain([name]).map(move |form| (form, name))
            })
            .collect()
    }

    /// Returns the lines of a section as phrases.
    pub(in crate::cache) fn phrases(self, section: &'static str) -> Phrases {
        Phrases::new(self.lines(section).map(|line| (line, line)))
    }
}

/// Returns the function words of each language that has a file.
pub(in crate::cache) fn function_words() -> Vec<(&'static str, WordSet)> {
    LANGUAGES.iter().map(|(language, file)| (*language, lines(file, "function words").collect())).collect()
}

fn lines(file: &'static str, section: &'static str) -> impl Iterator<Item = &'static str> {
    let mut inside = false;
    file.lines().map(str::trim).filter(move |line| {
        if let Some(name) = line.strip_prefix('[').and_then(|line| line.strip_suffix(']')) {
            inside = name == section;
            return false;
        }
        inside && !line.is_empty() && !line.starts_with("# ")
    })
}

/// Words and phrases, found by their first word; the longest one wins.
#[derive(Default)]
pub(in crate::cache) struct Phrases {
    by_first: WordMap<Vec<Phrase>>,
}

struct Phrase {
    rest: Vec<&'static str>,
    name: &'static str,
}

impl Phrases {
    /// Builds from pairs of phrase and the name that a match returns.
    pub(in crate::cache) fn new(lines: impl Iterator<Item = (&'static str, &'static str)>) -> Self {
        let mut by_first: WordMap<Vec<Phrase>> = WordMap::default();
        for (phrase, name) in lines {
            let mut words = phrase.split_whitespace();
            if let Some(first) = words.next() {
                by_first.entry(first).or_default().push(Phrase { rest: words.collect(), name });
            }
        }
        for phrases in by_first.values_mut() {
            phrases.sort_by_key(|phrase| std::cmp::Reverse(phrase.rest.len()));
        }
        Self { by_first }
    }

    /// Returns how many words the longest phrase takes that starts at `at`, and its name.
    pub(in crate::cache) fn at<S: AsRef<str>>(
        &self,
        words: &[S],
        at: usize,
    ) -> Option<(usize, &'static str)> {
        let first = words.get(at)?.as_ref();
        self.by_first.get(first)?.iter().find_map(|phrase| {
            let end = at + 1 + phrase.rest.len();
            let rest = words.get(at + 1..end)?;
            let same = rest.iter().zip(&phrase.rest).all(|(word, wanted)| word.as_ref() == *wanted);
            same.then_some((end - at, phrase.name))
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_file_names_its_language_and_its_source() {
        for list in List::ALL {
            for file in list.files() {
                let mut lines = file.lines();
                assert!(lines.next().is_some_and(|line| line.starts_with("# language: ")), "{file:.40}");
                assert!(lines.next().is_some_and(|line| line.starts_with("# source: ")), "{file:.40}");
            }
        }
    }

    #[test]
    fn the_longest_phrase_wins() {
        let phrases = Phrases::new([("more", "a"), ("more than", "b")].into_iter());
        assert_eq!(phrases.at(&["more", "than", "5"], 0), Some((2, "b")));
        assert_eq!(phrases.at(&["more", "or"], 0), Some((1, "a")));
        assert_eq!(phrases.at(&["than"], 0), None);
    }

    #[test]
    fn a_name_is_a_form_of_itself() {
        let units = List::Units.forms("units");
        assert_eq!(units.get("km"), Some(&"kilometer"));
        assert_eq!(units.get("kilometer"), Some(&"kilometer"));
    }
}
