//! Both prompts ask the same of their subject: how or why, when or where, its price or its history.

use std::sync::LazyLock;

use super::lexicon::{List, Phrases};
use super::token::{Kind, Token};

struct Words {
    questions: Phrases,
    aspects: Phrases,
}

static WORDS: LazyLock<Words> = LazyLock::new(|| Words {
    questions: Phrases::new(List::Asked.pairs("questions")),
    aspects: Phrases::new(List::Asked.forms("aspects").into_iter()),
});

/// What one prompt asks for.
#[derive(Clone, Debug, Default)]
pub(super) struct Asked {
    /// The kinds of answers that its questions want.
    questions: Vec<&'static str>,
    aspects: Vec<&'static str>,
}

impl Asked {
    pub(super) fn of(tokens: &[Token]) -> Self {
        let mut asked = Self::default();
        let mut at = 0;
        // "When" and "where" ask at the beginning of a clause; in the middle they join.
        let mut begins = true;
        while let Some(token) = tokens.get(at) {
            let was_begin = std::mem::replace(&mut begins, token.kind == Kind::Break);
            let question = WORDS.questions.at(tokens, at);
            if let Some((length, kind)) = question.filter(|(length, _)| was_begin || *length > 1) {
                note(&mut asked.questions, kind);
                at += length;
                continue;
            }
            if let Some((length, aspect)) = WORDS.aspects.at(tokens, at) {
                note(&mut asked.aspects, aspect);
                at += length;
                continue;
            }
            begins |= was_begin && is_opening(&token.text);
            at += 1;
        }
        asked.questions.sort_unstable();
        asked.aspects.sort_unstable();
        asked
    }

    /// Returns what the prompts ask differently.
    pub(super) fn differ(&self, stored: &Self) -> Option<String> {
        let disagree = |ours: &[&'static str], theirs: &[&'static str]| {
            !ours.iter().any(|one| theirs.iter().any(|other| one == other || may_agree(one, other)))
        };
        if !self.questions.is_empty()
            && !stored.questions.is_empty()
            && disagree(&self.questions, &stored.questions)
        {
            let (ours, theirs) = (self.questions.join(", "), stored.questions.join(", "));
            return Some(format!("the asked prompt wants a {ours}, the stored one a {theirs}"));
        }
        // "How much is" asks for the cost.
        let is_asked = |side: &Self, aspect: &str| match aspect {
            "cost" => side.questions.contains(&"amount"),
            _ => false,
        };
        let only = |here: &Self, there: &Self| {
            here.aspects
                .iter()
                .find(|aspect| !there.aspects.contains(aspect) && !is_asked(there, aspect))
                .copied()
        };
        let aspect = only(self, stored).or_else(|| only(stored, self))?;
        Some(format!("only one of the prompts asks for the {aspect}"))
    }
}

/// "How much notice" may be "how long is the notice".
fn may_agree(one: &str, other: &str) -> bool {
    const MEASURES: [&str; 6] = ["duration", "count", "distance", "frequency", "age", "size"];
    (one == "amount" && MEASURES.contains(&other)) || (other == "amount" && MEASURES.contains(&one))
}

/// Words before a question that leave it one: "and why", "please, when".
fn is_opening(word: &str) -> bool {
    matches!(word, "and" | "or" | "so" | "hi" | "hello" | "hey" | "please" | "but" | "exactly")
}

fn note(found: &mut Vec<&'static str>, kind: &'static str) {
    if !found.contains(&kind) {
        found.push(kind);
    }
}
