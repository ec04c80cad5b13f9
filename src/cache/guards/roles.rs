//! Who does what to whom, and from where to where, is the same in both prompts.
//!
//! Where both prompts hold the same two words around the same relation, the words stand the same way round: "from A to B",
//! "A over B", "does A beat B", and "is B beaten by A" for the last.

use std::sync::LazyLock;

use super::align::Alignment;
use super::lexicon::{List, Phrases, WordSet};
use super::token::{Kind, Token};
use super::words::Word;

struct Lists {
    directions: Phrases,
    passive: WordSet,
    symmetric: WordSet,
    symmetric_words: WordSet,
    before_subject: WordSet,
}

static LISTS: LazyLock<Lists> = LazyLock::new(|| Lists {
    directions: Phrases::new(List::Roles.pairs("directions")),
    passive: List::Roles.lines("passive").collect(),
    symmetric: List::Roles.lines("symmetric").collect(),
    symmetric_words: List::Roles.lines("symmetric words").collect(),
    before_subject: List::Roles.lines("before a subject").collect(),
});

/// What stands between two words.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Between {
    /// A word that has a direction.
    Direction(&'static str),
    /// The verb or the quality at this place among the words.
    Word(usize),
}

/// Two words of one prompt, by their places among its words, and what stands between them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Relation {
    from: usize,
    between: Between,
    to: usize,
}

/// The relations of one prompt.
#[derive(Clone, Debug, Default)]
pub(super) struct Roles(Vec<Relation>);

impl Roles {
    pub(super) fn of(tokens: &[Token], words: &[Word]) -> Self {
        let heavy: Vec<usize> = (0..words.len()).filter(|place| !words[*place].is_light).collect();
        let mut found = Vec::new();
        for pair in heavy.windows(2) {
            directions(tokens, words, pair[0], pair[1], &mut found);
        }
        journeys(tokens, words, &heavy, &mut found);
        for one in 0..words.len().saturating_sub(2) {
            found.extend(deed(tokens, words, [one, one + 1, one + 2]));
        }
        // A word that is said twice stands where it was said first.
        let first =
            |place: usize| words.iter().position(|word| word.text == words[place].text).unwrap_or(place);
        for relation in &mut found {
            (relation.from, relation.to) = (first(relation.from), first(relation.to));
            if let Between::Word(verb) = &mut relation.between {
                *verb = first(*verb);
            }
        }
        Self(found)
    }

    /// Returns which two words have changed places.
    pub(super) fn differ(&self, stored: &Self, words: &[Word], alignment: &Alignment<'_>) -> Option<String> {
        let there = |place: usize| alignment.partner.get(place).copied().flatten();
        self.0.iter().find_map(|ours| {
            let (from, to) = (there(ours.from)?, there(ours.to)?);
            let between = match ours.between {
                Between::Word(verb) => Between::Word(there(verb)?),
                direction @ Between::Direction(_) => direction,
            };
            let is_turned =
                |theirs: &&Relation| theirs.between == between && theirs.from == to && theirs.to == from;
            let is_kept =
                |theirs: &Relation| theirs.between == between && theirs.from == from && theirs.to == to;
            let turned = from != to && stored.0.iter().any(|theirs| is_turned(&theirs));
            (turned && !stored.0.iter().any(is_kept)).then(|| {
                let (one, other) = (&words[ours.from].text, &words[ours.to].text);
                format!("\"{one}\" and \"{other}\" have changed places")
            })
        })
    }
}

/// Notes what has a direction between two words that follow one another.
fn directions(tokens: &[Token], words: &[Word], left: usize, right: usize, found: &mut Vec<Relation>) {
    let (from, to) = (words[left].at + 1, words[right].at);
    let mut at = from;
    while at < to && tokens[at].kind != Kind::Break {
        if let Some((length, direction)) = LISTS.directions.at(tokens, at) {
            let relation = match direction.strip_prefix('-') {
                Some(direction) => Relation { from: right, between: Between::Direction(direction), to: left },
                None => Relation { from: left, between: Between::Direction(direction), to: right },
            };
            found.push(relation);
            at += length;
        } else {
            at += 1;
        }
    }
}

/// Notes "from A to B", in either order.
fn journeys(tokens: &[Token], words: &[Word], heavy: &[usize], found: &mut Vec<Relation>) {
    let after = |at: usize| heavy.iter().copied().find(|place| words[*place].at > at);
    let mut from = None;
    let mut to = None;
    for (at, token) in tokens.iter().enumerate() {
        match (&token.kind, token.text.as_str()) {
            (Kind::Break, mark) if mark != "," => (from, to) = (None, None),
            (Kind::Word, "from") => {
                // A second journey begins, unless its end was said first.
                to = if from.is_some() { None } else { to };
                from = after(at);
            }
            (Kind::Word, "to" | "into") => to = after(at),
            _ => continue,
        }
        if let (Some(one), Some(other)) = (from, to)
            && one != other
        {
            found.push(Relation { from: one, between: Between::Direction("to"), to: other });
        }
    }
}

/// Reads "A does it to B" and "B has it done by A".
fn deed(tokens: &[Token], words: &[Word], [one, verb, other]: [usize; 3]) -> Option<Relation> {
    let between =
        |left: usize, right: usize| tokens.get(words[left].at + 1..words[right].at).unwrap_or_default();
    let (before, behind) = (between(one, verb), between(verb, other));
    let stops = |token: &Token| token.kind == Kind::Break || LISTS.symmetric.contains(token.text.as_str());
    if before.iter().chain(behind).any(stops) || LISTS.symmetric_words.contains(words[verb].text.as_str()) {
        return None;
    }
    // Words of a search without grammar have no order: "paris hotel cheap".
    let are_names = words[one].is_name && words[other].is_name;
    let has_subject = words[one]
        .at
        .checked_sub(1)
        .is_some_and(|at| LISTS.before_subject.contains(tokens[at].text.as_str()));
    if !are_names && !has_subject {
        return None;
    }
    let is_passive = behind.iter().any(|token| LISTS.passive.contains(token.text.as_str()));
    let (from, to) = if is_passive { (other, one) } else { (one, other) };
    Some(Relation { from, between: Between::Word(verb), to })
}
