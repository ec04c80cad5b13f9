//! Is the answer the JSON that was asked for?

use serde::de::IgnoredAny;
use serde_json::Value;

use super::{Said, schema};
use crate::chat::OutputFormat;

/// Looks at the format: 1 where the JSON that was asked for is there, else 0. Does not apply where none was asked for, or
/// tools are called instead.
pub(super) fn look(said: &Said<'_>) -> Option<f64> {
    let applies = said.is_json_asked() && !said.choice.calls_tools();
    applies.then(|| if said.fits_format() { 1.0 } else { 0.0 })
}

/// Returns whether a text is one JSON value and nothing more.
pub fn is_json(text: &str) -> bool {
    serde_json::from_str::<IgnoredAny>(text).is_ok()
}

/// Returns whether a text is what the format asks for; a format that does not ask for JSON is fitted by any text.
pub(super) fn fits(text: &str, format: &OutputFormat) -> bool {
    match format {
        OutputFormat::Text | OutputFormat::Other(_) => true,
        OutputFormat::JsonObject => text.trim_ascii_start().starts_with('{') && is_json(text),
        OutputFormat::JsonSchema(asked) => match &asked.schema {
            Some(schema) => serde_json::from_str::<Value>(text)
                .is_ok_and(|value| schema::admits(schema, &value, text.len())),
            None => is_json(text),
        },
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::chat::JsonSchema;
    use serde_json::json;

    fn schema(schema: Option<Value>) -> OutputFormat {
        OutputFormat::JsonSchema(JsonSchema { name: None, description: None, schema, strict: None })
    }

    #[test]
    fn an_object_that_was_asked_for_is_one_object_and_nothing_beside_it() {
        for good in ["{}", " {\"a\": 1}\n", "{\"a\": {\"b\": []}}"] {
            assert!(fits(good, &OutputFormat::JsonObject), "{good}");
        }
        for bad in ["", "[]", "1", "{\"a\": ", "{} {}", "```json\n{}\n```", "Here you are: {}", "{'a': 1}"] {
            assert!(!fits(bad, &OutputFormat::JsonObject), "{bad}");
        }
    }

    #[test]
    fn a_schema_is_kept_to_and_one_without_words_asks_for_any_json() {
        let person = schema(Some(json!({
            "type": "object",
            "properties": {"name": {"type": "string"}, "age": {"type": "integer", "minimum": 0}},
            "required": ["name", "age"],
            "additionalProperties": false,
        })));
        assert!(fits(r#"{"name": "Ada", "age": 36}"#, &person));
        assert!(!fits(r#"{"name": "Ada"}"#, &person));
        assert!(!fits(r#"{"name": "Ada", "age": "36"}"#, &person));
        assert!(!fits(r#"{"name": "Ada", "age": 36, "born": 1815}"#, &person));
        assert!(!fits("Ada is 36.", &person));
        assert!(fits("[1, 2]", &schema(None)));
        assert!(!fits("[1, 2", &schema(None)));
    }

    #[test]
    fn plain_text_is_not_asked_to_be_json() {
        assert!(fits("{", &OutputFormat::Text));
        assert!(fits("{", &OutputFormat::Other(json!({"type": "grammar"}))));
    }
}
