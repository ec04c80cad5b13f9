//! Faults that need more than a case can say.

use std::time::{Duration, Instant};

use futures_util::future::join_all;
use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};
use serde_json::json;

use super::chain::{Chain, Plan, ROUTE};
use crate::support::app::TestApp;
use crate::support::eventually;
use crate::support::faults::{Authority, Face, Refusal, Reply, Script, Step, TlsServer};
use crate::support::reply::{Gate, answer_to};
use crate::support::response::Response;
use crate::vendors::client::Client;

/// One call of an upstream for one request, and a breaker that is open for a second.
const BRISK: Plan<'static> = Plan {
    server: "retry.attempts_per_upstream = 1\nbreaker.open_seconds = 1",
    primary: "",
    backup: "",
    route: "",
    format: crate::support::faults::Format::OpenAi,
};

/// Asks so many different questions at once, each of which is answered.
async fn asked_at_once(chain: &Chain, what: &str, times: usize) -> Vec<Response> {
    let ask = async |at: usize| {
        let prompt = format!("What is {what} number {at}?");
        let response = chain.ask(&prompt).await;
        assert_eq!((response.status, response.answer()), (200, answer_to(&prompt)));
        response
    };
    join_all((0..times).map(ask)).await
}

fn all_by(responses: &[Response], provider: &str) {
    for response in responses {
        assert_eq!(response.header("x-provider"), provider, "{}", response.header("x-upstream-attempts"));
    }
}

/// Fails three times, so that the breaker opens, and then does this once.
async fn opened(plan: Plan<'_>, then: Reply) -> Chain {
    let chain = plan.start().await;
    let failures = std::iter::repeat_n(Reply::fail(500), 3);
    chain.primary.on("m", Script::once(failures.chain([then])));
    for at in 0..3 {
        all_by(&asked_at_once(&chain, &format!("failure {at}, that is"), 1).await, "backup");
    }
    assert_eq!(chain.primary.calls(), 3);
    chain
}

/// Asks ten questions at a time, again and again, until one of them is the probe; then nobody waits for them any more.
async fn probed(chain: &Chain) {
    let mut round = 0;
    eventually("a probe", async || {
        round += 1;
        let what = format!("round {round}");
        let burst = asked_at_once(chain, &what, 10);
        tokio::select! {
            () = chain.primary.called(4) => Some(()),
            _ = burst => None,
        }
    })
    .await;
}

/// Starts a server that trusts an authority, with one upstream for each face and a chain of them all.
async fn behind_tls(faces: &[Face]) -> (TestApp, Vec<TlsServer>) {
    let authority = Authority::new();
    let mut servers = Vec::new();
    let mut providers = String::new();
    for (at, face) in faces.iter().enumerate() {
        let text = if *face == Face::Expected { "From whom we trust." } else { "From a stranger." };
        let server = TlsServer::start(&authority, *face, text).await;
        providers += &format!(
            "[[providers]]\nname = \"p{at}\"\nkind = \"openai\"\nbase_url = \"{}\"\napi_key_env = \"FAKE_KEY\"\n\
             timeouts.connect_ms = 2000\n",
            server.base_url()
        );
        servers.push(server);
    }
    let chain: Vec<_> = (0..faces.len()).map(|at| format!("p{at}/m")).collect();
    let settings = format!(
        "cache.mode = \"exact\"\nretry.attempts_per_upstream = 2\nretry.attempts_per_request = 20\nretry.base_ms = 10\n\
         {providers}[[routes]]\nmodel = \"{ROUTE}\"\nchain = {chain:?}"
    );
    (TestApp::binary_trusting(authority.pem(), &settings).await, servers)
}

/// No certificate but one that is in date, for this host and vouched for by whom we trust; and never without one.
#[tokio::test]
async fn fault_24_tls() {
    let strangers = [Face::Expired, Face::SomebodyElse, Face::SelfSigned, Face::Plain, Face::Silent];
    let faces = [&strangers[..], &[Face::Expected]].concat();
    let (app, servers) = behind_tls(&faces).await;
    let response = app.chat(Client::OpenAi.ask(ROUTE, "Who are you?")).await;
    assert_eq!((response.status, response.answer().as_str()), (200, "From whom we trust."));
    let attempts = response.header("x-upstream-attempts");
    for (at, server) in servers.iter().enumerate() {
        let result = match faces[at] {
            Face::Expected => "200",
            Face::Silent => "timeout",
            _ => "connect",
        };
        assert!(attempts.contains(&format!("p{at}/m;{result}")), "{:?}: {attempts}", faces[at]);
        assert_eq!(server.requests(), usize::from(faces[at] == Face::Expected), "{:?}", faces[at]);
    }
    app.counted("refrain_alerts_total{kind=\"untrusted\",outcome=\"logged\"}", 1.0).await;
}

/// What a server says it has not looked at is asked again, on a new connection where the old one is gone.
#[tokio::test]
async fn fault_32_http2_refusals() {
    for refusal in [Refusal::GoAway, Refusal::RefusedStream, Refusal::Reset] {
        let (app, servers) = behind_tls(&[Face::Refusing(refusal), Face::Expected]).await;
        let response = app.chat(Client::OpenAi.ask(ROUTE, "Who are you?")).await;
        assert_eq!((response.status, response.answer().as_str()), (200, "From a stranger."), "{refusal:?}");
        let attempts = response.header("x-upstream-attempts");
        assert!(["p0/m;200", "p0/m;reset, p0/m;200"].contains(&attempts), "{refusal:?}: {attempts}");
        assert_eq!(servers.iter().map(TlsServer::requests).collect::<Vec<_>>(), [2, 0], "{refusal:?}");
    }
}

/// A stream that never ends is ended by the limit of all streams.
#[tokio::test]
async fn fault_27_words_without_end_in_a_stream() {
    let chain = Plan { server: "server.max_stream_seconds = 1", ..Plan::default() }.start().await;
    let again = Step::SayEvery(Duration::from_millis(20), "and on ".to_owned());
    chain.primary.on("m", Reply::saying(&["On "]).then(again));
    let began = Instant::now();
    let response = chain.stream(Client::OpenAi, "How long?").await;
    let (said, _) = Client::OpenAi.broken(&response);
    assert!(said.starts_with("On and on "), "{said}");
    assert!(began.elapsed() < Duration::from_secs(10));
    assert_eq!(chain.kept(Client::OpenAi, "How long?").await, None);
}

#[tokio::test]
async fn fault_35_one_probe_at_a_time_and_closed_when_it_succeeds() {
    let gate = Gate::shut();
    let chain = opened(BRISK, Reply::well().after(Step::Hold(gate.clone()))).await;
    probed(&chain).await;
    all_by(&asked_at_once(&chain, "a bay", 10).await, "backup");
    assert_eq!((chain.primary.calls(), chain.primary.most_at_once()), (4, 1));
    gate.open();
    let mut at = 0;
    eventually("the primary's return", async || {
        at += 1;
        let asked = asked_at_once(&chain, &format!("return {at}, and what is"), 1).await;
        (asked[0].header("x-provider") == "primary").then_some(())
    })
    .await;
    all_by(&asked_at_once(&chain, "a cape", 10).await, "primary");
}

#[tokio::test]
async fn fault_35_a_probe_that_is_given_up_is_followed_by_another() {
    let plan = Plan { server: &format!("{}\nserver.on_disconnect = \"cancel\"", BRISK.server), ..BRISK };
    let chain = opened(plan, Reply::silent()).await;
    probed(&chain).await;
    let mut at = 0;
    eventually("another probe", async || {
        at += 1;
        asked_at_once(&chain, &format!("probe {at}, and what is"), 1).await;
        (chain.primary.calls() >= 5).then_some(())
    })
    .await;
}

/// Everybody's breaker is open: now and then one call is let through all the same, the others are told at once.
#[tokio::test]
async fn fault_36_all_breakers_open() {
    let plan = Plan { server: "retry.attempts_per_upstream = 1", ..Plan::default() };
    let chain = plan.start().await;
    let ask = async |prompt: &str| chain.app.chat(Client::OpenAi.ask("primary/m", prompt)).await;
    // A model of its own, so that no route leads past the breaker.
    chain.app.chat_with(Client::OpenAi.ask("primary/m", "Old?"), &[("x-cache-ttl", "1")]).await;
    eventually("the end of an entry", async || {
        let cached = [("cache-control", "only-if-cached")];
        let response = chain.app.chat_with(Client::OpenAi.ask("primary/m", "Old?"), &cached).await;
        (response.status == 504).then_some(())
    })
    .await;
    chain.primary.on("m", Reply::fail(500));
    for at in 0..3 {
        assert_eq!(ask(&format!("Failure {at}?")).await.status, 502);
    }
    let (began, before) = (Instant::now(), chain.primary.calls());
    let responses = join_all((0..40).map(async |at| ask(&format!("Question {at}?")).await)).await;
    // At once, then after 50 ms, and each time twice as long up to a second.
    let most = 6 + began.elapsed().as_secs() as usize;
    let calls = chain.primary.calls() - before;
    assert!(calls <= most, "{calls} calls in {:?}", began.elapsed());
    assert_eq!(chain.primary.most_at_once(), 1);
    let told: Vec<_> =
        responses.iter().filter(|response| !response.has_header("x-upstream-attempts")).collect();
    assert!(told.len() >= 40 - most);
    for response in told {
        assert_eq!((response.status, response.error("code").as_str()), (503, "upstreams_unavailable"));
        let wait: u64 = response.header("retry-after").parse().unwrap();
        assert!((1..=30).contains(&wait), "{wait}");
    }
    let stale = ask("Old?").await;
    assert_eq!((stale.status, stale.source(), stale.answer()), (200, "stale", answer_to("Old?")));
    if !stale.has_header("x-upstream-attempts") {
        assert!(
            stale.header("cache-status").starts_with("refrain; hit; ttl=-"),
            "{}",
            stale.header("cache-status")
        );
    }
}

/// Every other call fails: too often for the share that is borne, never thrice in a row.
#[tokio::test]
async fn fault_37_flapping() {
    const REQUESTS: usize = 50;
    let chain = Plan::default().start().await;
    chain.primary.on("m", Script::in_turn([Reply::fail(500), Reply::well()]));
    for at in 0..REQUESTS {
        asked_at_once(&chain, &format!("flap {at}, and what is"), 1).await;
    }
    let calls = chain.primary.calls() + chain.backup.calls();
    assert!(calls * 10 <= REQUESTS * 12, "{calls} calls for {REQUESTS} requests");
    assert!(chain.primary.calls() < REQUESTS / 2, "it is left alone: {}", chain.primary.calls());
}

#[cfg(target_os = "linux")]
#[tokio::test]
async fn fault_47_a_body_without_end() {
    const MOST: u64 = 300 << 20;
    let plan = Plan { server: "retry.attempts_per_upstream = 1", ..Plan::default() };
    let chain = plan.start_apart().await;
    asked_at_once(&chain, "a start", 1).await;
    let before = chain.app.process().peak_bytes();
    let spaces = Step::Pour(Some(500 << 20), b" ".to_vec());
    for begin in [
        Step::Begin("application/json".to_owned(), Some(500 << 20)),
        Step::Begin("application/json".to_owned(), None),
    ] {
        chain.primary.on("m", Reply::new(vec![begin, spaces.clone()]));
        let response =
            &asked_at_once(&chain, &format!("an end of {:?}, and", chain.primary.calls()), 1).await[0];
        assert_eq!(response.header("x-upstream-attempts"), "primary/m;malformed, backup/m;200");
    }
    let grown = chain.app.process().peak_bytes() - before;
    assert!(grown < MOST, "it grew by {grown} bytes");
}

/// Lines may end in three ways, data may come in several lines, with a space and without, a mark may stand before it all,
/// and where the bytes are cut says nothing.
#[tokio::test]
async fn fault_51_lines_of_every_kind_cut_anywhere() {
    const TEXT: &str = "Grüße 🦀 from the sea\u{2028}and 中文, \"quoted\"\r\n.";
    let chunk = |delta: serde_json::Value, finish: Option<&str>| {
        json!({"id": "c", "object": "chat.completion.chunk", "created": 1, "model": "m",
            "choices": [{"index": 0, "delta": delta, "finish_reason": finish}]})
    };
    let mut stream = "\u{feff}: a comment\r\n\r\n".to_owned();
    let ends = ["\r\n", "\n", "\r"];
    for (at, word) in TEXT.split_inclusive(' ').enumerate() {
        let (end, space) = (ends[at % 3], ["", " "][at % 2]);
        let data = chunk(json!({"content": word}), None).to_string();
        // JSON may be parted before its fields.
        let data = data.replacen(",\"choices\"", &format!(",{end}data:{space}\"choices\""), at % 2);
        stream += &format!("id:{at}{end}data:{space}{data}{end}{end}");
    }
    stream += &format!("data: {}\r\rdata:[DONE]\n\n", chunk(json!({}), Some("stop")));
    let chain = Plan::default().start().await;
    let mut dice = StdRng::seed_from_u64(51);
    for round in 0..60 {
        let mut steps = Vec::new();
        let mut rest = stream.as_bytes();
        while !rest.is_empty() {
            let length =
                if round == 0 { 1 } else { dice.random_range(1..=rest.len().min(1 << (round % 10))) };
            let (piece, after) = rest.split_at(length);
            steps.push(Step::Raw(piece.to_vec()));
            rest = after;
        }
        chain.primary.on("m", Reply::new(steps));
        let prompt = format!("Round {round}?");
        let read = match round % 2 {
            0 => Client::OpenAi.whole(&chain.ask(&prompt).await).text,
            _ => chain.read(Client::OpenAi, &prompt).await.text,
        };
        assert_eq!(read, TEXT, "round {round}");
    }
    assert_eq!(chain.backup.calls(), 0);
}

#[tokio::test]
async fn fault_54_a_token_of_a_megabyte() {
    // Other letters each time: the same ones for a megabyte would be no answer.
    let other = |number: u64| format!("wörd{:x}", number.wrapping_mul(0x9e37_79b9_7f4a_7c15));
    let token: String = (1..50_000).map(other).collect();
    let chain = Plan::default().start().await;
    let reply = Reply::saying(&[&token]).then(Step::Finish("stop".to_owned())).then(Step::Done);
    chain.primary.on("m", reply);
    assert!(chain.read(Client::OpenAi, "At length?").await.text == token);
    let hit = chain.ask("At length?").await;
    assert_eq!(hit.source(), "exact");
    assert!(hit.answer() == token, "{} bytes", hit.answer().len());
    assert_eq!(chain.primary.calls(), 1);
}
