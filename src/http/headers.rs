//! What is said about an answer beside the answer.
//!
//! This is on the way of every hit, so all values are cut from one buffer.

use std::fmt::{self, Display, Write};

use axum::http::header::{AGE, CACHE_CONTROL, CONTENT_TYPE, HeaderName};
use axum::http::{HeaderMap, HeaderValue};
use bytes::BytesMut;

use crate::chat::{Attempt, Timing, Usd};
use crate::gateway::{Bill, Outcome};

pub(super) const CACHE_STATUS: HeaderName = HeaderName::from_static("cache-status");
pub(super) const UPSTREAM_ATTEMPTS: HeaderName = HeaderName::from_static("x-upstream-attempts");
pub(super) const SHOULD_RETRY: HeaderName = HeaderName::from_static("x-should-retry");
pub(super) const CACHE_SOURCE: HeaderName = HeaderName::from_static("x-cache-source");
const DEGRADED: HeaderName = HeaderName::from_static("x-degraded");
const CACHE_TIER: HeaderName = HeaderName::from_static("x-cache-tier");
const CACHE_KEY: HeaderName = HeaderName::from_static("x-cache-key");
const CACHE_ENTRY: HeaderName = HeaderName::from_static("x-cache-entry");
const CACHE_SIMILARITY: HeaderName = HeaderName::from_static("x-cache-similarity");
pub(super) const PROVIDER: HeaderName = HeaderName::from_static("x-provider");
const MODEL: HeaderName = HeaderName::from_static("x-model");
const SERVER_TIMING: HeaderName = HeaderName::from_static("server-timing");
const COST_USD: HeaderName = HeaderName::from_static("x-cost-usd");
const SAVED_USD: HeaderName = HeaderName::from_static("x-saved-usd");
const ACCEL_BUFFERING: HeaderName = HeaderName::from_static("x-accel-buffering");

/// Room for the values of a hit: two fingerprints, and words.
const BYTES: usize = 384;

/// Writes the headers of an answer. `sees_internals`: whether the caller is shown what tells of others' requests.
pub(super) fn write(headers: &mut HeaderMap, outcome: &Outcome, sees_internals: bool) {
    let mut buffer = BytesMut::with_capacity(BYTES);
    let mut say = |name: HeaderName, value: &dyn Display| {
        if let Some(value) = cut(&mut buffer, value) {
            headers.insert(name, value);
        }
    };
    say(CACHE_STATUS, &outcome.cache_status);
    say(PROVIDER, &outcome.provider);
    say(MODEL, &outcome.model);
    if outcome.source.is_from_cache() {
        say(AGE, &outcome.age_seconds);
    }
    if !outcome.attempts.is_empty() {
        say(UPSTREAM_ATTEMPTS, &listed(&outcome.attempts));
    }
    let Bill { cost_usd, saved_usd } = outcome.bill;
    for (name, usd) in [(COST_USD, cost_usd), (SAVED_USD, saved_usd)] {
        if let Some(usd) = usd {
            say(name, &Usd(usd));
        }
    }
    if sees_internals {
        if let Some(key) = &outcome.key {
            say(CACHE_KEY, key);
        }
        if let Some(entry) = &outcome.entry {
            say(CACHE_ENTRY, entry);
        }
        if let Some(similarity) = outcome.similarity {
            say(CACHE_SIMILARITY, &format_args!("{similarity:.4}"));
        }
        say(SERVER_TIMING, &Phases(outcome.timing));
    }
    headers.insert(CACHE_SOURCE, HeaderValue::from_static(outcome.source.name()));
    if let Some(tier) = outcome.tier {
        headers.insert(CACHE_TIER, HeaderValue::from_static(tier.name()));
    }
    if let Some(reason) = outcome.degraded {
        headers.insert(DEGRADED, HeaderValue::from_static(reason.name()));
    }
}

/// Writes the headers of a JSON body.
pub(super) fn write_json_type(headers: &mut HeaderMap) {
    headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
}

/// Writes the headers of an event stream, which proxies must neither keep nor hold back.
pub(super) fn write_stream_type(headers: &mut HeaderMap) {
    headers.insert(CONTENT_TYPE, HeaderValue::from_static("text/event-stream; charset=utf-8"));
    headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-store, no-transform"));
    headers.insert(ACCEL_BUFFERING, HeaderValue::from_static("no"));
}

/// Returns one value by itself, for the rare response that has few.
pub(super) fn written(value: impl Display) -> HeaderValue {
    cut(&mut BytesMut::new(), &value).unwrap_or(HeaderValue::from_static(""))
}

/// Returns the attempts in the order they were made.
pub(super) fn listed(attempts: &[Attempt]) -> impl Display {
    fmt::from_fn(move |f| {
        for (at, attempt) in attempts.iter().enumerate() {
            let separator = if at == 0 { "" } else { ", " };
            write!(f, "{separator}{attempt}")?;
        }
        Ok(())
    })
}

/// Writes a value to the end of the buffer and cuts it off. Model names come from callers and vendors: one that
/// cannot stand in a header is left out.
fn cut(buffer: &mut BytesMut, value: &dyn Display) -> Option<HeaderValue> {
    let written = write!(buffer, "{value}");
    let bytes = buffer.split().freeze();
    if written.is_err() || bytes.is_empty() || !bytes.iter().all(|byte| matches!(byte, b' '..=b'~')) {
        return None;
    }
    HeaderValue::from_maybe_shared(bytes).ok()
}

/// The phases that were entered, as `server-timing` writes them.
struct Phases(Timing);

impl Display for Phases {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Timing { cache, embed, search, verify, upstream } = self.0;
        let mut separator = "";
        for (phase, millis) in [
            ("cache", cache),
            ("embed", embed),
            ("search", search),
            ("verify", verify),
            ("upstream", upstream),
        ] {
            if let Some(millis) = millis {
                // Hundredths of a millisecond: more is noise.
                write!(f, "{separator}{phase};dur={}", (millis * 100.0).round() / 100.0)?;
                separator = ", ";
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::chat::{CacheStatus, Degraded, Fingerprint, Forward, Source, Tier};
    use crate::gateway::Answer;

    fn semantic_hit() -> Outcome {
        Outcome {
            answer: Answer::Whole(Arc::default()),
            source: Source::Semantic,
            degraded: None,
            tier: Some(Tier::Semantic),
            key: Some(Fingerprint::from_bytes([1; 32])),
            entry: Some(Fingerprint::from_bytes([2; 32])),
            similarity: Some(0.968_04),
            cache_status: CacheStatus::Hit { ttl_seconds: 812, detail: Source::Semantic },
            age_seconds: 40,
            ttl_seconds: Some(812),
            provider: "openai".into(),
            model: "gpt-4o-mini".into(),
            attempts: Vec::new(),
            quality: None,
            bill: Bill { cost_usd: Some(0.0), saved_usd: Some(0.000_052_3) },
            timing: Timing { cache: Some(0.051_2), embed: Some(0.9), search: Some(2.0), ..Timing::default() },
        }
    }

    fn shown(outcome: &Outcome, sees_internals: bool) -> Vec<(String, String)> {
        let mut headers = HeaderMap::new();
        write(&mut headers, outcome, sees_internals);
        let text = |value: &HeaderValue| value.to_str().expect("ASCII").to_owned();
        let mut shown: Vec<_> = headers.iter().map(|(name, value)| (name.to_string(), text(value))).collect();
        shown.sort();
        shown
    }

    fn pairs(pairs: &[(&str, &str)]) -> Vec<(String, String)> {
        pairs.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect()
    }

    const FOR_ALL: [(&str, &str); 8] = [
        ("age", "40"),
        ("cache-status", "refrain; hit; ttl=812; detail=semantic"),
        ("x-cache-source", "semantic"),
        ("x-cache-tier", "semantic"),
        ("x-cost-usd", "0"),
        ("x-model", "gpt-4o-mini"),
        ("x-provider", "openai"),
        ("x-saved-usd", "0.0000523"),
    ];

    #[test]
    fn who_shares_a_cache_is_not_told_how_near_the_others_are() {
        assert_eq!(shown(&semantic_hit(), false), pairs(&FOR_ALL));
    }

    #[test]
    fn who_may_see_everything_does() {
        let (key, entry) = ("01".repeat(32), "02".repeat(32));
        let mut expected = FOR_ALL.to_vec();
        expected.extend([
            ("server-timing", "cache;dur=0.05, embed;dur=0.9, search;dur=2"),
            ("x-cache-entry", entry.as_str()),
            ("x-cache-key", key.as_str()),
            ("x-cache-similarity", "0.9680"),
        ]);
        expected.sort_unstable();
        assert_eq!(shown(&semantic_hit(), true), pairs(&expected));
    }

    #[test]
    fn a_miss_lists_its_attempts_and_has_no_age_and_an_unknown_cost_is_no_zero() {
        let attempt = |result: &str| Attempt { upstream: "openai/m".into(), result: result.to_owned() };
        let miss = Outcome {
            source: Source::Upstream,
            tier: None,
            cache_status: CacheStatus::Miss { stored: Some(true), collapsed: false },
            attempts: vec![attempt("429"), attempt("200")],
            bill: Bill::default(),
            ..semantic_hit()
        };
        let expected = [
            ("cache-status", "refrain; fwd=miss; stored"),
            ("x-cache-source", "upstream"),
            ("x-model", "gpt-4o-mini"),
            ("x-provider", "openai"),
            ("x-upstream-attempts", "openai/m;429, openai/m;200"),
        ];
        assert_eq!(shown(&miss, false), pairs(&expected));
    }

    #[test]
    fn an_answer_of_the_ladder_says_why_and_only_one_from_the_cache_has_an_age() {
        let cache_status = CacheStatus::Degraded {
            step: Source::Static,
            forward: Forward::Miss,
            was_asked: true,
            status: Some(503),
            ttl_seconds: None,
        };
        let fallen = Outcome {
            source: Source::Static,
            degraded: Some(Degraded::AllUpstreamsFailed),
            tier: None,
            cache_status,
            provider: "refrain".into(),
            model: "refrain/static".into(),
            attempts: vec![Attempt { upstream: "openai/m".into(), result: "503".into() }],
            bill: Bill { cost_usd: Some(0.0), saved_usd: Some(0.0) },
            ..semantic_hit()
        };
        let expected = [
            ("cache-status", "refrain; fwd=miss; fwd-status=503; detail=static"),
            ("x-cache-source", "static"),
            ("x-cost-usd", "0"),
            ("x-degraded", "all-upstreams-failed"),
            ("x-model", "refrain/static"),
            ("x-provider", "refrain"),
            ("x-saved-usd", "0"),
            ("x-upstream-attempts", "openai/m;503"),
        ];
        assert_eq!(shown(&fallen, false), pairs(&expected));
        let stale = Outcome { source: Source::Stale, tier: Some(Tier::Memory), ..fallen };
        assert!(shown(&stale, false).contains(&("age".to_owned(), "40".to_owned())));
    }

    #[test]
    fn a_name_that_no_header_can_carry_is_left_out() {
        for odd in ["m\r\nset-cookie: a=b", "modèle", ""] {
            let outcome = Outcome { model: odd.into(), ..semantic_hit() };
            assert!(shown(&outcome, false).iter().all(|(name, _)| name != "x-model" && name != "set-cookie"));
        }
    }
}
