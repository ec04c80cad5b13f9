//! Without keys: programs on this machine are answered, and no web page, no foreign name and no smuggled request.

use serde_json::json;

use crate::bad_input::refused;
use crate::support::app::TestApp;
use crate::support::response::{raw, raw_to_the_end};

const GENERATE: &str = "/v1/generate";

#[tokio::test]
async fn fault_66_two_lengths_for_one_body_end_the_connection() {
    let app = TestApp::exact().await;
    let body = "0\r\n\r\nGET /health/live HTTP/1.1\r\nhost: localhost\r\n\r\n";
    let both = format!(
        "POST {GENERATE} HTTP/1.1\r\nhost: localhost\r\ncontent-type: application/json\r\n\
         content-length: {}\r\ntransfer-encoding: chunked\r\n\r\n{body}",
        body.len()
    );
    let seen = raw_to_the_end(&app.public(), both.as_bytes()).await;
    assert_eq!(seen.matches("HTTP/1.1 ").count(), 1, "a smuggled request was answered: {seen}");
    assert!(seen.starts_with("HTTP/1.1 400 "), "{seen}");
    let twice = format!(
        "POST {GENERATE} HTTP/1.1\r\nhost: localhost\r\ncontent-length: 2\r\ncontent-length: 3\r\n\r\n{{}}x"
    );
    let seen = raw_to_the_end(&app.public(), twice.as_bytes()).await;
    assert!(seen.starts_with("HTTP/1.1 400 "), "{seen}");
}

#[tokio::test]
async fn without_keys_only_json_is_taken() {
    let app = TestApp::exact().await;
    for content_type in
        ["text/plain", "application/x-www-form-urlencoded", "multipart/form-data; boundary=x", ""]
    {
        let header =
            if content_type.is_empty() { String::new() } else { format!("content-type: {content_type}\r\n") };
        let request = format!(
            "POST {GENERATE} HTTP/1.1\r\nhost: localhost\r\n{header}content-length: 15\r\n\r\n{{\"prompt\": \"q\"}}"
        );
        refused(&raw(&app.public(), request.as_bytes()).await, 415, "content-type");
        let admin = request.replace(GENERATE, "/admin/invalidate");
        refused(&raw(&app.admin(), admin.as_bytes()).await, 415, "content-type");
    }
    assert_eq!(app.upstream.calls(), 0);
}

#[tokio::test]
async fn a_packed_body_is_refused() {
    let app = TestApp::exact().await;
    refused(&app.generate_with("q", &[("content-encoding", "gzip")]).await, 415, "content-encoding");
}

#[tokio::test]
async fn fault_68_no_foreign_page_and_no_foreign_name_is_answered() {
    let app = TestApp::exact().await;
    for origin in ["https://evil.example", "http://localhost:1", "null"] {
        refused(&app.generate_with("q", &[("origin", origin)]).await, 403, "origin");
    }
    for host in ["evil.example", "evil.example:8080", "169.254.169.254", "127.0.0.1.evil.example"] {
        refused(&app.generate_with("q", &[("host", host)]).await, 403, "host");
    }
    let own = app.public();
    assert_eq!(app.generate_with("q", &[("origin", own.as_str())]).await.status, 200);
    assert_eq!(app.generate_with("q", &[("host", "localhost")]).await.status, 200);
    for listener in [app.public(), app.admin()] {
        let request = "GET /health/live HTTP/1.1\r\nhost: evil.example\r\n\r\n";
        assert_eq!(raw(&listener, request.as_bytes()).await.status, 403);
        let request = "GET /health/live HTTP/1.1\r\nhost: localhost\r\norigin: https://evil.example\r\n\r\n";
        assert_eq!(raw(&listener, request.as_bytes()).await.status, 403);
    }
    assert_eq!(app.upstream.calls(), 1);
}

#[tokio::test]
async fn fault_68_administration_is_not_on_the_public_listener() {
    let app = TestApp::exact().await;
    for path in ["/metrics", "/admin/stats", "/admin/entries"] {
        assert_eq!(app.get(path).await.status, 404, "{path}");
    }
    let response = app.post("/admin/invalidate", &[], json!({"older_than_seconds": 0})).await;
    assert_eq!(response.status, 404);
    for path in ["/health/live", "/health/ready"] {
        assert_eq!(app.get(path).await.status, 200, "{path}");
        assert_eq!(app.admin_get(path).await.status, 200, "{path}");
    }
}
