//! Neither prompt says all that the other one says, and more: an answer to more was made for more.

use super::align::Alignment;
use super::words::Word;

/// So many words with a meaning of their own, beyond those that the other side has instead, make a condition or a second
/// question. Of a stored prompt fewer are enough: its answer was made for them, while an asked prompt may only be wordy.
const STORED_MIN: usize = 2;
const ASKED_MIN: usize = 3;
/// Where both sides have words of their own, the one may say the other's in more words: so many more are something else.
const WORDY_MIN: usize = 4;

/// Returns what one prompt says besides.
pub(super) fn differ(words: &Alignment<'_>) -> Option<String> {
    let (ours, theirs) = (words.asked.as_slice(), words.stored.as_slice());
    let says_more = |more: &[&Word], less: &[&Word], least: usize| {
        let least = if less.is_empty() { least } else { less.len() + WORDY_MIN };
        more.len() >= least
    };
    if says_more(theirs, ours, STORED_MIN) {
        return Some(format!("the stored prompt says more: {}", quoted(theirs)));
    }
    says_more(ours, theirs, ASKED_MIN).then(|| format!("the asked prompt says more: {}", quoted(ours)))
}

fn quoted(words: &[&Word]) -> String {
    words.iter().map(|word| format!("\"{}\"", word.text)).collect::<Vec<_>>().join(", ")
}
