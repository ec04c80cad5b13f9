//! No word of one prompt has its opposite, or another thing of its kind, in the other prompt.
//!
//! A word counts only where the other prompt does not hold it too: "increase this and decrease that" may be said in any
//! order.

use std::sync::LazyLock;

use super::lexicon::{List, Phrases, WordMap};
use super::token::{Kind, Token};

/// Where a word stands in the lists: in a row, on one of its sides. Sides of one row exclude each other.
type Places = WordMap<Vec<(u32, u32)>>;

static PHRASES: LazyLock<Phrases> = LazyLock::new(|| Phrases::new(PLACES.keys().map(|form| (*form, *form))));

static PLACES: LazyLock<Places> = LazyLock::new(|| {
    let mut places = Places::default();
    let opposites = List::Opposites.pairs("opposites").map(|(one, other)| vec![one, other]);
    let siblings = List::Opposites.lines("siblings").map(|line| line.split(';').collect());
    for (row, sides) in (0_u32..).zip(opposites.chain(siblings)) {
        for (side, forms) in (0_u32..).zip(sides) {
            for form in forms.split(',').map(str::trim).filter(|form| !form.is_empty()) {
                places.entry(form).or_default().push((row, side));
            }
        }
    }
    places
});

/// The words of one prompt that have an opposite, and where those stand in the lists.
#[derive(Clone, Debug, Default)]
pub(super) struct Opposites(Vec<&'static str>);

impl Opposites {
    pub(super) fn of(tokens: &[Token]) -> Self {
        let (mut found, mut at) = (Vec::new(), 0);
        while let Some(token) = tokens.get(at) {
            let form = if token.kind == Kind::Word { PHRASES.at(tokens, at) } else { None };
            at += form.map_or(1, |(length, _)| length);
            found.extend(form.map(|(_, form)| form));
        }
        Self(found)
    }

    /// Returns which word of one prompt is excluded by one of the other.
    pub(super) fn differ(&self, stored: &Self) -> Option<String> {
        let only = |here: &Self, there: &Self| {
            here.0.iter().filter(|word| !there.0.contains(word)).copied().collect::<Vec<_>>()
        };
        let (ours, theirs) = (only(self, stored), only(stored, self));
        ours.iter().find_map(|one| {
            let other = theirs.iter().find(|other| exclude_each_other(one, other))?;
            Some(format!("the asked prompt says \"{one}\", the stored one \"{other}\""))
        })
    }
}

fn exclude_each_other(one: &str, other: &str) -> bool {
    let places = |word: &str| PLACES.get(word).map_or(&[][..], Vec::as_slice);
    // Words that share a side mean the same somewhere, whatever another row says of them.
    let (ours, theirs) = (places(one), places(other));
    let is_apart =
        |(row, side): &(u32, u32)| theirs.iter().any(|(other_row, other)| row == other_row && side != other);
    ours.iter().any(is_apart) && !ours.iter().any(|place| theirs.contains(place))
}
