//! Token counts in OpenAI's spelling, which is our own too, both directions.

use serde::ser::SerializeMap;
use serde::{Serialize, Serializer};
use serde_json::{Map, Value};

use crate::chat::Usage;

/// The most tokens that a count is believed to mean; beyond it the vendor did not count.
pub(super) const BELIEVABLE_TOKENS: u64 = 1_000_000_000;

const PROMPT_DETAILS: &str = "prompt_tokens_details";
const COMPLETION_DETAILS: &str = "completion_tokens_details";
/// Our own mark on counts that no vendor made.
pub(super) const ESTIMATED: &str = "estimated";

/// Takes a count out of an object; `None` where it is none, or beyond belief.
pub(super) fn take_count(fields: &mut Map<String, Value>, field: &str) -> Option<u64> {
    fields.remove(field)?.as_u64().filter(|count| *count <= BELIEVABLE_TOKENS)
}

/// Reads token counts; `None` where the vendor did not count, or miscounted beyond belief.
pub(super) fn read_usage(mut fields: Map<String, Value>) -> Option<Usage> {
    let prompt_tokens = take_count(&mut fields, "prompt_tokens")?;
    let completion_tokens = take_count(&mut fields, "completion_tokens")?;
    let mut usage = Usage { prompt_tokens, completion_tokens, ..Usage::default() };
    if let Some(details) = fields.get_mut(PROMPT_DETAILS).and_then(Value::as_object_mut) {
        usage.cached_tokens = take_count(details, "cached_tokens");
        usage.cache_write_tokens = take_count(details, "cache_write_tokens");
    }
    if let Some(details) = fields.get_mut(COMPLETION_DETAILS).and_then(Value::as_object_mut) {
        usage.reasoning_tokens = take_count(details, "reasoning_tokens");
    }
    // xAI counts thoughts beside the answer, which its total shows.
    let total = fields.get("total_tokens").and_then(Value::as_u64);
    let with_thoughts = completion_tokens + usage.reasoning_tokens.unwrap_or(0);
    if total == Some(prompt_tokens + with_thoughts) {
        usage.completion_tokens = with_thoughts;
    }
    // The sum says nothing new; a vendor whose total is another one counts something that we do not know.
    if total == Some(prompt_tokens + usage.completion_tokens) {
        fields.remove("total_tokens");
    }
    usage.is_estimated = fields.remove(ESTIMATED).is_some_and(|mark| mark == true);
    let is_empty = |value: &Value| value.as_object().is_some_and(Map::is_empty);
    let is_detail = |field: &str| field == PROMPT_DETAILS || field == COMPLETION_DETAILS;
    fields.retain(|field, value| !(value.is_null() || is_detail(field) && is_empty(value)));
    usage.unknown = fields;
    Some(usage)
}

/// Token counts on their way to a client. Details that we do not know mean something only in their own dialect.
pub(super) struct OutUsage<'a> {
    pub(super) usage: &'a Usage,
    pub(super) with_unknown: bool,
}

impl Serialize for OutUsage<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let Usage {
            prompt_tokens,
            completion_tokens,
            cached_tokens,
            cache_write_tokens,
            reasoning_tokens,
            is_estimated,
            unknown,
        } = self.usage;
        let known = |field: &str| if self.with_unknown { unknown.get(field) } else { None };
        let mut map = serializer.serialize_map(None)?;
        map.serialize_entry("prompt_tokens", prompt_tokens)?;
        map.serialize_entry("completion_tokens", completion_tokens)?;
        if known("total_tokens").is_none() {
            map.serialize_entry("total_tokens", &prompt_tokens.saturating_add(*completion_tokens))?;
        }
        let of_prompt = [("cached_tokens", *cached_tokens), ("cache_write_tokens", *cache_write_tokens)];
        let of_completion = [("reasoning_tokens", *reasoning_tokens)];
        for (field, counts) in [(PROMPT_DETAILS, &of_prompt[..]), (COMPLETION_DETAILS, &of_completion[..])] {
            if let Some(details) = details(counts, known(field)) {
                map.serialize_entry(field, &details)?;
            }
        }
        if *is_estimated {
            map.serialize_entry(ESTIMATED, &true)?;
        }
        if self.with_unknown {
            for (field, value) in unknown {
                if field != PROMPT_DETAILS && field != COMPLETION_DETAILS {
                    map.serialize_entry(field, value)?;
                }
            }
        }
        map.end()
    }
}

/// Returns the details that are known beside those that we only pass on.
fn details(counts: &[(&str, Option<u64>)], others: Option<&Value>) -> Option<Value> {
    let counted =
        counts.iter().filter_map(|(field, count)| Some(((*field).to_owned(), Value::from((*count)?))));
    let mut details: Map<String, Value> = counted.collect();
    match others {
        Some(Value::Object(others)) => details.extend(others.clone()),
        Some(other) if details.is_empty() => return Some(other.clone()),
        _ => {}
    }
    (!details.is_empty()).then_some(Value::Object(details))
}
