//! The disk below the database: full, broken, damaged, without power.

use sqlx::{Connection, SqliteConnection};

use crate::support::app::{TestApp, chat};
use crate::support::eventually;
use crate::support::mishaps::{Mishap, Mishaps};
use crate::support::reply::{Gate, Reply, answer_to};

const EXACT: &str = "cache.mode = \"exact\"";
const ASYNC: [(&str, &str); 1] = [("prefer", "respond-async")];

/// Asks something new and then again: it is answered, and remembered.
async fn goes_on(app: &TestApp, prompt: &str) {
    for served in ["upstream", "exact memory"] {
        let response = app.chat(chat(prompt)).await;
        assert_eq!((response.served_by().as_str(), response.answer()), (served, answer_to(prompt)));
    }
}

/// Returns what SQLite finds wrong with the database, which no process holds.
pub async fn complaints(app: &TestApp) -> String {
    let url = format!("sqlite://{}", app.folder().join("data/refrain.db").display());
    let mut store = SqliteConnection::connect(&url).await.unwrap();
    sqlx::query_scalar("PRAGMA integrity_check").fetch_one(&mut store).await.unwrap()
}

/// Checks that a mishap costs what would have been stored meanwhile, and nothing else. `reason` is what it is counted as.
async fn costs_what_was_to_be_stored(mishap: Mishap, reason: &str) {
    let mishaps = Mishaps::prepare();
    let mut app = TestApp::fragile(EXACT, &mishaps).await;
    app.start_binary().await;
    goes_on(&app, "Before?").await;
    app.stored(1).await;

    mishaps.begin(mishap);
    goes_on(&app, "Meanwhile, once?").await;
    goes_on(&app, "Meanwhile, twice?").await;
    app.counted(&format!("refrain_cache_write_failed_total{{reason=\"{reason}\"}}"), 2.0).await;
    // What would have to be on the disk is not promised.
    let refused = app.generate_with("In the background?", &ASYNC).await;
    assert_eq!(refused.status, 503, "{}", refused.text());

    mishaps.mend(mishap);
    eventually("a store that is well again", async || {
        (app.get("/health/ready").await.status == 200).then_some(())
    })
    .await;
    goes_on(&app, "Afterwards?").await;
    app.stored(2).await;
    app.process().signal("-TERM");
    assert_eq!(app.process().ended().await.code(), Some(0), "{}", app.process().said());
    assert_eq!(complaints(&app).await, "ok");

    app.start_binary().await;
    for (prompt, served) in
        [("Before?", "exact store"), ("Afterwards?", "exact store"), ("Meanwhile, once?", "upstream")]
    {
        assert_eq!(app.chat(chat(prompt)).await.served_by(), served, "{mishap:?}: {prompt}");
    }
}

#[tokio::test]
async fn fault_78_a_full_disk_costs_what_was_to_be_stored_and_nothing_else() {
    costs_what_was_to_be_stored(Mishap::DiskFull, "full").await;
}

#[tokio::test]
async fn fault_79_a_disk_that_fails_costs_what_was_to_be_stored_and_nothing_else() {
    costs_what_was_to_be_stored(Mishap::DiskBroken, "io").await;
}

#[tokio::test]
async fn fault_79_a_disk_that_cannot_sync_costs_what_was_to_be_stored_and_nothing_else() {
    costs_what_was_to_be_stored(Mishap::Unsynced, "io").await;
}

#[tokio::test]
async fn fault_80_a_damaged_store_is_kept_under_another_name_and_a_new_one_begun() {
    let mut app = TestApp::exact().await;
    app.chat(chat("Before?")).await;
    app.stop().await;
    let data = app.folder().join("data");
    let damaged = b"This was a database once. ".repeat(1_000);
    std::fs::write(data.join("refrain.db"), &damaged).unwrap();
    app.start_binary().await;
    goes_on(&app, "Before?").await;
    app.stored(1).await;
    assert!(app.process().said().contains("the store was damaged"), "{}", app.process().said());
    let names = std::fs::read_dir(&data).unwrap().map(|file| file.unwrap().path());
    let kept = |path: &std::path::PathBuf| path.to_string_lossy().contains("refrain.db.damaged-");
    let aside: Vec<_> = names.filter(kept).map(|path| std::fs::read(path).unwrap()).collect();
    assert!(aside == [damaged], "{} files", aside.len());
}

/// All writes that were not synced are lost, as if the machine had lost its power.
#[tokio::test]
async fn fault_83_a_loss_of_power_takes_nothing_that_was_acknowledged() {
    let mishaps = Mishaps::prepare();
    mishaps.watch_disk();
    let mut app = TestApp::fragile("cache.mode = \"exact\"\njobs.concurrency = 1", &mishaps).await;
    app.start_binary().await;
    let gate = Gate::shut();
    app.upstream.on_prompt("The first of them?", Reply::text("Done.").held(&gate));
    let (mut entries, mut jobs) = (Vec::new(), Vec::new());
    for prompt in ["The first of them?", "The second of them?", "The third of them?"] {
        for at in 0..10 {
            app.chat(chat(&format!("{prompt} {at}"))).await;
        }
        let accepted = app.generate_with(prompt, &ASYNC).await;
        assert_eq!(accepted.status, 202, "{}", accepted.text());
        jobs.push(accepted.header("location").to_owned());
    }
    // What is told of the store has been committed.
    app.stored(20).await;
    let listed = app.admin_get("/admin/entries?limit=1000").await.json();
    entries.extend(listed["entries"].as_array().unwrap().iter().map(|entry| entry["key"].to_string()));
    app.process().signal("-KILL");
    app.process().ended().await;
    mishaps.lose_power(&app.folder().join("data"));
    assert_eq!(complaints(&app).await, "ok");

    app.start_binary().await;
    assert!(entries.len() >= 20, "{entries:?}");
    for key in entries {
        let path = format!("/admin/entries/{}", key.trim_matches('"'));
        assert_eq!(app.admin_get(&path).await.status, 200, "{path}");
    }
    gate.open();
    for location in jobs {
        eventually("the end of a job", async || {
            (app.get(&location).await.json()["status"] == "done").then_some(())
        })
        .await;
    }
}
