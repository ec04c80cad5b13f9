//! What is to come of each of the sixteen faults.

use std::time::{Duration, Instant};

use serde_json::json;

use super::sixteen::{CLIENT, Scene};
use crate::support::faults::{Failure, Heard, Reply, Script, Step, Words};
use crate::support::reply::answer_to;

pub async fn limited_for_a_moment(scene: &Scene<'_>) {
    scene.on_primary(Script::once([Reply::fail(429).header("retry-after: 2")]));
    let got = scene.answered().await;
    assert!(got.time >= Duration::from_millis(1_800), "{:?}", got.time);
    scene.asked(2, 0);
    let heard = scene.of_primary();
    assert!(heard[1].at - heard[0].at >= Duration::from_millis(1_800));
}

/// The primary fails every time: at most four calls within three seconds, and six in all.
pub async fn persistent(scene: &Scene<'_>, status: u16, header: Option<&str>) {
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

pub async fn one_500(scene: &Scene<'_>) {
    scene.on_primary(Script::once([Reply::fail(500)]));
    let got = scene.answered().await;
    assert_eq!(got.response.header("x-provider"), "primary");
    scene.asked(2, 0);
}

pub async fn reset(scene: &Scene<'_>) {
    scene.on_primary(Reply::new(vec![Step::Reset]));
    let got = scene.answered().await;
    assert_eq!(got.response.header("x-provider"), "backup");
    assert!(scene.of_primary().len() <= 2);
}

/// Not a word in time: asked once, and not waited for.
pub async fn silent(scene: &Scene<'_>, reply: Reply) {
    scene.on_primary(reply);
    let got = scene.answered().await;
    assert!(got.time < Duration::from_secs(15), "{:?}", got.time);
    scene.asked(1, 1);
}

/// The answer, its first word after so long.
pub fn late(seconds: u64) -> Reply {
    Reply::well().after(Step::Wait(Duration::from_secs(seconds)))
}

/// The connection is closed once what was said has gone out.
pub fn cut() -> Vec<Step> {
    vec![Step::Wait(Duration::from_millis(50)), Step::Close]
}

/// A chunk that is none, in the middle of what would have been a good stream.
pub fn malformed() -> Vec<Step> {
    let chunk = "{\"id\": \"chatcmpl-1\", \"object\": \"chat.completion.chunk\", \"choi".to_owned();
    vec![Step::Event(chunk), Step::SayRest, Step::Finish("stop".to_owned()), Step::Done]
}

/// The first upstream says half of its answer before this.
fn begun(after: Vec<Step>) -> Reply {
    Reply::new([vec![Step::SayHalf], after].concat())
}

/// The stream breaks after half of it, and the fallback gives the same text.
pub async fn broken(scene: &Scene<'_>, how: Vec<Step>) {
    scene.on_primary(begun(how));
    let got = scene.answered().await;
    assert_eq!(scene.of_backup().len(), 1);
    if scene.streams {
        assert_eq!(scene.of_primary().len(), 1);
        assert_eq!(got.response.text().matches("[DONE]").count(), 1);
    }
}

/// The stream breaks after half of it, and the fallback gives another text.
pub async fn told_otherwise(scene: &Scene<'_>, how: Vec<Step>) {
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

pub async fn without_done(scene: &Scene<'_>, end: Step) {
    let rest = vec![Step::SayRest, Step::Finish("stop".to_owned()), Step::Usage(7, 5), end];
    scene.on_primary(begun(rest));
    let got = scene.answered().await;
    assert!(got.time < Duration::from_secs(8), "{:?}", got.time);
    let usage = scene.read(&got).usage;
    assert_eq!((&usage["prompt_tokens"], &usage["completion_tokens"]), (&json!(7), &json!(5)));
    scene.asked(1, 0);
}

pub async fn too_long(scene: &Scene<'_>) {
    let message = Some("This model's maximum context length is 8192 tokens.".to_owned());
    let failure = Failure { message, ..Failure::code("context_length_exceeded") };
    scene.on_primary(Reply::failing(400, failure));
    scene.answered().await;
    scene.asked(1, 1);
}

pub async fn filtered(scene: &Scene<'_>) {
    scene.on_primary(Reply::failing(400, Failure::code("content_filter")));
    let got = scene.ask().await;
    assert_eq!((got.response.status, got.response.error("code").as_str()), (400, "content_filter"));
    scene.asked(1, 0);
}

/// The stream breaks, and the fallback that is asked to go on would have no words put into its mouth.
pub async fn refused_prefill(scene: &Scene<'_>) {
    scene.on_primary(begun(cut()));
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
pub async fn refused_shape(scene: &Scene<'_>) {
    scene.on_primary(Script::once([Reply::fail(500), Reply::fail(500)]));
    scene.on_backup(Reply::failing(400, Failure { param: Some("seed".to_owned()), ..Failure::default() }));
    let got = scene.ask().await;
    assert_eq!(got.response.status, 502, "{}", got.response.text());
    assert_eq!(scene.of_backup().len(), 1);
}

/// Every other call fails, and no caller hears of it.
pub async fn flapping(scene: &Scene<'_>) {
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
pub async fn accounting(scene: &Scene<'_>) {
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
