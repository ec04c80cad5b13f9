//! Filling a template: minijinja, strict about what is missing and bounded in what it may cost.

use minijinja::value::Value as Filling;
use minijinja::{AutoEscape, Environment, ErrorKind, UndefinedBehavior};
use serde::Deserialize;

use super::variables::Bindings;

/// Steps that one template may take, some tens of milliseconds at most.
const FUEL: u64 = 100_000;
/// How deep macros and blocks may go.
const RECURSION_MAX: usize = 50;
/// The longest text that a template may become.
const TEXT_BYTES_MAX: usize = 4 << 20;

/// Fills templates. It has no loader, so no template can name a file.
pub(super) struct Renderer(Environment<'static>);

impl Renderer {
    pub fn new() -> Self {
        let mut environment = Environment::new();
        environment.set_undefined_behavior(UndefinedBehavior::Strict);
        environment.set_auto_escape_callback(|_| AutoEscape::None);
        environment.set_fuel(Some(FUEL));
        environment.set_recursion_limit(RECURSION_MAX);
        Self(environment)
    }

    /// Returns the text with its variables filled in.
    ///
    /// # Errors
    /// What is wrong, with the line of the text where it is, and the variable that is missing.
    pub fn text(&self, template: &str, bindings: &Bindings) -> Result<String, String> {
        let text = self.0.render_str(template, filling(bindings));
        let text = text.map_err(|error| said(&error, bindings))?;
        if text.len() > TEXT_BYTES_MAX {
            return Err(format!("becomes longer than {} MiB", TEXT_BYTES_MAX >> 20));
        }
        Ok(text)
    }

    /// Returns whether a condition such as `price > 100` holds.
    ///
    /// # Errors
    /// As [`Renderer::text`].
    pub fn holds(&self, condition: &str, bindings: &Bindings) -> Result<bool, String> {
        let condition = self.0.compile_expression(condition).map_err(|error| said(&error, bindings))?;
        let value = condition.eval(filling(bindings)).map_err(|error| said(&error, bindings))?;
        if value.is_undefined() {
            return Err(format!("names a variable that is not there; {}", known(bindings)));
        }
        Ok(value.is_true())
    }
}

/// JSON becomes what templates know without a loss.
fn filling(bindings: &Bindings) -> Filling {
    Filling::deserialize(bindings).expect("JSON is made of what templates know")
}

fn said(error: &minijinja::Error, bindings: &Bindings) -> String {
    let line = error.line().map(|line| format!("line {line}: ")).unwrap_or_default();
    match error.kind() {
        ErrorKind::UndefinedError => {
            let variable = error.detail().map(|detail| format!(" ({detail})")).unwrap_or_default();
            format!("{line}a variable is missing{variable}; {}", known(bindings))
        }
        ErrorKind::OutOfFuel => format!("{line}takes too many steps; at most {FUEL} are allowed"),
        kind => match error.detail() {
            Some(detail) => format!("{line}{kind}: {detail}"),
            None => format!("{line}{kind}"),
        },
    }
}

fn known(bindings: &Bindings) -> String {
    if bindings.is_empty() {
        return "there are none".to_owned();
    }
    let names: Vec<_> = bindings.keys().map(String::as_str).collect();
    format!("there are: {}", names.join(", "))
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    fn bindings(value: Value) -> Bindings {
        value.as_object().unwrap().clone()
    }

    fn text(template: &str, value: Value) -> Result<String, String> {
        Renderer::new().text(template, &bindings(value))
    }

    #[test]
    fn variables_are_filled_in_as_they_are() {
        assert_eq!(text("{{ a }} & {{ b.c }}", json!({"a": "<x>", "b": {"c": 2}})), Ok("<x> & 2".into()));
        assert_eq!(
            text("{% for x in xs %}{{ x|upper }} {% endfor %}", json!({"xs": ["a", "b"]})),
            Ok("A B ".into())
        );
    }

    #[test]
    fn what_is_missing_is_named_with_its_line() {
        let missing = text("one\n{{ prodct }}", json!({"product": 1})).unwrap_err();
        assert!(missing.starts_with("line 2: a variable is missing"), "{missing}");
        assert!(missing.contains("product"), "{missing}");
        assert!(text("{{ a", json!({})).unwrap_err().starts_with("line 1: syntax error"));
    }

    #[test]
    fn a_template_can_neither_run_for_ever_nor_read_a_file() {
        let long =
            text("{% for a in range(9999) %}{% for b in range(9999) %}x{% endfor %}{% endfor %}", json!({}));
        assert!(long.unwrap_err().contains("too many steps"));
        assert!(text("{% include '/etc/passwd' %}", json!({})).is_err());
        let deep = "{% macro f(n) %}{{ f(n + 1) }}{% endmacro %}{{ f(0) }}";
        assert!(text(deep, json!({})).is_err());
    }

    #[test]
    fn conditions_are_expressions() {
        let holds = |condition: &str| {
            Renderer::new().holds(condition, &bindings(json!({"price": 5, "name": "Lamp"})))
        };
        assert_eq!(holds("price > 3 and name == 'Lamp'"), Ok(true));
        assert_eq!(holds("price > 9"), Ok(false));
        assert!(holds("prise").is_err());
        assert!(holds("price >").is_err());
    }
}
