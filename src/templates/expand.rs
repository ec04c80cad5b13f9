//! A list of templates becomes requests.

use std::collections::{BTreeMap, HashSet};
use std::path::Path;
use std::sync::Arc;

use serde::Deserialize;
use serde_json::{Map, Value, json};

use super::list::ENDPOINT;
use super::render::Renderer;
use super::variables::{Bindings, Variables};
use super::{ITEMS_MAX, Item, TemplateError, rows, wordings};

/// `list.toml`.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct List {
    #[serde(default)]
    defaults: Settings,
    templates: Vec<Template>,
}

/// What a template says of its requests, and a list of all its templates.
#[derive(Clone, Default, Deserialize)]
#[serde(deny_unknown_fields)]
struct Settings {
    system: Option<String>,
    model: Option<String>,
    tenant: Option<String>,
    namespace: Option<String>,
    task: Option<String>,
    max_tokens: Option<u32>,
    temperature: Option<f64>,
    ttl_seconds: Option<u64>,
    #[serde(default)]
    tags: Vec<String>,
    priority: Option<i32>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Template {
    name: String,
    prompt: String,
    /// How many wordings of each prompt are asked for.
    #[serde(default = "one")]
    variations: usize,
    /// Other wordings, templates like the prompt.
    #[serde(default)]
    wordings: Vec<String>,
    #[serde(default)]
    variables: BTreeMap<String, Value>,
    #[serde(default)]
    zip: BTreeMap<String, Vec<Value>>,
    /// A table beside the list.
    rows: Option<String>,
    /// Only where this holds.
    only: Option<String>,
    /// Not where this holds.
    skip: Option<String>,
    // What `Settings` has: serde cannot both flatten and refuse what it does not know.
    system: Option<String>,
    model: Option<String>,
    tenant: Option<String>,
    namespace: Option<String>,
    task: Option<String>,
    max_tokens: Option<u32>,
    temperature: Option<f64>,
    ttl_seconds: Option<u64>,
    tags: Option<Vec<String>>,
    priority: Option<i32>,
}

const fn one() -> usize {
    1
}

/// The most wordings of one prompt.
const VARIATIONS_MAX: usize = 20;

impl Template {
    /// Returns what it says of its requests, the list's word where it says nothing.
    fn settings(&self, defaults: &Settings) -> Settings {
        let text = |own: &Option<String>, default: &Option<String>| own.clone().or_else(|| default.clone());
        Settings {
            system: text(&self.system, &defaults.system),
            model: text(&self.model, &defaults.model),
            tenant: text(&self.tenant, &defaults.tenant),
            namespace: text(&self.namespace, &defaults.namespace),
            task: text(&self.task, &defaults.task),
            max_tokens: self.max_tokens.or(defaults.max_tokens),
            temperature: self.temperature.or(defaults.temperature),
            ttl_seconds: self.ttl_seconds.or(defaults.ttl_seconds),
            tags: self.tags.clone().unwrap_or_else(|| defaults.tags.clone()),
            priority: self.priority.or(defaults.priority),
        }
    }
}

/// Reads a list and returns its requests.
pub(super) fn list(file: &Path, text: &str) -> Result<Vec<Item>, TemplateError> {
    // The parser's own message shows the line.
    let List { defaults, templates } =
        toml::from_str(text).map_err(|error| TemplateError::of(file, error.to_string().trim_end()))?;
    let (renderer, mut items, mut names) = (Renderer::new(), Vec::new(), HashSet::new());
    for template in &templates {
        if !names.insert(template.name.as_str()) {
            return Err(wrong(file, template, None, "is the name of two templates"));
        }
        expand(file, template, &template.settings(&defaults), &renderer, &mut items)?;
    }
    Ok(items)
}

fn expand(
    file: &Path,
    template: &Template,
    settings: &Settings,
    renderer: &Renderer,
    items: &mut Vec<Item>,
) -> Result<(), TemplateError> {
    if !(1..=VARIATIONS_MAX).contains(&template.variations) {
        return Err(wrong(
            file,
            template,
            None,
            format!("`variations` is a number from 1 to {VARIATIONS_MAX}"),
        ));
    }
    let rows = template.rows.as_deref().map(|name| rows::read(file, name)).transpose()?;
    let variables = Variables { crossed: template.variables.clone(), zipped: template.zip.clone(), rows };
    if let Some(objection) = variables.objection() {
        return Err(wrong(file, template, None, objection));
    }
    let count = variables.count().and_then(|count| count.checked_mul(template.variations));
    if count.is_none_or(|count| items.len() + count > ITEMS_MAX) {
        return Err(wrong(file, template, None, format!("a list may become {ITEMS_MAX} requests at most")));
    }
    let name: Arc<str> = template.name.as_str().into();
    for (row, bindings) in (1..).zip(variables.bindings()) {
        let at = |part: &str, reason: String| wrong(file, template, Some(row), format!("`{part}`: {reason}"));
        let condition = |part: &str, condition: &Option<String>| match condition {
            Some(condition) => {
                renderer.holds(condition, &bindings).map(Some).map_err(|reason| at(part, reason))
            }
            None => Ok(None),
        };
        if condition("only", &template.only)? == Some(false)
            || condition("skip", &template.skip)? == Some(true)
        {
            continue;
        }
        let filled =
            |part: &str, text: &str| renderer.text(text, &bindings).map_err(|reason| at(part, reason));
        let prompt = filled("prompt", &template.prompt)?;
        if prompt.trim().is_empty() {
            return Err(at("prompt", "becomes empty".to_owned()));
        }
        let written: Vec<_> =
            template.wordings.iter().map(|text| filled("wordings", text)).collect::<Result<_, _>>()?;
        let body = body(settings, &bindings, renderer).map_err(|(part, reason)| at(part, reason))?;
        for wording in wordings::of(&prompt, &written, template.variations) {
            let mut body = body.clone();
            body.insert("prompt".to_owned(), json!(wording));
            items.push(Item {
                template: Arc::clone(&name),
                priority: settings.priority.unwrap_or(0),
                tenant: settings.tenant.as_deref().map(Arc::from),
                tags: settings.tags.clone(),
                endpoint: ENDPOINT.into(),
                body,
            });
        }
    }
    Ok(())
}

/// Returns the body of a request without its prompt.
fn body(
    settings: &Settings,
    bindings: &Bindings,
    renderer: &Renderer,
) -> Result<Map<String, Value>, (&'static str, String)> {
    let mut body = Map::new();
    if let Some(system) = &settings.system {
        let system = renderer.text(system, bindings).map_err(|reason| ("system", reason))?;
        body.insert("system".to_owned(), json!(system));
    }
    let mut cache = Map::new();
    cache.extend(settings.namespace.as_ref().map(|name| ("namespace".to_owned(), json!(name))));
    cache.extend(settings.ttl_seconds.map(|seconds| ("ttl".to_owned(), json!(seconds))));
    let said = [
        ("model", settings.model.as_ref().map(|model| json!(model))),
        ("task", settings.task.as_ref().map(|task| json!(task))),
        ("max_tokens", settings.max_tokens.map(|tokens| json!(tokens))),
        ("temperature", settings.temperature.map(|temperature| json!(temperature))),
        ("cache", (!cache.is_empty()).then(|| Value::Object(cache))),
    ];
    body.extend(said.into_iter().filter_map(|(field, value)| Some((field.to_owned(), value?))));
    Ok(body)
}

fn wrong(file: &Path, template: &Template, row: Option<usize>, reason: impl Into<String>) -> TemplateError {
    let name = &template.name;
    match row {
        // Without variables there is one row, which nobody calls one.
        Some(row)
            if template.rows.is_some() || !template.variables.is_empty() || !template.zip.is_empty() =>
        {
            TemplateError::at(file, format_args!("template `{name}`, combination {row}"), reason)
        }
        _ => TemplateError::at(file, format_args!("template `{name}`"), reason),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn items(text: &str) -> Result<Vec<Item>, String> {
        list(Path::new("lists/faq.toml"), text).map_err(|error| error.to_string())
    }

    fn prompts(text: &str) -> Vec<String> {
        let items = items(text).expect("a list without mistakes");
        items.iter().map(|item| item.body["prompt"].as_str().unwrap().to_owned()).collect()
    }

    #[test]
    fn a_template_becomes_a_request_for_each_combination() {
        let text = r#"
            [defaults]
            namespace = "faq"
            tags = ["night"]
            [[templates]]
            name = "returns"
            prompt = "Can I return {{ product }}?"
            system = "You sell {{ product }}."
            model = "openai/gpt-4o-mini"
            ttl_seconds = 60
            priority = 2
            variables = { product = ["a lamp", "a desk"] }
        "#;
        let items = items(text).unwrap();
        assert_eq!(items.len(), 2);
        let Item { template, priority, tags, endpoint, body, tenant } = &items[1];
        assert_eq!((&**template, *priority, &**endpoint, tenant), ("returns", 2, ENDPOINT, &None));
        assert_eq!(tags, &["night"]);
        let expected = json!({
            "system": "You sell a desk.", "model": "openai/gpt-4o-mini", "cache": {"namespace": "faq", "ttl": 60},
            "prompt": "Can I return a desk?",
        });
        assert_eq!(&Value::Object(body.clone()), &expected);
    }

    #[test]
    fn conditions_leave_combinations_out_and_variations_add_wordings() {
        let text = r#"
            [[templates]]
            name = "care"
            prompt = "How do I clean {{ it }}?"
            wordings = ["cleaning {{ it }}"]
            variations = 3
            only = "it != 'glass'"
            skip = "it == 'wood'"
            variables = { it = ["glass", "steel", "wood"] }
        "#;
        assert_eq!(prompts(text), ["How do I clean steel?", "cleaning steel", "How can I clean steel?"]);
    }

    #[test]
    fn every_mistake_is_named_with_its_template() {
        for (template, says) in [
            ("prompt = \"{{ a }}\"", "lists/faq.toml, template `x`: `prompt`: line 1: a variable is missing"),
            (
                "prompt = \"{{ a }}{{ b }}\"\nvariables = { a = [1, 2] }",
                "template `x`, combination 1: `prompt`: line 1",
            ),
            ("prompt = \" \"", "becomes empty"),
            ("prompt = \"a\"\nvariations = 0", "`variations` is a number from 1 to 20"),
            ("prompt = \"a\"\nonly = \"b\"", "`only`"),
            ("prompt = \"a\"\nzip = { a = [1], b = [1, 2] }", "side by side"),
            ("prompt = \"a\"\nprompts = 3", "unknown field `prompts`"),
            ("prompt = \"a\"\nrows = \"../x.csv\"", "folder of the list"),
            ("prompt = \"a\"\n[[templates]]\nname = \"x\"\nprompt = \"b\"", "the name of two templates"),
        ] {
            let error = items(&format!("[[templates]]\nname = \"x\"\n{template}")).unwrap_err();
            assert!(error.contains(says), "{error}");
        }
        let many = "[[templates]]\nname = \"x\"\nprompt = \"a\"\n[templates.variables]\n";
        let lists: Vec<_> = (0..21).map(|at| format!("v{at} = [1, 2]")).collect();
        assert!(
            items(&(many.to_owned() + &lists.join("\n"))).unwrap_err().contains("1000000 requests at most")
        );
    }
}
