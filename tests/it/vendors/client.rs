//! The four dialects as their clients use them: how they ask, and what they read.

use serde_json::{Value, json};

use super::events::{Event, check_blocks, check_items, named};
use crate::support::app::MODEL;
use crate::support::response::Response;

/// Who asks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Client {
    OpenAi,
    Responses,
    Anthropic,
    Native,
}

use Client::*;

pub const CLIENTS: [Client; 4] = [OpenAi, Responses, Anthropic, Native];

/// An answer as its client understands it. What its dialect has no place for is empty.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Read {
    pub text: String,
    pub thoughts: String,
    pub refusal: String,
    /// Names and arguments.
    pub calls: Vec<(String, Value)>,
    /// In the dialect's word; in Responses the status, with the reason where there is one.
    pub finish: String,
    /// As the dialect spells it.
    pub usage: Value,
    pub model: String,
}

impl Client {
    pub const fn path(self) -> &'static str {
        match self {
            OpenAi => "/v1/chat/completions",
            Responses => "/v1/responses",
            Anthropic => "/v1/messages",
            Native => "/v1/generate",
        }
    }

    /// Returns the body that asks a model one question.
    pub fn ask(self, model: &str, prompt: &str) -> Value {
        let message = json!([{"role": "user", "content": prompt}]);
        match self {
            OpenAi => json!({"model": model, "messages": message}),
            Responses => json!({"model": model, "input": prompt}),
            Anthropic => json!({"model": model, "max_tokens": 1000, "messages": message}),
            Native => json!({"model": model, "prompt": prompt}),
        }
    }

    /// Returns the body that asks the usual upstream.
    pub fn ask_fake(self, prompt: &str) -> Value {
        self.ask(MODEL, prompt)
    }

    /// Reads a whole answer.
    pub fn whole(self, response: &Response) -> Read {
        assert_eq!(response.status, 200, "{self:?}: {}", response.text());
        assert!(response.header("content-type").starts_with("application/json"), "{self:?}");
        self.read(&response.json())
    }

    fn read(self, body: &Value) -> Read {
        let text = |value: &Value| value.as_str().unwrap_or("").to_owned();
        let mut read = Read { usage: body["usage"].clone(), model: text(&body["model"]), ..Read::default() };
        match self {
            OpenAi => {
                let choice = &body["choices"][0];
                let message = &choice["message"];
                read.text = text(&message["content"]);
                read.thoughts = text(&message["reasoning_content"]);
                read.refusal = text(&message["refusal"]);
                let calls = message["tool_calls"].as_array().into_iter().flatten();
                read.calls = calls.map(|call| called(&call["function"])).collect();
                read.finish = text(&choice["finish_reason"]);
            }
            Responses => {
                for item in body["output"].as_array().unwrap() {
                    let parts = item["content"].as_array().into_iter().flatten();
                    match item["type"].as_str().unwrap() {
                        "reasoning" => parts.for_each(|part| read.thoughts += part["text"].as_str().unwrap()),
                        "message" => parts.for_each(|part| match part["type"].as_str().unwrap() {
                            "refusal" => read.refusal += part["refusal"].as_str().unwrap(),
                            _ => read.text += part["text"].as_str().unwrap(),
                        }),
                        _ => read.calls.push(called(item)),
                    }
                }
                let reason = body["incomplete_details"]["reason"].as_str().map(|word| format!(" {word}"));
                read.finish = text(&body["status"]) + &reason.unwrap_or_default();
            }
            Anthropic => {
                for block in body["content"].as_array().unwrap() {
                    match block["type"].as_str().unwrap() {
                        "text" => read.text += block["text"].as_str().unwrap(),
                        "thinking" => read.thoughts += block["thinking"].as_str().unwrap(),
                        "tool_use" => read.calls.push((text(&block["name"]), block["input"].clone())),
                        other => panic!("a block of type {other}"),
                    }
                }
                let sequence = body["stop_sequence"].as_str().map(|word| format!(" {word}"));
                read.finish = text(&body["stop_reason"]) + &sequence.unwrap_or_default();
            }
            Native => {
                read.text = text(&body["text"]);
                read.finish = text(&body["finish_reason"]);
            }
        }
        read
    }

    /// Reads a streamed answer, and checks that its events are those of its dialect, in order and to the end.
    pub fn streamed(self, response: &Response) -> Read {
        assert_eq!(response.status, 200, "{self:?}: {}", response.text());
        assert_eq!(response.header("content-type"), "text/event-stream; charset=utf-8", "{self:?}");
        let events = named(&response.text());
        match self {
            OpenAi => read_chunks(&events),
            Responses => {
                let whole = check_items(&events);
                self.read(&whole)
            }
            Anthropic => self.read(&check_blocks(&events)),
            Native => {
                let (summary, deltas) = before_done(&events).split_last().unwrap();
                let mut whole = summary.data["summary"].clone();
                let said: String = deltas.iter().map(|event| event.data["delta"].as_str().unwrap()).collect();
                whole["text"] = said.into();
                self.read(&whole)
            }
        }
    }

    /// Returns the error of a response: its type, its code and its message. What a dialect has no field for is empty.
    pub fn error(self, response: &Response) -> [String; 3] {
        let body = response.json();
        self.error_of(&body)
    }

    fn error_of(self, body: &Value) -> [String; 3] {
        let error = &body["error"];
        assert!(error["message"].is_string(), "{self:?}: {body}");
        if self == Anthropic {
            assert_eq!(body["type"], "error", "{body}");
            assert!(error.get("code").is_none() && error.get("param").is_none(), "{body}");
        } else {
            let fields = error.as_object().unwrap();
            assert!(fields.contains_key("code") && fields.contains_key("param"), "{body}");
        }
        ["type", "code", "message"].map(|field| error[field].as_str().unwrap_or("").to_owned())
    }

    /// Reads a stream that broke: what was said before, and the error's type, code and message. Nothing that means a good
    /// end may stand in it, nor anything after the error.
    pub fn broken(self, response: &Response) -> (String, [String; 3]) {
        assert_eq!(response.status, 200, "{self:?}: {}", response.text());
        let text = response.text();
        let ends = ["[DONE]", "message_stop", "response.completed", "response.incomplete", "{\"summary\""];
        for end in ends {
            assert!(!text.contains(end), "{self:?}: {text}");
        }
        let events = named(&text);
        let (last, events) = events.split_last().unwrap();
        let error = self.error_of(&last.data);
        if matches!(self, Anthropic | Responses) {
            assert_eq!((last.name.as_str(), &last.data["type"]), ("error", &json!("error")), "{text}");
        }
        let pieces = events.iter().map(|event| match self {
            OpenAi => event.data["choices"][0]["delta"]["content"].as_str(),
            Responses if event.name == "response.output_text.delta" => event.data["delta"].as_str(),
            Responses => None,
            Anthropic => event.data["delta"]["text"].as_str(),
            Native => event.data["delta"].as_str(),
        });
        (pieces.flatten().collect(), error)
    }
}

/// Returns the name and the arguments of a call in OpenAI's spelling.
fn called(call: &Value) -> (String, Value) {
    let arguments = serde_json::from_str(call["arguments"].as_str().unwrap()).unwrap();
    (call["name"].as_str().unwrap().to_owned(), arguments)
}

/// Returns the events before `[DONE]`, which is the last.
fn before_done(events: &[Event]) -> &[Event] {
    let (last, events) = events.split_last().unwrap();
    assert_eq!(last.text, "[DONE]");
    assert!(events.iter().all(|event| event.name.is_empty()));
    events
}

/// Reads the chunks of Chat Completions, of which the last has the usage.
fn read_chunks(events: &[Event]) -> Read {
    let (last, chunks) = before_done(events).split_last().unwrap();
    assert_eq!(last.data["choices"], json!([]), "usage comes last");
    let mut read = Read { usage: last.data["usage"].clone(), ..Read::default() };
    read.model = last.data["model"].as_str().unwrap().to_owned();
    let mut calls: Vec<(String, String)> = Vec::new();
    for Event { data, .. } in chunks {
        assert_eq!(data["object"], "chat.completion.chunk");
        assert!(read.finish.is_empty(), "nothing follows the finish reason: {data}");
        let choice = &data["choices"][0];
        let delta = &choice["delta"];
        read.text += delta["content"].as_str().unwrap_or("");
        read.thoughts += delta["reasoning_content"].as_str().unwrap_or("");
        read.refusal += delta["refusal"].as_str().unwrap_or("");
        for call in delta["tool_calls"].as_array().into_iter().flatten() {
            let at = call["index"].as_u64().unwrap() as usize;
            calls.resize(calls.len().max(at + 1), Default::default());
            calls[at].0 += call["function"]["name"].as_str().unwrap_or("");
            calls[at].1 += call["function"]["arguments"].as_str().unwrap_or("");
        }
        choice["finish_reason"].as_str().unwrap_or("").clone_into(&mut read.finish);
    }
    read.calls = calls.into_iter().map(|(name, text)| (name, serde_json::from_str(&text).unwrap())).collect();
    read
}
