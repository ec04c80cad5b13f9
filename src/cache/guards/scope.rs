//! Both prompts reach equally far: all or some, first or last, before or after, only or not only.

use std::collections::BTreeMap;
use std::sync::LazyLock;

use super::lexicon::{List, Phrases};
use super::token::{Kind, Token};

struct Words {
    scopes: Phrases,
    narrowing: Phrases,
}

static WORDS: LazyLock<Words> = LazyLock::new(|| Words {
    scopes: Phrases::new(
        List::Scope
            .pairs("scopes")
            .flat_map(|(value, forms)| forms.split(',').map(str::trim).map(move |form| (form, value))),
    ),
    narrowing: Phrases::new(List::Scope.forms("narrowing").into_iter()),
});

/// How far one prompt reaches.
#[derive(Clone, Debug, Default)]
pub(super) struct Scope {
    /// What is said, by what it is said of: `order` is `before`.
    said: BTreeMap<&'static str, Vec<&'static str>>,
    narrowing: Vec<&'static str>,
}

impl Scope {
    pub(super) fn of(tokens: &[Token]) -> Self {
        let mut scope = Self::default();
        let mut at = 0;
        while let Some(token) = tokens.get(at) {
            if token.kind == Kind::Word
                && let Some((length, value)) = WORDS.scopes.at(tokens, at)
            {
                let (of, value) = value.split_once(' ').unwrap_or((value, value));
                let values = scope.said.entry(of).or_default();
                if !values.contains(&value) {
                    values.push(value);
                }
                at += length;
                continue;
            }
            let narrows = WORDS.narrowing.at(tokens, at);
            scope.narrowing.extend(narrows.map(|(_, phrase)| phrase));
            at += narrows.map_or(1, |(length, _)| length);
        }
        for values in scope.said.values_mut() {
            values.sort_unstable();
        }
        scope
    }

    /// Returns what the prompts say differently, or what only one of them narrows.
    pub(super) fn differ(&self, stored: &Self) -> Option<String> {
        for (of, ours) in &self.said {
            if let Some(theirs) = stored.said.get(of)
                && ours != theirs
            {
                return Some(format!("{of}: {} asked, {} stored", ours.join(" and "), theirs.join(" and ")));
            }
        }
        let only = |here: &Self, there: &Self| {
            here.narrowing.iter().find(|word| !there.narrowing.contains(word)).copied()
        };
        let narrowed =
            |word: &str, side: &str| format!("the {side} prompt narrows what is asked by \"{word}\"");
        only(self, stored)
            .map(|word| narrowed(word, "asked"))
            .or_else(|| only(stored, self).map(|word| narrowed(word, "stored")))
    }
}
