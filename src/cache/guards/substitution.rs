//! Two prompts that are equal but for one word ask about two things, unless the two words mean the same.

use super::align::Alignment;

/// Returns which word stands in the place of which.
pub(super) fn differ(words: &Alignment<'_>) -> Option<String> {
    let ([ours], [theirs]) = (words.asked.as_slice(), words.stored.as_slice()) else { return None };
    Some(format!("the prompts differ in one word: \"{}\" asked, \"{}\" stored", ours.text, theirs.text))
}
