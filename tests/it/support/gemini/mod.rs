//! Gemini's `generateContent`, whole and streamed.

mod rules;
mod words;

use axum::body::Bytes;
use serde_json::{Value, json};

use super::fields::{Allowed, Fault, Wrong};
use super::reply::Scripted;
use super::upstream::{Asked, Call, Fake, KEY, Vendor, usual_complaints};

pub use words::Words;

/// An upstream that speaks `generateContent`.
pub type Upstream = Fake<Gemini>;
/// One answer of it.
pub type Reply = Scripted<Words>;

/// Speaks `generateContent`.
#[derive(Clone, Debug, Default)]
pub struct Gemini;

/// Returns the model and the method of a path such as `/v1beta/models/gemini-2.5-flash:generateContent`.
fn target(path: &str) -> Option<(&str, &str)> {
    path.strip_prefix("/v1beta/models/")?.split_once(':')
}

impl Vendor for Gemini {
    type Words = Words;

    fn base_path(&self) -> &'static str {
        "/v1beta"
    }

    fn read(&self, call: &Call) -> Asked {
        let (model, method) = target(call.uri.path()).unwrap_or_default();
        let last = call.body["contents"].as_array().and_then(|all| all.last());
        Asked {
            model: model.to_owned(),
            prompt: last.map_or("", text_of).to_owned(),
            streams: method == "streamGenerateContent",
        }
    }

    fn refusal(&self, call: &Call, allowed: &Allowed) -> Option<(u16, Value)> {
        let query = match target(call.uri.path()) {
            Some((_, "generateContent")) => None,
            // Without it the chunks come as one list, which no client of ours reads.
            Some((_, "streamGenerateContent")) => Some("alt=sse"),
            _ => return Some((404, error(404, "NOT_FOUND", "Requested entity was not found."))),
        };
        if call.method != "POST" || call.uri.query() != query {
            return Some((404, error(404, "NOT_FOUND", "Requested entity was not found.")));
        }
        match call.header("x-goog-api-key") {
            KEY => {}
            "" => {
                let message = "Method doesn't allow unregistered callers.";
                return Some((403, error(403, "PERMISSION_DENIED", message)));
            }
            _ => return Some((400, bad_key())),
        }
        if call.header("content-type") != "application/json" || !call.body.is_object() {
            return Some((400, error(400, "INVALID_ARGUMENT", "Invalid JSON payload received.")));
        }
        let Fault { at, wrong } = rules::fault(&call.body, allowed)?;
        let message = match wrong {
            Wrong::Unknown => unknown_name(&at),
            Wrong::Missing => format!("* GenerateContentRequest.{at}: {at} is not specified"),
            Wrong::Because(why) => format!("* GenerateContentRequest.{at}: {why}"),
        };
        Some((400, error(400, "INVALID_ARGUMENT", &message)))
    }

    fn complaints(&self, call: &Call) -> Vec<String> {
        let mut complaints = usual_complaints(call, &["x-goog-api-key"]);
        // What it is asked to do stands in the path, not in the body or the `accept`.
        complaints.retain(|complaint| !complaint.starts_with("accept: "));
        complaints
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

/// Returns a content's text, or that of its last part that has one.
fn text_of(content: &Value) -> &str {
    let parts = content["parts"].as_array().into_iter().flatten();
    parts.filter_map(|part| part["text"].as_str()).next_back().unwrap_or("")
}

/// Returns Google's shape of an error.
fn error(code: u16, status: &str, message: &str) -> Value {
    json!({"error": {"code": code, "message": message, "status": status}})
}

/// Returns what a wrong key is told: a bad request, and why in the details.
fn bad_key() -> Value {
    let mut body = error(400, "INVALID_ARGUMENT", "API key not valid. Please pass a valid API key.");
    body["error"]["details"] = json!([{
        "@type": "type.googleapis.com/google.rpc.ErrorInfo",
        "reason": "API_KEY_INVALID",
        "domain": "googleapis.com",
    }]);
    body
}

fn unknown_name(at: &str) -> String {
    match at.rsplit_once('.') {
        Some((place, name)) => {
            format!("Invalid JSON payload received. Unknown name \"{name}\" at '{place}': Cannot find field.")
        }
        None => format!("Invalid JSON payload received. Unknown name \"{at}\": Cannot find field."),
    }
}
