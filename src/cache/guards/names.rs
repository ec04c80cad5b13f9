//! Whoever and whatever is named by one prompt is named by the other: people, places, products.
//!
//! A capital marks a name where a prompt has capitals for nothing else; without one the verifier must know it.

use super::align::Alignment;
use super::words::Word;

/// Returns which name stands on one side only.
pub(super) fn differ(words: &Alignment<'_>) -> Option<String> {
    let name = |words: &[&Word]| words.iter().find(|word| word.is_name).map(|word| word.text.clone());
    match (name(&words.asked), name(&words.stored)) {
        (None, None) => None,
        (Some(ours), Some(theirs)) => {
            Some(format!("the asked prompt names \"{ours}\", the stored one \"{theirs}\""))
        }
        (Some(ours), None) => Some(format!("the asked prompt names \"{ours}\", the stored one does not")),
        (None, Some(theirs)) => Some(format!("the stored prompt names \"{theirs}\", the asked one does not")),
    }
}
