//! Is it whole: its characters, its code blocks, its last sentence?

use super::Said;
use super::encoding::Breakage;

/// What a text keeps with a code block that nothing closes.
const OPEN_FENCE: f64 = 0.3;
/// What it keeps with marks of the model's own template in it.
const TEMPLATE_MARKS: f64 = 0.2;
/// What it keeps if it stops within a sentence.
const CUT_SENTENCE: f64 = 0.4;
/// So many broken characters in a hundred leave nothing of it.
const BROKEN_PERCENT: f64 = 5.0;

/// The shortest last line that is taken for a sentence, in characters: a signature, a title or a result needs no stop.
const SENTENCE_CHARS: usize = 40;
/// Sentences with a stop that a text must have before one without is a cut one: many languages write none.
const SENTENCES_MIN: usize = 2;

/// Looks for what is broken or cut off: the product of what each flaw leaves of 1. Does not apply where nothing was said.
pub(super) fn look(said: &Said<'_>) -> Option<f64> {
    let text = said.text.trim();
    if text.is_empty() {
        return None;
    }
    let mut whole = wholeness(said);
    if has_template_marks(text) && !has_template_marks(said.question()) {
        whole *= TEMPLATE_MARKS;
    }
    if !said.is_json_asked() {
        if has_open_fence(text) {
            whole *= OPEN_FENCE;
        } else if is_cut(text) {
            whole *= CUT_SENTENCE;
        }
    }
    Some(whole)
}

/// Returns what broken characters leave of a text. The question is read only where there are some.
fn wholeness(said: &Said<'_>) -> f64 {
    if said.breakage.share_unlike(Breakage::default()) == 0.0 {
        return 1.0;
    }
    let share = said.breakage.share_unlike(said.breakage_of_question());
    (1.0 - share * 100.0 / BROKEN_PERCENT).max(0.0)
}

/// Returns whether the text opens a code block that it does not close.
fn has_open_fence(text: &str) -> bool {
    let is_fence = |line: &&str| line.trim_start().starts_with("```");
    text.lines().filter(is_fence).count() % 2 == 1
}

/// Returns whether a mark such as `<|im_end|>` stands in a text: the model's own, which nobody was to see.
fn has_template_marks(text: &str) -> bool {
    let mut rest = text;
    while let Some((_, after)) = rest.split_once("<|") {
        let name = after.trim_start_matches(|char: char| char.is_ascii_alphanumeric() || char == '_');
        if name.len() < after.len() && name.starts_with("|>") {
            return true;
        }
        rest = after;
    }
    false
}

/// Returns whether a text that has stops after its sentences has none after its last one.
fn is_cut(text: &str) -> bool {
    let Some(line) = text.lines().last().map(str::trim_end) else { return false };
    let is_sentence = line.chars().count() >= SENTENCE_CHARS && line.starts_with(char::is_alphanumeric);
    // An address or a piece of code ends a text as it is.
    let word = line.rsplit(char::is_whitespace).next().unwrap_or_default();
    let is_plain = |char: char| char.is_alphabetic() || "'’-,;–—".contains(char);
    is_sentence && word.chars().all(is_plain) && stops(text) >= SENTENCES_MIN
}

/// Returns how many sentences end with a stop, counting no further than needed.
fn stops(text: &str) -> usize {
    let mut chars = text.chars().peekable();
    let mut stops = 0;
    while let Some(char) = chars.next()
        && stops < SENTENCES_MIN
    {
        let is_wide = "。！？｡।॥۔؟።။។".contains(char);
        let is_stop =
            is_wide || (".!?…".contains(char) && chars.peek().is_none_or(|next| next.is_whitespace()));
        stops += usize::from(is_stop);
    }
    stops
}
