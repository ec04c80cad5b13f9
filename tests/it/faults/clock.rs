//! The wall clock, which somebody sets, and which may stand.

use std::time::SystemTime;

use crate::support::app::{TestApp, chat, with};
use crate::support::mishaps::Mishaps;
use crate::support::reply::{Gate, Reply};
use crate::support::response::Response;

const DAY: i64 = 24 * 60 * 60;
const ONLY_CACHED: [(&str, &str); 1] = [("cache-control", "only-if-cached")];

/// The alias of a model that fails and one that does not.
const ROUTE: &str = "both";

fn calls_of_broken(app: &TestApp) -> usize {
    app.upstream.heard().iter().filter(|call| call.model() == "broken").count()
}

/// Asks the two when the breaker of the first is open: it is left alone.
async fn is_left_alone(app: &TestApp, prompt: &str) {
    let before = calls_of_broken(app);
    let response = app.chat(with(chat(prompt), "model", ROUTE.into())).await;
    assert_eq!((response.status, response.header("x-model")), (200, "parrot"), "{prompt}");
    assert_eq!(calls_of_broken(app), before, "{prompt}");
}

async fn cached(app: &TestApp, prompt: &str) -> Response {
    app.chat_with(chat(prompt), &ONLY_CACHED).await
}

#[tokio::test]
async fn fault_84_a_clock_that_jumps_or_stands_ages_entries_and_nothing_else() {
    let mishaps = Mishaps::prepare();
    let settings = format!(
        "cache.mode = \"exact\"\nretry.attempts_per_upstream = 1\nbreaker = {{failures = 2, open_seconds = 300}}\n\
         [[routes]]\nmodel = \"{ROUTE}\"\nchain = [\"fake/broken\", \"fake/parrot\"]"
    );
    let mut app = TestApp::fragile(&settings, &mishaps).await;
    app.start_binary().await;
    app.chat(chat("Today?")).await;
    app.upstream.on_model("broken", Reply::error(500, "broken", None, None));
    for at in 0..2 {
        app.chat(with(chat(&format!("Failure {at}?")), "model", ROUTE.into())).await;
    }
    assert_eq!(calls_of_broken(&app), 2);
    is_left_alone(&app, "Open today?").await;

    // Tomorrow comes while somebody waits.
    let gate = Gate::shut();
    app.upstream.on_prompt("How long?", Reply::text("A while.").held(&gate));
    let before = app.upstream.calls();
    let tomorrow = async {
        app.upstream.called(before + 1).await;
        mishaps.shift_clock(DAY + 60);
        is_left_alone(&app, "Open tomorrow?").await;
        gate.open();
    };
    let patient = [("x-deadline-ms", "60000")];
    let (waited, ()) = tokio::join!(app.chat_with(chat("How long?"), &patient), tomorrow);
    assert_eq!((waited.status, waited.answer().as_str()), (200, "A while."));
    assert_eq!(cached(&app, "Today?").await.status, 504, "it was for a day");
    app.chat(chat("Tomorrow?")).await;

    // And it was a mistake: what is over stays so, and nothing is younger than new.
    mishaps.shift_clock(-DAY);
    assert_eq!(cached(&app, "Today?").await.status, 504);
    let hit = cached(&app, "Tomorrow?").await;
    assert_eq!(hit.source(), "exact");
    assert!(hit.header("age").parse::<u64>().unwrap() < 60, "{}", hit.header("age"));
    is_left_alone(&app, "Open yesterday?").await;

    // It stands: a wait is a wait all the same.
    let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap().as_secs();
    mishaps.stop_clock(now);
    let gate = Gate::shut();
    app.upstream.on_prompt("For ever?", Reply::text("No.").held(&gate));
    let late = app.chat_with(chat("For ever?"), &[("x-deadline-ms", "200")]).await;
    assert_eq!((late.status, late.error("code").as_str()), (504, "deadline"));
    gate.open();

    // A process that begins before an answer was given takes it for new.
    app.process().signal("-TERM");
    app.process().ended().await;
    app.start_binary().await;
    let early = cached(&app, "Tomorrow?").await;
    assert_eq!((early.source(), early.header("age")), ("exact", "0"));
}
