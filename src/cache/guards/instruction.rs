//! Tells an instruction from the material it works on, by its words.

use std::borrow::Cow;
use std::sync::LazyLock;

use unicode_script::{Script, UnicodeScript};

use super::lexicon::{List, Phrases, WordSet};

/// A longer line is a text, not an instruction over one.
const INSTRUCTION_WORDS_MAX: usize = 60;

/// A topic before a colon has at most this many words.
const TOPIC_WORDS_MAX: usize = 3;

struct Words {
    operations: Phrases,
    summaries: Phrases,
    forward: Phrases,
    backward: WordSet,
    lead: WordSet,
    material: WordSet,
    pointing: WordSet,
    labels: WordSet,
    closing: Phrases,
    measures: WordSet,
    prepositions: WordSet,
    languages: WordSet,
    asking: WordSet,
    questions: WordSet,
}

static WORDS: LazyLock<Words> = LazyLock::new(|| {
    let set = |section| List::Operations.lines(section).collect();
    Words {
        operations: List::Operations.phrases("operations"),
        summaries: List::Operations.phrases("summaries"),
        forward: List::Operations.phrases("forward"),
        backward: set("backward"),
        lead: set("lead"),
        material: set("material"),
        pointing: set("pointing"),
        labels: set("labels"),
        closing: List::Operations.phrases("closing"),
        measures: set("measures"),
        prepositions: set("prepositions"),
        languages: set("languages"),
        asking: set("asking"),
        questions: set("questions"),
    }
});

/// What a line says about material.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Clue {
    /// Nothing.
    None,
    /// There is an operation, and its material stands somewhere else.
    Operation,
    /// There is an operation, or a hint at a text that follows, and this is the material.
    Material(String),
}

/// A word with its form for lookups.
struct Word<'a> {
    text: &'a str,
    folded: Cow<'a, str>,
}

impl AsRef<str> for Word<'_> {
    fn as_ref(&self) -> &str {
        &self.folded
    }
}

impl Word<'_> {
    fn ends_sentence(&self) -> bool {
        self.text.trim_end_matches(['"', '\'', '”', '’', ')']).ends_with(['.', '!', '?', ':', ';'])
    }
}

fn words(line: &str) -> Vec<Word<'_>> {
    line.split_whitespace().map(|text| Word { text, folded: folded(text) }).collect()
}

/// Lower case, with straight apostrophes and no punctuation at the ends; most words are so already.
fn folded(text: &str) -> Cow<'_, str> {
    let core = text.trim_matches(|c: char| !c.is_alphanumeric());
    if core.bytes().all(|b| b.is_ascii() && !b.is_ascii_uppercase()) {
        return Cow::Borrowed(core);
    }
    Cow::Owned(core.to_lowercase().replace('’', "'"))
}

/// Reads a line for an operation or for a hint at the text that it works on, which other lines may hold.
pub(super) fn clue(line: &str, other_lines: bool) -> Clue {
    let words = words(line);
    let Some((start, end)) = operation(&words) else {
        return match hinted(&words) {
            Clue::Material(_) if other_lines => Clue::Operation,
            clue => clue,
        };
    };
    let material = stripped(&words[end..]);
    if !material.is_empty() {
        return Clue::Material(text(material));
    }
    match text(&words[..start]) {
        before if before.is_empty() => Clue::Operation,
        before => Clue::Material(before),
    }
}

/// Returns the languages that a line translates to or from, in alphabetical order.
pub(super) fn languages(line: &str) -> Vec<String> {
    let words = words(line);
    let named = (0..words.len()).filter(|at| language(&words, *at).is_some());
    let mut languages: Vec<String> = named.map(|at| words[at + 1].as_ref().to_owned()).collect();
    languages.sort_unstable();
    languages
}

/// Whether an instruction asks for a summary.
pub(super) fn asks_for_summary(instruction: &str) -> bool {
    let words = words(instruction);
    (0..words.len()).any(|at| WORDS.summaries.at(&words, at).is_some())
}

/// How much a line looks like an instruction: 0 not, 1 a question or a request, 2 an operation or a pointer.
pub(super) fn weight(line: &str) -> u8 {
    let words = words(line);
    if words.len() > INSTRUCTION_WORDS_MAX || words.is_empty() {
        return 0;
    }
    let operates = operation(&words).is_some_and(|(start, _)| start == 0);
    if operates
        || line.ends_with(':')
        || WORDS.labels.contains(words[0].as_ref()) && words[0].text.ends_with(':')
    {
        return 2;
    }
    u8::from(line.ends_with('?') || WORDS.asking.contains(words[0].as_ref()))
}

/// Whether a line says that its material follows.
pub(super) fn points_forward(line: &str) -> bool {
    let words = words(line);
    line.ends_with(':') || (0..words.len()).any(|at| WORDS.forward.at(&words, at).is_some())
}

/// Whether a line says that its material came before.
pub(super) fn points_back(line: &str) -> bool {
    words(line).iter().any(|word| WORDS.backward.contains(word.as_ref()))
}

/// Whether a word only says that what follows is the material.
pub(super) fn names_material(name: &str) -> bool {
    WORDS.material.contains(name.to_lowercase().as_str())
}

/// Whether the text before a colon only names what follows as the instruction.
pub(super) fn is_label(label: &str) -> bool {
    WORDS.labels.contains(label.trim().to_lowercase().as_str())
}

/// Whether a colon only sets a topic before a question: "Islam: how many …?".
pub(super) fn is_topic(before: &str, after: &str) -> bool {
    let before = words(before);
    let named = |word: &Word<'_>| {
        let points = matches!(word.as_ref(), "this" | "these" | "following" | "below");
        points || WORDS.material.contains(word.as_ref()) || WORDS.asking.contains(word.as_ref())
    };
    before.len() <= TOPIC_WORDS_MAX
        && !before.iter().any(named)
        && words(after).first().is_some_and(|word| WORDS.questions.contains(word.as_ref()))
}

/// Counts words; where a script has no spaces, each of its characters is one.
pub(super) fn words_in(text: &str) -> usize {
    let unspaced = |c: &char| {
        !c.is_ascii()
            && matches!(
                c.script(),
                Script::Han
                    | Script::Hiragana
                    | Script::Katakana
                    | Script::Thai
                    | Script::Lao
                    | Script::Khmer
                    | Script::Myanmar
            )
    };
    text.split_whitespace().map(|word| word.chars().filter(unspaced).count().max(1)).sum()
}

/// Finds an operation that starts a sentence; returns where its sentence starts and where the operation ends.
fn operation(words: &[Word<'_>]) -> Option<(usize, usize)> {
    let mut start = 0;
    while start < words.len() {
        let mut at = start;
        loop {
            if let Some((length, _)) = WORDS.operations.at(words, at) {
                return Some((start, at + length));
            }
            if works_on_this(&words[at..]) {
                return Some((start, at + 1));
            }
            if words.get(at).is_none_or(|word| !WORDS.lead.contains(word.as_ref()) || word.ends_sentence()) {
                break;
            }
            at += 1;
        }
        start += words[start..].iter().position(Word::ends_sentence)? + 1;
    }
    None
}

/// "Explain this", "Fix these": any request is an operation where its object stands beside it.
fn works_on_this(words: &[Word<'_>]) -> bool {
    let [verb, object, ..] = words else { return false };
    WORDS.asking.contains(verb.as_ref())
        && !WORDS.questions.contains(verb.as_ref())
        && matches!(object.as_ref(), "this" | "these" | "following")
}

/// "Based on the following text, who …? TEXT": what stands behind the sentence that points forward.
fn hinted(words: &[Word<'_>]) -> Clue {
    let Some(first) = words.iter().position(Word::ends_sentence) else { return Clue::None };
    let points = (0..=first).any(|at| {
        let this = matches!(words[at].as_ref(), "this" | "these");
        let named = words.get(at + 1).is_some_and(|word| WORDS.material.contains(word.as_ref()));
        this && named || WORDS.forward.at(words, at).is_some()
    });
    match text(&words[first + 1..]) {
        rest if points && !rest.is_empty() => Clue::Material(rest),
        _ => Clue::None,
    }
}

/// Takes away what belongs to the instruction at both ends of the words behind an operation.
fn stripped<'a, 'b>(mut words: &'a [Word<'b>]) -> &'a [Word<'b>] {
    while let Some(at) = closing(words) {
        words = &words[..at];
    }
    let object = |words: &[Word<'_>]| {
        let this =
            words.first().is_some_and(|word| matches!(word.as_ref(), "this" | "these" | "that" | "it"));
        (this && language(words, 1).is_some()).then_some(1)
    };
    while let Some(taken) = language(words, 0).or_else(|| object(words)).or_else(|| named_material(words)) {
        words = &words[taken..];
    }
    words
}

/// Returns where the last phrase starts that belongs to the instruction: "to French", "in two sentences", "please".
fn closing(words: &[Word<'_>]) -> Option<usize> {
    let length = words.len();
    (length.saturating_sub(4)..length).find(|at| {
        let rest = length - at;
        language(words, *at) == Some(rest)
            || WORDS.closing.at(words, *at).is_some_and(|(taken, _)| taken == rest)
            || measure(&words[*at..])
    })
}

/// "to French", "from English into German".
fn language(words: &[Word<'_>], at: usize) -> Option<usize> {
    let known = words.get(at).is_some_and(|word| WORDS.prepositions.contains(word.as_ref()))
        && words.get(at + 1).is_some_and(|word| WORDS.languages.contains(word.as_ref()));
    known.then_some(2)
}

/// "the following paragraph", "of this text", "it": words that name the material, up to the last that names it.
fn named_material(words: &[Word<'_>]) -> Option<usize> {
    let pointing = words.iter().take_while(|word| {
        (WORDS.pointing.contains(word.as_ref()) || WORDS.material.contains(word.as_ref()))
            && !word.ends_sentence()
    });
    let run = pointing.count();
    let closes = words.get(run).is_some_and(|word| {
        word.ends_sentence()
            && (WORDS.pointing.contains(word.as_ref()) || WORDS.material.contains(word.as_ref()))
    });
    let end = run + usize::from(closes);
    if end == words.len() || closes {
        return (end > 0).then_some(end);
    }
    // "this text is short": only up to the noun, or nothing, so that "the cat" keeps its article.
    words[..end]
        .iter()
        .rposition(|word| WORDS.material.contains(word.as_ref()))
        .map(|at| at + 1)
        .or_else(|| words.first().filter(|word| matches!(word.as_ref(), "of" | "for" | "me")).map(|_| 1))
}

/// "in three sentences".
fn measure(words: &[Word<'_>]) -> bool {
    words.len() >= 2
        && words.len() <= 4
        && words[0].as_ref() == "in"
        && words.last().is_some_and(|word| WORDS.measures.contains(word.as_ref()))
}

/// The words as they were written, without the punctuation at the end.
fn text(words: &[Word<'_>]) -> String {
    let text = words.iter().map(|word| word.text).collect::<Vec<_>>().join(" ");
    text.trim_end_matches(['.', '!', '?', ',', ':', ';']).trim_start_matches([',', ':', ';', ' ']).to_owned()
}
