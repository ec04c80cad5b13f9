//! Anthropic's Messages, and the counting of their tokens.

mod rules;
mod words;

use axum::body::Bytes;
use serde_json::{Value, json};

use super::fields::{Allowed, Fault, Wrong};
use super::reply::Scripted;
use super::upstream::{Asked, Call, Fake, KEY, Vendor, usual_complaints};

pub use words::Words;

/// An upstream that speaks Messages.
pub type Upstream = Fake<Anthropic>;
/// One answer of it.
pub type Reply = Scripted<Words>;

const MESSAGES: &str = "/v1/messages";
const COUNT_TOKENS: &str = "/v1/messages/count_tokens";
const VERSION: &str = "2023-06-01";

/// Speaks Messages.
#[derive(Clone, Debug, Default)]
pub struct Anthropic;

impl Vendor for Anthropic {
    type Words = Words;

    fn base_path(&self) -> &'static str {
        "/v1"
    }

    fn read(&self, call: &Call) -> Asked {
        let last = call.body["messages"].as_array().and_then(|all| all.last());
        Asked {
            model: call.body["model"].as_str().unwrap_or("").to_owned(),
            prompt: last.map_or("", text_of).to_owned(),
            streams: call.body["stream"] == true,
        }
    }

    fn refusal(&self, call: &Call, allowed: &Allowed) -> Option<(u16, Value)> {
        let counts = call.uri.path() == COUNT_TOKENS;
        if call.method != "POST" || (!counts && call.uri.path() != MESSAGES) {
            return Some((404, error("not_found_error", "Not Found")));
        }
        let message = match (call.header("x-api-key"), call.header("authorization")) {
            (KEY, "") => None,
            ("", "") => Some("x-api-key header is required"),
            _ => Some("invalid x-api-key"),
        };
        if let Some(message) = message {
            return Some((401, error("authentication_error", message)));
        }
        let invalid = |message: &str| Some((400, error("invalid_request_error", message)));
        match call.header("anthropic-version") {
            VERSION => {}
            "" => return invalid("anthropic-version: header is required"),
            other => return invalid(&format!("anthropic-version: \"{other}\" is not a valid version")),
        }
        if call.header("content-type") != "application/json" || !call.body.is_object() {
            return invalid("The request body is not valid JSON");
        }
        let Fault { at, wrong } = rules::fault(&call.body, counts, allowed)?;
        invalid(&match wrong {
            Wrong::Unknown => format!("{at}: Extra inputs are not permitted"),
            Wrong::Missing => format!("{at}: Field required"),
            Wrong::Because(why) => format!("{at}: {why}"),
        })
    }

    fn complaints(&self, call: &Call) -> Vec<String> {
        usual_complaints(call, &["x-api-key", "anthropic-version", "anthropic-beta"])
    }

    /// Counts words for tokens.
    fn aside(&self, call: &Call) -> Option<Value> {
        let words = call.prompt().split_whitespace().count();
        (call.uri.path() == COUNT_TOKENS).then(|| json!({"input_tokens": words}))
    }

    fn unscripted(&self, _call: &Call, text: &str) -> Reply {
        Reply::text(text)
    }

    fn whole(&self, words: &Words, asked: &Asked, usage: Option<(u64, u64)>) -> Value {
        words.whole(&asked.model, usage)
    }

    fn events(&self, words: &Words, asked: &Asked, usage: Option<(u64, u64)>) -> [Vec<Bytes>; 2] {
        words.events(&asked.model, usage)
    }
}

/// Returns a message's text, or that of its last block of text.
fn text_of(message: &Value) -> &str {
    let content = &message["content"];
    let blocks = || content.as_array().into_iter().flatten();
    content.as_str().or_else(|| blocks().filter_map(|block| block["text"].as_str()).next_back()).unwrap_or("")
}

/// Returns Anthropic's shape of an error.
fn error(kind: &str, message: &str) -> Value {
    json!({"type": "error", "error": {"type": kind, "message": message}, "request_id": "req_1"})
}
