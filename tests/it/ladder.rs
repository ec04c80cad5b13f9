//! Nobody answers: what each step of the ladder says in place of an error, and when none may.

mod nearest;
mod rules;
mod stale;
mod texts;

use crate::support::app::TestApp;
use crate::support::eventually;
use crate::support::reply::Reply;
use crate::support::response::Response;

const PROMPT: &str = "What is an archipelago?";

/// Settings under which every question reaches the upstream, however often it has failed, and just once.
const STEADY: &str = "retry.attempts_per_upstream = 1\nbreaker.failures = 1000\nbreaker.min_calls = 1000\nbreaker.failure_ratio = 1.0\n";
const EXACT: &str = "cache.mode = \"exact\"\n";

/// Starts a server whose ladder has these steps, written as in the configuration.
async fn with_ladder(ladder: &str, settings: &str) -> TestApp {
    TestApp::with(&format!("{STEADY}degrade.ladder = [{ladder}]\n{settings}")).await
}

/// What an upstream says that has broken down.
fn broken() -> Reply {
    Reply::error(500, "words of the vendor about org-1", None, None)
}

/// Has a prompt answered, and waits until its answer has expired.
async fn expired(app: &TestApp, prompt: &str) {
    assert_eq!(app.generate_with(prompt, &[("x-cache-ttl", "1")]).await.source(), "upstream");
    app.stored(1).await;
    let cached = [("cache-control", "only-if-cached")];
    eventually("the end of the entry", async || {
        (app.generate_with(prompt, &cached).await.status == 504).then_some(())
    })
    .await;
}

/// Returns the freshness left that `cache-status` tells, and the rest of it with a dash in its place.
fn status_without_ttl(response: &Response) -> (i64, String) {
    let status = response.header("cache-status");
    let (before, rest) = status.split_once("ttl=").unwrap_or_else(|| panic!("no ttl: {status}"));
    let digits = rest.find(';').unwrap_or(rest.len());
    (rest[..digits].parse().unwrap(), format!("{before}ttl=-{}", &rest[digits..]))
}

/// Returns how many answers of a step were counted.
async fn counted(app: &TestApp, step: &str) -> f64 {
    app.metric(&format!("refrain_degraded_total{{step=\"{step}\"}}")).await
}
