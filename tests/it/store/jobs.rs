//! Jobs: each step taken once, by one; seen by their tenant; gone when they expire.

use std::time::Duration;

use futures_util::future::join_all;
use refrain::chat::{ChatRequest, Directives, TenantId, UnixMillis};
use refrain::config::CacheMode;
use refrain::store::{ClaimedJob, JobEnd, JobId, JobRequest, JobState, NewJob, Store, StoredJob};

use super::{HOUR, NOW, Place, on_both};

on_both! {
    a_job_goes_its_way_and_is_there_after_a_restart
    a_job_is_claimed_once_however_many_ask
    what_was_taken_from_an_owner_cannot_be_ended_by_it
    what_was_put_back_comes_first_again
    what_its_owner_lost_is_queued_again
    the_tenant_with_the_fewest_running_is_next
    a_tenants_queue_is_bounded_and_nobody_elses
    a_cancelled_job_is_neither_claimed_nor_ended
    a_job_is_its_tenants_alone
    what_is_over_can_be_removed
    a_job_expires_over_or_not
    a_job_that_runs_does_not_expire_before_it_ends
    the_oldest_results_go_where_there_are_too_many
}

const ME: &str = "this process";
const OTHER: &str = "another";

fn acme() -> TenantId {
    TenantId::new("acme")
}

fn later(seconds: u64) -> UnixMillis {
    NOW.after(Duration::from_secs(seconds))
}

fn asking(tenant: &str, prompt: &str) -> JobRequest {
    let directives = Directives {
        mode: CacheMode::Exact,
        tags: vec!["faq".into()],
        deadline: Some(Duration::from_millis(1_500)),
        ..Directives::of(TenantId::new(tenant))
    };
    let request = ChatRequest::from_prompt(prompt);
    JobRequest { request, directives, request_id: "mine".into(), sees_internals: true }
}

fn new(tenant: &str, prompt: &str, created_at: UnixMillis) -> NewJob {
    NewJob {
        id: JobId::random(),
        request: asking(tenant, prompt),
        webhook: Some("pager".into()),
        created_at,
        expires_at: NOW.after(HOUR),
    }
}

/// Queues a job of this tenant and returns its name.
async fn queue(store: &Store, tenant: &str, prompt: &str, created_at: UnixMillis) -> JobId {
    let job = new(tenant, prompt, created_at);
    let id = job.id;
    assert!(store.add_job(job, 1_000).await.unwrap());
    id
}

async fn claim(store: &Store, owner: &str) -> Option<ClaimedJob> {
    store.claim_job(owner, NOW).await.unwrap()
}

async fn finish(store: &Store, id: JobId, owner: &str, text: &str) -> bool {
    let end = JobEnd::Done(text.into());
    store.finish_job(id, owner, end, later(60), later(60).after(HOUR)).await.unwrap()
}

async fn state(store: &Store, id: JobId) -> Option<JobState> {
    store.job(&acme(), id, NOW).await.unwrap().map(|job| job.state)
}

async fn a_job_goes_its_way_and_is_there_after_a_restart(place: Place) {
    let store = place.open().await;
    let id = queue(&store, "acme", "a long story", NOW).await;
    store.close().await;

    let store = place.open().await;
    let queued = StoredJob {
        id,
        state: JobState::Queued,
        created_at: NOW,
        updated_at: NOW,
        expires_at: NOW.after(HOUR),
        result: None,
    };
    assert_eq!(store.job(&acme(), id, NOW).await.unwrap(), Some(queued.clone()));
    let claimed = store.claim_job(ME, later(5)).await.unwrap();
    let request = Some(asking("acme", "a long story"));
    assert_eq!(claimed, Some(ClaimedJob { id, request, webhook: Some("pager".into()) }));
    let running = store.job(&acme(), id, NOW).await.unwrap().unwrap();
    assert_eq!((running.state, running.updated_at), (JobState::Running, later(5)));
    assert!(store.owns_job(id, ME).await.unwrap());
    assert!(finish(&store, id, ME, "{\"text\":1}").await);
    assert!(!store.owns_job(id, ME).await.unwrap());
    store.close().await;

    let store = place.open().await;
    let done = StoredJob {
        state: JobState::Done,
        updated_at: later(60),
        expires_at: later(60).after(HOUR),
        result: Some(b"{\"text\":1}".to_vec()),
        ..queued
    };
    assert_eq!(store.job(&acme(), id, NOW).await.unwrap(), Some(done));
    assert_eq!(claim(&store, ME).await, None);
    assert_eq!(place.rows("jobs WHERE request IS NULL").await, 1, "the prompt goes with the job's end");
}

async fn a_job_is_claimed_once_however_many_ask(place: Place) {
    let stores = [place.open().await, place.open().await];
    let mut queued = Vec::new();
    for number in 0..20 {
        queued.push(queue(&stores[0], "acme", &format!("q{number}"), NOW).await);
    }
    let mut claimed = Vec::new();
    // A round may find less than it asks for, where two have reached for the same one.
    while claimed.len() < queued.len() {
        let round = join_all((0..8).map(|at| claim(&stores[at % 2], ME))).await;
        claimed.extend(round.into_iter().flatten().map(|job| job.id));
    }
    claimed.sort_unstable_by_key(JobId::to_string);
    queued.sort_unstable_by_key(JobId::to_string);
    assert_eq!(claimed, queued);
    assert_eq!(claim(&stores[0], ME).await, None);
}

async fn what_was_taken_from_an_owner_cannot_be_ended_by_it(place: Place) {
    let store = place.open().await;
    let id = queue(&store, "acme", "q", NOW).await;
    assert_eq!(claim(&store, OTHER).await.unwrap().id, id);
    assert!(!finish(&store, id, ME, "mine").await, "it runs under another");
    assert_eq!(store.requeue_jobs_of_others(OTHER, NOW).await.unwrap(), 0, "its own are left alone");
    assert_eq!(store.requeue_jobs_of_others(ME, NOW).await.unwrap(), 1);
    assert!(!finish(&store, id, OTHER, "too late").await, "it is queued");
    assert_eq!(claim(&store, ME).await.unwrap().id, id);
    assert!(!finish(&store, id, OTHER, "too late").await);
    assert!(!store.release_job(id, OTHER, NOW).await.unwrap());
    assert!(finish(&store, id, ME, "mine").await);
    assert!(!finish(&store, id, ME, "twice").await);
    let result = store.job(&acme(), id, NOW).await.unwrap().unwrap().result;
    assert_eq!(result.as_deref(), Some(&b"mine"[..]));
}

async fn what_was_put_back_comes_first_again(place: Place) {
    let store = place.open().await;
    let first = queue(&store, "acme", "first", NOW).await;
    let second = queue(&store, "acme", "second", later(1)).await;
    assert_eq!(claim(&store, ME).await.unwrap().id, first);
    assert!(store.release_job(first, ME, later(2)).await.unwrap());
    assert_eq!(state(&store, first).await, Some(JobState::Queued));
    assert_eq!(claim(&store, ME).await.unwrap().id, first);
    assert_eq!(claim(&store, ME).await.unwrap().id, second);
}

async fn what_its_owner_lost_is_queued_again(place: Place) {
    let store = place.open().await;
    for (prompt, at) in [("lost", 0), ("runs", 1), ("fresh", 2)] {
        queue(&store, "acme", prompt, later(at)).await;
    }
    let mut claimed = Vec::new();
    for at in [10, 20, 30] {
        claimed.push(store.claim_job(ME, later(at)).await.unwrap().unwrap().id);
    }
    let lost =
        async |owner, that_run| store.requeue_lost_jobs(owner, that_run, later(30), later(40)).await.unwrap();
    assert_eq!(lost(OTHER, Vec::new()).await, 0, "it is not its to put back");
    assert_eq!(lost(ME, vec![claimed[1]]).await, 1);
    assert_eq!(state(&store, claimed[0]).await, Some(JobState::Queued));
    assert!(store.owns_job(claimed[2], ME).await.unwrap(), "its claim may be on its way");
    assert_eq!(lost(ME, Vec::new()).await, 1);
}

async fn the_tenant_with_the_fewest_running_is_next(place: Place) {
    let store = place.open().await;
    let mut floods = Vec::new();
    for number in 0..3 {
        floods.push(queue(&store, "flood", &format!("q{number}"), later(number)).await);
    }
    let single = queue(&store, "acme", "q", later(9)).await;
    let mut order = Vec::new();
    while let Some(job) = claim(&store, ME).await {
        order.push(job.id);
    }
    assert_eq!(order, [floods[0], single, floods[1], floods[2]]);
}

async fn a_tenants_queue_is_bounded_and_nobody_elses(place: Place) {
    let store = place.open().await;
    let add = async |tenant: &str| store.add_job(new(tenant, "q", NOW), 2).await.unwrap();
    assert!(add("acme").await && add("acme").await);
    let running = claim(&store, ME).await.unwrap().id;
    assert!(!add("acme").await, "one that runs is under way, too");
    assert!(add("other").await);
    assert!(finish(&store, running, ME, "{}").await);
    assert!(add("acme").await, "one that is over is not");
    let all_at_once = join_all((0..9).map(|_| store.add_job(new("flood", "q", NOW), 2))).await;
    assert_eq!(all_at_once.into_iter().filter(|added| *added == Ok(true)).count(), 2);
}

async fn a_cancelled_job_is_neither_claimed_nor_ended(place: Place) {
    let store = place.open().await;
    let [queued, running] =
        [queue(&store, "acme", "later", later(1)).await, queue(&store, "acme", "now", NOW).await];
    assert_eq!(claim(&store, ME).await.unwrap().id, running);
    for id in [queued, running] {
        let cancel = async || store.cancel_job(&acme(), id, later(2), later(2).after(HOUR)).await.unwrap();
        assert_eq!(cancel().await, Some(Some("pager".into())));
        assert_eq!(cancel().await, None, "once");
        let cancelled = store.job(&acme(), id, NOW).await.unwrap().unwrap();
        assert_eq!((cancelled.state, cancelled.updated_at), (JobState::Cancelled, later(2)));
    }
    assert_eq!(claim(&store, ME).await, None);
    assert!(!finish(&store, running, ME, "{}").await);
    assert_eq!(state(&store, running).await, Some(JobState::Cancelled));
    assert_eq!(place.rows("jobs WHERE request IS NULL").await, 2);
}

async fn a_job_is_its_tenants_alone(place: Place) {
    let store = place.open().await;
    let id = queue(&store, "acme", "q", NOW).await;
    let other = TenantId::new("other");
    assert_eq!(store.job(&other, id, NOW).await.unwrap(), None);
    assert_eq!(store.cancel_job(&other, id, NOW, NOW).await.unwrap(), None);
    claim(&store, ME).await.unwrap();
    assert!(finish(&store, id, ME, "{}").await);
    assert!(!store.remove_job(&other, id).await.unwrap());
    assert_eq!(state(&store, id).await, Some(JobState::Done));
}

async fn what_is_over_can_be_removed(place: Place) {
    let store = place.open().await;
    let id = queue(&store, "acme", "q", NOW).await;
    assert!(!store.remove_job(&acme(), id).await.unwrap(), "it is queued");
    claim(&store, ME).await.unwrap();
    assert!(!store.remove_job(&acme(), id).await.unwrap(), "it runs");
    let end = JobEnd::Failed(b"{}".to_vec());
    assert!(store.finish_job(id, ME, end, NOW, NOW.after(HOUR)).await.unwrap());
    assert_eq!(state(&store, id).await, Some(JobState::Failed));
    assert!(store.remove_job(&acme(), id).await.unwrap());
    assert_eq!(state(&store, id).await, None);
}

async fn a_job_expires_over_or_not(place: Place) {
    let store = place.open().await;
    let done = queue(&store, "acme", "done", NOW).await;
    claim(&store, ME).await.unwrap();
    assert!(finish(&store, done, ME, "{}").await);
    let never = queue(&store, "acme", "never", NOW).await;
    let end = NOW.after(HOUR);
    assert!(store.job(&acme(), never, UnixMillis(end.0 - 1)).await.unwrap().is_some());
    assert_eq!(store.job(&acme(), never, end).await.unwrap(), None, "before any sweep");
    assert_eq!(store.claim_job(ME, end).await.unwrap(), None);
    assert_eq!(store.cancel_job(&acme(), never, end, end.after(HOUR)).await.unwrap(), None);
    assert_eq!(store.sweep_jobs(UnixMillis(end.0 - 1)).await.unwrap(), 0);
    assert_eq!(place.rows("jobs").await, 2);
    assert_eq!(store.sweep_jobs(end).await.unwrap(), 1, "one was not over");
    assert_eq!(state(&store, done).await, Some(JobState::Done), "its time began at its end");
    assert_eq!(store.sweep_jobs(later(60).after(HOUR)).await.unwrap(), 0);
    assert_eq!(place.rows("jobs").await, 0);
}

async fn a_job_that_runs_does_not_expire_before_it_ends(place: Place) {
    let store = place.open().await;
    let id = queue(&store, "acme", "q", NOW).await;
    claim(&store, ME).await.unwrap();
    let late = NOW.after(2 * HOUR);
    assert_eq!(store.sweep_jobs(late).await.unwrap(), 0);
    assert_eq!(store.job(&acme(), id, late).await.unwrap().unwrap().state, JobState::Running);
    assert!(store.release_job(id, ME, late).await.unwrap());
    assert_eq!(store.job(&acme(), id, late).await.unwrap(), None);
    assert_eq!(store.sweep_jobs(late).await.unwrap(), 1);
}

async fn the_oldest_results_go_where_there_are_too_many(place: Place) {
    let store = place.open().await;
    let waiting = queue(&store, "acme", "q", NOW).await;
    let rows = |end: i64| {
        format!(
            "INSERT INTO jobs (id, tenant, state, created_at, updated_at, expires_at) \
             WITH RECURSIVE numbers (n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM numbers WHERE n < 100010) \
             SELECT n || '', 'acme', 'done', 0, 0, {end} + n FROM numbers"
        )
    };
    let end = NOW.after(HOUR).0;
    place.execute(&rows(end), &rows(end)).await;
    assert_eq!(store.sweep_jobs(NOW).await.unwrap(), 0);
    assert_eq!(state(&store, waiting).await, Some(JobState::Queued), "what is not over stays");
    assert_eq!(place.rows("jobs WHERE state = 'done'").await, 100_000);
    assert_eq!(place.rows(&format!("jobs WHERE expires_at = {end} + 11")).await, 1);
    let counts = store.count_jobs().await.unwrap();
    assert_eq!(counts.map(|(_, jobs)| jobs), [1, 0, 100_000, 0, 0]);
}
