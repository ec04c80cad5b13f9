//! Lines of a case file, cut into words.

use std::fmt::Display;
use std::str::FromStr;
use std::time::Duration;

/// What is wrong with a case file, and in which line.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Wrong {
    pub line: usize,
    pub why: String,
}

pub type Parsed<T> = Result<T, Wrong>;

/// A line that says something.
#[derive(Clone, Debug)]
pub struct Line {
    pub number: usize,
    /// Whether it belongs to the last line that is not indented.
    pub is_indented: bool,
    /// The line as it stands, without its indentation.
    pub text: String,
    words: Vec<Word>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum Word {
    Bare(String),
    Quoted(Vec<u8>),
}

/// Cuts a file into its lines; empty ones and comments say nothing.
pub fn lines(file: &str) -> Parsed<Vec<Line>> {
    let mut lines = Vec::new();
    for (at, text) in file.lines().enumerate() {
        let number = at + 1;
        let trimmed = text.trim_start();
        if trimmed.is_empty() || trimmed.starts_with('#') {
            continue;
        }
        let is_indented = match text.len() - trimmed.len() {
            0 => false,
            4 => true,
            _ => return wrong(number, "indent by four spaces or not at all"),
        };
        let text = trimmed.trim_end().to_owned();
        // What is said to the server's own configuration is its language.
        let words = match text.strip_prefix("config ") {
            Some(_) => vec![Word::Bare("config".to_owned())],
            None => words(&text).map_err(|why| Wrong { line: number, why })?,
        };
        lines.push(Line { number, is_indented, text, words });
    }
    Ok(lines)
}

pub fn wrong<T>(line: usize, why: impl Display) -> Parsed<T> {
    Err(Wrong { line, why: why.to_string() })
}

fn words(text: &str) -> Result<Vec<Word>, String> {
    let mut words = Vec::new();
    let mut rest = text.trim_start();
    while !rest.is_empty() {
        let (word, after) = match rest.strip_prefix('"') {
            Some(quoted) => unquoted(quoted)?,
            None => {
                let end = rest.find(' ').unwrap_or(rest.len());
                (Word::Bare(rest[..end].to_owned()), &rest[end..])
            }
        };
        if !after.is_empty() && !after.starts_with(' ') {
            return Err(format!("a space is missing before `{after}`"));
        }
        words.push(word);
        rest = after.trim_start();
    }
    Ok(words)
}

/// Reads a text up to its closing quote: `\n \r \t \" \\`, `\xff` for a byte and `\u{2028}` for a character.
fn unquoted(text: &str) -> Result<(Word, &str), String> {
    let mut bytes = Vec::new();
    let mut rest = text;
    loop {
        let mut characters = rest.chars();
        match characters.next() {
            None => return Err("a text has no closing quote".to_owned()),
            Some('"') => return Ok((Word::Quoted(bytes), characters.as_str())),
            Some('\\') => {
                let escape = characters.next();
                rest = characters.as_str();
                match escape {
                    Some('n') => bytes.push(b'\n'),
                    Some('r') => bytes.push(b'\r'),
                    Some('t') => bytes.push(b'\t'),
                    Some(itself @ ('"' | '\\')) => bytes.push(itself as u8),
                    Some('x') => {
                        let digits = rest.get(..2).ok_or("`\\x` wants two digits")?;
                        bytes.push(u8::from_str_radix(digits, 16).map_err(|_| "`\\x` wants two digits")?);
                        rest = &rest[2..];
                    }
                    Some('u') => {
                        let (digits, after) = rest
                            .strip_prefix('{')
                            .and_then(|inner| inner.split_once('}'))
                            .ok_or("`\\u` wants `{digits}`")?;
                        let character = u32::from_str_radix(digits, 16).ok().and_then(char::from_u32);
                        let character = character.ok_or_else(|| format!("`{digits}` is no character"))?;
                        bytes.extend_from_slice(character.encode_utf8(&mut [0; 4]).as_bytes());
                        rest = after;
                    }
                    other => return Err(format!("`\\{}` is no escape", other.unwrap_or(' '))),
                }
            }
            Some(character) => {
                bytes.extend_from_slice(character.encode_utf8(&mut [0; 4]).as_bytes());
                rest = characters.as_str();
            }
        }
    }
}

/// The words of a line that are still to be read.
#[derive(Clone, Debug)]
pub struct Words<'a> {
    pub line: usize,
    rest: &'a [Word],
}

impl Line {
    pub fn words(&self) -> Words<'_> {
        Words { line: self.number, rest: &self.words }
    }

    /// Returns what stands after `config`.
    pub fn setting(&self) -> &str {
        self.text.strip_prefix("config ").unwrap_or("")
    }
}

impl<'a> Words<'a> {
    pub fn is_empty(&self) -> bool {
        self.rest.is_empty()
    }

    pub fn wrong<T>(&self, why: impl Display) -> Parsed<T> {
        wrong(self.line, why)
    }

    /// Takes the next word if it is this one.
    pub fn takes(&mut self, word: &str) -> bool {
        let is_next = matches!(self.rest.first(), Some(Word::Bare(bare)) if bare == word);
        if is_next {
            self.rest = &self.rest[1..];
        }
        is_next
    }

    /// Takes these words, which must come next.
    pub fn expect(&mut self, words: &str) -> Parsed<()> {
        for word in words.split(' ') {
            if !self.takes(word) {
                return self.wrong(format_args!("expected `{word}` here: {}", self.shown()));
            }
        }
        Ok(())
    }

    /// Takes the next word, which is not quoted; `what` says what it should have been.
    pub fn bare(&mut self, what: &str) -> Parsed<&'a str> {
        match self.rest.split_first() {
            Some((Word::Bare(word), rest)) => {
                self.rest = rest;
                Ok(word)
            }
            _ => self.wrong(format_args!("expected {what} here: {}", self.shown())),
        }
    }

    /// Takes the next word, a quoted text.
    pub fn bytes(&mut self) -> Parsed<Vec<u8>> {
        match self.rest.split_first() {
            Some((Word::Quoted(bytes), rest)) => {
                self.rest = rest;
                Ok(bytes.clone())
            }
            _ => self.wrong(format_args!("expected a quoted text here: {}", self.shown())),
        }
    }

    /// Takes the next word, a quoted text that is UTF-8.
    pub fn text(&mut self) -> Parsed<String> {
        let bytes = self.bytes()?;
        String::from_utf8(bytes).or_else(|_| self.wrong("expected a text of UTF-8"))
    }

    pub fn has_text(&self) -> bool {
        matches!(self.rest.first(), Some(Word::Quoted(_)))
    }

    pub fn number<T: FromStr>(&mut self) -> Parsed<T> {
        let line = self.line;
        let word = self.bare("a number")?;
        word.parse().or_else(|_| wrong(line, format_args!("`{word}` is no such number")))
    }

    /// Takes a time: `250ms` or `1.5s`.
    pub fn time(&mut self) -> Parsed<Duration> {
        let line = self.line;
        let word = self.bare("a time")?;
        let seconds = match (word.strip_suffix("ms"), word.strip_suffix('s')) {
            (Some(millis), _) => millis.parse::<f64>().map(|millis| millis / 1_000.0),
            (None, Some(seconds)) => seconds.parse(),
            (None, None) => return wrong(line, format_args!("`{word}` is no time, such as 250ms or 1.5s")),
        };
        seconds
            .ok()
            .and_then(|seconds| Duration::try_from_secs_f64(seconds).ok())
            .map_or_else(|| wrong(line, format_args!("`{word}` is no time, such as 250ms or 1.5s")), Ok)
    }

    /// Takes what comes before this word, and the word.
    pub fn up_to(&mut self, word: &str) -> Self {
        let is_it = |other: &Word| *other == Word::Bare(word.to_owned());
        let end = self.rest.iter().position(is_it).unwrap_or(self.rest.len());
        let before = Self { line: self.line, rest: &self.rest[..end] };
        self.rest = self.rest.get(end + 1..).unwrap_or(&[]);
        before
    }

    /// Fails if anything is left.
    pub fn end(&self) -> Parsed<()> {
        if self.is_empty() { Ok(()) } else { self.wrong(format_args!("what is this: {}", self.shown())) }
    }

    fn shown(&self) -> String {
        let shown = self.rest.iter().map(|word| match word {
            Word::Bare(word) => word.clone(),
            Word::Quoted(bytes) => format!("\"{}\"", bytes.escape_ascii()),
        });
        let shown: Vec<_> = shown.collect();
        if shown.is_empty() { "the line ends".to_owned() } else { format!("`{}`", shown.join(" ")) }
    }
}
