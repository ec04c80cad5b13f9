//! What does a hit cost?
//!
//! `cargo bench --bench latency` prints, from one run on one machine, so that only ratios are compared:
//!
//! - the steps of an exact hit (parse, key, encode), by criterion;
//! - the throughput of exact hits over HTTP at 16 connections, beside a bare axum handler that reads the same body and
//!   returns the same bytes, in alternating rounds;
//! - the latency of a semantic hit among 2,000 entries of one partition, beside the embedding of the same prompts alone;
//! - the same by its parts, for prompts of about 12, 60 and 250 tokens, and how many looks keep to the usual budget
//!   (`latency/parts.rs`);
//! - the memory of the server with and without its models (`latency/memory.rs`);
//! - what a streamed miss takes longer than the same stream from the upstream itself, to its first byte and to its end.
//!
//! It needs the model (`make models`).

#![expect(
    clippy::print_stdout,
    clippy::disallowed_methods,
    reason = "a bench prints, and its tasks end with it"
)]
mod load;
#[path = "latency/memory.rs"]
mod memory;
#[path = "latency/parts.rs"]
mod parts;

use std::hint::black_box;
use std::sync::Arc;
use std::time::Duration;

use criterion::Criterion;
use futures_util::stream;
use refrain::app::Server;
use refrain::chat::{KeyRules, ModelAlias, Namespace, OwnerNames, TenantId};
use refrain::config::{Config, Environment, Flags, ProviderKind, load as load_config};
use refrain::embed::{Catalog, Embedder, Pool, PoolOptions};
use refrain::wire::openai;

use load::prompts::{asked_prompt, stored_prompt};
use load::{Client, Percentiles, throughput};
use mimalloc::MiMalloc;

/// The binary's own.
#[global_allocator]
static ALLOCATOR: MiMalloc = MiMalloc;

/// About 300 bytes, as a chat client sends them.
const BODY: &str = r#"{"model": "sandbox", "messages": [{"role": "system", "content": "You are the help desk of a small railway company. Answer in two sentences."}, {"role": "user", "content": "Can I take my bicycle on the early train on a Sunday, and do I need a ticket for it?"}], "temperature": 0.2, "max_tokens": 200, "user": "u-1042"}"#;

const CONNECTIONS: usize = 16;
const ROUNDS: usize = 5;
const ROUND: Duration = Duration::from_secs(2);
const ENTRIES: usize = 2_000;
/// A stream of the upstream: so many pieces, this far apart, so many times.
const STREAM_EVENTS: usize = 20;
const STREAM_PACE: Duration = Duration::from_millis(2);
const STREAMS: usize = 300;

fn main() {
    if std::env::args().any(|argument| argument == memory::VERIFIER_ALONE) {
        return println!("{}", memory::verifier_kib());
    }
    let mut criterion = Criterion::default().configure_from_args();
    steps(&mut criterion);
    criterion.final_summary();
    // `cargo test --benches` only asks whether it starts.
    if std::env::args().any(|argument| argument == "--test") {
        return;
    }
    let runtime = tokio::runtime::Runtime::new().expect("a runtime starts");
    runtime.block_on(async {
        let folder = tempfile::tempdir().expect("there is room for a folder");
        let server = Server::start(&config(folder.path())).await.expect("the server starts");
        exact_hits(&server).await;
        semantic_hits(&server).await;
        server.stop().await;
        parts::print().await;
        memory::print().await;
        streamed_misses().await;
    });
}

fn config(folder: &std::path::Path) -> Config {
    let flags = Flags {
        data_dir: Some(folder.to_owned()),
        models_dir: Some("models".into()),
        listen: Some(([127, 0, 0, 1], 0).into()),
        admin_listen: Some(([127, 0, 0, 1], 0).into()),
        sandbox: true,
        ..Flags::default()
    };
    let mut config = load_config(&flags, &Environment::default()).expect("the configuration is right");
    config.providers[0].sandbox.latency_ms = 0;
    config
}

fn steps(criterion: &mut Criterion) {
    let asked = openai::parse_request(BODY.as_bytes()).expect("the body is right");
    let rules = KeyRules::default();
    let model = ModelAlias::new("sandbox/sandbox");
    let (tenant, namespace) = (TenantId::new("default"), Namespace::new("default"));
    let owner = OwnerNames { tenant: &tenant, user: None, namespace: &namespace };
    criterion.bench_function("parse a request", |bench| {
        bench.iter(|| openai::parse_request(black_box(BODY.as_bytes())));
    });
    criterion.bench_function("key a request", |bench| {
        bench.iter(|| rules.key(black_box(&asked.request), &model, owner));
    });
}

/// Exact hits against a handler that does nothing but read and return.
async fn exact_hits(server: &Server) {
    let mut client = Client::connect(server.public, "/v1/chat/completions", BODY).await;
    let answer = client.ask().await;
    let hit = client.ask().await;
    assert!(hit.head.contains("x-cache-source: exact"), "{}", hit.head);
    assert_eq!(answer.body, hit.body);

    let bytes = axum::body::Bytes::from(hit.body);
    let handler = move |body: axum::body::Bytes| async move {
        black_box(body);
        ([(axum::http::header::CONTENT_TYPE, "application/json")], bytes)
    };
    let bare = axum::Router::new().route("/v1/chat/completions", axum::routing::post(handler));
    let listener = tokio::net::TcpListener::bind(("127.0.0.1", 0)).await.expect("a port is free");
    let bare_address = listener.local_addr().expect("it is bound");
    let task = tokio::spawn(axum::serve(listener, bare).into_future());

    let (mut ours, mut theirs) = (Vec::new(), Vec::new());
    for _ in 0..ROUNDS {
        theirs.push(throughput(bare_address, "/v1/chat/completions", BODY, CONNECTIONS, ROUND).await);
        ours.push(throughput(server.public, "/v1/chat/completions", BODY, CONNECTIONS, ROUND).await);
    }
    task.abort();
    let (ours, theirs) = (median(ours), median(theirs));
    println!(
        "\nexact hits over HTTP, {CONNECTIONS} connections, {} byte body\n  refrain {ours:>9.0} /s\n  bare    {theirs:>9.0} /s\n  ratio   {:>9.2}",
        BODY.len(),
        ours / theirs
    );
}

/// Semantic hits against the embedding alone.
async fn semantic_hits(server: &Server) {
    let mut client = Client::connect(server.public, "/v1/generate", "").await;
    for prompt in (0..ENTRIES).map(stored_prompt) {
        client.ask_with(&native(&prompt)).await;
    }
    let pool = Pool::start(PoolOptions {
        model: Catalog::built_in().model("all-minilm-l6-v2").expect("it ships"),
        models_dir: "models".into(),
        threads: 1.try_into().expect("one is not zero"),
        queue: 16.try_into().expect("sixteen is not zero"),
    })
    .expect("the model is there: make models");
    let pool: Arc<dyn Embedder> = Arc::new(pool);

    let (mut hits, mut embeddings, mut served) = (Percentiles::default(), Percentiles::default(), 0);
    let asked: Vec<_> = (0..ENTRIES).step_by(4).map(asked_prompt).collect();
    // In turns of a hundred, so that both meet the same machine and neither pays for the other's cold caches.
    for some in asked.chunks(100) {
        for prompt in some {
            embeddings.time(pool.embed(prompt)).await.expect("it embeds");
        }
        for prompt in some {
            let answer = hits.time(client.ask_with(&native(prompt))).await;
            served += usize::from(answer.head.contains("x-cache-source: semantic"));
        }
    }
    println!(
        "\nsemantic hits among {ENTRIES} entries of one partition, one client ({served} of {} served)\n  \
         hit       p50 {:>6.2} ms  p99 {:>6.2} ms\n  embedding p50 {:>6.2} ms  p99 {:>6.2} ms\n  ratio p50 {:>6.2}",
        asked.len(),
        hits.at(0.50),
        hits.at(0.99),
        embeddings.at(0.50),
        embeddings.at(0.99),
        hits.at(0.50) / embeddings.at(0.50)
    );
}

/// Streamed misses through us against the same stream from the upstream, in turns.
async fn streamed_misses() {
    let handler = || async {
        let events = stream::unfold(0, |at| async move {
            if at > 0 {
                tokio::time::sleep(STREAM_PACE).await;
            }
            let data = match at {
                0..STREAM_EVENTS => format!(
                    r#"{{"id":"c","object":"chat.completion.chunk","created":1,"model":"m","choices":[{{"index":0,"delta":{{"content":"word "}},"finish_reason":{}}}]}}"#,
                    if at + 1 == STREAM_EVENTS { r#""stop""# } else { "null" }
                ),
                STREAM_EVENTS => {
                    r#"{"choices":[],"usage":{"prompt_tokens":9,"completion_tokens":20}}"#.to_owned()
                }
                _ if at == STREAM_EVENTS + 1 => "[DONE]".to_owned(),
                _ => return None,
            };
            Some((Ok::<_, std::convert::Infallible>(format!("data: {data}\n\n")), at + 1))
        });
        ([(axum::http::header::CONTENT_TYPE, "text/event-stream")], axum::body::Body::from_stream(events))
    };
    let upstream = axum::Router::new().route("/v1/chat/completions", axum::routing::post(handler));
    let listener = tokio::net::TcpListener::bind(("127.0.0.1", 0)).await.expect("a port is free");
    let address = listener.local_addr().expect("it is bound");
    let task = tokio::spawn(axum::serve(listener, upstream).into_future());
    let folder = tempfile::tempdir().expect("there is room for a folder");
    let mut config = config(folder.path());
    let provider = &mut config.providers[0];
    provider.kind = ProviderKind::OpenAiCompatible;
    provider.base_url = Some(format!("http://{address}/v1"));
    let server = Server::start(&config).await.expect("the server starts");

    println!("\nstreamed misses, {STREAM_EVENTS} pieces {} ms apart, one client", STREAM_PACE.as_millis());
    for (mode, header) in [("exact only", "x-cache-mode: exact\r\n"), ("with the semantic tier", "")] {
        let mut direct = Client::connect(address, "/v1/chat/completions", "").await;
        let mut through = Client::connect(server.public, "/v1/chat/completions", "").await;
        let mut times: [Percentiles; 4] = Default::default();
        for at in 0..STREAMS {
            // Each prompt is asked once in all, so that every one is a miss.
            let body = format!(
                r#"{{"model": "m", "messages": [{{"role": "user", "content": "{mode} {}"}}], "stream": true}}"#,
                stored_prompt(at)
            );
            for (client, into) in [(&mut direct, 0), (&mut through, 2)] {
                let (first, whole) = client.stream(header, &body).await;
                times[into].push(first);
                times[into + 1].push(whole);
            }
        }
        let [direct_first, direct_whole, first, whole] = &mut times;
        for (what, ours, theirs) in [("first byte", first, direct_first), ("whole", whole, direct_whole)] {
            let added = (ours.at(0.50) - theirs.at(0.50)) * 1e3;
            println!("  {mode:<22} {what:<10} p50 {added:>+7.0} µs");
        }
    }
    server.stop().await;
    task.abort();
}

fn native(prompt: &str) -> String {
    format!("{{\"prompt\": \"{prompt}\"}}")
}

fn median(mut values: Vec<f64>) -> f64 {
    values.sort_by(f64::total_cmp);
    values[values.len() / 2]
}
