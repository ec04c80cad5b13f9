//! OpenAI's Chat Completions, at OpenAI's own door or at one of Azure's.

mod rules;
mod words;

use axum::body::Bytes;
use serde_json::{Value, json};

use super::fields::{Allowed, Fault, Wrong};
use super::reply::Scripted;
use super::upstream::{Asked, Call, Fake, KEY, Vendor, usual_complaints};

pub use words::Words;

/// Speaks Chat Completions.
#[derive(Clone, Debug, Default)]
pub struct OpenAi {
    door: Door,
}

/// Where a request comes in.
#[derive(Clone, Debug, Default)]
pub enum Door {
    /// `/v1/chat/completions`, with a bearer token.
    #[default]
    OpenAi,
    /// `/openai/deployments/{deployment}/chat/completions?api-version=…`, with `api-key`; the model is the deployment.
    AzureDeployment(&'static str),
    /// `/openai/v1/chat/completions`, with `api-key` or a bearer token.
    AzureV1,
}

/// The version that a deployment is asked with.
pub const API_VERSION: &str = "2024-10-21";

impl Fake<OpenAi> {
    /// Listens on a free port, as Azure does at this door.
    pub async fn azure(door: Door) -> Self {
        Self::start_as(OpenAi { door }).await
    }
}

impl OpenAi {
    fn path(&self) -> String {
        match self.door {
            Door::OpenAi => "/v1/chat/completions".to_owned(),
            Door::AzureDeployment(deployment) => format!("/openai/deployments/{deployment}/chat/completions"),
            Door::AzureV1 => "/openai/v1/chat/completions".to_owned(),
        }
    }

    fn is_azure(&self) -> bool {
        !matches!(self.door, Door::OpenAi)
    }

    /// Returns the refusal of whoever comes to the wrong place or shows no key of ours.
    fn stranger(&self, call: &Call) -> Option<(u16, Value)> {
        let bearer = call.header("authorization") == format!("Bearer {KEY}");
        let key = call.header("api-key") == KEY;
        let (is_known, well_placed) = match self.door {
            Door::OpenAi => (bearer, true),
            Door::AzureDeployment(_) => {
                (key, call.uri.query() == Some(&format!("api-version={API_VERSION}")))
            }
            Door::AzureV1 => (key || bearer, true),
        };
        if call.uri.path() != self.path() || call.method != "POST" || !well_placed {
            let message = format!("Invalid URL ({} {})", call.method, call.uri.path());
            let azure = json!({"error": {"code": "404", "message": "Resource not found"}});
            return Some((404, if self.is_azure() { azure } else { error(&message, None, None) }));
        }
        if !is_known {
            let azure =
                json!({"error": {"code": "401", "message": "Access denied due to invalid subscription key"}});
            let ours = error("Incorrect API key provided", None, Some("invalid_api_key"));
            return Some((401, if self.is_azure() { azure } else { ours }));
        }
        None
    }
}

impl Vendor for OpenAi {
    type Words = Words;

    fn base_path(&self) -> &'static str {
        match self.door {
            Door::OpenAi => "/v1",
            Door::AzureDeployment(_) => "",
            Door::AzureV1 => "/openai/v1",
        }
    }

    fn read(&self, call: &Call) -> Asked {
        let model = match self.door {
            Door::AzureDeployment(deployment) => deployment,
            Door::OpenAi | Door::AzureV1 => call.body["model"].as_str().unwrap_or(""),
        };
        let last = call.body["messages"].as_array().and_then(|all| all.last());
        Asked {
            model: model.to_owned(),
            prompt: last.map_or("", text_of).to_owned(),
            streams: call.body["stream"] == true,
        }
    }

    fn refusal(&self, call: &Call, allowed: &Allowed) -> Option<(u16, Value)> {
        if let Some(refusal) = self.stranger(call) {
            return Some(refusal);
        }
        if call.header("content-type") != "application/json" || !call.body.is_object() {
            return Some((400, error("We could not parse the JSON body of your request.", None, None)));
        }
        let needs_model = !matches!(self.door, Door::AzureDeployment(_));
        let Fault { at, wrong } = rules::fault(&call.body, needs_model, allowed)?;
        Some((400, refused(&at, wrong)))
    }

    fn complaints(&self, call: &Call) -> Vec<String> {
        let mut complaints = usual_complaints(call, &["authorization", "api-key"]);
        if call.model().is_empty() || call.model().contains('/') {
            complaints.push(format!("model {}", call.model()));
        }
        if (call.body["stream_options"]["include_usage"] == true) != call.streams() {
            complaints.push("usage must be asked for where streaming is".to_owned());
        }
        complaints
    }

    fn unscripted(&self, call: &Call, text: &str) -> Scripted<Words> {
        let choices = call.body["n"].as_u64().unwrap_or(1);
        Scripted::texts(&vec![text; choices as usize], Some("stop"))
    }

    fn whole(&self, words: &Words, asked: &Asked, usage: Option<(u64, u64)>) -> Value {
        words.whole(&asked.model, usage, self.is_azure())
    }

    fn events(&self, words: &Words, asked: &Asked, usage: Option<(u64, u64)>) -> [Vec<Bytes>; 2] {
        words.events(&asked.model, usage, self.is_azure())
    }
}

/// Returns a message's text, or that of its first part.
fn text_of(message: &Value) -> &str {
    let content = &message["content"];
    content.as_str().or_else(|| content[0]["text"].as_str()).unwrap_or("")
}

/// Returns OpenAI's shape of an error.
fn error(message: &str, param: Option<&str>, code: Option<&str>) -> Value {
    let kind = "invalid_request_error";
    json!({"error": {"message": message, "type": kind, "param": param, "code": code}})
}

/// Returns what OpenAI says to a body it does not take.
fn refused(at: &str, wrong: Wrong) -> Value {
    match wrong {
        // The older words for the body itself, the newer for what lies in it.
        Wrong::Unknown if !at.contains('.') => {
            error(&format!("Unrecognized request argument supplied: {at}"), None, None)
        }
        Wrong::Unknown => error(&format!("Unknown parameter: '{at}'."), Some(at), Some("unknown_parameter")),
        Wrong::Missing => {
            let message = format!("Missing required parameter: '{at}'.");
            error(&message, Some(at), Some("missing_required_parameter"))
        }
        Wrong::Because(why) => {
            error(&format!("Invalid value: '{at}' {why}."), Some(at), Some("invalid_value"))
        }
    }
}
