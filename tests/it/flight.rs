//! One generation for however many ask at a time, and every way in which it can end.
//!
//! These tests run on one thread, server and clients alike: between a look-up's miss being counted and its request
//! having joined a flight nobody else runs, so the count says how many have joined.

use futures_util::future::join_all;
use serde_json::json;

use crate::support::app::{TestApp, chat};
use crate::support::eventually;
use crate::support::reply::{Gate, Reply};
use crate::support::response::Response;

const PROMPT: &str = "What is a lagoon?";
const ANSWER: &str = "A lagoon is shallow water behind a reef.";
const CHAT: &str = "/v1/chat/completions";

/// Returns how many requests have found nothing in the exact tiers; on a busy machine for want of time.
async fn misses(app: &TestApp) -> usize {
    let mut sum = 0.0;
    for outcome in ["miss", "timeout"] {
        sum +=
            app.metric(&format!("refrain_cache_lookups_total{{tier=\"store\",outcome=\"{outcome}\"}}")).await;
    }
    sum as usize
}

/// Waits for so many misses, then opens the gate.
pub(crate) async fn open_after(app: &TestApp, awaited: usize, gate: &Gate) {
    eventually("as many misses", async || (misses(app).await >= awaited).then_some(())).await;
    gate.open();
}

/// Asks so often at once, and opens the gate when all wait for the same flight.
async fn asked_at_once(app: &TestApp, times: usize, gate: &Gate) -> Vec<Response> {
    let asking = join_all((0..times).map(|at| ask(app, at)));
    let (responses, ()) = tokio::join!(asking, open_after(app, times, gate));
    responses
}

/// Asks in both formats, every other time for a stream.
async fn ask(app: &TestApp, at: usize) -> Response {
    match at % 4 {
        0 => app.generate(PROMPT).await,
        1 => app.stream(CHAT, chat(PROMPT)).await.rest().await,
        2 => app.chat(chat(PROMPT)).await,
        _ => app.stream("/v1/generate", json!({ "prompt": PROMPT })).await.rest().await,
    }
}

pub(crate) fn collapsed(responses: &[Response]) -> usize {
    responses.iter().filter(|it| it.header("cache-status") == "refrain; fwd=miss; collapsed").count()
}

pub(crate) async fn followers(app: &TestApp, outcome: &str) -> f64 {
    app.metric(&format!("refrain_singleflight_followers_total{{outcome=\"{outcome}\"}}")).await
}

#[tokio::test]
async fn a_follower_that_comes_late_is_told_what_was_said_and_then_follows_live() {
    let app = TestApp::exact().await;
    let gate = Gate::shut();
    app.upstream.on_prompt(PROMPT, Reply::text(ANSWER).held_midway(&gate));
    let mut first = app.stream(CHAT, chat(PROMPT)).await;
    first.read_until("lagoon").await;
    let mut late = app.stream(CHAT, chat(PROMPT)).await;
    assert_eq!(late.headers["cache-status"], "refrain; fwd=miss; collapsed");
    late.read_until("lagoon").await;
    gate.open();
    for stream in [first, late] {
        let whole = stream.rest().await;
        assert!(whole.text().ends_with("data: [DONE]\n\n"));
        assert_eq!(whole.answer(), ANSWER);
    }
    assert_eq!(app.upstream.calls(), 1);
}

#[tokio::test]
async fn an_answer_that_may_not_be_kept_is_shared_once() {
    let app = TestApp::exact().await;
    let gate = Gate::shut();
    app.upstream.on_prompt(PROMPT, Reply::ending(ANSWER, Some("length")).held(&gate));
    let responses = asked_at_once(&app, 8, &gate).await;
    assert!(responses.iter().all(|response| response.answer() == ANSWER));
    // Requests in our own format have an output limit, so they have a flight of their own.
    assert_eq!((app.upstream.calls(), collapsed(&responses)), (2, 6));
    assert_eq!(followers(&app, "not_cacheable").await, 6.0);
    app.chat(chat(PROMPT)).await;
    assert_eq!(app.upstream.calls(), 3);
}

#[tokio::test]
async fn a_leader_that_takes_too_long_ends_for_all_and_the_next_request_tries_anew() {
    let app = TestApp::with("cache.mode = \"exact\"\nserver.request_timeout_ms = 300").await;
    let never = Gate::shut();
    app.upstream.on_prompt(PROMPT, Reply::text(ANSWER).held(&never));
    let responses = join_all((0..3).map(|_| app.chat(chat(PROMPT)))).await;
    for response in &responses {
        assert_eq!(response.status, 504);
        assert_eq!(response.header("x-should-retry"), "false");
    }
    assert_eq!(app.upstream.calls(), 1);
    app.upstream.idle().await;
    app.upstream.on_prompt(PROMPT, Reply::text(ANSWER));
    assert_eq!(app.chat(chat(PROMPT)).await.answer(), ANSWER);
}

#[tokio::test]
async fn fault_56_an_answer_whose_caller_left_is_finished_and_stored() {
    // With one place, and nobody who may wait for it, the next one is refused unless the place is given back.
    let one_place = "[[providers]]\nlimits = {concurrency = 1, queue = 0}";
    let app = TestApp::with(&format!("cache.mode = \"exact\"\n{one_place}")).await;
    for (at, prompt) in ["What is a reef?", "What is an atoll?"].into_iter().enumerate() {
        let gate = Gate::shut();
        app.upstream.on_prompt(prompt, Reply::text(ANSWER).held_midway(&gate));
        // Once a stream that has begun, once a whole answer that has not.
        if at == 0 {
            let mut stream = app.stream(CHAT, chat(prompt)).await;
            stream.read_until("lagoon").await;
        } else {
            tokio::select! {
                _ = app.chat(chat(prompt)) => panic!("it cannot be over"),
                () = app.upstream.called(at + 1) => {}
            }
        }
        gate.open();
        app.stored(at as u64 + 1).await;
        assert_eq!(app.chat(chat(prompt)).await.served_by(), "exact memory");
        app.upstream.idle().await;
    }
    assert_eq!((app.chat(chat("And now?")).await.status, app.upstream.calls()), (200, 3));
}

#[tokio::test]
async fn fault_56_with_cancel_an_answer_that_nobody_waits_for_is_given_up() {
    let app = TestApp::with("cache.mode = \"exact\"\nserver.on_disconnect = \"cancel\"").await;
    let gate = Gate::shut();
    app.upstream.on_prompt(PROMPT, Reply::text(ANSWER).held_midway(&gate));
    let mut one = app.stream(CHAT, chat(PROMPT)).await;
    let mut other = app.stream(CHAT, chat(PROMPT)).await;
    one.read_until("lagoon").await;
    other.read_until("lagoon").await;
    // Somebody still waits.
    drop(one);
    gate.open();
    assert_eq!(other.rest().await.answer(), ANSWER);

    let never = Gate::shut();
    app.upstream.on_prompt("Left alone?", Reply::text(ANSWER).held_midway(&never));
    let mut alone = app.stream(CHAT, chat("Left alone?")).await;
    alone.read_until("lagoon").await;
    drop(alone);
    app.upstream.idle().await;
    app.upstream.on_prompt("Left alone?", Reply::text("Anew."));
    assert_eq!(app.chat(chat("Left alone?")).await.answer(), "Anew.");
    assert_eq!(app.upstream.calls(), 3);
}

#[tokio::test]
async fn what_cannot_be_stored_is_given_up_when_its_caller_leaves() {
    let app = TestApp::exact().await;
    let never = Gate::shut();
    app.upstream.on_prompt(PROMPT, Reply::text(ANSWER).held_midway(&never));
    let no_store = [("cache-control", "no-store")];
    let mut stream = app.stream_with(CHAT, chat(PROMPT), &no_store).await;
    stream.read_until("lagoon").await;
    drop(stream);
    app.upstream.idle().await;
}

#[tokio::test]
async fn a_bypass_joins_nobody() {
    let app = TestApp::exact().await;
    let gate = Gate::shut();
    app.upstream.on_prompt(PROMPT, Reply::text(ANSWER).held(&gate));
    let bypass = [("cache-control", "no-cache, no-store")];
    let opening = async {
        app.upstream.called(3).await;
        gate.open();
    };
    let (one, two, three, ()) = tokio::join!(
        app.chat_with(chat(PROMPT), &bypass),
        app.chat_with(chat(PROMPT), &bypass),
        app.chat(chat(PROMPT)),
        opening
    );
    assert!([&one, &two, &three].iter().all(|response| response.answer() == ANSWER));
    assert_eq!(app.upstream.calls(), 3);
}

#[tokio::test]
async fn a_refresh_does_not_join_a_flight_that_began_before_it() {
    let app = TestApp::exact().await;
    let gate = Gate::shut();
    app.upstream.on_prompt(PROMPT, Reply::text("old").held(&gate));
    let refresh = async {
        app.upstream.called(1).await;
        app.upstream.on_prompt(PROMPT, Reply::text("new"));
        let fresh = app.chat_with(chat(PROMPT), &[("cache-control", "no-cache")]).await;
        gate.open();
        fresh
    };
    let (old, new) = tokio::join!(app.chat(chat(PROMPT)), refresh);
    assert_eq!((old.answer().as_str(), new.answer().as_str()), ("old", "new"));
}

#[tokio::test]
async fn flights_end_with_their_answers() {
    let app = TestApp::exact().await;
    app.generate(PROMPT).await;
    eventually("no flight", async || {
        (app.admin_get("/admin/stats").await.json()["flights"] == json!(0)).then_some(())
    })
    .await;
}
