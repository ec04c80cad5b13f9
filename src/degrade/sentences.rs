//! Cutting a text into its sentences.

use unicode_segmentation::UnicodeSegmentation;

/// Sentences that are looked at: comparing them takes the square of their number. A longer text is judged by its
/// beginning.
const SENTENCES_MAX: usize = 100;
/// Anything longer is a table, a list or code, and would be no summary.
const CHARS_MAX: usize = 800;
/// Anything shorter is a heading, or says nothing by itself.
const WORDS_MIN: usize = 4;
/// A full stop after one of these ends no sentence.
const ABBREVIATIONS: &[&str] = &[
    "approx", "art", "ca", "cf", "ch", "co", "corp", "dept", "dr", "e.g", "ed", "eq", "est", "etc", "fig",
    "i.e", "inc", "jr", "ltd", "mr", "mrs", "ms", "mt", "op", "p", "pp", "prof", "rev", "sec", "sr", "st",
    "vol", "vs",
];

/// Returns the sentences of a text in their order, each once and with single spaces.
pub fn sentences(text: &str) -> Vec<String> {
    let all = || paragraphs(text).into_iter().flat_map(|paragraph| of_paragraph(&paragraph));
    let full = distinct(all().filter(|sentence| sentence.unicode_words().count() >= WORDS_MIN));
    // A text of nothing but fragments is still better than none.
    if full.is_empty() {
        distinct(all().filter(|sentence| sentence.unicode_words().next().is_some()))
    } else {
        full
    }
}

fn distinct(sentences: impl Iterator<Item = String>) -> Vec<String> {
    let mut found: Vec<String> = Vec::new();
    for sentence in sentences.filter(|sentence| sentence.chars().count() <= CHARS_MAX) {
        if found.len() == SENTENCES_MAX {
            break;
        }
        if !found.contains(&sentence) {
            found.push(sentence);
        }
    }
    found
}

/// Joins the lines that only a margin parted. An empty line, a heading and a point of a list begin anew.
fn paragraphs(text: &str) -> Vec<String> {
    let mut found: Vec<String> = Vec::new();
    let mut is_open = false;
    for line in text.lines().map(str::trim) {
        let is_heading = line.starts_with('#');
        let (line, is_point) = without_mark(line);
        if line.is_empty() {
            is_open = false;
            continue;
        }
        match found.last_mut() {
            Some(paragraph) if is_open && !is_point && !is_heading => {
                paragraph.push(' ');
                paragraph.push_str(line);
            }
            _ => found.push(line.to_owned()),
        }
        is_open = !is_heading;
    }
    found
}

/// Returns a line without the mark of a heading or of a point in a list, and whether it is such a point.
fn without_mark(line: &str) -> (&str, bool) {
    let line = line.trim_start_matches('#').trim_start();
    let rest = line.trim_start_matches(|c: char| c.is_ascii_digit());
    let number = line.len() - rest.len();
    let mark = match rest.chars().next() {
        Some(mark @ ('-' | '*' | '•' | '–' | '>')) if number == 0 => mark,
        Some(mark @ ('.' | ')')) if (1..=3).contains(&number) => mark,
        _ => return (line, false),
    };
    match rest[mark.len_utf8()..].strip_prefix(' ') {
        Some(point) => (point.trim_start(), true),
        None => (line, false),
    }
}

fn of_paragraph(paragraph: &str) -> Vec<String> {
    let mut found = Vec::new();
    let mut open = String::new();
    for piece in paragraph.split_sentence_bounds() {
        open.push_str(piece);
        if !ends_in_abbreviation(&open) {
            found.push(std::mem::take(&mut open));
        }
    }
    found.push(open);
    found.iter().map(|sentence| sentence.split_whitespace().collect::<Vec<_>>().join(" ")).collect()
}

/// Whether the last full stop belongs to a word: "Dr.", "J."
fn ends_in_abbreviation(text: &str) -> bool {
    let Some(before) = text.trim_end().strip_suffix('.') else { return false };
    let word = before.rsplit(|c: char| c.is_whitespace() || c == '(').next().unwrap_or("");
    let is_initial = word.chars().count() == 1 && word.chars().all(char::is_uppercase);
    is_initial || ABBREVIATIONS.contains(&word.to_lowercase().as_str())
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn sentences_end_where_a_reader_would_end_them() {
        for (text, expected) in [
            (
                "The cat sat down there. Then it slept until noon!",
                vec!["The cat sat down there.", "Then it slept until noon!"],
            ),
            (
                "Dr. J. Smith measured 3.5 km. It was e.g. too far away.",
                vec!["Dr. J. Smith measured 3.5 km.", "It was e.g. too far away."],
            ),
            (
                "A line that a margin\nhas parted is one sentence.",
                vec!["A line that a margin has parted is one sentence."],
            ),
            (
                "# A heading of four words\nThe text under it goes on.",
                vec!["A heading of four words", "The text under it goes on."],
            ),
            ("Heading\n\nThe text under it goes on.", vec!["The text under it goes on."]),
            (
                "- the first point of all\n- the second point of all\n2) a third one comes last",
                vec!["the first point of all", "the second point of all", "a third one comes last"],
            ),
            (
                "It is said only once. It is said only once. It ends here and now.",
                vec!["It is said only once.", "It ends here and now."],
            ),
            ("猫は静かに座った。それから眠った。", vec!["猫は静かに座った。", "それから眠った。"]),
            ("No. Yes.", vec!["No.", "Yes."]),
            ("---\n***", vec![]),
        ] {
            assert_eq!(sentences(text), expected, "{text}");
        }
    }

    #[test]
    fn a_long_text_is_judged_by_its_beginning_and_a_table_is_no_sentence() {
        let many: String = (0..500).map(|at| format!("This is the sentence with number {at}. ")).collect();
        let found = sentences(&many);
        assert_eq!((found.len(), found[0].as_str()), (SENTENCES_MAX, "This is the sentence with number 0."));
        assert_eq!(sentences(&format!("{} end.", "cell ".repeat(1_000))), Vec::<String>::new());
    }

    proptest! {
        #[test]
        fn every_sentence_stands_in_the_text(text in "[a-dA-D.!? \n#*-]{0,200}") {
            let words = |text: &str| text.split_whitespace().collect::<Vec<_>>().join(" ");
            let whole = words(&text);
            for sentence in sentences(&text) {
                let stands = sentence.split(' ').all(|word| whole.contains(word));
                prop_assert!(stands && !sentence.is_empty(), "{sentence:?} of {text:?}");
            }
        }
    }
}
