//! The sixteen faults that such a server is judged by, as callers meet them: in the usual configuration, all on one
//! server, each for whole answers and for streams, all at a time.
//!
//! The caller gets the complete answer in all of them but one, and each is followed by a request that is well.

use std::fmt::Write;
use std::panic::AssertUnwindSafe;
use std::time::{Duration, Instant};

use futures_util::FutureExt;
use futures_util::future::{BoxFuture, join_all};
use serde_json::json;

use super::chain::streamed;
use crate::support::app::TestApp;
use crate::support::eventually;
use crate::support::faults::{Failure, FaultServer, Heard, Reply, Script, Step, Words};
use crate::support::reply::answer_to;
use crate::support::response::Response;
use crate::vendors::client::{Client, Read};

const CLIENT: Client = Client::OpenAi;
/// A request that is well takes no longer than this, on the busiest machine.
const AT_ONCE: Duration = Duration::from_secs(4);
/// For what was said to go out before the stream breaks.
const MOMENT: Duration = Duration::from_millis(50);

/// One fault and how callers ask.
struct Scene<'a> {
    stage: &'a Stage,
    /// The alias, and the model of both upstreams.
    model: String,
    streams: bool,
}

/// The server with its two upstreams.
struct Stage {
    app: TestApp,
    primary: FaultServer,
    backup: FaultServer,
}

/// What a caller got.
struct Got {
    response: Response,
    time: Duration,
}

type Play = for<'a> fn(&'a Scene<'a>) -> BoxFuture<'a, ()>;

/// Every fault by its name, and what is to come of it.
const SCENES: &[(&str, Play)] = &[
    ("01-429-with-retry-after", |scene| Box::pin(limited_for_a_moment(scene))),
    ("02-429-persistent", |scene| Box::pin(persistent(scene, 429, None))),
    ("02-429-persistent-with-a-wait", |scene| Box::pin(persistent(scene, 429, Some("retry-after: 1")))),
    ("03-500-once", |scene| Box::pin(one_500(scene))),
    ("04-503-persistent", |scene| Box::pin(persistent(scene, 503, None))),
    ("04-503-persistent-with-a-wait", |scene| Box::pin(persistent(scene, 503, Some("retry-after: 1")))),
    ("05-reset", |scene| Box::pin(reset(scene))),
    ("06-no-response", |scene| Box::pin(silent(scene, Reply::silent()))),
    ("07-slow-first-token", |scene| {
        Box::pin(silent(scene, Reply::well().after(Step::Wait(Duration::from_secs(20)))))
    }),
    ("08-cut", |scene| Box::pin(broken(scene, vec![Step::Wait(MOMENT), Step::Close]))),
    ("08-cut-and-told-otherwise", |scene| {
        Box::pin(told_otherwise(scene, vec![Step::Wait(MOMENT), Step::Close]))
    }),
    ("09-stalled", |scene| Box::pin(broken(scene, vec![Step::Stall]))),
    ("09-stalled-and-told-otherwise", |scene| Box::pin(told_otherwise(scene, vec![Step::Stall]))),
    ("10-malformed-chunk", |scene| Box::pin(broken(scene, malformed()))),
    ("10-malformed-chunk-and-told-otherwise", |scene| Box::pin(told_otherwise(scene, malformed()))),
    ("11-missing-done", |scene| Box::pin(without_done(scene, Step::Stall))),
    ("11-missing-done-and-closed", |scene| Box::pin(without_done(scene, Step::Close))),
    ("12-context-too-long", |scene| Box::pin(too_long(scene))),
    ("13-content-filter", |scene| Box::pin(filtered(scene))),
    (PREFILL, |scene| Box::pin(refused_prefill(scene))),
    ("14-fallback-refuses-the-shape", |scene| Box::pin(refused_shape(scene))),
    ("15-flapping", |scene| Box::pin(flapping(scene))),
    ("16-accounting", |scene| Box::pin(accounting(scene))),
];

/// The one whose fallback is declared to go on where another one stopped.
const PREFILL: &str = "14-fallback-refuses-a-prefill";

#[tokio::test]
async fn sixteen_of_sixteen() {
    let names: Vec<_> =
        SCENES.iter().flat_map(|(name, _)| [format!("{name}-whole"), format!("{name}-stream")]).collect();
    let stage = Stage::start(&names).await;
    let stage = &stage;
    let plays = SCENES.iter().flat_map(|(name, play)| [false, true].map(|streams| (name, play, streams)));
    let failures = plays.map(|(name, play, streams)| async move {
        let way = if streams { "stream" } else { "whole" };
        let scene = Scene { stage, model: format!("{name}-{way}"), streams };
        let played = AssertUnwindSafe(scene.play(*play)).catch_unwind().await;
        played.is_err().then_some(scene.model)
    });
    let failed: Vec<_> = join_all(failures).await.into_iter().flatten().collect();
    assert!(failed.is_empty(), "{} of {} failed: {failed:#?}", failed.len(), names.len());
}

impl Stage {
    async fn start(models: &[String]) -> Self {
        let (primary, backup) = (FaultServer::start().await, FaultServer::start().await);
        let mut settings = "cache.mode = \"exact\"\n".to_owned();
        for (name, server) in [("primary", &primary), ("backup", &backup)] {
            let base_url = server.base_url();
            write!(
                settings,
                "[[providers]]\nname = \"{name}\"\nkind = \"openai\"\nbase_url = \"{base_url}\"\napi_key_env = \"FAKE_KEY\"\nmodels = ["
            )
            .unwrap();
            for model in models.iter().map(String::as_str).chain(["well"]) {
                let capabilities = match name {
                    "backup" if model.starts_with(PREFILL) => ", capabilities = [\"prefill\"]",
                    _ => "",
                };
                let prices = if name == "backup" { ", prices = { input = 1.0, output = 10.0 }" } else { "" };
                write!(settings, "{{ name = \"{model}\"{capabilities}{prices} }}, ").unwrap();
            }
            settings += "]\n";
        }
        for model in models.iter().map(String::as_str).chain(["well"]) {
            write!(
                settings,
                "[[routes]]\nmodel = \"{model}\"\nchain = [\"primary/{model}\", \"backup/{model}\"]\n"
            )
            .unwrap();
        }
        Self { app: TestApp::with(&settings).await, primary, backup }
    }
}

impl Scene<'_> {
    /// Plays it, and then asks for what is well on the same upstreams.
    async fn play(&self, play: Play) {
        play(self).await;
        let prompt = format!("All well after {}?", self.model);
        let well = self.ask_for("well", &prompt).await;
        assert_eq!(self.read(&well).text, answer_to(&prompt));
        assert_eq!(well.response.header("x-upstream-attempts"), "primary/well;200");
        assert!(well.time < AT_ONCE, "{:?}", well.time);
    }

    fn prompt(&self) -> String {
        format!("What is {}?", self.model)
    }

    fn on_primary(&self, script: impl Into<Script>) {
        self.stage.primary.on(&self.model, script);
    }

    fn on_backup(&self, script: impl Into<Script>) {
        self.stage.backup.on(&self.model, script);
    }

    async fn ask(&self) -> Got {
        self.ask_for(&self.model, &self.prompt()).await
    }

    async fn ask_for(&self, model: &str, prompt: &str) -> Got {
        let body = CLIENT.ask(model, prompt);
        let body = if self.streams { streamed(body, CLIENT) } else { body };
        let began = Instant::now();
        let response = self.stage.app.post(CLIENT.path(), &[], body).await;
        Got { response, time: began.elapsed() }
    }

    fn read(&self, got: &Got) -> Read {
        if self.streams { CLIENT.streamed(&got.response) } else { CLIENT.whole(&got.response) }
    }

    /// Asks, and checks that the answer is complete.
    async fn answered(&self) -> Got {
        let got = self.ask().await;
        let read = self.read(&got);
        assert_eq!((read.text, read.finish.as_str()), (answer_to(&self.prompt()), "stop"));
        got
    }

    fn of_primary(&self) -> Vec<Heard> {
        self.stage.primary.heard_of(&self.model)
    }

    fn of_backup(&self) -> Vec<Heard> {
        self.stage.backup.heard_of(&self.model)
    }

    /// Checks how often each was asked.
    fn asked(&self, primary: usize, backup: usize) {
        assert_eq!((self.of_primary().len(), self.of_backup().len()), (primary, backup), "{}", self.model);
    }
}

async fn limited_for_a_moment(scene: &Scene<'_>) {
    scene.on_primary(Script::once([Reply::fail(429).header("retry-after: 2")]));
    let got = scene.answered().await;
    assert!(got.time >= Duration::from_millis(1_800), "{:?}", got.time);
    scene.asked(2, 0);
    let heard = scene.of_primary();
    assert!(heard[1].at - heard[0].at >= Duration::from_millis(1_800));
}

/// The primary fails every time: at most four calls within three seconds, and six in all.
async fn persistent(scene: &Scene<'_>, status: u16, header: Option<&str>) {
    let failing = || match header {
        Some(header) => Reply::fail(status).header(header),
        None => Reply::fail(status),
    };
    scene.on_primary(failing());
    scene.answered().await;
    assert_eq!(scene.of_backup().len(), 1);
    few_calls(scene, Instant::now());
    // The same for a request that nobody can answer.
    let began = Instant::now();
    scene.on_backup(failing());
    let got = scene.ask_for(&scene.model, "And if nobody can?").await;
    assert_eq!(got.response.status, 503, "{}", got.response.text());
    few_calls(scene, began);
}

fn few_calls(scene: &Scene<'_>, began: Instant) {
    let mut calls: Vec<_> =
        scene.of_primary().into_iter().chain(scene.of_backup()).map(|heard| heard.at).collect();
    calls.retain(|at| *at >= began);
    calls.sort();
    let early = calls.iter().filter(|at| **at - calls[0] < Duration::from_secs(3)).count();
    assert!(early <= 4 && calls.len() <= 6, "{early} of {} calls within 3 s", calls.len());
}

async fn one_500(scene: &Scene<'_>) {
    scene.on_primary(Script::once([Reply::fail(500)]));
    let got = scene.answered().await;
    assert_eq!(got.response.header("x-provider"), "primary");
    scene.asked(2, 0);
}

async fn reset(scene: &Scene<'_>) {
    scene.on_primary(Reply::new(vec![Step::Reset]));
    let got = scene.answered().await;
    assert_eq!(got.response.header("x-provider"), "backup");
    assert!(scene.of_primary().len() <= 2);
}

/// Not a word in time: asked once, and not waited for.
async fn silent(scene: &Scene<'_>, reply: Reply) {
    scene.on_primary(reply);
    let got = scene.answered().await;
    assert!(got.time < Duration::from_secs(15), "{:?}", got.time);
    scene.asked(1, 1);
}

/// A chunk that is none, in the middle of what would have been a good stream.
fn malformed() -> Vec<Step> {
    let chunk = "{\"id\": \"chatcmpl-1\", \"object\": \"chat.completion.chunk\", \"choi".to_owned();
    vec![Step::Event(chunk), Step::SayRest, Step::Finish("stop".to_owned()), Step::Done]
}

/// The first upstream says half of its answer before this.
fn begun(after: Vec<Step>) -> Reply {
    Reply::new([vec![Step::SayHalf], after].concat())
}

/// The stream breaks after half of it, and the fallback gives the same text.
async fn broken(scene: &Scene<'_>, how: Vec<Step>) {
    scene.on_primary(begun(how));
    let got = scene.answered().await;
    assert_eq!(scene.of_backup().len(), 1);
    if scene.streams {
        assert_eq!(scene.of_primary().len(), 1);
        assert_eq!(got.response.text().matches("[DONE]").count(), 1);
    }
}

/// The stream breaks after half of it, and the fallback gives another text.
async fn told_otherwise(scene: &Scene<'_>, how: Vec<Step>) {
    scene.on_primary(begun(how));
    scene.on_backup(Reply::answer("Something else entirely."));
    let got = scene.ask().await;
    if !scene.streams {
        assert_eq!(scene.read(&got).text, "Something else entirely.");
        return;
    }
    let (said, [_, code, _]) = CLIENT.broken(&got.response);
    assert_eq!(code, "upstream_interrupted");
    assert!(answer_to(&scene.prompt()).starts_with(&said) && !said.is_empty(), "{said}");
}

async fn without_done(scene: &Scene<'_>, end: Step) {
    let rest = vec![Step::SayRest, Step::Finish("stop".to_owned()), Step::Usage(7, 5), end];
    scene.on_primary(begun(rest));
    let got = scene.answered().await;
    assert!(got.time < Duration::from_secs(8), "{:?}", got.time);
    let usage = scene.read(&got).usage;
    assert_eq!((&usage["prompt_tokens"], &usage["completion_tokens"]), (&json!(7), &json!(5)));
    scene.asked(1, 0);
}

async fn too_long(scene: &Scene<'_>) {
    let message = Some("This model's maximum context length is 8192 tokens.".to_owned());
    let failure = Failure { message, ..Failure::code("context_length_exceeded") };
    scene.on_primary(Reply::failing(400, failure));
    scene.answered().await;
    scene.asked(1, 1);
}

async fn filtered(scene: &Scene<'_>) {
    scene.on_primary(Reply::failing(400, Failure::code("content_filter")));
    let got = scene.ask().await;
    assert_eq!((got.response.status, got.response.error("code").as_str()), (400, "content_filter"));
    scene.asked(1, 0);
}

/// The stream breaks, and the fallback that is asked to go on would have no words put into its mouth.
async fn refused_prefill(scene: &Scene<'_>) {
    scene.on_primary(begun(vec![Step::Wait(MOMENT), Step::Close]));
    let message = "This model does not support assistant message prefill. The conversation must end with a user message.";
    let refusal = Failure { message: Some(message.to_owned()), ..Failure::default() };
    if scene.streams {
        scene.on_backup(Script::once([Reply::failing(400, refusal)]));
    }
    scene.answered().await;
    let last_roles: Vec<_> = scene.of_backup().iter().map(|heard| last_role(heard).to_owned()).collect();
    assert_eq!(last_roles, if scene.streams { vec!["assistant", "user"] } else { vec!["user"] });
}

fn last_role(heard: &Heard) -> &str {
    let last = heard.body["messages"].as_array().and_then(|all| all.last());
    last.and_then(|message| message["role"].as_str()).unwrap_or("")
}

/// The fallback takes what the caller may well say for a mistake: that is not the caller's, whose first choice took it.
async fn refused_shape(scene: &Scene<'_>) {
    scene.on_primary(Script::once([Reply::fail(500), Reply::fail(500)]));
    scene.on_backup(Reply::failing(400, Failure { param: Some("seed".to_owned()), ..Failure::default() }));
    let got = scene.ask().await;
    assert_eq!(got.response.status, 502, "{}", got.response.text());
    assert_eq!(scene.of_backup().len(), 1);
}

/// Every other call fails, and no caller hears of it.
async fn flapping(scene: &Scene<'_>) {
    const REQUESTS: usize = 20;
    scene.on_primary(Script::in_turn([Reply::fail(500), Reply::well()]));
    for at in 0..REQUESTS {
        let prompt = format!("Flap {at} of {}?", scene.model);
        let got = scene.ask_for(&scene.model, &prompt).await;
        assert_eq!(scene.read(&got).text, answer_to(&prompt));
    }
    let calls = scene.of_primary().len() + scene.of_backup().len();
    assert!(calls <= REQUESTS + REQUESTS / 2, "{calls} calls");
}

/// Who answered is told, and only what that took is charged.
async fn accounting(scene: &Scene<'_>) {
    scene.on_primary(Reply::fail(500));
    let mut words = Words::due();
    words.usage = Some((7, 5));
    scene.on_backup(Reply::new(vec![Step::Answer(words)]));
    let got = scene.answered().await;
    let (read, response) = (scene.read(&got), &got.response);
    let usage = [&read.usage["prompt_tokens"], &read.usage["completion_tokens"], &read.usage["total_tokens"]];
    assert_eq!(usage, [&json!(7), &json!(5), &json!(12)]);
    let model = &scene.model;
    assert_eq!(&read.model, model);
    assert_eq!((response.header("x-provider"), response.header("x-model")), ("backup", model.as_str()));
    let attempts = format!("primary/{model};500, primary/{model};500, backup/{model};200");
    assert_eq!(response.header("x-upstream-attempts"), attempts);
    if !scene.streams {
        assert_eq!(response.header("x-cost-usd"), "0.000057");
    }
    let tokens = async |provider: &str, kind: &str| {
        let labels = format!("{{provider=\"{provider}\",model=\"{model}\",type=\"{kind}\"}}");
        scene.stage.app.metric(&format!("refrain_tokens_total{labels}")).await
    };
    assert_eq!((tokens("backup", "prompt").await, tokens("backup", "completion").await), (7.0, 5.0));
    assert_eq!(tokens("primary", "prompt").await, 0.0);
    let called = |provider: &str, outcome: &str| {
        format!(
            "refrain_upstream_requests_total{{provider=\"{provider}\",model=\"{model}\",outcome=\"{outcome}\"}}"
        )
    };
    assert_eq!(scene.stage.app.metric(&called("primary", "server_error")).await, 2.0);
    assert_eq!(scene.stage.app.metric(&called("backup", "ok")).await, 1.0);
}

/// An outage of two seconds with breakers that are open for one: thirty times as fast as the usual minute, and the primary
/// is in use again within a second of being well (or two, on a busy machine), as it is within thirty.
#[tokio::test]
async fn a_primary_is_in_use_again_soon_after_it_is_well() {
    let plan = super::chain::Plan {
        server: "[breaker]\nopen_seconds = 1\nmax_open_seconds = 10\nwindow_seconds = 2",
        ..super::chain::Plan::default()
    };
    let chain = plan.start().await;
    chain.primary.on("m", Reply::fail(500));
    let mut asked = 0;
    let mut ask = async || {
        asked += 1;
        let prompt = format!("Question {asked}?");
        let response = chain.ask(&prompt).await;
        assert_eq!((response.status, response.answer()), (200, answer_to(&prompt)));
        (asked, response.header("x-provider") == "primary")
    };
    let began = Instant::now();
    let mut tick = tokio::time::interval(Duration::from_millis(20));
    let mut requests = 0;
    while began.elapsed() < Duration::from_secs(2) {
        tick.tick().await;
        requests = ask().await.0;
    }
    let calls = chain.primary.calls() + chain.backup.calls();
    assert!(calls * 10 <= requests * 13, "{calls} calls for {requests} requests");
    chain.primary.recover();
    let well = Instant::now();
    eventually("the primary", async || ask().await.1.then_some(())).await;
    assert!(well.elapsed() < Duration::from_secs(2), "{:?}", well.elapsed());
}
