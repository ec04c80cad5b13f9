//! `[passthrough]`: other `/v1/*` paths go to one provider as they come, with its key and nothing of the caller's.

use std::sync::{Arc, Mutex};

use axum::body::{Body, Bytes};
use axum::http::{HeaderMap, Method, Uri};
use axum::response::Response as Reply;
use serde_json::{Value, json};
use tokio::net::TcpListener;

use crate::support::app::TestApp;
use crate::support::reply::Gate;
use crate::support::upstream::KEY;

/// What the vendor was sent.
#[derive(Clone, Debug)]
struct Heard {
    method: Method,
    uri: Uri,
    headers: HeaderMap,
    body: Bytes,
}

/// A vendor with endpoints that we know nothing of.
struct Vendor {
    base_url: String,
    heard: Arc<Mutex<Vec<Heard>>>,
    gate: Gate,
}

impl Vendor {
    async fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let base_url = format!("http://{}/api/v1", listener.local_addr().unwrap());
        let heard = Arc::new(Mutex::new(Vec::new()));
        let gate = Gate::shut();
        let (list, held) = (Arc::clone(&heard), gate.clone());
        let router =
            axum::Router::new().fallback(move |method: Method, uri: Uri, headers: HeaderMap, body: Bytes| {
                list.lock().unwrap().push(Heard { method, uri: uri.clone(), headers, body });
                let held = held.clone();
                async move { answer(&uri, held) }
            });
        tokio::spawn(async move { axum::serve(listener, router).await });
        Self { base_url, heard, gate }
    }

    fn last(&self) -> Heard {
        self.heard.lock().unwrap().last().unwrap().clone()
    }
}

fn answer(uri: &Uri, gate: Gate) -> Reply {
    let json = |status: u16, body: Value| {
        let reply = Reply::builder().status(status).header("content-type", "application/json");
        reply
            .header("x-ratelimit-remaining-requests", "7")
            .header("set-cookie", "a=b")
            .header("x-request-id", "theirs")
            .body(Body::from(body.to_string()))
            .unwrap()
    };
    match uri.path() {
        "/api/v1/embeddings" => json(200, json!({"object": "list", "data": []})),
        "/api/v1/files/nobody" => json(404, json!({"error": {"message": "no such file"}})),
        "/api/v1/forbidden" => {
            json(401, json!({"error": {"message": "Incorrect API key provided: sk-ours"}}))
        }
        "/api/v1/moved" => Reply::builder().status(307).header("location", "/x").body(Body::empty()).unwrap(),
        "/api/v1/audio/speech" => {
            let rest = futures_util::stream::once(async move {
                gate.passed().await;
                Ok::<_, std::io::Error>(Bytes::from_static(b"second"))
            });
            let first = futures_util::stream::iter([Ok(Bytes::from_static(b"first "))]);
            let body = Body::from_stream(futures_util::StreamExt::chain(first, rest));
            Reply::builder().header("content-type", "audio/mpeg").body(body).unwrap()
        }
        "/api/v1/broken" => {
            let cut = futures_util::stream::once(async move {
                gate.passed().await;
                Err(std::io::Error::other("cut"))
            });
            let first = futures_util::stream::iter([Ok(Bytes::from_static(b"half"))]);
            Reply::new(Body::from_stream(futures_util::StreamExt::chain(first, cut)))
        }
        path => json(200, json!({"path": path})),
    }
}

async fn app(vendor: &Vendor) -> TestApp {
    TestApp::with(&format!(
        "cache.mode = \"exact\"\n[passthrough]\nprovider = \"other\"\n[[providers]]\nname = \"other\"\n\
         kind = \"openai_compatible\"\nbase_url = \"{}\"\napi_key_env = \"FAKE_KEY\"",
        vendor.base_url
    ))
    .await
}

#[tokio::test]
async fn without_a_provider_for_it_another_path_is_a_404_that_names_the_key() {
    let app = TestApp::exact().await;
    let answered = app.post("/v1/embeddings", &[], json!({"input": "x"})).await;
    assert_eq!(answered.status, 404);
    assert!(answered.error("message").contains("[passthrough] provider"), "{}", answered.text());
}

#[tokio::test]
async fn a_call_goes_through_as_it_is_with_the_providers_key_and_nothing_of_the_callers() {
    let vendor = Vendor::start().await;
    let app = app(&vendor).await;
    let headers = [
        ("authorization", "Bearer sk-of-the-caller"),
        ("cookie", "session=1"),
        ("x-cache-mode", "exact"),
        ("openai-beta", "assistants=v2"),
    ];
    let sent = json!({"model": "m", "input": ["a", "b"]});
    let answered = app.post("/v1/embeddings?a=b%2Fc", &headers, sent.clone()).await;
    assert_eq!((answered.status, answered.json()["object"].as_str()), (200, Some("list")));
    assert_eq!(answered.header("x-ratelimit-remaining-requests"), "7");
    assert_eq!(answered.header("cache-status"), "refrain; fwd=bypass");
    assert_eq!(answered.header("x-provider"), "other");
    assert!(!answered.has_header("set-cookie"));
    assert_ne!(answered.header("x-request-id"), "theirs");

    let heard = vendor.last();
    assert_eq!((heard.method, heard.uri.to_string().as_str()), (Method::POST, "/api/v1/embeddings?a=b%2Fc"));
    assert_eq!(serde_json::from_slice::<Value>(&heard.body).unwrap(), sent);
    assert_eq!(heard.headers["openai-beta"], "assistants=v2");
    assert!(!heard.headers.contains_key("cookie") && !heard.headers.contains_key("x-cache-mode"));
    assert_eq!(heard.headers["authorization"], format!("Bearer {KEY}"));
    // Nothing of it is kept.
    app.post("/v1/embeddings?a=b%2Fc", &[], sent).await;
    assert_eq!(vendor.heard.lock().unwrap().len(), 2);
}

#[tokio::test]
async fn a_body_comes_piece_by_piece() {
    let vendor = Vendor::start().await;
    let app = app(&vendor).await;
    let mut streamed = app.stream("/v1/audio/speech", json!({"input": "x"})).await;
    assert_eq!(streamed.headers["content-type"], "audio/mpeg");
    streamed.read_until("first ").await;
    vendor.gate.open();
    assert_eq!(streamed.rest().await.text(), "first second");
}

#[tokio::test]
async fn what_the_vendor_says_of_the_request_is_the_callers_and_what_it_says_of_our_account_is_not() {
    let vendor = Vendor::start().await;
    let app = app(&vendor).await;
    let missing = app.get("/v1/files/nobody").await;
    assert_eq!((missing.status, missing.error("message").as_str()), (404, "no such file"));
    assert_eq!(vendor.last().method, Method::GET);
    for path in ["/v1/forbidden", "/v1/moved"] {
        let refused = app.get(path).await;
        assert!(refused.status >= 502, "{path} {}", refused.status);
        assert!(!refused.text().contains("sk-ours") && !refused.has_header("location"), "{}", refused.text());
    }
}

#[tokio::test]
async fn a_path_that_leads_out_of_the_api_goes_nowhere() {
    let vendor = Vendor::start().await;
    let app = app(&vendor).await;
    // HTTP clients take `..` away themselves, so the bytes are written by hand.
    let head = "GET /v1/files/%2e%2e/%2e%2e/admin HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\n\r\n";
    let refused = crate::support::response::raw(&app.public(), head.as_bytes()).await;
    assert_eq!(refused.status, 400, "{}", refused.text());
    assert!(vendor.heard.lock().unwrap().is_empty());
}

#[tokio::test]
async fn without_keys_only_json_and_forms_are_taken() {
    let vendor = Vendor::start().await;
    let app = app(&vendor).await;
    let form = [("content-type", "multipart/form-data; boundary=x")];
    assert_eq!(app.post_text("/v1/files", &form, "--x--").await.status, 200);
    assert_eq!(vendor.last().headers["content-type"], "multipart/form-data; boundary=x");
    assert_eq!(app.post_text("/v1/files", &[("content-type", "text/plain")], "x").await.status, 415);
}

#[tokio::test]
async fn a_body_that_breaks_off_is_not_passed_on_as_a_whole_one() {
    let vendor = Vendor::start().await;
    let app = app(&vendor).await;
    let mut streamed = app.stream("/v1/broken", json!({})).await;
    streamed.read_until("half").await;
    vendor.gate.open();
    assert!(streamed.breaks_off().await);
}
