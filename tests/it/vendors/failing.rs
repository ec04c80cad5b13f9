//! Failures of every vendor, as clients hear them in their dialects: a row for each class.

use serde_json::{Value, json};

use super::cast::{Cast, Vendor};
use super::client::Client;
use crate::support::reply::Reply;
use crate::support::response::Response;
use crate::support::{anthropic, gemini};

const PROMPT: &str = "What is a delta?";
/// Who has an error shape of its own; our own format has OpenAI's.
const CLIENTS: [Client; 3] = [Client::OpenAi, Client::Responses, Client::Anthropic];

/// What a failure comes to at our edge.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Edge {
    /// The caller's own mistake, with the vendor's words and OpenAI's code.
    Callers(u16, &'static str),
    /// Nobody can be asked now; with the wait where it is known.
    Nobody(Option<&'static str>),
    /// The upstream broke.
    Broken,
    /// The model that the caller named is not there.
    NoModel,
}

use Edge::*;

/// Words that only the caller's own mistakes may quote.
const WORDS: &str = "Some words about org-1.";

fn openai(status: u16, code: Option<&str>) -> Reply {
    Reply::error(status, WORDS, None, code)
}

fn claude(status: u16, kind: &str) -> anthropic::Reply {
    anthropic::Reply::error(status, kind, WORDS)
}

fn google(code: u16, status: &str) -> gemini::Reply {
    gemini::Reply::error(code, status, WORDS)
}

/// Fails as Google does, with a detail.
fn detailed(code: u16, status: &str, details: Value) -> gemini::Reply {
    let error = json!({"code": code, "message": WORDS, "status": status, "details": details});
    gemini::Reply::failing(code, json!({ "error": error }).to_string())
}

/// Asks a server that has seen nothing yet. A failure before the first word is a status for streams too.
async fn failed(client: Client, vendor: Vendor, edge: Edge, arrange: impl Fn(&Cast)) {
    let cast = Cast::exact().await;
    arrange(&cast);
    let mut body = client.ask(vendor.model(), PROMPT);
    body["stream"] = json!(client != Client::OpenAi);
    let response = cast.whole(client, body).await;
    check(client, vendor, edge, &response);
    assert!(response.header("x-upstream-attempts").starts_with(&format!("{};", vendor.model())));
    assert_eq!(cast.app.admin_get("/admin/stats").await.json()["memory"]["entries"], 0);
}

fn check(client: Client, vendor: Vendor, edge: Edge, response: &Response) {
    let what = format!("{client:?} {vendor:?} {edge:?}: {}", response.text());
    let [kind, code, message] = client.error(response);
    let (status, openai_kind, openai_code, anthropic_kind) = match edge {
        Callers(status, code) => (status, "invalid_request_error", code, "invalid_request_error"),
        Nobody(_) => (503, "server_error", "upstreams_unavailable", "overloaded_error"),
        Broken => (502, "server_error", "upstream_failed", "api_error"),
        NoModel => (404, "invalid_request_error", "model_not_found", "not_found_error"),
    };
    assert_eq!(response.status, status, "{what}");
    let expected = match client {
        Client::Anthropic => (anthropic_kind, ""),
        _ => (openai_kind, openai_code),
    };
    assert_eq!((kind.as_str(), code.as_str()), expected, "{what}");
    if !matches!(edge, Callers(..)) {
        assert!(!message.contains("org-1"), "{what}");
    }
    if let Nobody(wait) = edge {
        assert_eq!(response.header("retry-after"), wait.unwrap_or(""), "{what}");
        let may_wait = wait.is_some_and(|wait| wait.parse::<u64>().unwrap() <= 10);
        assert_eq!(response.has_header("x-should-retry"), !may_wait, "{what}");
    }
    if edge == Broken {
        assert_eq!(response.header("x-should-retry"), "false", "{what}");
    }
    if client == Client::Anthropic {
        let id = response.header("request-id");
        assert!(!id.is_empty() && id == response.header("x-request-id"), "{what}");
        assert_eq!(response.json()["request_id"], id, "{what}");
    } else {
        assert!(!response.has_header("request-id"), "{what}");
    }
}

/// Returns one client after the other.
fn in_turn() -> impl Iterator<Item = Client> {
    CLIENTS.into_iter().cycle()
}

#[tokio::test]
async fn every_dialect_has_a_shape_for_every_class() {
    for client in CLIENTS {
        for (reply, edge) in [
            (openai(400, Some("invalid_value")), Callers(400, "invalid_value")),
            (openai(429, None).header("retry-after", "7"), Nobody(Some("7"))),
            (openai(401, None), Nobody(None)),
            (openai(500, None), Broken),
            (openai(404, Some("model_not_found")), NoModel),
        ] {
            failed(client, Vendor::OpenAi, edge, |cast| cast.app.upstream.always(reply.clone())).await;
        }
    }
}

#[tokio::test]
async fn openais_failures() {
    for ((reply, edge), client) in [
        (openai(400, Some("invalid_value")), Callers(400, "invalid_value")),
        (openai(400, Some("unsupported_parameter")), Callers(400, "unsupported_parameter")),
        (openai(400, Some("context_length_exceeded")), Callers(400, "context_length_exceeded")),
        (openai(400, Some("content_policy_violation")), Callers(400, "content_filter")),
        (openai(413, None), Callers(400, "context_length_exceeded")),
        (openai(422, None), Callers(422, "")),
        (openai(401, Some("invalid_api_key")), Nobody(None)),
        (openai(402, None), Nobody(None)),
        (openai(403, None), Nobody(None)),
        (openai(404, Some("model_not_found")), NoModel),
        (openai(408, None), Broken),
        (openai(409, None), Broken),
        (openai(429, Some("rate_limit_exceeded")).header("retry-after", "7"), Nobody(Some("7"))),
        (openai(429, Some("rate_limit_exceeded")).header("retry-after-ms", "6500"), Nobody(Some("7"))),
        (openai(429, Some("rate_limit_exceeded")).header("retry-after", "60"), Nobody(Some("60"))),
        (openai(429, Some("rate_limit_exceeded")).header("retry-after", "NaN"), Nobody(None)),
        (openai(429, Some("insufficient_quota")), Nobody(None)),
        (openai(500, None), Broken),
        (openai(502, None), Broken),
        (openai(503, Some("server_is_overloaded")).header("retry-after", "8"), Nobody(Some("8"))),
        (openai(504, None), Broken),
        (Reply::failing(520, "<html>Web server is returning an unknown error</html>".to_owned()), Broken),
    ]
    .into_iter()
    .zip(in_turn())
    {
        failed(client, Vendor::OpenAi, edge, |cast| cast.app.upstream.always(reply.clone())).await;
    }
}

#[tokio::test]
async fn azures_failures() {
    let deployment = json!({"error": {"code": "DeploymentNotFound", "message": WORDS}}).to_string();
    let denied = json!({"error": {"code": "401", "message": WORDS}}).to_string();
    for ((reply, edge), client) in [
        (Reply::filtered_prompt(), Callers(400, "content_filter")),
        (Reply::failing(404, deployment), NoModel),
        (Reply::failing(401, denied), Nobody(None)),
        (openai(403, None), Nobody(None)),
        (openai(429, Some("429")).header("retry-after", "9"), Nobody(Some("9"))),
        (openai(500, None), Broken),
    ]
    .into_iter()
    .zip(in_turn())
    {
        failed(client, Vendor::AzureClassic, edge, |cast| cast.classic.always(reply.clone())).await;
        failed(client, Vendor::AzureV1, edge, |cast| cast.newer.always(reply.clone())).await;
    }
}

#[tokio::test]
async fn anthropics_failures() {
    let invalid = |message: &str| anthropic::Reply::error(400, "invalid_request_error", message);
    let spent = "You have reached your specified API usage limits, org-1.";
    for ((reply, edge), client) in [
        (claude(400, "invalid_request_error"), Callers(400, "")),
        (invalid("prompt is too long: 200001 tokens > 200000"), Callers(400, "context_length_exceeded")),
        (invalid(spent), Nobody(None)),
        (invalid("Your credit balance is too low, org-1."), Nobody(None)),
        (claude(401, "authentication_error"), Nobody(None)),
        (claude(402, "billing_error"), Nobody(None)),
        (claude(403, "permission_error"), Nobody(None)),
        (claude(404, "not_found_error"), NoModel),
        (claude(409, "conflict_error"), Broken),
        (claude(413, "request_too_large"), Callers(400, "context_length_exceeded")),
        (claude(429, "rate_limit_error").header("retry-after", "7"), Nobody(Some("7"))),
        (claude(429, "rate_limit_error"), Nobody(None)),
        (claude(500, "api_error"), Broken),
        (claude(504, "timeout_error"), Broken),
        (anthropic::Reply::overloaded(), Nobody(None)),
        (anthropic::Reply::overloaded().header("retry-after", "30"), Nobody(Some("30"))),
    ]
    .into_iter()
    .zip(in_turn())
    {
        failed(client, Vendor::Anthropic, edge, |cast| cast.claude.always(reply.clone())).await;
    }
}

#[tokio::test]
async fn geminis_failures() {
    let wait =
        |delay: &str| json!({"@type": "type.googleapis.com/google.rpc.RetryInfo", "retryDelay": delay});
    let quota = |id: &str| json!({"@type": "type.googleapis.com/google.rpc.QuotaFailure", "violations": [{"quotaId": id}]});
    let key = json!([{"@type": "type.googleapis.com/google.rpc.ErrorInfo", "reason": "API_KEY_INVALID"}]);
    let per_day = json!([quota("GenerateRequestsPerDayPerProjectPerModel"), wait("22s")]);
    for ((reply, edge), client) in [
        (google(400, "INVALID_ARGUMENT"), Callers(400, "400")),
        (gemini::Reply::error_in_list(400, "INVALID_ARGUMENT", WORDS), Callers(400, "400")),
        (detailed(400, "INVALID_ARGUMENT", key), Nobody(None)),
        (google(400, "FAILED_PRECONDITION"), Nobody(None)),
        (gemini::Reply::blocked("SAFETY"), Callers(400, "content_filter")),
        (google(402, "RESOURCE_EXHAUSTED"), Nobody(None)),
        (google(403, "PERMISSION_DENIED"), Nobody(None)),
        (google(404, "NOT_FOUND"), NoModel),
        (detailed(429, "RESOURCE_EXHAUSTED", json!([wait("6.4s")])), Nobody(Some("7"))),
        (detailed(429, "RESOURCE_EXHAUSTED", per_day), Nobody(None)),
        (google(429, "RESOURCE_EXHAUSTED"), Nobody(None)),
        (google(500, "INTERNAL"), Broken),
        (google(503, "UNAVAILABLE"), Nobody(None)),
        (google(504, "DEADLINE_EXCEEDED"), Broken),
        (gemini::Reply::parts(Vec::new(), Some("MALFORMED_FUNCTION_CALL")), Broken),
    ]
    .into_iter()
    .zip(in_turn())
    {
        failed(client, Vendor::Gemini, edge, |cast| cast.google.always(reply.clone())).await;
    }
}

#[tokio::test]
async fn a_model_that_only_a_route_names_is_our_business() {
    for (vendor, client) in [
        (Vendor::OpenAi, Client::Anthropic),
        (Vendor::Anthropic, Client::OpenAi),
        (Vendor::Gemini, Client::Responses),
    ] {
        let route =
            format!("cache.mode = \"exact\"\n[[routes]]\nmodel = \"fast\"\nchain = [\"{}\"]", vendor.model());
        let cast = Cast::with(&route).await;
        cast.app.upstream.always(openai(404, Some("model_not_found")));
        cast.claude.always(claude(404, "not_found_error"));
        cast.google.always(google(404, "NOT_FOUND"));
        let response = cast.whole(client, client.ask("fast", PROMPT)).await;
        check(client, vendor, Nobody(None), &response);
    }
}

#[tokio::test]
async fn what_we_refuse_ourselves_has_the_dialects_shape_too() {
    let cast = Cast::exact().await;
    for client in CLIENTS {
        let unknown = cast.whole(client, client.ask("nobody/nothing", PROMPT)).await;
        check(client, Vendor::OpenAi, NoModel, &unknown);
        let mut wrong = client.ask(Vendor::OpenAi.model(), PROMPT);
        wrong["temperature"] = json!("hot");
        let refused = cast.whole(client, wrong).await;
        check(client, Vendor::OpenAi, Callers(400, ""), &refused);
        assert!(refused.text().contains("`temperature` must be a number"), "{}", refused.text());
    }
    assert_eq!(cast.calls(), 0);
}
