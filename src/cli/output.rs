//! How things are written: data to standard output, the rest to standard error, nothing that steers a terminal.

use std::fmt::Write as _;
use std::io::{self, ErrorKind, Write as _};

use serde_json::Value;

/// Standard output is closed: whoever read it has had enough.
#[derive(Debug, thiserror::Error)]
#[error("standard output is closed")]
pub struct Closed;

/// A failure that knows what to do about it.
#[derive(Debug, thiserror::Error)]
#[error("{message}")]
pub struct Advised {
    message: String,
    hint: String,
}

impl Advised {
    pub fn new(message: impl Into<String>, hint: impl Into<String>) -> Self {
        Self { message: message.into(), hint: hint.into() }
    }
}

/// Writes data to standard output, with a line break at its end.
///
/// # Errors
/// [`Closed`] where nobody reads any more, else why it could not be written.
pub fn print(text: &str) -> anyhow::Result<()> {
    let mut out = io::stdout().lock();
    let written = writeln!(out, "{}", text.trim_end()).and_then(|()| out.flush());
    written.map_err(|error| match error.kind() {
        ErrorKind::BrokenPipe => Closed.into(),
        _ => anyhow::Error::new(error).context("cannot write to standard output"),
    })
}

/// Writes a JSON value to standard output.
///
/// # Errors
/// As [`print()`].
pub fn print_json(value: &Value) -> anyhow::Result<()> {
    print(&format!("{value:#}"))
}

/// Writes a remark to standard error. Nothing depends on it, so nothing fails with it.
pub fn note(text: &str) {
    let _ = writeln!(io::stderr(), "{text}");
}

/// Writes a failure as one line, and its hint as another.
pub fn report(error: &anyhow::Error) {
    // Parsers like to draw their errors over several lines.
    let line: Vec<_> = format!("{error:#}").split_whitespace().map(str::to_owned).collect();
    note(&format!("refrain: {}", printable(&line.join(" "))));
    if let Some(advised) = error.downcast_ref::<Advised>() {
        note(&format!("hint: {}", advised.hint));
    }
}

/// Returns the text with every control character spelled out, so that a stored prompt cannot steer the terminal.
pub fn printable(text: &str) -> String {
    text.chars().fold(String::with_capacity(text.len()), |mut safe, character| {
        if character.is_control() {
            safe.extend(character.escape_default());
        } else {
            safe.push(character);
        }
        safe
    })
}

/// Returns at most this many characters of a text, printable, and says where it was cut.
pub fn excerpt(text: &str, characters: usize) -> String {
    match text.char_indices().nth(characters) {
        Some((end, _)) => format!("{}…", printable(&text[..end])),
        None => printable(text),
    }
}

/// Returns rows of two columns, the second one aligned.
pub fn columns<L: AsRef<str>, R: AsRef<str>>(rows: &[(L, R)], indent: usize) -> String {
    let width = rows.iter().map(|(left, _)| left.as_ref().chars().count()).max().unwrap_or(0);
    rows.iter().fold(String::new(), |mut text, (left, right)| {
        let line = format!("{:indent$}{:width$}  {}", "", left.as_ref(), right.as_ref());
        text.push_str(line.trim_end());
        text.push('\n');
        text
    })
}

/// Returns a JSON object as text for people: one line per value, objects as headed sections.
pub fn sections(value: &Value) -> String {
    let mut text = String::new();
    push_section(&mut text, value, 0);
    text
}

/// Returns the plain values of a JSON object on one line.
pub fn inline(value: &Value) -> String {
    let plain = value.as_object().into_iter().flatten().filter(|(_, value)| is_plain(value));
    plain.map(|(name, value)| format!("{name} {}", spelled(name, value))).collect::<Vec<_>>().join(", ")
}

fn push_section(text: &mut String, value: &Value, indent: usize) {
    let fields: Vec<(String, &Value)> = match value {
        Value::Object(fields) => fields.iter().map(|(name, value)| (name.clone(), value)).collect(),
        Value::Array(items) => (1..).zip(items).map(|(at, item)| (format!("{at}"), item)).collect(),
        _ => return,
    };
    let (plain, nested): (Vec<_>, Vec<_>) = fields.iter().partition(|(_, value)| is_plain(value));
    let rows: Vec<_> = plain.iter().map(|(name, value)| (name, spelled(name, value))).collect();
    text.push_str(&columns(&rows, indent));
    for (name, value) in nested {
        if indent == 0 && !text.is_empty() {
            text.push('\n');
        }
        let _ = writeln!(text, "{:indent$}{}", "", printable(name));
        push_section(text, value, indent + 2);
    }
}

fn is_plain(value: &Value) -> bool {
    match value {
        Value::Object(fields) => fields.is_empty(),
        Value::Array(items) => items.iter().all(|item| !item.is_object() && !item.is_array()),
        _ => true,
    }
}

/// Returns a plain value in words; a size in bytes, told by its name, also in a unit that people read.
fn spelled(name: &str, value: &Value) -> String {
    match value {
        Value::Null => "-".to_owned(),
        Value::String(text) => printable(text),
        Value::Array(items) if items.is_empty() => "-".to_owned(),
        Value::Array(items) => items.iter().map(|item| spelled("", item)).collect::<Vec<_>>().join(", "),
        Value::Object(_) => "-".to_owned(),
        Value::Number(number) => match number.as_f64() {
            Some(bytes) if name.ends_with("bytes") && bytes >= 1_048_576.0 => {
                format!("{number} ({:.1} MiB)", bytes / 1_048_576.0)
            }
            _ => number.to_string(),
        },
        Value::Bool(yes) => if *yes { "yes" } else { "no" }.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn a_prompt_cannot_steer_the_terminal() {
        assert_eq!(printable("a\u{1b}[2Jb\nc"), "a\\u{1b}[2Jb\\nc");
        assert_eq!(excerpt("żółw\u{7}", 3), "żół…");
        assert_eq!(excerpt("żółw", 4), "żółw");
    }

    #[test]
    fn values_come_before_the_sections_of_their_object() {
        let value = json!({"tiers": {"memory": {"bytes": 2_097_152, "entries": 3}}, "entries": 7});
        assert_eq!(
            sections(&value),
            "entries  7\n\ntiers\n  memory\n    bytes    2097152 (2.0 MiB)\n    entries  3\n"
        );
        assert_eq!(inline(&value), "entries 7");
    }
}
