//! An upstream on a real socket: it speaks one vendor's protocol, and is strict about what it is told.
//!
//! What the vendor would refuse it refuses in the vendor's words. That, and whatever else it would not expect of a careful
//! client, is kept as a complaint, and fails the test that owns it.

use std::sync::{Arc, Mutex};

use axum::Router;
use axum::body::{Body, Bytes};
use axum::extract::State;
use axum::http::{HeaderMap, Method, Uri};
use axum::response::Response;
use serde_json::Value;
use tokio::net::TcpListener;

use super::eventually;
use super::fields::Allowed;
use super::openai::OpenAi;
use super::reply::{Scripted, answer_to, written};

/// The key that the upstream knows its client by.
pub const KEY: &str = "sk-upstream-0123456789";

/// An upstream that speaks Chat Completions.
pub type Upstream = Fake<OpenAi>;

/// What a fake knows of its vendor.
pub trait Vendor: Clone + Send + Sync + 'static {
    /// What its answers are made of.
    type Words: Clone + Send + Sync + 'static;

    /// Returns the path that a client is configured with, after the address.
    fn base_path(&self) -> &'static str;

    /// Returns what a request asks for, as far as it can be read.
    fn read(&self, call: &Call) -> Asked;

    /// Returns how the vendor refuses a request, as a status and a body.
    fn refusal(&self, call: &Call, allowed: &Allowed) -> Option<(u16, Value)>;

    /// Returns what the vendor takes and a careful client would not send.
    fn complaints(&self, call: &Call) -> Vec<String>;

    /// Returns the answer to what is no question, whatever was scripted.
    fn aside(&self, _call: &Call) -> Option<Value> {
        None
    }

    /// Returns the answer where nothing was scripted.
    fn unscripted(&self, call: &Call, text: &str) -> Scripted<Self::Words>;

    fn whole(&self, words: &Self::Words, asked: &Asked, usage: Option<(u64, u64)>) -> Value;

    /// Returns the events of a stream, in two halves.
    fn events(&self, words: &Self::Words, asked: &Asked, usage: Option<(u64, u64)>) -> [Vec<Bytes>; 2];
}

/// What every request asks for, whatever the protocol.
#[derive(Clone, Debug, Default)]
pub struct Asked {
    pub model: String,
    /// The text of the last message.
    pub prompt: String,
    pub streams: bool,
}

/// One request as it came.
#[derive(Clone, Debug)]
pub struct Call {
    pub method: Method,
    pub uri: Uri,
    pub headers: HeaderMap,
    /// Null where it was no JSON.
    pub body: Value,
    asked: Asked,
}

impl Call {
    /// Returns a header, or nothing in its place.
    pub fn header(&self, name: &str) -> &str {
        self.headers.get(name).and_then(|value| value.to_str().ok()).unwrap_or("")
    }

    pub fn model(&self) -> &str {
        &self.asked.model
    }

    pub fn streams(&self) -> bool {
        self.asked.streams
    }

    /// Returns the text of the last message.
    pub fn prompt(&self) -> &str {
        &self.asked.prompt
    }
}

/// A running upstream; ends with its test's runtime.
pub struct Fake<V: Vendor> {
    base_url: String,
    vendor: V,
    state: Arc<Mutex<Record<V>>>,
}

struct Record<V: Vendor> {
    calls: Vec<Call>,
    under_way: usize,
    scripts: Vec<(Match, Scripted<V::Words>)>,
    allowed: Allowed,
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

impl<V: Vendor + Default> Fake<V> {
    /// Listens on a free port.
    pub async fn start() -> Self {
        Self::start_as(V::default()).await
    }
}

impl<V: Vendor> Fake<V> {
    /// Listens on a free port, as this vendor.
    pub async fn start_as(vendor: V) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let base_url = format!("http://{}{}", listener.local_addr().unwrap(), vendor.base_path());
        let state = Arc::new(Mutex::new(Record {
            calls: Vec::new(),
            under_way: 0,
            scripts: Vec::new(),
            allowed: Allowed::default(),
            complaints: Vec::new(),
        }));
        let fake = Self { base_url, vendor, state };
        let router =
            Router::new().fallback(answer::<V>).with_state((fake.vendor.clone(), Arc::clone(&fake.state)));
        tokio::spawn(async move { axum::serve(listener, router).await });
        fake
    }

    /// Returns what a client is to be configured with.
    pub fn base_url(&self) -> &str {
        &self.base_url
    }

    /// Answers this prompt so, from now on.
    pub fn on_prompt(&self, prompt: &str, reply: Scripted<V::Words>) {
        self.script(Match::Prompt(prompt.to_owned()), reply);
    }

    /// Answers whoever asks for this model so, from now on.
    pub fn on_model(&self, model: &str, reply: Scripted<V::Words>) {
        self.script(Match::Model(model.to_owned()), reply);
    }

    /// Answers everybody so, from now on.
    pub fn always(&self, reply: Scripted<V::Words>) {
        self.script(Match::Everything, reply);
    }

    /// The newest script that fits is followed.
    fn script(&self, of: Match, reply: Scripted<V::Words>) {
        self.record().scripts.push((of, reply));
    }

    /// Takes a field that no careful client would send.
    pub fn expect_field(&self, field: &'static str) {
        self.record().allowed.named.push(field);
    }

    /// Takes any field it does not know; what is missing or wrong is still refused.
    pub fn lenient(&self) {
        self.record().allowed.all = true;
    }

    /// Returns every complaint so far, and forgets it.
    pub fn forgive(&self) -> Vec<String> {
        std::mem::take(&mut self.record().complaints)
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

    fn record(&self) -> std::sync::MutexGuard<'_, Record<V>> {
        self.state.lock().unwrap()
    }
}

impl<V: Vendor> Drop for Fake<V> {
    fn drop(&mut self) {
        if !std::thread::panicking() {
            let complaints = self.forgive();
            assert!(complaints.is_empty(), "the upstream complains: {complaints:#?}");
        }
    }
}

/// Counts a request as under way for as long as it lives.
struct UnderWay<V: Vendor>(Arc<Mutex<Record<V>>>);

impl<V: Vendor> UnderWay<V> {
    fn begin(state: &Arc<Mutex<Record<V>>>) -> Self {
        state.lock().unwrap().under_way += 1;
        Self(Arc::clone(state))
    }
}

impl<V: Vendor> Drop for UnderWay<V> {
    fn drop(&mut self) {
        self.0.lock().unwrap().under_way -= 1;
    }
}

async fn answer<V: Vendor>(
    State((vendor, state)): State<(V, Arc<Mutex<Record<V>>>)>,
    method: Method,
    uri: Uri,
    headers: HeaderMap,
    body: Bytes,
) -> Response {
    let under_way = UnderWay::begin(&state);
    let body = serde_json::from_slice(&body).unwrap_or_default();
    let mut call = Call { method, uri, headers, body, asked: Asked::default() };
    call.asked = vendor.read(&call);
    let reply = state.lock().unwrap().take(&vendor, &call);
    let response = match reply {
        Ok(reply) => reply.respond(&vendor, &call.asked).await,
        Err((status, body)) => written(status, "application/json", Body::from(body.to_string())),
    };
    // The body keeps the count: a stream is under way until it was sent, or nobody reads it any more.
    response.map(move |body| {
        let mut body = body.into_data_stream();
        Body::from_stream(futures_util::stream::poll_fn(move |cx| {
            let _ = &under_way;
            futures_util::StreamExt::poll_next_unpin(&mut body, cx)
        }))
    })
}

impl<V: Vendor> Record<V> {
    /// Keeps a call, and returns what to say: a reply, or a status and a body at once.
    fn take(&mut self, vendor: &V, call: &Call) -> Result<Scripted<V::Words>, (u16, Value)> {
        self.calls.push(call.clone());
        if let Some((status, body)) = vendor.refusal(call, &self.allowed) {
            self.complaints.push(format!("refused {} {}: {status} {body}", call.method, call.uri));
            return Err((status, body));
        }
        self.complaints.extend(vendor.complaints(call));
        match vendor.aside(call) {
            Some(body) => Err((200, body)),
            None => Ok(self.reply_to(vendor, call)),
        }
    }

    fn reply_to(&self, vendor: &V, call: &Call) -> Scripted<V::Words> {
        let fits = |(of, _): &&(Match, Scripted<V::Words>)| match of {
            Match::Prompt(prompt) => prompt == call.prompt(),
            Match::Model(model) => model == call.model(),
            Match::Everything => true,
        };
        match self.scripts.iter().rev().find(fits) {
            Some((_, reply)) => reply.clone(),
            None => vendor.unscripted(call, &answer_to(call.prompt())),
        }
    }
}

/// The only headers that any upstream has business to see; what it knows its client by comes on top.
const HEADERS: &[&str] =
    &["accept", "accept-encoding", "content-length", "content-type", "host", "user-agent"];

/// Returns what every upstream would not expect: headers beyond those, another content type, nulls, the wrong `accept`.
pub(super) fn usual_complaints(call: &Call, own_headers: &[&str]) -> Vec<String> {
    let mut complaints = Vec::new();
    let mut check = |is_well: bool, complaint: String| {
        if !is_well {
            complaints.push(complaint);
        }
    };
    for name in call.headers.keys().map(axum::http::HeaderName::as_str) {
        check(HEADERS.contains(&name) || own_headers.contains(&name), format!("header {name}"));
    }
    let accepted = if call.streams() { "text/event-stream" } else { "application/json" };
    check(call.header("accept") == accepted, format!("accept: {}", call.header("accept")));
    for (field, value) in call.body.as_object().into_iter().flatten() {
        check(!value.is_null(), format!("{field} is null"));
    }
    complaints
}
