//! What may happen to a process as a whole: no file left to open, nobody who takes its log.

use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::timeout;

use crate::support::app::TestApp;
use crate::support::eventually;
use crate::support::process::Reader;
use crate::support::response::raw;

const EXACT: &str = "cache.mode = \"exact\"";
const PROMPT: &str = "What is a fjord?";
const LIVE: &[u8] = b"GET /health/live HTTP/1.1\r\nhost: localhost\r\n\r\n";

#[cfg(target_os = "linux")]
#[tokio::test]
async fn fault_87_without_a_file_to_open_it_waits_and_serves_again() {
    let app = TestApp::binary(EXACT).await;
    app.generate(PROMPT).await;
    let process = app.process();
    let before = process.limit_open_files(process.open_files() + 4);
    let mut callers = Vec::new();
    for _ in 0..20 {
        let mut caller = TcpStream::connect(app.public().trim_start_matches("http://")).await.unwrap();
        caller.write_all(LIVE).await.unwrap();
        callers.push(caller);
    }
    const WAITING: &str = "cannot accept a connection";
    eventually("an exhausted process", async || process.said().contains(WAITING).then_some(())).await;
    let ticks = process.ticks();
    let last = callers.last_mut().unwrap();
    assert!(timeout(Duration::from_secs(1), last.read_u8()).await.is_err(), "nobody attends to the last");
    let spent = process.ticks() - ticks;
    assert!(spent <= 20, "it waits and does not spin, but in one second it took {spent} hundredths");
    // Who came before is served all the while.
    assert_eq!(app.generate(PROMPT).await.served_by(), "exact memory");
    assert!(process.said().matches(WAITING).count() <= 2, "it is said once, and not every time");

    drop(callers);
    let again = timeout(Duration::from_secs(20), raw(&app.public(), LIVE)).await.expect("it serves again");
    assert_eq!(again.status, 200);
    process.limit_open_files(before);
    assert_eq!(app.generate("And now?").await.status, 200);
}

#[tokio::test]
async fn fault_89_a_server_whose_log_nobody_takes_serves_on() {
    const LOST: &str = "refrain_log_lines_dropped_total";
    for reader in [Reader::Stopped, Reader::Gone] {
        let app = TestApp::binary(EXACT).await;
        assert_eq!(app.generate(PROMPT).await.source(), "upstream");
        assert_eq!(app.metric(LOST).await, 0.0);
        app.process().read_by(reader);
        // Far more than fits into a pipe, and then into the queue before it.
        eventually("lines that nobody takes", async || {
            for _ in 0..100 {
                let refused = app.post_text("/v1/generate", &[], "{").await;
                assert_eq!(refused.status, 400, "{reader:?}");
            }
            (app.metric(LOST).await > 0.0).then_some(())
        })
        .await;
        for source in ["upstream", "exact"] {
            assert_eq!(app.generate("And now?").await.source(), source, "{reader:?}");
        }
        assert_eq!(app.get("/health/ready").await.status, 200);
        app.process().signal("-TERM");
        assert_eq!(app.process().ended().await.code(), Some(0), "{reader:?}");
    }
}
