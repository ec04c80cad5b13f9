//! Does a JSON value keep to the schema that the caller gave?
//!
//! A schema is the caller's own text, and what it may cost is bounded before it is compiled: its size with every
//! reference followed, since forty lines can ask for as many visits as there are ways through them; its patterns, which
//! are matched in linear time or not at all; and nothing is ever fetched. A schema beyond these bounds, or one that
//! nobody can compile, is kept to by every value: what we cannot judge is not held against an answer.

use jsonschema::PatternOptions;
use serde_json::{Map, Value};

/// Values in a schema, those behind a reference counted again for each reference. Vendors take at most some thousands.
const VALUES_MAX: usize = 10_000;
/// Levels of a schema, those behind references included: the checker takes them one call deeper each.
const DEPTH_MAX: usize = 200;
/// Patterns in a schema; each is compiled, within [`PATTERN_BYTES_MAX`] of memory.
const PATTERNS_MAX: usize = 64;
const PATTERN_BYTES_MAX: usize = 256 * 1024;
/// The longest answer that is held against a schema, in bytes.
const ANSWER_BYTES_MAX: usize = 1024 * 1024;

/// Returns whether a value, which takes so many bytes as text, keeps to a schema, or the schema cannot be judged by.
///
/// Formats (`email`, `date`, …) are not looked at: drafts differ over whether they bind, and vendors do not enforce them.
pub(super) fn admits(schema: &Value, value: &Value, bytes: usize) -> bool {
    if bytes > ANSWER_BYTES_MAX || !is_bounded(schema) {
        return true;
    }
    let patterns = PatternOptions::regex().size_limit(PATTERN_BYTES_MAX).dfa_size_limit(PATTERN_BYTES_MAX);
    let options =
        jsonschema::options().offline().should_validate_formats(false).with_pattern_options(patterns);
    options.build(schema).map_or(true, |validator| validator.is_valid(value))
}

/// Returns whether a schema can be compiled and walked at a cost that is known beforehand.
fn is_bounded(schema: &Value) -> bool {
    let mut extent =
        Extent { root: schema, values_left: VALUES_MAX, patterns_left: PATTERNS_MAX, followed: Vec::new() };
    extent.walk(schema, 0).is_some()
}

/// Measures how far a schema reaches when every reference is followed.
struct Extent<'a> {
    root: &'a Value,
    values_left: usize,
    patterns_left: usize,
    /// The references on the way from the root to here: one of them again closes a circle, which the checker walks only
    /// as far as the value goes.
    followed: Vec<&'a str>,
}

impl<'a> Extent<'a> {
    /// Returns `None` where a bound is passed.
    fn walk(&mut self, value: &'a Value, depth: usize) -> Option<()> {
        self.values_left = self.values_left.checked_sub(1)?;
        if depth > DEPTH_MAX {
            return None;
        }
        match value {
            Value::Object(fields) => self.walk_object(fields, depth),
            Value::Array(items) => items.iter().try_for_each(|item| self.walk(item, depth + 1)),
            Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => Some(()),
        }
    }

    fn walk_object(&mut self, fields: &'a Map<String, Value>, depth: usize) -> Option<()> {
        for (name, value) in fields {
            match (name.as_str(), value) {
                ("$ref", Value::String(reference)) => self.follow(reference, depth)?,
                // They lead to where they were called from, which nobody can tell beforehand.
                ("$dynamicRef" | "$recursiveRef", Value::String(_)) => return None,
                // All below them is walked once more for each of them: forty levels would never end.
                ("unevaluatedProperties" | "unevaluatedItems", _) => return None,
                ("pattern", Value::String(_)) => self.patterns_left = self.patterns_left.checked_sub(1)?,
                ("patternProperties", Value::Object(patterns)) => {
                    self.patterns_left = self.patterns_left.checked_sub(patterns.len())?;
                }
                _ => {}
            }
            self.walk(value, depth + 1)?;
        }
        Some(())
    }

    /// Follows a reference within the schema; of any other kind `None`.
    fn follow(&mut self, reference: &'a str, depth: usize) -> Option<()> {
        if self.followed.contains(&reference) {
            return Some(());
        }
        let target = self.root.pointer(reference.strip_prefix('#')?)?;
        self.followed.push(reference);
        self.walk(target, depth + 1)?;
        self.followed.pop();
        Some(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn admits(schema: &Value, value: &Value) -> bool {
        super::admits(schema, value, value.to_string().len())
    }

    #[test]
    fn references_within_the_schema_are_followed_round_circles_too() {
        let list = json!({
            "$ref": "#/$defs/node",
            "$defs": {"node": {
                "type": "object",
                "properties": {"value": {"type": "integer"}, "next": {"anyOf": [{"$ref": "#/$defs/node"}, {"type": "null"}]}},
                "required": ["value", "next"],
            }},
        });
        assert!(admits(&list, &json!({"value": 1, "next": {"value": 2, "next": null}})));
        assert!(!admits(&list, &json!({"value": 1, "next": {"value": "2", "next": null}})));
        let itself = json!({"properties": {"child": {"$ref": "#"}}, "additionalProperties": false});
        assert!(admits(&itself, &json!({"child": {"child": {}}})));
        assert!(!admits(&itself, &json!({"child": {"name": 1}})));
    }

    #[test]
    fn a_schema_that_nobody_can_compile_is_kept_to_by_everything() {
        for schema in [
            json!({"type": "STRING"}),
            json!({"$ref": "https://example.com/schema.json"}),
            json!({"$ref": "file:///etc/passwd"}),
            json!({"$schema": "https://example.com/own-dialect", "type": "string"}),
            json!({"pattern": "(?=looks ahead)"}),
            json!({"pattern": "((a{500}){500}){500}"}),
            json!({"$ref": "#/$defs/nowhere"}),
            json!("no schema"),
        ] {
            assert!(admits(&schema, &json!(7)), "{schema}");
        }
    }

    #[test]
    fn a_small_schema_that_asks_for_endless_work_is_not_walked() {
        let mut defs = Map::new();
        for at in 0..60 {
            let next = format!("#/$defs/{}", at + 1);
            defs.insert(at.to_string(), json!({"anyOf": [{"$ref": next}, {"$ref": next}]}));
        }
        defs.insert("60".into(), json!({"type": "integer"}));
        assert!(admits(&json!({"$ref": "#/$defs/0", "$defs": defs}), &json!("no integer")));
    }

    #[test]
    fn keywords_that_double_the_work_at_every_level_are_not_walked() {
        let (mut schema, mut value) = (json!({"type": "integer"}), json!("no integer"));
        for _ in 0..40 {
            schema = json!({"anyOf": [{"properties": {"x": schema}}], "unevaluatedProperties": false});
            value = json!({ "x": value });
        }
        assert!(admits(&schema, &value));
    }

    #[test]
    fn a_long_chain_of_references_is_not_walked() {
        let mut defs = Map::new();
        for at in 0..5_000 {
            defs.insert(at.to_string(), json!({"$ref": format!("#/$defs/{}", at + 1)}));
        }
        defs.insert("5000".into(), json!({"type": "integer"}));
        assert!(admits(&json!({"$ref": "#/$defs/0", "$defs": defs}), &json!("no integer")));
    }
}
