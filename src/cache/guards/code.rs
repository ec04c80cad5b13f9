//! Identifiers, flags, paths, addresses, versions and operators are the same pieces on both sides, in any order.
//!
//! A name of two words may be written as words on the other side: `max_retries` beside "max retries".

use std::collections::HashSet;
use std::sync::LazyLock;

use super::literal::Literal;
use super::token::{Kind, Token, is_picture};

/// Comparisons directly before a number belong to the number.
static COMPARISONS: LazyLock<HashSet<&str>> = LazyLock::new(|| HashSet::from(["<", ">", "<=", ">="]));

#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Piece {
    text: String,
    named: bool,
}

/// What a machine would read in one prompt.
#[derive(Clone, Debug, Default)]
pub(super) struct Code {
    pieces: Vec<Piece>,
    /// Emoji and signs. One may close a prompt without asking anything, so they only differ from others.
    pictures: Vec<String>,
}

impl Code {
    pub(super) fn of(tokens: &[Token]) -> Self {
        let mut pieces: Vec<Piece> = Vec::new();
        let mut pictures: Vec<String> = Vec::new();
        for (at, token) in tokens.iter().enumerate() {
            let number_follows = matches!(
                tokens.get(at + 1),
                Some(Token { kind: Kind::Number(Literal::Plain { .. } | Literal::Ratio(_)), .. })
            );
            match token.kind {
                Kind::Code { named } => pieces.push(Piece { text: token.text.clone(), named }),
                Kind::Symbol if token.text.chars().all(is_picture) => pictures.push(token.text.clone()),
                Kind::Symbol if is_open_bound(tokens, at) => {}
                Kind::Symbol if number_follows && COMPARISONS.contains(token.text.as_str()) => {}
                Kind::Symbol => pieces.push(Piece { text: token.text.clone(), named: false }),
                Kind::Word | Kind::Number(_) | Kind::Break => {}
            }
        }
        pieces.sort_unstable();
        pictures.sort_unstable();
        Self { pieces, pictures }
    }

    /// Returns why the two sides may not share an answer; the tokens are those the code was read from.
    pub(super) fn differ(&self, here: &[Token], stored: &Code, there: &[Token]) -> Option<String> {
        if !self.pictures.is_empty() && !stored.pictures.is_empty() && self.pictures != stored.pictures {
            let (ours, theirs) = (self.pictures.concat(), stored.pictures.concat());
            return Some(format!("the asked prompt holds {ours}, the stored one {theirs}"));
        }
        if self.pieces == stored.pieces {
            return None;
        }
        let missing = surplus(&self.pieces, &stored.pieces).find(|piece| !spelled_out(piece, there));
        let extra = surplus(&stored.pieces, &self.pieces).find(|piece| !spelled_out(piece, here));
        let reason = match (missing, extra) {
            (None, None) => return None,
            (Some(a), None) => format!("the asked prompt holds `{}`, the stored one does not", a.text),
            (None, Some(b)) => format!("the stored prompt holds `{}`, the asked one does not", b.text),
            (Some(a), Some(b)) => format!("the asked prompt holds `{}`, the stored one `{}`", a.text, b.text),
        };
        Some(format!("code, names and symbols must agree: {reason}"))
    }
}

/// Returns the pieces that `left` holds more often than `right`.
fn surplus<'a>(left: &'a [Piece], right: &'a [Piece]) -> impl Iterator<Item = &'a Piece> {
    left.iter().enumerate().filter_map(move |(at, piece)| {
        let before = left[..at].iter().filter(|other| other.text == piece.text).count();
        let there = right.iter().filter(|other| other.text == piece.text).count();
        (before >= there).then_some(piece)
    })
}

/// The plus of "18+" belongs to the number.
fn is_open_bound(tokens: &[Token], at: usize) -> bool {
    let after_number = at > 0 && matches!(tokens[at - 1].kind, Kind::Number(_));
    let ends = tokens.get(at + 1).is_none_or(|next| !next.joined || next.kind == Kind::Break);
    tokens[at].text == "+" && tokens[at].joined && after_number && ends
}

/// Whether the words of a named piece stand beside each other in the other prompt.
fn spelled_out(piece: &Piece, tokens: &[Token]) -> bool {
    if !piece.named {
        return false;
    }
    let mut parts: Vec<&str> =
        piece.text.split(|c: char| !c.is_alphanumeric()).filter(|part| !part.is_empty()).collect();
    // "example.com" is the same place as "example".
    if parts.len() == 2 && matches!(parts[1], "com" | "org" | "net") {
        parts.pop();
    }
    if parts.is_empty() {
        return false;
    }
    tokens
        .windows(parts.len())
        .any(|window| window.iter().zip(&parts).all(|(token, part)| token.text == *part))
}
