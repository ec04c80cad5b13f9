//! Addresses in requests: nobody here ever goes to one.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use serde_json::{Value, json};
use tokio::net::{TcpListener, TcpStream};

use crate::support::eventually;
use crate::support::response::raw;
use crate::vendors::cast::{Cast, Manner, Said, VENDORS};

/// Somebody who only notices who comes.
struct Bait {
    address: SocketAddr,
    visits: Arc<AtomicUsize>,
}

impl Bait {
    async fn set() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let visits = Arc::new(AtomicUsize::new(0));
        let counted = Arc::clone(&visits);
        tokio::spawn(async move {
            while listener.accept().await.is_ok() {
                counted.fetch_add(1, Ordering::Relaxed);
            }
        });
        Self { address, visits }
    }

    fn url(&self) -> String {
        format!("http://{}/latest/meta-data", self.address)
    }

    /// Fails if anybody came. Comes once itself, which is noticed after whoever came before.
    async fn untouched(&self) {
        let _own = TcpStream::connect(self.address).await.unwrap();
        let visits = async || Some(self.visits.load(Ordering::Relaxed)).filter(|visits| *visits > 0);
        assert_eq!(eventually("a visit", visits).await, 1, "somebody went to an address in a request");
    }
}

/// Fields by which other servers were led to fetch something.
const BAITED: [&str; 12] = [
    "url",
    "uri",
    "base_url",
    "api_base",
    "endpoint",
    "proxy",
    "webhook",
    "webhook_url",
    "callback_url",
    "image_url",
    "file_url",
    "$ref",
];

/// Returns this value with the address in the place of each text in turn, and in fields that were not there.
fn everywhere(value: &Value, url: &str) -> Vec<Value> {
    let mut all = Vec::new();
    match value {
        Value::String(_) => vec![json!(url)],
        Value::Array(items) => {
            for (at, item) in items.iter().enumerate() {
                all.extend(everywhere(item, url).into_iter().map(|baited| {
                    let mut whole = value.clone();
                    whole[at] = baited;
                    whole
                }));
            }
            all
        }
        Value::Object(fields) => {
            for (name, field) in fields {
                all.extend(everywhere(field, url).into_iter().map(|baited| {
                    let mut whole = value.clone();
                    whole[name] = baited;
                    whole
                }));
            }
            let mut more = value.clone();
            for name in BAITED.iter().filter(|name| !fields.contains_key(**name)) {
                more[*name] = json!(url);
            }
            all.push(more);
            all
        }
        Value::Null | Value::Bool(_) | Value::Number(_) => all,
    }
}

/// A schema that its reader might want to complete.
fn schema() -> Value {
    json!({"$schema": "https://json-schema.org/draft/2020-12/schema", "$id": "s", "type": "object",
        "properties": {"a": {"$ref": "#/$defs/a"}}, "$defs": {"a": {"type": "integer"}}})
}

/// Requests of each endpoint in which an address may stand.
fn requests(model: &str) -> Vec<(&'static str, Value)> {
    let format = json!({"type": "json_schema", "json_schema": {"name": "n", "schema": schema()}});
    let tool = json!({"type": "function", "function": {"name": "f", "parameters": schema()}});
    let text = json!({"type": "text", "text": "t"});
    vec![
        (
            "/v1/generate",
            json!({"model": model, "system": "s", "prompt": "p", "task": "summary", "cache": {"namespace": "n"}}),
        ),
        (
            "/v1/chat/completions",
            json!({"model": model, "user": "u", "metadata": {"m": "m"}, "stop": "s", "response_format": format,
                "tools": [tool], "messages": [{"role": "system", "content": "s"}, {"role": "user", "name": "n", "content": [text,
                    {"type": "image_url", "image_url": {"url": "data:image/png;base64,AAAA", "detail": "low"}},
                    {"type": "file", "file": {"filename": "f", "file_data": "d"}}]}]}),
        ),
        (
            "/v1/responses",
            json!({"model": model, "instructions": "s", "store": false,
                "text": {"format": {"type": "json_schema", "name": "n", "schema": schema()}},
                "tools": [{"type": "mcp", "server_label": "l", "server_url": "u"}],
                "input": [{"role": "user", "content": [{"type": "input_text", "text": "t"},
                    {"type": "input_image", "image_url": "data:image/png;base64,AAAA"},
                    {"type": "input_file", "filename": "f", "file_url": "u"}]}]}),
        ),
        (
            "/v1/messages",
            json!({"model": model, "max_tokens": 9, "system": [text], "metadata": {"user_id": "u"},
                "mcp_servers": [{"type": "url", "name": "n", "url": "u"}],
                "tools": [{"name": "f", "input_schema": schema()}],
                "messages": [{"role": "user", "content": [text,
                    {"type": "image", "source": {"type": "url", "url": "u"}},
                    {"type": "document", "title": "t", "source": {"type": "url", "url": "u"}}]}]}),
        ),
        (
            "/v1/messages/count_tokens",
            json!({"model": model, "messages": [{"role": "user", "content": [text,
                {"type": "image", "source": {"type": "url", "url": "u"}}]}]}),
        ),
        ("/v1/feedback", json!({"request_id": "r", "verdict": "wrong"})),
        ("/v1/embeddings", json!({"model": "m", "input": "i"})),
    ]
}

/// Headers that might be read as where to go.
const HEADERS: [&str; 18] = [
    "x-job-webhook",
    "x-task",
    "x-request-id",
    "x-cache-namespace",
    "x-cache-tags",
    "x-base-url",
    "x-forwarded-host",
    "x-forwarded-for",
    "x-original-url",
    "x-rewrite-url",
    "forwarded",
    "via",
    "referer",
    "origin",
    "location",
    "proxy",
    "anthropic-beta",
    "openai-organization",
];

#[tokio::test]
async fn fault_69_no_address_in_a_request_is_ever_gone_to() {
    let bait = Bait::set().await;
    let cast = Cast::with("cache.mode = \"exact\"\npassthrough.provider = \"fake\"").await;
    // It reads like JSON, so that it is held against the schema.
    for vendor in VENDORS {
        cast.says(vendor, Said::Text("{\"a\": 1}"), &Manner::Plainly);
    }
    cast.take_anything();
    let app = &cast.app;
    for model in VENDORS.map(|vendor| vendor.model()) {
        for (path, body) in requests(model) {
            for baited in everywhere(&body, &bait.url()) {
                let response = app.post(path, &[], baited).await;
                assert!(response.has_header("x-request-id"), "{path}: {}", response.status);
            }
        }
    }
    let (url, ask) = (bait.url(), json!({"prompt": "p"}));
    for name in HEADERS {
        for more in [("prefer", "respond-async"), ("accept", "*/*")] {
            app.post("/v1/generate", &[(name, &url), more], ask.clone()).await;
        }
    }
    let address = bait.address;
    for target in [
        &format!("{url}/v1/generate"),
        &format!("/v1/{url}"),
        &format!("/v1//{address}/x"),
        &format!("/v1/@{address}/x"),
        &format!("/v1/..%2f..%2f@{address}/x"),
        &format!("/v1/files?url={url}"),
    ] {
        for host in ["localhost", &address.to_string()] {
            let request = format!(
                "POST {target} HTTP/1.1\r\nhost: {host}\r\nconnection: close\r\ncontent-type: application/json\r\n\
                 content-length: 2\r\n\r\n{{}}"
            );
            raw(&app.public(), request.as_bytes()).await;
        }
    }
    let explain = json!({"endpoint": "/v1/generate", "tenant": "t", "headers": {"x-task": "t"}, "body": {"prompt": "p"}});
    for (path, body) in [
        ("/admin/explain", explain),
        ("/admin/invalidate", json!({"tag": "t", "model": "m", "prompt_prefix": "p"})),
        ("/admin/feedback", json!({"request_id": "r", "verdict": "wrong"})),
        ("/admin/reload", json!({})),
    ] {
        for baited in everywhere(&body, &url) {
            app.admin_post(path, baited).await;
        }
    }
    cast.forgive();
    bait.untouched().await;
}
