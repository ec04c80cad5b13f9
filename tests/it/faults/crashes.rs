//! The process is killed half way through a write, again and again.

use std::collections::BTreeSet;
use std::os::unix::fs::DirBuilderExt;

use serde_json::json;

use super::disk::complaints;
use crate::store::migration::write_older_file;
use crate::support::app::{TestApp, chat};
use crate::support::eventually;
use crate::support::mishaps::Mishaps;
use crate::support::reply::answer_to;

const JOBS_AT_A_TIME: usize = 2;

/// What was acknowledged so far.
#[derive(Default)]
struct Acknowledged {
    /// Keys that were told of the store.
    entries: BTreeSet<String>,
    /// Prompts of jobs that were taken, and where they are to be looked at.
    jobs: Vec<(String, String)>,
}

impl Acknowledged {
    /// Asks, has jobs run and looks at the store until the process is killed.
    async fn gather(&mut self, app: &TestApp, round: usize) {
        for at in 0.. {
            if !app.try_chat(chat(&format!("What is known of {round}/{at}?"))).await {
                return;
            }
            if at % 10 > 0 {
                continue;
            }
            let prompt = format!("Job {round}/{at}.");
            let asked = json!({ "prompt": prompt });
            let Some(taken) = app.try_post("/v1/generate", &[("prefer", "respond-async")], asked).await
            else {
                return;
            };
            if taken.status == 202 {
                self.jobs.push((prompt, taken.header("location").to_owned()));
            }
            let Some(listed) = app.try_admin_get("/admin/entries?limit=1000").await else { return };
            let keys = listed.json()["entries"].as_array().unwrap().clone();
            self.entries.extend(keys.iter().map(|entry| entry["key"].as_str().unwrap().to_owned()));
        }
    }

    async fn check(&self, app: &TestApp) {
        for key in &self.entries {
            assert_eq!(app.admin_get(&format!("/admin/entries/{key}")).await.status, 200, "{key}");
        }
        for (prompt, location) in &self.jobs {
            assert_eq!(app.get(location).await.status, 200, "{prompt}");
        }
    }
}

#[tokio::test]
async fn fault_82_killed_half_way_through_a_write_it_keeps_what_it_acknowledged() {
    // The last of them is about where SQLite folds its log into the file.
    const LAST_WRITES: [usize; 5] = [1, 10, 100, 400, 2_300];
    let mishaps = Mishaps::prepare();
    let settings = format!("cache.mode = \"exact\"\njobs.concurrency = {JOBS_AT_A_TIME}");
    let mut app = TestApp::fragile(&settings, &mishaps).await;
    let mut known = Acknowledged::default();
    for (round, last) in LAST_WRITES.into_iter().enumerate() {
        app.start_binary().await;
        known.check(&app).await;
        mishaps.kill_at_write(last);
        known.gather(&app, round).await;
        assert_eq!(app.process().ended().await.code(), None, "it was killed");
        mishaps.spare();
        assert_eq!(complaints(&app).await, "ok");
    }
    app.start_binary().await;
    known.check(&app).await;
    assert!(known.entries.len() >= 50 && known.jobs.len() >= 5, "there was something to lose");
    for (prompt, location) in &known.jobs {
        let done = eventually("the end of a job", async || {
            let job = app.get(location).await.json();
            (job["status"] == "done").then_some(job)
        })
        .await;
        assert_eq!(done["result"]["text"], answer_to(prompt));
    }
    // One that was taken and not acknowledged counts too.
    let calls: Vec<_> = app.upstream.heard().iter().map(|call| call.prompt().to_owned()).collect();
    let of_jobs: Vec<_> = calls.iter().filter(|prompt| prompt.starts_with("Job ")).collect();
    let jobs: BTreeSet<_> = of_jobs.iter().collect();
    let again = of_jobs.len() - jobs.len();
    assert!(again <= LAST_WRITES.len() * JOBS_AT_A_TIME, "{again} of {} jobs were done twice", jobs.len());
}

#[tokio::test]
async fn fault_82_killed_within_a_migration_it_begins_again() {
    let mishaps = Mishaps::prepare();
    let mut app = TestApp::fragile("cache.mode = \"exact\"", &mishaps).await;
    let data = app.folder().join("data");
    std::fs::DirBuilder::new().mode(0o700).create(&data).unwrap();
    write_older_file(&data.join("refrain.db")).await;
    let mut killed = 0;
    for last in [1, 2, 3, 5, 8, 13, 21, 34, 55, 89, 144] {
        mishaps.kill_at_write(last);
        let lived = app.try_start_binary().await;
        mishaps.spare();
        if lived {
            break;
        }
        killed += 1;
    }
    assert!(killed >= 4, "it was killed {killed} times");
    app.start_binary().await;
    let listed = app.admin_get("/admin/entries").await.json();
    assert_eq!(listed["entries"].as_array().map(Vec::len), Some(1), "{listed}");
    assert_eq!(app.generate_with("A job?", &[("prefer", "respond-async")]).await.status, 202);
    app.process().signal("-TERM");
    app.process().ended().await;
    assert_eq!(complaints(&app).await, "ok");
}
