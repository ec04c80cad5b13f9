//! Every metric, declared once.
//!
//! A recorder of our own and not the process-wide one: two servers in one process, as in tests, count apart, and the
//! metrics of the hot path are looked up once and not at every hit. Labels are closed sets: a name that callers choose
//! freely never becomes one.

use metrics::{Counter, Gauge, Histogram, Key, Label, Level, Metadata, Recorder, SharedString};
use metrics_exporter_prometheus::{Matcher, PrometheusBuilder, PrometheusHandle, PrometheusRecorder};

use super::checked::{CheckedRoute, CheckedRoutes};
use super::dollars::Dollars;
use super::rates::Rates;
use super::sink;
use super::upstreams::{UpstreamReading, Upstreams};

const METADATA: Metadata<'static> = Metadata::new("refrain", Level::INFO, None);

const COUNTERS: &[(&str, &str)] = &[
    ("refrain_requests_total", "Answered requests, by route, dialect and where the answer came from."),
    ("refrain_cache_lookups_total", "Look-ups, by tier and outcome: hit, miss, error, timeout, shadow_hit."),
    ("refrain_cache_write_skipped_total", "Answers that were not stored, by reason."),
    ("refrain_cache_write_failed_total", "Answers that could not be stored, by reason."),
    ("refrain_cache_removed_total", "Entries removed, by reason: expired, evicted, feedback, invalidated."),
    (
        "refrain_semantic_rejected_total",
        "Neighbours that were near but not served, by the layer that refused.",
    ),
    (
        "refrain_semantic_checks_total",
        "Semantic hits that were chosen to be checked, by route and outcome: same, different, unclear, failed, skipped.",
    ),
    (
        "refrain_precompute_items_total",
        "Answers that were to be bought ahead of time, by outcome: bought, refreshed, skipped, failed.",
    ),
    ("refrain_feedback_total", "Pairs of prompts that somebody judged, by verdict: right, wrong."),
    ("refrain_degraded_total", "Requests that a step of the ladder answered, by step."),
    ("refrain_singleflight_followers_total", "Requests that waited for an equal one, by its ending."),
    ("refrain_upstream_requests_total", "Calls of upstreams, by provider, model and outcome."),
    (
        "refrain_tokens_total",
        "Tokens, by provider, model and type: prompt, of which cached and cache_write, and completion, of which reasoning.",
    ),
    (
        "refrain_jobs_total",
        "Background generations that are over, by outcome: done, failed, cancelled, expired.",
    ),
    ("refrain_index_repairs_total", "Points written or removed to make index and store agree again."),
    (
        "refrain_fallbacks_total",
        "Steps down a chain, from the upstream that did not answer to the one that was asked next, by reason.",
    ),
    ("refrain_upstream_retries_total", "Calls of an upstream that had failed the same request, by provider."),
    (
        "refrain_alerts_total",
        "Alerts, by kind and outcome: delivered, failed, logged (no webhook is configured).",
    ),
    ("refrain_reloads_total", "Times the configuration was loaded again, by outcome: done, refused."),
    ("refrain_task_restarts_total", "Background tasks that panicked and were begun anew, by task."),
    ("refrain_log_lines_dropped_total", "Log lines that nobody took in time, of the whole process."),
    ("refrain_refused_total", "Requests turned away by a limit, by reason: key_limit, wrong_keys."),
];

const SPENT: (&str, &str) =
    ("refrain_cost_usd_total", "What answers of upstreams cost, where tokens and price are known.");
const SAVED: (&str, &str) = (
    "refrain_saved_usd_total",
    "What answers would have cost that came from the cache, or from a call that others had begun.",
);

const GAUGES: &[(&str, &str)] = &[
    ("refrain_cache_entries", "Entries held, by tier."),
    ("refrain_cache_bytes", "Bytes held, by tier."),
    ("refrain_embed_queue_depth", "Prompts waiting for an embedding instance."),
    ("refrain_jobs", "Background generations that are kept, by state."),
    ("refrain_flights", "Different questions under way upstream."),
    ("refrain_ai_enabled", "Whether upstreams are asked at all: 1 yes, 0 the switch is off."),
];

/// Sub-millisecond steps for what happens in this process.
const LOCAL_SECONDS: &[f64] =
    &[0.000_05, 0.000_1, 0.000_25, 0.000_5, 0.001, 0.002_5, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25];
/// From a hit of some microseconds to a generation of minutes.
const REQUEST_SECONDS: &[f64] = &[
    0.000_1, 0.000_25, 0.000_5, 0.001, 0.002_5, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0,
    10.0, 30.0, 60.0, 120.0, 300.0, 600.0,
];
/// Answers worth less than 0.3 are not stored, where nothing else is configured; most are worth more than 0.9.
const QUALITY: &[f64] = &[0.0, 0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9, 0.95, 1.0];
const SIMILARITY: &[f64] = &[0.5, 0.6, 0.7, 0.75, 0.8, 0.85, 0.9, 0.925, 0.95, 0.975, 0.99, 1.0];

const HISTOGRAMS: &[(&str, &str, &[f64])] = &[
    ("refrain_request_duration_seconds", "From the request read to the answer ready.", REQUEST_SECONDS),
    ("refrain_answer_quality", "What answers of upstreams are worth, each counted once.", QUALITY),
    ("refrain_semantic_similarity", "Cosine similarity of the best neighbour found.", SIMILARITY),
    (
        "refrain_embed_duration_seconds",
        "One prompt through the embedding model, its wait included.",
        LOCAL_SECONDS,
    ),
    ("refrain_verify_duration_seconds", "One pair through the verifier, its wait included.", LOCAL_SECONDS),
    ("refrain_search_duration_seconds", "One search of the vector index.", LOCAL_SECONDS),
    ("refrain_upstream_duration_seconds", "One call of an upstream, to its last byte.", REQUEST_SECONDS),
    (
        "refrain_upstream_time_to_first_token_seconds",
        "One call of an upstream, to its first token.",
        REQUEST_SECONDS,
    ),
];

/// The metrics of one server.
pub struct Telemetry {
    recorder: PrometheusRecorder,
    handle: PrometheusHandle,
    similarity: Histogram,
    quality: Histogram,
    embed_seconds: Histogram,
    verify_seconds: Histogram,
    search_seconds: Histogram,
    embed_queue: Gauge,
    flights: Gauge,
    lookups: [[Counter; LOOKUP_OUTCOMES.len()]; LOOKUP_TIERS.len()],
    durations: [Histogram; SOURCES.len()],
    spent: Dollars,
    saved: Dollars,
    upstreams: Upstreams,
    checked: CheckedRoutes,
    rates: Rates,
}

/// The tokens of one generation.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Tokens {
    pub prompt: u64,
    pub completion: u64,
    /// Those of the prompt that came from the vendor's own cache.
    pub cached: u64,
    /// Those of the prompt that were written to it.
    pub cache_write: u64,
    /// Those of the completion that were thoughts.
    pub reasoning: u64,
}

const LOOKUP_TIERS: [&str; 3] = ["memory", "store", "semantic"];
const LOOKUP_OUTCOMES: [&str; 5] = ["hit", "miss", "error", "timeout", "shadow_hit"];
const SOURCES: [&str; 9] =
    ["exact", "semantic", "upstream", "stale", "nearest", "extractive", "truncated", "static", "none"];

impl std::fmt::Debug for Telemetry {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Telemetry")
    }
}

impl Default for Telemetry {
    fn default() -> Self {
        Self::new()
    }
}

impl Telemetry {
    /// Declares every metric at zero.
    pub fn new() -> Self {
        let mut builder = PrometheusBuilder::new();
        for (name, _, buckets) in HISTOGRAMS {
            builder = builder
                .set_buckets_for_metric(Matcher::Full((*name).to_owned()), buckets)
                .expect("every bucket list above has values");
        }
        let recorder = builder.build_recorder();
        for (name, help) in COUNTERS {
            recorder.describe_counter((*name).into(), None, SharedString::const_str(help));
        }
        for (name, help) in GAUGES {
            recorder.describe_gauge((*name).into(), None, SharedString::const_str(help));
        }
        for (name, help, _) in HISTOGRAMS {
            recorder.describe_histogram((*name).into(), None, SharedString::const_str(help));
        }
        let lookups = LOOKUP_TIERS.map(|tier| {
            LOOKUP_OUTCOMES.map(|outcome| {
                let labels = vec![Label::new("tier", tier), Label::new("outcome", outcome)];
                recorder.register_counter(&Key::from_parts("refrain_cache_lookups_total", labels), &METADATA)
            })
        });
        let durations = SOURCES.map(|source| {
            let labels = vec![Label::new("source", source)];
            recorder
                .register_histogram(&Key::from_parts("refrain_request_duration_seconds", labels), &METADATA)
        });
        Self {
            handle: recorder.handle(),
            quality: recorder.register_histogram(&Key::from_name("refrain_answer_quality"), &METADATA),
            similarity: recorder
                .register_histogram(&Key::from_name("refrain_semantic_similarity"), &METADATA),
            embed_seconds: recorder
                .register_histogram(&Key::from_name("refrain_embed_duration_seconds"), &METADATA),
            verify_seconds: recorder
                .register_histogram(&Key::from_name("refrain_verify_duration_seconds"), &METADATA),
            search_seconds: recorder
                .register_histogram(&Key::from_name("refrain_search_duration_seconds"), &METADATA),
            embed_queue: recorder.register_gauge(&Key::from_name("refrain_embed_queue_depth"), &METADATA),
            flights: recorder.register_gauge(&Key::from_name("refrain_flights"), &METADATA),
            lookups,
            durations,
            spent: Dollars::default(),
            saved: Dollars::default(),
            upstreams: Upstreams::default(),
            checked: CheckedRoutes::default(),
            rates: Rates::default(),
            recorder,
        }
    }

    /// Returns all metrics in Prometheus' text format.
    pub fn render(&self) -> String {
        self.counter("refrain_log_lines_dropped_total", []).absolute(sink::dropped());
        let mut text = self.handle.render();
        for (sum, (name, help)) in [(&self.spent, SPENT), (&self.saved, SAVED)] {
            sum.render(name, help, &mut text);
        }
        self.upstreams.render(&mut text);
        self.checked.render(&mut text);
        text
    }

    /// Returns the counts by route that alerts are made of.
    pub fn rates(&self) -> &Rates {
        &self.rates
    }

    /// Folds what histograms have gathered into their buckets. To be called every few seconds, so that a server that
    /// nobody scrapes does not keep every single measurement.
    pub fn fold(&self) {
        self.handle.run_upkeep();
    }

    /// Counts an answered request. `source` is the word of `x-cache-source`, `none` for an error; `route` is a
    /// configured name or `other`.
    pub fn request_done(&self, route: &str, dialect: &'static str, source: &'static str, seconds: f64) {
        self.counter("refrain_requests_total", [("route", route), ("dialect", dialect), ("source", source)])
            .increment(1);
        if let Some(at) = SOURCES.iter().position(|known| *known == source) {
            self.durations[at].record(seconds);
        }
    }

    /// Counts a look-up in a tier; `outcome` is `hit`, `miss`, `error` or `timeout`.
    pub fn lookup(&self, tier: &'static str, outcome: &'static str) {
        let tier = LOOKUP_TIERS.iter().position(|known| *known == tier);
        let outcome = LOOKUP_OUTCOMES.iter().position(|known| *known == outcome);
        if let (Some(tier), Some(outcome)) = (tier, outcome) {
            self.lookups[tier][outcome].increment(1);
        }
    }

    /// Counts an answer that was not stored.
    pub fn write_skipped(&self, reason: &'static str) {
        self.counter("refrain_cache_write_skipped_total", [("reason", reason)]).increment(1);
    }

    /// Counts an answer that could not be stored.
    pub fn write_failed(&self, reason: &'static str) {
        self.counter("refrain_cache_write_failed_total", [("reason", reason)]).increment(1);
    }

    /// Counts entries that were removed.
    pub fn removed(&self, reason: &'static str, entries: u64) {
        self.counter("refrain_cache_removed_total", [("reason", reason)]).increment(entries);
    }

    /// Counts an answer that was to be bought ahead of time.
    pub fn precomputed(&self, outcome: &'static str) {
        self.counter("refrain_precompute_items_total", [("outcome", outcome)]).increment(1);
    }

    /// Counts a pair of prompts that somebody judged.
    pub fn judged(&self, verdict: &'static str) {
        self.counter("refrain_feedback_total", [("verdict", verdict)]).increment(1);
    }

    /// Counts a neighbour that was near but not served.
    pub fn rejected(&self, layer: &'static str) {
        self.counter("refrain_semantic_rejected_total", [("layer", layer)]).increment(1);
    }

    /// Counts a semantic hit that was chosen to be checked; `route` is a configured name or `other`.
    pub fn semantic_checked(&self, route: &str, outcome: &'static str) {
        self.counter("refrain_semantic_checks_total", [("route", route), ("outcome", outcome)]).increment(1);
    }

    /// Counts a request that waited for an equal one.
    pub fn followed(&self, ending: &'static str) {
        self.counter("refrain_singleflight_followers_total", [("outcome", ending)]).increment(1);
    }

    /// Counts an answer of the ladder; `step` is the word of `x-cache-source`.
    pub fn degraded(&self, step: &'static str) {
        self.counter("refrain_degraded_total", [("step", step)]).increment(1);
    }

    /// Records the similarity of the best neighbour found.
    pub fn similarity(&self, cosine: f32) {
        self.similarity.record(f64::from(cosine));
    }

    /// Records what an answer of an upstream is worth, in [0, 1].
    pub fn quality(&self, score: f64) {
        self.quality.record(score);
    }

    /// Records one embedding.
    pub fn embedded(&self, seconds: f64) {
        self.embed_seconds.record(seconds);
    }

    /// Sets how many prompts wait for an embedding instance.
    pub fn embed_queue_depth(&self, prompts: usize) {
        self.embed_queue.set(prompts as f64);
    }

    /// Records one look of the verifier at a pair.
    pub fn verified(&self, seconds: f64) {
        self.verify_seconds.record(seconds);
    }

    /// Records one search.
    pub fn searched(&self, seconds: f64) {
        self.search_seconds.record(seconds);
    }

    /// Sets how many different questions are under way.
    pub fn flights(&self, flights: usize) {
        self.flights.set(flights as f64);
    }

    /// Counts background generations that are over; `outcome` is `done`, `failed`, `cancelled` or `expired`.
    pub fn job_over(&self, outcome: &'static str, jobs: u64) {
        self.counter("refrain_jobs_total", [("outcome", outcome)]).increment(jobs);
    }

    /// Sets how many background generations are in a state.
    pub fn jobs(&self, state: &'static str, jobs: u64) {
        self.gauge("refrain_jobs", [("state", state)]).set(jobs as f64);
    }

    /// Sets what a tier holds.
    pub fn holds(&self, tier: &'static str, entries: u64, bytes: u64) {
        self.gauge("refrain_cache_entries", [("tier", tier)]).set(entries as f64);
        self.gauge("refrain_cache_bytes", [("tier", tier)]).set(bytes as f64);
    }

    /// Records one call of an upstream; `model` is a configured name or `other`.
    pub fn upstream_called(&self, provider: &str, model: &str, outcome: &str, seconds: f64) {
        let labels = [("provider", provider), ("model", model), ("outcome", outcome)];
        self.counter("refrain_upstream_requests_total", labels).increment(1);
        let labels = [("provider", provider), ("model", model)];
        self.histogram("refrain_upstream_duration_seconds", labels).record(seconds);
    }

    /// Records the time to the first token of an upstream.
    pub fn first_token(&self, provider: &str, model: &str, seconds: f64) {
        let labels = [("provider", provider), ("model", model)];
        self.histogram("refrain_upstream_time_to_first_token_seconds", labels).record(seconds);
    }

    /// Counts the tokens of one generation; `model` is a configured name or `other`.
    pub fn tokens(&self, provider: &str, model: &str, tokens: Tokens) {
        let Tokens { prompt, completion, cached, cache_write, reasoning } = tokens;
        for (kind, tokens) in [
            ("prompt", prompt),
            ("completion", completion),
            ("cached", cached),
            ("cache_write", cache_write),
            ("reasoning", reasoning),
        ] {
            let labels = [("provider", provider), ("model", model), ("type", kind)];
            self.counter("refrain_tokens_total", labels).increment(tokens);
        }
    }

    /// Adds what an answer of an upstream cost.
    pub fn spent(&self, usd: f64) {
        self.spent.add(usd);
    }

    /// Adds what an answer would have cost that cost nothing.
    pub fn saved(&self, usd: f64) {
        self.saved.add(usd);
    }

    /// Counts points that were written or removed to make index and store agree again.
    pub fn repaired(&self, points: u64) {
        self.counter("refrain_index_repairs_total", []).increment(points);
    }

    /// Counts a step down a chain; `from` and `to` are `provider/model` as configured or `provider/other`, and `reason` is
    /// why the first one did not answer.
    pub fn fell_back(&self, from: &str, to: &str, reason: &str) {
        self.counter("refrain_fallbacks_total", [("from", from), ("to", to), ("reason", reason)])
            .increment(1);
    }

    /// Counts a call of an upstream that had failed the same request before.
    pub fn retried(&self, provider: &str) {
        self.counter("refrain_upstream_retries_total", [("provider", provider)]).increment(1);
    }

    /// Says how every upstream is; those that are not named are forgotten.
    pub fn upstreams_are(&self, readings: Vec<UpstreamReading>) {
        self.upstreams.replace(readings);
    }

    /// Says what checks have found of every route; those that are not named are forgotten.
    pub fn checked_routes_are(&self, routes: Vec<CheckedRoute>) {
        self.checked.replace(routes);
    }

    /// Says whether upstreams are asked at all.
    pub fn ai_enabled(&self, enabled: bool) {
        self.gauge("refrain_ai_enabled", []).set(f64::from(u8::from(enabled)));
    }

    /// Counts an alert; `outcome` is `delivered`, `failed` or `logged`.
    pub fn alerted(&self, kind: &'static str, outcome: &'static str) {
        self.counter("refrain_alerts_total", [("kind", kind), ("outcome", outcome)]).increment(1);
    }

    /// Counts a time the configuration was loaded again; `outcome` is `done` or `refused`.
    pub fn reloaded(&self, outcome: &'static str) {
        self.counter("refrain_reloads_total", [("outcome", outcome)]).increment(1);
    }

    /// Counts a background task that panicked and is begun anew.
    pub fn restarted(&self, task: &'static str) {
        self.counter("refrain_task_restarts_total", [("task", task)]).increment(1);
    }

    /// Counts a request that a limit turned away; `reason` is `key_limit` or `wrong_keys`.
    pub fn refused(&self, reason: &'static str) {
        self.counter("refrain_refused_total", [("reason", reason)]).increment(1);
    }

    fn counter<const N: usize>(&self, name: &'static str, labels: [(&'static str, &str); N]) -> Counter {
        self.recorder.register_counter(&key(name, labels), &METADATA)
    }

    fn gauge<const N: usize>(&self, name: &'static str, labels: [(&'static str, &str); N]) -> Gauge {
        self.recorder.register_gauge(&key(name, labels), &METADATA)
    }

    fn histogram<const N: usize>(&self, name: &'static str, labels: [(&'static str, &str); N]) -> Histogram {
        self.recorder.register_histogram(&key(name, labels), &METADATA)
    }
}

fn key<const N: usize>(name: &'static str, labels: [(&'static str, &str); N]) -> Key {
    let labels: Vec<_> =
        labels.into_iter().map(|(label, value)| Label::new(label, value.to_owned())).collect();
    Key::from_parts(name, labels)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_counted_is_rendered_with_its_help() {
        let telemetry = Telemetry::new();
        telemetry.request_done("default", "openai", "exact", 0.000_2);
        telemetry.lookup("memory", "hit");
        let text = telemetry.render();
        assert!(text.contains("# HELP refrain_requests_total Answered requests"), "{text}");
        assert!(
            text.contains(r#"refrain_requests_total{route="default",dialect="openai",source="exact"} 1"#),
            "{text}"
        );
        assert!(text.contains(r#"refrain_cache_lookups_total{tier="memory",outcome="hit"} 1"#), "{text}");
        assert!(text.contains(r#"refrain_request_duration_seconds_bucket{source="exact",le="0.00025"} 1"#));
    }

    #[test]
    fn money_is_counted_to_its_last_digit_and_announced_as_what_only_grows() {
        let telemetry = Telemetry::new();
        telemetry.spent(0.000_052_3);
        telemetry.saved(1.5);
        let text = telemetry.render();
        assert!(
            text.contains("# TYPE refrain_cost_usd_total counter\nrefrain_cost_usd_total 0.0000523\n"),
            "{text}"
        );
        assert!(
            text.contains("# TYPE refrain_saved_usd_total counter\nrefrain_saved_usd_total 1.5\n"),
            "{text}"
        );
    }

    #[test]
    fn two_servers_in_one_process_count_apart() {
        let (one, other) = (Telemetry::new(), Telemetry::new());
        one.write_skipped("length");
        assert!(one.render().contains(r#"reason="length""#));
        assert!(!other.render().contains(r#"reason="length""#));
    }
}
