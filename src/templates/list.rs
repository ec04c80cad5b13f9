//! Lists without templates: a request or a prompt on each line.

use std::path::Path;
use std::sync::Arc;

use serde::Deserialize;
use serde_json::{Map, Value, json};

use super::{Item, TemplateError};

/// The form of a body that says nothing else.
pub(super) const ENDPOINT: &str = "/v1/generate";

/// A line that says more than the body of a request.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Line {
    template: Option<Arc<str>>,
    #[serde(default)]
    priority: i32,
    tenant: Option<Arc<str>>,
    #[serde(default)]
    tags: Vec<String>,
    endpoint: Option<Arc<str>>,
    body: Map<String, Value>,
}

/// Returns the file's name without its folder and extension.
pub(super) fn name_of(file: &Path) -> Arc<str> {
    file.file_stem().unwrap_or_default().to_string_lossy().into()
}

/// Reads a request from each line: the body of `/v1/generate`, or an object that holds any endpoint's as `body`.
pub(super) fn requests(file: &Path, text: &str) -> Result<Vec<Item>, TemplateError> {
    let name = name_of(file);
    let lines = (1..).zip(text.lines()).filter(|(_, line)| !line.trim().is_empty());
    let read = |(number, line): (usize, &str)| {
        let wrong = |reason: String| TemplateError::at(file, format_args!("line {number}"), reason);
        let object: Map<String, Value> = serde_json::from_str(line)
            .map_err(|error| wrong(format!("expected an object of JSON: {error}")))?;
        if !object.contains_key("body") {
            return Ok(Item {
                template: Arc::clone(&name),
                priority: 0,
                tenant: None,
                tags: Vec::new(),
                endpoint: ENDPOINT.into(),
                body: object,
            });
        }
        let Line { template, priority, tenant, tags, endpoint, body } =
            serde_json::from_value(Value::Object(object)).map_err(|error| wrong(error.to_string()))?;
        Ok(Item {
            template: template.unwrap_or_else(|| Arc::clone(&name)),
            priority,
            tenant,
            tags,
            endpoint: endpoint.unwrap_or_else(|| ENDPOINT.into()),
            body,
        })
    };
    lines.map(read).collect()
}

/// Reads a prompt from each line; blank lines and those that begin with `#` are left out.
pub(super) fn prompts(file: &Path, text: &str) -> Vec<Item> {
    let name = name_of(file);
    let lines = text.lines().map(str::trim).filter(|line| !line.is_empty() && !line.starts_with('#'));
    let item = |prompt: &str| Item {
        template: Arc::clone(&name),
        priority: 0,
        tenant: None,
        tags: Vec::new(),
        endpoint: ENDPOINT.into(),
        body: Map::from_iter([("prompt".to_owned(), json!(prompt))]),
    };
    lines.map(item).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    const FILE: &str = "lists/night.jsonl";

    #[test]
    fn a_line_is_a_body_or_holds_one() {
        let text = "{\"prompt\": \"a\"}\n\n{\"endpoint\": \"/v1/messages\", \"priority\": 3, \"tenant\": \"acme\", \
                    \"body\": {\"messages\": []}}\n";
        let items = requests(Path::new(FILE), text).unwrap();
        assert_eq!((&*items[0].template, &*items[0].endpoint, items[0].priority), ("night", ENDPOINT, 0));
        assert_eq!(items[0].body["prompt"], "a");
        assert_eq!((&*items[1].endpoint, items[1].priority), ("/v1/messages", 3));
        assert_eq!(items[1].tenant.as_deref(), Some("acme"));
    }

    #[test]
    fn a_mistake_is_named_with_its_line() {
        for (line, says) in [
            ("[]", "expected an object"),
            ("{\"body\": {}, \"prio\": 1}", "unknown field `prio`"),
            ("{\"body\": 3}", "expected a map"),
        ] {
            let error =
                requests(Path::new(FILE), &format!("{{\"prompt\": \"a\"}}\n{line}")).unwrap_err().to_string();
            assert!(error.starts_with("lists/night.jsonl, line 2: ") && error.contains(says), "{error}");
        }
    }

    #[test]
    fn plain_text_is_a_prompt_on_each_line() {
        let items = prompts(Path::new("faq.txt"), "# About prices\nWhat does it cost?\n\n  Is it free?  \n");
        let said: Vec<_> = items.iter().map(|item| item.body["prompt"].as_str().unwrap()).collect();
        assert_eq!(said, ["What does it cost?", "Is it free?"]);
    }
}
