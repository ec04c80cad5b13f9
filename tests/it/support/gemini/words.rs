//! Answers of `generateContent`, whole and in chunks.

use axum::body::Bytes;
use serde_json::{Value, json};

use super::super::reply::{Scripted, pieces};
use super::error;

/// An answer: the parts of its one candidate and why it ended, or why there is none.
#[derive(Clone, Debug)]
pub struct Words {
    parts: Vec<Value>,
    finish: Option<&'static str>,
    /// Why the prompt was blocked: then there is no candidate.
    blocked: Option<&'static str>,
    /// Tokens of thinking, which `candidatesTokenCount` leaves out.
    thoughts: u64,
}

impl Scripted<Words> {
    /// Says this text and stops.
    pub fn text(text: &str) -> Self {
        Self::ending(text, Some("STOP"))
    }

    /// Says this text and ends for this reason, or for none.
    pub fn ending(text: &str, finish: Option<&'static str>) -> Self {
        Self::parts(vec![json!({ "text": text })], finish)
    }

    /// Says these parts.
    pub fn parts(parts: Vec<Value>, finish: Option<&'static str>) -> Self {
        Self::words(Words { parts, finish, blocked: None, thoughts: 0 })
    }

    /// Thinks this, and says this text with its thoughts' signature. Counts five tokens of thinking.
    pub fn thinking(thought: &str, signature: &str, text: &str) -> Self {
        let thought = json!({"text": thought, "thought": true});
        let mut reply =
            Self::parts(vec![thought, json!({"text": text, "thoughtSignature": signature})], Some("STOP"));
        reply.words_mut().thoughts = 5;
        reply
    }

    /// Calls a function, which Gemini ends as it ends a text.
    pub fn function_call(name: &str, arguments: Value) -> Self {
        let call = json!({"functionCall": {"name": name, "args": arguments}});
        Self::parts(vec![call], Some("STOP"))
    }

    /// Answers 200 and says that the prompt was blocked.
    pub fn blocked(reason: &'static str) -> Self {
        let mut reply = Self::parts(Vec::new(), None);
        reply.words_mut().blocked = Some(reason);
        reply
    }

    /// Fails with this status and Google's shape of an error.
    pub fn error(code: u16, status: &str, message: &str) -> Self {
        Self::failing(code, error(code, status, message).to_string())
    }

    /// Fails in the same way, but the error is the only one of a list, as a stream's errors are.
    pub fn error_in_list(code: u16, status: &str, message: &str) -> Self {
        Self::failing(code, json!([error(code, status, message)]).to_string())
    }

    /// Says half of its text, then an error in lines of JSON that are no event.
    pub fn failing_midway(self, code: u16, status: &str, message: &str) -> Self {
        let error = serde_json::to_string_pretty(&error(code, status, message)).expect("a JSON value");
        self.ending_with(error + "\n")
    }
}

impl Words {
    pub(super) fn whole(&self, model: &str, usage: Option<(u64, u64)>) -> Value {
        self.chunk(model, &self.parts, self.finish, usage)
    }

    /// Returns the events of a stream, cut after half of the pieces. A stream ends with its body, nothing says so.
    pub(super) fn events(&self, model: &str, usage: Option<(u64, u64)>) -> [Vec<Bytes>; 2] {
        let mut parts: Vec<_> = self.parts.iter().flat_map(in_pieces).collect();
        let last = parts.pop();
        // The counts of all so far; the last chunk has them all.
        let so_far = usage.map(|(prompt, _)| (prompt, 1));
        let chunks = parts.iter().map(|part| self.chunk(model, std::slice::from_ref(part), None, so_far));
        let mut events: Vec<_> = chunks.map(|chunk| event(&chunk)).collect();
        events.push(event(&self.chunk(model, last.as_slice(), self.finish, usage)));
        let second = events.split_off(events.len().div_ceil(2));
        [events, second]
    }

    fn chunk(&self, model: &str, parts: &[Value], finish: Option<&str>, usage: Option<(u64, u64)>) -> Value {
        let mut chunk = json!({"modelVersion": model, "responseId": "resp-1"});
        if let Some(reason) = self.blocked {
            chunk["promptFeedback"] = json!({"blockReason": reason});
        } else {
            let mut candidate = json!({"index": 0, "content": {"role": "model", "parts": parts}});
            if let Some(finish) = finish {
                candidate["finishReason"] = json!(finish);
            }
            chunk["candidates"] = json!([candidate]);
        }
        if let Some((prompt, completion)) = usage {
            let total = prompt + completion + self.thoughts;
            let mut counts = json!({"promptTokenCount": prompt, "totalTokenCount": total});
            if self.blocked.is_none() {
                counts["candidatesTokenCount"] = json!(completion);
            }
            if self.thoughts > 0 {
                counts["thoughtsTokenCount"] = json!(self.thoughts);
            }
            chunk["usageMetadata"] = counts;
        }
        chunk
    }
}

/// Returns a part as the pieces it comes in. A signature comes with the last.
fn in_pieces(part: &Value) -> Vec<Value> {
    let Some(text) = part["text"].as_str() else { return vec![part.clone()] };
    let words = pieces(text);
    let count = words.len();
    let piece = |(at, word): (usize, &str)| {
        let mut piece = part.clone();
        piece["text"] = json!(word);
        if at + 1 < count
            && let Some(fields) = piece.as_object_mut()
        {
            fields.remove("thoughtSignature");
        }
        piece
    };
    words.into_iter().enumerate().map(piece).collect()
}

fn event(chunk: &Value) -> Bytes {
    Bytes::from(format!("data: {chunk}\r\n\r\n"))
}
