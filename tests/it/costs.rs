//! What answers cost and save, and what is said where nobody knows.

use serde_json::{Value, json};

use crate::flight::open_after;
use crate::support::app::{TestApp, chat, with};
use crate::support::reply::{Gate, Reply};
use crate::support::response::Response;

const PROMPT: &str = "What is a strait?";
const ANSWER: &str = "A strait is a narrow water between two lands.";
const CHAT: &str = "/v1/chat/completions";
const GENERATE: &str = "/v1/generate";
const COST: &str = "refrain_cost_usd_total";
const SAVED: &str = "refrain_saved_usd_total";

/// A model with a price, in USD per million tokens.
const PRICED: &str = "cache.mode = \"exact\"\n[[providers]]\n[[providers.models]]\nname = \"parrot\"\n\
                      prices = { input = 0.15, output = 0.60, cached_input = 0.075 }";

/// Starts a server whose upstream counts a thousand tokens of prompt and half as many of answer.
async fn priced() -> TestApp {
    let app = TestApp::with(PRICED).await;
    app.upstream.always(Reply::text(ANSWER).usage(1_000, 500));
    app
}

/// Returns `x-cost-usd` and `x-saved-usd`; `-` for one that is not there.
fn bill(response: &Response) -> (&str, &str) {
    let header = |name| if response.has_header(name) { response.header(name) } else { "-" };
    (header("x-cost-usd"), header("x-saved-usd"))
}

/// Returns the same of a body or a summary in our own format.
fn bill_in(body: &Value) -> (Option<f64>, Option<f64>) {
    (body["cost_usd"].as_f64(), body["saved_usd"].as_f64())
}

/// Returns the summary that ends a stream in our own format.
fn summary(response: &Response) -> Value {
    let events = response.events();
    let last: Value = serde_json::from_str(&events[events.len() - 2]).unwrap();
    last["summary"].clone()
}

/// Checks what was counted, to a millionth of a millionth.
async fn accounted(app: &TestApp, series: &str, usd: f64) {
    let sum = app.metric(series).await;
    assert!((sum - usd).abs() < 1e-12, "{series} is {sum}");
}

#[tokio::test]
async fn a_miss_costs_what_its_tokens_cost_and_a_hit_saves_that() {
    let mut app = priced().await;
    let miss = app.generate(PROMPT).await;
    assert_eq!((bill(&miss), bill_in(&miss.json())), (("0.00045", "0"), (Some(0.00045), Some(0.0))));
    let hits = [app.generate(PROMPT).await, app.chat(chat(PROMPT)).await];
    let replay = app.stream(GENERATE, json!({ "prompt": PROMPT })).await.rest().await;
    for hit in hits.iter().chain([&replay]) {
        assert_eq!((hit.source(), bill(hit)), ("exact", ("0", "0.00045")));
    }
    for body in [hits[0].json(), summary(&replay)] {
        assert_eq!(bill_in(&body), (Some(0.0), Some(0.00045)));
    }
    accounted(&app, COST, 0.00045).await;
    accounted(&app, SAVED, 3.0 * 0.00045).await;
    app.restart().await;
    let from_store = app.generate(PROMPT).await;
    assert_eq!((from_store.served_by().as_str(), bill(&from_store)), ("exact store", ("0", "0.00045")));
}

#[tokio::test]
async fn where_nobody_knows_the_price_nothing_is_said_of_it() {
    let app = TestApp::exact().await;
    app.upstream.always(Reply::text(ANSWER).usage(1_000, 500));
    let (miss, hit) = (app.generate(PROMPT).await, app.generate(PROMPT).await);
    assert_eq!((bill(&miss), bill_in(&miss.json())), (("-", "-"), (None, None)));
    assert_eq!((bill(&hit), bill_in(&hit.json())), (("0", "-"), (Some(0.0), None)));
    accounted(&app, COST, 0.0).await;
    accounted(&app, SAVED, 0.0).await;
}

#[tokio::test]
async fn a_listed_model_has_its_price_also_where_it_was_named_freely() {
    let app = TestApp::exact().await;
    app.upstream.always(Reply::text(ANSWER).usage(1_000, 500));
    let body = with(chat(PROMPT), "model", json!("gpt-4o-mini-2024-07-18"));
    assert_eq!(bill(&app.chat(body).await), ("0.00045", "0"));
}

#[tokio::test]
async fn tokens_that_the_vendor_had_in_its_cache_cost_less_and_every_kind_is_counted() {
    let app = TestApp::with(PRICED).await;
    let reply = Reply::text(ANSWER)
        .usage(1_000, 500)
        .detail("prompt_tokens_details", "cached_tokens", 800)
        .detail("prompt_tokens_details", "cache_write_tokens", 100)
        .detail("completion_tokens_details", "reasoning_tokens", 300);
    app.upstream.always(reply);
    assert_eq!(bill(&app.chat(chat(PROMPT)).await), ("0.00039", "0"));
    app.chat(chat(PROMPT)).await;
    for (kind, tokens) in [
        ("prompt", 1_000.0),
        ("completion", 500.0),
        ("cached", 800.0),
        ("cache_write", 100.0),
        ("reasoning", 300.0),
    ] {
        let labels = format!("{{provider=\"fake\",model=\"parrot\",type=\"{kind}\"}}");
        assert_eq!(app.metric(&format!("refrain_tokens_total{labels}")).await, tokens, "{kind}");
    }
}

#[tokio::test]
async fn who_follows_anothers_call_pays_nothing_and_saves_its_cost() {
    let app = TestApp::with(PRICED).await;
    let gate = Gate::shut();
    app.upstream.always(Reply::text(ANSWER).usage(1_000, 500).held(&gate));
    let (one, two, three, ()) = tokio::join!(
        app.chat(chat(PROMPT)),
        app.chat(chat(PROMPT)),
        app.chat(chat(PROMPT)),
        open_after(&app, 3, &gate)
    );
    let mut bills = [bill(&one), bill(&two), bill(&three)];
    bills.sort_unstable();
    assert_eq!(bills, [("0", "0.00045"), ("0", "0.00045"), ("0.00045", "0")]);
    accounted(&app, COST, 0.00045).await;
    accounted(&app, SAVED, 2.0 * 0.00045).await;
}

#[tokio::test]
async fn a_streamed_miss_tells_its_cost_at_its_end() {
    let app = TestApp::with(PRICED).await;
    let gate = Gate::shut();
    app.upstream.always(Reply::text(ANSWER).usage(1_000, 500).held_midway(&gate));
    let prompt = || json!({ "prompt": PROMPT });
    let mut leader = app.stream(GENERATE, prompt()).await;
    leader.read_until("strait").await;
    let follower = app.stream(GENERATE, prompt()).await;
    gate.open();
    let (leader, follower) = (leader.rest().await, follower.rest().await);
    assert_eq!((bill(&leader), bill(&follower)), (("-", "-"), ("-", "-")));
    assert_eq!(bill_in(&summary(&leader)), (Some(0.00045), Some(0.0)));
    assert_eq!(bill_in(&summary(&follower)), (Some(0.0), Some(0.00045)));
    accounted(&app, COST, 0.00045).await;
    accounted(&app, SAVED, 0.00045).await;
}

/// Two tokens.
const HELLO: &str = "hello world";

/// Checks the counts of a greeting and its answer: two tokens each, four around a message and three before the answer.
fn check_estimate(usage: &Value) {
    let expected =
        json!({"prompt_tokens": 2 + 4 + 3, "completion_tokens": 2, "total_tokens": 11, "estimated": true});
    assert_eq!(*usage, expected);
}

#[tokio::test]
async fn what_the_vendor_did_not_count_is_estimated_and_says_so() {
    let uncounted = Reply::text(HELLO).without_usage();
    for reply in [uncounted.clone(), uncounted.only_whole()] {
        let app = TestApp::with(PRICED).await;
        app.upstream.always(reply);
        let with_usage = with(chat(HELLO), "stream_options", json!({"include_usage": true}));
        for source in ["upstream", "exact"] {
            let stream = app.stream(CHAT, with_usage.clone()).await.rest().await;
            assert_eq!((stream.source(), stream.answer().as_str()), (source, HELLO));
            let chunks = stream.events().into_iter().filter_map(|event| serde_json::from_str(&event).ok());
            let usages: Vec<Value> = chunks.map(|chunk: Value| chunk["usage"].clone()).collect();
            let (last, others) = usages.split_last().unwrap();
            check_estimate(last);
            assert!(others.iter().all(Value::is_null));
        }
        // Our own format has an output limit, and an estimate does not say that the entry fits it.
        for expected in [("0.00000255", "0"), ("0", "0.00000255")] {
            let native = app.generate(HELLO).await;
            check_estimate(&native.json()["usage"]);
            assert_eq!(bill(&native), expected);
        }
        accounted(&app, COST, 2.0 * 0.000_002_55).await;
        let text = app.admin_get("/metrics").await.text();
        for counted in ["type=\"prompt\"} 18\n", "type=\"completion\"} 4\n"] {
            assert!(text.contains(counted), "{text}");
        }

        let anew = [("cache-control", "no-cache, no-store")];
        check_estimate(&app.chat_with(chat(HELLO), &anew).await.json()["usage"]);
        let streamed = app.stream_with(GENERATE, json!({ "prompt": HELLO }), &anew).await.rest().await;
        check_estimate(&summary(&streamed)["usage"]);
        assert_eq!(bill_in(&summary(&streamed)), (Some(0.000_002_55), Some(0.0)));
    }
}
