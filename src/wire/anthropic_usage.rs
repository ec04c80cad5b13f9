//! Token counts in Anthropic's spelling, both directions.

use serde::ser::SerializeMap;
use serde::{Serialize, Serializer};
use serde_json::{Map, Value};

use super::openai_usage::{ESTIMATED, take_count};
use crate::chat::Usage;

const INPUT: &str = "input_tokens";
const OUTPUT: &str = "output_tokens";
const CACHE_WRITTEN: &str = "cache_creation_input_tokens";
const CACHE_READ: &str = "cache_read_input_tokens";
const OUTPUT_DETAILS: &str = "output_tokens_details";
const THINKING: &str = "thinking_tokens";

/// Reads token counts; `None` where the vendor did not count, or miscounted beyond belief.
///
/// What the vendor had in its prompt cache, or wrote to it, is not among its `input_tokens`; the domain counts all
/// tokens of the request as one.
pub(super) fn read_usage(mut fields: Map<String, Value>) -> Option<Usage> {
    let input = take_count(&mut fields, INPUT)?;
    let completion_tokens = take_count(&mut fields, OUTPUT)?;
    let cached_tokens = take_count(&mut fields, CACHE_READ);
    let cache_write_tokens = take_count(&mut fields, CACHE_WRITTEN);
    let prompt_tokens = input + cached_tokens.unwrap_or(0) + cache_write_tokens.unwrap_or(0);
    let details = fields.get_mut(OUTPUT_DETAILS).and_then(Value::as_object_mut);
    let reasoning_tokens = details.and_then(|details| take_count(details, THINKING));
    let is_estimated = fields.remove(ESTIMATED).is_some_and(|mark| mark == true);
    let is_empty = |value: &Value| value.as_object().is_some_and(Map::is_empty);
    fields.retain(|field, value| !(value.is_null() || field == OUTPUT_DETAILS && is_empty(value)));
    Some(Usage {
        prompt_tokens,
        completion_tokens,
        cached_tokens,
        cache_write_tokens,
        reasoning_tokens,
        is_estimated,
        unknown: fields,
    })
}

/// Token counts on their way to a client.
#[derive(Clone, Copy)]
pub(super) struct OutUsage<'a> {
    /// SDKs insist on counts; where there are none they are zero.
    pub(super) usage: Option<&'a Usage>,
    /// Whether details that we do not know are shown: they mean something only in their own dialect.
    pub(super) with_unknown: bool,
    /// Whether nothing has been said yet. Counts are of all so far, so the answer has none then.
    pub(super) is_start: bool,
}

impl Serialize for OutUsage<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let none = Usage::default();
        let Usage {
            prompt_tokens,
            completion_tokens,
            cached_tokens,
            cache_write_tokens,
            reasoning_tokens,
            is_estimated,
            unknown,
        } = self.usage.unwrap_or(&none);
        let of_cache = [(CACHE_WRITTEN, *cache_write_tokens), (CACHE_READ, *cached_tokens)];
        let from_cache: u64 = of_cache.iter().filter_map(|(_, count)| *count).sum();
        let mut map = serializer.serialize_map(None)?;
        map.serialize_entry(INPUT, &prompt_tokens.saturating_sub(from_cache))?;
        for (field, count) in of_cache {
            if let Some(count) = count {
                map.serialize_entry(field, &count)?;
            }
        }
        map.serialize_entry(OUTPUT, if self.is_start { &0 } else { completion_tokens })?;
        let others = unknown.get(OUTPUT_DETAILS).filter(|_| self.with_unknown);
        let details = if self.is_start { None } else { output_details(*reasoning_tokens, others) };
        if let Some(details) = details {
            map.serialize_entry(OUTPUT_DETAILS, &details)?;
        }
        if *is_estimated {
            map.serialize_entry(ESTIMATED, &true)?;
        }
        if self.with_unknown {
            for (field, value) in unknown.iter().filter(|(field, _)| *field != OUTPUT_DETAILS) {
                map.serialize_entry(field, value)?;
            }
        }
        map.end()
    }
}

fn output_details(reasoning_tokens: Option<u64>, others: Option<&Value>) -> Option<Value> {
    match (reasoning_tokens, others) {
        (None, others) => others.cloned(),
        (Some(count), others) => {
            let mut details = Map::from_iter([(THINKING.to_owned(), Value::from(count))]);
            details.extend(others.and_then(Value::as_object).cloned().unwrap_or_default());
            Some(Value::Object(details))
        }
    }
}

#[cfg(test)]
pub(super) mod tests {
    use super::super::openai_usage::BELIEVABLE_TOKENS;
    use super::*;
    use proptest::prelude::*;
    use serde_json::json;

    /// Any counts that this format can tell apart: what came from the cache is a part of the prompt.
    pub(in crate::wire) fn any_usage() -> impl Strategy<Value = Usage> {
        let count = || 0..BELIEVABLE_TOKENS;
        let maybe = || prop::option::of(count());
        let unknown = prop::collection::vec(("u_[a-z]{0,2}", "[a-z]{0,2}".prop_map(Value::from)), 0..3);
        (count(), count(), [maybe(), maybe(), maybe()], any::<bool>(), unknown).prop_map(
            |(input, completion_tokens, [cached, written, reasoning], is_estimated, unknown)| Usage {
                prompt_tokens: input + cached.unwrap_or(0) + written.unwrap_or(0),
                completion_tokens,
                cached_tokens: cached,
                cache_write_tokens: written,
                reasoning_tokens: reasoning,
                is_estimated,
                unknown: unknown.into_iter().collect(),
            },
        )
    }

    fn written(usage: Option<&Usage>, with_unknown: bool, is_start: bool) -> Value {
        serde_json::to_value(OutUsage { usage, with_unknown, is_start }).unwrap()
    }

    proptest! {
        #[test]
        fn counts_written_and_read_again_are_the_same(usage in any_usage()) {
            let Value::Object(fields) = written(Some(&usage), true, false) else { panic!("no object") };
            prop_assert_eq!(read_usage(fields), Some(usage));
        }
    }

    #[test]
    fn the_prompt_is_all_that_was_read() {
        let fields = json!({
            "input_tokens": 5,
            "cache_creation_input_tokens": 20,
            "cache_read_input_tokens": 300,
            "cache_creation": {"ephemeral_5m_input_tokens": 20, "ephemeral_1h_input_tokens": 0},
            "output_tokens": 40,
            "output_tokens_details": {"thinking_tokens": 30},
            "server_tool_use": null,
            "service_tier": "standard",
        });
        let usage = read_usage(fields.as_object().unwrap().clone()).unwrap();
        assert_eq!((usage.prompt_tokens, usage.completion_tokens), (325, 40));
        assert_eq!((usage.cached_tokens, usage.cache_write_tokens), (Some(300), Some(20)));
        assert_eq!(usage.reasoning_tokens, Some(30));
        assert_eq!(usage.unknown.len(), 2, "{:?}", usage.unknown);

        let start = written(Some(&usage), true, true);
        assert_eq!((&start["output_tokens"], start.get("output_tokens_details")), (&json!(0), None));
        assert_eq!(start["cache_creation"]["ephemeral_5m_input_tokens"], 20);
        assert!(written(Some(&usage), false, false).get("service_tier").is_none());
    }

    #[test]
    fn counts_that_cannot_be_are_none_and_none_are_zero() {
        for fields in [json!({"output_tokens": 1}), json!({"input_tokens": -1, "output_tokens": 1})] {
            assert_eq!(read_usage(fields.as_object().unwrap().clone()), None);
        }
        assert_eq!(written(None, true, false), json!({"input_tokens": 0, "output_tokens": 0}));
        // Another vendor may call more cached than there is.
        let odd = Usage { prompt_tokens: 1, cached_tokens: Some(2), ..Usage::default() };
        assert_eq!(written(Some(&odd), true, false)["input_tokens"], 0);
    }
}
