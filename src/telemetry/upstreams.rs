//! How upstreams are, replaced whole at every look: one that left the configuration leaves the metrics, too, where a gauge
//! of the `metrics` crate would stay as it was last.

use std::fmt::Write;
use std::sync::{Mutex, PoisonError};

/// How one upstream is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct UpstreamReading {
    /// A name of the configuration: letters, digits, `.`, `_` and `-`, so that nothing in it needs escaping.
    pub provider: String,
    pub is_healthy: bool,
    /// 0 closed, 1 half-open, 2 open; the worst of its models.
    pub breaker: u8,
}

/// Every upstream, in the order of the configuration.
#[derive(Debug, Default)]
pub(super) struct Upstreams(Mutex<Vec<UpstreamReading>>);

const HEALTHY: (&str, &str) =
    ("refrain_upstream_healthy", "Whether an upstream would be asked now: 1 yes, 0 no.");
const BREAKER: (&str, &str) = (
    "refrain_breaker_state",
    "The breaker of an upstream, the worst of its models: 0 closed, 1 half-open, 2 open.",
);

impl Upstreams {
    /// Puts these readings in the place of the last ones.
    pub(super) fn replace(&self, readings: Vec<UpstreamReading>) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = readings;
    }

    /// Appends the series in Prometheus' text format.
    pub(super) fn render(&self, out: &mut String) {
        let readings = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let values: [fn(&UpstreamReading) -> u8; 2] =
            [|reading| u8::from(reading.is_healthy), |reading| reading.breaker];
        for ((name, help), value_of) in [HEALTHY, BREAKER].into_iter().zip(values) {
            let mut series = format!("# HELP {name} {help}\n# TYPE {name} gauge\n");
            for reading in &*readings {
                writeln!(series, "{name}{{provider=\"{}\"}} {}", reading.provider, value_of(reading))
                    .expect("a text takes whatever is written to it");
            }
            out.push_str(&series);
            out.push('\n');
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_left_the_configuration_is_gone() {
        let reading = |provider: &str, is_healthy, breaker| UpstreamReading {
            provider: provider.to_owned(),
            is_healthy,
            breaker,
        };
        let upstreams = Upstreams::default();
        upstreams.replace(vec![reading("openai", true, 0), reading("local", false, 2)]);
        upstreams.replace(vec![reading("local", false, 1)]);
        let mut out = String::new();
        upstreams.render(&mut out);
        assert!(out.contains(
            "# TYPE refrain_upstream_healthy gauge\nrefrain_upstream_healthy{provider=\"local\"} 0\n\n"
        ));
        assert!(
            out.contains(
                "# TYPE refrain_breaker_state gauge\nrefrain_breaker_state{provider=\"local\"} 1\n\n"
            )
        );
        assert!(!out.contains("openai"), "{out}");
    }
}
