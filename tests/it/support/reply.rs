//! What the fake upstream says: scripted, or made from the prompt.

use std::sync::Arc;

use axum::body::{Body, Bytes};
use axum::response::Response;
use futures_util::{Stream, StreamExt, stream};
use serde_json::{Value, json};
use tokio::sync::watch;

/// Returns what the upstream answers to a prompt that nothing was scripted for.
pub fn answer_to(prompt: &str) -> String {
    format!("What I know about \"{prompt}\" is this and that.")
}

/// Something that waits until a test lets it go on.
#[derive(Clone, Debug)]
pub struct Gate(Arc<watch::Sender<bool>>);

impl Gate {
    /// Returns a gate that is shut.
    pub fn shut() -> Self {
        Self(Arc::new(watch::Sender::new(false)))
    }

    pub fn open(&self) {
        self.0.send_replace(true);
    }

    /// Waits until it is open.
    pub async fn passed(&self) {
        // The sender lives as long as this gate.
        let _ = self.0.subscribe().wait_for(|is_open| *is_open).await;
    }
}

/// One answer of the upstream.
#[derive(Clone, Debug)]
pub struct Reply {
    kind: Kind,
    headers: Vec<(&'static str, &'static str)>,
    before: Option<Gate>,
    midway: Option<Gate>,
    ends: Ends,
    usage: Option<(u64, u64)>,
    only_whole: bool,
}

#[derive(Clone, Debug)]
enum Kind {
    /// One message for each choice, and its finish reason.
    Answer(Vec<(Value, Option<&'static str>)>),
    Error(u16, String),
    /// These bytes under this content type, whatever was asked.
    Bytes(&'static str, Vec<u8>),
}

/// How a stream ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Ends {
    WithDone,
    /// The connection breaks after half of the text.
    Cut,
    /// The body ends in good order after half of the text.
    Early,
}

impl Reply {
    fn of(kind: Kind) -> Self {
        Self {
            kind,
            headers: Vec::new(),
            before: None,
            midway: None,
            ends: Ends::WithDone,
            usage: Some((9, 12)),
            only_whole: false,
        }
    }

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
        Self::of(Kind::Answer(messages.collect()))
    }

    /// Says these messages, each with the reason why it ended.
    pub fn messages(messages: Vec<(Value, Option<&'static str>)>) -> Self {
        Self::of(Kind::Answer(messages))
    }

    /// Calls a tool.
    pub fn tool_call(name: &str, arguments: &str) -> Self {
        let call =
            json!({"id": "call_1", "type": "function", "function": {"name": name, "arguments": arguments}});
        let message = json!({"role": "assistant", "content": null, "tool_calls": [call]});
        Self::of(Kind::Answer(vec![(message, Some("tool_calls"))]))
    }

    /// Refuses in the field that OpenAI has for it.
    pub fn refusal(words: &str) -> Self {
        let message = json!({"role": "assistant", "content": null, "refusal": words});
        Self::of(Kind::Answer(vec![(message, Some("stop"))]))
    }

    /// Fails with this status and OpenAI's shape of an error.
    pub fn error(status: u16, message: &str, param: Option<&str>, code: Option<&str>) -> Self {
        let error =
            json!({"message": message, "type": "invalid_request_error", "param": param, "code": code});
        Self::of(Kind::Error(status, json!({ "error": error }).to_string()))
    }

    /// Answers 200 with bytes that are no answer.
    pub fn bytes(content_type: &'static str, bytes: impl Into<Vec<u8>>) -> Self {
        Self::of(Kind::Bytes(content_type, bytes.into()))
    }

    pub fn header(mut self, name: &'static str, value: &'static str) -> Self {
        self.headers.push((name, value));
        self
    }

    /// Says nothing, not even a status, before the gate opens.
    pub fn held(mut self, gate: &Gate) -> Self {
        self.before = Some(gate.clone());
        self
    }

    /// Says half of its text, and the rest when the gate opens. A gate that never opens is a stall.
    pub fn held_midway(mut self, gate: &Gate) -> Self {
        self.midway = Some(gate.clone());
        self
    }

    /// Says half of its text, then breaks the connection.
    pub fn cut_midway(mut self) -> Self {
        self.ends = Ends::Cut;
        self
    }

    /// Says half of its text and ends there, as if that were all.
    pub fn ending_early(mut self) -> Self {
        self.ends = Ends::Early;
        self
    }

    /// Counts this many tokens of prompt and answer.
    pub fn usage(mut self, prompt: u64, completion: u64) -> Self {
        self.usage = Some((prompt, completion));
        self
    }

    /// Counts no tokens.
    pub fn without_usage(mut self) -> Self {
        self.usage = None;
        self
    }

    /// Refuses to stream, as OpenAI does for models that cannot.
    pub fn only_whole(mut self) -> Self {
        self.only_whole = true;
        self
    }

    /// Answers one request.
    pub(super) async fn respond(&self, model: &str, streams: bool) -> Response {
        if streams && self.only_whole {
            let refusal =
                Self::error(400, "this model cannot stream", Some("stream"), Some("unsupported_value"));
            return Box::pin(refusal.respond(model, streams)).await;
        }
        if let Some(gate) = &self.before {
            gate.passed().await;
        }
        let mut response = match &self.kind {
            Kind::Error(status, body) => written(*status, "application/json", Body::from(body.clone())),
            Kind::Bytes(content_type, bytes) => written(200, content_type, Body::from(bytes.clone())),
            Kind::Answer(_) if streams => {
                written(200, "text/event-stream", Body::from_stream(self.events(model)))
            }
            Kind::Answer(choices) => {
                written(200, "application/json", Body::from(self.whole(choices, model).to_string()))
            }
        };
        for (name, value) in &self.headers {
            response.headers_mut().insert(*name, value.parse().expect("a header value"));
        }
        response
    }

    fn whole(&self, choices: &[(Value, Option<&str>)], model: &str) -> Value {
        let choices = choices.iter().enumerate().map(|(index, (message, finish))| {
            json!({"index": index, "message": message, "finish_reason": finish, "logprobs": null})
        });
        let mut whole = head("chat.completion", model);
        whole["choices"] = choices.collect();
        if let Some(usage) = self.usage_json() {
            whole["usage"] = usage;
        }
        whole
    }

    /// The events of a stream. They stop for the gate, or for ever, in the middle of the text.
    fn events(&self, model: &str) -> impl Stream<Item = std::io::Result<Bytes>> + use<> {
        let Kind::Answer(choices) = &self.kind else { unreachable!("only answers are streamed") };
        let mut first = Vec::new();
        let mut second = Vec::new();
        let chunk = |index: usize, delta: Value, finish: Option<&str>| {
            let mut chunk = head("chat.completion.chunk", model);
            chunk["choices"] = json!([{"index": index, "delta": delta, "finish_reason": finish}]);
            if self.usage.is_some() {
                chunk["usage"] = Value::Null;
            }
            event(&chunk.to_string())
        };
        for (index, (message, finish)) in choices.iter().enumerate() {
            first.push(chunk(index, json!({"role": "assistant", "content": ""}), None));
            for field in ["content", "refusal"] {
                let Some(text) = message[field].as_str() else { continue };
                let words: Vec<_> = text.split_inclusive(' ').collect();
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
        if let Some(usage) = self.usage_json() {
            let mut last = head("chat.completion.chunk", model);
            last["choices"] = json!([]);
            last["usage"] = usage;
            second.push(event(&last.to_string()));
        }
        second.push(event("[DONE]"));

        let (midway, ends) = (self.midway.clone(), self.ends);
        let rest = stream::once(async move {
            if let Some(gate) = midway {
                gate.passed().await;
            }
            stream::iter(match ends {
                Ends::WithDone => second.into_iter().map(Ok).collect(),
                Ends::Cut => vec![Err(std::io::Error::other("cut"))],
                Ends::Early => Vec::new(),
            })
        });
        stream::iter(first.into_iter().map(Ok)).chain(rest.flatten())
    }

    fn usage_json(&self) -> Option<Value> {
        let (prompt, completion) = self.usage?;
        Some(json!({
            "prompt_tokens": prompt, "completion_tokens": completion, "total_tokens": prompt + completion,
        }))
    }
}

fn head(object: &str, model: &str) -> Value {
    json!({"id": "chatcmpl-1", "object": object, "created": 1_790_000_000, "model": model})
}

fn event(data: &str) -> Bytes {
    Bytes::from(format!("data: {data}\n\n"))
}

fn written(status: u16, content_type: &str, body: Body) -> Response {
    Response::builder().status(status).header("content-type", content_type).body(body).expect("a response")
}
