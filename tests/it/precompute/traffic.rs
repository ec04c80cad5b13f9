//! The list that nobody has to write: what live traffic asked for most.

use serde_json::json;

use super::{buy, over, post};
use crate::support::app::{TestApp, chat};
use crate::support::eventually;

#[tokio::test]
async fn what_traffic_asked_for_is_bought_anew_before_it_expires_and_nothing_else() {
    let app = TestApp::with("cache.mode = \"exact\"\ncache.ttl_seconds = 1").await;
    for prompt in ["asked often", "asked once"] {
        app.chat(chat(prompt)).await;
    }
    app.stored(2).await;
    for _ in 0..3 {
        app.chat_with(chat("asked often"), &[("cache-control", "max-stale=600")]).await;
    }
    // Hits are written down every now and then.
    let planned = eventually("the hits in the store", async || {
        let planned = post(&app, "?from_traffic=default&dry_run=true", "").await.json();
        (planned["plan"]["refresh"] == 1).then_some(planned)
    })
    .await;
    assert_eq!(planned["plan"]["new"], 0);
    let nobody = post(&app, "?from_traffic=nobody", "").await;
    assert_eq!(nobody.json()["plan"]["refresh"], 0);
    over(&app, nobody.json()["run"].as_str().unwrap()).await;
    let calls = app.upstream.calls();
    let report = buy(&app, "?from_traffic=default", "").await;
    assert_eq!((&report["refreshed"], app.upstream.calls()), (&json!(1), calls + 1), "{report}");
    assert_eq!(app.upstream.heard().last().unwrap().prompt(), "asked often");
}
