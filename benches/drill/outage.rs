//! A primary is lost, then everybody, then all come back: what do fifty clients hear?

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use tokio::sync::Mutex;
use tokio::task::JoinSet;
use tokio::time::sleep;

use crate::caller::Caller;
use crate::promise;
use crate::server::{MODEL, Server, Upstreams, folder};
use crate::tally::Tally;

const CLIENTS: usize = 50;
/// What a client does between two requests.
const PAUSE: Duration = Duration::from_millis(100);
/// Of ten requests so many ask what others have asked before.
const KNOWN_OF_TEN: usize = 3;
const KNOWN: usize = 60;
/// The life of an answer to what is asked again and again, so that it is stale when it is needed.
const TTL_SECONDS: u32 = 1;

/// Runs the drill and returns the promises that were not kept.
pub async fn run(phase: Duration) -> Vec<String> {
    let mut broken = Vec::new();
    println!(
        "50 clients, three upstreams that fail 15 % of all requests by chance; {} s a phase.\n",
        phase.as_secs()
    );
    println!("{}", Tally::HEAD);
    before(phase).await;
    let upstreams = Upstreams::start(3).await;
    let folder = folder(&upstreams.configuration("cache.mode = \"exact\""));
    let server = Server::start(folder.path()).await;
    let base = Arc::new(format!("{}/v1", server.public));
    let through = async |name: &str| {
        let before = upstreams.calls();
        let mut tally = ask(&base, "default", phase).await;
        let calls = upstreams.calls() - before;
        println!("{}", tally.line(name, calls));
        (tally, calls)
    };
    let (calm, _) = through("all are well").await;
    promise(
        &mut broken,
        calm.error_rate() < 1.0,
        format!("{:.2} % errors while all were well", calm.error_rate()),
    );

    upstreams.down(0);
    let (lost, calls) = through("the primary is down").await;
    promise(
        &mut broken,
        lost.error_rate() < 1.0,
        format!("{:.2} % errors without the primary", lost.error_rate()),
    );
    let ratio = calls as f64 / lost.requests as f64;
    promise(&mut broken, ratio <= 1.3, format!("{ratio:.2} upstream calls per request without the primary"));

    (1..3).for_each(|at| upstreams.down(at));
    let (_, calls) = through("all are down").await;
    let per_second = calls as f64 / phase.as_secs_f64();
    println!("\nWhile all were down: {per_second:.1} upstream calls a second.");
    promise(
        &mut broken,
        per_second <= 10.0,
        format!("{per_second:.1} calls a second of upstreams that are down"),
    );

    (0..3).for_each(|at| upstreams.well(at));
    let (answered, primary) = recovery(&base, &upstreams).await;
    println!(
        "After their return: the first fresh answer after {:.1} s, one of the primary after {:.1} s.\n",
        answered.as_secs_f64(),
        primary.as_secs_f64()
    );
    promise(
        &mut broken,
        primary <= Duration::from_secs(31),
        format!("the primary was in use again after {primary:?}"),
    );
    println!("{}", Tally::HEAD);
    let (back, _) = through("all are well again").await;
    promise(
        &mut broken,
        back.error_rate() < 1.0,
        format!("{:.2} % errors after all were well", back.error_rate()),
    );
    broken
}

/// The same without a server between: each client asks the primary.
async fn before(phase: Duration) {
    let upstreams = Upstreams::start(1).await;
    let base = Arc::new(upstreams.base_url(0).to_owned());
    for (name, is_down) in [("directly: it is well", false), ("directly: it is down", true)] {
        if is_down {
            upstreams.down(0);
        }
        let before = upstreams.calls();
        let mut tally = ask(&base, MODEL, phase / 6).await;
        println!("{}", tally.line(name, upstreams.calls() - before));
    }
}

/// Lets all clients ask for so long.
async fn ask(base: &Arc<String>, model: &'static str, time: Duration) -> Tally {
    static FRESH: AtomicUsize = AtomicUsize::new(0);
    let tally = Arc::new(Mutex::new(Tally::default()));
    let ends = Instant::now() + time;
    let mut clients = JoinSet::new();
    for client in 0..CLIENTS {
        let (base, tally, caller) = (Arc::clone(base), Arc::clone(&tally), Caller::new());
        clients.spawn(async move {
            for turn in client.. {
                if Instant::now() >= ends {
                    break;
                }
                let heard = if turn % 10 < KNOWN_OF_TEN {
                    let prompt = format!("What is known about subject {}?", (turn * 7 + client) % KNOWN);
                    caller.chat(&base, model, &prompt, Some(TTL_SECONDS)).await
                } else {
                    let number = FRESH.fetch_add(1, Ordering::Relaxed);
                    caller.chat(&base, model, &format!("What is new about subject {number}?"), None).await
                };
                tally.lock().await.add(&heard);
                sleep(PAUSE).await;
            }
        });
    }
    clients.join_all().await;
    Arc::into_inner(tally).unwrap().into_inner()
}

/// Returns how long it took until somebody answered afresh, and until the primary did, with a request every 50 ms.
async fn recovery(base: &str, upstreams: &Upstreams) -> (Duration, Duration) {
    let (caller, began) = (Caller::new(), Instant::now());
    let mut first = None;
    let _ = upstreams.calls_of(0);
    for number in 0.. {
        let heard = caller.chat(base, "default", &format!("Who is back, {number}?"), None).await;
        if heard.status == 200 {
            first.get_or_insert(began.elapsed());
        }
        if heard.provider == "one" || began.elapsed() > Duration::from_secs(300) {
            break;
        }
        sleep(Duration::from_millis(50)).await;
    }
    (first.unwrap_or(began.elapsed()), began.elapsed())
}
