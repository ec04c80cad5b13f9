//! What callers send by mistake or malice: refused with a 4xx that names the field or the limit, and nothing is lost.

use std::time::Instant;

use serde_json::{Value, json};

use crate::support::PATIENCE;
use crate::support::app::{TestApp, chat, with};
use crate::support::response::{Response, raw, raw_to_the_end};

const CHAT: &str = "/v1/chat/completions";
const GENERATE: &str = "/v1/generate";

/// Checks that a request was refused in OpenAI's shape of an error, which our own format shares, in words that name
/// what is wrong.
pub fn refused(response: &Response, status: u16, named: &str) {
    let text = response.text();
    assert_eq!(response.status, status, "{named}: {text}");
    assert_eq!(response.header("content-type"), "application/json");
    assert!(response.has_header("x-request-id"));
    let error = &response.json()["error"];
    for field in ["message", "type"] {
        assert!(error[field].is_string(), "{named}: {text}");
    }
    for field in ["param", "code"] {
        assert!(error.as_object().unwrap().contains_key(field), "{named}: {text}");
    }
    assert!(error["message"].as_str().unwrap().contains(named), "{named}: {text}");
}

/// Sends a text to an endpoint and checks that it was refused.
async fn refuses(app: &TestApp, path: &str, body: &str, named: &str) {
    refused(&app.post_text(path, &[], body).await, 400, named);
}

#[tokio::test]
async fn fault_63_a_body_that_is_no_json_is_refused_with_the_place() {
    let app = TestApp::exact().await;
    for path in [CHAT, GENERATE] {
        for body in [
            "",
            "{",
            "nonsense",
            "{\"prompt\": \"a\"} x",
            "{'prompt': 'a'}",
            "{\"prompt\": NaN}",
            "\u{feff}{}",
        ] {
            let response = app.post_text(path, &[], body).await;
            refused(&response, 400, "JSON");
        }
        for body in ["[]", "null", "\"text\"", "7"] {
            refuses(&app, path, body, "body").await;
        }
    }
    assert_eq!(app.upstream.calls(), 0);
}

#[tokio::test]
async fn a_field_of_the_wrong_type_is_named() {
    let app = TestApp::exact().await;
    for (field, value) in [
        ("model", json!(4)),
        ("messages", json!("hi")),
        ("messages", json!([])),
        ("temperature", json!("hot")),
        ("n", json!(0)),
        ("max_tokens", json!(-1)),
        ("max_tokens", json!(1.5)),
        ("stop", json!([1])),
        ("stream", json!("yes")),
        ("tools", json!({})),
        ("response_format", json!("json")),
        ("cache", json!({"ttl": 0})),
    ] {
        let response = app.chat(with(chat("q"), field, value)).await;
        refused(&response, 400, field);
        assert!(response.error("param").starts_with(field), "{}", response.text());
    }
    for (field, value) in [
        ("prompt", json!(4)),
        ("prompt", json!("")),
        ("prompt", json!("  \n")),
        ("system", json!(["s"])),
        ("max_tokens", json!(0)),
        ("temperature", json!([])),
        ("stream", json!(1)),
        ("promt", json!("a misspelt field is not dropped in silence")),
    ] {
        let response = app.post(GENERATE, &[], with(json!({"prompt": "q"}), field, value)).await;
        refused(&response, 400, field);
        assert_eq!(response.error("param"), field);
    }
    refuses(&app, GENERATE, "{}", "prompt").await;
    refuses(&app, CHAT, "{}", "messages").await;
    assert_eq!(app.upstream.calls(), 0);
}

#[tokio::test]
async fn fault_63_a_key_that_is_there_twice_is_refused() {
    let app = TestApp::exact().await;
    refuses(&app, GENERATE, r#"{"prompt": "a", "prompt": "b"}"#, "prompt").await;
    let nested = r#"{"messages": [{"role": "user", "content": "a", "content": "b"}]}"#;
    refuses(&app, CHAT, nested, "content").await;
    let unknown = r#"{"messages": [{"role": "user", "content": "a"}], "knob": {"x": 1, "x": 1}}"#;
    refuses(&app, CHAT, unknown, "x").await;
}

#[tokio::test]
async fn fault_63_a_hundred_thousand_levels_are_refused_and_the_server_lives() {
    let app = TestApp::exact().await;
    for (open, close) in [("[", "]"), ("{\"a\":", "}")] {
        let deep = format!("{}1{}", open.repeat(100_000), close.repeat(100_000));
        let body = format!(r#"{{"messages": [{{"role": "user", "content": "a"}}], "knob": {deep}}}"#);
        refuses(&app, CHAT, &body, "64").await;
        refuses(&app, GENERATE, &open.repeat(100_000), "64").await;
    }
    assert_eq!(app.generate("Still there?").await.status, 200);
}

#[tokio::test]
async fn fault_61_a_body_over_the_limit_is_refused_with_the_limit() {
    let app = TestApp::exact().await;
    let huge = format!("{{\"prompt\": \"{}\"}}", "a".repeat(50 << 20));
    let response = app.post_text(GENERATE, &[], &huge).await;
    refused(&response, 413, "8388608");
    let head = |more: &str| {
        format!(
            "POST {GENERATE} HTTP/1.1\r\nhost: localhost\r\ncontent-type: application/json\r\n{more}\r\n\r\n"
        )
    };
    // One that only claims to be large is not waited for, and nothing is allocated for it.
    let claimed = head("expect: 100-continue\r\ncontent-length: 999999999999");
    // One that says nothing of its length is read up to the limit.
    let flood =
        head("transfer-encoding: chunked") + &format!("100000\r\n{}\r\n", " ".repeat(1 << 20)).repeat(10);
    for request in [claimed, flood] {
        let response = raw(&app.public(), request.as_bytes()).await;
        refused(&response, 413, "8388608");
        assert_eq!(response.header("connection"), "close");
    }
    // What goes on after the length that was claimed is another request, and none that can be read.
    let short = head("content-length: 15") + "{\"prompt\": \"q\"}{\"prompt\": \"another\"}";
    let answers = raw_to_the_end(&app.public(), short.as_bytes()).await;
    assert!(answers.starts_with("HTTP/1.1 200 OK") && answers.contains("HTTP/1.1 400 "), "{answers}");
    assert_eq!(app.generate("Still there?").await.status, 200);
}

#[tokio::test]
async fn fault_62_what_is_too_long_is_refused_before_it_is_embedded() {
    let app = TestApp::with("server.max_body_bytes = 100000").await;
    let message = json!({"role": "user", "content": "a"});
    let many = with(chat(""), "messages", Value::from(vec![message; 2_049]));
    refused(&app.chat(many).await, 400, "2048");
    refused(&app.generate(&"long ".repeat(30_000)).await, 413, "100000");
    let embedded = "refrain_embed_duration_seconds_count";
    assert_eq!((app.metric(embedded).await, app.upstream.calls()), (0.0, 0));
    app.generate("Short enough?").await;
    app.counted(embedded, 1.0).await;
}

#[tokio::test]
async fn fault_63_lone_surrogates_and_bytes_that_are_no_text_are_refused() {
    let app = TestApp::exact().await;
    refuses(&app, GENERATE, r#"{"prompt": "a\ud800b"}"#, "hex escape at line 1 column").await;
    refuses(
        &app,
        CHAT,
        r#"{"messages": [{"role": "user", "content": "\udc00"}]}"#,
        "hex escape at line 1 column",
    )
    .await;
    for bytes in [&b"{\"prompt\": \"\xff\xfe\"}"[..], b"{\"prompt\": \"\xed\xa0\x80\"}"] {
        let mut request = format!(
            "POST {GENERATE} HTTP/1.1\r\nhost: localhost\r\ncontent-type: application/json\r\ncontent-length: {}\r\n\r\n",
            bytes.len()
        )
        .into_bytes();
        request.extend_from_slice(bytes);
        refused(&raw(&app.public(), &request).await, 400, "UTF-8");
    }
}

#[tokio::test]
async fn fault_63_a_nul_in_a_prompt_is_refused_or_answered_like_any_text() {
    let app = TestApp::exact().await;
    // RFC 8259 allows it; PostgreSQL's text does not. Whatever becomes of it, it must not be a failure of ours.
    let response = app.post_text(GENERATE, &[], r#"{"prompt": "a\u0000b"}"#).await;
    assert!(matches!(response.status, 200 | 400), "{}", response.text());
    if response.status == 200 {
        let again = app.post_text(GENERATE, &[], r#"{"prompt": "a\u0000b"}"#).await;
        assert_eq!(again.source(), "exact");
        assert_eq!(app.generate("ab").await.source(), "upstream");
    }
    refuses(&app, GENERATE, "{\"prompt\": \"a\u{0}b\"}", "JSON").await;
}

#[tokio::test]
async fn a_model_that_nobody_knows_is_404_naming_what_is_known() {
    let app = TestApp::with(
        "cache.mode = \"exact\"\n[[providers]]\nmodels = [\"parrot\"]\n[[routes]]\nmodel = \"fast\"\nchain = [\"fake/parrot\"]",
    )
    .await;
    for (path, body) in [
        (CHAT, with(chat("q"), "model", json!("nobody/else"))),
        (GENERATE, json!({"prompt": "q", "model": "nobody/else"})),
    ] {
        let response = app.post(path, &[], body).await;
        refused(&response, 404, "fast");
        assert_eq!(
            (response.error("code").as_str(), response.error("param").as_str()),
            ("model_not_found", "model")
        );
        assert!(response.text().contains("nobody/else"));
    }
}

#[tokio::test]
async fn cache_controls_out_of_range_are_refused_with_the_headers_name() {
    let app = TestApp::exact().await;
    for (header, values) in [
        ("x-cache-ttl", &["0", "31536001", "-1", "1.5", "soon", "", "99999999999999999999"][..]),
        ("x-cache-threshold", &["0", "-0.5", "1.01", "NaN", "inf", "high", ""]),
        ("x-cache-namespace", &["a b", "a/b", "ä", "", "a\"", &"a".repeat(65)]),
        ("x-cache-mode", &["fast", "", "OFF!"]),
        ("x-deadline-ms", &["-1", "soon", ""]),
        ("cache-control", &["max-age=soon", "max-stale=x"]),
    ] {
        for value in values {
            let response = app.generate_with("q", &[(header, value)]).await;
            refused(&response, 400, header);
            assert_eq!(response.error("param"), header, "{value}");
        }
    }
    for (field, value) in [
        ("ttl", json!(0)),
        ("ttl", json!(31_536_001)),
        ("namespace", json!("a b")),
        ("namespace", json!("")),
        ("no-cache", json!("yes")),
        ("typo", json!(1)),
    ] {
        let response = app.chat(with(chat("q"), "cache", json!({ field: value }))).await;
        refused(&response, 400, &format!("cache.{field}"));
    }
    assert_eq!(app.upstream.calls(), 0);
    for (header, value) in
        [("x-cache-ttl", "31536000"), ("x-cache-threshold", "1"), ("x-cache-namespace", "A.b_c-9")]
    {
        assert_eq!(app.generate_with("q", &[(header, value)]).await.status, 200, "{header}");
    }
}

#[tokio::test]
async fn fault_63_a_number_that_no_type_holds_and_very_many_keys() {
    let app = TestApp::exact().await;
    refuses(
        &app,
        CHAT,
        r#"{"messages": [{"role": "user", "content": "a"}], "temperature": 1e999}"#,
        "column",
    )
    .await;
    // Within the size limit, so it must be read in good time, whatever becomes of it.
    let keys: Vec<_> = (0..500_000).map(|at| format!("\"{at:x}\":1")).collect();
    let many = format!("{{\"prompt\": \"q\", \"x\": {{{}}}}}", keys.join(","));
    refuses(&app, GENERATE, &many, "`x`").await;
}

#[tokio::test]
async fn fault_65_a_name_with_line_ends_reaches_no_header() {
    let app = TestApp::exact().await;
    let response = app.chat(with(chat("q"), "model", json!("a\r\nx-evil: 1"))).await;
    assert!(
        !response.has_header("x-evil") && !response.has_header("x-model"),
        "{:?}",
        response.header_names()
    );
    assert!(app.upstream.heard().iter().all(|call| !call.headers.contains_key("x-evil")));
}

#[tokio::test]
async fn fault_70_a_deadline_of_nothing_is_a_hit_or_504_and_a_huge_one_is_cut_to_ours() {
    let app = TestApp::with("cache.mode = \"exact\"\nserver.request_timeout_ms = 200").await;
    let none = [("x-deadline-ms", "0")];
    assert_eq!(app.generate_with("q", &none).await.status, 504);
    assert_eq!(app.generate("q").await.status, 200);
    assert!(matches!(app.generate_with("q", &none).await.status, 200 | 504));
    let never = crate::support::reply::Gate::shut();
    app.upstream.always(crate::support::reply::Reply::text("late").held(&never));
    for deadline in ["18446744073709551615", "50"] {
        let began = Instant::now();
        let late = app.generate_with(&format!("Within {deadline}?"), &[("x-deadline-ms", deadline)]).await;
        assert_eq!((late.status, late.error("code").as_str()), (504, "deadline"));
        assert_eq!(late.header("x-should-retry"), "false");
        assert!(began.elapsed() < PATIENCE / 4, "{:?}", began.elapsed());
    }
}

#[tokio::test]
async fn an_odd_request_id_is_replaced_by_ours_and_a_sane_one_is_kept() {
    let app = TestApp::exact().await;
    for odd in ["a b", "a/b", "ä", "<script>", "", &"a".repeat(129)] {
        let id = app.generate_with("q", &[("x-request-id", odd)]).await.header("x-request-id").to_owned();
        assert_eq!(id.len(), 36, "{odd}: {id}");
    }
    for sane in ["req_1.A-z", &"a".repeat(128)] {
        assert_eq!(app.generate_with("q", &[("x-request-id", sane)]).await.header("x-request-id"), sane);
    }
    for bytes in ["x-request-id: a\rb", "x-cache-tags: a\rb", "x-task: a\r\n b", "x-task: a\u{0}b"] {
        let request = format!(
            "POST {GENERATE} HTTP/1.1\r\nhost: localhost\r\n{bytes}\r\ncontent-type: application/json\r\n\
             content-length: 15\r\n\r\n{{\"prompt\": \"q\"}}"
        );
        let response = raw(&app.public(), request.as_bytes()).await;
        assert_eq!(response.status, 400, "{bytes:?}");
    }
}

#[tokio::test]
async fn a_path_that_is_not_built_is_404_and_a_wrong_method_405() {
    let app = TestApp::exact().await;
    refused(&app.post("/v1/embeddings", &[], json!({})).await, 404, "[passthrough] provider");
    refused(&app.get("/nowhere").await, 404, "no such endpoint");
    refused(&app.get(GENERATE).await, 405, "GET");
}

#[tokio::test]
async fn an_administrators_mistakes_are_named_too() {
    let app = TestApp::exact().await;
    refused(&app.admin_post("/admin/invalidate", json!({})).await, 400, "tenant");
    refused(&app.admin_post("/admin/invalidate", json!({"tags": "a"})).await, 400, "tags");
    refused(
        &app.admin_post("/admin/explain", json!({"endpoint": "/v1/x", "body": {}})).await,
        400,
        "endpoint",
    );
    refused(&app.admin_get("/admin/entries?limit=0").await, 400, "limit");
    refused(&app.admin_get("/admin/entries/xyz").await, 400, "key");
    let unknown = format!("/admin/entries/{}", "ab".repeat(32));
    refused(&app.admin_get(&unknown).await, 404, "key");
}

#[tokio::test]
async fn refusals_lose_nothing() {
    let app = TestApp::exact().await;
    app.generate("What is a fjord?").await;
    for body in ["{", "{}", "[]", r#"{"prompt": 1}"#] {
        app.post_text(GENERATE, &[], body).await;
    }
    assert_eq!(app.generate("What is a fjord?").await.served_by(), "exact memory");
    assert_eq!(app.upstream.calls(), 1);
}
