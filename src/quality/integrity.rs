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
    let ends_open = line.ends_with(|char: char| char.is_alphabetic() || ",;–—-，、；،".contains(char));
    // An address or a piece of code ends a text as it is.
    let word = line.rsplit(char::is_whitespace).next().unwrap_or_default();
    is_sentence && ends_open && !word.contains(['/', '.', ':', '@', '_', '=']) && stops(text) >= SENTENCES_MIN
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_text_that_stops_within_a_sentence_is_cut() {
        let begun = "Fjords are deep. They were cut by glaciers. ";
        for end in [
            "The deepest of them lies in Norway and reaches",
            "The longest lies in Greenland, and its name is the",
        ] {
            assert!(is_cut(&format!("{begun}{end}")), "{end}");
        }
        assert!(is_cut(
            "Les fjords sont profonds. Ils ont été creusés par des glaciers. Le plus long se trouve au"
        ));
        assert!(is_cut(
            "峡湾很深。它们是由冰川形成的。最长的峡湾位于格陵兰岛，它的名字叫做斯科斯比松，长度大约是三百五十公里，而挪威最长的是松恩峡湾和"
        ));
    }

    #[test]
    fn a_text_that_ends_as_it_should_is_not_cut() {
        let begun = "Fjords are deep. They were cut by glaciers.";
        for end in [
            " The deepest of them lies in Norway.",
            " The deepest of them, they say, lies in Norway (and not in Chile)",
            " For more about them see the page https://example.com/fjords",
            " To see them all, call the function `list_fjords`",
            " The depth of the deepest of them, in metres, is 1308",
            "\n\n- Sogn, which is the longest of those in Norway",
            "\n\n| name | depth of it at the deepest place |",
            "\n\nYours sincerely,\nAda Lovelace",
            " What else would you like to know about them? 😊",
        ] {
            let text = format!("{begun}{end}");
            assert!(!is_cut(&text), "{text}");
        }
        assert!(
            !is_cut("the deepest of them lies in Norway and reaches one thousand three hundred metres"),
            "no stops"
        );
        assert!(
            !is_cut("ฟยอร์ดเกิดจากธารน้ำแข็ง และมักจะลึกมาก ฟยอร์ดที่ยาวที่สุดในนอร์เวย์ชื่อว่าซอกเนฟยอร์ด"),
            "no stops in Thai"
        );
    }

    #[test]
    fn a_block_is_open_if_nothing_closes_it() {
        assert!(has_open_fence("```\ncode"));
        assert!(!has_open_fence("```\ncode\n```"));
        assert!(has_open_fence("```a\n```\n  ```b\n"));
        assert!(!has_open_fence("Write ``` around it."));
    }

    #[test]
    fn marks_of_the_template_are_told_from_signs_of_the_trade() {
        for marked in ["<|im_end|>", "so <|endoftext|> it", "<||> <|eot_id|>"] {
            assert!(has_template_marks(marked), "{marked}");
        }
        for clean in ["<|", "<||>", "a <|> b <| c", "<| not a name |>", "x |> f <| y"] {
            assert!(!has_template_marks(clean), "{clean}");
        }
    }
}
