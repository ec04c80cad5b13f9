//! The first tier: entries in memory, bounded in bytes.

use std::sync::Arc;

use moka::sync::Cache;
use serde_json::{Map, Value};

use crate::chat::{
    ChatRequest, ChatResponse, Choice, Entry, Fingerprint, Image, ImageSource, Part, Reasoning, Tool,
    ToolCall,
};

/// Entries in memory. Bounded by weight and not by time: whoever reads checks the expiry, which no hit moves.
#[derive(Debug)]
pub struct MemoryTier(Cache<Fingerprint, Arc<Entry>>);

impl MemoryTier {
    /// Returns an empty tier of at most `capacity_bytes`.
    pub fn new(capacity_bytes: u64) -> Self {
        Self(
            Cache::builder()
                .max_capacity(capacity_bytes)
                .weigher(|_, entry: &Arc<Entry>| u32::try_from(weight(entry)).unwrap_or(u32::MAX))
                .build(),
        )
    }

    /// Returns the entry of this key.
    pub fn get(&self, key: &Fingerprint) -> Option<Arc<Entry>> {
        self.0.get(key)
    }

    /// Puts an entry in, in the place of an older one.
    pub fn insert(&self, entry: Arc<Entry>) {
        self.0.insert(entry.key, entry);
    }

    /// Puts in what was read from the store, unless a newer answer is there already.
    pub fn keep(&self, entry: &Arc<Entry>) {
        self.0.entry(entry.key).and_upsert_with(|held| match held {
            Some(held) if held.value().created_at >= entry.created_at => held.into_value(),
            _ => Arc::clone(entry),
        });
    }

    /// Takes everything out: it can all be had from the store again.
    pub fn clear(&self) {
        self.0.invalidate_all();
    }

    /// Takes an entry out.
    pub fn remove(&self, key: &Fingerprint) {
        self.0.invalidate(key);
    }

    /// Returns the number of entries and their weight in bytes. Does the bookkeeping that was put off, so it is not
    /// for the hot path.
    pub fn holds(&self) -> (u64, u64) {
        self.0.run_pending_tasks();
        (self.0.entry_count(), self.0.weighted_size())
    }
}

/// Bytes of an entry besides its texts: structures, vectors, the map's own bookkeeping.
const OVERHEAD_BYTES: usize = 1_024;

/// Returns about how many bytes an entry takes.
fn weight(entry: &Entry) -> usize {
    let tags: usize = entry.tags.iter().map(String::len).sum();
    OVERHEAD_BYTES + tags + request_bytes(&entry.request) + answer_bytes(&entry.answer)
}

fn request_bytes(request: &ChatRequest) -> usize {
    let messages: usize = request
        .messages
        .iter()
        .map(|message| {
            let parts: usize = message.content.iter().map(part_bytes).sum();
            parts + object_bytes(&message.unknown) + 160
        })
        .sum();
    let tools: usize = request
        .tools
        .iter()
        .map(|tool| match tool {
            Tool::Function { name, description, parameters, .. } => {
                let description = description.as_deref().map_or(0, str::len);
                name.len() + description + parameters.as_ref().map_or(0, value_bytes) + 96
            }
            Tool::Other(value) => value_bytes(value),
        })
        .sum();
    messages + tools + object_bytes(&request.unknown) + object_bytes(&request.carried)
}

fn answer_bytes(answer: &ChatResponse) -> usize {
    answer.choices.iter().map(choice_bytes).sum::<usize>() + object_bytes(&answer.unknown)
}

fn choice_bytes(choice: &Choice) -> usize {
    let parts: usize = choice.content.iter().map(part_bytes).sum();
    let logprobs = choice.logprobs.as_ref().map_or(0, value_bytes);
    parts + logprobs + object_bytes(&choice.unknown) + 192
}

fn part_bytes(part: &Part) -> usize {
    32 + match part {
        Part::Text(text) | Part::Refusal(text) => text.len(),
        Part::Cited { text, citations } => text.len() + citations.iter().map(value_bytes).sum::<usize>(),
        Part::Image(Image { source: ImageSource::Url(place), .. }) => place.len() + 96,
        Part::Image(Image { source: ImageSource::Data { base64, .. }, .. }) => base64.len() + 96,
        Part::Reasoning(Reasoning { text, signature }) => text.len() + text_bytes(signature.as_deref()) + 32,
        Part::ToolCall(ToolCall { id, name, arguments, signature }) => {
            id.len() + name.len() + arguments.len() + text_bytes(signature.as_deref()) + 96
        }
        Part::Other(fields) => object_bytes(fields),
    }
}

fn text_bytes(text: Option<&str>) -> usize {
    text.map_or(0, str::len)
}

fn object_bytes(fields: &Map<String, Value>) -> usize {
    fields.iter().map(|(field, value)| field.len() + value_bytes(value) + 64).sum()
}

fn value_bytes(value: &Value) -> usize {
    let inner = match value {
        Value::Null | Value::Bool(_) | Value::Number(_) => 0,
        Value::String(text) => text.len(),
        Value::Array(items) => items.iter().map(value_bytes).sum(),
        Value::Object(fields) => object_bytes(fields),
    };
    inner + 32
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::chat::{ModelAlias, Namespace, TenantId, UnixMillis};

    fn entry(created_at: i64) -> Arc<Entry> {
        Arc::new(Entry {
            key: Fingerprint::from_bytes([1; 32]),
            tenant: TenantId::new("t"),
            namespace: Namespace::new("default"),
            user: None,
            model: ModelAlias::new("m"),
            request: Arc::new(ChatRequest::from_prompt("q")),
            answer: Arc::new(ChatResponse::default()),
            provider: String::new(),
            limit: None,
            created_at: UnixMillis(created_at),
            expires_at: UnixMillis(i64::MAX),
            cost_usd: None,
            quality: None,
            tags: Vec::new(),
            semantic: None,
        })
    }

    #[test]
    fn what_is_read_from_the_store_never_replaces_a_newer_answer() {
        let memory = MemoryTier::new(1 << 20);
        let held = |key| memory.get(&key).map(|entry| entry.created_at.0);
        let key = entry(0).key;
        memory.keep(&entry(1));
        assert_eq!(held(key), Some(1));
        memory.insert(entry(3));
        memory.keep(&entry(2));
        assert_eq!(held(key), Some(3));
        memory.clear();
        assert_eq!(held(key), None);
    }
}
