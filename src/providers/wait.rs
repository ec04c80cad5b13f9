//! How long does a vendor ask to be left alone?
//!
//! One function reads every spelling there is, in one order of precedence, and reads no clock: a date counts against
//! the `date` of the response that carries it, so that neither our clock nor the vendor's has to be right. What is
//! not surely a wait is no hint at all; the caller has a backoff of its own, and a wrong number would park a healthy
//! upstream.
//!
//! The spellings are those of OpenAI's and Anthropic's SDKs, of Google's `google.rpc` errors, and of OpenRouter's and
//! Groq's pages on limits, read in 2026.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use http::HeaderMap;
use jiff::Timestamp;
use serde_json::Value;

/// The longest wait that is believed: a day. What lasts longer is for a person.
const WAIT_MAX: Duration = Duration::from_secs(86_400);
/// The longest value that is looked at, in bytes; dates and durations need half of it.
const VALUE_BYTES_MAX: usize = 64;

/// What a vendor's failure says about trying again.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct WaitHint {
    /// How long to stay away, at most a day. Zero means that the vendor minds no retry, not that one would help.
    pub after: Option<Duration>,
    /// Whether trying again can help at all; OpenAI's SDKs obey it before anything else (`x-should-retry`).
    pub should_retry: Option<bool>,
}

/// Reads the hints of a failed response, of its headers and, where it is JSON, of its body.
///
/// The wait is the first that can be read of `retry-after-ms`, `retry-after` (seconds or a date), the body's
/// `google.rpc.RetryInfo`, and the resets of what is exhausted; of several exhausted dimensions the last one counts,
/// since a request needs them all. A header that is there twice with different values says nothing.
pub fn wait_hint(headers: &HeaderMap, body: Option<&Value>) -> WaitHint {
    let should_retry = header(headers, "x-should-retry").and_then(|value| match value {
        "true" => Some(true),
        "false" => Some(false),
        _ => None,
    });
    // Google sends a delay of seconds along with a quota that comes back at midnight.
    if body.is_some_and(is_daily_quota) {
        return WaitHint { after: None, should_retry };
    }
    let after = header(headers, "retry-after-ms")
        .and_then(|value| seconds(value, 0.001))
        .or_else(|| retry_after(headers))
        .or_else(|| body.and_then(retry_delay))
        .or_else(|| resets(headers, body).max());
    WaitHint { after, should_retry }
}

/// Returns whether a body of Google's says that a day's quota is used up, which no wait of seconds brings back.
pub fn is_daily_quota(body: &Value) -> bool {
    quotas(body).any(|id| id.contains("PerDay"))
}

/// Returns whether a body of Google's says that all the quotas that are used up are those of one model.
pub fn is_of_model(body: &Value) -> bool {
    let mut quotas = quotas(body).peekable();
    quotas.peek().is_some() && quotas.all(|id| id.contains("PerModel"))
}

/// Returns the names of the quotas that are used up.
fn quotas(body: &Value) -> impl Iterator<Item = &str> {
    let violations = details(body, "google.rpc.QuotaFailure")
        .filter_map(|detail| detail.get("violations")?.as_array())
        .flatten();
    violations.filter_map(|violation| violation.get("quotaId")?.as_str())
}

/// Returns the value of a header that is there once, or always the same. Units may be spelt `µs`, so it is UTF-8.
pub(super) fn header<'h>(headers: &'h HeaderMap, name: &str) -> Option<&'h str> {
    let mut values = headers.get_all(name).iter();
    let first = values.next()?;
    if values.any(|value| value != first) {
        return None;
    }
    plain(std::str::from_utf8(first.as_bytes()).ok()?)
}

fn plain(value: &str) -> Option<&str> {
    Some(value.trim()).filter(|value| value.len() <= VALUE_BYTES_MAX)
}

fn retry_after(headers: &HeaderMap) -> Option<Duration> {
    let value = header(headers, "retry-after")?;
    seconds(value, 1.0).or_else(|| since_answer(headers, httpdate::parse_http_date(value).ok()?))
}

/// Reads a number of so many seconds each.
fn seconds(value: &str, each: f64) -> Option<Duration> {
    wait(value.parse::<f64>().ok()? * each)
}

/// Takes a number of seconds for a wait, unless it is none.
fn wait(seconds: f64) -> Option<Duration> {
    let is_wait = seconds.is_finite() && seconds >= 0.0;
    is_wait.then(|| Duration::from_secs_f64(seconds.min(WAIT_MAX.as_secs_f64())))
}

/// Returns how long after the response's own date a moment is; a moment that has passed is no wait.
fn since_answer(headers: &HeaderMap, moment: SystemTime) -> Option<Duration> {
    let answered = httpdate::parse_http_date(header(headers, "date")?).ok()?;
    Some(moment.duration_since(answered).ok()?.min(WAIT_MAX))
}

/// Returns the details of one type of an error of Google's, which may come as an array of one.
fn details<'b>(body: &'b Value, kind: &str) -> impl Iterator<Item = &'b Value> {
    let is_kind =
        move |detail: &&Value| detail.get("@type").and_then(Value::as_str).is_some_and(|t| t.ends_with(kind));
    error(body).and_then(|error| error.get("details")?.as_array()).into_iter().flatten().filter(is_kind)
}

fn error(body: &Value) -> Option<&Value> {
    match body {
        Value::Array(items) => items.first()?.get("error"),
        other => other.get("error"),
    }
}

fn retry_delay(body: &Value) -> Option<Duration> {
    details(body, "google.rpc.RetryInfo").find_map(|detail| go_duration(detail.get("retryDelay")?.as_str()?))
}

/// Returns when each exhausted dimension is full again. A reset of zero contradicts the exhaustion and is left out:
/// Azure sends it, and `-1`, for what it does not know.
fn resets(headers: &HeaderMap, body: Option<&Value>) -> impl Iterator<Item = Duration> {
    let of_headers = headers.keys().filter_map(|name| {
        let name = name.as_str();
        if let Some(dimension) = name.strip_prefix("x-ratelimit-reset-") {
            is_exhausted(header(headers, &format!("x-ratelimit-remaining-{dimension}"))?)?;
            reset(headers, name)
        } else if name == "x-ratelimit-reset" {
            is_exhausted(header(headers, "x-ratelimit-remaining")?)?;
            epoch_milliseconds(headers, header(headers, name)?)
        } else {
            let dimension = name.strip_prefix("anthropic-ratelimit-")?.strip_suffix("-reset")?;
            is_exhausted(header(headers, &format!("anthropic-ratelimit-{dimension}-remaining"))?)?;
            reset(headers, name)
        }
    });
    let of_body = body.and_then(|body| reset_in_body(headers, body));
    of_headers.chain(of_body).filter(|wait| !wait.is_zero())
}

/// Reads how long it is until a limit is whole again: seconds, a Go duration, or a moment.
pub(super) fn reset(headers: &HeaderMap, name: &str) -> Option<Duration> {
    let value = header(headers, name)?;
    let of_moment = || since_answer(headers, value.parse::<Timestamp>().ok()?.into());
    seconds(value, 1.0).or_else(|| go_duration(value)).or_else(of_moment)
}

/// OpenRouter repeats the headers of its own limits in the body, and sends some of them only there.
fn reset_in_body(headers: &HeaderMap, body: &Value) -> Option<Duration> {
    let told = error(body)?.get("metadata")?.get("headers")?;
    let value = |name: &str| told.get(name)?.as_str().and_then(plain);
    is_exhausted(value("X-RateLimit-Remaining")?)?;
    epoch_milliseconds(headers, value("X-RateLimit-Reset")?)
}

fn is_exhausted(remaining: &str) -> Option<()> {
    (remaining.parse::<f64>() == Ok(0.0)).then_some(())
}

fn epoch_milliseconds(headers: &HeaderMap, value: &str) -> Option<Duration> {
    since_answer(headers, UNIX_EPOCH.checked_add(Duration::from_millis(value.parse().ok()?))?)
}

/// Nanoseconds of each unit of a Go duration; a longer name before the one it begins with. Both signs for micro are
/// in use.
const UNITS: [(&str, f64); 8] =
    [("ns", 1.0), ("us", 1e3), ("µs", 1e3), ("μs", 1e3), ("ms", 1e6), ("s", 1e9), ("m", 6e10), ("h", 3.6e12)];

/// Reads a duration as Go prints it (`6m0s`, `1m30.5s`, `12ms`), which covers protobuf's `8.94s` too.
fn go_duration(value: &str) -> Option<Duration> {
    let mut rest = plain(value).filter(|value| !value.is_empty())?;
    let mut nanoseconds = 0.0;
    while !rest.is_empty() {
        let digits = rest.find(|c: char| !c.is_ascii_digit() && c != '.')?;
        let (number, tail) = rest.split_at(digits);
        let (unit, each) = UNITS.iter().find(|(unit, _)| tail.starts_with(unit))?;
        nanoseconds += number.parse::<f64>().ok()? * each;
        rest = &tail[unit.len()..];
    }
    // Below a day a double holds every nanosecond; rounding takes away what the additions left.
    let nanoseconds = wait(nanoseconds / 1e9).map(|_| nanoseconds.round())?;
    Some(Duration::from_nanos(nanoseconds as u64).min(WAIT_MAX))
}

#[cfg(test)]
mod tests {
    use http::{HeaderName, HeaderValue};
    use proptest::prelude::*;
    use serde_json::json;

    use super::*;

    fn headers(lines: &[(&str, &str)]) -> HeaderMap {
        let line = |(name, value): &(&str, &str)| {
            (name.parse::<HeaderName>().unwrap(), HeaderValue::from_bytes(value.as_bytes()).unwrap())
        };
        let mut headers = HeaderMap::new();
        for (name, value) in lines.iter().map(line) {
            headers.append(name, value);
        }
        headers
    }

    fn after(lines: &[(&str, &str)]) -> Option<Duration> {
        wait_hint(&headers(lines), None).after
    }

    const fn ms(milliseconds: u64) -> Option<Duration> {
        Some(Duration::from_millis(milliseconds))
    }

    const DATE: (&str, &str) = ("date", "Fri, 20 Nov 2026 10:00:00 GMT");

    #[test]
    fn a_number_is_a_wait() {
        for (name, value, wait) in [
            ("retry-after", "2", ms(2_000)),
            ("retry-after", " 0.5 ", ms(500)),
            ("retry-after", "0", ms(0)),
            ("retry-after", "3600", ms(3_600_000)),
            ("retry-after", "1e300", Some(WAIT_MAX)),
            ("retry-after-ms", "20", ms(20)),
            ("retry-after-ms", "0.5", Some(Duration::from_micros(500))),
            ("retry-after-ms", "999999999999", Some(WAIT_MAX)),
        ] {
            assert_eq!(after(&[(name, value)]), wait, "{name}: {value}");
        }
    }

    #[test]
    fn what_is_no_wait_is_no_hint() {
        let long = "9".repeat(10_240);
        for value in ["-1", "-0.001", "NaN", "inf", "1e309", "soon", "", "1, 2", "6m0s", &long] {
            assert_eq!(after(&[("retry-after", value)]), None, "{value}");
            assert_eq!(after(&[("retry-after-ms", value)]), None, "{value}");
        }
        assert_eq!(after(&[("retry-after", "1"), ("retry-after", "2")]), None);
        assert_eq!(after(&[("retry-after", "2"), ("retry-after", "2")]), ms(2_000));
    }

    #[test]
    fn a_date_counts_from_the_response_s_own() {
        let until = |date| after(&[DATE, ("retry-after", date)]);
        assert_eq!(until("Fri, 20 Nov 2026 10:00:07 GMT"), ms(7_000));
        assert_eq!(until("Fri, 20 Nov 2026 10:00:00 GMT"), ms(0));
        assert_eq!(until("Fri, 20 Nov 2026 09:59:59 GMT"), None);
        assert_eq!(until("Fri, 20 Nov 2099 10:00:00 GMT"), Some(WAIT_MAX));
        assert_eq!(until("Fri, 20 Nov 2026 10:00:07 CET"), None);
        // Without that date, or with two of them, there is nothing to count from.
        assert_eq!(after(&[("retry-after", "Fri, 20 Nov 2026 10:00:07 GMT")]), None);
        let twice = [DATE, ("date", "Fri, 20 Nov 2026 11:00:00 GMT")];
        assert_eq!(after(&[twice[0], twice[1], ("retry-after", "Fri, 20 Nov 2026 12:00:00 GMT")]), None);
    }

    #[test]
    fn the_first_hint_that_can_be_read_wins() {
        let body = json!({"error": {"details": [
            {"@type": "type.googleapis.com/google.rpc.RetryInfo", "retryDelay": "3s"}
        ]}});
        let reset = [("x-ratelimit-remaining-requests", "0"), ("x-ratelimit-reset-requests", "4s")];
        let order = [("retry-after-ms", "1000"), ("retry-after", "2")];
        for (first, wait) in [(0, ms(1_000)), (1, ms(2_000)), (2, ms(3_000))] {
            let lines: Vec<_> = order[first..].iter().chain(&reset).copied().collect();
            assert_eq!(wait_hint(&headers(&lines), Some(&body)).after, wait);
        }
        assert_eq!(after(&reset), ms(4_000));
        assert_eq!(after(&[("retry-after-ms", "soon"), ("retry-after", "2")]), ms(2_000));
    }

    #[test]
    fn whether_to_retry_is_said_apart_from_when() {
        for (value, should_retry) in [("true", Some(true)), ("false", Some(false)), ("maybe", None)] {
            let hint = wait_hint(&headers(&[("x-should-retry", value), ("retry-after", "1")]), None);
            assert_eq!(hint, WaitHint { after: ms(1_000), should_retry });
        }
        assert_eq!(wait_hint(&HeaderMap::new(), None), WaitHint::default());
    }

    #[test]
    fn google_s_delay_is_read_unless_the_day_s_quota_is_gone() {
        let delay =
            |text: &str| json!({"@type": "type.googleapis.com/google.rpc.RetryInfo", "retryDelay": text});
        let quota = |id: &str| {
            json!({"@type": "type.googleapis.com/google.rpc.QuotaFailure", "violations": [
                {"quotaId": "GenerateContentInputTokensPerModelPerMinute-FreeTier"}, {"quotaId": id}
            ]})
        };
        let minute = json!({"error": {"code": 429, "details": [
            quota("GenerateRequestsPerMinutePerProjectPerModel-FreeTier"), delay("22s")
        ]}});
        let day = json!([{"error": {"code": 429, "details": [
            quota("GenerateRequestsPerDayPerProjectPerModel-FreeTier"), delay("22s")
        ]}}]);
        let none = HeaderMap::new();
        assert_eq!(wait_hint(&none, Some(&minute)).after, ms(22_000));
        assert!(!is_daily_quota(&minute));
        assert!(is_daily_quota(&day));
        assert_eq!(wait_hint(&headers(&[("retry-after", "1")]), Some(&day)).after, None);
        for (text, wait) in [("8.94s", ms(8_940)), ("-1s", None), ("soon", None), ("", None)] {
            let body = json!([{"error": {"details": [delay(text)]}}]);
            assert_eq!(wait_hint(&none, Some(&body)).after, wait, "{text}");
        }
        for body in [json!(null), json!([]), json!({"error": "x"}), json!({"error": {"details": {"a": 1}}})] {
            assert_eq!(wait_hint(&none, Some(&body)), WaitHint::default());
            assert!(!is_daily_quota(&body));
        }
    }

    #[test]
    fn only_what_is_exhausted_asks_for_a_wait_and_the_last_of_it_counts() {
        assert_eq!(
            after(&[
                ("x-ratelimit-remaining-requests", "0"),
                ("x-ratelimit-reset-requests", "1s"),
                ("x-ratelimit-remaining-project-tokens", "0"),
                ("x-ratelimit-reset-project-tokens", "6m0s"),
                ("x-ratelimit-remaining-tokens", "12"),
                ("x-ratelimit-reset-tokens", "1h0m0s"),
            ]),
            ms(360_000)
        );
        assert_eq!(after(&[("x-ratelimit-reset-tokens", "1s")]), None);
        // Azure and servers like Groq's send plain seconds; Azure says -1 and 0 when it does not know.
        for (value, wait) in [("7", ms(7_000)), ("7.5", ms(7_500)), ("-1", None), ("0", None), ("0s", None)] {
            let lines = [("x-ratelimit-remaining-tokens", "0"), ("x-ratelimit-reset-tokens", value)];
            assert_eq!(after(&lines), wait, "{value}");
        }
        assert_eq!(after(&[("x-ratelimit-remaining-tokens", "-1"), ("x-ratelimit-reset-tokens", "9")]), None);
    }

    #[test]
    fn anthropic_s_resets_are_moments() {
        for (reset, wait) in [
            ("2026-11-20T10:00:30Z", ms(30_000)),
            ("2026-11-20T11:00:30.5+01:00", ms(30_500)),
            ("2026-11-20T09:00:00Z", None),
            ("tomorrow", None),
        ] {
            let exhausted = ("anthropic-ratelimit-input-tokens-remaining", "0");
            let lines = [DATE, exhausted, ("anthropic-ratelimit-input-tokens-reset", reset)];
            assert_eq!(after(&lines), wait, "{reset}");
            assert_eq!(after(&lines[1..]), None, "{reset} without a date");
        }
    }

    #[test]
    fn openrouter_s_resets_are_milliseconds_of_the_epoch_in_headers_or_body() {
        // 2026-11-20T10:00:45Z
        let reset = "1795168845000";
        let lines = [DATE, ("x-ratelimit-remaining", "0"), ("x-ratelimit-reset", reset)];
        assert_eq!(after(&lines), ms(45_000));
        assert_eq!(after(&[lines[0], ("x-ratelimit-remaining", "3"), lines[2]]), None);
        // Seconds of the epoch, as others send them, lie long ago.
        assert_eq!(after(&[lines[0], lines[1], ("x-ratelimit-reset", "1795168845")]), None);
        let body = json!({"error": {"code": 429, "metadata": {"headers": {
            "X-RateLimit-Limit": "50", "X-RateLimit-Remaining": "0", "X-RateLimit-Reset": reset
        }}}});
        assert_eq!(wait_hint(&headers(&[DATE]), Some(&body)).after, ms(45_000));
    }

    #[test]
    fn go_durations_are_read_in_every_unit() {
        for (text, wait) in [
            ("6m0s", ms(360_000)),
            ("1h30m0s", ms(5_400_000)),
            ("1m30.5s", ms(90_500)),
            ("12ms", ms(12)),
            ("250us", Some(Duration::from_micros(250))),
            ("250µs", Some(Duration::from_micros(250))),
            ("250μs", Some(Duration::from_micros(250))),
            ("7ns", Some(Duration::from_nanos(7))),
            (".5s", ms(500)),
            ("99h0m0s", Some(WAIT_MAX)),
            ("9999999999999999999999999h", Some(WAIT_MAX)),
            ("6", None),
            ("s", None),
            ("1.2.3s", None),
            ("1d", None),
            ("-1s", None),
            ("1s ", ms(1_000)),
            ("1 s", None),
        ] {
            assert_eq!(go_duration(text), wait, "{text}");
        }
    }

    /// Prints a duration as Go's `Duration.String` does.
    fn printed(nanoseconds: u64) -> String {
        let fraction = |whole: u64, part: u64, digits: usize| {
            let text = format!("{whole}.{part:0digits$}");
            text.trim_end_matches('0').trim_end_matches('.').to_owned()
        };
        match nanoseconds {
            0 => "0s".to_owned(),
            1..1_000 => format!("{nanoseconds}ns"),
            1_000..1_000_000 => format!("{}µs", fraction(nanoseconds / 1_000, nanoseconds % 1_000, 3)),
            1_000_000..1_000_000_000 => {
                format!("{}ms", fraction(nanoseconds / 1_000_000, nanoseconds % 1_000_000, 6))
            }
            _ => {
                let (seconds, rest) = (nanoseconds / 1_000_000_000, nanoseconds % 1_000_000_000);
                let tail = format!("{}s", fraction(seconds % 60, rest, 9));
                match (seconds / 3_600, seconds / 60 % 60) {
                    (0, 0) => tail,
                    (0, minutes) => format!("{minutes}m{tail}"),
                    (hours, minutes) => format!("{hours}h{minutes}m{tail}"),
                }
            }
        }
    }

    const NAMES: [&str; 12] = [
        "retry-after-ms",
        "retry-after",
        "x-should-retry",
        "date",
        "x-ratelimit-remaining",
        "x-ratelimit-reset",
        "x-ratelimit-remaining-tokens",
        "x-ratelimit-reset-tokens",
        "x-ratelimit-reset-",
        "anthropic-ratelimit-tokens-remaining",
        "anthropic-ratelimit-tokens-reset",
        "anthropic-ratelimit-reset",
    ];

    fn value() -> impl Strategy<Value = Vec<u8>> {
        let plausible = r"-?[0-9]{0,25}\.?[0-9]{0,9}(e[0-9]{1,4})?([mnuµ]?s|m|h)?([0-9]{1,3}s)?";
        let date = "(Fri|Sat), [0-3][0-9] Nov (0000|1970|2026|9999) [0-2][0-9]:[0-9]{2}:[0-9]{2} GMT";
        let moment =
            "[-+]?[0-9]{4,6}-[0-1][0-9]-[0-3][0-9]T[0-2][0-9]:[0-5][0-9]:[0-5][0-9](Z|[-+][0-9]{2}:00)";
        prop_oneof![
            proptest::collection::vec(any::<u8>(), 0..80),
            plausible.prop_map(String::into_bytes),
            date.prop_map(String::into_bytes),
            moment.prop_map(String::into_bytes),
            Just(b"0".to_vec()),
        ]
    }

    proptest! {
        #[test]
        fn any_headers_and_body_give_at_most_a_day(
            lines in proptest::collection::vec((0..NAMES.len(), value()), 0..8),
            delay in ".{0,12}",
        ) {
            let mut headers = headers(&[]);
            for (name, value) in lines {
                if let Ok(value) = HeaderValue::from_bytes(&value) {
                    headers.append(NAMES[name], value);
                }
            }
            let body = json!({"error": {"details": [{"@type": "google.rpc.RetryInfo", "retryDelay": delay}]}});
            for body in [None, Some(&body)] {
                prop_assert!(wait_hint(&headers, body).after.is_none_or(|wait| wait <= WAIT_MAX));
            }
        }

        #[test]
        fn a_go_duration_survives_the_way_there_and_back(nanoseconds in 0..86_400_000_000_000_u64) {
            prop_assert_eq!(go_duration(&printed(nanoseconds)), Some(Duration::from_nanos(nanoseconds)));
        }

        #[test]
        fn a_short_go_duration_survives_too(nanoseconds in 0..2_000_000_000_u64) {
            prop_assert_eq!(go_duration(&printed(nanoseconds)), Some(Duration::from_nanos(nanoseconds)));
        }
    }
}
