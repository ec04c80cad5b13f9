//! Answers of Chat Completions, whole and in chunks.

use axum::body::Bytes;
use serde_json::{Map, Value, json};

use super::super::reply::{Scripted, pieces};
use super::error;

/// An answer: one message for each choice, and its finish reason.
#[derive(Clone, Debug)]
pub struct Words {
    messages: Vec<(Value, Option<&'static str>)>,
    /// What is said of the tokens besides their sums.
    details: Map<String, Value>,
}

impl Scripted<Words> {
    /// Says this text and stops.
    pub fn text(text: &str) -> Self {
        Self::texts(&[text], Some("stop"))
    }

    /// Says this text and ends for this reason, or for none.
    pub fn ending(text: &str, finish: Option<&'static str>) -> Self {
        Self::texts(&[text], finish)
    }

    /// Says one text per choice.
    pub fn texts(texts: &[&str], finish: Option<&'static str>) -> Self {
        let messages = texts.iter().map(|text| (json!({"role": "assistant", "content": text}), finish));
        Self::messages(messages.collect())
    }

    /// Says these messages, each with the reason why it ended.
    pub fn messages(messages: Vec<(Value, Option<&'static str>)>) -> Self {
        Self::words(Words { messages, details: Map::new() })
    }

    /// Calls a tool.
    pub fn tool_call(name: &str, arguments: &str) -> Self {
        let call =
            json!({"id": "call_1", "type": "function", "function": {"name": name, "arguments": arguments}});
        let message = json!({"role": "assistant", "content": null, "tool_calls": [call]});
        Self::messages(vec![(message, Some("tool_calls"))])
    }

    /// Refuses in the field that OpenAI has for it.
    pub fn refusal(words: &str) -> Self {
        let message = json!({"role": "assistant", "content": null, "refusal": words});
        Self::messages(vec![(message, Some("stop"))])
    }

    /// Says how many of the tokens were of a kind, such as `prompt_tokens_details.cached_tokens`.
    pub fn detail(mut self, details: &str, count: &str, tokens: u64) -> Self {
        self.words_mut().details.entry(details).or_insert_with(|| json!({}))[count] = json!(tokens);
        self
    }

    /// Fails with this status and OpenAI's shape of an error.
    pub fn error(status: u16, message: &str, param: Option<&str>, code: Option<&str>) -> Self {
        Self::failing(status, error(message, param, code).to_string())
    }

    /// Refuses the prompt as Azure's filter does.
    pub fn filtered_prompt() -> Self {
        let mut body = error("The response was filtered.", Some("prompt"), Some("content_filter"));
        body["error"]["status"] = json!(400);
        body["error"]["innererror"] = json!({
            "code": "ResponsibleAIPolicyViolation",
            "content_filter_result": {"hate": {"filtered": true, "severity": "high"}},
        });
        Self::failing(400, body.to_string())
    }

    /// Says half of its text, then that something went wrong.
    pub fn failing_midway(self, message: &str) -> Self {
        let mut error = error(message, None, None);
        error["error"]["type"] = json!("server_error");
        self.ending_with(event(&error.to_string()))
    }

    /// Refuses to stream, as OpenAI does for models that cannot.
    pub fn only_whole(self) -> Self {
        let refusal = error("this model cannot stream", Some("stream"), Some("unsupported_value"));
        self.refusing_to_stream(400, refusal.to_string())
    }
}

impl Words {
    pub(super) fn whole(&self, model: &str, usage: Option<(u64, u64)>, azure: bool) -> Value {
        let mut whole = head("chat.completion", model);
        let choices = self.messages.iter().enumerate().map(|(index, (message, finish))| {
            let mut choice =
                json!({"index": index, "message": message, "finish_reason": finish, "logprobs": null});
            if azure {
                choice["content_filter_results"] = unfiltered();
            }
            choice
        });
        whole["choices"] = choices.collect();
        if azure {
            whole["prompt_filter_results"] = prompt_filter_results();
        }
        if let Some(usage) = usage {
            whole["usage"] = self.usage_json(usage);
        }
        whole
    }

    /// Returns the events of a stream, cut in the middle of the text.
    pub(super) fn events(&self, model: &str, usage: Option<(u64, u64)>, azure: bool) -> [Vec<Bytes>; 2] {
        let (mut first, mut second) = (Vec::new(), Vec::new());
        if azure {
            first.push(event(&prompt_filtered_chunk().to_string()));
        }
        let chunk = |index: usize, delta: Value, finish: Option<&str>| {
            let mut chunk = head("chat.completion.chunk", model);
            chunk["choices"] = json!([{"index": index, "delta": delta, "finish_reason": finish}]);
            if azure {
                chunk["choices"][0]["content_filter_results"] = unfiltered();
            }
            if usage.is_some() {
                chunk["usage"] = Value::Null;
            }
            event(&chunk.to_string())
        };
        for (index, (message, finish)) in self.messages.iter().enumerate() {
            first.push(chunk(index, json!({"role": "assistant", "content": ""}), None));
            for field in ["content", "refusal"] {
                let Some(text) = message[field].as_str() else { continue };
                let words = pieces(text);
                let (head, tail) = words.split_at(words.len().div_ceil(2));
                first.extend(head.iter().map(|word| chunk(index, json!({field: word}), None)));
                second.extend(tail.iter().map(|word| chunk(index, json!({field: word}), None)));
            }
            for (at, call) in message["tool_calls"].as_array().into_iter().flatten().enumerate() {
                let mut call = call.clone();
                call["index"] = json!(at);
                first.push(chunk(index, json!({"tool_calls": [call]}), None));
            }
            if let Some(finish) = finish {
                second.push(chunk(index, json!({}), Some(finish)));
            }
        }
        if let Some(usage) = usage {
            let mut last = head("chat.completion.chunk", model);
            last["choices"] = json!([]);
            last["usage"] = self.usage_json(usage);
            second.push(event(&last.to_string()));
        }
        second.push(event("[DONE]"));
        [first, second]
    }

    fn usage_json(&self, (prompt, completion): (u64, u64)) -> Value {
        let total = prompt + completion;
        let mut usage =
            json!({"prompt_tokens": prompt, "completion_tokens": completion, "total_tokens": total});
        for (field, details) in &self.details {
            usage[field] = details.clone();
        }
        usage
    }
}

fn head(object: &str, model: &str) -> Value {
    json!({"id": "chatcmpl-1", "object": object, "created": 1_790_000_000, "model": model})
}

fn event(data: &str) -> Bytes {
    Bytes::from(format!("data: {data}\n\n"))
}

/// What Azure says of a text that no filter minds.
fn unfiltered() -> Value {
    json!({"hate": {"filtered": false, "severity": "safe"}})
}

fn prompt_filter_results() -> Value {
    json!([{"prompt_index": 0, "content_filter_results": unfiltered()}])
}

/// The first chunk of Azure's streams, which says nothing of an answer.
fn prompt_filtered_chunk() -> Value {
    json!({
        "id": "", "object": "", "created": 0, "model": "", "choices": [],
        "prompt_filter_results": prompt_filter_results(),
    })
}
