//! 400 requests a second for minutes, with half of the upstreams failing: what grows, and who is turned away?

use std::collections::HashSet;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use tokio::sync::Mutex;
use tokio::task::JoinSet;
use tokio::time::{MissedTickBehavior, interval};

use crate::caller::Caller;
use crate::promise;
use crate::server::{Server, Upstreams, folder};
use crate::support::eventually;
use crate::tally::Tally;

const PER_SECOND: u64 = 400;
/// Subjects that are asked about.
const PROMPTS: usize = 5_000;
/// The life of an answer: every subject is asked about more seldom than that.
const TTL_SECONDS: u32 = 5;
/// Connections that requests share.
const CONNECTIONS: usize = 64;

/// Runs the drill and returns the promises that were not kept.
pub async fn run(time: Duration) -> Vec<String> {
    let mut broken = Vec::new();
    println!(
        "{PER_SECOND} requests a second for {} s about {PROMPTS} subjects; two of four upstreams are down.\n",
        time.as_secs()
    );
    let upstreams = Upstreams::start(4).await;
    (0..4).step_by(2).for_each(|at| upstreams.down(at));
    let folder =
        folder(&upstreams.configuration("cache.mode = \"exact\"\ncache.memory_capacity_bytes = 33554432"));
    let server = Server::start(folder.path()).await;
    let base = Arc::new(format!("{}/v1", server.public));
    let tally = Arc::new(Mutex::new(Tally::default()));
    let answered = Arc::new(Mutex::new(HashSet::new()));
    let refused = Arc::new(AtomicUsize::new(0));
    let callers: Vec<_> = (0..CONNECTIONS).map(|_| Caller::new()).collect();
    let (began, mut sizes, mut requests) = (Instant::now(), Vec::new(), JoinSet::new());
    let mut ticks = interval(Duration::from_micros(1_000_000 / PER_SECOND));
    ticks.set_missed_tick_behavior(MissedTickBehavior::Burst);
    for number in 0_usize.. {
        ticks.tick().await;
        if began.elapsed() >= time {
            break;
        }
        if number.is_multiple_of(PER_SECOND as usize * 5) {
            sizes.push((began.elapsed(), server.status("VmRSS")));
        }
        while requests.try_join_next().is_some() {}
        let (base, caller) = (Arc::clone(&base), callers[number % CONNECTIONS].clone());
        let (tally, answered, refused) = (Arc::clone(&tally), Arc::clone(&answered), Arc::clone(&refused));
        // Every subject comes again, in another order each time.
        let subject = number.wrapping_mul(2_654_435_761) % PROMPTS;
        requests.spawn(async move {
            let was_answered = answered.lock().await.contains(&subject);
            let prompt = format!("What is there to say about subject {subject}?");
            let heard = caller.chat(&base, "default", &prompt, Some(TTL_SECONDS)).await;
            if heard.status == 200 {
                answered.lock().await.insert(subject);
            } else if was_answered {
                refused.fetch_add(1, Ordering::Relaxed);
            }
            tally.lock().await.add(&heard);
        });
    }
    let files = server.open_files();
    requests.join_all().await;
    println!("{}\n{}", Tally::HEAD, tally.lock().await.line("load", upstreams.calls()));
    let growth = growth(&sizes);
    println!("\nResident memory, MB every 5 s: {}", listed(&sizes));
    println!(
        "It grew by {growth:.2} MB a minute after the first minute; {} threads, {files} open files.",
        server.status("Threads")
    );
    promise(&mut broken, growth < 5.0, format!("resident memory grew by {growth:.2} MB a minute"));
    let refused = refused.load(Ordering::Relaxed);
    promise(&mut broken, refused == 0, format!("{refused} errors where a stale answer was there"));
    check_idle(&server, &mut broken).await;
    broken
}

/// Checks that nothing is left under way when nobody waits any more.
async fn check_idle(server: &Server, broken: &mut Vec<String>) {
    let caller = Caller::new();
    let is_idle = async || {
        let stats = server.admin(&caller, "/admin/stats").await;
        (stats["flights"] == 0).then_some(())
    };
    eventually("the end of all flights", is_idle).await;
    for name in ["one", "two", "three", "four"] {
        let health = server.health_of(&caller, name).await;
        promise(broken, health["in_flight"] == 0, format!("calls of `{name}` are still under way: {health}"));
    }
}

/// Returns MB a minute by least squares over all that came after the first minute, or after a fifth where it is shorter.
fn growth(sizes: &[(Duration, u64)]) -> f64 {
    let whole = sizes.last().map_or(0.0, |(at, _)| at.as_secs_f64());
    let points = sizes.iter().map(|(at, kibibytes)| (at.as_secs_f64() / 60.0, *kibibytes as f64 / 1024.0));
    let points: Vec<_> = points.filter(|(minute, _)| *minute >= (whole / 60.0 / 5.0).min(1.0)).collect();
    let count = points.len() as f64;
    let mean = |of: fn(&(f64, f64)) -> f64| points.iter().map(of).sum::<f64>() / count;
    let (x, y) = (mean(|point| point.0), mean(|point| point.1));
    let (above, below) = points.iter().fold((0.0, 0.0), |(above, below), point| {
        (above + (point.0 - x) * (point.1 - y), below + (point.0 - x).powi(2))
    });
    if below > 0.0 { above / below } else { 0.0 }
}

fn listed(sizes: &[(Duration, u64)]) -> String {
    sizes.iter().map(|(_, kibibytes)| (kibibytes / 1024).to_string()).collect::<Vec<_>>().join(" ")
}
