//! `POST /admin/reload` and SIGHUP: another configuration while the server runs, or none at all where it is broken.

use serde_json::{Value, json};

use crate::keys::key;
use crate::support::app::{TestApp, chat, with};
use crate::support::eventually;
use crate::support::reply::{Gate, Reply};
use crate::support::upstream::Upstream;

const EXACT: &str = "cache.mode = \"exact\"\n";
const PROMPT: &str = "What is a fjord?";

async fn reload(app: &TestApp) -> Value {
    let response = app.admin_post("/admin/reload", json!({})).await;
    assert_eq!(response.status, 200, "{}", response.text());
    response.json()
}

async fn reloads(app: &TestApp, outcome: &str) -> f64 {
    app.metric(&format!("refrain_reloads_total{{outcome=\"{outcome}\"}}")).await
}

fn route(alias: &str, chain: &str) -> String {
    format!("[[routes]]\nmodel = \"{alias}\"\nchain = [\"{chain}\"]\n")
}

/// The usual provider, which knows one model, and a second one.
fn providers(spare: &Upstream) -> String {
    format!(
        "{PARROT}[[providers]]\nname = \"spare\"\nkind = \"openai_compatible\"\nbase_url = \"{}\"\napi_key_env = \"FAKE_KEY\"\n",
        spare.base_url()
    )
}

const PARROT: &str = "[[providers]]\nmodels = [\"parrot\"]\n";

#[tokio::test]
async fn routes_providers_and_settings_of_the_cache_are_exchanged() {
    let (app, spare) = (TestApp::with(&format!("{EXACT}{PARROT}")).await, Upstream::start().await);
    let ask = async |prompt: &str| app.chat(with(chat(prompt), "model", json!("fast"))).await;
    assert_eq!(ask(PROMPT).await.status, 404);
    app.configure(&format!("{EXACT}cache.ttl_seconds = 60\n{PARROT}{}", route("fast", "fake/parrot")));
    assert_eq!(reload(&app).await, json!({"reloaded": true, "needs_restart": []}));
    assert_eq!(ask(PROMPT).await.header("x-provider"), "fake");
    let hit = ask(PROMPT).await;
    assert_eq!((hit.source(), hit.json()["model"].as_str()), ("exact", Some("parrot")));
    let ttl = hit.header("cache-status").split("; ").find_map(|part| part.strip_prefix("ttl=")?.parse().ok());
    assert!(ttl.is_some_and(|ttl: u64| ttl <= 60), "{}", hit.header("cache-status"));

    app.configure(&format!("{EXACT}{}{}", providers(&spare), route("fast", "spare/macaw")));
    reload(&app).await;
    assert_eq!(ask("Another one?").await.header("x-provider"), "spare");
    assert_eq!(ask(PROMPT).await.source(), "exact", "what is cached stays");
    assert_eq!(app.metric("refrain_upstream_healthy{provider=\"spare\"}").await, 1.0);
    app.configure(&format!("cache.mode = \"off\"\n{PARROT}"));
    reload(&app).await;
    assert_eq!(ask(PROMPT).await.status, 404);
    for _ in 0..2 {
        assert_eq!(app.generate(PROMPT).await.source(), "upstream");
    }
    assert_eq!(reloads(&app, "done").await, 3.0);
    let metrics = app.admin_get("/metrics").await.text();
    assert!(!metrics.contains("refrain_upstream_healthy{provider=\"spare\"}"), "who left is gone");
}

#[tokio::test]
async fn fault_85_a_broken_configuration_changes_nothing_and_shows_no_secret() {
    let app = TestApp::binary(&format!("{EXACT}{}", route("fast", "fake/parrot"))).await;
    let ask = async || app.chat(with(chat(PROMPT), "model", json!("fast"))).await;
    assert_eq!(ask().await.status, 200);
    for (text, reason) in [
        ("[cache\nttl_seconds = 1 # PASSWORDMARK", "cannot read the configuration"),
        ("[cache]\nttl_secondz = \"PASSWORDMARK\"", "cache.ttl_secondz"),
        ("[store]\nurl = \"mysql://u:PASSWORDMARK@h/d\"", "store.url"),
        ("[alerts]\nwebhook_url_env = \"NOT_SET\"", "alerts.webhook_url_env"),
        ("[alerts]\nwebhook_url_env = \"FAKE_KEY\"", "alerts.webhook_url_env"),
        (
            "[[providers]]\nname = \"p\"\nkind = \"openai_compatible\"\nbase_url = \"http://169.254.169.254/v1\"",
            "base_url",
        ),
        ("[[routes]]\nmodel = \"m\"\nchain = [\"nobody/x\"]", "routes[0].chain"),
    ] {
        app.configure_by(text);
        let refused = app.admin_post("/admin/reload", json!({})).await;
        assert_eq!(
            (refused.status, refused.error("code").as_str()),
            (400, "invalid_configuration"),
            "{text}"
        );
        let message = refused.error("message");
        assert!(message.contains(reason), "{text}: {message}");
        for secret in ["PASSWORDMARK", crate::support::upstream::KEY] {
            assert!(!refused.text().contains(secret), "{message}");
        }
        assert_eq!(ask().await.source(), "exact");
    }
    std::fs::remove_file(app.folder().join("refrain.toml")).unwrap();
    assert_eq!(app.admin_post("/admin/reload", json!({})).await.status, 400);
    assert_eq!((reloads(&app, "refused").await, reloads(&app, "done").await), (8.0, 0.0));
    app.process().signal("-TERM");
    app.process().ended().await;
    let said = app.process().said();
    assert_eq!(said.matches("the configuration was not loaded again").count(), 8, "{said}");
    for secret in ["PASSWORDMARK", crate::support::upstream::KEY] {
        assert!(!said.contains(secret), "{said}");
    }
}

#[tokio::test]
async fn flights_under_way_finish_on_what_they_began_with() {
    let app = TestApp::with(&format!("{EXACT}{}", route("fast", "fake/parrot"))).await;
    let gate = Gate::shut();
    app.upstream.on_prompt(PROMPT, Reply::text("A long inlet.").held_midway(&gate));
    let mut stream = app.stream("/v1/chat/completions", with(chat(PROMPT), "model", json!("fast"))).await;
    stream.read_until("delta").await;
    app.configure(&format!("{EXACT}[[providers]]\nmodels = [\"macaw\"]\n"));
    reload(&app).await;
    assert_eq!(app.chat(with(chat("Q?"), "model", json!("fast"))).await.status, 404);
    gate.open();
    let answered = stream.rest().await;
    assert_eq!(answered.answer(), "A long inlet.");
    app.stored(1).await;
}

#[tokio::test]
async fn a_breaker_stays_as_it_is_and_a_parked_upstream_is_asked_again() {
    let settings = format!("{EXACT}retry.attempts_per_upstream = 1\nbreaker.failures = 2\n");
    let app = TestApp::with(&settings).await;
    let breaker = async || app.admin_get("/health/ai").await.json()["upstreams"][0].clone();
    app.upstream.on_model("broken", Reply::error(500, "broken", None, None));
    for at in 0..2 {
        app.chat(with(chat(&format!("Q{at}?")), "model", json!("fake/broken"))).await;
    }
    let before = breaker().await;
    assert_eq!(before["breaker"], "open");
    app.configure(&format!("{settings}cache.ttl_seconds = 60"));
    reload(&app).await;
    let after = breaker().await;
    assert_eq!(
        (&after["breaker"], &after["models"][0]["name"]),
        (&json!("open"), &json!("broken")),
        "{after}"
    );

    app.upstream.on_model("parrot", Reply::error(401, "bad key", None, None));
    app.generate(PROMPT).await;
    assert_eq!(breaker().await["parked"], "bad_key");
    app.upstream.on_model("parrot", Reply::text("Well again."));
    assert_eq!(app.generate(PROMPT).await.status, 503, "it is left alone");
    reload(&app).await;
    assert_eq!(app.generate(PROMPT).await.answer(), "Well again.");
}

#[tokio::test]
async fn what_an_upstream_was_asked_for_in_this_minute_counts_on_unless_its_limits_are_others() {
    let limited = |count: u32| {
        format!("{EXACT}{PARROT}limits.requests_per_minute = {count}\n{}", route("fast", "fake/parrot"))
    };
    let app = TestApp::with(&limited(1)).await;
    // A caller that cannot wait for the next minute.
    let hasty = [("x-deadline-ms", "2000")];
    let ask =
        async |prompt: &str| app.chat_with(with(chat(prompt), "model", json!("fast")), &hasty).await.status;
    assert_eq!(ask(PROMPT).await, 200);
    assert_eq!(ask("Another one?").await, 503);
    app.configure(&format!("{}\n", limited(1)));
    reload(&app).await;
    assert_eq!(ask("Another one?").await, 503, "a reload gives no second minute");
    app.configure(&limited(2));
    reload(&app).await;
    assert_eq!(ask("Another one?").await, 200);
}

#[tokio::test]
async fn fault_67_keys_are_exchanged_on_both_listeners() {
    let root = key("root", "a", "\"generate\", \"admin\"", "");
    let mut app = TestApp::with(EXACT).await;
    assert_eq!(app.generate(PROMPT).await.status, 200);
    app.configure(&format!("{EXACT}{root}{}", key("ann", "a", "\"generate\"", "")));
    reload(&app).await;
    assert_eq!(app.generate(PROMPT).await.status, 401);
    assert_eq!(app.admin_get("/admin/stats").await.status, 401);
    app.use_key("ann");
    assert_eq!(app.generate(PROMPT).await.status, 200);
    assert_eq!(
        app.generate_with(PROMPT, &[("host", "cache.internal")]).await.status,
        200,
        "the key is the guard"
    );
    app.use_key("root");
    app.configure(&format!("{EXACT}{root}"));
    reload(&app).await;
    app.use_key("ann");
    assert_eq!(app.generate(PROMPT).await.status, 401);
    app.use_key("root");
    app.configure(EXACT);
    reload(&app).await;
    app.use_no_key();
    assert_eq!(app.generate(PROMPT).await.status, 200);
    let foreign = app.generate_with(PROMPT, &[("host", "cache.internal")]).await;
    assert_eq!(foreign.status, 403, "without keys the rules for that hold again");
}

#[tokio::test]
async fn keys_are_not_taken_from_a_listener_that_others_can_reach() {
    let root = key("root", "a", "\"generate\", \"admin\"", "");
    let mut app = TestApp::with(&format!("{EXACT}server.listen = \"0.0.0.0:0\"\n{root}")).await;
    app.use_key("root");
    app.configure(EXACT);
    let refused = app.admin_post("/admin/reload", json!({})).await;
    assert_eq!(refused.status, 400);
    assert!(refused.error("message").contains("auth.keys"), "{}", refused.text());
    app.use_no_key();
    assert_eq!(app.admin_get("/admin/stats").await.status, 401);
}

#[tokio::test]
async fn what_needs_a_restart_is_named_and_left() {
    let mut app = TestApp::exact().await;
    app.generate(PROMPT).await;
    app.stored(1).await;
    let settings = format!(
        "data_dir = \"elsewhere\"\n{EXACT}server = {{listen = \"127.0.0.1:1\", drain_timeout_ms = 1, max_body_bytes = 1024}}\n\
         embedding.threads = 2\nindex.collection = \"other\"\ncache.memory_capacity_bytes = 1000000\njobs.queue = 7"
    );
    app.configure(&settings);
    let named = json!([
        "data_dir",
        "server.listen",
        "server.drain_timeout_ms",
        "store.url",
        "embedding",
        "index",
        "cache.memory_capacity_bytes",
        "jobs"
    ]);
    for _ in 0..2 {
        assert_eq!(reload(&app).await["needs_restart"], named, "until there is one");
    }
    assert_eq!(app.generate(PROMPT).await.source(), "exact");
    let large = app.generate(&"long ".repeat(1_000)).await;
    assert_eq!(large.status, 413, "what can be exchanged is");
    app.configure(EXACT);
    assert_eq!(reload(&app).await["needs_restart"], json!([]));
    // The semantic tier is opened at the start or not at all.
    app.configure("");
    assert_eq!(reload(&app).await["needs_restart"], json!(["cache.mode"]));
    app.restart().await;
    assert_eq!(reload(&app).await["needs_restart"], json!([]));
}

#[tokio::test]
async fn the_switch_of_ai_follows_the_file_where_the_file_has_changed() {
    let app = TestApp::exact().await;
    let is_on = async || app.admin_get("/admin/ai").await.json()["enabled"] == true;
    app.admin_put("/admin/ai", json!({"enabled": false})).await;
    reload(&app).await;
    assert!(!is_on().await, "the file says nothing new");
    app.configure(&format!("{EXACT}ai.enabled = false"));
    reload(&app).await;
    app.configure(EXACT);
    reload(&app).await;
    assert!(is_on().await);
    app.configure(&format!("{EXACT}ai.enabled = false"));
    reload(&app).await;
    assert!(!is_on().await);
    assert_eq!(app.generate(PROMPT).await.status, 503);
}

#[tokio::test]
async fn a_sandbox_goes_on_or_is_exchanged() {
    let sandbox = |latency: u64| {
        format!("{EXACT}[[providers]]\nkind = \"sandbox\"\nsandbox = {{latency_ms = {latency}}}\n")
    };
    let app = TestApp::with(&sandbox(0)).await;
    for (at, latency) in [0, 0, 1].into_iter().enumerate() {
        app.configure(&sandbox(latency));
        reload(&app).await;
        let response = app.generate(&format!("Question {at}?")).await;
        assert_eq!((response.status, response.source()), (200, "upstream"), "{}", response.text());
    }
}

#[tokio::test]
async fn only_administrators_reload() {
    let mut app = TestApp::with(&format!("{EXACT}{}", key("ann", "a", "\"generate\"", ""))).await;
    assert_eq!(app.admin_post("/admin/reload", json!({})).await.status, 401);
    app.use_key("ann");
    assert_eq!(app.admin_post("/admin/reload", json!({})).await.status, 403);
    assert_eq!(app.post("/admin/reload", &[], json!({})).await.status, 404, "not on the public listener");
}

#[tokio::test]
async fn sighup_reloads_and_the_server_goes_on() {
    let app = TestApp::binary(EXACT).await;
    app.configure(&format!("{EXACT}{}", route("fast", "fake/parrot")));
    app.process().signal("-HUP");
    app.counted("refrain_reloads_total{outcome=\"done\"}", 1.0).await;
    assert_eq!(app.chat(with(chat(PROMPT), "model", json!("fast"))).await.status, 200);
    app.configure_by("colour = 1");
    app.process().signal("-HUP");
    app.counted("refrain_reloads_total{outcome=\"refused\"}", 1.0).await;
    assert_eq!(app.chat(with(chat("Another?"), "model", json!("fast"))).await.status, 200);
    app.process().signal("-TERM");
    assert_eq!(app.process().ended().await.code(), Some(0));
    eventually("the log", async || app.process().said().contains("unknown field `colour`").then_some(()))
        .await;
}
