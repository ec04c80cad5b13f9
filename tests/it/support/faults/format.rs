//! What the server says in each vendor's format. Whole answers are those of the well-behaved fakes.

use serde_json::{Value, json};

use super::reply::Step;
use crate::support::gemini::Gemini;
use crate::support::openai::OpenAi;
use crate::support::reply::answer_to;
use crate::support::upstream::{Asked, Vendor};
use crate::support::{anthropic, gemini, reply};

/// The format that a server speaks.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Format {
    #[default]
    OpenAi,
    Anthropic,
    Gemini,
}

/// What an answer is made of.
#[derive(Clone, Debug)]
pub struct Words {
    pub said: Said,
    /// Why it ends, in the vendor's word; `None` for the word of a good end.
    pub finish: Option<&'static str>,
    /// Tokens of prompt and answer; `None` where they are not counted.
    pub usage: Option<(u64, u64)>,
}

#[derive(Clone, Debug)]
pub enum Said {
    /// What the prompt deserves.
    Due,
    Text(String),
    /// A tool's name and its arguments.
    Call(String, String),
    /// The vendor's own way to refuse.
    Refusal(String),
    /// Nothing, since the prompt was blocked for this reason; only Gemini has words for it.
    Blocked(&'static str),
}

impl Words {
    pub fn due() -> Self {
        Self::saying(Said::Due)
    }

    pub fn text(text: &str) -> Self {
        Self::saying(Said::Text(text.to_owned()))
    }

    pub fn saying(said: Said) -> Self {
        Self { said, finish: None, usage: Some((9, 12)) }
    }
}

/// What a request asks for, and what it should be answered.
#[derive(Clone, Debug)]
pub(super) struct Question {
    pub asked: Asked,
    /// The good answer. Where it has been begun for the model, the rest of it.
    pub due: String,
}

/// What an error says.
#[derive(Clone, Debug, Default)]
pub struct Failure {
    /// Null where it is not there.
    pub code: Value,
    pub kind: Option<String>,
    pub param: Option<String>,
    pub message: Option<String>,
    /// Google's details.
    pub details: Option<Value>,
}

impl Failure {
    pub fn code(code: &str) -> Self {
        Self { code: json!(code), ..Self::default() }
    }
}

impl Format {
    /// Returns the path that a client is configured with, after the address.
    pub fn base_path(self) -> &'static str {
        match self {
            Self::OpenAi => OpenAi::default().base_path(),
            Self::Anthropic => anthropic::Anthropic.base_path(),
            Self::Gemini => Gemini.base_path(),
        }
    }

    /// Returns what a configuration calls it.
    pub const fn kind(self) -> &'static str {
        match self {
            Self::OpenAi => "openai",
            Self::Anthropic => "anthropic",
            Self::Gemini => "gemini",
        }
    }

    /// Returns what a request asks for.
    pub(super) fn question(self, target: &str, body: &Value) -> Question {
        let prompt = last_prompt(body).to_owned();
        let (model, streams) = match self {
            Self::OpenAi | Self::Anthropic => (body["model"].as_str(), body["stream"] == true),
            Self::Gemini => {
                let called = target.rsplit('/').next().and_then(|last| last.split_once(':'));
                (called.map(|it| it.0), called.is_some_and(|it| it.1.starts_with("stream")))
            }
        };
        let mut due = answer_to(&prompt);
        let is_models = |turn: &&Value| turn["role"] == "assistant" || turn["role"] == "model";
        let begun = turns(body).next_back().filter(is_models).map_or("", text_of);
        if due.starts_with(begun) {
            due.drain(..begun.len());
        }
        Question { asked: Asked { model: model.unwrap_or("").to_owned(), prompt, streams }, due }
    }

    /// Returns a whole answer.
    pub(super) fn whole(self, words: &Words, question: &Question) -> Value {
        let usage = words.usage;
        match self {
            Self::OpenAi => {
                OpenAi::default().whole(openai_words(words, question).words_mut(), &question.asked, usage)
            }
            Self::Anthropic => {
                anthropic::Anthropic.whole(claudes_words(words, question).words_mut(), &question.asked, usage)
            }
            Self::Gemini => Gemini.whole(geminis_words(words, question).words_mut(), &question.asked, usage),
        }
    }

    /// Returns the events of a whole stream.
    pub(super) fn events(self, words: &Words, question: &Question) -> Vec<u8> {
        let usage = words.usage;
        let [first, second] = match self {
            Self::OpenAi => {
                OpenAi::default().events(openai_words(words, question).words_mut(), &question.asked, usage)
            }
            Self::Anthropic => anthropic::Anthropic.events(
                claudes_words(words, question).words_mut(),
                &question.asked,
                usage,
            ),
            Self::Gemini => Gemini.events(geminis_words(words, question).words_mut(), &question.asked, usage),
        };
        first.into_iter().chain(second).flatten().collect()
    }

    /// Returns the body of an error.
    pub(super) fn error(self, status: u16, failure: &Failure) -> Value {
        let Failure { code, kind, param, message, details } = failure;
        let message = message.as_deref().unwrap_or("some words of the vendor about org-1");
        let kind = kind.as_deref();
        match self {
            Self::OpenAi => json!({"error": {
                "message": message, "type": kind.unwrap_or("invalid_request_error"), "param": param, "code": code,
            }}),
            Self::Anthropic => {
                let mut error = json!({"type": kind.unwrap_or("api_error"), "message": message});
                if let Some(details) = details {
                    error["details"] = details.clone();
                }
                json!({"type": "error", "error": error, "request_id": "req_1"})
            }
            Self::Gemini => {
                let details = details.clone().unwrap_or_else(|| json!([]));
                let status_word = kind.unwrap_or("UNKNOWN");
                json!({"error": {"code": status, "message": message, "status": status_word, "details": details}})
            }
        }
    }

    /// Returns the events that a step of a streamed answer stands for. Only OpenAI's format is told in steps.
    pub(super) fn piece(self, step: &Step, question: &Question) -> String {
        assert_eq!(self, Self::OpenAi, "only OpenAI's streams are told step by step");
        let chunk = |delta: Value, finish: Option<&str>| {
            let mut chunk = chunk(&question.asked.model);
            chunk["choices"] = json!([{"index": 0, "delta": delta, "finish_reason": finish}]);
            format!("data: {chunk}\n\n")
        };
        match step {
            Step::Begin(..) => chunk(json!({"role": "assistant", "content": ""}), None),
            Step::Say(text) => chunk(json!({"content": text}), None),
            Step::SayHalf => chunk(json!({"content": halves(&question.due).0}), None),
            Step::SayRest => chunk(json!({"content": halves(&question.due).1}), None),
            Step::Event(data) => format!("data: {data}\n\n"),
            Step::Finish(reason) => chunk(json!({}), Some(reason)),
            Step::Usage(prompt, completion) => {
                let mut last = self::chunk(&question.asked.model);
                last["choices"] = json!([]);
                let total = prompt + completion;
                last["usage"] =
                    json!({"prompt_tokens": prompt, "completion_tokens": completion, "total_tokens": total});
                format!("data: {last}\n\n")
            }
            Step::Done => "data: [DONE]\n\n".to_owned(),
            other => panic!("{other:?} is no piece of a stream"),
        }
    }
}

/// Returns a text in two, parted within a word.
pub fn halves(text: &str) -> (&str, &str) {
    text.split_at(text.floor_char_boundary(text.len() / 2))
}

fn chunk(model: &str) -> Value {
    json!({"id": "chatcmpl-1", "object": "chat.completion.chunk", "created": 1_790_000_000, "model": model})
}

fn openai_words(words: &Words, question: &Question) -> reply::Reply {
    let text = |text: &str| reply::Reply::ending(text, Some(words.finish.unwrap_or("stop")));
    match &words.said {
        Said::Due => text(&question.due),
        Said::Text(said) => text(said),
        Said::Call(name, arguments) => reply::Reply::tool_call(name, arguments),
        Said::Refusal(text) => reply::Reply::refusal(text),
        Said::Blocked(_) => panic!("only Gemini blocks a prompt in a good answer"),
    }
}

fn claudes_words(words: &Words, question: &Question) -> anthropic::Reply {
    let text = |text: &str| anthropic::Reply::ending(text, Some(words.finish.unwrap_or("end_turn")));
    match &words.said {
        Said::Due => text(&question.due),
        Said::Text(said) => text(said),
        Said::Call(name, arguments) => anthropic::Reply::tool_use(name, read(arguments)),
        Said::Refusal(text) => anthropic::Reply::refusal(text, "cyber"),
        Said::Blocked(_) => panic!("only Gemini blocks a prompt in a good answer"),
    }
}

fn geminis_words(words: &Words, question: &Question) -> gemini::Reply {
    let text = |text: &str| gemini::Reply::ending(text, Some(words.finish.unwrap_or("STOP")));
    match &words.said {
        Said::Due => text(&question.due),
        Said::Text(said) => text(said),
        Said::Call(name, arguments) => gemini::Reply::function_call(name, read(arguments)),
        Said::Refusal(text) => gemini::Reply::ending(text, Some("SAFETY")),
        Said::Blocked(reason) => gemini::Reply::blocked(reason),
    }
}

fn read(arguments: &str) -> Value {
    serde_json::from_str(arguments).expect("arguments of JSON")
}

/// Returns the turns of a conversation, whichever format it has.
fn turns(body: &Value) -> impl DoubleEndedIterator<Item = &Value> {
    ["messages", "contents"].into_iter().filter_map(|field| body[field].as_array()).flatten()
}

/// Returns the text of the last message of the user.
fn last_prompt(body: &Value) -> &str {
    turns(body).rfind(|turn| turn["role"] == "user").map_or("", text_of)
}

/// Returns a turn's text, or that of the last of its parts that has one.
fn text_of(turn: &Value) -> &str {
    let parts = ["content", "parts"].into_iter().filter_map(|field| turn[field].as_array()).flatten();
    let of_parts = parts.filter_map(|part| part["text"].as_str()).next_back();
    turn["content"].as_str().or(of_parts).unwrap_or("")
}
