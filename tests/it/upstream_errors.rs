//! What upstreams do wrong, and what the caller hears of it.

use serde_json::json;

use crate::support::app::{TestApp, chat, with};
use crate::support::reply::{Gate, Reply, answer_to};
use crate::support::response::Response;
use crate::support::upstream::Upstream;

const PROMPT: &str = "What is a delta?";
const CHAT: &str = "/v1/chat/completions";
/// What one call's failure means is told here, so nobody is asked twice and no breaker opens.
const ONCE: &str = "cache.mode = \"exact\"\nretry.attempts_per_upstream = 1\nbreaker = {failures = 1000, min_calls = 1000}\n";

/// The model stands in a list, so its absence upstream is our business.
fn listed() -> String {
    format!("{ONCE}[[providers]]\nmodels = [\"parrot\"]\n")
}

fn error(status: u16) -> Reply {
    Reply::error(status, "words of the vendor about org-1", None, None)
}

/// Asks once for a whole answer and once for a stream, and checks that nothing of either was kept.
async fn failed(app: &TestApp, reply: Reply, status: u16) -> Response {
    app.upstream.on_prompt(PROMPT, reply);
    let before = app.upstream.calls();
    let whole = app.chat(chat(PROMPT)).await;
    let streamed = app.stream(CHAT, chat(PROMPT)).await.rest().await;
    assert_eq!((whole.status, streamed.status), (status, status), "{}", whole.text());
    assert_eq!(app.upstream.calls(), before + 2);
    assert_eq!(app.admin_get("/admin/stats").await.json()["memory"]["entries"], 0);
    whole
}

#[tokio::test]
async fn the_callers_own_mistake_is_passed_on_with_the_vendors_words() {
    let app = TestApp::with(&listed()).await;
    let message = "Invalid value for 'temperature': 9.";
    let bad = Reply::error(400, message, Some("temperature"), Some("invalid_value"));
    let response = failed(&app, bad, 400).await;
    assert_eq!(response.error("message"), message);
    assert_eq!(
        (response.error("param"), response.error("code")),
        ("temperature".into(), "invalid_value".into())
    );
    assert_eq!(response.header("x-upstream-attempts"), "fake/parrot;400");

    let long = "This model's maximum context length is 8192 tokens.";
    let response =
        failed(&app, Reply::error(400, long, Some("messages"), Some("context_length_exceeded")), 400).await;
    assert_eq!(
        (response.error("message").as_str(), response.error("code").as_str()),
        (long, "context_length_exceeded")
    );

    let flagged = Reply::error(400, "Your input was flagged.", None, Some("content_policy_violation"));
    assert_eq!(failed(&app, flagged, 400).await.error("code"), "content_filter");
    let native = app.generate(PROMPT).await;
    assert_eq!((native.status, native.error("message").as_str()), (400, "Your input was flagged."));
}

#[tokio::test]
async fn our_business_with_the_vendor_is_not_the_callers() {
    for status in [401, 402, 403, 404] {
        let app = TestApp::with(&listed()).await;
        app.upstream.always(error(status));
        let response = app.chat(chat(PROMPT)).await;
        assert_eq!(response.status, 503);
        assert!(!response.text().contains("org-1"), "{}", response.text());
        assert_eq!(response.header("x-upstream-attempts"), format!("fake/parrot;{status}"));
        assert_eq!(response.header("x-should-retry"), "false");
        // From then on nobody asks, until somebody mends it.
        let streamed = app.stream(CHAT, chat(PROMPT)).await.rest().await;
        assert_eq!((streamed.status, streamed.header("x-should-retry")), (503, "false"));
        assert!(!streamed.has_header("x-upstream-attempts"));
        assert_eq!(app.upstream.calls(), 1);
    }
}

#[tokio::test]
async fn a_model_that_was_named_freely_and_is_not_there_is_the_callers_404() {
    let app = TestApp::exact().await;
    let response = failed(&app, Reply::error(404, "no such model", None, Some("model_not_found")), 404).await;
    assert_eq!(
        (response.error("code").as_str(), response.error("param").as_str()),
        ("model_not_found", "model")
    );
}

#[tokio::test]
async fn an_upstream_that_is_limited_is_503_with_its_wait() {
    for (wait, should_retry) in [("7", ""), ("60", "false")] {
        let app = TestApp::with(&listed()).await;
        app.upstream.always(error(429).header("retry-after", if wait == "7" { "7" } else { "60" }));
        for _ in 0..2 {
            let response = app.chat(chat(PROMPT)).await;
            let told = (response.header("retry-after"), response.header("x-should-retry"));
            assert_eq!((response.status, told), (503, (wait, should_retry)), "an SDK may well wait 7 s");
        }
        assert_eq!(app.upstream.calls(), 1, "it asked to be left alone");
    }
    let app = TestApp::with(&listed()).await;
    let busy = failed(&app, error(503), 503).await;
    assert_eq!(busy.header("x-upstream-attempts"), "fake/parrot;503");
    assert!(!busy.has_header("retry-after"));
    assert_eq!(busy.header("x-should-retry"), "false");
}

#[tokio::test]
async fn an_upstream_that_breaks_is_502() {
    let app = TestApp::with(&listed()).await;
    for (reply, attempt) in [
        (error(500), "500"),
        (error(502), "502"),
        (Reply::bytes("application/json", "{\"choices\": ["), "malformed"),
        (Reply::bytes("application/json", "{}"), "malformed"),
        (Reply::bytes("application/json", "null"), "malformed"),
        (Reply::bytes("application/json", ""), "malformed"),
        (Reply::bytes("application/json", "{\"choices\": []}"), "malformed"),
        (Reply::bytes("application/json", "{\"error\": {\"message\": \"x\", \"code\": 502}}"), "502"),
        (Reply::bytes("text/html", "<html>Please log in</html>"), "malformed"),
        (Reply::bytes("text/event-stream", ": ping\n\n"), "malformed"),
        (Reply::bytes("text/event-stream", "data: nonsense\n\n"), "malformed"),
        (Reply::bytes("text/event-stream", "data: [DONE]\n\n"), "malformed"),
        (Reply::bytes("text/event-stream", b"data: {\"id\":\"\xff\"}\n\n".to_vec()), "malformed"),
    ] {
        let what = format!("{reply:?}");
        let response = failed(&app, reply, 502).await;
        assert_eq!(response.header("x-upstream-attempts"), format!("fake/parrot;{attempt}"), "{what}");
        assert_eq!(response.header("x-should-retry"), "false");
    }
}

#[tokio::test]
async fn an_upstream_that_is_not_there_is_502() {
    let closed = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let app = TestApp::with(&format!("{}base_url = \"http://{closed}/v1\"", listed())).await;
    let response = app.chat(chat(PROMPT)).await;
    assert_eq!((response.status, response.header("x-upstream-attempts")), (502, "fake/parrot;connect"));
}

#[tokio::test]
async fn a_deadline_is_504_the_servers_and_the_callers_own() {
    let app = TestApp::with("cache.mode = \"exact\"\nserver.request_timeout_ms = 200").await;
    let never = Gate::shut();
    app.upstream.always(Reply::text("late").held(&never));
    let response = app.chat(chat(PROMPT)).await;
    assert_eq!((response.status, response.header("x-should-retry")), (504, "false"));

    let app = TestApp::exact().await;
    app.upstream.always(Reply::text("late").held(&never));
    let response = app.chat_with(chat(PROMPT), &[("x-deadline-ms", "50")]).await;
    assert_eq!((response.status, response.error("code").as_str()), (504, "deadline"));
}

#[tokio::test]
async fn a_callers_short_patience_does_not_end_anothers_answer() {
    let app = TestApp::exact().await;
    let gate = Gate::shut();
    app.upstream.always(Reply::text("in time").held(&gate));
    let hasty = async {
        app.upstream.called(1).await;
        let hasty = app.chat_with(chat(PROMPT), &[("x-deadline-ms", "50")]).await;
        gate.open();
        hasty
    };
    let (patient, hasty) = tokio::join!(app.chat(chat(PROMPT)), hasty);
    assert_eq!((hasty.status, patient.answer().as_str()), (504, "in time"));
    assert_eq!(app.upstream.calls(), 1);
}

/// A server with a second upstream behind the first, under the model `both`.
async fn chained(second: &Upstream, settings: &str) -> TestApp {
    both_set(second, settings, "").await
}

/// The same, with settings of the second one, too.
async fn both_set(second: &Upstream, of_first: &str, of_second: &str) -> TestApp {
    let settings = format!(
        "{ONCE}[[providers]]\n{of_first}\n[[providers]]\nname = \"spare\"\nkind = \"openai_compatible\"\nbase_url = \"{}\"\napi_key_env = \"FAKE_KEY\"\n\
         {of_second}\n[[routes]]\nmodel = \"both\"\nchain = [\"fake/parrot\", \"spare/macaw\"]",
        second.base_url()
    );
    TestApp::with(&settings).await
}

async fn ask_both(app: &TestApp) -> Response {
    app.chat(with(chat(PROMPT), "model", json!("both"))).await
}

#[tokio::test]
async fn the_second_upstream_answers_when_the_first_does_not() {
    for (reply, attempt) in [
        (error(500), "500"),
        (error(429), "429"),
        (error(401), "401"),
        (error(404), "404"),
        (Reply::bytes("text/html", "<html></html>"), "malformed"),
        (Reply::error(400, "too long", None, Some("context_length_exceeded")), "400"),
    ] {
        let second = Upstream::start().await;
        let app = chained(&second, "").await;
        app.upstream.always(reply);
        let response = ask_both(&app).await;
        let attempts = format!("fake/parrot;{attempt}, spare/macaw;200");
        assert_eq!((response.status, response.header("x-upstream-attempts")), (200, attempts.as_str()));
        assert_eq!((response.header("x-provider"), response.header("x-model")), ("spare", "macaw"));
        assert_eq!(response.answer(), answer_to(PROMPT));
        assert_eq!(ask_both(&app).await.source(), "exact");
        assert_eq!(second.calls(), 1);
    }
}

#[tokio::test]
async fn what_is_too_long_for_one_model_goes_only_where_more_may_fit() {
    let long = "This model's maximum context length is 8192 tokens.";
    let window =
        |model: &str, tokens: u32| format!("models = [{{name = \"{model}\", context_window = {tokens}}}]");
    for (first, second_window, is_asked) in [
        (window("parrot", 8_192), window("macaw", 8_192), false),
        (window("parrot", 8_192), window("macaw", 4_096), false),
        (window("parrot", 8_192), window("macaw", 8_193), true),
        (window("parrot", 8_192), String::new(), true),
        (String::new(), window("macaw", 1), true),
    ] {
        let second = Upstream::start().await;
        let app = both_set(&second, &first, &second_window).await;
        app.upstream.always(Reply::error(400, long, None, Some("context_length_exceeded")));
        let response = ask_both(&app).await;
        assert_eq!(second.calls(), usize::from(is_asked), "{first} {second_window}");
        if is_asked {
            assert_eq!(response.answer(), answer_to(PROMPT));
        } else {
            assert_eq!((response.status, response.error("message").as_str()), (400, long));
            assert_eq!(response.header("x-upstream-attempts"), "fake/parrot;400");
        }
    }
}

#[tokio::test]
async fn a_model_that_is_to_think_first_is_given_more_time_than_others() {
    let second = Upstream::start().await;
    let app = chained(&second, "timeouts.first_token_ms = 50").await;
    let gate = Gate::shut();
    app.upstream.always(Reply::text("well considered").held(&gate));
    // Once another request, of a model that need not think, has waited longer than its time, this one has too.
    let hasty = async {
        app.upstream.called(1).await;
        let hasty = ask_both(&app).await;
        gate.open();
        hasty
    };
    let thinking = with(with(chat(PROMPT), "model", json!("both")), "reasoning_effort", json!("high"));
    let (thinking, hasty) = tokio::join!(app.chat(thinking), hasty);
    assert_eq!(hasty.header("x-upstream-attempts"), "fake/parrot;timeout, spare/macaw;200");
    assert_eq!(thinking.header("x-upstream-attempts"), "fake/parrot;200");
    assert_eq!(thinking.answer(), "well considered");
}

#[tokio::test]
async fn an_upstream_that_does_not_begin_in_its_time_gives_way_to_the_next() {
    let second = Upstream::start().await;
    let app = chained(&second, "timeouts.first_token_ms = 100").await;
    let never = Gate::shut();
    app.upstream.always(Reply::text("too late").held(&never));
    let response = ask_both(&app).await;
    assert_eq!(response.header("x-upstream-attempts"), "fake/parrot;timeout, spare/macaw;200");
    assert_eq!(response.answer(), answer_to(PROMPT));
}

#[tokio::test]
async fn an_upstream_that_dies_before_its_first_word_gives_way_to_the_next() {
    let second = Upstream::start().await;
    let app = chained(&second, "").await;
    let bare_role = "data: {\"id\": \"c\", \"object\": \"chat.completion.chunk\", \"created\": 1, \"model\": \"parrot\", \
        \"choices\": [{\"index\": 0, \"delta\": {\"role\": \"assistant\", \"content\": \"\"}, \"finish_reason\": null}]}\n\n";
    app.upstream.always(Reply::bytes("text/event-stream", bare_role));
    let response = ask_both(&app).await;
    assert_eq!(response.header("x-upstream-attempts"), "fake/parrot;malformed, spare/macaw;200");
    assert_eq!(response.answer(), answer_to(PROMPT));
}

#[tokio::test]
async fn nobody_else_is_asked_after_the_callers_own_mistake_and_whoever_says_something_else_does_not_go_on() {
    let second = Upstream::start().await;
    let app = chained(&second, "timeouts.idle_ms = 100").await;
    app.upstream.always(Reply::error(400, "bad", Some("seed"), None));
    assert_eq!(ask_both(&app).await.status, 400);
    assert_eq!(second.calls(), 0);
    let never = Gate::shut();
    app.upstream.always(Reply::text("It begins and then falls silent.").held_midway(&never));
    let stream = app.stream(CHAT, with(chat(PROMPT), "model", json!("both"))).await.rest().await;
    assert!(stream.text().contains("\"error\"") && !stream.text().contains("[DONE]"), "{}", stream.text());
    assert!(!stream.text().contains("this and that"), "{}", stream.text());
    assert_eq!(second.calls(), 1);
}

#[tokio::test]
async fn when_all_fail_the_answer_says_what_each_did() {
    for (first, then, status) in [(500, 500, 502), (429, 500, 502), (429, 503, 503), (401, 429, 503)] {
        let second = Upstream::start().await;
        let app = chained(&second, "").await;
        app.upstream.always(error(first));
        second.always(error(then));
        let response = ask_both(&app).await;
        let attempts = format!("fake/parrot;{first}, spare/macaw;{then}");
        assert_eq!((response.status, response.header("x-upstream-attempts")), (status, attempts.as_str()));
    }
    // What a later upstream calls the caller's mistake is none: it may just not understand the request's shape.
    let second = Upstream::start().await;
    let app = chained(&second, "").await;
    app.upstream.always(error(500));
    second.always(Reply::error(400, "unknown field", Some("seed"), None));
    assert_eq!(ask_both(&app).await.status, 502);
}

#[tokio::test]
async fn calls_are_counted_by_provider_model_and_outcome_and_free_names_are_one() {
    let app = TestApp::with(&listed()).await;
    app.chat(chat(PROMPT)).await;
    app.upstream.always(error(500));
    app.chat(chat("Another?")).await;
    let calls = async |outcome: &str| {
        let labels = format!("{{provider=\"fake\",model=\"parrot\",outcome=\"{outcome}\"}}");
        app.metric(&format!("refrain_upstream_requests_total{labels}")).await
    };
    assert_eq!((calls("ok").await, calls("server_error").await), (1.0, 1.0));
    let free = TestApp::exact().await;
    free.chat(with(chat(PROMPT), "model", json!("whatever-comes"))).await;
    assert!(!free.admin_get("/metrics").await.text().contains("whatever-comes"));
}

#[tokio::test]
async fn without_any_provider_a_miss_says_what_to_set() {
    let app = TestApp::without_provider().await;
    let response = app.generate(PROMPT).await;
    assert_eq!((response.status, response.error("code").as_str()), (503, "no_provider"));
    for named in ["OPENAI_API_KEY", "--sandbox"] {
        assert!(response.error("message").contains(named), "{}", response.text());
    }
}
