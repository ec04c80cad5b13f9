//! The material that an instruction works on must be equal, white space apart.
//!
//! The embedder sees the same instruction over two long texts as nearly one prompt. So the material is cut out here and
//! compared as it is: text after a line break, in a code block, in quotes, after a colon, after an operation such as
//! "translate". The instruction around it is free to be reworded; the other layers look at it.
//! Where the instruction cannot be told from the material, all of it is material.

use std::ops::Range;

use super::instruction::{self, Clue};

/// After a colon this many words are material even where nothing says so.
const COLON_WORDS_MIN: usize = 4;
/// Where one side does not mark its material, it may say this many words beside it.
const UNMARKED_WORDS_MAX: usize = 8;
const QUOTES: &[(char, char)] =
    &[('“', '”'), ('«', '»'), ('„', '“'), ('"', '"'), ('`', '`'), ('‘', '’'), ('\'', '\'')];

/// The material of one prompt.
#[derive(Clone, Debug, Default)]
pub(super) struct Payload {
    /// Long pieces: each must stand on the other side as a whole.
    blocks: Vec<String>,
    /// Quoted pieces: the other side may have them without the quotes.
    quotes: Vec<String>,
    /// The whole prompt with single spaces.
    whole: String,
    /// The languages that the instruction names: "to French".
    languages: Vec<String>,
    /// Whether an operation works on the material.
    operates: bool,
}

impl Payload {
    pub(super) fn of(text: &str) -> Self {
        let mut payload = Payload { whole: collapsed(text), ..Payload::default() };
        let lines = lines(text);
        match lines.as_slice() {
            [] => {}
            [line] if !line.fenced => payload.instruction(line.text),
            lines => {
                let chosen = instruction_line(lines);
                let material =
                    lines.iter().enumerate().filter(|(at, _)| Some(*at) != chosen).map(|(_, line)| line);
                payload.push(without_name(&joined(material)).to_owned());
                if let Some(at) = chosen {
                    payload.instruction(lines[at].text);
                }
            }
        }
        payload
    }

    /// Finds material inside the line that holds the instruction.
    fn instruction(&mut self, line: &str) {
        let line = without_label(line);
        let quotes = quotes(line);
        let inside = |at: usize| quotes.iter().any(|quote| quote.contains(&at));
        let colon = line
            .match_indices(':')
            .map(|(at, _)| at)
            .find(|at| line[at + 1..].starts_with(char::is_whitespace) && !inside(*at));
        let clue = instruction::clue(line, !self.blocks.is_empty());
        self.languages = instruction::languages(line);
        self.operates = !matches!(clue, Clue::None);
        if let Some(at) = colon {
            let after = line[at + 1..].trim();
            let words_min = if self.operates { 1 } else { COLON_WORDS_MIN };
            let topic = !self.operates && instruction::is_topic(&line[..at], after);
            if instruction::words_in(after) >= words_min && !topic {
                match sole_quote(after) {
                    Some(quote) => self.quotes.push(quote),
                    None => self.push(collapsed(after)),
                }
                return self.quoted(&line[..at]);
            }
        }
        self.quoted(line);
        if let (true, Clue::Material(material)) = (self.quotes.is_empty(), clue) {
            self.push(material);
        }
    }

    fn quoted(&mut self, line: &str) {
        // Doubled quotation marks are one.
        let inside = |quote: Range<usize>| collapsed(line[quote].trim_matches(['"', '\'', '`']));
        self.quotes.extend(quotes(line).into_iter().map(inside).filter(|quote| !quote.is_empty()));
    }

    /// Adds a long piece. A full stop at its very end may be the prompt's own.
    fn push(&mut self, block: String) {
        let block = block.trim_end_matches(['.', ' ']);
        if !block.is_empty() {
            self.blocks.push(block.to_owned());
        }
    }

    /// Returns the prompt without its material; `None` where no operation works on it.
    pub(super) fn instruction_alone(&self) -> Option<String> {
        let pieces = self.blocks.iter().map(|block| collapsed(block)).chain(self.quotes.iter().cloned());
        self.operates.then(|| pieces.fold(self.whole.clone(), |rest, piece| rest.replacen(&piece, " ", 1)))
    }

    /// Returns why the two sides may not share an answer.
    pub(super) fn differ(&self, stored: &Payload) -> Option<String> {
        if self.whole == stored.whole && self.blocks == stored.blocks {
            return None;
        }
        if !self.languages.is_empty() && !stored.languages.is_empty() && self.languages != stored.languages {
            let (asked, stored) = (self.languages.join(", "), stored.languages.join(", "));
            return Some(format!("the asked prompt is about text in {asked}, the stored one in {stored}"));
        }
        let missing = self.missing_from(stored).map(|piece| ("asked", piece));
        let (side, piece) = missing.or_else(|| stored.missing_from(self).map(|piece| ("stored", piece)))?;
        Some(format!(
            "the material that the instruction works on must be equal: only the {side} prompt holds \"{}\"",
            shortened(piece)
        ))
    }

    /// Returns a piece of this side that the other side lacks.
    fn missing_from(&self, other: &Payload) -> Option<&str> {
        let block = self.blocks.iter().find(|block| {
            let unmarked = other.blocks.is_empty() && other.quotes.is_empty() && other.holds(block) && {
                instruction::words_in(&other.whole) <= instruction::words_in(block) + UNMARKED_WORDS_MAX
            };
            !(other.blocks.contains(block) || other.quotes.contains(block) || unmarked)
        });
        let quote = || {
            self.quotes.iter().enumerate().find(|(at, quote)| {
                let before = self.quotes[..*at].iter().filter(|other| other == quote).count();
                let there = other.quotes.iter().filter(|other| other == quote).count();
                before >= there
                    && !(there == 0 && (other.holds_in_any_case(quote) || other.blocks.contains(quote)))
            })
        };
        block.or_else(|| quote().map(|(_, quote)| quote)).map(String::as_str)
    }

    /// Whether the piece stands in the prompt, not inside longer words.
    fn holds(&self, piece: &str) -> bool {
        holds(&self.whole, piece)
    }

    /// The same for what one side quotes and the other only names, as in `say "NO"` and "say no".
    fn holds_in_any_case(&self, quote: &str) -> bool {
        holds(&self.whole.to_lowercase(), &quote.to_lowercase())
    }
}

fn holds(text: &str, piece: &str) -> bool {
    text.match_indices(piece).any(|(at, _)| {
        let before = text[..at].chars().next_back();
        let after = text[at + piece.len()..].chars().next();
        ![before, after].into_iter().flatten().any(char::is_alphanumeric)
    })
}

pub(super) struct Line<'a> {
    pub(super) text: &'a str,
    indent: &'a str,
    fenced: bool,
}

/// Returns the lines that hold something; the marks of code blocks are left out.
pub(super) fn lines(text: &str) -> Vec<Line<'_>> {
    let mut fence = None;
    let mut lines = Vec::new();
    for line in text.lines() {
        let trimmed = line.trim();
        let mark = ["```", "~~~"].into_iter().find(|mark| trimmed.starts_with(mark));
        match (fence, mark) {
            (None, Some(mark)) if trimmed.matches(mark).count() == 1 => fence = Some(mark),
            (Some(open), Some(mark)) if open == mark => fence = None,
            // Rules such as `---` only show where the material starts and ends.
            _ if fence.is_none() && !trimmed.contains(char::is_alphanumeric) => {}
            _ if trimmed.is_empty() => {}
            _ => {
                let indent = &line[..line.len() - line.trim_start().len()];
                lines.push(Line { text: trimmed, indent, fenced: fence.is_some() });
            }
        }
    }
    lines
}

/// Joins lines of material. How prose is wrapped does not matter; how code is indented does.
fn joined<'a>(lines: impl Iterator<Item = &'a Line<'a>>) -> String {
    let mut text = String::new();
    for line in lines {
        if !text.is_empty() {
            text.push_str(if line.indent.is_empty() { " " } else { "\n" });
            text.push_str(line.indent);
        }
        text.push_str(&collapsed(line.text));
    }
    text
}

/// Returns which line is the instruction: the first or the last, whichever looks more like one.
pub(super) fn instruction_line(lines: &[Line<'_>]) -> Option<usize> {
    let last = lines.len() - 1;
    let weight = |line: &Line<'_>| if line.fenced { 0 } else { instruction::weight(line.text) };
    let (first_weight, last_weight) = (weight(&lines[0]), weight(&lines[last]));
    match first_weight.cmp(&last_weight) {
        std::cmp::Ordering::Greater => Some(0),
        std::cmp::Ordering::Less => Some(last),
        std::cmp::Ordering::Equal if last == 0 || first_weight == 0 => None,
        std::cmp::Ordering::Equal if instruction::points_back(lines[last].text) => Some(last),
        std::cmp::Ordering::Equal if instruction::points_forward(lines[0].text) => Some(0),
        std::cmp::Ordering::Equal => None,
    }
}

/// Drops "Text:" and the like from the front of material.
pub(super) fn without_name(block: &str) -> &str {
    match block.split_once(": ") {
        Some((name, rest)) if instruction::names_material(name) => rest,
        _ => block,
    }
}

/// Drops "Question:" and the like from the front of a line.
pub(super) fn without_label(line: &str) -> &str {
    match line.split_once(':') {
        Some((label, rest)) if instruction::is_label(label) => rest.trim_start(),
        _ => line,
    }
}

/// Returns where quoted text stands in a line, without the quotes.
fn quotes(line: &str) -> Vec<Range<usize>> {
    let mut found = Vec::new();
    let mut from = 0;
    while let Some((at, open)) =
        line[from..].char_indices().find(|(_, c)| QUOTES.iter().any(|(open, _)| open == c))
    {
        let (at, start) = (from + at, from + at + open.len_utf8());
        from = start;
        let word_before = line[..at].chars().next_back().is_some_and(char::is_alphanumeric);
        if word_before || line[start..].starts_with(char::is_whitespace) {
            continue;
        }
        let start = line.len() - line[start..].trim_start_matches(open).len();
        from = start;
        let closes = |(offset, c): &(usize, char)| {
            let pair = QUOTES.iter().any(|(a, b)| *a == open && b == c);
            let after = line[start + offset + c.len_utf8()..].chars().next();
            pair && *offset > 0 && !after.is_some_and(char::is_alphanumeric)
        };
        if let Some((offset, close)) = line[start..].char_indices().find(closes) {
            found.push(start..start + offset);
            from = start + offset + close.len_utf8();
        }
    }
    found
}

/// Returns the inside of a text that is one quote and nothing else but end punctuation.
fn sole_quote(text: &str) -> Option<String> {
    let text = text.trim_end_matches(['.', '!', '?']);
    match quotes(text).as_slice() {
        [quote] if quote.start <= 3 && text.len() - quote.end <= 3 => Some(collapsed(&text[quote.clone()])),
        _ => None,
    }
}

/// Single spaces instead of any white space.
pub(super) fn collapsed(text: &str) -> String {
    let mut collapsed = String::with_capacity(text.len());
    for word in text.split_whitespace() {
        if !collapsed.is_empty() {
            collapsed.push(' ');
        }
        collapsed.push_str(word);
    }
    collapsed
}

/// The beginning of a piece, for a sentence that a person reads.
fn shortened(piece: &str) -> String {
    match piece.char_indices().nth(60) {
        Some((end, _)) => format!("{}…", &piece[..end]),
        None => piece.to_owned(),
    }
}
