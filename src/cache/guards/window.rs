//! A vector of a prompt that was cut says nothing about the part that was cut off.

use super::Side;

/// Returns why the vectors of the two prompts cannot be compared.
pub(super) fn differ(asked: &Side<'_>, stored: &Side<'_>) -> Option<String> {
    let (which, tokens) = match (asked.truncated, stored.truncated) {
        (true, _) => ("asked", asked.tokens),
        (false, true) => ("stored", stored.tokens),
        (false, false) => return None,
    };
    Some(format!(
        "the {which} prompt ({tokens} tokens) is longer than what the embedding model reads: \
         such prompts are only matched exactly"
    ))
}
