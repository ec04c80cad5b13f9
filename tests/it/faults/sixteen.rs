//! The sixteen faults that such a server is judged by, as callers meet them: in the usual configuration, all on one
//! server, each for whole answers and for streams, all at a time.
//!
//! The caller gets the complete answer in all of them but one, and each is followed by a request that is well.

use std::fmt::Write;
use std::future::Future;
use std::panic::AssertUnwindSafe;
use std::time::{Duration, Instant};

use futures_util::FutureExt;
use futures_util::future::{BoxFuture, join_all};

use super::chain::{Plan, streamed};
use super::scenes::{
    accounting, broken, cut, filtered, flapping, late, limited_for_a_moment, malformed, one_500, persistent,
    refused_prefill, refused_shape, reset, silent, told_otherwise, too_long, without_done,
};
use crate::support::app::TestApp;
use crate::support::eventually;
use crate::support::faults::{FaultServer, Heard, Reply, Script, Step};
use crate::support::reply::answer_to;
use crate::support::response::Response;
use crate::vendors::client::{Client, Read};

pub const CLIENT: Client = Client::OpenAi;
/// A request that is well takes no longer than this, on the busiest machine.
const AT_ONCE: Duration = Duration::from_secs(4);

/// One fault and how callers ask.
pub struct Scene<'a> {
    pub stage: &'a Stage,
    /// The alias, and the model of both upstreams.
    pub model: String,
    pub streams: bool,
}

/// The server with its two upstreams.
pub struct Stage {
    pub app: TestApp,
    primary: FaultServer,
    backup: FaultServer,
}

/// What a caller got.
pub struct Got {
    pub response: Response,
    pub time: Duration,
}

type Play = for<'a> fn(&'a Scene<'a>) -> BoxFuture<'a, ()>;

type Scenes = &'static [(&'static str, Play)];

/// Faults that are tried again: one after the other, since what may be tried again at a time is limited.
const RETRIED: Scenes = &[
    ("01-429-with-retry-after", |scene| Box::pin(limited_for_a_moment(scene))),
    ("02-429-persistent", |scene| Box::pin(persistent(scene, 429, None))),
    ("02-429-persistent-with-a-wait", |scene| Box::pin(persistent(scene, 429, Some("retry-after: 1")))),
    ("03-500-once", |scene| Box::pin(one_500(scene))),
    ("04-503-persistent", |scene| Box::pin(persistent(scene, 503, None))),
    ("04-503-persistent-with-a-wait", |scene| Box::pin(persistent(scene, 503, Some("retry-after: 1")))),
    ("05-reset", |scene| Box::pin(reset(scene))),
    ("14-fallback-refuses-the-shape", |scene| Box::pin(refused_shape(scene))),
    ("15-flapping", |scene| Box::pin(flapping(scene))),
    ("16-accounting", |scene| Box::pin(accounting(scene))),
];

/// The others, all at a time.
const AT_A_TIME: Scenes = &[
    ("06-no-response", |scene| Box::pin(silent(scene, Reply::silent()))),
    ("07-slow-first-token", |scene| Box::pin(silent(scene, late(20)))),
    ("08-cut", |scene| Box::pin(broken(scene, cut()))),
    ("08-cut-and-told-otherwise", |scene| Box::pin(told_otherwise(scene, cut()))),
    ("09-stalled", |scene| Box::pin(broken(scene, vec![Step::Stall]))),
    ("09-stalled-and-told-otherwise", |scene| Box::pin(told_otherwise(scene, vec![Step::Stall]))),
    ("10-malformed-chunk", |scene| Box::pin(broken(scene, malformed()))),
    ("10-malformed-chunk-and-told-otherwise", |scene| Box::pin(told_otherwise(scene, malformed()))),
    ("11-missing-done", |scene| Box::pin(without_done(scene, Step::Stall))),
    ("11-missing-done-and-closed", |scene| Box::pin(without_done(scene, Step::Close))),
    ("12-context-too-long", |scene| Box::pin(too_long(scene))),
    ("13-content-filter", |scene| Box::pin(filtered(scene))),
    (PREFILL, |scene| Box::pin(refused_prefill(scene))),
];

/// The one whose fallback is declared to go on where another one stopped.
const PREFILL: &str = "14-fallback-refuses-a-prefill";

#[tokio::test]
async fn sixteen_of_sixteen() {
    let names: Vec<_> = RETRIED.iter().chain(AT_A_TIME).flat_map(|(name, _)| models(name)).collect();
    let stage = &Stage::start(&names).await;
    stage.app.counts("well").await;
    let at_a_time = join_all(plays(stage, AT_A_TIME));
    let in_turn = async {
        let mut failed = Vec::new();
        for play in plays(stage, RETRIED) {
            failed.push(play.await);
        }
        failed
    };
    let (first, second) = tokio::join!(at_a_time, in_turn);
    let failed: Vec<_> = first.into_iter().chain(second).flatten().collect();
    assert!(failed.is_empty(), "failed: {failed:#?}");
}

/// Returns the models of a scene: for whole answers, and for streams.
fn models(name: &str) -> [String; 2] {
    [format!("{name}-whole"), format!("{name}-stream")]
}

/// Plays scenes in both ways, and returns the name of each that failed.
fn plays(stage: &Stage, scenes: Scenes) -> impl Iterator<Item = impl Future<Output = Option<String>>> {
    let ways = scenes.iter().flat_map(|(name, play)| {
        models(name).into_iter().zip([false, true]).map(move |(model, streams)| (model, play, streams))
    });
    ways.map(move |(model, play, streams)| async move {
        let scene = Scene { stage, model, streams };
        let played = AssertUnwindSafe(scene.play(*play)).catch_unwind().await;
        played.is_err().then_some(scene.model)
    })
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

    pub fn prompt(&self) -> String {
        format!("What is {}?", self.model)
    }

    pub fn on_primary(&self, script: impl Into<Script>) {
        self.stage.primary.on(&self.model, script);
    }

    pub fn on_backup(&self, script: impl Into<Script>) {
        self.stage.backup.on(&self.model, script);
    }

    pub async fn ask(&self) -> Got {
        self.ask_for(&self.model, &self.prompt()).await
    }

    pub async fn ask_for(&self, model: &str, prompt: &str) -> Got {
        let body = CLIENT.ask(model, prompt);
        let body = if self.streams { streamed(body, CLIENT) } else { body };
        let began = Instant::now();
        let response = self.stage.app.post(CLIENT.path(), &[], body).await;
        Got { response, time: began.elapsed() }
    }

    pub fn read(&self, got: &Got) -> Read {
        if self.streams { CLIENT.streamed(&got.response) } else { CLIENT.whole(&got.response) }
    }

    /// Asks, and checks that the answer is complete.
    pub async fn answered(&self) -> Got {
        let got = self.ask().await;
        let read = self.read(&got);
        assert_eq!((read.text, read.finish.as_str()), (answer_to(&self.prompt()), "stop"));
        got
    }

    pub fn of_primary(&self) -> Vec<Heard> {
        self.stage.primary.heard_of(&self.model)
    }

    pub fn of_backup(&self) -> Vec<Heard> {
        self.stage.backup.heard_of(&self.model)
    }

    /// Checks how often each was asked.
    pub fn asked(&self, primary: usize, backup: usize) {
        assert_eq!((self.of_primary().len(), self.of_backup().len()), (primary, backup), "{}", self.model);
    }
}

/// An outage of two seconds with breakers that are open for one: thirty times as fast as the usual minute, and the primary
/// is in use again within a second of being well (or two, on a busy machine), as it is within thirty.
#[tokio::test]
async fn a_primary_is_in_use_again_soon_after_it_is_well() {
    let plan = Plan {
        server: "[breaker]\nopen_seconds = 1\nmax_open_seconds = 10\nwindow_seconds = 2",
        ..Plan::default()
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
