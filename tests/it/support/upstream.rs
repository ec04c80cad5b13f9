//! An upstream that speaks OpenAI's Chat Completions on a real socket, and is strict about what it is told.
//!
//! Whatever it would not expect of a careful client is kept as a complaint, and fails the test that owns it.

use std::sync::{Arc, Mutex};

use axum::Router;
use axum::body::Bytes;
use axum::extract::State;
use axum::http::{HeaderMap, Uri};
use axum::response::Response;
use serde_json::Value;
use tokio::net::TcpListener;

use super::eventually;
use super::reply::{Reply, answer_to};

/// The key that the upstream knows its client by.
pub const KEY: &str = "sk-upstream-0123456789";

/// A running upstream; ends with its test's runtime.
pub struct Upstream {
    base_url: String,
    state: Arc<Mutex<Record>>,
}

#[derive(Default)]
struct Record {
    calls: Vec<Call>,
    under_way: usize,
    scripts: Vec<(Match, Reply)>,
    expected_fields: Vec<&'static str>,
    complaints: Vec<String>,
}

/// What a script is for.
#[derive(Clone, Debug)]
enum Match {
    /// A last message of just this text.
    Prompt(String),
    Model(String),
    Everything,
}

/// One request as it came.
#[derive(Clone, Debug)]
pub struct Call {
    pub headers: HeaderMap,
    pub body: Value,
}

impl Call {
    pub fn model(&self) -> &str {
        self.body["model"].as_str().unwrap_or("")
    }

    pub fn streams(&self) -> bool {
        self.body["stream"] == true
    }

    /// Returns the text of the last message.
    pub fn prompt(&self) -> &str {
        self.body["messages"].as_array().and_then(|all| all.last()).map_or("", |last| text_of(last))
    }
}

/// Returns a message's text, or that of its first part.
fn text_of(message: &Value) -> &str {
    let content = &message["content"];
    content.as_str().or_else(|| content[0]["text"].as_str()).unwrap_or("")
}

impl Upstream {
    /// Listens on a free port.
    pub async fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let base_url = format!("http://{}/v1", listener.local_addr().unwrap());
        let state = Arc::new(Mutex::new(Record::default()));
        let router = Router::new().fallback(answer).with_state(Arc::clone(&state));
        tokio::spawn(async move { axum::serve(listener, router).await });
        Self { base_url, state }
    }

    pub fn base_url(&self) -> &str {
        &self.base_url
    }

    /// Answers this prompt so, from now on.
    pub fn on_prompt(&self, prompt: &str, reply: Reply) {
        self.script(Match::Prompt(prompt.to_owned()), reply);
    }

    /// Answers whoever asks for this model so, from now on.
    pub fn on_model(&self, model: &str, reply: Reply) {
        self.script(Match::Model(model.to_owned()), reply);
    }

    /// Answers everybody so, from now on.
    pub fn always(&self, reply: Reply) {
        self.script(Match::Everything, reply);
    }

    /// The newest script that fits is followed.
    fn script(&self, of: Match, reply: Reply) {
        self.record().scripts.push((of, reply));
    }

    /// Takes a field that no careful client would send.
    pub fn expect_field(&self, field: &'static str) {
        self.record().expected_fields.push(field);
    }

    /// Forgets every complaint so far.
    pub fn forgive(&self) {
        self.record().complaints.clear();
    }

    /// Returns how often it was called.
    pub fn calls(&self) -> usize {
        self.record().calls.len()
    }

    /// Returns every call so far.
    pub fn heard(&self) -> Vec<Call> {
        self.record().calls.clone()
    }

    /// Waits until it was called that often.
    pub async fn called(&self, times: usize) {
        eventually("a call of the upstream", async || (self.calls() >= times).then_some(())).await;
    }

    /// Waits until it is at work on nothing: every answer was sent, or its caller left.
    pub async fn idle(&self) {
        eventually("an idle upstream", async || (self.record().under_way == 0).then_some(())).await;
    }

    fn record(&self) -> std::sync::MutexGuard<'_, Record> {
        self.state.lock().unwrap()
    }
}

impl Drop for Upstream {
    fn drop(&mut self) {
        if !std::thread::panicking() {
            let complaints = self.record().complaints.clone();
            assert!(complaints.is_empty(), "the upstream complains: {complaints:#?}");
        }
    }
}

/// Counts a request as under way for as long as it lives.
struct UnderWay(Arc<Mutex<Record>>);

impl UnderWay {
    fn begin(state: &Arc<Mutex<Record>>) -> Self {
        state.lock().unwrap().under_way += 1;
        Self(Arc::clone(state))
    }
}

impl Drop for UnderWay {
    fn drop(&mut self) {
        self.0.lock().unwrap().under_way -= 1;
    }
}

async fn answer(
    State(state): State<Arc<Mutex<Record>>>,
    uri: Uri,
    headers: HeaderMap,
    body: Bytes,
) -> Response {
    let under_way = UnderWay::begin(&state);
    let (reply, call) = {
        let mut record = state.lock().unwrap();
        let call = Call { headers, body: serde_json::from_slice(&body).unwrap_or_default() };
        let complaints = complaints(&uri, &call, &record.expected_fields);
        record.complaints.extend(complaints);
        record.calls.push(call.clone());
        (record.reply_to(&call), call)
    };
    let response = reply.respond(call.model(), call.streams()).await;
    // The body keeps the count: a stream is under way until it was sent, or nobody reads it any more.
    response.map(move |body| {
        let mut body = body.into_data_stream();
        axum::body::Body::from_stream(futures_util::stream::poll_fn(move |cx| {
            let _ = &under_way;
            futures_util::StreamExt::poll_next_unpin(&mut body, cx)
        }))
    })
}

impl Record {
    fn reply_to(&self, call: &Call) -> Reply {
        let fits = |(of, _): &&(Match, Reply)| match of {
            Match::Prompt(prompt) => prompt == call.prompt(),
            Match::Model(model) => model == call.model(),
            Match::Everything => true,
        };
        match self.scripts.iter().rev().find(fits) {
            Some((_, reply)) => reply.clone(),
            None => {
                let choices = call.body["n"].as_u64().unwrap_or(1);
                let text = answer_to(call.prompt());
                Reply::texts(&vec![text.as_str(); choices as usize], Some("stop"))
            }
        }
    }
}

const FIELDS: &[&str] = &[
    "frequency_penalty",
    "logit_bias",
    "logprobs",
    "max_completion_tokens",
    "max_tokens",
    "messages",
    "metadata",
    "model",
    "n",
    "parallel_tool_calls",
    "presence_penalty",
    "reasoning_effort",
    "response_format",
    "seed",
    "service_tier",
    "stop",
    "store",
    "stream",
    "stream_options",
    "temperature",
    "tool_choice",
    "tools",
    "top_logprobs",
    "top_p",
    "user",
    "verbosity",
];
const ROLES: &[&str] = &["system", "developer", "user", "assistant", "tool"];
/// The only headers that an upstream has any business to see.
const HEADERS: &[&str] =
    &["accept", "accept-encoding", "authorization", "content-length", "content-type", "host", "user-agent"];

/// Returns what a careful client would not have sent.
fn complaints(uri: &Uri, call: &Call, expected_fields: &[&str]) -> Vec<String> {
    let Call { headers, body } = call;
    let mut complaints = Vec::new();
    let mut check = |is_well: bool, complaint: String| {
        if !is_well {
            complaints.push(complaint);
        }
    };
    check(uri == "/v1/chat/completions", format!("called at {uri}"));
    for name in headers.keys() {
        check(HEADERS.contains(&name.as_str()), format!("header {name}"));
    }
    let header = |name| headers.get(name).and_then(|value| value.to_str().ok()).unwrap_or("");
    check(header("authorization") == format!("Bearer {KEY}"), "the key".to_owned());
    check(header("content-type") == "application/json", "the content type".to_owned());
    let accepted = if call.streams() { "text/event-stream" } else { "application/json" };
    check(header("accept") == accepted, format!("accept: {}", header("accept")));

    let Some(fields) = body.as_object() else {
        return vec!["a body that is no JSON object".to_owned()];
    };
    for (field, value) in fields {
        let is_known = FIELDS.contains(&field.as_str()) || expected_fields.contains(&field.as_str());
        check(is_known, format!("field {field}"));
        check(!value.is_null(), format!("{field} is null"));
    }
    check(!call.model().is_empty() && !call.model().contains('/'), format!("model {}", body["model"]));
    let usage_is_asked_for = body["stream_options"]["include_usage"] == true;
    check(usage_is_asked_for == call.streams(), "usage must be asked for where streaming is".to_owned());
    let messages = body["messages"].as_array().map_or(&[][..], Vec::as_slice);
    check(!messages.is_empty(), "no messages".to_owned());
    for message in messages {
        let role = message["role"].as_str().unwrap_or("");
        check(ROLES.contains(&role), format!("role {role}"));
        let says = !message["content"].is_null() || !message["tool_calls"].is_null();
        check(says, format!("a message without content: {message}"));
    }
    complaints
}
