//! A model that says whether two answers are the same.

use super::{ALL, LOOSE, STORED, counted, device, outcomes, store};
use crate::support::app::{TestApp, chat};
use crate::support::reply::{Reply, answer_to};

const REFEREE: &str =
    "cache.semantic.judge_model = \"referee\"\n[[routes]]\nmodel = \"referee\"\nchain = [\"fake/referee\"]\n";

#[tokio::test]
async fn the_judges_word_counts_and_anything_else_is_unclear() {
    let app = TestApp::with(&format!("{LOOSE}retry.attempts_per_upstream = 1\n{REFEREE}")).await;
    store(&app, STORED).await;
    for (at, (said, outcome)) in
        [("SAME", "same"), ("**Different**.", "different"), ("That depends.", "unclear")]
            .into_iter()
            .enumerate()
    {
        app.upstream.on_model("referee", Reply::text(said));
        assert_eq!(app.chat(chat(&device(at))).await.source(), "semantic", "{said}");
        counted(&app, outcome, 1).await;
    }
    app.upstream.on_model("referee", Reply::error(500, "broken", None, None));
    assert_eq!(app.chat(chat(&device(9))).await.source(), "semantic");
    counted(&app, "failed", 1).await;

    let heard = app.upstream.heard();
    let judged: Vec<_> = heard.iter().filter(|call| call.model() == "referee").collect();
    assert_eq!((heard.len(), judged.len()), (9, 4), "an answer, and an answer and a word for each check");
    let (asked, fresh) = (device(0), answer_to(&device(0)));
    for part in ["<question>", &asked, "<answer_1>", &answer_to(STORED), "<answer_2>", &fresh] {
        assert!(judged[0].prompt().contains(part), "{part}: {}", judged[0].prompt());
    }
    assert!(judged[0].body["messages"][0]["content"].as_str().unwrap().contains("SAME or DIFFERENT"));
    // What a judge is asked is nobody's request: it is neither kept nor answered from the cache.
    assert_eq!(app.admin_get("/admin/stats").await.json()["checks"]["other"]["checked"], 2);
}

#[tokio::test]
async fn equal_answers_need_no_judge_and_short_ones_do() {
    let app = TestApp::with(&format!("{ALL}{REFEREE}")).await;
    app.upstream.on_model("referee", Reply::text("SAME"));
    app.upstream.on_model("parrot", Reply::text("In the settings."));
    store(&app, STORED).await;
    app.upstream.on_model("parrot", Reply::text("in the settings"));
    assert_eq!(app.chat(chat("How can I reset my password?")).await.source(), "semantic");
    counted(&app, "same", 1).await;
    assert_eq!(app.upstream.calls(), 2);
    app.upstream.on_model("parrot", Reply::text("Look at your settings."));
    assert_eq!(app.chat(chat("How could I reset my password?")).await.source(), "semantic");
    counted(&app, "same", 2).await;
    assert_eq!((app.upstream.calls(), outcomes(&app, "other", "different").await), (4, 0.0));
}
