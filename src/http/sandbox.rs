//! An upstream inside the process that speaks OpenAI's format, for a first try without a key, load tests and drills.
//!
//! It listens on a loopback port of its own behind a key made at each start, and is reached through transport,
//! provider and router like any other: no special case anywhere else. What it answers is made from the prompt alone,
//! so that equal prompts are answered equally and different ones differently.

use std::convert::Infallible;
use std::io;
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::body::{Body, Bytes};
use axum::extract::{Request, State};
use axum::http::StatusCode;
use axum::middleware::from_fn_with_state;
use axum::response::{IntoResponse, Response};
use axum::routing::post;
use futures_util::stream;
use tokio::net::TcpListener;

use super::auth::{Door, Keys, admit};
use super::body::{self, BodyLimits};
use super::clock::unix_millis;
use super::error::HttpError;
use super::headers;
use super::listener::{Limits, Shutdown, serve};
use crate::chat::{ChatRequest, ChatResponse, Choice, Delta, FinishReason, Part, Usage};
use crate::config::{AuthConfig, KeyScope, SandboxConfig, Secret};
use crate::wire::openai::{self, ChunkEncoder};
use crate::wire::{Asked, Delivery};

/// The largest body it takes: more than the public listener ever lets through.
const BODY: BodyLimits = BodyLimits { bytes: 1 << 30, time: Duration::from_secs(30), is_json_only: true };

/// The sandbox, listening.
#[derive(Debug)]
pub struct Sandbox {
    listener: TcpListener,
    address: SocketAddr,
    key: Secret,
    config: SandboxConfig,
}

impl Sandbox {
    /// Opens a loopback port and makes a key for it.
    ///
    /// # Errors
    /// When the system has no port left.
    pub async fn bind(config: SandboxConfig) -> io::Result<Self> {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await?;
        let address = listener.local_addr()?;
        let key = Secret::new(hex::encode(rand::random::<[u8; 32]>()));
        Ok(Self { listener, address, key, config })
    }

    /// Returns the address for the provider that asks it.
    pub fn base_url(&self) -> String {
        format!("http://{}/v1", self.address)
    }

    /// Returns the key for the provider that asks it.
    pub fn key(&self) -> Secret {
        self.key.clone()
    }

    /// Answers until `shutdown` says otherwise. It should end after the public listener, whose requests it serves.
    pub async fn serve(self, shutdown: Shutdown) {
        let auth = AuthConfig { keys: Vec::new(), environment_key: Some(self.key) };
        let keys = Keys::public(&auth);
        let door = Door { keys, scopes: &[KeyScope::Generate], is_metered: false, telemetry: None };
        let door = Arc::new(door);
        let router = Router::new()
            .route("/v1/chat/completions", post(complete))
            .route_layer(from_fn_with_state(door, admit))
            .with_state(self.config);
        serve(self.listener, router, Limits::default(), shutdown).await;
    }
}

async fn complete(State(config): State<SandboxConfig>, request: Request) -> Result<Response, HttpError> {
    let (parts, body) = request.into_parts();
    let bytes = body::read(&parts.headers, body, BODY).await?;
    let Asked { request, delivery, .. } = openai::parse_request(&bytes)?;
    tokio::time::sleep(Duration::from_millis(config.latency_ms)).await;
    if rand::random::<f64>() < config.failure_rate {
        let error =
            HttpError::refused(StatusCode::SERVICE_UNAVAILABLE, "the sandbox was told to fail at times");
        return Ok(error.into_response());
    }
    let answer = answer(&request);
    let mut response = Response::new(Body::empty());
    if delivery.stream {
        headers::write_stream_type(response.headers_mut());
        *response.body_mut() = streamed(&answer, &delivery);
    } else {
        headers::write_json_type(response.headers_mut());
        *response.body_mut() = Body::from(openai::encode_response(&answer));
    }
    Ok(response)
}

/// Returns the answer in pieces of one word each.
fn streamed(answer: &ChatResponse, delivery: &Delivery) -> Body {
    let mut encoder = ChunkEncoder::new(delivery.include_usage);
    let mut pieces = Vec::new();
    let mut push = |delta: &Delta| {
        let mut out = Vec::new();
        encoder.push(delta, &mut out);
        pieces.push(out);
    };
    for delta in answer.deltas() {
        match delta {
            // Replaced by what follows: a replayed text is cut by length.
            Delta::Text { .. } => {}
            Delta::Finish { choice, reason } => {
                for word in answer.text().split_inclusive(' ') {
                    push(&Delta::Text { choice, text: word.to_owned() });
                }
                push(&Delta::Finish { choice, reason });
            }
            other => push(&other),
        }
    }
    let mut end = Vec::new();
    encoder.finish(&mut end);
    pieces.push(end);
    let pieces = pieces.into_iter().filter(|piece| !piece.is_empty());
    Body::from_stream(stream::iter(pieces.map(|piece| Ok::<_, Infallible>(Bytes::from(piece)))))
}

fn answer(request: &ChatRequest) -> ChatResponse {
    let prompt = asked(request);
    let whole = text(&prompt);
    let limit = request.limit.map_or(usize::MAX, |limit| limit.tokens as usize);
    let text: String = whole.split_inclusive(' ').take(limit).collect();
    let finish = if text.len() < whole.len() { FinishReason::Length } else { FinishReason::Stop };
    let choice = |index| Choice {
        index,
        content: vec![Part::Text(text.trim_end().to_owned())],
        finish: Some(finish.clone()),
        ..Choice::default()
    };
    let usage = Usage { prompt_tokens: words(&prompt), completion_tokens: words(&text), ..Usage::default() };
    ChatResponse {
        id: format!("sandbox-{}", &blake3::hash(prompt.as_bytes()).to_hex()[..16]),
        created: unix_millis() / 1000,
        model: request.model.clone().unwrap_or_default(),
        choices: (0..request.choices()).map(choice).collect(),
        usage: Some(usage),
        ..ChatResponse::default()
    }
}

/// Returns every text of the conversation, a line each.
fn asked(request: &ChatRequest) -> String {
    let parts = request.messages.iter().flat_map(|message| &message.content);
    let texts = parts.filter_map(Part::text);
    texts.collect::<Vec<_>>().join("\n")
}

/// A word for a token, roughly.
fn words(text: &str) -> u64 {
    text.split_whitespace().count() as u64
}

/// Words that may stand in any order.
const WORDS: [&str; 32] = [
    "amber", "basin", "cedar", "delta", "ember", "fjord", "grove", "harbor", "inlet", "juniper", "kelp",
    "lagoon", "meadow", "nectar", "orchard", "pebble", "quartz", "ridge", "saffron", "thicket", "umber",
    "valley", "willow", "yarrow", "zephyr", "birch", "coral", "dune", "fern", "glade", "heath", "islet",
];

/// Returns a text of 30 to 60 words that depends on the prompt alone: its last line's beginning, and words drawn by
/// its digest, so that no two prompts share one.
fn text(prompt: &str) -> String {
    let digest = blake3::hash(prompt.as_bytes());
    let last = prompt.lines().last().unwrap_or("");
    let beginning: Vec<_> = last.split_whitespace().take(8).collect();
    let drawn: Vec<_> = digest.as_bytes()[..20].iter().map(|byte| WORDS[usize::from(byte % 32)]).collect();
    format!(
        "This is the sandbox, and no model was asked. Your prompt of {} words ends with a line that begins \"{}\". \
         Made from it: {}.",
        words(prompt),
        beginning.join(" "),
        drawn.join(" ")
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn equal_prompts_are_answered_equally_and_others_otherwise() {
        assert_eq!(text("What is a fjord?"), text("What is a fjord?"));
        assert_ne!(text("What is a fjord?"), text("What is a fjord"));
        for prompt in ["", "x", &"many words ".repeat(100)] {
            assert!((20..=60).contains(&words(&text(prompt))), "{}", text(prompt));
        }
    }

    #[test]
    fn the_output_limit_cuts_the_answer_and_says_so() {
        let mut request = ChatRequest::from_prompt("hello");
        assert_eq!(answer(&request).choices[0].finish, Some(FinishReason::Stop));
        request.limit =
            Some(crate::chat::OutputLimit { tokens: 3, spelling: crate::chat::LimitSpelling::MaxTokens });
        let cut = answer(&request);
        assert_eq!(cut.text(), "This is the");
        assert_eq!(cut.choices[0].finish, Some(FinishReason::Length));
        assert_eq!(cut.usage.map(|usage| usage.completion_tokens), Some(3));
    }
}
