//! The process is killed in the middle of an outage, again and again: what is lost, and what is done twice?

use std::collections::{BTreeMap, HashMap, HashSet};
use std::sync::Arc;
use std::time::{Duration, Instant};

use serde_json::Value;
use tokio::task::JoinSet;
use tokio::time::sleep;

use crate::caller::Caller;
use crate::promise;
use crate::server::{Server, Upstreams, folder};
use crate::support::eventually;

const CLIENTS: usize = 8;
/// How long the server runs before it is killed: a different time each round.
const LIFE_MS: u64 = 400;
/// What moments may differ by that were written down before the kill and are read after it.
const SAME_SECONDS: i64 = 2;

/// All that was acknowledged so far.
#[derive(Default)]
struct Acknowledged {
    /// Keys of entries that the admin interface has shown from the store.
    entries: HashSet<String>,
    /// Jobs that were taken, and what they were last seen to have come to.
    jobs: HashMap<String, Value>,
}

/// Runs the drill and returns the promises that were not kept.
pub async fn run(rounds: usize) -> Vec<String> {
    let mut broken = Vec::new();
    let upstreams = Upstreams::start(3).await;
    upstreams.down(0);
    let settings = "cache.mode = \"exact\"\njobs.concurrency = 4\nbreaker.open_seconds = 300";
    let folder = folder(&upstreams.configuration(settings));
    let (mut known, caller) = (Acknowledged::default(), Caller::new());
    let mut breaker_before: Option<Value> = None;
    for round in 0..rounds {
        let server = Arc::new(Server::start(folder.path()).await);
        check(round, &server, &caller, &mut known, breaker_before.as_ref(), &mut broken).await;
        let clients = clients(round, &server);
        let jobs = begin_jobs(round, &server, &caller).await;
        known.jobs.extend(jobs.into_iter().map(|id| (id, Value::Null)));
        acknowledge(&server, &caller, &mut known, Duration::from_millis(LIFE_MS + (round as u64 * 37) % 300))
            .await;
        breaker_before = Some(server.health_of(&caller, "one").await);
        let kept = clients;
        Arc::into_inner(server).map_or_else(|| panic!("clients hold no server"), Server::kill);
        kept.join_all().await;
    }
    let server = Server::start(folder.path()).await;
    check(rounds, &server, &caller, &mut known, breaker_before.as_ref(), &mut broken).await;
    let mut ends = BTreeMap::<String, usize>::new();
    for id in known.jobs.keys() {
        let ended = async || Some(job(&server, &caller, id).await).filter(has_ended);
        let ended = eventually("the end of a job", ended).await;
        *ends.entry(ended["status"].as_str().unwrap_or_default().to_owned()).or_default() += 1;
    }
    let lost = if broken.is_empty() { "and all of them are there" } else { "and not all is as it was" };
    println!(
        "{rounds} kills: {} entries and {} jobs were acknowledged, {lost}. In the end the jobs were {ends:?}.",
        known.entries.len(),
        known.jobs.len()
    );
    broken
}

/// Checks that nothing of what was known before the kill has gone or changed.
async fn check(
    round: usize,
    server: &Server,
    caller: &Caller,
    known: &mut Acknowledged,
    breaker_before: Option<&Value>,
    broken: &mut Vec<String>,
) {
    let stored = server.keys(caller).await;
    for key in known.entries.difference(&stored) {
        broken.push(format!("round {round}: the entry {key} is gone"));
    }
    for (id, before) in &known.jobs {
        let now = job(server, caller, id).await;
        promise(broken, now["id"] == **id, format!("round {round}: the job {id} is gone"));
        if has_ended(before) {
            let is_same = now["status"] == before["status"]
                && now["updated_at"] == before["updated_at"]
                && now["result"] == before["result"];
            promise(broken, is_same, format!("round {round}: the job {id} had ended and is not what it was"));
        }
    }
    if let Some(before) = breaker_before {
        let now = server.health_of(caller, "one").await;
        let is_same = before["breaker"] == now["breaker"]
            && apart(&before["open_until"], &now["open_until"]) <= SAME_SECONDS;
        promise(broken, is_same, format!("round {round}: the breaker was {before} and is {now}"));
    }
}

/// Returns by how many seconds two moments differ; two that are not there do not.
fn apart(one: &Value, other: &Value) -> i64 {
    let seconds = |value: &Value| {
        value.as_str().and_then(|text| text.parse::<jiff::Timestamp>().ok()).map(jiff::Timestamp::as_second)
    };
    match (seconds(one), seconds(other)) {
        (None, None) => 0,
        (Some(one), Some(other)) => (one - other).abs(),
        _ => i64::MAX,
    }
}

/// Keeps the server busy until it is gone.
fn clients(round: usize, server: &Arc<Server>) -> JoinSet<()> {
    let mut clients = JoinSet::new();
    for client in 0..CLIENTS {
        let base = format!("{}/v1", server.public);
        clients.spawn(async move {
            let caller = Caller::new();
            for number in 0.. {
                let prompt = format!("What is known of {round}/{client}/{number}?");
                if caller.chat(&base, "default", &prompt, None).await.status == 0 {
                    break;
                }
            }
        });
    }
    clients
}

async fn begin_jobs(round: usize, server: &Server, caller: &Caller) -> Vec<String> {
    let mut jobs = Vec::new();
    for number in 0..6 {
        let prompt = format!("Take your time with {round}/{number}.");
        jobs.extend(caller.job(&server.public, &prompt).await);
    }
    jobs
}

/// Looks at entries and jobs until the time is over: what is seen is acknowledged.
async fn acknowledge(server: &Server, caller: &Caller, known: &mut Acknowledged, time: Duration) {
    let ends = Instant::now() + time;
    while Instant::now() < ends {
        let page = server.admin(caller, "/admin/entries?limit=50").await;
        let keys = page["entries"].as_array().into_iter().flatten();
        known.entries.extend(keys.filter_map(|entry| entry["key"].as_str().map(str::to_owned)));
        let open: Vec<_> =
            known.jobs.iter().filter(|(_, seen)| !has_ended(seen)).map(|(id, _)| id.clone()).collect();
        for id in open {
            let seen = job(server, caller, &id).await;
            known.jobs.insert(id, seen);
        }
        sleep(Duration::from_millis(20)).await;
    }
}

/// Says whether a job has come to its end: one whose upstreams have all failed has failed.
fn has_ended(job: &Value) -> bool {
    matches!(job["status"].as_str(), Some("done" | "failed"))
}

async fn job(server: &Server, caller: &Caller, id: &str) -> Value {
    serde_json::from_str(&caller.get(&format!("{}/v1/jobs/{id}", server.public)).await.1).unwrap_or_default()
}
