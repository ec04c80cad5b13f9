//! Which words of one prompt are words of the other one, and which are left over?

use super::token::Token;
use super::words::{Word, same};

/// Initials are of so many letters.
const INITIALS: std::ops::RangeInclusive<usize> = 2..=5;

/// The words of two prompts beside each other.
#[derive(Clone, Debug)]
pub(super) struct Alignment<'a> {
    /// For each word asked, where the same one stands among the stored words.
    pub(super) partner: Vec<Option<usize>>,
    /// Words with a meaning of their own that only the asked prompt has.
    pub(super) asked: Vec<&'a Word>,
    /// Those that only the stored prompt has.
    pub(super) stored: Vec<&'a Word>,
}

impl<'a> Alignment<'a> {
    /// Lays two prompts beside each other.
    pub(super) fn of(asked: &'a [Word], here: &[Token], stored: &'a [Word], there: &[Token]) -> Self {
        let partner: Vec<_> = asked.iter().map(|word| partner_of(word, stored)).collect();
        let has_none = |word: &&Word| partner_of(word, asked).is_none();
        let lone = asked.iter().zip(&partner).filter(|(_, partner)| partner.is_none()).map(|(word, _)| word);
        let asked: Vec<_> = lone.filter(|word| !word.is_light).collect();
        let stored: Vec<_> = stored.iter().filter(has_none).filter(|word| !word.is_light).collect();
        let (mut ours, mut theirs) =
            (lone_words(&asked, &stored, here, there), lone_words(&stored, &asked, there, here));
        drop_initials(&mut ours, &mut theirs);
        drop_initials(&mut theirs, &mut ours);
        Self { partner, asked: ours, stored: theirs }
    }
}

/// The very same word comes before one that only means the same.
fn partner_of(word: &Word, others: &[Word]) -> Option<usize> {
    let equal = others.iter().position(|other| other.text == word.text);
    equal.or_else(|| others.iter().position(|other| same(word, other)))
}

/// Returns the words that the other prompt does not write apart ("log in") or together ("login") either.
fn lone_words<'a>(
    lone: &[&'a Word],
    others: &[&Word],
    tokens: &[Token],
    other_tokens: &[Token],
) -> Vec<&'a Word> {
    let stands_apart = |word: &Word| {
        let is_pair = |pair: &[Token]| is_whole_of(&word.text, &pair[0].text, &pair[1].text);
        other_tokens.windows(2).any(is_pair)
    };
    let stands_together = |word: &Word| {
        let neighbours = [word.at.checked_sub(1), Some(word.at)].into_iter().flatten();
        let mut pairs = neighbours.filter_map(|at| Some([tokens.get(at)?, tokens.get(at + 1)?]));
        pairs.any(|[one, other]| others.iter().any(|there| is_whole_of(&there.text, &one.text, &other.text)))
    };
    lone.iter().copied().filter(|word| !stands_apart(word) && !stands_together(word)).collect()
}

fn is_whole_of(whole: &str, one: &str, other: &str) -> bool {
    !one.is_empty() && !other.is_empty() && whole.strip_prefix(one) == Some(other)
}

/// Drops initials ("UAE") and the words that they stand for, where neither side has any of them otherwise. A common word
/// is no initials.
fn drop_initials(short: &mut Vec<&Word>, long: &mut Vec<&Word>) {
    let found = short.iter().enumerate().find_map(|(at, initials)| {
        let letters = initials.text.chars().count();
        let may_be = INITIALS.contains(&letters) && !initials.is_known;
        let is_run = |run: &[&Word]| {
            run.iter().zip(initials.text.chars()).all(|(word, letter)| word.text.starts_with(letter))
        };
        let start = may_be.then(|| long.windows(letters).position(is_run))??;
        Some((at, start, letters))
    });
    if let Some((at, start, letters)) = found {
        short.remove(at);
        long.drain(start..start + letters);
    }
}
