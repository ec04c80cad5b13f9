//! What was heard, counted.

use std::collections::BTreeMap;
use std::time::Duration;

use crate::caller::Heard;

/// What many requests came to.
#[derive(Default)]
pub struct Tally {
    took: Vec<Duration>,
    pub requests: usize,
    pub errors: usize,
    /// Requests by where their answer came from, or by the status of the error.
    sources: BTreeMap<String, usize>,
}

impl Tally {
    pub fn add(&mut self, heard: &Heard) {
        self.requests += 1;
        self.took.push(heard.took);
        let is_error = heard.status != 200;
        self.errors += usize::from(is_error);
        let source = match (is_error, heard.source.as_str()) {
            (true, _) => heard.status.to_string(),
            (false, "") => "direct".to_owned(),
            (false, source) => source.to_owned(),
        };
        *self.sources.entry(source).or_default() += 1;
    }

    /// Returns the share of errors, in percent.
    pub fn error_rate(&self) -> f64 {
        self.errors as f64 * 100.0 / self.requests.max(1) as f64
    }

    /// Returns the milliseconds below which this share of the requests stayed.
    pub fn percentile(&mut self, share: f64) -> f64 {
        self.took.sort_unstable();
        let at = ((self.took.len() as f64 * share).ceil() as usize).saturating_sub(1);
        self.took.get(at).map_or(0.0, |took| took.as_secs_f64() * 1e3)
    }

    /// Returns a line of a Markdown table.
    pub fn line(&mut self, name: &str, calls: usize) -> String {
        let (p50, p95, p99) = (self.percentile(0.5), self.percentile(0.95), self.percentile(0.99));
        let sources: Vec<_> =
            self.sources.iter().map(|(source, count)| format!("{source} {count}")).collect();
        format!(
            "| {name} | {} | {:.2} % | {p50:.0} / {p95:.0} / {p99:.0} ms | {:.2} | {} |",
            self.requests,
            self.error_rate(),
            calls as f64 / self.requests.max(1) as f64,
            sources.join(", ")
        )
    }

    pub const HEAD: &'static str = "| phase | requests | errors | p50 / p95 / p99 | upstream calls per request | answers |\n\
                                    |---|--:|--:|--:|--:|---|";
}
