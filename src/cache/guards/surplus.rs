//! Neither prompt says all that the other one says, and more: an answer to more was made for more.

use super::align::Alignment;
use super::words::Word;

/// So many words with a meaning of their own make a condition or a second question. Of a stored prompt fewer are enough:
/// its answer was made for them, while an asked prompt may only be wordy.
const STORED_MIN: usize = 2;
const ASKED_MIN: usize = 3;

/// Returns what one prompt says besides.
pub(super) fn differ(words: &Alignment<'_>) -> Option<String> {
    let quoted = |words: &[&Word]| {
        words.iter().map(|word| format!("\"{}\"", word.text)).collect::<Vec<_>>().join(", ")
    };
    let (ours, theirs) = (words.asked.as_slice(), words.stored.as_slice());
    if words.shared == 0 {
        return None;
    }
    if ours.is_empty() && theirs.len() >= STORED_MIN {
        return Some(format!("the stored prompt says more: {}", quoted(theirs)));
    }
    (theirs.is_empty() && ours.len() >= ASKED_MIN)
        .then(|| format!("the asked prompt says more: {}", quoted(ours)))
}
