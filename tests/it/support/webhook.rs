//! Whoever is told: a webhook on a real socket, which takes what is meant for it and nothing else.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex};

use axum::Router;
use axum::body::Bytes;
use axum::extract::State;
use axum::http::{HeaderMap, StatusCode, Uri};
use axum::routing::post;
use serde_json::Value;
use tokio::net::TcpListener;

use super::eventually;

/// A running webhook; ends with its test's runtime.
pub struct Webhook {
    address: String,
    state: Arc<Mutex<Record>>,
}

struct Record {
    /// Returns what a body says, if it is one to take.
    reads: fn(&Value) -> Option<String>,
    calls: usize,
    heard: Vec<String>,
    answers: VecDeque<u16>,
    is_silent: bool,
}

/// The part of the address that lets whoever knows it post.
pub const SECRET: &str = "T0000-SECRETMARK";

impl Webhook {
    /// Listens on a free port and takes what Slack takes.
    pub async fn start() -> Self {
        Self::reading(|body| {
            let text = body["text"].as_str().filter(|_| has_fields(body, 1));
            text.map(str::to_owned)
        })
        .await
    }

    /// Listens on a free port and takes the ends of jobs, as `ID STATUS`.
    pub async fn of_jobs() -> Self {
        Self::reading(|body| {
            let (id, status) = (body["id"].as_str()?, body["status"].as_str()?);
            has_fields(body, 2).then(|| format!("{id} {status}"))
        })
        .await
    }

    async fn reading(reads: fn(&Value) -> Option<String>) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = format!("http://{}/services/{SECRET}", listener.local_addr().unwrap());
        let state = Arc::new(Mutex::new(Record {
            reads,
            calls: 0,
            heard: Vec::new(),
            answers: VecDeque::new(),
            is_silent: false,
        }));
        let router = Router::new().route("/services/{secret}", post(take)).with_state(Arc::clone(&state));
        tokio::spawn(async move { axum::serve(listener, router).await });
        Self { address, state }
    }

    pub fn address(&self) -> &str {
        &self.address
    }

    /// Answers the next calls so, and takes nothing from those.
    pub fn fail(&self, statuses: &[u16]) {
        self.state.lock().unwrap().answers.extend(statuses);
    }

    /// Answers nobody from now on.
    pub fn fall_silent(&self) {
        self.state.lock().unwrap().is_silent = true;
    }

    /// Returns every message that it took.
    pub fn heard(&self) -> Vec<String> {
        self.state.lock().unwrap().heard.clone()
    }

    /// Returns how often it was called.
    pub fn calls(&self) -> usize {
        self.state.lock().unwrap().calls
    }

    /// Waits until it was called that often.
    pub async fn called(&self, times: usize) {
        eventually("a call of the webhook", async || (self.calls() >= times).then_some(())).await;
    }

    /// Waits for a message with this in it, and returns it.
    pub async fn hears(&self, part: &str) -> String {
        let found = async || self.heard().into_iter().find(|message| message.contains(part));
        eventually(&format!("a message about {part:?}"), found).await
    }
}

fn has_fields(body: &Value, count: usize) -> bool {
    body.as_object().is_some_and(|fields| fields.len() == count)
}

async fn take(
    State(state): State<Arc<Mutex<Record>>>,
    uri: Uri,
    headers: HeaderMap,
    body: Bytes,
) -> Result<&'static str, StatusCode> {
    let is_silent = {
        let mut record = state.lock().unwrap();
        record.calls += 1;
        record.is_silent
    };
    if is_silent {
        std::future::pending::<()>().await;
    }
    let mut record = state.lock().unwrap();
    if let Some(status) = record.answers.pop_front() {
        return Err(StatusCode::from_u16(status).unwrap());
    }
    let body: Value = serde_json::from_slice(&body).unwrap_or_default();
    let text = (record.reads)(&body);
    let is_right = uri.path().ends_with(SECRET) && headers["content-type"] == "application/json";
    let Some(text) = text.filter(|_| is_right) else {
        record.heard.push(format!("invalid_payload: {uri} {headers:?} {body}"));
        return Err(StatusCode::BAD_REQUEST);
    };
    record.heard.push(text);
    Ok("ok")
}
