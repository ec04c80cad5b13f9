//! Does it say something new as it goes on?
//!
//! The measure is how many different pieces of a few letters the end of a text is made of. In prose nearly every piece
//! is new; tables, logs and lists of data bring something new in every line; a text that goes round in circles does not,
//! even where no two rounds are alike to the letter. It is softer than [`super::is_endless`], since all it costs an
//! answer is its place in the cache.

use std::collections::HashSet;

use super::Said;
use super::endless::without_counters;

/// Fewer bytes than these say too little to repeat anything: "ha ha ha", a line of emojis, a chess board.
const BYTES_MIN: usize = 200;
/// How much of the end is looked at. More would not see a loop that a good beginning outweighs.
const TAIL_BYTES: usize = 4 * 1024;

/// The length of a piece: about three words. Shorter ones come back in every table, longer ones hide a loop that varies.
const PIECE_BYTES: usize = 16;
/// The share of different pieces in ten rounds of one sentence is a tenth, and that is the worst.
const PIECES_WORST: f64 = 0.11;
/// A truth table has about a quarter, a log a third, prose nearly all.
const PIECES_BEST: f64 = 0.2;

/// Fewer words than these are no measure of how many somebody knows.
const WORDS_MIN: usize = 150;
/// The share of different words in a salad of a few of them.
const WORDS_WORST: f64 = 0.03;
/// A nursery rhyme has a tenth, prose of some hundred words a half.
const WORDS_BEST: f64 = 0.1;

/// Looks at how much of the end of a text was not there before: 1 for what prose and data have, 0 for what goes round
/// in circles. Does not apply to a short text, nor where circles were asked for.
pub(super) fn look(said: &Said<'_>) -> Option<f64> {
    let tail = tail(&said.text)?;
    let words = share_of_words(tail).map_or(1.0, |share| between(WORDS_WORST, WORDS_BEST, share));
    let pieces = between(PIECES_WORST, PIECES_BEST, share_of_pieces(tail));
    let novelty = pieces.min(words);
    (novelty == 1.0 || !said.goes_round_by_request()).then_some(novelty)
}

/// Returns whether a text goes round in circles: its data may be worth quoting.
pub(super) fn goes_round(text: &str) -> bool {
    tail(text).is_some_and(|tail| share_of_pieces(tail) < PIECES_BEST)
}

/// Returns what is looked at of a text; `None` of a short one.
fn tail(text: &str) -> Option<&str> {
    let text = text.trim();
    let begin = text.ceil_char_boundary(text.len().saturating_sub(TAIL_BYTES));
    (text.len() >= BYTES_MIN).then(|| &text[begin..])
}

/// Returns where a share lies between the worst and the best, both on a scale of ratios.
fn between(worst: f64, best: f64, share: f64) -> f64 {
    ((share / worst).ln() / (best / worst).ln()).clamp(0.0, 1.0)
}

/// Returns how many of a text's pieces are different ones.
fn share_of_pieces(text: &str) -> f64 {
    // A bit per piece in a table with room for 32 times as many: two that fall together are one piece in a hundred.
    const BITS: u32 = (TAIL_BYTES * 32).ilog2();
    let mut seen = vec![0_u64; 1 << (BITS - 6)];
    let (mut pieces, mut different) = (0_u32, 0_u32);
    for piece in without_counters(text).array_windows::<PIECE_BYTES>() {
        let at = digest(*piece) >> (u64::BITS - BITS);
        let (word, bit) = ((at >> 6) as usize, 1 << (at & 63));
        pieces += 1;
        different += u32::from(seen[word] & bit == 0);
        seen[word] |= bit;
    }
    f64::from(different.max(1)) / f64::from(pieces.max(1))
}

/// Spreads the bytes of a piece over a number; good enough for a table, and for nothing else.
fn digest(piece: [u8; PIECE_BYTES]) -> u64 {
    const ODD: [u64; 2] = [0x9e37_79b9_7f4a_7c15, 0xc2b2_ae3d_27d4_eb4f];
    let piece = u128::from_le_bytes(piece);
    let (low, high) = (piece as u64, (piece >> 64) as u64);
    let mixed = low.wrapping_mul(ODD[0]) ^ high.wrapping_mul(ODD[1]).rotate_left(32);
    (mixed ^ (mixed >> 29)).wrapping_mul(ODD[0])
}

/// Returns how many of a text's words are different ones; `None` where there are few, or numbers among them: the lines
/// of a log have the same words.
fn share_of_words(text: &str) -> Option<f64> {
    if text.bytes().any(|byte| byte.is_ascii_digit()) {
        return None;
    }
    let words = || text.split(|char: char| !char.is_alphabetic()).filter(|word| !word.is_empty());
    let count = words().count();
    let different = words().collect::<HashSet<_>>().len();
    (count >= WORDS_MIN).then(|| different as f64 / count as f64)
}
