//! Equal requests: the journey from a miss to a hit in each tier, and what a caller may say about it.

use serde_json::json;

use crate::support::app::{MODEL, TestApp, chat, with};
use crate::support::eventually;
use crate::support::reply::{Reply, answer_to};
use crate::support::response::Response;

const PROMPT: &str = "What is a fjord?";

/// Returns seconds of life in `cache-status: refrain; hit; ttl=…`, and fails for anything but a hit.
fn ttl(response: &Response) -> i64 {
    let status = response.header("cache-status");
    let rest = status.strip_prefix("refrain; hit; ttl=").unwrap_or_else(|| panic!("no hit: {status}"));
    rest.split(';').next().unwrap().parse().unwrap()
}

#[tokio::test]
async fn a_miss_says_who_answered_and_that_it_was_stored() {
    let app = TestApp::exact().await;
    let miss = app.generate(PROMPT).await;
    assert_eq!((miss.status, miss.answer()), (200, answer_to(PROMPT)));
    for (name, value) in [
        ("x-cache-source", "upstream"),
        ("cache-status", "refrain; fwd=miss; stored"),
        ("x-provider", "fake"),
        ("x-model", "parrot"),
        ("x-upstream-attempts", "fake/parrot;200"),
        ("content-type", "application/json"),
        ("x-cache-entry", miss.header("x-cache-key")),
    ] {
        assert_eq!(miss.header(name), value, "{name}");
    }
    assert_eq!(miss.header("x-cache-key").len(), 64);
    assert_eq!(miss.header("x-request-id").len(), 36);
    assert!(miss.header("server-timing").contains("upstream;dur="), "{}", miss.header("server-timing"));
    for absent in ["x-cache-tier", "x-cache-similarity", "x-degraded", "x-should-retry"] {
        assert!(!miss.has_header(absent), "{absent}");
    }
}

#[tokio::test]
async fn the_same_request_is_answered_from_memory_and_after_a_restart_from_the_store() {
    let mut app = TestApp::exact().await;
    let miss = app.generate(PROMPT).await;
    let hit = app.generate(PROMPT).await;
    app.restart().await;
    let from_store = app.generate(PROMPT).await;
    let from_memory_again = app.generate(PROMPT).await;
    for (response, tier) in [(&hit, "memory"), (&from_store, "store"), (&from_memory_again, "memory")] {
        assert_eq!(response.served_by(), format!("exact {tier}"));
        assert_eq!(response.answer(), answer_to(PROMPT));
        assert!(response.header("cache-status").ends_with("; detail=exact"));
        assert!((86_300..=86_400).contains(&ttl(response)));
        assert!(response.header("age").parse::<u64>().unwrap() < 60);
        for name in ["x-cache-key", "x-cache-entry", "x-provider", "x-model"] {
            assert_eq!(response.header(name), miss.header(name), "{name}");
        }
        for absent in ["x-upstream-attempts", "x-cache-similarity"] {
            assert!(!response.has_header(absent), "{absent}");
        }
    }
    assert_eq!(app.upstream.calls(), 1);
}

#[tokio::test]
async fn on_postgresql_it_is_the_same() {
    let url = crate::support::postgres::fresh_database().await;
    let mut app = TestApp::with(&format!("cache.mode = \"exact\"\nstore.url = \"{url}\"")).await;
    assert_eq!(app.generate(PROMPT).await.source(), "upstream");
    assert_eq!(app.generate(PROMPT).await.served_by(), "exact memory");
    app.restart().await;
    assert_eq!(app.generate(PROMPT).await.served_by(), "exact store");
    assert_eq!(app.upstream.calls(), 1);
}

#[tokio::test]
async fn our_own_format_says_in_the_body_what_the_headers_say() {
    let app = TestApp::exact().await;
    let (miss, hit) = (app.generate(PROMPT).await, app.generate(PROMPT).await);
    for (response, source) in [(&miss, "upstream"), (&hit, "exact")] {
        let body = response.json();
        assert_eq!(body["text"], answer_to(PROMPT));
        assert_eq!(body["source"], source);
        assert_eq!((&body["model"], &body["provider"]), (&json!("parrot"), &json!("fake")));
        assert_eq!(body["finish_reason"], "stop");
        assert_eq!(body["usage"], json!({"prompt_tokens": 9, "completion_tokens": 12, "total_tokens": 21}));
        assert_eq!(body["cache"]["key"], response.header("x-cache-key"));
        assert_eq!(body["cache"]["entry"], response.header("x-cache-entry"));
        assert!(body["cache"]["similarity"].is_null());
        assert!(body["latency_ms"].is_number());
        assert_eq!(body["quality"], 1.0);
        for unknown in ["degraded", "saved_usd"] {
            assert!(body[unknown].is_null() && body.as_object().unwrap().contains_key(unknown), "{unknown}");
        }
    }
    assert_eq!(hit.json()["cache"]["tier"], "memory");
    assert!(miss.json()["cache"]["tier"].is_null());
}

#[tokio::test]
async fn one_entry_serves_streams_and_whole_answers_and_both_endpoints() {
    let app = TestApp::exact().await;
    let first = app.stream("/v1/generate", json!({ "prompt": PROMPT })).await.rest().await;
    assert_eq!(first.answer(), answer_to(PROMPT));
    let whole = app.generate(PROMPT).await;
    let chat_whole = app.chat(chat(PROMPT)).await;
    let chat_stream = app.stream("/v1/chat/completions", chat(PROMPT)).await.rest().await;
    let generate_stream = app.stream("/v1/generate", json!({ "prompt": PROMPT })).await.rest().await;
    for response in [&whole, &chat_whole, &chat_stream, &generate_stream] {
        assert_eq!((response.served_by().as_str(), response.answer()), ("exact memory", answer_to(PROMPT)));
        assert_eq!(response.header("x-cache-key"), whole.header("x-cache-key"));
    }
    assert_eq!(app.upstream.calls(), 1);
}

#[tokio::test]
async fn a_hit_has_the_vendors_own_body() {
    let app = TestApp::exact().await;
    app.chat(chat(PROMPT)).await;
    let hit = app.chat(chat(PROMPT)).await.json();
    assert_eq!(hit["object"], "chat.completion");
    assert_eq!(hit["model"], "parrot");
    assert_eq!(hit["id"], "chatcmpl-1");
    let choice = &hit["choices"][0];
    assert_eq!(choice["message"]["role"], "assistant");
    assert_eq!(choice["message"]["content"], answer_to(PROMPT));
    assert_eq!((&choice["finish_reason"], &choice["index"]), (&json!("stop"), &json!(0)));
    assert_eq!(hit["usage"]["total_tokens"], 21);
}

#[tokio::test]
async fn the_order_of_keys_and_the_space_around_them_do_not_matter() {
    let app = TestApp::exact().await;
    let endpoint = "/v1/chat/completions";
    let one = r#"{"model":"fake/parrot","messages":[{"role":"user","content":"Hi"}],"temperature":0.5,
                  "response_format":{"type":"json_schema","json_schema":{"name":"n","schema":{"type":"object"}}}}"#;
    let other = r#"{ "response_format" : {"json_schema": {"schema": {"type" :"object"}, "name": "n"},
                  "type": "json_schema"}, "temperature": 5e-1, "stream": false, "user": "u",
                  "messages": [ {"content": " Hi\n", "role": "user"} ], "model": "parrot" }"#;
    app.upstream.always(Reply::text("{}"));
    assert_eq!(app.post_text(endpoint, &[], one).await.source(), "upstream");
    assert_eq!(app.post_text(endpoint, &[], other).await.served_by(), "exact memory");
}

#[tokio::test]
async fn whatever_shapes_the_answer_makes_another_request() {
    let app = TestApp::exact().await;
    app.chat(chat(PROMPT)).await;
    app.upstream.expect_field("knob");
    for (field, value) in [
        ("temperature", json!(0.1)),
        ("top_p", json!(0.1)),
        ("seed", json!(1)),
        ("stop", json!(["x"])),
        ("n", json!(2)),
        ("presence_penalty", json!(0.1)),
        ("logprobs", json!(true)),
        ("reasoning_effort", json!("low")),
        ("tools", json!([{"type": "function", "function": {"name": "f"}}])),
        ("response_format", json!({"type": "json_object"})),
        ("model", json!("fake/macaw")),
        ("knob", json!(1)),
        ("messages", json!([{"role": "system", "content": "s"}, {"role": "user", "content": PROMPT}])),
        ("messages", json!([{"role": "user", "content": PROMPT, "name": "ann"}])),
    ] {
        let response = app.chat(with(chat(PROMPT), field, value)).await;
        assert_eq!((response.status, response.source()), (200, "upstream"), "{field}");
    }
}

#[tokio::test]
async fn an_entry_serves_every_limit_that_it_fits_and_is_replaced_where_it_does_not() {
    let app = TestApp::exact().await;
    let limited = |tokens: u32| with(chat(PROMPT), "max_tokens", json!(tokens));
    app.upstream.on_prompt(PROMPT, Reply::text("first").usage(9, 12));
    app.chat(chat(PROMPT)).await;
    assert_eq!(app.chat(limited(12)).await.answer(), "first");
    assert_eq!(app.upstream.calls(), 1);

    app.upstream.on_prompt(PROMPT, Reply::text("short").usage(9, 5));
    assert_eq!(app.chat(limited(11)).await.answer(), "short");
    assert_eq!(app.upstream.calls(), 2);
    for body in [limited(5), limited(12), chat(PROMPT), with(chat(PROMPT), "max_completion_tokens", json!(7))]
    {
        assert_eq!(app.chat(body).await.answer(), "short");
    }
    assert_eq!(app.upstream.calls(), 2);
}

#[tokio::test]
async fn an_answer_of_unknown_length_serves_no_smaller_limit_than_it_was_written_under() {
    let app = TestApp::exact().await;
    let limited = |tokens: u32| with(chat(PROMPT), "max_tokens", json!(tokens));
    app.upstream.always(Reply::text("unmeasured").without_usage());
    // Far below every limit by our own count, which is not to be trusted for this.
    assert_eq!(app.chat(limited(50)).await.json()["usage"]["estimated"], true);
    assert_eq!(app.chat(limited(50)).await.served_by(), "exact memory");
    assert_eq!(app.chat(limited(51)).await.served_by(), "exact memory");
    assert_eq!(app.chat(limited(49)).await.source(), "upstream");
}

#[tokio::test]
async fn an_entry_lives_as_long_as_the_request_said_and_a_hit_never_prolongs_it() {
    let app = TestApp::exact().await;
    let headers = [("x-cache-ttl", "1")];
    app.generate_with(PROMPT, &headers).await;
    let hit = app.generate(PROMPT).await;
    assert!(ttl(&hit) <= 1);
    let cached = [("cache-control", "only-if-cached")];
    eventually("the end of the entry", async || {
        let response = app.generate_with(PROMPT, &cached).await;
        (response.status == 504).then_some(())
    })
    .await;
    // What has expired still serves whoever accepts it, and says how long ago that was.
    let stale = app.generate_with(PROMPT, &[("cache-control", "only-if-cached, max-stale=60")]).await;
    assert_eq!((stale.status, stale.source()), (200, "exact"));
    assert!(ttl(&stale) <= 0);
    assert_eq!(app.generate(PROMPT).await.source(), "upstream");
    assert_eq!(app.upstream.calls(), 2);
}

#[tokio::test]
async fn the_body_says_how_long_an_entry_lives_and_the_header_wins() {
    let app = TestApp::exact().await;
    let body = json!({"prompt": PROMPT, "cache": {"ttl": 500}});
    let fresh = app.post("/v1/generate", &[], body.clone()).await;
    assert!((495..=500).contains(&fresh.json()["cache"]["ttl_seconds"].as_i64().unwrap()));
    let refreshed = [("x-cache-ttl", "70"), ("cache-control", "no-cache")];
    let fresh = app.post("/v1/generate", &refreshed, body).await;
    assert!((65..=70).contains(&fresh.json()["cache"]["ttl_seconds"].as_i64().unwrap()));
}

#[tokio::test]
async fn whoever_wants_a_young_answer_gets_one() {
    let app = TestApp::exact().await;
    app.generate(PROMPT).await;
    let of_age = |age: &'static str| [("cache-control", age)];
    assert_eq!(app.generate_with(PROMPT, &of_age("max-age=600")).await.source(), "exact");
    eventually("an age above zero", async || {
        (app.generate_with(PROMPT, &of_age("max-age=0")).await.source() == "upstream").then_some(())
    })
    .await;
}

#[tokio::test]
async fn no_cache_asks_anew_and_replaces_the_entry() {
    let app = TestApp::exact().await;
    app.generate(PROMPT).await;
    app.upstream.on_prompt(PROMPT, Reply::text("newer"));
    let refreshed = app.generate_with(PROMPT, &[("cache-control", "no-cache")]).await;
    assert!(refreshed.header("cache-status").starts_with("refrain; fwd=request"));
    assert_eq!(refreshed.answer(), "newer");
    assert_eq!(app.generate(PROMPT).await.answer(), "newer");
    let by_body = json!({"prompt": PROMPT, "cache": {"no-cache": true}});
    assert_eq!(app.post("/v1/generate", &[], by_body).await.source(), "upstream");
    assert_eq!(app.upstream.calls(), 3);
}

#[tokio::test]
async fn no_store_reads_and_does_not_write() {
    let app = TestApp::exact().await;
    let no_store = [("cache-control", "no-store")];
    let miss = app.generate_with(PROMPT, &no_store).await;
    assert_eq!(miss.header("cache-status"), "refrain; fwd=miss");
    assert_eq!(app.generate(PROMPT).await.source(), "upstream");
    assert_eq!(app.generate_with(PROMPT, &no_store).await.served_by(), "exact memory");
    assert_eq!(app.metric("refrain_cache_write_skipped_total{reason=\"no_store\"}").await, 1.0);
}

#[tokio::test]
async fn both_together_and_mode_off_leave_the_cache_alone() {
    let app = TestApp::exact().await;
    app.generate(PROMPT).await;
    for header in [("cache-control", "no-cache, no-store"), ("x-cache-mode", "off")] {
        app.upstream.on_prompt(PROMPT, Reply::text("aside"));
        let aside = app.generate_with(PROMPT, &[header]).await;
        assert_eq!((aside.answer().as_str(), aside.header("cache-status")), ("aside", "refrain; fwd=bypass"));
        assert_eq!(app.generate(PROMPT).await.answer(), answer_to(PROMPT));
    }
}

#[tokio::test]
async fn only_if_cached_asks_nobody() {
    let app = TestApp::exact().await;
    let cached = [("cache-control", "only-if-cached")];
    let refused = app.generate_with(PROMPT, &cached).await;
    assert_eq!((refused.status, refused.error("code").as_str()), (504, "only_if_cached"));
    assert_eq!(refused.header("x-should-retry"), "false");
    assert_eq!(app.upstream.calls(), 0);
    app.generate(PROMPT).await;
    assert_eq!(app.generate_with(PROMPT, &cached).await.served_by(), "exact memory");
}

#[tokio::test]
async fn namespaces_are_apart() {
    let app = TestApp::exact().await;
    let of = |name: &'static str| [("x-cache-namespace", name)];
    app.generate(PROMPT).await;
    assert_eq!(app.generate_with(PROMPT, &of("faq")).await.source(), "upstream");
    assert_eq!(app.generate_with(PROMPT, &of("faq")).await.source(), "exact");
    assert_eq!(app.generate_with(PROMPT, &of("default")).await.source(), "exact");
    let by_body = json!({"prompt": PROMPT, "cache": {"namespace": "faq"}});
    assert_eq!(app.post("/v1/generate", &[], by_body).await.source(), "exact");
}

#[tokio::test]
async fn with_scope_user_answers_stay_with_their_user_and_nameless_requests_are_not_cached() {
    let app = TestApp::with("cache.mode = \"exact\"\ncache.scope = \"user\"").await;
    let of = |user: &str| with(chat(PROMPT), "user", json!(user));
    assert_eq!(app.chat(of("ann")).await.source(), "upstream");
    assert_eq!(app.chat(of("ann")).await.source(), "exact");
    assert_eq!(app.chat(with(chat(PROMPT), "metadata", json!({"user_id": "ann"}))).await.source(), "exact");
    assert_eq!(app.chat(of("bob")).await.source(), "upstream");
    for _ in 0..2 {
        let nobody = app.chat(chat(PROMPT)).await;
        assert_eq!((nobody.source(), nobody.header("cache-status")), ("upstream", "refrain; fwd=bypass"));
    }
    assert_eq!(app.metric("refrain_cache_write_skipped_total{reason=\"no_user\"}").await, 2.0);
}

#[tokio::test]
async fn a_bare_name_its_full_form_and_the_default_share_entries() {
    let app = TestApp::exact().await;
    app.generate(PROMPT).await;
    for model in [MODEL, "parrot", "default"] {
        assert_eq!(app.chat(with(chat(PROMPT), "model", json!(model))).await.source(), "exact", "{model}");
    }
}

#[tokio::test]
async fn invalidated_entries_are_gone_from_every_tier() {
    let mut app = TestApp::exact().await;
    app.generate_with(PROMPT, &[("x-cache-tags", "geo, faq")]).await;
    app.generate("What is a mesa?").await;
    app.stored(2).await;
    let dry = app.admin_post("/admin/invalidate", json!({"tag": "geo"})).await.json();
    assert_eq!((&dry["dry_run"], &dry["count"]), (&json!(true), &json!(1)));
    assert_eq!(app.generate(PROMPT).await.source(), "exact");
    let done = app.admin_post("/admin/invalidate", json!({"tag": "geo", "dry_run": false})).await.json();
    assert_eq!(done["count"], 1);
    let cached = [("cache-control", "only-if-cached")];
    assert_eq!(app.generate_with(PROMPT, &cached).await.status, 504);
    app.restart().await;
    assert_eq!(app.generate_with(PROMPT, &cached).await.status, 504);
    assert_eq!(app.generate_with("What is a mesa?", &cached).await.status, 200);
}

#[tokio::test]
async fn where_the_configuration_switches_the_cache_off_no_request_switches_it_on() {
    let app = TestApp::with("cache.mode = \"off\"").await;
    for _ in 0..2 {
        let response = app.generate_with(PROMPT, &[("x-cache-mode", "semantic")]).await;
        assert_eq!(response.header("cache-status"), "refrain; fwd=bypass");
    }
    assert_eq!(app.upstream.calls(), 2);
}

#[tokio::test]
async fn what_memory_cannot_hold_is_answered_from_the_store() {
    let app = TestApp::with("cache.mode = \"exact\"\ncache.memory_capacity_bytes = 1").await;
    app.generate(PROMPT).await;
    app.stored(1).await;
    // It is let go in the background, a moment after it came.
    eventually("an answer of the store", async || {
        (app.generate(PROMPT).await.served_by() == "exact store").then_some(())
    })
    .await;
    assert_eq!(app.upstream.calls(), 1);
}
