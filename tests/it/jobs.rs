//! Generations in the background: promised after their commit, run to one end, seen by their tenant alone.

use std::time::Duration;

use serde_json::{Value, json};
use sha2::{Digest, Sha256};

use crate::support::app::{TestApp, chat};
use crate::support::eventually;
use crate::support::reply::{Gate, Reply, answer_to};
use crate::support::response::Response;
use crate::support::webhook::Webhook;

const PROMPT: &str = "Tell me a long story about a lighthouse.";
const OTHER: &str = "Tell me another story, about a ferry.";
const EXACT: &str = "cache.mode = \"exact\"\n";
const ONE_AT_A_TIME: &str = "cache.mode = \"exact\"\njobs.concurrency = 1\n";
const ASYNC: (&str, &str) = ("prefer", "respond-async");

impl TestApp {
    /// Has a prompt answered in the background, and returns where to look for it.
    async fn job(&self, prompt: &str) -> String {
        self.job_with(prompt, &[]).await
    }

    async fn job_with(&self, prompt: &str, headers: &[(&str, &str)]) -> String {
        let headers: Vec<_> = headers.iter().copied().chain([ASYNC]).collect();
        let accepted = self.generate_with(prompt, &headers).await;
        assert_eq!(accepted.status, 202, "{}", accepted.text());
        accepted.header("location").to_owned()
    }

    /// Looks at a job until it is over.
    async fn over(&self, location: &str) -> Value {
        eventually("the end of a job", async || {
            let job = self.get(location).await.json();
            (!matches!(job["status"].as_str(), Some("queued" | "running"))).then_some(job)
        })
        .await
    }

    async fn status(&self, location: &str) -> String {
        self.get(location).await.json()["status"].as_str().unwrap().to_owned()
    }
}

#[tokio::test]
async fn a_job_is_promised_then_runs_and_ends_as_generate_would_have_answered() {
    let app = TestApp::with(EXACT).await;
    let gate = Gate::shut();
    app.upstream.on_prompt(PROMPT, Reply::text("Once upon a time.").held(&gate));
    let accepted =
        app.generate_with(PROMPT, &[("prefer", "wait=5, Respond-Async"), ("x-request-id", "mine")]).await;
    assert_eq!(accepted.status, 202);
    assert_eq!(accepted.header("preference-applied"), "respond-async");
    assert_eq!(accepted.header("retry-after"), "1");
    assert_eq!(accepted.header("x-request-id"), "mine");
    let promised = accepted.json();
    assert_eq!(promised["status"], "queued");
    let location = accepted.header("location");
    assert_eq!(location, format!("/v1/jobs/{}", promised["id"].as_str().unwrap()));

    app.upstream.called(1).await;
    let running = app.get(location).await;
    assert_eq!((running.status, running.header("retry-after")), (200, "1"));
    let running = running.json();
    assert_eq!(running["status"], "running");
    assert_eq!((&running["id"], &running["created_at"]), (&promised["id"], &promised["created_at"]));
    assert_eq!((&running["result"], &running["error"]), (&Value::Null, &Value::Null));

    gate.open();
    let done = app.over(location).await;
    assert_eq!((&done["status"], &done["error"]), (&json!("done"), &Value::Null));
    assert!(!app.get(location).await.has_header("retry-after"));
    let result = &done["result"];
    assert_eq!((&result["text"], &result["source"]), (&json!("Once upon a time."), &json!("upstream")));
    assert_eq!(result["cache"]["entry"], result["cache"]["key"], "it was stored");
    let answered = app.generate(PROMPT).await;
    assert_eq!(answered.served_by(), "exact memory");
    let fields = |value: &Value| value.as_object().unwrap().keys().cloned().collect::<Vec<_>>();
    assert_eq!(fields(result), fields(&answered.json()));
    assert_eq!(app.upstream.calls(), 1);
    assert_eq!(app.metric("refrain_jobs_total{outcome=\"done\"}").await, 1.0);
}

#[tokio::test]
async fn what_cannot_become_a_job_is_refused_at_once() {
    let app = TestApp::with(&format!("{EXACT}[[providers]]\nmodels = [\"parrot\"]")).await;
    let refused = async |body: Value, headers: &[(&str, &str)]| -> Response {
        let headers: Vec<_> = headers.iter().copied().chain([ASYNC]).collect();
        app.post("/v1/generate", &headers, body).await
    };
    let field = async |body: Value| {
        let refused = refused(body, &[]).await;
        (refused.status, refused.error("param"))
    };
    assert_eq!(field(json!({})).await, (400, "prompt".into()));
    assert_eq!(field(json!({"prompt": PROMPT, "stream": true})).await, (400, "stream".into()));
    assert_eq!(field(json!({"prompt": PROMPT, "model": "fake/owl"})).await, (404, "model".into()));
    let ttl = refused(json!({"prompt": PROMPT}), &[("x-cache-ttl", "soon")]).await;
    assert_eq!((ttl.status, ttl.error("param")), (400, "x-cache-ttl".into()));
    let hook = refused(json!({"prompt": PROMPT}), &[("x-job-webhook", "https://evil.example")]).await;
    assert_eq!((hook.status, hook.error("param")), (400, "x-job-webhook".into()));
    assert!(hook.error("message").contains("jobs.webhooks"), "{}", hook.text());
    for path in ["/v1/jobs/00000000-0000-4000-8000-000000000000", "/v1/jobs/mine"] {
        assert_eq!((app.get(path).await.status, app.delete(path).await.status), (404, 404), "{path}");
    }
    assert_eq!(app.metric("refrain_jobs{state=\"queued\"}").await, 0.0);
    assert_eq!(app.upstream.calls(), 0);
}

#[tokio::test]
async fn other_endpoints_answer_at_once_whatever_is_preferred() {
    let app = TestApp::with(EXACT).await;
    let answered = app.chat_with(chat(PROMPT), &[ASYNC]).await;
    assert_eq!((answered.status, answered.answer()), (200, answer_to(PROMPT)));
    assert!(!answered.has_header("preference-applied"));
}

#[tokio::test]
async fn a_job_that_fails_keeps_the_error_that_generate_would_have_sent() {
    let app = TestApp::with(EXACT).await;
    let message = "Your input was flagged.";
    app.upstream.always(Reply::error(400, message, None, Some("content_policy_violation")));
    let failed = app.over(&app.job(PROMPT).await).await;
    assert_eq!((&failed["status"], &failed["result"]), (&json!("failed"), &Value::Null));
    assert_eq!(failed["error"], app.generate(PROMPT).await.json()["error"]);
    assert_eq!(failed["error"]["message"], message);
    assert_eq!(app.metric("refrain_jobs_total{outcome=\"failed\"}").await, 1.0);
}

#[tokio::test]
async fn a_job_is_an_answer_or_a_failure_and_never_a_makeshift() {
    let ladder = "degrade.ladder = [\"static\"]\ndegrade.static = {default = \"Please try again later.\"}\n";
    let app = TestApp::with(&format!("{EXACT}{ladder}")).await;
    app.upstream.always(Reply::error(500, "broken", None, None));
    assert_eq!(app.generate(PROMPT).await.source(), "static", "who waits is told something");
    let failed = app.over(&app.job(OTHER).await).await;
    assert_eq!((&failed["status"], &failed["result"]), (&json!("failed"), &Value::Null));
}

#[tokio::test]
async fn a_job_has_the_time_of_a_stream_and_not_that_of_a_caller() {
    let app = TestApp::with("cache.mode = \"exact\"\nserver.request_timeout_ms = 200").await;
    let gate = Gate::shut();
    app.upstream.always(Reply::text("At last.").held(&gate));
    let location = app.job(PROMPT).await;
    app.upstream.called(1).await;
    let waited = app.generate(OTHER).await;
    assert_eq!((waited.status, waited.error("code")), (504, "deadline".into()));
    assert_eq!(app.status(&location).await, "running");
    let hurried = app.job_with("And a third?", &[("x-deadline-ms", "50")]).await;
    assert_eq!(app.over(&hurried).await["error"]["code"], "deadline", "a wish is a wish");
    gate.open();
    assert_eq!(app.over(&location).await["result"]["text"], "At last.");
}

#[tokio::test]
async fn what_is_wished_of_the_cache_holds_for_a_job() {
    let app = TestApp::with(EXACT).await;
    let wishes = [
        ("x-cache-namespace", "docs"),
        ("x-cache-tags", "faq"),
        ("x-cache-ttl", "60"),
        ("x-request-id", "mine"),
    ];
    let done = app.over(&app.job_with(PROMPT, &wishes).await).await;
    assert_eq!(done["result"]["cache"]["ttl_seconds"], 60);
    assert_eq!(app.generate(PROMPT).await.source(), "upstream", "another namespace");
    assert_eq!(app.generate_with(PROMPT, &wishes[..1]).await.source(), "exact");
    app.stored(2).await;
    let tagged = json!({"tag": "faq"});
    assert_eq!(app.admin_post("/admin/invalidate", tagged).await.json()["count"], 1);
    let verdict = json!({"request_id": "mine", "verdict": "wrong"});
    assert_eq!(app.post("/v1/feedback", &[], verdict).await.json()["removed"], 1);

    app.over(&app.job_with(OTHER, &[("cache-control", "no-store")]).await).await;
    assert_eq!(app.generate(OTHER).await.source(), "upstream");
    let only = app.over(&app.job_with("A third?", &[("cache-control", "only-if-cached")]).await).await;
    assert_eq!(only["error"]["code"], "only_if_cached");
}

fn key(name: &str, tenant: &str, scopes: &str) -> String {
    let sha256 = hex::encode(Sha256::digest(name));
    format!(
        "[[auth.keys]]\nname = \"{name}\"\ntenant = \"{tenant}\"\nscopes = [{scopes}]\nsha256 = \"{sha256}\"\n"
    )
}

#[tokio::test]
async fn a_job_is_seen_by_its_tenant_alone_and_its_keys_by_those_who_may() {
    let keys = [
        key("ann", "a", "\"generate\""),
        key("ann-debug", "a", "\"generate\", \"debug\""),
        key("bob", "b", "\"generate\", \"debug\""),
        key("root", "a", "\"admin\""),
    ];
    let mut app = TestApp::with(&format!("{EXACT}{}", keys.concat())).await;
    app.use_key("ann-debug");
    let location = app.job(PROMPT).await;
    let done = app.over(&location).await;
    assert_eq!(done["result"]["cache"]["key"].as_str().map(str::len), Some(64));

    app.use_key("ann");
    let veiled = app.get(&location).await.json();
    assert_eq!(veiled["result"]["text"], done["result"]["text"]);
    for field in ["key", "entry", "similarity"] {
        assert_eq!(veiled["result"]["cache"][field], Value::Null, "{field}");
    }

    app.use_key("bob");
    let unknown = app.get("/v1/jobs/00000000-0000-4000-8000-000000000000").await;
    for response in [app.get(&location).await, app.delete(&location).await] {
        assert_eq!((response.status, response.text()), (404, unknown.text()));
    }
    for stranger in ["root", "nobody"] {
        app.use_key(stranger);
        assert!(matches!(app.get(&location).await.status, 401 | 403), "{stranger}");
    }
    app.use_key("ann");
    assert_eq!(app.delete(&location).await.status, 200, "a tenant's keys share its jobs");
}

#[tokio::test]
async fn a_running_job_that_is_cancelled_waits_no_more() {
    let app = TestApp::with("cache.mode = \"exact\"\nserver.on_disconnect = \"cancel\"").await;
    app.upstream.on_prompt(PROMPT, Reply::text("Never.").held(&Gate::shut()));
    let location = app.job(PROMPT).await;
    app.upstream.called(1).await;
    for _ in 0..2 {
        let cancelled = app.delete(&location).await;
        assert_eq!((cancelled.status, cancelled.json()["status"].as_str()), (200, Some("cancelled")));
    }
    app.upstream.idle().await;
    let seen = app.get(&location).await;
    assert_eq!((seen.json()["status"].as_str(), seen.has_header("retry-after")), (Some("cancelled"), false));
    assert_eq!(app.metric("refrain_jobs_total{outcome=\"cancelled\"}").await, 1.0);
}

#[tokio::test]
async fn a_queued_job_that_is_cancelled_is_never_run() {
    let app = TestApp::with(ONE_AT_A_TIME).await;
    let gate = Gate::shut();
    app.upstream.always(Reply::text("Here.").held(&gate));
    let [first, second, third] = [app.job(PROMPT).await, app.job(OTHER).await, app.job("And a third?").await];
    app.upstream.called(1).await;
    assert_eq!(app.status(&second).await, "queued");
    assert_eq!(app.delete(&second).await.json()["status"], "cancelled");
    gate.open();
    for location in [first, third] {
        assert_eq!(app.over(&location).await["status"], "done");
    }
    assert_eq!(app.status(&second).await, "cancelled");
    assert_eq!(app.upstream.calls(), 2);
}

#[tokio::test]
async fn what_came_of_a_job_can_be_forgotten() {
    let app = TestApp::with(EXACT).await;
    let location = app.job(PROMPT).await;
    app.over(&location).await;
    let last = app.delete(&location).await.json();
    assert_eq!((&last["status"], &last["result"]), (&json!("done"), &Value::Null));
    assert_eq!((app.get(&location).await.status, app.delete(&location).await.status), (404, 404));
}

#[tokio::test]
async fn what_came_of_a_job_expires() {
    let app = TestApp::with("cache.mode = \"exact\"\njobs.result_ttl_seconds = 1").await;
    let location = app.job(PROMPT).await;
    app.upstream.called(1).await;
    eventually("the end of its time", async || (app.get(&location).await.status == 404).then_some(())).await;
}

#[tokio::test]
async fn a_tenant_has_so_many_jobs_and_no_more() {
    let app = TestApp::with("cache.mode = \"exact\"\njobs.concurrency = 1\njobs.queue = 2").await;
    let gate = Gate::shut();
    app.upstream.always(Reply::text("Here.").held(&gate));
    let running = app.job(PROMPT).await;
    app.job(OTHER).await;
    let third = "And a third?";
    let refused = app.generate_with(third, &[ASYNC]).await;
    assert_eq!((refused.status, refused.error("code")), (429, "job_queue_full".into()));
    assert_eq!(refused.header("retry-after"), "5");
    app.counted("refrain_jobs{state=\"running\"}", 1.0).await;
    app.counted("refrain_jobs{state=\"queued\"}", 1.0).await;
    assert_eq!(app.delete(&running).await.status, 200);
    app.job(third).await;
    gate.open();
}

/// A server that knows a webhook by the name `pager`.
async fn hooked(webhook: &Webhook, settings: &str) -> TestApp {
    let settings = format!("{settings}[jobs.webhooks]\npager = \"HOOK_URL\"");
    TestApp::with_variables(&settings, &[("HOOK_URL", webhook.address())]).await
}

#[tokio::test]
async fn a_webhook_is_told_how_a_job_ended() {
    let webhook = Webhook::of_jobs().await;
    webhook.fail(&[500]);
    let app = hooked(&webhook, EXACT).await;
    let refused = app.generate_with(PROMPT, &[ASYNC, ("x-job-webhook", "nobody")]).await;
    assert_eq!(refused.status, 400);
    assert!(refused.error("message").contains("known are: pager"), "{}", refused.text());
    assert!(!refused.text().contains("127.0.0.1"), "an address is a secret");

    let told = [("x-job-webhook", "pager")];
    let done = app.over(&app.job_with(PROMPT, &told).await).await["id"].clone();
    assert_eq!(webhook.hears("done").await, format!("{} done", done.as_str().unwrap()));
    assert_eq!(webhook.calls(), 2, "what was not taken is said again");

    app.upstream.on_prompt(OTHER, Reply::text("Never.").held(&Gate::shut()));
    let location = app.job_with(OTHER, &told).await;
    let cancelled = app.delete(&location).await.json()["id"].clone();
    assert_eq!(webhook.hears("cancelled").await, format!("{} cancelled", cancelled.as_str().unwrap()));
}

#[tokio::test]
async fn a_webhook_that_does_not_answer_holds_up_nobody() {
    let webhook = Webhook::of_jobs().await;
    webhook.fall_silent();
    let app = hooked(&webhook, ONE_AT_A_TIME).await;
    let told = [("x-job-webhook", "pager")];
    app.over(&app.job_with(PROMPT, &told).await).await;
    webhook.called(1).await;
    app.over(&app.job_with(OTHER, &told).await).await;
    webhook.called(2).await;
}

#[tokio::test]
async fn a_job_that_is_done_within_the_drain_time_is_done() {
    let mut app = TestApp::with(EXACT).await;
    let gate = Gate::shut();
    app.upstream.on_prompt(PROMPT, Reply::text("Just in time.").held_midway(&gate));
    let location = app.job(PROMPT).await;
    app.upstream.called(1).await;
    let upstream_gate = gate.clone();
    // The server stops to listen at once, and the story ends a while after that.
    let public = app.public();
    let later = async move {
        eventually("a closed door", async || {
            let door = tokio::net::TcpStream::connect(public.trim_start_matches("http://")).await;
            door.is_err().then_some(())
        })
        .await;
        upstream_gate.open();
    };
    tokio::join!(app.stop(), later);
    app.restart().await;
    let done = app.get(&location).await.json();
    assert_eq!((&done["status"], &done["result"]["text"]), (&json!("done"), &json!("Just in time.")));
    assert_eq!(app.upstream.calls(), 1);
}

#[tokio::test]
async fn a_job_that_is_not_done_in_time_is_run_after_the_restart() {
    let mut app = TestApp::with("cache.mode = \"exact\"\nserver.drain_timeout_ms = 50").await;
    let gate = Gate::shut();
    app.upstream.on_prompt(PROMPT, Reply::text("Once more.").held(&gate));
    let location = app.job(PROMPT).await;
    app.upstream.called(1).await;
    let began = std::time::Instant::now();
    app.restart().await;
    assert!(began.elapsed() < Duration::from_secs(10), "it does not wait for the job");
    app.upstream.called(2).await;
    gate.open();
    assert_eq!(app.over(&location).await["result"]["text"], "Once more.");
}

#[tokio::test]
async fn fault_82_after_kill_9_a_job_is_run_again_and_completed_once() {
    let mut app = TestApp::binary(ONE_AT_A_TIME).await;
    let gate = Gate::shut();
    app.upstream.on_prompt(PROMPT, Reply::text("Once more.").held(&gate));
    let wishes = [("x-cache-namespace", "docs"), ("x-request-id", "mine")];
    let (running, queued) = (app.job_with(PROMPT, &wishes).await, app.job(OTHER).await);
    app.upstream.called(1).await;
    app.process().signal("-KILL");
    app.process().ended().await;

    app.start_binary().await;
    app.upstream.called(2).await;
    assert_eq!((app.status(&running).await, app.status(&queued).await), ("running".into(), "queued".into()));
    gate.open();
    let done = app.over(&running).await;
    assert_eq!((&done["status"], &done["result"]["text"]), (&json!("done"), &json!("Once more.")));
    assert_eq!(app.over(&queued).await["result"]["text"], answer_to(OTHER));
    assert_eq!(app.generate_with(PROMPT, &wishes[..1]).await.source(), "exact", "its wishes were kept");
    assert_eq!(app.metric("refrain_jobs_total{outcome=\"done\"}").await, 2.0);
    assert_eq!(app.upstream.calls(), 3, "once before the crash, and each once after it");
    assert!(!app.process().said().contains("lighthouse"), "prompts are never logged");
}
