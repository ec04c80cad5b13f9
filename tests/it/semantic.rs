//! Similar requests: what may be answered by another prompt's entry, and all that may not.

use refrain::app::{Calibrator, Veto};
use serde_json::{Value, json};

use crate::support::app::{TestApp, chat, with};
use crate::support::eventually;
use crate::support::reply::{Reply, answer_to};

const STORED: &str = "How do I reset my password?";
const REWORDED: &str = "How can I reset my password?";

/// Stores the answer to a prompt, and waits until it can be found by similarity.
async fn store(app: &TestApp, prompt: &str) {
    let points = app.admin_get("/admin/stats").await.json()["index"]["points"].as_u64().unwrap();
    assert_eq!(app.chat(chat(prompt)).await.source(), "upstream", "{prompt}");
    app.indexed(points + 1).await;
}

/// Explains a chat request.
async fn explain(app: &TestApp, body: Value) -> Value {
    let ask = json!({"endpoint": "/v1/chat/completions", "headers": {}, "body": body});
    let explained = app.admin_post("/admin/explain", ask).await;
    assert_eq!(explained.status, 200, "{}", explained.text());
    explained.json()
}

/// Returns the layers that refuse the nearest candidate.
fn vetoes(explained: &Value) -> Vec<&str> {
    let layers = explained["candidates"][0]["layers"].as_array().expect("a candidate");
    layers.iter().filter(|it| it["verdict"] == "veto").map(|it| it["layer"].as_str().unwrap()).collect()
}

#[tokio::test]
async fn a_reworded_prompt_is_answered_and_says_by_which_entry_and_how_near() {
    let app = TestApp::start().await;
    store(&app, STORED).await;
    let hit = app.chat(chat(REWORDED)).await;
    assert_eq!((hit.served_by().as_str(), hit.answer()), ("semantic semantic", answer_to(STORED)));
    let (key, entry) = (hit.header("x-cache-key"), hit.header("x-cache-entry"));
    assert_eq!((key.len(), entry.len()), (64, 64));
    assert_ne!(key, entry);
    assert_eq!(entry, app.chat(chat(STORED)).await.header("x-cache-entry"));
    let similarity = hit.header("x-cache-similarity");
    assert_eq!(similarity.len(), 6, "four digits: {similarity}");
    assert!((0.9..=1.0).contains(&similarity.parse::<f32>().unwrap()), "{similarity}");
    assert!(hit.header("cache-status").starts_with("refrain; hit; ttl="));
    assert!(hit.header("cache-status").ends_with("; detail=semantic"));
    for phase in ["cache;dur=", "embed;dur=", "search;dur=", "verify;dur="] {
        assert!(hit.header("server-timing").contains(phase), "{}", hit.header("server-timing"));
    }
    assert!(hit.has_header("age") && !hit.has_header("x-upstream-attempts"));

    let native = app.generate(REWORDED).await.json();
    assert_eq!((&native["source"], &native["cache"]["tier"]), (&json!("semantic"), &json!("semantic")));
    assert_eq!(native["cache"]["entry"], entry);
    assert!(native["cache"]["similarity"].as_f64().unwrap() >= 0.9);
    assert_eq!(app.upstream.calls(), 1);
}

#[tokio::test]
async fn a_semantic_hit_streams_like_any_other_and_makes_no_entry_of_its_own() {
    let app = TestApp::start().await;
    store(&app, STORED).await;
    let hit = app.stream("/v1/chat/completions", chat(REWORDED)).await.rest().await;
    assert_eq!((hit.source(), hit.answer()), ("semantic", answer_to(STORED)));
    assert!(hit.text().ends_with("data: [DONE]\n\n"));
    assert_eq!(app.chat(chat(REWORDED)).await.source(), "semantic");
    assert_eq!(app.admin_get("/admin/stats").await.json()["store"]["entries"], 1);
}

#[tokio::test]
async fn after_a_restart_the_index_fills_itself_from_the_store() {
    let mut app = TestApp::start().await;
    store(&app, STORED).await;
    app.restart().await;
    app.indexed(1).await;
    assert_eq!(app.chat(chat(REWORDED)).await.source(), "semantic");
    assert_eq!(app.upstream.calls(), 1);
}

#[tokio::test]
async fn nothing_but_the_last_question_is_free_to_differ() {
    let app = TestApp::start().await;
    store(&app, STORED).await;
    let ask = chat(REWORDED);
    let question = |messages: Value| with(ask.clone(), "messages", messages);
    let user = json!({"role": "user", "content": REWORDED});
    let tools = json!([{"type": "function", "function": {"name": "f"}}]);
    app.upstream.expect_field("knob");
    for (what, body) in [
        ("system prompt", question(json!([{"role": "system", "content": "Be brief."}, user]))),
        ("model", with(ask.clone(), "model", json!("fake/macaw"))),
        (
            "earlier turns",
            question(
                json!([{"role": "user", "content": "Hi"}, {"role": "assistant", "content": "Hello"}, user]),
            ),
        ),
        ("tools", with(ask.clone(), "tools", tools)),
        ("output format", with(ask.clone(), "response_format", json!({"type": "json_object"}))),
        ("temperature", with(ask.clone(), "temperature", json!(0.2))),
        ("stop", with(ask.clone(), "stop", json!(["."]))),
        ("seed", with(ask.clone(), "seed", json!(7))),
        ("a field we do not know", with(ask.clone(), "knob", json!(1))),
    ] {
        // Not kept, or one of these would answer another.
        let response = app.chat_with(body, &[("cache-control", "no-store")]).await;
        assert_eq!(response.source(), "upstream", "{what}");
    }
    let other_namespace = [("x-cache-namespace", "other"), ("cache-control", "no-store")];
    assert_eq!(app.chat_with(ask.clone(), &other_namespace).await.source(), "upstream");
    assert_eq!(app.chat(ask).await.source(), "semantic");
}

#[tokio::test]
async fn prompts_that_only_look_alike_are_refused_by_the_layer_that_sees_the_difference() {
    // So low that only the layers stand between the two.
    let app = TestApp::with("cache.semantic.similarity_threshold = 0.5").await;
    for (stored, asked, layer) in [
        ("How many people lived in Paris in 1990?", "How many people lived in Paris in 1991?", "numbers"),
        ("Convert 10 miles to kilometres.", "Convert 12 miles to kilometres.", "numbers"),
        ("Which drugs are safe during pregnancy?", "Which drugs are not safe during pregnancy?", "negation"),
        ("Which foods contain gluten?", "Which foods do not contain gluten?", "negation"),
        ("What does git rebase -i do?", "What does git rebase -x do?", "code"),
        (
            "Translate into French: \"The cat sleeps on the mat.\"",
            "Translate into French: \"The dog sleeps on the mat.\"",
            "payload",
        ),
    ] {
        store(&app, stored).await;
        let explained = explain(&app, chat(asked)).await;
        assert_eq!(explained["decision"], "miss", "{asked}: {explained:#}");
        assert!(vetoes(&explained).contains(&layer), "{asked}: {explained:#}");
        let rejected = format!("refrain_semantic_rejected_total{{layer=\"{layer}\"}}");
        let before = app.metric(&rejected).await;
        let response = app.chat_with(chat(asked), &[("cache-control", "no-store")]).await;
        assert_eq!((response.source(), response.answer()), ("upstream", answer_to(asked)), "{asked}");
        assert!(app.metric(&rejected).await > before, "{asked}");
    }
}

#[tokio::test]
async fn a_prompt_about_now_is_answered_from_its_repetition_alone_and_not_for_long() {
    let app = TestApp::start().await;
    let volatile = "What is the weather in Paris today?";
    let miss = app.generate(volatile).await;
    assert!(miss.json()["cache"]["ttl_seconds"].as_i64().unwrap() <= 300);
    assert_eq!(app.generate(volatile).await.source(), "exact");
    app.stored(1).await;
    assert_eq!(app.generate("How is the weather in Paris today?").await.source(), "upstream");
    store(&app, STORED).await;
    let stats = app.admin_get("/admin/stats").await.json();
    assert_eq!((&stats["store"]["entries"], &stats["index"]["points"]), (&json!(3), &json!(1)));
    let explained = explain(&app, chat(volatile)).await;
    assert_eq!(explained["policy"]["volatile"], true);
}

#[tokio::test]
async fn a_pair_that_somebody_called_wrong_never_matches_again() {
    let mut app = TestApp::start().await;
    store(&app, STORED).await;
    let hit = app.generate_with(REWORDED, &[("x-request-id", "wrong-one")]).await;
    assert_eq!((hit.source(), hit.header("x-request-id")), ("semantic", "wrong-one"));
    let verdict = json!({"request_id": "wrong-one", "verdict": "wrong"});
    let taken = eventually("the request to be remembered", async || {
        let taken = app.post("/v1/feedback", &[], verdict.clone()).await;
        (taken.status == 200).then(|| taken.json())
    })
    .await;
    assert_eq!(taken, json!({"removed": 1, "pair_blocked": true, "alias": false}));
    // The entry is gone, and where it comes again the pair is still apart.
    let cached = [("cache-control", "only-if-cached")];
    assert_eq!(app.chat_with(chat(STORED), &cached).await.status, 504);
    app.chat(chat(STORED)).await;
    app.indexed(1).await;
    for _ in 0..2 {
        assert_eq!(app.generate_with(REWORDED, &cached).await.status, 504);
        let explained = explain(&app, chat(REWORDED)).await;
        assert!(vetoes(&explained).contains(&"blocked"), "{explained:#}");
        app.restart().await;
        app.indexed(1).await;
    }
    assert_eq!(app.chat(chat("How could I reset my password?")).await.source(), "semantic");
}

#[tokio::test]
async fn feedback_after_a_miss_removes_what_the_request_wrote_and_an_unknown_id_is_404() {
    let app = TestApp::exact().await;
    app.generate_with(STORED, &[("x-request-id", "mine")]).await;
    app.stored(1).await;
    let verdict = json!({"request_id": "mine", "verdict": "wrong"});
    let taken = eventually("the request to be remembered", async || {
        let taken = app.post("/v1/feedback", &[], verdict.clone()).await;
        (taken.status == 200).then(|| taken.json())
    })
    .await;
    assert_eq!(taken, json!({"removed": 1, "pair_blocked": false, "alias": false}));
    assert_eq!(app.generate(STORED).await.source(), "upstream");
    let unknown = app.post("/v1/feedback", &[], json!({"request_id": "nobody", "verdict": "wrong"})).await;
    assert_eq!(unknown.status, 404);
    for about in ["key", "entry"] {
        let unknown = json!({about: "ab".repeat(32), "verdict": "wrong"});
        assert_eq!(app.admin_post("/admin/feedback", unknown).await.status, 404, "{about}");
    }
}

#[tokio::test]
async fn the_caller_may_raise_the_threshold_and_not_lower_it() {
    let app = TestApp::with("cache.semantic.similarity_threshold = 0.9").await;
    store(&app, STORED).await;
    let threshold = |value: &'static str| [("x-cache-threshold", value), ("cache-control", "no-store")];
    assert_eq!(app.chat_with(chat(REWORDED), &threshold("0.9999")).await.source(), "upstream");
    assert_eq!(app.chat_with(chat(REWORDED), &threshold("0.91")).await.source(), "semantic");
    let far = "How do I delete my account and all of its data?";
    assert_eq!(app.chat_with(chat(far), &threshold("0.01")).await.source(), "upstream");
}

#[tokio::test]
async fn what_explain_says_is_what_is_served() {
    let app = TestApp::start().await;
    let stored = "How do I make scrambled eggs creamy?";
    store(&app, stored).await;
    let cached = [("cache-control", "only-if-cached")];
    let mut seen = [false; 2];
    for asked in [
        "how do i make scrambled eggs creamy",
        "how do i make scrambeld eggs creamy",
        "creamy scrambled eggs",
        "What makes scrambled eggs creamy?",
        "Please tell me how to make scrambled eggs creamy",
        "How do I make scrambled eggs fluffy?",
        "How do I make eggs?",
    ] {
        let explained = explain(&app, chat(asked)).await["decision"] == "serve";
        let served = app.chat_with(chat(asked), &cached).await.status == 200;
        assert_eq!(explained, served, "{asked}");
        seen[usize::from(served)] = true;
    }
    assert_eq!(seen, [true, true], "some are served, and some are not");
}

#[tokio::test]
async fn what_calibrate_decides_is_what_is_served() {
    let app = TestApp::start().await;
    let calibrator = Calibrator::open(&app.config()).await.unwrap();
    let ask =
        |at: usize, prompt: &str| json!({"prompt": prompt, "cache": {"namespace": format!("pair-{at}")}});
    let cached = [("cache-control", "only-if-cached")];
    // Each with what refuses it first, as far as that is certain whatever the verifier says.
    let pairs = [
        ("How can I reset my password?", "How do I reset my password?", None),
        ("How do I make scrambled eggs fluffy?", "How do I make scrambled eggs creamy?", None),
        ("How far is 5 km in miles?", "How far is 6 km in miles?", Some("numbers")),
        (
            "How can I get the latest release notes?",
            "How do I get the latest release notes?",
            Some("volatile"),
        ),
        ("How can I get the release notes?", "How do I get the latest release notes?", Some("volatile")),
        ("How can I get the latest release notes?", "How do I get the release notes?", Some("volatile")),
    ];
    let mut indexed = 0;
    for (at, (_, stored, refused_by)) in pairs.into_iter().enumerate() {
        assert_eq!(app.post("/v1/generate", &[], ask(at, stored)).await.source(), "upstream");
        indexed += u64::from(refused_by != Some("volatile") || !stored.contains("latest"));
    }
    app.indexed(indexed).await;
    for (at, (asked, stored, refused_by)) in pairs.into_iter().enumerate() {
        let verdict = calibrator.judge(asked, stored).await.unwrap();
        let said = verdict.refused_by(calibrator.threshold()).map(Veto::name);
        let served = app.post("/v1/generate", &cached, ask(at, asked)).await.status == 200;
        assert_eq!(said.is_none(), served, "{asked} / {stored}: {said:?}");
        assert!(refused_by.is_none() || refused_by == said, "{asked} / {stored}: {said:?}");
    }
}

#[tokio::test]
async fn in_shadow_mode_the_decision_is_counted_and_nothing_similar_is_served() {
    let app = TestApp::with("cache.mode = \"shadow\"").await;
    store(&app, STORED).await;
    assert_eq!(app.chat(chat(REWORDED)).await.source(), "upstream");
    assert_eq!(app.chat(chat(STORED)).await.source(), "exact", "equal requests are served as ever");
    let shadowed = "refrain_cache_lookups_total{tier=\"semantic\",outcome=\"shadow_hit\"}";
    assert_eq!(app.metric(shadowed).await, 1.0);
    let explained = explain(&app, chat("How might I reset my password?")).await;
    assert_eq!(
        (&explained["decision"], &explained["candidates"][0]["served"]),
        (&json!("miss"), &json!(false))
    );
    assert_eq!(explained["tiers"][2]["outcome"], "shadow_hit");
}

#[tokio::test]
async fn the_same_last_question_in_another_conversation_is_another_question() {
    let app = TestApp::start().await;
    let after = |earlier: &str, last: &str| {
        let turns = json!([
            {"role": "user", "content": earlier},
            {"role": "assistant", "content": "Here you are."},
            {"role": "user", "content": last},
        ]);
        with(chat(last), "messages", turns)
    };
    let (router, phone) = ("I have bought a router.", "I have bought a phone.");
    assert_eq!(app.chat(after(router, STORED)).await.source(), "upstream");
    app.indexed(1).await;
    assert_eq!(app.chat(after(phone, STORED)).await.source(), "upstream");
    assert_eq!(app.chat(after("I have bought a phone!", REWORDED)).await.source(), "upstream");
    app.indexed(3).await;
    assert_eq!(app.chat(after(router, REWORDED)).await.source(), "semantic");
}

#[tokio::test]
async fn mode_exact_asks_for_no_similar_answer() {
    let app = TestApp::start().await;
    store(&app, STORED).await;
    let exact = [("x-cache-mode", "exact"), ("cache-control", "no-store")];
    assert_eq!(app.chat_with(chat(REWORDED), &exact).await.source(), "upstream");
    assert_eq!(app.chat_with(chat(STORED), &exact).await.served_by(), "exact memory");
    assert_eq!(app.chat(chat(REWORDED)).await.source(), "semantic");
}

#[tokio::test]
async fn a_prompt_longer_than_the_models_window_is_served_to_its_equal_alone() {
    let app = TestApp::start().await;
    let words: Vec<_> = (0..200).map(|number| format!("word{number}")).collect();
    let beginning = format!("Please consider this list with great care: {}.", words.join(", "));
    let (one, other) = (format!("{beginning} Which comes first?"), format!("{beginning} Which comes last?"));
    app.chat(chat(&one)).await;
    assert_eq!(app.chat(chat(&one)).await.source(), "exact");
    app.stored(1).await;
    assert_eq!(app.chat(chat(&other)).await.source(), "upstream");
    assert!(app.metric("refrain_semantic_rejected_total{layer=\"window\"}").await >= 1.0);
    store(&app, STORED).await;
    assert_eq!(app.admin_get("/admin/stats").await.json()["index"]["points"], 1);
}

#[tokio::test]
async fn a_prompt_in_a_script_that_the_model_does_not_know_is_served_to_its_equal_alone() {
    let app = TestApp::with("cache.semantic.similarity_threshold = 0.5").await;
    for (stored, asked) in [
        (
            "パスワードをリセットするにはどうすればいいですか？",
            "パスワードを変更するにはどうすればいいですか？",
        ),
        ("Как мне сбросить пароль?", "Как мне сменить пароль?"),
    ] {
        app.chat(chat(stored)).await;
        assert_eq!(app.chat(chat(stored)).await.source(), "exact");
        let explained = eventually("the entry in the index", async || {
            let explained = explain(&app, chat(asked)).await;
            (!explained["candidates"].as_array().unwrap().is_empty()).then_some(explained)
        })
        .await;
        assert!(vetoes(&explained).contains(&"script"), "{explained:#}");
        assert_eq!(app.chat_with(chat(asked), &[("cache-control", "no-store")]).await.source(), "upstream");
    }
}

#[tokio::test]
async fn fault_64_letters_that_only_look_the_same_make_another_prompt() {
    let app = TestApp::start().await;
    store(&app, STORED).await;
    for (disguised, what) in [
        ("How do I reset my p\u{430}ssword?", "a Cyrillic a"),
        ("How do I reset my p\u{3b1}ssword?", "a Greek alpha"),
    ] {
        assert_eq!(app.chat(chat(disguised)).await.source(), "upstream", "{what}");
    }
    // What stays in its script is judged like any other rewording, but is never the same prompt.
    for disguised in ["How do I reset my pass\u{200b}word?", "Ｈow do I reset my password?"] {
        assert_ne!(app.chat(chat(disguised)).await.source(), "exact", "{disguised:?}");
    }
}

#[tokio::test]
async fn a_last_turn_that_is_no_plain_question_is_served_to_its_equal_alone() {
    let app = TestApp::start().await;
    store(&app, STORED).await;
    let image = json!([
        {"type": "text", "text": STORED},
        {"type": "image_url", "image_url": {"url": "data:image/png;base64,AAAA"}},
    ]);
    for messages in [
        json!([{"role": "user", "content": image}]),
        json!([{"role": "user", "content": STORED}, {"role": "assistant", "content": "To reset"}]),
        json!([{"role": "user", "content": STORED, "name": "ann"}]),
    ] {
        let body = with(chat(""), "messages", messages);
        assert_eq!(app.chat(body.clone()).await.source(), "upstream", "{body}");
        assert_eq!(app.chat(body.clone()).await.source(), "exact", "{body}");
        assert!(explain(&app, body).await["partition"].is_null());
    }
}

#[tokio::test]
async fn a_similar_answer_must_fit_the_limit_and_the_age_that_are_asked_for() {
    let app = TestApp::start().await;
    app.upstream.on_prompt(STORED, Reply::text("Press the button.").usage(9, 12));
    store(&app, STORED).await;
    let limited = |tokens: u32| with(chat(REWORDED), "max_tokens", json!(tokens));
    let no_store = [("cache-control", "no-store")];
    assert_eq!(app.chat_with(limited(11), &no_store).await.source(), "upstream");
    assert_eq!(app.chat_with(limited(12), &no_store).await.source(), "semantic");
    eventually("an age above zero", async || {
        let young = [("cache-control", "no-store, max-age=0")];
        (app.chat_with(limited(12), &young).await.source() == "upstream").then_some(())
    })
    .await;
}

#[tokio::test]
async fn an_entry_that_has_expired_answers_nothing_like_it() {
    let app = TestApp::start().await;
    let cached = [("cache-control", "only-if-cached")];
    app.chat_with(chat(STORED), &[("x-cache-ttl", "2")]).await;
    eventually("a semantic hit", async || {
        (app.chat_with(chat(REWORDED), &cached).await.source() == "semantic").then_some(())
    })
    .await;
    eventually("the end of the entry", async || {
        (app.chat_with(chat(REWORDED), &cached).await.status == 504).then_some(())
    })
    .await;
}

#[tokio::test]
async fn with_scope_user_a_similar_answer_stays_with_its_user() {
    let app = TestApp::with("cache.scope = \"user\"").await;
    let of = |prompt: &str, user: &str| with(chat(prompt), "user", json!(user));
    app.chat(of(STORED, "ann")).await;
    app.indexed(1).await;
    let no_store = [("cache-control", "no-store")];
    assert_eq!(app.chat_with(of(REWORDED, "bob"), &no_store).await.source(), "upstream");
    assert_eq!(app.chat_with(of(REWORDED, "ann"), &no_store).await.source(), "semantic");
}

#[tokio::test]
async fn explain_tells_the_whole_story_calls_nobody_and_changes_nothing() {
    let app = TestApp::start().await;
    store(&app, STORED).await;
    let served = explain(&app, chat(REWORDED)).await;
    assert_eq!((&served["decision"], &served["source"]), (&json!("serve"), &json!("semantic")));
    assert_eq!(
        (served["key"].as_str().unwrap().len(), served["partition"].as_str().unwrap().len()),
        (64, 64)
    );
    assert_eq!(served["policy"], json!({"read": true, "write": true, "volatile": false, "reason": null}));
    let tiers: Vec<_> = served["tiers"].as_array().unwrap().iter().map(|it| it["tier"].clone()).collect();
    assert_eq!(tiers, [json!("memory"), json!("store"), json!("semantic")]);
    let candidate = &served["candidates"][0];
    assert_eq!((&candidate["prompt"], &candidate["served"]), (&json!(STORED), &json!(true)));
    assert!(candidate["similarity"].as_f64().unwrap() > 0.9);
    let verified = candidate["verifier"].as_f64().unwrap();
    assert!((0.5..=1.0).contains(&verified), "{verified}");
    assert!(vetoes(&served).is_empty());

    let system = json!([{"role": "system", "content": "Be brief."}, {"role": "user", "content": REWORDED}]);
    let apart = explain(&app, with(chat(REWORDED), "messages", system)).await;
    assert_eq!(apart["decision"], "miss");
    assert_eq!(apart["stranger"]["differs_in"], json!(["system"]));

    assert_eq!(explain(&app, chat(STORED)).await["source"], "exact");
    assert_eq!(app.upstream.calls(), 1);
    assert_eq!(app.admin_get("/admin/stats").await.json()["store"]["entries"], 1);
}
