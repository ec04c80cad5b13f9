//! Who hears of it when upstreams are lost: a webhook, once, and nobody waits for it.

use std::sync::Arc;
use std::time::Instant;

use futures_util::future::join_all;
use refrain::alerts::Alerts;
use refrain::config::{AlertsConfig, Secret};
use refrain::telemetry::{Events, Incident, Telemetry};
use serde_json::json;
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

use crate::support::app::{TestApp, chat, with};
use crate::support::reply::Reply;
use crate::support::upstream::Upstream;
use crate::support::webhook::{SECRET, Webhook};
use crate::support::{PATIENCE, eventually};

/// The task that alerts, alone.
struct Watched {
    webhook: Webhook,
    events: Events,
    telemetry: Arc<Telemetry>,
    stop: CancellationToken,
    _settings: watch::Sender<AlertsConfig>,
}

async fn watched() -> Watched {
    let webhook = Webhook::start().await;
    let address = Some(Secret::new(webhook.address().to_owned()));
    let (settings, set) = watch::channel(AlertsConfig { webhook_url: address, ..AlertsConfig::default() });
    let (events, heard) = Events::channel();
    let telemetry = Arc::new(Telemetry::new());
    let stop = CancellationToken::new();
    tokio::spawn(Alerts::new(heard, set, Arc::clone(&telemetry), stop.clone()).run());
    Watched { webhook, events, telemetry, stop, _settings: settings }
}

impl Watched {
    async fn counted(&self, kind: &str, outcome: &str, times: u64) {
        let series = format!("refrain_alerts_total{{kind=\"{kind}\",outcome=\"{outcome}\"}} {times}\n");
        eventually(&series, async || self.telemetry.render().contains(&series).then_some(())).await;
    }
}

fn opened(upstream: &str) -> Incident {
    Incident::BreakerOpened { upstream: upstream.into(), model: "m".into() }
}

fn closed(upstream: &str) -> Incident {
    Incident::BreakerClosed { upstream: upstream.into(), model: "m".into() }
}

#[tokio::test]
async fn what_happens_is_posted_once_and_so_is_its_end() {
    let watched = watched().await;
    watched.events.say(opened("openai"));
    watched.events.say(opened("openai"));
    let message = watched.webhook.hears("the breaker of openai/m opened").await;
    assert!(message.starts_with("Refrain [alert] "), "{message}");
    watched.events.say(opened("openai"));
    watched.events.say(closed("openai"));
    watched.webhook.hears("Refrain [recovered] the breaker of openai/m closed").await;
    watched.counted("breaker", "delivered", 2).await;
    assert_eq!(watched.webhook.heard().len(), 2, "{:?}", watched.webhook.heard());
}

#[tokio::test]
async fn a_burst_is_one_message() {
    let watched = watched().await;
    for at in 0..30 {
        watched.events.say(opened(&format!("upstream-{at}")));
    }
    watched.events.say(Incident::AllDown);
    let message = watched.webhook.hears("Refrain, 31 alerts:").await;
    assert!(message.contains("upstream-0/m") && message.contains("and 11 more"), "{message}");
    assert_eq!(watched.webhook.calls(), 1);
}

#[tokio::test]
async fn a_webhook_that_fails_is_asked_again_and_one_that_refuses_is_not() {
    let watched = watched().await;
    watched.webhook.fail(&[503, 429]);
    watched.events.say(Incident::KeyRefused { upstream: "openai".into() });
    watched.webhook.hears("openai refuses our key").await;
    watched.counted("key_refused", "delivered", 1).await;
    assert_eq!(watched.webhook.calls(), 3);

    watched.webhook.fail(&[404]);
    watched.events.say(Incident::QuotaGone { upstream: "openai".into() });
    watched.counted("quota_gone", "failed", 1).await;
    assert_eq!(watched.webhook.calls(), 4);
}

#[tokio::test]
async fn a_webhook_that_is_silent_ends_with_the_server() {
    let watched = watched().await;
    watched.webhook.fall_silent();
    watched.events.say(opened("openai"));
    watched.webhook.called(1).await;
    watched.stop.cancel();
    // Whoever listens is gone as soon as the task is.
    eventually("the end of the task", async || {
        watched.events.say(opened("openai"));
        (watched.events.dropped() > 0).then_some(())
    })
    .await;
}

/// A server that posts to a webhook, over windows of so many seconds.
async fn alerting(webhook: &Webhook, window_seconds: u64, settings: &str) -> TestApp {
    let settings = format!(
        "cache.mode = \"exact\"\nalerts = {{webhook_url_env = \"HOOK\", window_seconds = {window_seconds}}}\n{settings}"
    );
    TestApp::with_variables(&settings, &[("HOOK", webhook.address())]).await
}

const NEVER_OPENS: &str = "breaker = {failures = 1000, min_calls = 1000}\nretry.attempts_per_upstream = 1\n";

#[tokio::test]
async fn a_route_with_many_errors_is_alerted_and_so_is_its_end() {
    let webhook = Webhook::start().await;
    let route = "[[routes]]\nmodel = \"fast\"\nchain = [\"fake/parrot\"]";
    let app = alerting(&webhook, 3, &format!("{NEVER_OPENS}{route}")).await;
    app.upstream.always(Reply::error(500, "broken", None, None));
    let prompts: Vec<_> =
        (0..40).map(|at| with(chat(&format!("Question {at}?")), "model", json!("fast"))).collect();
    join_all(prompts.into_iter().map(|prompt| app.chat(prompt))).await;
    let message = webhook.hears("route fast").await;
    assert!(message.contains("[alert] route fast: 100 % of the requests got an error"), "{message}");
    // The window moves on.
    webhook.hears("[recovered] route fast: few requests get an error again").await;
    assert_eq!(app.metric("refrain_alerts_total{kind=\"error_rate\",outcome=\"delivered\"}").await, 2.0);
}

#[tokio::test]
async fn a_route_that_lives_on_its_ladder_is_alerted() {
    let webhook = Webhook::start().await;
    let ladder = "degrade = {ladder = [\"static\"], static = {default = \"Later, please.\"}}\n";
    let app = alerting(&webhook, 300, &format!("{ladder}{NEVER_OPENS}")).await;
    app.upstream.always(Reply::error(500, "broken", None, None));
    let answers = join_all((0..40).map(|at| app.chat(chat(&format!("Q{at}?"))))).await;
    assert!(answers.iter().all(|answer| answer.source() == "static"));
    webhook.hears("route other: 100 % of the answers came by fallback").await;
}

#[tokio::test]
async fn what_callers_and_operators_bring_about_themselves_is_no_alert() {
    let webhook = Webhook::start().await;
    let app = alerting(&webhook, 300, NEVER_OPENS).await;
    app.upstream.always(Reply::error(400, "what is that supposed to mean?", None, None));
    join_all((0..40).map(|at| app.chat(chat(&format!("Q{at}?"))))).await;
    join_all((0..40).map(|_| app.generate_with("Never asked?", &[("cache-control", "only-if-cached")])))
        .await;
    app.admin_put("/admin/ai", json!({"enabled": false})).await;
    join_all((0..40).map(|_| app.generate("Never asked?"))).await;
    app.admin_put("/admin/ai", json!({"enabled": true})).await;
    // Something that is one, so that it is known when to look.
    app.upstream.always(Reply::error(401, "bad key", None, None));
    app.generate("And now?").await;
    webhook.hears("fake refuses our key").await;
    assert!(webhook.heard().iter().all(|message| !message.contains("route")), "{:?}", webhook.heard());
}

#[tokio::test]
async fn a_route_that_lives_on_its_fallback_is_alerted() {
    let (webhook, spare) = (Webhook::start().await, Upstream::start().await);
    let settings = format!(
        "{NEVER_OPENS}[[providers]]\n[[providers]]\nname = \"spare\"\nkind = \"openai_compatible\"\nbase_url = \"{}\"\n\
         api_key_env = \"FAKE_KEY\"\n[[routes]]\nmodel = \"both\"\nchain = [\"fake/parrot\", \"spare/macaw\"]",
        spare.base_url()
    );
    let app = alerting(&webhook, 300, &settings).await;
    app.upstream.always(Reply::error(500, "broken", None, None));
    let prompts: Vec<_> =
        (0..40).map(|at| with(chat(&format!("Question {at}?")), "model", json!("both"))).collect();
    let answers = join_all(prompts.into_iter().map(|prompt| app.chat(prompt))).await;
    assert!(answers.iter().all(|answer| answer.status == 200 && answer.header("x-provider") == "spare"));
    webhook.hears("route both: 100 % of the answers came by fallback").await;
    assert!(webhook.heard().iter().all(|message| !message.contains("error")), "{:?}", webhook.heard());
}

#[tokio::test]
async fn an_outage_is_told_from_its_first_breaker_to_its_end() {
    let webhook = Webhook::start().await;
    let settings = "breaker = {failures = 2, open_seconds = 1}\nretry.attempts_per_upstream = 1\n";
    let app = alerting(&webhook, 300, settings).await;
    app.upstream.always(Reply::error(500, "broken", None, None));
    for at in 0..4 {
        app.generate(&format!("Question {at}?")).await;
    }
    webhook.hears("the breaker of fake/parrot opened").await;
    webhook.hears("no upstream can be asked").await;
    app.upstream.always(Reply::text("Well again."));
    eventually("the upstream's return", async || {
        (app.generate("Are you well?").await.status == 200).then_some(())
    })
    .await;
    webhook.hears("the breaker of fake/parrot closed").await;
    webhook.hears("an upstream can be asked again").await;
}

#[tokio::test]
async fn what_only_we_can_mend_is_told_with_what_mends_it() {
    for (status, told) in [
        (401, "fake refuses our key"),
        (402, "fake says that nothing is left to spend"),
        (404, "fake/parrot does not exist there"),
        (302, "fake redirects us or cannot prove who it is"),
    ] {
        let webhook = Webhook::start().await;
        let app =
            alerting(&webhook, 300, "retry.attempts_per_upstream = 1\n[[providers]]\nmodels = [\"parrot\"]")
                .await;
        app.upstream.always(Reply::error(status, "no", None, None));
        assert_ne!(app.generate("Q?").await.status, 200);
        webhook.hears(told).await;
    }
}

#[tokio::test]
async fn the_webhooks_address_is_never_shown() {
    let webhook = Webhook::start().await;
    webhook.fail(&[404]);
    let settings =
        "cache.mode = \"exact\"\nalerts.webhook_url_env = \"HOOK\"\nretry.attempts_per_upstream = 1";
    let app = TestApp::binary_with_variables(settings, &[("HOOK", webhook.address())]).await;
    app.upstream.always(Reply::error(401, "bad key", None, None));
    app.generate("Q?").await;
    app.counted("refrain_alerts_total{kind=\"key_refused\",outcome=\"failed\"}", 1.0).await;
    assert!(!app.admin_get("/metrics").await.text().contains(SECRET));
    app.process().signal("-TERM");
    app.process().ended().await;
    let said = app.process().said();
    assert!(said.contains("alerts could not be posted") && said.contains("404"), "{said}");
    assert!(!said.contains(SECRET), "{said}");
}

#[tokio::test]
async fn fault_89_requests_and_the_end_wait_for_no_webhook() {
    let webhook = Webhook::start().await;
    webhook.fall_silent();
    let mut app = alerting(&webhook, 300, "").await;
    app.upstream.on_prompt("Q?", Reply::error(401, "bad key", None, None));
    app.generate("Q?").await;
    webhook.called(1).await;
    let began = Instant::now();
    app.generate("And now?").await;
    app.stop().await;
    assert!(began.elapsed() < PATIENCE / 4, "{:?}", began.elapsed());
}

#[tokio::test]
async fn without_a_webhook_alerts_are_counted() {
    let app = TestApp::exact().await;
    app.upstream.always(Reply::error(401, "bad key", None, None));
    app.generate("Q?").await;
    app.counted("refrain_alerts_total{kind=\"key_refused\",outcome=\"logged\"}", 1.0).await;
}
