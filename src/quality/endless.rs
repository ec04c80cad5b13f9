//! Does a text say the same over and over, to its end?
//!
//! A model that has lost its way repeats a word, a phrase or a paragraph until somebody stops it. What gives it away is
//! a period: from some place on every byte is the one that stood so many bytes before it. Texts are periodic by right
//! as well (a song, a ruler, a matrix of zeros), but seldom for long; how long is told by [`bytes_wanted`].
//!
//! Only the last [`TAIL_BYTES`] are looked at, in linear time, so that it can be asked of a text under way as often as
//! it has grown by a few thousand bytes.

/// How much of the end is looked at. [`REPEATS_MIN`] rounds must fit: a paragraph of 500 words still does.
const TAIL_BYTES: usize = 16 * 1024;
/// Rounds of whatever length: a chorus comes back four times in a row, hardly five.
const REPEATS_MIN: usize = 5;
/// Bytes of one character that is no letter and no digit. Rulers, dot leaders and padded tables stay within a few lines.
const STROKE_BYTES: usize = 600;
/// Bytes of rounds that are made of words: "ha ha ha", the longest fade-out of a song and a page of lines written as
/// a punishment are shorter.
const WORDS_BYTES: usize = 1_500;
/// Bytes of rounds that are mostly digits and signs, or one letter: a matrix of zeros, the padding of base64, a table
/// of empty cells. All of these are right where they were asked for.
const DATA_BYTES: usize = 4_096;
/// What must stand on a line behind its number, for the line to be a point of a list.
const POINT_BYTES: usize = 16;
/// What may stand behind the last round, in bytes: a loop inside a string, a code block or a list is closed at times.
const CLOSING_BYTES: usize = 16;

/// How often a text says what it says over and over.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Rounds {
    pub(super) least: usize,
    /// More than `least` where there are more rounds than were looked at.
    pub(super) most: usize,
}

/// The longest question whose numbers are read: one that brings a document along is full of them.
const QUESTION_BYTES_MAX: usize = 2_000;

impl Rounds {
    /// Returns whether a question names about as many: "a hundred times" in digits, the side of a matrix.
    pub(super) fn are_asked_for(self, question: &str) -> bool {
        if question.len() > QUESTION_BYTES_MAX {
            return false;
        }
        let about = self.least / 2..=self.most.saturating_mul(2);
        let digits = question.split(|char: char| !char.is_ascii_digit());
        digits.filter_map(|digits| digits.parse().ok()).any(|number: usize| about.contains(&number))
    }
}

/// Returns whether a text says the same over and over, to its end.
///
/// A text that ends with an endless one is endless itself, so cutting off its beginning never makes it so. A caller who
/// asks for a line a hundred times over can be given it: [`super::defect()`] reads the question too.
pub fn is_endless(text: &str) -> bool {
    rounds(text).is_some()
}

/// Returns the rounds that a text ends with, if they are too many to be meant.
pub(super) fn rounds(text: &str) -> Option<Rounds> {
    let tail = without_counters(without_closing(tail(text)));
    // A period of the text is one of the text backwards, where the end comes first.
    let backwards: Vec<u8> = tail.into_iter().rev().collect();
    let mut borders = Borders { lengths: Vec::with_capacity(backwards.len()) };
    let mut judged = (0, 0);
    let mut found = None;
    for length in 1..=backwards.len() {
        let period = length - borders.next(&backwards);
        if period * REPEATS_MIN > length || length < STROKE_BYTES {
            continue;
        }
        if judged.0 != period {
            judged = (period, bytes_wanted(&backwards[..period]));
        }
        if length >= judged.1 {
            let least = length / period;
            let goes_on = length == backwards.len();
            found = Some(Rounds { least, most: if goes_on { text.len() / period } else { least } });
        }
    }
    found
}

/// The length of each prefix's longest border: a beginning, shorter than the whole, that is its end as well.
struct Borders {
    lengths: Vec<usize>,
}

impl Borders {
    /// Returns the border of the next prefix of these bytes, which must be the same at every call.
    fn next(&mut self, bytes: &[u8]) -> usize {
        let at = self.lengths.len();
        let mut border = self.lengths.last().copied().unwrap_or(0);
        while border > 0 && bytes[at] != bytes[border] {
            border = self.lengths[border - 1];
        }
        if at > 0 && bytes[at] == bytes[border] {
            border += 1;
        }
        self.lengths.push(border);
        border
    }
}

/// Returns how long rounds of these bytes, in any order, must go on before nobody can have meant it.
fn bytes_wanted(round: &[u8]) -> usize {
    let count = |is: fn(&u8) -> bool| round.iter().filter(|byte| is(byte)).count();
    // What is not ASCII counts as letters; an emoji among them makes no difference.
    let letters = count(|byte| byte.is_ascii_alphabetic() || !byte.is_ascii());
    let others = count(|byte| byte.is_ascii_digit() || byte.is_ascii_punctuation());
    match round {
        [byte] if byte.is_ascii_alphanumeric() => DATA_BYTES,
        [_] => STROKE_BYTES,
        _ if letters <= others => DATA_BYTES,
        _ => WORDS_BYTES,
    }
}

fn tail(text: &str) -> &str {
    &text[text.ceil_char_boundary(text.len().saturating_sub(TAIL_BYTES))..]
}

fn without_closing(text: &str) -> &str {
    let is_closing = |char: char| char.is_ascii_whitespace() || "\"'`)]}>.*".contains(char);
    let closed = text.trim_end_matches(is_closing);
    &text[..closed.len().max(text.floor_char_boundary(text.len().saturating_sub(CLOSING_BYTES)))]
}

/// Returns the bytes of a text without the numbers of its lists, so that a list that goes on with the same point is as
/// periodic as its point. Numbers elsewhere stay: lines that differ in them are a log, a table or an enumeration.
pub(super) fn without_counters(text: &str) -> Vec<u8> {
    let bytes = text.as_bytes();
    let mut kept = Vec::with_capacity(bytes.len());
    let mut at = 0;
    while at < bytes.len() {
        kept.push(bytes[at]);
        at += 1;
        if bytes[at - 1] == b'\n' {
            at += counter(&bytes[at..]);
        }
    }
    kept
}

/// Returns how many bytes of the beginning of a line are what stands before the mark of its number and the number
/// itself; 0 where it has none, or next to nothing behind it: the answers to a test differ in their numbers alone.
fn counter(rest: &[u8]) -> usize {
    let before = rest.iter().take_while(|byte| b" \t*#-(".contains(byte)).count();
    let digits = rest[before..].iter().take_while(|byte| byte.is_ascii_digit()).count();
    let counted = before + digits;
    let is_marked = matches!(rest.get(counted), Some(b'.' | b')' | b':')) && (1..=6).contains(&digits);
    let is_point = || !rest.iter().skip(counted).take(POINT_BYTES).any(|byte| *byte == b'\n');
    if is_marked && is_point() { counted } else { 0 }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn repeated(round: &str, bytes: usize) -> String {
        round.repeat(bytes / round.len() + 1)
    }

    #[test]
    fn loops_of_every_size_are_endless_and_what_goes_before_them_does_not_matter() {
        let paragraph = "The city lies on the river and has done so since Roman times. It is known for its bridges, \
                         its market and its university, which was founded in the year in which the plague ended. ";
        for (round, bytes) in [
            ("the ", 1_600),
            ("I am sorry, but ", 1_600),
            ("<|im_start|>assistant\n<|im_end|>\n", 1_600),
            ("!", 700),
            ("\n", 700),
            ("-", 700),
            ("的", 1_600),
            ("ответ: ", 1_600),
            ("😀", 1_600),
            ("0", 4_200),
            (paragraph, 1_600),
        ] {
            let text = format!("Paris is the capital of France. {}", repeated(round, bytes));
            assert!(is_endless(&text), "{round:?}");
            let mut cut = text.len() - 3;
            while !text.is_char_boundary(cut) {
                cut -= 1;
            }
            assert!(is_endless(&text[..cut]), "{round:?}, cut within a round");
            for closing in ["\"}", "\n```", ".", "...\n"] {
                assert!(is_endless(&(text.clone() + closing)), "{round:?}, closed by {closing:?}");
            }
        }
    }

    #[test]
    fn a_list_that_goes_on_with_the_same_point_is_endless() {
        for number in [|n: usize| format!("{n}. "), |n| format!("  {n}) "), |n| format!("- **{n}.** ")] {
            let list: String =
                (1..60).map(|n| format!("\n{}Use a strong and unique password.", number(n))).collect();
            assert!(is_endless(&list), "{list}");
        }
    }

    #[test]
    fn what_repeats_by_right_does_not_do_so_for_long_enough() {
        let rows: String = (0..200).map(|n| format!("{n},user{n},user{n}@example.com,active\n")).collect();
        let log: String = (0..200)
            .map(|n| format!("2026-11-20T10:{:02}:{:02}Z INFO health check passed\n", n / 60, n % 60))
            .collect();
        let is_prime = |n: u32| (2..n).all(|divisor| !n.is_multiple_of(divisor));
        let sieve: String = (2..300).map(|n| if is_prime(n) { "true, " } else { "false, " }).collect();
        for text in [
            "ha ".repeat(200),
            "=".repeat(120),
            "Around the world, around the world. ".repeat(36),
            "[0, 0, 0, 0, 0, 0, 0, 0],\n".repeat(28),
            format!("iVBORw0KGgo{}", "A".repeat(2_000)),
            "|  |  |  |  |  |\n".repeat(100),
            "He shall not enter; and the chorus sang it four times over, as choruses do in plays. ".repeat(4),
            rows,
            log,
            sieve,
            (0..2_000).map(|n| format!("{n}\n")).collect(),
            (1..200).map(|n| format!("{n}. Item {n}\n")).collect(),
        ] {
            assert!(!is_endless(&text), "{}", &text[..text.len().min(100)]);
        }
    }

    #[test]
    fn a_text_that_found_its_way_out_is_not_endless() {
        let text = repeated("the ", 3_000) + "capital of France is Paris, which lies on the Seine.";
        assert!(!is_endless(&text));
    }

    #[test]
    fn rounds_are_counted_beyond_the_tail() {
        let line = "I will not talk in class.\n";
        assert_eq!(rounds(&line.repeat(100)), Some(Rounds { least: 99, most: 100 }));
        let many = rounds(&line.repeat(2_000)).unwrap();
        assert!(many.least < 700 && many.most == 2_000, "{many:?}");
    }

    proptest! {
        #[test]
        fn any_text_repeated_often_enough_is_endless(round in any::<String>().prop_filter("empty", |s| !s.is_empty())) {
            prop_assume!(round.len() * REPEATS_MIN < TAIL_BYTES / 2);
            let times = DATA_BYTES / round.len() + 2 * REPEATS_MIN + 2 * CLOSING_BYTES;
            prop_assert!(is_endless(&round.repeat(times)));
        }

        #[test]
        fn cutting_off_the_beginning_never_makes_a_text_endless(
            before in "[ab\\n1. ]{0,300}", round in "[ab\\n1. ]{1,12}", times in 0..400_usize, after in "[ab]{0,3}",
            cut in any::<prop::sample::Index>(),
        ) {
            let text = before + &round.repeat(times) + &after;
            let end = &text[cut.index(text.len() + 1)..];
            prop_assert!(!is_endless(end) || is_endless(&text));
        }

        #[test]
        fn any_text_can_be_asked(text in any::<String>()) {
            prop_assert!(!is_endless(&text) || text.len() >= STROKE_BYTES);
        }
    }
}
