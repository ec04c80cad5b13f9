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
    /// How many words with a meaning of their own both have.
    pub(super) shared: usize,
}

impl<'a> Alignment<'a> {
    /// Lays two prompts beside each other.
    pub(super) fn of(asked: &'a [Word], here: &[Token], stored: &'a [Word], there: &[Token]) -> Self {
        let ours: Vec<_> = asked.iter().map(|word| partner(word, stored)).collect();
        let theirs: Vec<_> = stored.iter().map(|word| partner(word, asked)).collect();
        let left_over = |words: &'a [Word],
                         tokens: &[Token],
                         found: &[Option<usize>],
                         others: &[Word],
                         other_tokens: &[Token]| {
            let lone = words.iter().zip(found).filter(|(word, partner)| partner.is_none() && !word.is_light);
            lone.map(|(word, _)| word)
                .filter(|word| !is_joined(word, words, tokens, others, other_tokens))
                .collect::<Vec<_>>()
        };
        let shared =
            asked.iter().zip(&ours).filter(|(word, partner)| partner.is_some() && !word.is_light).count();
        Self {
            asked: left_over(asked, here, &ours, stored, there),
            stored: left_over(stored, there, &theirs, asked, here),
            partner: ours,
            shared,
        }
    }
}

/// The very same word comes before one that only means the same.
fn partner(word: &Word, others: &[Word]) -> Option<usize> {
    let equal = others.iter().position(|other| other.text == word.text);
    equal.or_else(|| others.iter().position(|other| same(word, other)))
}

/// Returns whether the other prompt writes the word apart ("log in") or together ("login"), in full or by initials.
fn is_joined(word: &Word, words: &[Word], tokens: &[Token], others: &[Word], other_tokens: &[Token]) -> bool {
    let is_apart = |text: &str, tokens: &[Token]| {
        tokens.windows(2).any(|pair| {
            text.strip_prefix(pair[0].text.as_str())
                .is_some_and(|rest| !rest.is_empty() && rest == pair[1].text)
        })
    };
    let neighbours = [word.at.checked_sub(1), Some(word.at)].into_iter().flatten();
    let is_part =
        neighbours.filter_map(|at| Some([tokens.get(at)?, tokens.get(at + 1)?])).any(|[one, other]| {
            others.iter().any(|there| there.text.strip_prefix(one.text.as_str()) == Some(other.text.as_str()))
        });
    is_apart(&word.text, other_tokens)
        || is_part
        || stands_for(&word.text, others)
        || others.iter().any(|other| is_within_initials(word, words, &other.text))
}

/// Returns whether the text is the initials of words that follow one another.
fn stands_for(text: &str, words: &[Word]) -> bool {
    let letters = text.chars().count();
    INITIALS.contains(&letters)
        && words
            .windows(letters)
            .any(|run| run.iter().zip(text.chars()).all(|(word, letter)| word.text.starts_with(letter)))
}

/// Returns whether a word is one of those that these initials stand for.
fn is_within_initials(word: &Word, words: &[Word], initials: &str) -> bool {
    let letters = initials.chars().count();
    INITIALS.contains(&letters)
        && words.windows(letters).any(|run| {
            run.iter().any(|one| one.at == word.at)
                && run.iter().zip(initials.chars()).all(|(word, letter)| word.text.starts_with(letter))
        })
}
