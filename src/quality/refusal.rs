//! Is it nothing but a no?

use super::Said;

/// Openings of a refusal. An answer that begins with one of them and is short says nothing but no.
const REFUSALS: &[&str] = &[
    "i'm sorry, but i can't",
    "i'm sorry, but i cannot",
    "i'm sorry, i can't",
    "i'm sorry, i cannot",
    "i am sorry, but i can",
    "sorry, but i can't",
    "sorry, i can't",
    "i can't help with",
    "i can't assist with",
    "i can't comply",
    "i cannot help with",
    "i cannot assist with",
    "i cannot comply",
    "i'm unable to help",
    "i'm unable to assist",
    "i am unable to help",
    "i am unable to assist",
    "i won't be able to help with",
    "as an ai language model, i cannot",
    "as an ai language model, i can't",
];

/// The longest refusal, in bytes: beyond it the answer says something else besides.
const REFUSAL_BYTES_MAX: usize = 400;

/// Returns whether a text is a refusal and nothing more. The list is English; refusals that vendors mark as such are
/// recognised in every language elsewhere.
pub fn is_refusal(text: &str) -> bool {
    let text = text.trim();
    if text.len() > REFUSAL_BYTES_MAX {
        return false;
    }
    let text = text.to_lowercase().replace('’', "'");
    REFUSALS.iter().any(|opening| text.starts_with(opening))
}

/// Looks for a refusal: 0 for one, by the vendor's own word or ours, else 1. Does not apply to JSON and to calls of
/// tools, which are no place for one.
pub(super) fn look(said: &Said<'_>) -> Option<f64> {
    if said.is_refused() {
        return Some(0.0);
    }
    let applies = !said.is_json_asked() && !said.text.trim().is_empty();
    applies.then(|| if is_refusal(&said.text) { 0.0 } else { 1.0 })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_short_no_is_a_refusal_and_a_long_answer_is_not() {
        assert!(is_refusal("I’m sorry, but I can’t help with that request."));
        assert!(is_refusal("I cannot assist with that."));
        assert!(!is_refusal("42"));
        assert!(!is_refusal("Sorry seems to be the hardest word is a song by Elton John."));
        assert!(!is_refusal(&format!("I'm sorry, but I can't be brief. {}", "It is so. ".repeat(60))));
    }
}
