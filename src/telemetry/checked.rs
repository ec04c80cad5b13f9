//! What checks of semantic hits have found of every route, replaced whole at every look, as upstreams are.

use std::fmt::Write;
use std::sync::{Arc, Mutex, PoisonError};

/// How the semantic hits of one route are.
#[derive(Clone, Debug, PartialEq)]
pub struct CheckedRoute {
    pub route: Arc<str>,
    /// The share of wrong ones among those that were checked; `None` where none was.
    pub error_rate: Option<f64>,
    /// Whether similar requests are answered, as far as the route's switch goes.
    pub is_enabled: bool,
}

/// Every route of the configuration.
#[derive(Debug, Default)]
pub(super) struct CheckedRoutes(Mutex<Vec<CheckedRoute>>);

const ERROR_RATE: (&str, &str) = (
    "refrain_semantic_error_rate",
    "The share of wrong answers among the checked semantic hits of a route, of the last 1,000 checks.",
);
const ENABLED: (&str, &str) = (
    "refrain_semantic_enabled",
    "Whether a route's switch lets similar requests be answered: 1 yes, 0 equal requests only.",
);

impl CheckedRoutes {
    /// Puts these in the place of the last ones.
    pub(super) fn replace(&self, routes: Vec<CheckedRoute>) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = routes;
    }

    /// Appends the series in Prometheus' text format.
    pub(super) fn render(&self, out: &mut String) {
        let routes = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let values: [fn(&CheckedRoute) -> Option<f64>; 2] =
            [|route| route.error_rate, |route| Some(f64::from(u8::from(route.is_enabled)))];
        for ((name, help), value_of) in [ERROR_RATE, ENABLED].into_iter().zip(values) {
            let mut series = format!("# HELP {name} {help}\n# TYPE {name} gauge\n");
            for route in &*routes {
                let Some(value) = value_of(route) else { continue };
                writeln!(series, "{name}{{route=\"{}\"}} {value}", escaped(&route.route))
                    .expect("a text takes whatever is written to it");
            }
            out.push_str(&series);
            out.push('\n');
        }
    }
}

/// An alias may hold any character.
fn escaped(label: &str) -> String {
    label.replace('\\', "\\\\").replace('"', "\\\"").replace('\n', "\\n")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_rate_that_nobody_has_measured_is_not_told_and_no_alias_breaks_a_line() {
        let routes = CheckedRoutes::default();
        routes.replace(vec![
            CheckedRoute { route: "fast".into(), error_rate: Some(0.25), is_enabled: false },
            CheckedRoute { route: "a\"b\\\n".into(), error_rate: None, is_enabled: true },
        ]);
        let mut out = String::new();
        routes.render(&mut out);
        assert!(out.contains(
            "# TYPE refrain_semantic_error_rate gauge\nrefrain_semantic_error_rate{route=\"fast\"} 0.25\n\n"
        ));
        assert!(out.contains("refrain_semantic_enabled{route=\"fast\"} 0\n"));
        assert!(out.contains("refrain_semantic_enabled{route=\"a\\\"b\\\\\\n\"} 1\n"), "{out}");
    }
}
