//! Real parts that tests start, and wait for.

pub mod anthropic;
pub mod app;
pub mod faults;
pub mod fields;
pub mod gemini;
#[cfg(target_os = "linux")]
pub mod mishaps;
pub mod openai;
pub mod points;
pub mod postgres;
pub mod process;
pub mod qdrant_server;
pub mod reply;
pub mod response;
pub mod upstream;
pub mod webhook;

use std::time::{Duration, Instant};

/// How long anything that should come about may take on a busy machine.
pub const PATIENCE: Duration = Duration::from_secs(20);

/// Asks again and again until the answer is there; panics with `what` when patience ends.
pub async fn eventually<T>(what: &str, mut ask: impl AsyncFnMut() -> Option<T>) -> T {
    let deadline = Instant::now() + PATIENCE;
    let mut tick = tokio::time::interval(Duration::from_millis(10));
    loop {
        tick.tick().await;
        if let Some(answer) = ask().await {
            return answer;
        }
        assert!(Instant::now() < deadline, "{what} did not come about within {PATIENCE:?}");
    }
}

/// Lets this process, and those that it starts, have as many connections open as the system allows.
pub fn open_many_files() {
    use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
    let Rlimit { maximum, .. } = getrlimit(Resource::Nofile);
    // Where the system allows no more, what there is must do.
    let _ = setrlimit(Resource::Nofile, Rlimit { current: maximum, maximum });
}
