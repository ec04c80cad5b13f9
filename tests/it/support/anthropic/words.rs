//! Answers of Messages, whole and as the events that come to them.

use axum::body::Bytes;
use serde_json::{Value, json};

use super::super::reply::{Scripted, pieces};
use super::error;

/// An answer: its blocks, and why it ended.
#[derive(Clone, Debug)]
pub struct Words {
    blocks: Vec<Value>,
    stop_reason: Option<&'static str>,
    stop_sequence: Option<&'static str>,
    stop_details: Option<Value>,
    /// Tokens of the prompt that a cache of the vendor had, which `input_tokens` leaves out.
    cached: u64,
}

impl Scripted<Words> {
    /// Says this text and ends its turn.
    pub fn text(text: &str) -> Self {
        Self::ending(text, Some("end_turn"))
    }

    /// Says this text and ends for this reason, or for none.
    pub fn ending(text: &str, stop_reason: Option<&'static str>) -> Self {
        Self::blocks(vec![json!({"type": "text", "text": text})], stop_reason)
    }

    /// Says these blocks.
    pub fn blocks(blocks: Vec<Value>, stop_reason: Option<&'static str>) -> Self {
        Self::words(Words { blocks, stop_reason, stop_sequence: None, stop_details: None, cached: 0 })
    }

    /// Says this text and stops before these words.
    pub fn stopped_at(text: &str, sequence: &'static str) -> Self {
        let mut reply = Self::ending(text, Some("stop_sequence"));
        reply.words_mut().stop_sequence = Some(sequence);
        reply
    }

    /// Thinks this, signs it, and says this text.
    pub fn thinking(thought: &str, signature: &str, text: &str) -> Self {
        let thought = json!({"type": "thinking", "thinking": thought, "signature": signature});
        Self::blocks(vec![thought, json!({"type": "text", "text": text})], Some("end_turn"))
    }

    /// Calls a tool.
    pub fn tool_use(name: &str, input: Value) -> Self {
        let call = json!({"type": "tool_use", "id": "toolu_1", "name": name, "input": input});
        Self::blocks(vec![call], Some("tool_use"))
    }

    /// Says this much and then refuses.
    pub fn refusal(text: &str, category: &'static str) -> Self {
        let mut reply = Self::ending(text, Some("refusal"));
        reply.words_mut().stop_details = Some(json!({"type": "refusal", "category": category}));
        reply
    }

    /// Fails with this status and Anthropic's shape of an error.
    pub fn error(status: u16, kind: &str, message: &str) -> Self {
        Self::failing(status, error(kind, message).to_string())
    }

    /// Fails as Anthropic does when it has too much to do.
    pub fn overloaded() -> Self {
        Self::error(529, "overloaded_error", "Overloaded")
    }

    /// Says half of its text, then that something went wrong.
    pub fn failing_midway(self, kind: &str, message: &str) -> Self {
        self.ending_with(event("error", error(kind, message)))
    }

    /// Counts this many tokens of the prompt as read from the vendor's cache.
    pub fn cached(mut self, tokens: u64) -> Self {
        self.words_mut().cached = tokens;
        self
    }
}

impl Words {
    pub(super) fn whole(&self, model: &str, usage: Option<(u64, u64)>) -> Value {
        let mut whole = self.message(model, usage.map(|usage| self.usage_json(usage)));
        whole["content"] = json!(self.blocks);
        whole["stop_reason"] = json!(self.stop_reason);
        whole["stop_sequence"] = json!(self.stop_sequence);
        if let Some(details) = &self.stop_details {
            whole["stop_details"] = details.clone();
        }
        whole
    }

    /// Returns the events of a stream, cut after half of the pieces.
    pub(super) fn events(&self, model: &str, usage: Option<(u64, u64)>) -> [Vec<Bytes>; 2] {
        // Counts are of all so far, never of what came since.
        let before = usage.map(|(prompt, _)| self.usage_json((prompt, 1)));
        let mut events = vec![("message_start", json!({"message": self.message(model, before)}))];
        for (index, block) in self.blocks.iter().enumerate() {
            let start = json!({"index": index, "content_block": emptied(block)});
            events.push(("content_block_start", start));
            if index == 0 {
                events.push(("ping", json!({})));
            }
            let deltas = deltas(block).into_iter();
            events
                .extend(deltas.map(|delta| ("content_block_delta", json!({"index": index, "delta": delta}))));
            events.push(("content_block_stop", json!({"index": index})));
        }
        let mut delta = json!({"stop_reason": self.stop_reason, "stop_sequence": self.stop_sequence});
        if let Some(details) = &self.stop_details {
            delta["stop_details"] = details.clone();
        }
        let mut last = json!({ "delta": delta });
        if let Some(usage) = usage {
            last["usage"] = self.usage_json(usage);
        }
        if self.stop_reason.is_some() {
            events.push(("message_delta", last));
        }
        events.push(("message_stop", json!({})));

        let deltas: Vec<_> = (0..events.len()).filter(|at| events[*at].0 == "content_block_delta").collect();
        let cut = deltas.get(deltas.len().div_ceil(2)).copied().unwrap_or(events.len() - 2);
        let mut first: Vec<_> = events.into_iter().map(|(name, data)| event(name, data)).collect();
        let second = first.split_off(cut);
        [first, second]
    }

    fn message(&self, model: &str, usage: Option<Value>) -> Value {
        let mut message = json!({
            "id": "msg_1", "type": "message", "role": "assistant", "model": model, "content": [],
            "stop_reason": null, "stop_sequence": null,
        });
        if let Some(usage) = usage {
            message["usage"] = usage;
        }
        message
    }

    fn usage_json(&self, (prompt, completion): (u64, u64)) -> Value {
        json!({
            "input_tokens": prompt - self.cached, "output_tokens": completion,
            "cache_creation_input_tokens": 0, "cache_read_input_tokens": self.cached,
        })
    }
}

/// Returns a block as it starts, before anything of it was said.
fn emptied(block: &Value) -> Value {
    let mut block = block.clone();
    for (field, empty) in
        [("text", json!("")), ("thinking", json!("")), ("signature", json!("")), ("input", json!({}))]
    {
        if block.get(field).is_some() {
            block[field] = empty;
        }
    }
    block
}

/// Returns the pieces that a block comes in. What has none, such as encrypted thinking, is in its start.
fn deltas(block: &Value) -> Vec<Value> {
    let delta = |kind: &str, field: &str, piece: &str| json!({"type": kind, field: piece});
    let text = |field: &str| block[field].as_str().unwrap_or("").to_owned();
    match block["type"].as_str() {
        Some("text") => pieces(&text("text")).iter().map(|it| delta("text_delta", "text", it)).collect(),
        Some("thinking") => {
            let thought = text("thinking");
            let said = pieces(&thought).into_iter().map(|it| delta("thinking_delta", "thinking", it));
            said.chain([delta("signature_delta", "signature", &text("signature"))]).collect()
        }
        Some("tool_use") => {
            let input = block["input"].to_string();
            let (head, tail) = input.split_at(input.floor_char_boundary(input.len() / 2));
            let said = ["", head, tail];
            said.iter().map(|it| delta("input_json_delta", "partial_json", it)).collect()
        }
        _ => Vec::new(),
    }
}

fn event(name: &str, mut data: Value) -> Bytes {
    data["type"] = json!(name);
    Bytes::from(format!("event: {name}\ndata: {data}\n\n"))
}
