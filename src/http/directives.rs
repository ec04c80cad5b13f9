//! What the caller wants of the cache: headers and the body field `cache`, judged and put together.
//!
//! A header wins over the body. A value that we cannot read is refused with the header's name: a wish that is dropped
//! in silence is served wrongly for months.

use std::str::FromStr;
use std::time::Duration;

use axum::http::header::{CACHE_CONTROL, HeaderName};
use axum::http::{HeaderMap, HeaderValue};

use super::error::HttpError;
use crate::chat::{Directives, Namespace, TenantId};
use crate::config::{CacheMode, TTL_SECONDS};
use crate::wire::{BodyControls, controls};

const X_CACHE_MODE: HeaderName = HeaderName::from_static("x-cache-mode");
const X_CACHE_TTL: HeaderName = HeaderName::from_static("x-cache-ttl");
const X_CACHE_THRESHOLD: HeaderName = HeaderName::from_static("x-cache-threshold");
const X_CACHE_NAMESPACE: HeaderName = HeaderName::from_static("x-cache-namespace");
const X_CACHE_TAGS: HeaderName = HeaderName::from_static("x-cache-tags");
const X_TASK: HeaderName = HeaderName::from_static("x-task");
const X_DEADLINE_MS: HeaderName = HeaderName::from_static("x-deadline-ms");

/// The most tags of one entry, and the longest of them in bytes.
const TAGS_MAX: usize = 32;
const TAG_BYTES_MAX: usize = 128;
/// The longest task name in bytes.
const TASK_BYTES_MAX: usize = 64;

/// Returns the wishes of a caller of this tenant.
///
/// # Errors
/// 400, naming the header.
pub(super) fn read(
    headers: &HeaderMap,
    body: BodyControls,
    task: Option<String>,
    tenant: TenantId,
) -> Result<Directives, HttpError> {
    let BodyControls { ttl, namespace, no_cache, no_store, s_maxage } = body;
    let control = CacheControl::read(headers)?;
    let mut directives = Directives::of(tenant);
    directives.mode = one(headers, &X_CACHE_MODE, mode)?.unwrap_or(CacheMode::Semantic);
    directives.ttl = one(headers, &X_CACHE_TTL, ttl_seconds)?.or(ttl);
    directives.threshold = one(headers, &X_CACHE_THRESHOLD, threshold)?;
    if let Some(namespace) = one(headers, &X_CACHE_NAMESPACE, header_namespace)?.or(namespace) {
        directives.namespace = namespace;
    }
    directives.no_cache = control.no_cache || no_cache;
    directives.no_store = control.no_store || no_store;
    directives.only_if_cached = control.only_if_cached;
    directives.max_age = control.max_age.or(s_maxage);
    directives.max_stale = control.max_stale;
    directives.tags = tags(headers)?;
    directives.task = one(headers, &X_TASK, header_task)?.or(task);
    directives.deadline = one(headers, &X_DEADLINE_MS, millis)?;
    Ok(directives)
}

/// Returns the value of a header that may be given once; `Err` of `parse` says what was expected.
fn one<T>(
    headers: &HeaderMap,
    name: &HeaderName,
    parse: fn(&str) -> Result<T, String>,
) -> Result<Option<T>, HttpError> {
    let mut values = headers.get_all(name).iter();
    let Some(value) = values.next() else { return Ok(None) };
    if values.next().is_some() {
        return Err(refuse(name, "given twice"));
    }
    parse(text(name, value)?).map(Some).map_err(|expected| refuse(name, &expected))
}

fn text<'a>(name: &HeaderName, value: &'a HeaderValue) -> Result<&'a str, HttpError> {
    value.to_str().map(str::trim).map_err(|_| refuse(name, "expected plain ASCII text"))
}

fn refuse(name: &HeaderName, reason: &str) -> HttpError {
    HttpError::bad_request(format!("header `{name}`: {reason}")).param(name.as_str())
}

fn mode(text: &str) -> Result<CacheMode, String> {
    match text {
        "off" => Ok(CacheMode::Off),
        "exact" => Ok(CacheMode::Exact),
        "semantic" => Ok(CacheMode::Semantic),
        _ => Err("expected `off`, `exact` or `semantic`".to_owned()),
    }
}

fn ttl_seconds(text: &str) -> Result<Duration, String> {
    digits(text).and_then(controls::ttl).ok_or_else(|| {
        format!("expected whole seconds from {} to {}", TTL_SECONDS.start(), TTL_SECONDS.end())
    })
}

fn threshold(text: &str) -> Result<f32, String> {
    // Not a number is in no range.
    let within = |value: &f32| *value > 0.0 && *value <= 1.0;
    f32::from_str(text).ok().filter(within).ok_or_else(|| "expected a cosine similarity in (0, 1]".to_owned())
}

fn header_namespace(text: &str) -> Result<Namespace, String> {
    controls::namespace(text).ok_or_else(|| "expected 1 to 64 of A-Z a-z 0-9 . _ -".to_owned())
}

fn header_task(text: &str) -> Result<String, String> {
    let is_plain = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'_' | b'-');
    let is_sane = (1..=TASK_BYTES_MAX).contains(&text.len()) && text.bytes().all(is_plain);
    is_sane
        .then(|| text.to_owned())
        .ok_or_else(|| format!("expected 1 to {TASK_BYTES_MAX} of A-Z a-z 0-9 . _ -"))
}

fn millis(text: &str) -> Result<Duration, String> {
    digits(text).map(Duration::from_millis).ok_or_else(|| "expected whole milliseconds".to_owned())
}

/// Reads digits and nothing else: no sign, which `parse` would take.
fn digits(text: &str) -> Option<u64> {
    text.bytes().all(|byte| byte.is_ascii_digit()).then(|| text.parse().ok())?
}

fn tags(headers: &HeaderMap) -> Result<Vec<String>, HttpError> {
    let mut tags = Vec::new();
    for value in headers.get_all(X_CACHE_TAGS) {
        for tag in text(&X_CACHE_TAGS, value)?.split(',').map(str::trim).filter(|tag| !tag.is_empty()) {
            if tag.len() > TAG_BYTES_MAX || !tag.bytes().all(|byte| byte.is_ascii_graphic()) {
                let reason = format!("expected tags of 1 to {TAG_BYTES_MAX} visible characters");
                return Err(refuse(&X_CACHE_TAGS, &reason));
            }
            if !tags.iter().any(|known| known == tag) {
                tags.push(tag.to_owned());
            }
        }
    }
    if tags.len() > TAGS_MAX {
        return Err(refuse(&X_CACHE_TAGS, &format!("expected at most {TAGS_MAX} tags")));
    }
    Ok(tags)
}

/// The request directives of `Cache-Control` that mean something here (RFC 9111, 5.2.1); others are ignored, as
/// that RFC asks.
#[derive(Debug, Default)]
struct CacheControl {
    no_cache: bool,
    no_store: bool,
    only_if_cached: bool,
    max_age: Option<Duration>,
    max_stale: Option<Duration>,
}

impl CacheControl {
    fn read(headers: &HeaderMap) -> Result<Self, HttpError> {
        let mut control = Self::default();
        for value in headers.get_all(CACHE_CONTROL) {
            for directive in text(&CACHE_CONTROL, value)?.split(',') {
                control.take(directive.trim())?;
            }
        }
        Ok(control)
    }

    fn take(&mut self, directive: &str) -> Result<(), HttpError> {
        let (name, argument) = match directive.split_once('=') {
            Some((name, argument)) => (name.trim_end(), Some(argument.trim())),
            None => (directive, None),
        };
        let is = |known: &str| name.eq_ignore_ascii_case(known);
        if is("no-cache") {
            self.no_cache = true;
        } else if is("no-store") {
            self.no_store = true;
        } else if is("only-if-cached") {
            self.only_if_cached = true;
        } else if is("max-age") {
            self.max_age = Some(delta_seconds("max-age", argument.unwrap_or(""))?);
        } else if is("max-stale") {
            // Without a number any age will do.
            self.max_stale = Some(match argument {
                Some(argument) => delta_seconds("max-stale", argument)?,
                None => Duration::MAX,
            });
        }
        Ok(())
    }
}

/// Reads a number of seconds. One that is too large for us is the far future, as RFC 9111, 1.2.2 asks.
fn delta_seconds(directive: &str, argument: &str) -> Result<Duration, HttpError> {
    let argument = argument.strip_prefix('"').and_then(|inner| inner.strip_suffix('"')).unwrap_or(argument);
    if argument.is_empty() || !argument.bytes().all(|byte| byte.is_ascii_digit()) {
        return Err(refuse(&CACHE_CONTROL, &format!("`{directive}` expects whole seconds")));
    }
    Ok(Duration::from_secs(argument.parse::<u32>().unwrap_or(u32::MAX).into()))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn headers(pairs: &[(&str, &str)]) -> HeaderMap {
        let pair = |(name, value): &(&str, &str)| {
            (HeaderName::from_str(name).expect("a name"), HeaderValue::from_str(value).expect("a value"))
        };
        pairs.iter().map(pair).collect()
    }

    fn read_from(pairs: &[(&str, &str)], body: BodyControls) -> Result<Directives, HttpError> {
        read(&headers(pairs), body, None, TenantId::new("t"))
    }

    fn ask(pairs: &[(&str, &str)]) -> Directives {
        read_from(pairs, BodyControls::default()).expect("good headers")
    }

    #[test]
    fn who_says_nothing_gets_everything() {
        assert_eq!(ask(&[]), Directives::of(TenantId::new("t")));
        assert_eq!(ask(&[("cache-control", "no-transform, stale-if-error=7, x=\"y")]), ask(&[]));
    }

    #[test]
    fn every_header_is_read() {
        let directives = ask(&[
            ("cache-control", "No-Cache , max-age=60"),
            ("cache-control", "max-stale=\"5\",only-if-cached"),
            ("x-cache-mode", "exact"),
            ("x-cache-ttl", "3600"),
            ("x-cache-threshold", "0.93"),
            ("x-cache-namespace", "docs.v2"),
            ("x-cache-tags", "a, b,,a"),
            ("x-task", "summary"),
            ("x-deadline-ms", "0"),
        ]);
        let expected = Directives {
            namespace: Namespace::new("docs.v2"),
            mode: CacheMode::Exact,
            ttl: Some(Duration::from_secs(3_600)),
            threshold: Some(0.93),
            no_cache: true,
            only_if_cached: true,
            max_age: Some(Duration::from_secs(60)),
            max_stale: Some(Duration::from_secs(5)),
            tags: vec!["a".into(), "b".into()],
            task: Some("summary".into()),
            deadline: Some(Duration::ZERO),
            ..Directives::of(TenantId::new("t"))
        };
        assert_eq!(directives, expected);
    }

    #[test]
    fn seconds_beyond_all_measure_are_the_far_future() {
        let directives = ask(&[("cache-control", "max-age=99999999999999999999999, max-stale")]);
        assert_eq!(directives.max_age, Some(Duration::from_secs(u32::MAX.into())));
        assert_eq!(directives.max_stale, Some(Duration::MAX));
    }

    #[test]
    fn a_header_wins_over_the_body() {
        let body = || BodyControls {
            ttl: Some(Duration::from_secs(5)),
            namespace: Some(Namespace::new("body")),
            no_store: true,
            s_maxage: Some(Duration::from_secs(6)),
            ..BodyControls::default()
        };
        let directives = read_from(&[], body()).expect("good");
        assert_eq!((directives.ttl, directives.namespace.as_str()), (Some(Duration::from_secs(5)), "body"));
        assert_eq!((directives.max_age, directives.no_store), (Some(Duration::from_secs(6)), true));
        let over = [("x-cache-ttl", "7"), ("x-cache-namespace", "head"), ("cache-control", "max-age=8")];
        let directives = read_from(&over, body()).expect("good");
        assert_eq!((directives.ttl, directives.namespace.as_str()), (Some(Duration::from_secs(7)), "head"));
        assert_eq!((directives.max_age, directives.no_store), (Some(Duration::from_secs(8)), true));
    }

    #[test]
    fn what_cannot_be_read_is_refused_by_name() {
        let long = "n".repeat(65);
        let many = (0..33).map(|n| n.to_string()).collect::<Vec<_>>().join(",");
        for (name, value) in [
            ("x-cache-ttl", "0"),
            ("x-cache-ttl", "31536001"),
            ("x-cache-ttl", "-1"),
            ("x-cache-ttl", "+5"),
            ("x-cache-ttl", "1h"),
            ("x-cache-ttl", ""),
            ("x-cache-threshold", "0"),
            ("x-cache-threshold", "1.01"),
            ("x-cache-threshold", "NaN"),
            ("x-cache-threshold", "inf"),
            ("x-cache-mode", "SHADOW"),
            ("x-cache-namespace", ""),
            ("x-cache-namespace", "a b"),
            ("x-cache-namespace", &long),
            ("x-cache-tags", "a b"),
            ("x-cache-tags", &many),
            ("x-task", "a/b"),
            ("x-deadline-ms", "1.5"),
            ("cache-control", "max-age"),
            ("cache-control", "max-age=-1"),
            ("cache-control", "max-stale=soon"),
        ] {
            let error = read_from(&[(name, value)], BodyControls::default()).expect_err(value);
            assert_eq!(error.status().as_u16(), 400);
            assert!(error.message().starts_with(&format!("header `{name}`")), "{}", error.message());
        }
    }

    #[test]
    fn a_header_that_is_there_twice_is_refused() {
        let twice = [("x-cache-ttl", "5"), ("x-cache-ttl", "6")];
        assert!(read_from(&twice, BodyControls::default()).is_err());
    }
}
