//! Does it speak of what was asked?

use std::collections::HashSet;

use super::Said;

/// Fewer keywords than these are a question too short to be recognised in its answer.
const KEYWORDS_MIN: usize = 5;
/// Keywords that are read, from the beginning of a question: what follows in a long one is its material.
const KEYWORDS_MAX: usize = 64;
/// Keywords that are looked for at most: who takes up four has understood.
const WANTED_MAX: usize = 4;
/// A shorter answer need not repeat anything, in bytes.
const ANSWER_BYTES_MIN: usize = 200;
/// What an answer keeps that has none of the keywords: it may be a translation, or put in words of its own.
const NONE_OF_THEM: f64 = 0.2;
/// Letters of a word that count, so that its endings do not; a shorter word carries grammar.
const STEM_CHARS: usize = 5;

/// Looks for words of the question: 1 where enough of them come up. Does not apply to a short question, a short answer,
/// or to code and JSON, which have words of their own.
pub(super) fn look(said: &Said<'_>) -> Option<f64> {
    let (text, question) = (said.text.trim(), said.question());
    if text.len() < ANSWER_BYTES_MIN || said.is_json_asked() || text.contains("```") {
        return None;
    }
    let mut missing = HashSet::new();
    // Room for words that come again.
    for keyword in keywords(question).take(KEYWORDS_MAX * 4) {
        missing.insert(keyword);
        if missing.len() == KEYWORDS_MAX {
            break;
        }
    }
    if missing.len() < KEYWORDS_MIN {
        return None;
    }
    let wanted = (missing.len() / 4).clamp(1, WANTED_MAX);
    let found = keywords(text).filter(|keyword| missing.remove(keyword)).take(wanted).count();
    Some(NONE_OF_THEM + (1.0 - NONE_OF_THEM) * found as f64 / wanted as f64)
}

/// The beginning of a word in small letters, or two characters of a script that does not part its words; the rest `\0`.
type Keyword = [char; STEM_CHARS];

/// Returns the keywords of a text in order, the same one again where it comes again.
fn keywords(text: &str) -> impl Iterator<Item = Keyword> {
    text.split(|char: char| !char.is_alphabetic() && !is_mark(char)).flat_map(of_word)
}

fn of_word(word: &str) -> impl Iterator<Item = Keyword> {
    let is_parted = !word.chars().next().is_some_and(is_unparted);
    let mut stem = ['\0'; STEM_CHARS];
    let mut letters = 0;
    let lower = word.chars().flat_map(char::to_lowercase).take(if is_parted { STEM_CHARS } else { 0 });
    for (place, char) in stem.iter_mut().zip(lower) {
        *place = char;
        letters += 1;
    }
    let pairs = word.chars().zip(word.chars().skip(1)).filter(move |_| !is_parted);
    let pairs = pairs.map(|(one, other)| [one, other, '\0', '\0', '\0']);
    (letters == STEM_CHARS).then_some(stem).into_iter().chain(pairs)
}

/// Vowel signs and tones, which stand within words of Indian and South-East Asian scripts and are no letters.
fn is_mark(char: char) -> bool {
    matches!(char, '\u{300}'..='\u{36f}' | '\u{900}'..='\u{dff}' | '\u{e31}'..='\u{e4e}' | '\u{eb1}'..='\u{ece}' | '\u{102b}'..='\u{103e}' | '\u{17b4}'..='\u{17d3}')
        && !"।॥".contains(char)
}

/// Letters of scripts that do not part their words: Thai, Lao, Burmese, Khmer, kana and Chinese characters.
fn is_unparted(char: char) -> bool {
    matches!(char, '\u{e00}'..='\u{eff}' | '\u{1000}'..='\u{109f}' | '\u{1780}'..='\u{17ff}' | '\u{3040}'..='\u{30ff}' | '\u{3400}'..='\u{9fff}' | '\u{f900}'..='\u{faff}' | '\u{20000}'..='\u{3ffff}')
}

#[cfg(test)]
mod tests {
    use super::*;

    fn words(text: &str) -> Vec<String> {
        keywords(text).map(|word| word.iter().take_while(|char| **char != '\0').collect()).collect()
    }

    #[test]
    fn words_are_told_by_their_beginning_in_scripts_that_part_them() {
        assert_eq!(words("The GLACIERS of Norway, 1308"), ["glaci", "norwa"]);
        assert_eq!(words("Öffnungszeiten für Österreich"), ["öffnu", "öster"]);
        assert_eq!(words("Столица Франции"), ["столи", "франц"]);
        assert_eq!(words("लोकतांत्रिक देश"), ["लोकता"]);
    }

    #[test]
    fn characters_are_taken_in_pairs_in_scripts_that_do_not() {
        assert_eq!(words("法国的首都"), ["法国", "国的", "的首", "首都"]);
        assert_eq!(words("パリは？"), ["パリ", "リは"]);
        assert_eq!(words("ไทย"), ["ไท", "ทย"]);
    }
}
