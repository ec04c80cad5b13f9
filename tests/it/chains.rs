//! Who of a chain is asked, and how much: breakers, limits, parking, and what is kept of a fallback's answer.

use std::time::{Duration, Instant};

use futures_util::future::join_all;
use serde_json::{Value, json};

use crate::support::app::{TestApp, chat, with};
use crate::support::eventually;
use crate::support::reply::{Gate, Reply, answer_to};
use crate::support::response::Response;
use crate::support::upstream::Upstream;

const PROMPT: &str = "What is a delta?";

/// A server with a chain of two: `fake/parrot`, then `spare/macaw`. `top` stands at the top of its configuration, `first` in
/// its first provider and `route` in its route.
async fn chained(spare: &Upstream, top: &str, first: &str, route: &str) -> TestApp {
    let settings = format!(
        "cache.mode = \"exact\"\n{top}\n[[providers]]\n{first}\n[[providers]]\nname = \"spare\"\nkind = \"openai_compatible\"\n\
         base_url = \"{}\"\napi_key_env = \"FAKE_KEY\"\n[[routes]]\nmodel = \"both\"\nchain = [\"fake/parrot\", \"spare/macaw\"]\n{route}",
        spare.base_url()
    );
    TestApp::with(&settings).await
}

fn both(prompt: &str) -> Value {
    with(chat(prompt), "model", json!("both"))
}

async fn ask(app: &TestApp, prompt: &str) -> Response {
    app.chat(both(prompt)).await
}

fn error(status: u16) -> Reply {
    Reply::error(status, "words of the vendor", None, None)
}

/// Asks until the first upstream's breaker has opened.
async fn break_the_first(app: &TestApp) {
    app.upstream.always(error(500));
    for question in 0..2 {
        assert_eq!(ask(app, &format!("Broken {question}?")).await.status, 200);
    }
    assert_eq!(
        app.upstream.calls(),
        3,
        "the first request took two calls, and the third call was one too many"
    );
}

#[tokio::test]
async fn an_upstream_that_failed_three_times_is_left_alone_even_after_a_restart() {
    let spare = Upstream::start().await;
    let mut app = chained(&spare, "", "", "").await;
    break_the_first(&app).await;
    for question in ["Before the restart?", "After the restart?"] {
        let response = ask(&app, question).await;
        assert_eq!(response.header("x-upstream-attempts"), "spare/macaw;200");
        assert_eq!(response.answer(), answer_to(question));
        app.restart().await;
    }
    assert_eq!(app.upstream.calls(), 3);
}

#[tokio::test]
async fn an_upstream_that_is_well_again_is_asked_again() {
    let spare = Upstream::start().await;
    let app = chained(&spare, "breaker.open_seconds = 1", "", "").await;
    break_the_first(&app).await;
    app.upstream.always(Reply::text("Well again."));
    let mut questions = 0..;
    let response = eventually("the first upstream's return", async || {
        let response = ask(&app, &format!("Well {}?", questions.next()?)).await;
        (response.header("x-provider") == "fake").then_some(response)
    })
    .await;
    assert_eq!(response.header("x-upstream-attempts"), "fake/parrot;200");
}

#[tokio::test]
async fn an_only_upstream_whose_breaker_is_open_is_asked_now_and_then_all_the_same() {
    let app = TestApp::with(
        "cache.mode = \"exact\"\nretry.attempts_per_upstream = 1\n[[providers]]\nmodels = [\"parrot\"]",
    )
    .await;
    app.upstream.always(error(500));
    for question in 0..3 {
        assert_eq!(app.chat(chat(&format!("Broken {question}?"))).await.status, 502);
    }
    // Nobody else is left, so a call finds out now and then, and whoever has no part in that is told when to come again.
    let prompts: Vec<_> = (0..20).map(|at| format!("And {at}?")).collect();
    let responses = join_all(prompts.iter().map(|prompt| app.chat(chat(prompt)))).await;
    let (asked, refused): (Vec<_>, Vec<_>) = responses.iter().partition(|response| response.status == 502);
    assert!(!asked.is_empty() && refused.len() >= 10, "{} were asked for", asked.len());
    for response in refused {
        assert_eq!((response.status, response.error("code").as_str()), (503, "upstreams_unavailable"));
        assert!(response.has_header("retry-after") && !response.has_header("x-upstream-attempts"));
    }
    assert_eq!(app.upstream.calls(), 3 + asked.len());
    app.upstream.always(Reply::text("Well again."));
    eventually("an answer", async || (app.chat(chat("Well?")).await.status == 200).then_some(())).await;
    // Its breaker is closed by that.
    assert_eq!(app.chat(chat("And now?")).await.status, 200);
}

#[tokio::test]
async fn a_limit_that_lasts_is_waited_out_elsewhere_and_kept_over_a_restart() {
    let spare = Upstream::start().await;
    let mut app = chained(&spare, "", "", "").await;
    app.upstream.always(error(429).header("retry-after", "60"));
    assert_eq!(ask(&app, PROMPT).await.header("x-upstream-attempts"), "fake/parrot;429, spare/macaw;200");
    app.restart().await;
    assert_eq!(ask(&app, "And now?").await.header("x-upstream-attempts"), "spare/macaw;200");
    assert_eq!(app.upstream.calls(), 1);
}

#[tokio::test]
async fn what_an_upstream_says_is_left_of_its_limits_is_believed() {
    let spare = Upstream::start().await;
    let app = chained(&spare, "", "", "").await;
    let last = Reply::text("The last for now.")
        .header("x-ratelimit-limit-requests", "10")
        .header("x-ratelimit-remaining-requests", "0")
        .header("x-ratelimit-reset-requests", "1m40s");
    app.upstream.always(last);
    assert_eq!(ask(&app, PROMPT).await.header("x-upstream-attempts"), "fake/parrot;200");
    assert_eq!(ask(&app, "And now?").await.header("x-upstream-attempts"), "spare/macaw;200");
    assert_eq!(app.upstream.calls(), 1);
}

#[tokio::test]
async fn who_finds_no_place_is_answered_by_the_next_or_told_when_to_come_again() {
    let narrow = "limits = {concurrency = 1, queue = 0}";
    let spare = Upstream::start().await;
    let app = chained(&spare, "", narrow, "").await;
    let gate = Gate::shut();
    app.upstream.always(Reply::text("Slowly.").held(&gate));
    let second = async {
        app.upstream.called(1).await;
        let response = ask(&app, "And I?").await;
        let alone = app.chat(chat("And I alone?")).await;
        gate.open();
        (response, alone)
    };
    let (first, (second, alone)) = tokio::join!(ask(&app, PROMPT), second);
    assert_eq!(first.answer(), "Slowly.");
    assert_eq!(second.header("x-upstream-attempts"), "spare/macaw;200");
    assert_eq!((alone.status, alone.header("retry-after")), (503, "1"));
    assert_eq!(app.upstream.calls(), 1);
}

#[tokio::test]
async fn calls_wait_in_line_for_their_turn() {
    let app =
        TestApp::with("cache.mode = \"exact\"\n[[providers]]\nlimits = {concurrency = 1, queue = 2}").await;
    let prompts = ["One?", "Two?", "Three?"];
    let asked = prompts.map(|prompt| app.chat(chat(prompt)));
    for (response, prompt) in join_all(asked).await.iter().zip(prompts) {
        assert_eq!(response.answer(), answer_to(prompt));
    }
}

#[tokio::test]
async fn a_pace_is_kept_by_asking_the_next() {
    let spare = Upstream::start().await;
    let app = chained(&spare, "", "limits = {requests_per_minute = 1}", "").await;
    assert_eq!(ask(&app, PROMPT).await.header("x-provider"), "fake");
    assert_eq!(ask(&app, "And now?").await.header("x-provider"), "spare");
    // Alone it waits for its turn, unless the caller cannot.
    let alone = with(chat("Alone?"), "model", json!("fake/parrot"));
    let alone = app.chat_with(alone, &[("x-deadline-ms", "2000")]).await;
    assert_eq!((alone.status, alone.error("code").as_str()), (503, "upstreams_unavailable"));
    let wait: u64 = alone.header("retry-after").parse().unwrap();
    assert!((30..=60).contains(&wait), "{wait}");
    assert_eq!(app.upstream.calls(), 1);
}

#[tokio::test]
async fn of_a_callers_deadline_some_is_kept_for_the_next() {
    let spare = Upstream::start().await;
    let app = chained(&spare, "", "", "").await;
    let never = Gate::shut();
    app.upstream.always(Reply::text("too late").held(&never));
    let began = Instant::now();
    // The first upstream may be silent for ten seconds, and the caller waits for three.
    let response = app.chat_with(both(PROMPT), &[("x-deadline-ms", "3000")]).await;
    assert_eq!(response.header("x-upstream-attempts"), "fake/parrot;timeout, spare/macaw;200");
    assert!(began.elapsed() >= Duration::from_millis(2_300), "{:?}", began.elapsed());
}

#[tokio::test]
async fn a_fallbacks_answer_lives_for_its_own_time() {
    let spare = Upstream::start().await;
    let app = chained(&spare, "cache.fallback_ttl_seconds = 60", "", "").await;
    let ttl = async |prompt: &str| {
        let body = app.post("/v1/generate", &[], json!({"model": "both", "prompt": prompt})).await.json();
        (body["provider"].as_str().unwrap().to_owned(), body["cache"]["ttl_seconds"].as_i64().unwrap())
    };
    assert_eq!(ttl("Well?").await, ("fake".to_owned(), 86_400));
    app.upstream.always(error(401));
    assert_eq!(ttl("Broken?").await, ("spare".to_owned(), 60));
}

#[tokio::test]
async fn where_models_are_not_interchangeable_a_fallbacks_answer_is_not_kept() {
    let spare = Upstream::start().await;
    let app = chained(&spare, "", "", "interchangeable = false").await;
    app.upstream.always(error(401));
    for _ in 0..2 {
        let response = ask(&app, PROMPT).await;
        assert_eq!(
            (response.header("x-provider"), response.header("cache-status")),
            ("spare", "refrain; fwd=miss")
        );
    }
    assert_eq!(app.metric("refrain_cache_write_skipped_total{reason=\"other_model\"}").await, 2.0);
    let fallbacks = "refrain_fallbacks_total{from=\"fake/parrot\",to=\"spare/macaw\",reason=\"bad_key\"}";
    assert_eq!(app.metric(fallbacks).await, 1.0);
}

#[tokio::test]
async fn a_model_is_not_asked_for_what_it_is_declared_to_be_unable_to_do() {
    let spare = Upstream::start().await;
    let app = chained(&spare, "", "models = [{name = \"parrot\", capabilities = [\"images\"]}]", "").await;
    let tool = json!({"type": "function", "function": {"name": "f", "parameters": {"type": "object"}}});
    let response = app.chat(with(both(PROMPT), "tools", json!([tool]))).await;
    assert_eq!(response.header("x-upstream-attempts"), "spare/macaw;200");
    let alone =
        app.chat(with(with(both(PROMPT), "model", json!("fake/parrot")), "tools", json!([tool]))).await;
    assert_eq!((alone.status, alone.error("param").as_str()), (400, "tools"));
    assert_eq!(app.upstream.calls(), 0);
}

#[tokio::test]
async fn an_answer_that_is_none_is_asked_for_elsewhere_and_served_where_nobody_has_a_better_one() {
    let spare = Upstream::start().await;
    let app = chained(&spare, "", "", "").await;
    let endless = "over and ".repeat(2_000);
    app.upstream.always(Reply::text(&endless));
    let response = ask(&app, PROMPT).await;
    assert_eq!(response.header("x-upstream-attempts"), "fake/parrot;malformed, spare/macaw;200");
    assert_eq!(response.answer(), answer_to(PROMPT));
    spare.always(error(401));
    app.upstream.always(Reply::text("{\"a\": "));
    let as_json = with(both("As JSON?"), "response_format", json!({"type": "json_object"}));
    let response = app.chat(as_json.clone()).await;
    assert_eq!((response.status, response.answer().as_str()), (200, "{\"a\": "), "it is all there is");
    assert_eq!(response.header("x-upstream-attempts"), "fake/parrot;malformed, spare/macaw;401");
    assert_eq!(app.chat(as_json).await.source(), "upstream", "it was not kept");
}

#[tokio::test]
async fn weights_say_who_is_asked_first() {
    let spare = Upstream::start().await;
    let app = chained(&spare, "", "", "strategy = \"weighted\"\nweights = [0, 1]").await;
    for question in 0..5 {
        let response = ask(&app, &format!("Question {question}?")).await;
        assert_eq!(response.header("x-upstream-attempts"), "spare/macaw;200");
    }
    spare.always(error(401));
    assert_eq!(ask(&app, PROMPT).await.header("x-provider"), "fake", "who has no weight is asked last");
}

#[tokio::test]
async fn who_answered_last_is_asked_first() {
    let spare = Upstream::start().await;
    let app = chained(&spare, "breaker.failures = 1000", "", "strategy = \"last_success\"").await;
    assert_eq!(ask(&app, "One?").await.header("x-provider"), "fake");
    app.upstream.always(Reply::bytes("text/html", "<html></html>"));
    assert_eq!(ask(&app, "Two?").await.header("x-provider"), "spare");
    app.upstream.always(Reply::text("Well again."));
    assert_eq!(ask(&app, "Three?").await.header("x-upstream-attempts"), "spare/macaw;200");
}
