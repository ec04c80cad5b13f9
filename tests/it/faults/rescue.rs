//! An answer that broke off after its first words had gone out, and who finishes it how.

use std::time::Duration;

use serde_json::{Value, json};

use super::chain::{Chain, Plan, ROUTE};
use crate::support::app::TestApp;
use crate::support::faults::{FaultServer, Format, Reply, Script, Step, halves};
use crate::support::reply::answer_to;
use crate::vendors::client::{CLIENTS, Client};

const PROMPT: &str = "What is a delta?";
/// What the first upstream says before it breaks, and all that it would have said.
const SAID: &str = "The river parts before ";
const TEXT: &str = "The river parts before the sea, and makes new land.";
/// What comes upstream for the text that broke off: as Anthropic wants it, without white space at its end.
const BEGUN: &str = "The river parts before";
/// A moment for what was said to go out before the break.
const MOMENT: Duration = Duration::from_millis(50);
/// The backup's model takes the beginning of its answer from others.
const PREFILL: &str = "models = [{ name = \"m\", capabilities = [\"prefill\"] }]";

/// Says these pieces and breaks.
fn breaking(pieces: &[&str]) -> Script {
    Script::always(Reply::saying(pieces).then(Step::Wait(MOMENT)).then(Step::Close))
}

/// Starts a chain whose first upstream breaks off after its first words.
async fn broken(plan: Plan<'_>) -> Chain {
    let chain = plan.start().await;
    chain.app.counts(ROUTE).await;
    chain.backup.begin_anew();
    chain.primary.on("m", breaking(&["The river ", "parts before "]));
    chain
}

/// Checks that a stream ends in an honest error after what was said, in every dialect, and that nothing of it is kept.
async fn ends_honestly(plan: Plan<'_>, arrange: impl Fn(&Chain)) {
    for client in CLIENTS {
        let chain = broken(plan).await;
        arrange(&chain);
        let (said, [_, code, _]) = client.broken(&chain.stream(client, PROMPT).await);
        assert_eq!(said, SAID, "{client:?}");
        assert!(code == "upstream_interrupted" || client == Client::Anthropic, "{client:?}: {code}");
        assert_eq!(chain.kept(client, PROMPT).await, None, "{client:?}");
    }
}

/// Returns the messages of the nth request that an upstream had.
fn messages(server: &FaultServer, at: usize) -> Vec<(String, String)> {
    let text = |value: &Value| value.as_str().or_else(|| value[0]["text"].as_str()).unwrap_or("").to_owned();
    let heard = server.heard();
    let all = heard[at].body["messages"].as_array().unwrap();
    all.iter().map(|it| (text(&it["role"]), text(&it["content"]))).collect()
}

fn message(role: &str, text: &str) -> (String, String) {
    (role.to_owned(), text.to_owned())
}

/// Returns the tokens of prompt and answer, in whichever dialect.
fn tokens(usage: &Value) -> (u64, u64) {
    let count = |names: [&str; 2]| names.iter().find_map(|name| usage[*name].as_u64()).unwrap();
    (count(["prompt_tokens", "input_tokens"]), count(["completion_tokens", "output_tokens"]))
}

#[tokio::test]
async fn a_fallback_that_says_the_same_is_not_noticed_and_its_answer_is_kept() {
    for client in CLIENTS {
        let chain = broken(Plan::default()).await;
        chain.backup.on("m", Reply::answer(TEXT));
        let read = chain.read(client, PROMPT).await;
        assert_eq!(read.text, TEXT, "{client:?}");
        // The backup's own 9 and 12, and what the first upstream took besides.
        let (prompt, completion) = tokens(&read.usage);
        assert!(prompt > 9 && completion > 12, "{client:?}: {}", read.usage);
        assert_eq!((chain.primary.calls(), chain.backup.calls()), (1, 1));
        assert_eq!(messages(&chain.backup, 0), [message("user", PROMPT)]);
        let kept = (TEXT.to_owned(), "backup".to_owned());
        assert_eq!(chain.kept(client, PROMPT).await, Some(kept), "{client:?}");
        let hit = chain.stream(client, PROMPT).await;
        assert_eq!((hit.source(), client.streamed(&hit).text.as_str()), ("exact", TEXT));
        assert_eq!(tokens(&client.streamed(&hit).usage), (9, 12), "a hit tells the original answer's");
    }
}

#[tokio::test]
async fn a_fallback_may_space_its_words_otherwise() {
    for (said, again, text) in [
        (
            &["The river ", "parts before "][..],
            "The  river\nparts before the sea.",
            "The river parts before the sea.",
        ),
        (
            &["The river", " par"],
            "\nThe river parts\n\nbefore the sea.",
            "The river parts\n\nbefore the sea.",
        ),
        (&["The\nriver\n"], "The river parts.", "The\nriver\nparts."),
    ] {
        let chain = Plan::default().start().await;
        chain.primary.on("m", breaking(said));
        chain.backup.on("m", Reply::answer(again));
        assert_eq!(chain.read(Client::OpenAi, PROMPT).await.text, text);
        // What is kept is what one upstream said.
        assert_eq!(chain.kept(Client::OpenAi, PROMPT).await, Some((again.to_owned(), "backup".to_owned())));
    }
}

#[tokio::test]
async fn a_fallback_that_says_something_else_ends_in_an_honest_error() {
    for other in
        ["Something else entirely.", "The river parts after the sea, and makes new land.", "The river."]
    {
        ends_honestly(Plan::default(), |chain| chain.backup.on("m", Reply::answer(other))).await;
    }
}

#[tokio::test]
async fn a_fallback_that_fails_too_ends_in_the_error_of_the_break() {
    for reply in [Reply::fail(500), Reply::fail(400), Reply::fail(429), Reply::new(vec![Step::Reset])] {
        ends_honestly(Plan::default(), |chain| chain.backup.on("m", reply.clone())).await;
    }
}

#[tokio::test]
async fn without_a_fallback_a_break_is_an_honest_error() {
    for client in CLIENTS {
        let chain = broken(Plan::default()).await;
        let body = super::chain::streamed(client.ask("primary/m", PROMPT), client);
        let (said, [_, code, _]) = client.broken(&chain.app.post(client.path(), &[], body).await);
        assert!(code == "upstream_interrupted" || client == Client::Anthropic, "{client:?}: {code}");
        assert_eq!((said.as_str(), chain.primary.calls(), chain.backup.calls()), (SAID, 1, 0));
    }
}

#[tokio::test]
async fn a_model_that_takes_it_goes_on_where_the_first_one_stopped() {
    for format in [Format::OpenAi, Format::Anthropic] {
        for more in ["the sea, and makes new land.", " the sea, and makes new land."] {
            let chain = broken(Plan { backup: PREFILL, format, ..Plan::default() }).await;
            chain.backup.on("m", Reply::answer(more));
            let read = chain.read(Client::OpenAi, PROMPT).await;
            assert_eq!(read.text, TEXT, "{format:?} {more:?}");
            assert_eq!(messages(&chain.backup, 0), [message("user", PROMPT), message("assistant", BEGUN)]);
            assert_eq!(chain.backup.calls(), 1);
            let (prompt, completion) = tokens(&read.usage);
            assert!(prompt > 9 && completion > 12, "{}", read.usage);
            // No upstream has said all of it.
            assert_eq!(chain.kept(Client::OpenAi, PROMPT).await, None);
        }
    }
}

#[tokio::test]
async fn a_word_that_was_cut_is_finished_without_a_gap() {
    for client in CLIENTS {
        let chain = Plan { backup: PREFILL, ..Plan::default() }.start().await;
        chain.primary.on("m", breaking(&["The river par"]));
        chain.backup.on("m", Reply::answer("ts before the sea, and makes new land."));
        assert_eq!(chain.read(client, PROMPT).await.text, TEXT, "{client:?}");
    }
}

#[tokio::test]
async fn a_model_that_begins_anew_all_the_same_is_read_from_where_the_first_one_stopped() {
    let chain = broken(Plan { backup: PREFILL, ..Plan::default() }).await;
    chain.backup.on("m", Reply::answer(TEXT));
    assert_eq!(chain.read(Client::OpenAi, PROMPT).await.text, TEXT);
    assert_eq!(chain.backup.calls(), 1);
}

#[tokio::test]
async fn a_fallback_that_refuses_to_go_on_is_asked_afresh_and_the_refusal_stays_between_us() {
    for client in CLIENTS {
        let chain = broken(Plan { backup: PREFILL, ..Plan::default() }).await;
        let refusal = Reply::fail(400);
        chain.backup.on("m", Script::once([refusal, Reply::answer(TEXT)]));
        assert_eq!(chain.read(client, PROMPT).await.text, TEXT, "{client:?}");
        assert_eq!(messages(&chain.backup, 0).len(), 2);
        assert_eq!(messages(&chain.backup, 1), [message("user", PROMPT)]);
        let kept = (TEXT.to_owned(), "backup".to_owned());
        assert_eq!(chain.kept(client, PROMPT).await, Some(kept), "{client:?}");
    }
    let refuses = |chain: &Chain| chain.backup.on("m", Reply::fail(400));
    ends_honestly(Plan { backup: PREFILL, ..Plan::default() }, refuses).await;
}

#[tokio::test]
async fn where_the_route_wants_it_a_fallback_goes_on_in_one_more_turn() {
    for more in [
        "the sea, and makes new land.",
        "parts before the sea, and makes new land.",
        " before the sea, and makes new land.",
    ] {
        for client in CLIENTS {
            let chain = broken(Plan { route: "rescue_by_turn = true", ..Plan::default() }).await;
            chain
                .backup
                .on("m", Script::once([Reply::answer("Something else entirely."), Reply::answer(more)]));
            let read = chain.read(client, PROMPT).await;
            assert_eq!(read.text, TEXT, "{client:?} {more:?}");
            assert_eq!(messages(&chain.backup, 0), [message("user", PROMPT)]);
            let turns = messages(&chain.backup, 1);
            assert_eq!(turns[..2], [message("user", PROMPT), message("assistant", BEGUN)]);
            assert_eq!((turns.len(), turns[2].0.as_str()), (3, "user"));
            let (prompt, completion) = tokens(&read.usage);
            assert!(prompt > 18 && completion > 12, "three calls: {}", read.usage);
            assert_eq!(chain.kept(client, PROMPT).await, None, "no upstream has said all of it");
        }
    }
}

#[tokio::test]
async fn whoever_waits_for_the_whole_answer_never_sees_a_break() {
    for (settings, other) in [("", "Something else entirely."), (PREFILL, TEXT), ("", TEXT)] {
        for client in CLIENTS {
            let chain = broken(Plan { backup: settings, ..Plan::default() }).await;
            chain.backup.on("m", Reply::answer(other));
            let response = chain.app.post(client.path(), &[], client.ask(ROUTE, PROMPT)).await;
            let read = client.whole(&response);
            assert_eq!(read.text, other, "{client:?}");
            assert_eq!(tokens(&read.usage), (9, 12), "{client:?}");
            assert_eq!(response.header("x-provider"), "backup");
            let attempts = response.header("x-upstream-attempts");
            assert!(
                attempts.starts_with("primary/m;reset") && attempts.ends_with("backup/m;200"),
                "{attempts}"
            );
            let last = chain.backup.heard().pop().unwrap();
            assert_eq!(last.body["messages"], json!([{"role": "user", "content": PROMPT}]));
            assert_eq!(chain.kept(client, PROMPT).await, Some((other.to_owned(), "backup".to_owned())));
        }
    }
}

#[tokio::test]
async fn a_stall_and_a_chunk_that_is_none_are_breaks_too() {
    let said = || Reply::saying(&["The river ", "parts before "]);
    for reply in [
        said().then(Step::Stall),
        said().then(Step::Every(Duration::from_millis(20), b": ping\n\n".to_vec())),
        said().then(Step::Event("{\"id\": \"c\", \"choi".to_owned())),
        said().then(Step::Event("{\"error\": {\"message\": \"oh\", \"code\": 500}}".to_owned())),
        said().then(Step::Done),
        said(),
    ] {
        let chain = Plan { primary: "timeouts.idle_ms = 300", ..Plan::default() }.start().await;
        chain.primary.on("m", reply.clone());
        chain.backup.on("m", Reply::answer(TEXT));
        assert_eq!(chain.read(Client::OpenAi, PROMPT).await.text, TEXT, "{reply:?}");
        chain.backup.on("m", Reply::answer("Something else entirely."));
        let (said, [_, code, _]) = Client::OpenAi.broken(&chain.stream(Client::OpenAi, "Why?").await);
        assert_eq!((said.as_str(), code.as_str()), (SAID, "upstream_interrupted"), "{reply:?}");
    }
}

#[tokio::test]
async fn a_fallback_that_breaks_off_as_well_is_followed_by_the_next() {
    let servers = [FaultServer::start().await, FaultServer::start().await, FaultServer::start().await];
    let mut settings = "cache.mode = \"exact\"\n".to_owned();
    for (at, server) in servers.iter().enumerate() {
        settings += &format!(
            "[[providers]]\nname = \"p{at}\"\nkind = \"openai\"\nbase_url = \"{}\"\napi_key_env = \"FAKE_KEY\"\n",
            server.base_url()
        );
    }
    settings += "[[routes]]\nmodel = \"route\"\nchain = [\"p0/m\", \"p1/m\", \"p2/m\"]";
    let app = TestApp::with(&settings).await;
    let due = answer_to(PROMPT);
    let third = due.floor_char_boundary(due.len() / 3);
    servers[0].on("m", breaking(&[&due[..third]]));
    servers[1].on("m", breaking(&[halves(&due).0]));
    let body = super::chain::streamed(Client::OpenAi.ask(ROUTE, PROMPT), Client::OpenAi);
    let response = app.post(Client::OpenAi.path(), &[], body).await;
    assert_eq!(Client::OpenAi.streamed(&response).text, due);
    assert_eq!(servers.each_ref().map(FaultServer::calls), [1, 1, 1]);
}
