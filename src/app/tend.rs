//! Tasks that go on for as long as the server does: one that panics is begun anew.

use std::panic::AssertUnwindSafe;
use std::sync::Arc;
use std::time::Duration;

use futures_util::FutureExt;
use tokio_util::sync::CancellationToken;

use crate::telemetry::Telemetry;

/// The pause before a task is begun anew; doubled each time, up to the longest.
const PAUSE: Duration = Duration::from_millis(100);
const PAUSE_MAX: Duration = Duration::from_secs(30);

/// Runs a task to its end, and again for as long as it panics. What it had in hand is lost; what it works on is shared, and
/// no panic leaves that half changed.
pub(super) async fn tend<F: Future<Output = ()>>(
    name: &'static str,
    telemetry: Arc<Telemetry>,
    stop: CancellationToken,
    begin: impl Fn() -> F,
) {
    let mut pause = PAUSE;
    while AssertUnwindSafe(begin()).catch_unwind().await.is_err() {
        telemetry.restarted(name);
        tracing::error!(task = name, "a background task panicked and is begun anew");
        if stop.run_until_cancelled(tokio::time::sleep(pause)).await.is_none() {
            return;
        }
        pause = (pause * 2).min(PAUSE_MAX);
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicUsize, Ordering};
    use std::time::Instant;

    use super::*;

    #[tokio::test]
    async fn a_task_that_panics_is_begun_anew_until_it_ends_by_itself() {
        let (telemetry, begun) = (Arc::new(Telemetry::new()), AtomicUsize::new(0));
        let began = Instant::now();
        tend("test", Arc::clone(&telemetry), CancellationToken::new(), || async {
            assert!(begun.fetch_add(1, Ordering::Relaxed) >= 2, "as this test wants it");
        })
        .await;
        assert!(began.elapsed() >= PAUSE * 3);
        assert!(telemetry.render().contains("refrain_task_restarts_total{task=\"test\"} 2"));
    }

    #[tokio::test]
    async fn nothing_is_begun_while_the_server_ends() {
        let stop = CancellationToken::new();
        stop.cancel();
        tend("test", Arc::new(Telemetry::new()), stop, || async { panic!("as this test wants it") }).await;
    }
}
