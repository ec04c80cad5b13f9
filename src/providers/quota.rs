//! What a vendor says is left of its limits, on answers that went well.
//!
//! Asking on until the first 429 costs a call, and callers a moment; who reads what is left need not. The spellings are
//! OpenAI's, Azure's and Groq's `x-ratelimit-*` and Anthropic's `anthropic-ratelimit-*`. OpenAI and Anthropic refill
//! steadily, and their reset is when all is there again, so that one request fits long before it.

use std::time::Duration;

use http::HeaderMap;

use super::wait;

/// What counts against a limit.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Counted {
    Requests,
    Tokens,
    Input,
    Output,
}

/// What a call takes of limits, about.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Takes {
    /// Tokens of the prompt.
    pub input: u64,
    /// The most tokens of the answer.
    pub output: u64,
}

/// The most of a limit that one call is taken to need: limits of output count what was written, not what was allowed.
const SHARE_MAX: f64 = 0.1;

/// What is left of one limit.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Remaining {
    pub counted: Counted,
    pub limit: f64,
    pub remaining: f64,
    /// Until all of the limit is there again.
    pub reset: Duration,
}

const DIMENSIONS: [(&str, Counted); 4] = [
    ("requests", Counted::Requests),
    ("tokens", Counted::Tokens),
    ("input-tokens", Counted::Input),
    ("output-tokens", Counted::Output),
];

/// Returns how long the next call like this one should wait, by what is left; `None` where it need not, or nothing can
/// be read.
pub fn wait_for_room(headers: &HeaderMap, call: Takes) -> Option<Duration> {
    remaining(headers).filter_map(|left| left.wait_for(call)).max()
}

fn remaining(headers: &HeaderMap) -> impl Iterator<Item = Remaining> {
    DIMENSIONS.into_iter().flat_map(move |(dimension, counted)| {
        let openai = [
            format!("x-ratelimit-limit-{dimension}"),
            format!("x-ratelimit-remaining-{dimension}"),
            format!("x-ratelimit-reset-{dimension}"),
        ];
        let anthropic = [
            format!("anthropic-ratelimit-{dimension}-limit"),
            format!("anthropic-ratelimit-{dimension}-remaining"),
            format!("anthropic-ratelimit-{dimension}-reset"),
        ];
        [openai, anthropic].into_iter().filter_map(move |[limit, remaining, reset]| {
            let number = |name: &str| wait::header(headers, name)?.parse::<f64>().ok();
            Some(Remaining {
                counted,
                limit: number(&limit).filter(|limit| limit.is_finite() && *limit >= 1.0)?,
                // Azure sends -1 for what it does not know.
                remaining: number(&remaining).filter(|left| *left >= 0.0)?,
                reset: wait::reset(headers, &reset).filter(|reset| !reset.is_zero())?,
            })
        })
    })
}

impl Remaining {
    fn wait_for(&self, Takes { input, output }: Takes) -> Option<Duration> {
        let tokens = match self.counted {
            Counted::Requests => 0,
            Counted::Tokens => input.saturating_add(output),
            Counted::Input => input,
            Counted::Output => output,
        };
        let needed = (tokens as f64).min(self.limit * SHARE_MAX).max(1.0);
        let missing = needed - self.remaining;
        let used = self.limit - self.remaining;
        (missing > 0.0 && used > 0.0).then(|| self.reset.mul_f64((missing / used).min(1.0)))
    }
}

#[cfg(test)]
mod tests {
    use http::{HeaderName, HeaderValue};
    use proptest::prelude::*;

    use super::*;

    fn waits(lines: &[(&str, &str)], input: u64) -> Option<Duration> {
        let mut headers = HeaderMap::new();
        for (name, value) in lines {
            headers.insert(name.parse::<HeaderName>().unwrap(), HeaderValue::from_str(value).unwrap());
        }
        wait_for_room(&headers, Takes { input, output: 0 })
    }

    fn openai(dimension: &str, limit: &str, remaining: &str, reset: &str, tokens: u64) -> Option<Duration> {
        waits(
            &[
                (&format!("x-ratelimit-limit-{dimension}"), limit),
                (&format!("x-ratelimit-remaining-{dimension}"), remaining),
                (&format!("x-ratelimit-reset-{dimension}"), reset),
            ],
            tokens,
        )
    }

    #[test]
    fn while_something_is_left_nobody_waits_and_then_for_as_much_as_the_next_call_needs() {
        assert_eq!(openai("requests", "60", "1", "59s", 10), None);
        assert_eq!(openai("requests", "60", "0", "1m0s", 10), Some(Duration::from_secs(1)));
        assert_eq!(openai("tokens", "1000", "500", "30s", 500), None);
        assert_eq!(openai("tokens", "1000", "40", "96s", 60), Some(Duration::from_secs(2)));
        assert_eq!(
            openai("tokens", "1000", "0", "60", 5_000),
            Some(Duration::from_secs(6)),
            "a tenth will do"
        );
    }

    #[test]
    fn anthropics_moments_count_from_the_answers_own_date() {
        let lines = [
            ("date", "Fri, 20 Nov 2026 10:00:00 GMT"),
            ("anthropic-ratelimit-requests-limit", "50"),
            ("anthropic-ratelimit-requests-remaining", "0"),
            ("anthropic-ratelimit-requests-reset", "2026-11-20T10:01:00Z"),
        ];
        assert_eq!(waits(&lines, 1), Some(Duration::from_millis(1_200)));
    }

    #[test]
    fn what_is_not_known_or_contradicts_itself_is_no_reason_to_wait() {
        for (limit, remaining, reset) in [
            ("60", "-1", "0"),
            ("60", "0", "0"),
            ("0", "0", "10s"),
            ("many", "0", "10s"),
            ("NaN", "0", "10s"),
            ("60", "0", "soon"),
        ] {
            assert_eq!(openai("requests", limit, remaining, reset, 1), None, "{limit} {remaining} {reset}");
        }
        assert_eq!(waits(&[("x-ratelimit-remaining-requests", "0")], 1), None);
    }

    proptest! {
        #[test]
        fn no_header_makes_a_wait_that_is_longer_than_its_reset(
            limit in "[0-9.eE+-]{1,8}",
            remaining in "[0-9.eE+-]{1,8}",
            seconds in 0_u64..100_000,
            tokens: u64,
        ) {
            if let Some(wait) = openai("tokens", &limit, &remaining, &seconds.to_string(), tokens) {
                prop_assert!(wait <= Duration::from_secs(seconds));
            }
        }
    }
}
