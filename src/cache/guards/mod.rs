//! Do two prompts that look alike to the embedder differ in something that changes the answer?
//!
//! Each guard is a file of its own: it reads one kind of fact from a prompt once, and compares the facts of two
//! prompts. A guard never says that two prompts mean the same; it only refuses. Each has a table of cases in
//! `models/guards/cases/` that anyone can extend.

mod align;
mod amount;
mod asked;
mod code;
mod instruction;
mod language;
pub(in crate::cache) mod lexicon;
mod literal;
mod material;
mod mentions;
mod names;
mod negation;
mod numbers;
mod opposites;
mod payload;
mod person;
mod roles;
mod scope;
mod script;
mod substitution;
mod surplus;
pub(in crate::cache) mod token;
mod window;
mod words;

#[cfg(test)]
mod cases;

pub use material::Material;
pub use script::Scripts;

use std::borrow::Cow;

use unicode_normalization::{IsNormalized, UnicodeNormalization, is_nfc_quick};

use token::Token;

/// A prompt, read once for all guards. Costs microseconds: keep it beside the entry that is compared often.
#[derive(Clone, Debug)]
pub struct Analysed {
    tokens: Vec<Token>,
    writing: script::Writing,
    language: language::Language,
    payload: payload::Payload,
    numbers: mentions::Mentions,
    negation: negation::Negation,
    code: code::Code,
    words: Vec<words::Word>,
    opposites: opposites::Opposites,
    roles: roles::Roles,
    scope: scope::Scope,
    person: person::Person,
    asked: asked::Asked,
}

impl Analysed {
    /// Reads a prompt.
    pub fn new(prompt: &str) -> Self {
        let prompt = match is_nfc_quick(prompt.chars()) {
            IsNormalized::Yes => Cow::Borrowed(prompt),
            IsNormalized::No | IsNormalized::Maybe => Cow::Owned(prompt.nfc().collect()),
        };
        let tokens = token::tokens(&prompt);
        let words = words::words(&tokens);
        Self {
            writing: script::Writing::of(&prompt),
            language: language::Language::of(&prompt, &tokens),
            payload: payload::Payload::of(&prompt),
            numbers: mentions::Mentions::of(&tokens),
            negation: negation::Negation::of(&tokens),
            code: code::Code::of(&tokens),
            opposites: opposites::Opposites::of(&tokens),
            roles: roles::Roles::of(&tokens, &words),
            scope: scope::Scope::of(&tokens),
            person: person::Person::of(&tokens),
            asked: asked::Asked::of(&tokens),
            words,
            tokens,
        }
    }
}

/// Returns a prompt without the material that an operation works on; `None` where there is no operation.
pub(super) fn without_material(prompt: &str) -> Option<String> {
    payload::Payload::of(prompt).instruction_alone()
}

/// Reads the word lists, which takes some milliseconds once: before the first request needs them.
pub(super) fn warm() {
    let prompt = Analysed::new("How do I translate two pages from Paris to code?");
    let _ = Aligned::of(&prompt, &prompt).roles();
}

/// One of the two prompts that are compared.
#[derive(Clone, Copy, Debug)]
pub struct Side<'a> {
    /// What the guards read from the prompt.
    pub prompt: &'a Analysed,
    /// How many tokens the embedder counted, those at both ends included; 0 where nobody knows, and then they tell nothing.
    pub tokens: usize,
    /// Whether the embedder cut the prompt at the model's window.
    pub truncated: bool,
}

/// Returns why a truncated prompt may not be matched by its vector.
pub(super) fn window(asked: &Side<'_>, stored: &Side<'_>) -> Option<String> {
    window::differ(asked, stored)
}

/// Returns how the scripts of the prompts stand against each other and against those that the model knows.
pub(super) fn script(asked: &Side<'_>, stored: &Side<'_>, known: Option<&Scripts>) -> Option<String> {
    asked.prompt.writing.differ(&stored.prompt.writing, known)
}

/// Returns which prompt is in none of the languages that the model knows (codes as in the names of the word files).
pub(super) fn language(asked: &Side<'_>, stored: &Side<'_>, known: &[String]) -> Option<String> {
    language::differ(asked, stored, known)
}

/// Returns which material stands on one side only.
pub(super) fn payload(asked: &Side<'_>, stored: &Side<'_>) -> Option<String> {
    asked.prompt.payload.differ(&stored.prompt.payload)
}

/// Returns which numbers, units or dates differ.
pub(super) fn numbers(asked: &Side<'_>, stored: &Side<'_>) -> Option<String> {
    numbers::differ(&asked.prompt.numbers, &stored.prompt.numbers)
}

/// Returns what one side negates and the other does not.
pub(super) fn negation(asked: &Side<'_>, stored: &Side<'_>) -> Option<String> {
    let (asked, stored) = (asked.prompt, stored.prompt);
    asked.negation.differ(&asked.tokens, &stored.negation, &stored.tokens)
}

/// Returns which piece of code stands on one side only.
pub(super) fn code(asked: &Side<'_>, stored: &Side<'_>) -> Option<String> {
    let (asked, stored) = (asked.prompt, stored.prompt);
    asked.code.differ(&asked.tokens, &stored.code, &stored.tokens)
}

/// Two prompts with their words laid beside each other, which several guards read.
#[derive(Clone, Debug)]
pub(super) struct Aligned<'a> {
    asked: &'a Analysed,
    stored: &'a Analysed,
    words: align::Alignment<'a>,
}

impl<'a> Aligned<'a> {
    /// Lays the words of two prompts beside each other: once for a pair.
    pub(super) fn of(asked: &'a Analysed, stored: &'a Analysed) -> Self {
        let words = align::Alignment::of(&asked.words, &asked.tokens, &stored.words, &stored.tokens);
        Self { asked, stored, words }
    }

    /// Returns which name stands on one side only.
    pub(super) fn names(&self) -> Option<String> {
        names::differ(&self.words)
    }

    /// Returns which two words have changed places around a relation.
    pub(super) fn roles(&self) -> Option<String> {
        self.asked.roles.differ(&self.stored.roles, &self.asked.words, &self.words)
    }

    /// Returns the one word that was put in the place of another.
    pub(super) fn substitution(&self) -> Option<String> {
        substitution::differ(&self.words)
    }

    /// Returns what one side says besides.
    pub(super) fn surplus(&self) -> Option<String> {
        surplus::differ(&self.words)
    }
}

/// Returns which word of one side excludes a word of the other.
pub(super) fn opposites(asked: &Side<'_>, stored: &Side<'_>) -> Option<String> {
    asked.prompt.opposites.differ(&stored.prompt.opposites)
}

/// Returns how the sides differ in how far they reach.
pub(super) fn scope(asked: &Side<'_>, stored: &Side<'_>) -> Option<String> {
    asked.prompt.scope.differ(&stored.prompt.scope)
}

/// Returns who is meant on one side only.
pub(super) fn person(asked: &Side<'_>, stored: &Side<'_>) -> Option<String> {
    asked.prompt.person.differ(&stored.prompt.person)
}

/// Returns what the sides ask differently of their subject.
pub(super) fn asked(asked: &Side<'_>, stored: &Side<'_>) -> Option<String> {
    asked.prompt.asked.differ(&stored.prompt.asked)
}
