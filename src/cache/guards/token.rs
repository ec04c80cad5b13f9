//! Cuts a prompt into words, numbers, code and symbols: one pass by hand, read by every guard.

use std::sync::LazyLock;

use super::lexicon::{List, WordMap, WordSet};
use super::literal::{self, Literal};

/// What a token is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(in crate::cache) enum Kind {
    /// A word of prose, in lower case, with straight apostrophes.
    Word,
    /// Digits, with what is glued to them.
    Number(Literal),
    /// A piece that a machine reads; `named` when the same thing may be written as words (`max_retries`).
    Code { named: bool },
    /// An operator or a comparison.
    Symbol,
    /// The end of a clause.
    Break,
}

/// A piece of a prompt.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(in crate::cache) struct Token {
    pub(in crate::cache) kind: Kind,
    pub(in crate::cache) text: String,
    /// Whether nothing but a hyphen or a slash stands between this token and the one before.
    pub(in crate::cache) joined: bool,
    /// Whether it begins with a capital, which a word of prose does where it is a name, or first.
    pub(in crate::cache) capital: bool,
}

impl AsRef<str> for Token {
    fn as_ref(&self) -> &str {
        &self.text
    }
}

impl Token {
    pub(in crate::cache) fn is_word(&self, word: &str) -> bool {
        self.kind == Kind::Word && self.text == word
    }
}

const OPENING: &[char] = &['(', '[', '{', '"', '\'', '“', '‘', '«', '„', '¿', '¡', '*', '`'];
const CLOSING: &[char] = &[
    '.', ',', ';', ':', '!', '?', '…', ')', ']', '}', '"', '\'', '”', '’', '»', '*', '`', '。', '、', '？',
    '！',
];
const ENDS_CLAUSE: &[char] = &['.', ',', ';', ':', '!', '?', '…', '。', '、', '？', '！'];
const OPERATORS: &[char] =
    &['<', '>', '=', '+', '*', '^', '|', '~', '≤', '≥', '≠', '×', '÷', '≈', '√', '∫', '∑', '&', '!', '%'];
/// A longer argument list is prose in brackets.
const CALL_BYTES_MAX: usize = 80;

static INNER_CAPITALS: LazyLock<WordSet> = LazyLock::new(|| List::Code.lines("inner capitals").collect());
static DOTTED: LazyLock<WordMap<&str>> = LazyLock::new(|| List::Code.pairs("spelled with a dot").collect());
static SHORT_FOR: LazyLock<WordMap<&str>> = LazyLock::new(|| List::Code.pairs("short for").collect());
static CASED_UNITS: LazyLock<WordMap<&str>> = LazyLock::new(|| List::Units.forms("units by case"));

/// Cuts `text` into tokens.
pub(in crate::cache) fn tokens(text: &str) -> Vec<Token> {
    let mut lexer = Lexer { tokens: Vec::with_capacity(text.len() / 4 + 1) };
    let mut rest = text.trim_start();
    while !rest.is_empty() {
        let end = rest.find(char::is_whitespace).unwrap_or(rest.len());
        let open = rest.len() - rest.trim_start_matches(OPENING).len();
        let called = rest[..end].contains('(').then(|| call(&rest[open..])).flatten();
        if let Some(length) = called {
            let code = rest[open..open + length].chars().filter(|c| !c.is_whitespace()).collect();
            lexer.push(Kind::Code { named: false }, code, false);
            rest = rest[open + length..].trim_start();
            continue;
        }
        lexer.chunk(&rest[..end]);
        rest = rest[end..].trim_start();
    }
    lexer.tokens
}

struct Lexer {
    tokens: Vec<Token>,
}

impl Lexer {
    fn push(&mut self, kind: Kind, text: String, joined: bool) {
        self.tokens.push(Token { kind, text, joined, capital: false });
    }

    /// Notes that what was read last began with a capital.
    fn capital(&mut self, source: &str) {
        if let Some(token) = self.tokens.last_mut() {
            token.capital = source.starts_with(char::is_uppercase);
        }
    }

    fn after_number(&self) -> bool {
        matches!(self.tokens.last(), Some(Token { kind: Kind::Number(_), .. }))
    }

    /// Reads a run without white space.
    fn chunk(&mut self, chunk: &str) {
        match chunk {
            "*" | "/" | "×" | "÷" | "x" if self.after_number() => {
                return self.push(Kind::Symbol, chunk.replace(['×', 'x'], "*").replace('÷', "/"), false);
            }
            "-" | "--" | "–" | "−" if self.after_number() => {
                return self.push(Kind::Word, "to".to_owned(), false);
            }
            "+" if !self.after_number() => return self.push(Kind::Word, "and".to_owned(), false),
            _ => {}
        }
        let core = chunk.trim_start_matches(OPENING);
        let (core, tail) = split_tail(core);
        if core.bytes().all(|b| b.is_ascii_lowercase()) && !core.is_empty() {
            // Most of a prompt: nothing but small letters can be neither code nor a number.
            self.push(Kind::Word, core.to_owned(), false);
            return self.clause_end(tail);
        }
        let name = core.contains('.').then(|| DOTTED.get(core.to_lowercase().as_str())).flatten();
        if let Some(word) = name {
            self.push(Kind::Word, (*word).to_owned(), false);
            self.capital(core);
        } else if let Some((named, text)) = code(core) {
            self.push(Kind::Code { named }, text, false);
        } else {
            self.words(core);
        }
        self.clause_end(tail);
    }

    fn clause_end(&mut self, tail: &str) {
        if let Some(mark) = tail.chars().find(|c| ENDS_CLAUSE.contains(c)) {
            self.push(Kind::Break, mark.to_string(), true);
        }
    }

    /// Reads words, numbers and operators that stand together without white space.
    fn words(&mut self, core: &str) {
        let mut rest = core;
        let mut joined = false;
        while let Some(c) = rest.chars().next() {
            let length = if let Some((literal, length)) = literal::scan(rest, !joined && !self.after_number())
            {
                self.number(literal, &rest[..length], joined);
                length
            } else if c.is_alphabetic() {
                self.word(rest, joined)
            } else if c.is_numeric() {
                let length = rest.find(|c: char| !c.is_numeric()).unwrap_or(rest.len());
                self.push(Kind::Number(Literal::plain(&rest[..length])), rest[..length].to_owned(), joined);
                length
            } else if rest.starts_with("->") || c == '→' {
                self.push(Kind::Word, "to".to_owned(), joined);
                if c == '→' { c.len_utf8() } else { 2 }
            } else if c == '—' || c == ',' || c == ';' {
                self.push(Kind::Break, c.to_string(), joined);
                c.len_utf8()
            } else if OPERATORS.contains(&c) {
                self.operator(rest, joined)
            } else {
                if is_picture(c) {
                    self.push(Kind::Symbol, c.to_string(), joined);
                }
                c.len_utf8()
            };
            rest = &rest[length..];
            joined = true;
        }
    }

    fn number(&mut self, literal: Literal, source: &str, joined: bool) {
        match literal {
            Literal::Code => self.push(Kind::Code { named: false }, source.to_lowercase(), joined),
            literal => self.push(Kind::Number(literal), source.to_owned(), joined),
        }
    }

    fn operator(&mut self, rest: &str, joined: bool) -> usize {
        let length = rest.find(|c| !OPERATORS.contains(&c)).unwrap_or(rest.len());
        match &rest[..length] {
            "&" => self.push(Kind::Word, "and".to_owned(), joined),
            "!" => {}
            "%" => self.push(Kind::Word, "%".to_owned(), joined),
            "≤" => self.push(Kind::Symbol, "<=".to_owned(), joined),
            "≥" => self.push(Kind::Symbol, ">=".to_owned(), joined),
            "≠" => self.push(Kind::Symbol, "!=".to_owned(), joined),
            symbol => self.push(Kind::Symbol, symbol.replace('×', "*"), joined),
        }
        length
    }

    /// Reads a run of letters, and digits that follow at once; returns its length.
    fn word(&mut self, rest: &str, joined: bool) -> usize {
        let letters = letters(rest);
        let digits = rest[letters..].find(|c: char| !c.is_ascii_digit()).unwrap_or(rest.len() - letters);
        let after = rest[letters + digits..].chars().next();
        if digits > 0 && after.is_some_and(char::is_alphabetic) {
            let end = rest.find(|c: char| !c.is_alphanumeric()).unwrap_or(rest.len());
            let text = rest[..end].to_lowercase();
            match SHORT_FOR.get(text.as_str()) {
                Some(word) => self.push(Kind::Word, (*word).to_owned(), joined),
                None => self.push(Kind::Code { named: false }, text, joined),
            }
            return end;
        }
        let word = &rest[..letters];
        let folded = fold(word);
        if digits > 0 && matches!(folded.as_str(), "v" | "ver" | "version") {
            return letters;
        }
        // After a number, `Mb` and `MB` are two units.
        if self.after_number() && CASED_UNITS.contains_key(word) {
            self.push(Kind::Word, word.to_owned(), joined);
            return letters;
        }
        let named = is_camel_case(word) && !INNER_CAPITALS.contains(folded.as_str());
        let kind = if named { Kind::Code { named } } else { Kind::Word };
        self.push(kind, folded, joined);
        self.capital(word);
        letters
    }
}

/// Arrows, signs, emoji: what Unicode has from there on that is neither a letter nor punctuation of East Asia. Models often
/// know none of them, so nothing else tells one from another.
pub(in crate::cache) fn is_picture(c: char) -> bool {
    c >= '\u{2190}'
        && !c.is_alphanumeric()
        && !('\u{3000}'..='\u{303f}').contains(&c)
        && !('\u{fe00}'..='\u{ff65}').contains(&c)
}

/// Lower case, with straight apostrophes and without the dots of an abbreviation.
fn fold(word: &str) -> String {
    if word.is_ascii() && !word.contains('.') {
        return word.to_ascii_lowercase();
    }
    word.chars()
        .filter(|c| *c != '.')
        .flat_map(|c| if c == '’' { '\''.to_lowercase() } else { c.to_lowercase() })
        .collect()
}

/// Returns the length of a run of letters with apostrophes between them, or of an abbreviation with dots (`U.S`).
fn letters(text: &str) -> usize {
    let mut end = 0;
    let mut part = 0;
    let mut chars = text.char_indices().peekable();
    while let Some((at, c)) = chars.next() {
        let letter_next = chars.peek().is_some_and(|(_, next)| next.is_alphabetic());
        let inside = match c {
            '\'' | '’' => letter_next,
            '.' => letter_next && part == 1,
            _ => false,
        };
        if !inside && !c.is_alphabetic() && !unicode_normalization::char::is_combining_mark(c) {
            break;
        }
        part = if c == '.' { 0 } else { part + 1 };
        end = at + c.len_utf8();
    }
    end
}

/// `useEffect` and `HashMap` are identifiers; `iPhone`, `McCune`, `SpaceX` and `eTicket` are names in prose.
fn is_camel_case(word: &str) -> bool {
    let humps = word.char_indices().zip(word.chars().skip(1));
    let mut humps =
        humps.filter(|((_, a), b)| a.is_lowercase() && b.is_uppercase()).map(|((at, _), _)| at + 1);
    let Some(first) = humps.next() else { return false };
    let last = humps.last().unwrap_or(first);
    let small = word.starts_with(char::is_lowercase);
    if small { first >= 2 } else { first >= 3 && word.len() - last >= 3 }
}

/// Splits off closing punctuation; brackets that were opened inside stay.
fn split_tail(core: &str) -> (&str, &str) {
    let mut end = core.len();
    while let Some(last) = core[..end].chars().next_back() {
        let open = match last {
            ')' => '(',
            ']' => '[',
            '}' => '{',
            _ => ' ',
        };
        let balanced = core[..end].matches(open).count() >= core[..end].matches(last).count();
        if !CLOSING.contains(&last) || (open != ' ' && balanced) {
            break;
        }
        end -= last.len_utf8();
    }
    core.split_at(end)
}

/// Returns the length of `name(arguments)` at the start of `text`.
fn call(text: &str) -> Option<usize> {
    let name = text.find(|c: char| !(c.is_alphanumeric() || matches!(c, '_' | '.' | ':')))?;
    let starts = text.starts_with(|c: char| c.is_alphabetic() || c == '_');
    let arguments = text[name..].strip_prefix('(')?;
    if !starts || name == 0 || ["s)", "es)", "ies)"].iter().any(|plural| arguments.starts_with(plural)) {
        return None;
    }
    let mut depth = 1;
    for (at, c) in arguments.char_indices().take_while(|(at, c)| *at < CALL_BYTES_MAX && *c != '\n') {
        match c {
            '(' => depth += 1,
            ')' => depth -= 1,
            _ => {}
        }
        if depth == 0 {
            // "it fits(if it rains)" and "NATO(OTAN)" are prose.
            let inside = &arguments[..at];
            let prose = inside.contains(' ') && inside.chars().all(|c| c.is_alphabetic() || c == ' ');
            let abbreviation = inside.len() > 1 && inside.chars().all(char::is_uppercase);
            return (!prose && !abbreviation).then_some(name + 1 + at + 1);
        }
    }
    None
}

/// Says whether a run without white space is code, whether words may name the same, and its canonical text.
fn code(core: &str) -> Option<(bool, String)> {
    let exact = |text: &str| Some((false, text.to_owned()));
    let bytes = core.as_bytes();
    let first = *bytes.first()?;
    let second_is_letter = bytes.get(1).is_some_and(u8::is_ascii_alphabetic);
    if core.contains("://") || core.starts_with("www.") {
        return exact(core.trim_end_matches('/'));
    }
    if first == b'-' && (core.starts_with("--") || second_is_letter) && core.len() > 1 {
        return if core.contains(|c: char| c.is_alphanumeric()) { exact(core) } else { None };
    }
    if matches!(first, b'$' | b'@' | b'#' | b'%' | b'\\') && (second_is_letter || core[1..].starts_with('{'))
    {
        return exact(core);
    }
    if first == b'.' && second_is_letter {
        return exact(&core.to_lowercase());
    }
    if is_path(core) || core.contains("0x") || is_uuid(core) {
        return exact(core);
    }
    if first == b'<' && (second_is_letter || core.starts_with("</")) {
        return exact(core);
    }
    if core.contains(['@', '_', '{', '[']) && core.contains(|c: char| c.is_alphanumeric()) {
        return Some((core.contains('_'), core.to_lowercase()));
    }
    if first.is_ascii_alphabetic() && core.len() <= 3 && core.ends_with(['+', '#']) {
        return exact(&core.to_lowercase());
    }
    if core.contains("::")
        || ["==", "!=", "&&", "||", "=>", "<=", ">=", "++"]
            .iter()
            .any(|op| core.match_indices(*op).any(|(at, _)| at > 0))
    {
        return exact(core);
    }
    if let Some((key, value)) = core.split_once([':', '=']) {
        let key = key.chars().all(|c| c.is_alphabetic() || c == '-') && !key.is_empty();
        if key && value.starts_with(|c: char| c.is_alphanumeric() || c == '"') {
            return Some((true, core.to_lowercase()));
        }
    }
    is_dotted_name(core).then(|| (true, core.to_lowercase()))
}

/// A path starts like one, or has a slash and a file's ending or an underscore.
fn is_path(core: &str) -> bool {
    let letter = |at: usize| core.as_bytes().get(at).is_some_and(u8::is_ascii_alphanumeric);
    let drive = core.as_bytes().get(1..3) == Some(b":\\");
    let rooted =
        core.starts_with('/') && letter(1) || ["./", "../", "~/"].iter().any(|root| core.starts_with(root));
    let inner = core.contains('/') && core.contains(|c: char| c.is_alphabetic()) && {
        core.contains('_') || core.split('/').any(is_dotted_name)
    };
    drive || rooted || inner
}

fn is_uuid(core: &str) -> bool {
    core.len() == 36 && core.bytes().all(|b| b.is_ascii_hexdigit() || b == b'-')
}

/// `os.path`, `report.pdf`, `example.com`; not `U.S`, `B.Tech` or the end of one sentence and the start of the next.
fn is_dotted_name(core: &str) -> bool {
    let mut parts = 0;
    let mut shortest = usize::MAX;
    for part in core.split('.') {
        let starts_small = part.starts_with(|c: char| c.is_lowercase() || c == '_');
        let plain = part.chars().all(|c| c.is_alphanumeric() || matches!(c, '-' | '_'));
        if !plain || (parts > 0 && !starts_small) {
            return false;
        }
        shortest = shortest.min(part.len());
        parts += 1;
    }
    let abbreviation = core.find('.') == Some(1);
    parts > 1 && shortest > 0 && core.len() > 2 * parts && core.contains(char::is_alphabetic) && !abbreviation
}
