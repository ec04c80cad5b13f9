//! How many tokens a text has, for vendors that do not say it.
//!
//! Counted in OpenAI's `o200k_base`, the encoding of its models since GPT-4o. Other vendors have tokenizers of their
//! own, whose counts differ by 10 to 20 % for English, and by more for code and other scripts; so what is counted here
//! is an estimate, is marked as one, and is never preferred to what a vendor says.
//!
//! The vocabulary is unpacked by the first count and kept: about 50 ms and 18 MB, and 3 MB more for each thread that
//! counts, so few threads should. A megabyte of prose takes 3 ms, one of random letters 170 ms.

use tiktoken::CoreBpe;

/// The longest piece that is counted at once, in bytes. Merging one long run of letters takes more than in proportion to
/// its length: 2 MB at once take four times as long as in such pieces. A cut costs one token at most, of
/// thousands.
const PIECE_BYTES_MAX: usize = 16 * 1024;
/// What a message costs besides its text: three tokens that frame it and one for its role. From OpenAI's cookbook,
/// "How to count tokens with tiktoken".
const TOKENS_PER_MESSAGE: u64 = 4;
/// What the beginning of the answer costs the prompt; from the same page.
const TOKENS_OF_REPLY: u64 = 3;
/// What an image is taken for, whatever its size: 1024×1024 pixels in full detail, by OpenAI's rule for GPT-4o
/// (85 tokens, and 170 for each of 4 tiles).
const TOKENS_PER_IMAGE: u64 = 765;

/// Counts the tokens of a text. Takes time in proportion to its length.
pub fn count(text: &str) -> u64 {
    pieces(text).map(|piece| encoding().count(piece) as u64).sum()
}

fn encoding() -> &'static CoreBpe {
    tiktoken::get_encoding("o200k_base").expect("the encoding is built in")
}

fn pieces(text: &str) -> impl Iterator<Item = &str> {
    let mut rest = text;
    std::iter::from_fn(move || {
        let (piece, tail) = rest.split_at(rest.floor_char_boundary(PIECE_BYTES_MAX));
        rest = tail;
        (!piece.is_empty()).then_some(piece)
    })
}

/// Estimates the tokens of a prompt: of all its texts (messages, tools, schemas), and of what lies between them.
pub fn estimate<'a>(texts: impl Iterator<Item = &'a str>, messages: usize, images: usize) -> u64 {
    let texts: u64 = texts.map(count).sum();
    texts + messages as u64 * TOKENS_PER_MESSAGE + images as u64 * TOKENS_PER_IMAGE + TOKENS_OF_REPLY
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn counts_are_those_of_the_encoding() {
        for (text, tokens) in [
            ("", 0),
            ("hello world", 2),
            // From OpenAI's cookbook.
            ("antidisestablishmentarianism", 6),
            ("2 + 2 = 4", 7),
            ("お誕生日おめでとう", 8),
            // Special tokens are text when a user writes them.
            ("<|endoftext|>", 7),
        ] {
            assert_eq!(count(text), tokens, "{text}");
        }
    }

    #[test]
    fn a_long_text_is_cut_between_characters_and_nothing_is_lost() {
        for unit in ["a", "é", "水", "🦀", " ", "ab\n"] {
            let text = unit.repeat(PIECE_BYTES_MAX);
            let lengths: Vec<_> = pieces(&text).map(str::len).collect();
            assert!(lengths.iter().all(|length| *length <= PIECE_BYTES_MAX), "{unit}");
            assert_eq!(lengths.iter().sum::<usize>(), text.len(), "{unit}");
        }
        // Pieces of 8 bytes are one token each, so a cut falls between two of them.
        assert_eq!(count(&"a".repeat(1 << 20)), 131_072);
    }

    #[test]
    fn a_prompt_has_its_texts_and_what_lies_between_them() {
        let texts = ["hello world", "hello world"];
        assert_eq!(estimate(texts.into_iter(), 2, 0), 2 * (2 + 4) + 3);
        assert_eq!(estimate(texts.into_iter(), 2, 3), 2 * (2 + 4) + 3 + 3 * 765);
        assert_eq!(estimate(std::iter::empty(), 0, 0), 3);
    }

    proptest! {
        #[test]
        fn a_text_has_at_most_a_token_per_byte(text in ".{0,200}") {
            let tokens = count(&text);
            prop_assert!(tokens <= text.len() as u64);
            prop_assert_eq!(tokens == 0, text.is_empty());
        }
    }
}
