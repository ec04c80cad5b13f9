//! Both prompts mean the same people: one's own things or somebody else's, him or her.

use std::sync::LazyLock;

use super::lexicon::{List, Phrases, WordMap, WordSet};
use super::token::{Kind, Token};

struct Words {
    framing: Phrases,
    persons: WordMap<&'static str>,
    own: WordSet,
    people: WordMap<&'static str>,
}

static WORDS: LazyLock<Words> = LazyLock::new(|| {
    let people = List::Person.lines("people").flat_map(|line| {
        let name = line.split(',').next().unwrap_or(line);
        line.split(',').map(move |form| (form.trim(), name))
    });
    Words {
        framing: List::Person.phrases("framing"),
        persons: List::Person.forms("persons"),
        own: List::Person.lines("own").collect(),
        people: people.collect(),
    }
});

/// Words that are no name with an apostrophe behind them: "what's" is "what is".
const NO_NAMES: [&str; 10] = ["what", "who", "where", "when", "how", "why", "that", "there", "here", "let"];

/// Who is meant by one prompt.
#[derive(Clone, Debug, Default)]
pub(super) struct Person {
    /// He, she or they, each once, in the order in which they come: "would he ask her" is not "would she ask him".
    others: Vec<&'static str>,
    /// Whether it says whose something is by a name: "Anna's".
    is_named: bool,
    /// How often it speaks of one's own.
    own: usize,
    /// Sons, landlords and the like.
    people: Vec<&'static str>,
}

impl Person {
    pub(super) fn of(tokens: &[Token]) -> Self {
        let mut person = Self::default();
        let mut at = 0;
        while let Some(token) = tokens.get(at) {
            if let Some((length, _)) = WORDS.framing.at(tokens, at) {
                at += length;
                continue;
            }
            at += 1;
            if token.kind != Kind::Word {
                continue;
            }
            let word = token.text.as_str();
            let possessed = word.strip_suffix("'s").unwrap_or(word);
            person.own += usize::from(WORDS.own.contains(word));
            person.is_named |=
                possessed.len() < word.len() && token.capital && !NO_NAMES.contains(&possessed);
            note(&mut person.others, WORDS.persons.get(word).copied());
            note(&mut person.people, WORDS.people.get(possessed).copied());
        }
        person.people.sort_unstable();
        person
    }

    /// Returns who is meant on one side only.
    pub(super) fn differ(&self, stored: &Self) -> Option<String> {
        let only = |here: &[&'static str], there: &[&'static str]| {
            here.iter().find(|who| !there.contains(who)).copied()
        };
        let (ours, theirs) = (only(&self.people, &stored.people), only(&stored.people, &self.people));
        if let Some(who) = ours.or(theirs) {
            return Some(format!("only one of the prompts speaks of a {who}"));
        }
        let differ = self.others != stored.others && !(self.others.is_empty() || stored.others.is_empty());
        // "My account" and "his account": each side says whose, and says another.
        let is_swapped = |here: &Self, there: &Self| {
            here.own > there.own && here.others.is_empty() && !there.others.is_empty()
        };
        let is_replaced = |here: &Self, there: &Self| {
            here.is_named && here.others.is_empty() && !there.is_named && !there.others.is_empty()
        };
        let differ = differ || is_replaced(self, stored) || is_replaced(stored, self);
        if differ || is_swapped(self, stored) || is_swapped(stored, self) {
            return Some(format!("one prompt means {}, the other {}", self.words(), stored.words()));
        }
        None
    }

    fn words(&self) -> String {
        let own = (self.own > 0).then_some("my");
        let words: Vec<_> =
            own.into_iter().chain(self.others.iter().copied()).map(|word| format!("\"{word}\"")).collect();
        if words.is_empty() { "nobody".to_owned() } else { words.join(" and ") }
    }
}

fn note(found: &mut Vec<&'static str>, who: Option<&'static str>) {
    if let Some(who) = who.filter(|who| !found.contains(who)) {
        found.push(who);
    }
}
