//! The beginning of a text.

use unicode_segmentation::UnicodeSegmentation;

/// Says that the text goes on.
const ELLIPSIS: char = '…';

/// Returns at most so many characters of a text, cut between two words and with an ellipsis where something is left
/// out. A first word that is longer by itself is cut between two characters.
pub fn truncated(text: &str, chars_max: usize) -> String {
    let text = text.trim();
    let whole = |piece: &str| piece.chars().nth(chars_max).is_none();
    if whole(text) {
        return text.to_owned();
    }
    let by_words = beginning(text.split_word_bounds(), chars_max);
    let mut kept = text[..by_words].trim_end().to_owned();
    if kept.is_empty() {
        kept = text[..beginning(text.graphemes(true), chars_max)].to_owned();
    }
    kept.push(ELLIPSIS);
    kept
}

/// Returns how many bytes the first pieces take that have at most so many characters together.
fn beginning<'a>(pieces: impl Iterator<Item = &'a str>, chars_max: usize) -> usize {
    let (mut bytes, mut chars) = (0, 0);
    for piece in pieces {
        // A piece may be megabytes long: its characters are counted no further than matters.
        chars += piece.chars().take(chars_max + 1).count();
        if chars > chars_max {
            break;
        }
        bytes += piece.len();
    }
    bytes
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn a_text_is_cut_at_a_word_and_says_so() {
        for (text, chars, expected) in [
            ("The quick brown fox", 12, "The quick…"),
            ("The quick brown fox", 9, "The quick…"),
            ("The quick brown fox", 19, "The quick brown fox"),
            ("  The quick brown fox \n", 19, "The quick brown fox"),
            ("Donaudampfschiff", 5, "Donau…"),
            ("👩‍👩‍👧 family", 3, "…"),
            ("猫は静かに座った", 3, "猫は静…"),
        ] {
            assert_eq!(truncated(text, chars), expected, "{text} {chars}");
        }
    }

    proptest! {
        #[test]
        fn what_is_kept_begins_the_text_and_is_short_enough(text in "\\PC{0,80}", chars in 1_usize..40) {
            let cut = truncated(&text, chars);
            let kept = cut.strip_suffix(ELLIPSIS).filter(|_| cut != text.trim()).unwrap_or(&cut);
            prop_assert!(text.trim().starts_with(kept), "{cut:?} of {text:?}");
            prop_assert!(kept.chars().count() <= chars, "{cut:?} of {text:?}");
        }
    }
}
