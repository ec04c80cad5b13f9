//! Labelled pairs, as people keep them: tab-separated values with a header, or JSON lines.

use serde::Deserialize;
use serde_json::{Map, Value};

/// Two prompts, and whether the answer to one may serve the other.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LabelledPair {
    /// The prompt that is asked.
    pub asked: String,
    /// The prompt whose answer is stored.
    pub stored: String,
    pub may_share: bool,
    /// What kind of pair it is; empty where the file does not say.
    pub category: String,
}

/// Why a file of pairs cannot be read; lines count from 1.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum PairsError {
    #[error("the file holds no pairs")]
    Empty,
    #[error("line 1: the header names no column `{0}`; expected `a`, `b`, `label` and perhaps `category`")]
    NoColumn(&'static str),
    #[error("line {line}: {found} fields, and the header has {expected}")]
    Fields { line: usize, found: usize, expected: usize },
    #[error("line {line}: the label is `{label}`; expected 1 (one answer may serve both) or 0")]
    Label { line: usize, label: String },
    #[error("line {line}: {reason}")]
    Json { line: usize, reason: String },
}

/// Columns that may name a pair's kind.
const CATEGORIES: [&str; 3] = ["category", "kind", "test"];

/// Reads pairs: JSON lines where the first line begins with `{`, else tab-separated values whose header names the
/// columns `a`, `b`, `label` and perhaps `category` (or `kind`, or `test`). In the latter `\n` stands for a line break.
///
/// # Errors
/// [`PairsError`] with the line; nothing is left out silently.
pub fn read_pairs(text: &str) -> Result<Vec<LabelledPair>, PairsError> {
    let text = text.strip_prefix('\u{feff}').unwrap_or(text);
    let mut lines = (1..).zip(text.lines()).filter(|(_, line)| !line.trim().is_empty());
    let (_, first) = lines.clone().next().ok_or(PairsError::Empty)?;
    if first.trim_start().starts_with('{') {
        return lines.map(|(line, text)| from_json(line, text)).collect();
    }
    lines.next();
    let header: Vec<_> = first.split('\t').map(str::trim).collect();
    let column = |name| header.iter().position(|column| *column == name);
    let needed = |name| column(name).ok_or(PairsError::NoColumn(name));
    let (a, b, label) = (needed("a")?, needed("b")?, needed("label")?);
    let category = CATEGORIES.into_iter().find_map(column);
    let read = |(line, text): (usize, &str)| {
        let fields: Vec<_> = text.split('\t').collect();
        if fields.len() != header.len() {
            return Err(PairsError::Fields { line, found: fields.len(), expected: header.len() });
        }
        let prompt = |at: usize| fields[at].replace("\\n", "\n");
        Ok(LabelledPair {
            asked: prompt(a),
            stored: prompt(b),
            may_share: labelled(line, fields[label])?,
            category: category.map(|at| fields[at].to_owned()).unwrap_or_default(),
        })
    };
    let pairs: Vec<_> = lines.map(read).collect::<Result<_, _>>()?;
    if pairs.is_empty() { Err(PairsError::Empty) } else { Ok(pairs) }
}

fn labelled(line: usize, label: &str) -> Result<bool, PairsError> {
    match label.trim() {
        "1" | "true" => Ok(true),
        "0" | "false" => Ok(false),
        label => Err(PairsError::Label { line, label: label.to_owned() }),
    }
}

/// What else a line says (who asked, when) is nobody's concern here, but for the pair's kind.
#[derive(Deserialize)]
struct JsonPair {
    a: String,
    b: String,
    label: Value,
    #[serde(flatten)]
    others: Map<String, Value>,
}

fn from_json(line: usize, text: &str) -> Result<LabelledPair, PairsError> {
    let JsonPair { a, b, label, others } =
        serde_json::from_str(text).map_err(|error| PairsError::Json { line, reason: error.to_string() })?;
    let may_share = labelled(line, label.as_str().unwrap_or(&label.to_string()))?;
    let category = CATEGORIES.into_iter().find_map(|name| others.get(name)?.as_str()).unwrap_or_default();
    Ok(LabelledPair { asked: a, stored: b, may_share, category: category.to_owned() })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_forms_say_the_same() {
        let tsv = "kind\tlabel\ta\tb\nunit\t0\tone\\ntwo\tthree\n\nform\t1\tfour\tfive\n";
        let jsonl = "{\"a\": \"one\\ntwo\", \"b\": \"three\", \"label\": 0, \"category\": \"unit\"}\n\
                     {\"a\": \"four\", \"b\": \"five\", \"label\": true, \"kind\": \"form\"}";
        assert_eq!(read_pairs(tsv), read_pairs(jsonl));
        assert_eq!(read_pairs(tsv).unwrap()[0].asked, "one\ntwo");
    }

    #[test]
    fn what_an_export_says_besides_is_left_alone() {
        let jsonl = "{\"tenant\": \"shop\", \"a\": \"one\", \"b\": \"two\", \"label\": \"0\", \"at\": 1763668800000}\n\
                     {\"a\": \"x\", \"b\": \"y\", \"label\": 1, \"kind\": \"form\", \"category\": null, \"entry\": {\"key\": []}}";
        let pairs = read_pairs(jsonl).unwrap();
        assert_eq!(
            (pairs[0].asked.as_str(), pairs[0].may_share, pairs[0].category.as_str()),
            ("one", false, "")
        );
        assert_eq!((pairs[1].may_share, pairs[1].category.as_str()), (true, "form"));
    }

    #[test]
    fn what_is_wrong_is_named_with_its_line() {
        for (text, error) in [
            ("", PairsError::Empty),
            ("a\tlabel\nx\t1", PairsError::NoColumn("b")),
            ("a\tb\tlabel\nx\ty", PairsError::Fields { line: 2, found: 2, expected: 3 }),
            ("a\tb\tlabel\n\nx\ty\tyes", PairsError::Label { line: 3, label: "yes".into() }),
        ] {
            assert_eq!(read_pairs(text), Err(error));
        }
        assert!(matches!(read_pairs("{\"a\": 1}"), Err(PairsError::Json { line: 1, .. })));
    }
}
