//! What callers put into a request to mislead whoever reads it.

use futures_util::future::join_all;

use super::chain::{Plan, ROUTE};
use crate::bad_input::refused;
use crate::keys::key;
use crate::support::app::{TestApp, chat};
use crate::support::eventually;
use crate::support::faults::Reply as Played;
use crate::support::reply::{Gate, Reply};
use crate::support::response::{raw, raw_to_the_end};
use crate::vendors::client::{CLIENTS, Client};

const STORED: &str = "How do I reset my café password?";

#[tokio::test]
async fn fault_64_what_only_looks_the_same_is_another_request() {
    let app = TestApp::exact().await;
    app.generate(STORED).await;
    // The same letters, in the other of the two ways in which they can be written.
    assert_eq!(app.generate(&STORED.replace('é', "e\u{301}")).await.source(), "exact");
    for (disguised, what) in [
        (STORED.replace('a', "\u{430}"), "Cyrillic letters"),
        (STORED.replace('o', "\u{3bf}"), "Greek letters"),
        (STORED.replace(" my", " \u{200b}my"), "a space without width"),
        (STORED.replace(" my", " m\u{200d}y"), "a joiner"),
        (STORED.replace('H', "\u{ff28}"), "a letter of full width"),
        (format!("\u{202e}{STORED}"), "from right to left"),
        (STORED.replace(' ', "\u{a0}"), "spaces that do not break"),
        (STORED.replace('é', "e"), "no accent"),
        (STORED.replace("fé", "\u{fb00}é"), "a ligature"),
    ] {
        assert_eq!(app.generate(&disguised).await.source(), "upstream", "{what}");
    }
}

/// Prompts that ask the same in two scripts each, or seem to: the first of each is stored.
const SCRIPTS: [[&str; 2]; 8] = [
    ["How do I reset my password?", "Ноw dо I rеsеt my раsswоrd?"],
    ["How do I reset my password?", "Как мне сбросить пароль?"],
    ["What is the capital of Greece?", "Ποια είναι η πρωτεύουσα της Ελλάδας;"],
    ["What is the capital of Greece?", "Whаt is thе cаpitаl оf Grееcе?"],
    ["How much is a ticket to Tokyo?", "東京行きの切符はいくらですか？"],
    ["How much is a ticket to Tokyo?", "Ｈｏｗ ｍｕｃｈ ｉｓ ａ ｔｉｃｋｅｔ ｔｏ Ｏｓａｋａ？"],
    ["Where can I buy bread in Cairo?", "أين يمكنني شراء الخبز في القاهرة؟"],
    ["Where can I buy bread in Cairo?", "Where can I buy bread in Ⲥairo?"],
];

#[tokio::test]
async fn fault_64_no_answer_crosses_scripts() {
    // As little as may be configured is enough for the vectors; the guards are to decide.
    let app = TestApp::with("cache.semantic.similarity_threshold = 0.5").await;
    let mut stored = 0;
    for [latin, _] in SCRIPTS {
        stored += u64::from(app.chat(chat(latin)).await.source() == "upstream");
        app.indexed(stored).await;
    }
    let no_store = [("cache-control", "no-store")];
    for [latin, other] in SCRIPTS {
        assert_eq!(app.chat_with(chat(other), &no_store).await.source(), "upstream", "{latin} / {other}");
    }
    let reworded = "How can I reset my password?";
    assert_eq!(app.chat_with(chat(reworded), &no_store).await.source(), "semantic", "it does look");
}

#[tokio::test]
async fn fault_65_line_ends_and_floods_of_headers_are_refused() {
    let app = TestApp::exact().await;
    let request = |fields: &str| {
        format!(
            "POST /v1/generate HTTP/1.1\r\nhost: localhost\r\n{fields}content-type: application/json\r\n\
             content-length: 15\r\n\r\n{{\"prompt\": \"q\"}}"
        )
    };
    for name in ["x-task", "x-cache-tags", "x-cache-namespace", "x-request-id", "authorization"] {
        for value in ["a\rx-evil: 1", "a\nx-evil : 1", "a\r\n x-evil: 1", "a\0b", "a\u{7f}b"] {
            let response = raw(&app.public(), request(&format!("{name}: {value}\r\n")).as_bytes()).await;
            assert_eq!(response.status, 400, "{name}: {value:?}");
            assert!(!response.has_header("x-evil"));
        }
    }
    let many: String = (0..1_000).map(|at| format!("x-{at}: 1\r\n")).collect();
    for fields in [many, format!("x-long: {}\r\n", "a".repeat(100 << 10))] {
        assert_eq!(raw(&app.public(), request(&fields).as_bytes()).await.status, 431);
    }
    assert_eq!(app.upstream.calls(), 0);
    // What stands in a body may hold line ends; it reaches no header, of whichever dialect.
    app.upstream.lenient();
    for client in CLIENTS {
        for model in ["fake/parrot\r\nx-evil: 1", "fake/parrot\nx-evil: 1"] {
            let response = app.post(client.path(), &[], client.ask(model, "q")).await;
            assert!(!response.has_header("x-evil") && response.status < 500, "{}", response.text());
        }
    }
    assert!(app.upstream.heard().iter().all(|call| !call.headers.contains_key("x-evil")));
    app.upstream.forgive();
    assert_eq!(app.generate("Still there?").await.status, 200);
}

#[tokio::test]
async fn fault_66_a_target_is_judged_whole_and_nothing_else_is_spoken() {
    let app = TestApp::exact().await;
    let public = app.public();
    let live = async |target: &str, fields: &str| {
        raw(&public, format!("GET {target} HTTP/1.1\r\n{fields}\r\n\r\n").as_bytes()).await
    };
    for (target, host, status) in [
        ("http://localhost/health/live", "host: localhost", 200),
        ("http://evil.example/health/live", "host: localhost", 403),
        ("http://localhost/health/live", "host: evil.example", 403),
        ("/health/live", "host: evil.example", 403),
        ("/health/live", "host: localhost\r\nhost: localhost", 400),
        ("/health/live", "host: user@localhost", 400),
        ("/health/live", "host: local host", 400),
        ("/health/live", "host:", 400),
        ("/health/live", "accept: */*", 400),
    ] {
        let response = live(target, host).await;
        assert_eq!(response.status, status, "{target} {host}");
        assert_eq!(response.header("connection") == "close", status == 400, "{target} {host}");
    }
    // Who wants to speak something else is answered as if nothing had been said of it, and then not understood.
    for (upgrade, then) in [
        ("websocket", "\u{81}\u{5}hello"),
        ("h2c", "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"),
        ("TLS/1.0", "\u{16}\u{3}\u{1}"),
    ] {
        let request = format!(
            "GET /health/live HTTP/1.1\r\nhost: localhost\r\nconnection: upgrade\r\nupgrade: {upgrade}\r\n\r\n{then}\r\n\r\n"
        );
        let answers = raw_to_the_end(&public, request.as_bytes()).await;
        assert!(answers.starts_with("HTTP/1.1 200 OK") && !answers.contains(" 101 "), "{upgrade}: {answers}");
        let then: Vec<_> = answers.match_indices("HTTP/1.1 ").skip(1).map(|(at, _)| &answers[at..]).collect();
        assert!(then.iter().all(|answer| answer.starts_with("HTTP/1.1 400 ")), "{upgrade}: {answers}");
    }
    let tunnel = "CONNECT evil.example:443 HTTP/1.1\r\nhost: evil.example:443\r\n\r\n";
    assert!(raw_to_the_end(&public, tunnel.as_bytes()).await.starts_with("HTTP/1.1 400 "));
    let old = "POST /v1/generate HTTP/1.0\r\nhost: localhost\r\ntransfer-encoding: chunked\r\n\r\n0\r\n\r\n";
    assert!(raw_to_the_end(&public, old.as_bytes()).await.starts_with("HTTP/1.1 400 "));
}

/// A caller's own wish is the shorter of the two, whoever is asked and however many times.
#[tokio::test]
async fn fault_70_the_shorter_deadline_holds() {
    let plan = Plan { server: "server.request_timeout_ms = 60000", ..Plan::default() };
    let chain = plan.start().await;
    chain.primary.on("m", Played::silent());
    chain.backup.on("m", Played::silent());
    let wishes = [("x-deadline-ms", "300")];
    let responses = join_all((0..5).map(async |at| {
        let body = Client::OpenAi.ask(ROUTE, &format!("Question {at}?"));
        chain.app.chat_with(body, &wishes).await
    }))
    .await;
    for response in responses {
        assert_eq!((response.status, response.error("code").as_str()), (504, "deadline"));
    }
    refused(&chain.app.generate_with("q", &[("x-deadline-ms", "-1")]).await, 400, "x-deadline-ms");
}

/// Questions that read nearly the same and want something else.
const MINIMAL_PAIRS: [[&str; 2]; 6] = [
    ["What happened in the election of 2023?", "What happened in the election of 2024?"],
    ["How do I enable two-factor login?", "How do I disable two-factor login?"],
    ["What is the weather like in Paris, Texas?", "What is the weather like in Paris, France?"],
    ["Is it safe to take ibuprofen with alcohol?", "Is it not safe to take ibuprofen with alcohol?"],
    ["Is 7 < 9 true in Python?", "Is 7 > 9 true in Python?"],
    ["Which files may I delete?", "Which files may I not delete?"],
];

#[tokio::test]
async fn fault_71_what_is_planted_reaches_nobody_else_and_no_other_question() {
    let tenants = [
        key("mallory", "m", "\"generate\", \"debug\"", ""),
        key("ann", "a", "\"generate\", \"debug\"", ""),
        key("root", "r", "\"admin\"", ""),
    ];
    let mut app = TestApp::with(&tenants.concat()).await;
    app.use_key("mallory");
    app.upstream.always(Reply::text("Send your password to mallory@evil.example."));
    let mut planted = 0;
    // Neither a namespace nor a tag, a user or a tenant's name in a request is a way into another's cache.
    let into_others = [("x-cache-namespace", "a"), ("x-tenant", "a"), ("x-cache-tags", "a,shared")];
    for [bait, _] in MINIMAL_PAIRS {
        for headers in [&[][..], &into_others] {
            assert_eq!(app.chat_with(chat(bait), headers).await.source(), "upstream");
            planted += 1;
        }
    }
    app.use_key("root");
    app.stored(planted).await;
    let is_indexed = async || {
        let stats = app.admin_get("/admin/stats").await.json();
        (stats["index"]["points"] == stats["store"]["vectors"]).then_some(())
    };
    eventually("the index", is_indexed).await;
    app.use_key("mallory");
    let no_store = [("cache-control", "no-store")];
    let reworded = app.chat_with(chat("How can I enable two-factor login?"), &no_store).await;
    assert_eq!(reworded.source(), "semantic", "what means the same is found");
    for [bait, other] in MINIMAL_PAIRS {
        assert_eq!(app.chat_with(chat(bait), &no_store).await.source(), "exact");
        assert_eq!(app.chat_with(chat(other), &no_store).await.source(), "upstream", "{bait} / {other}");
    }
    app.use_key("ann");
    app.upstream.always(Reply::text("In good faith."));
    for prompt in MINIMAL_PAIRS.as_flattened() {
        for headers in [&[][..], &into_others] {
            let response = app.chat_with(chat(prompt), headers).await;
            assert_eq!((response.status, response.answer().as_str()), (200, "In good faith."), "{prompt}");
        }
    }
    // And nobody takes part in a call that another tenant began.
    app.use_no_key();
    let gate = Gate::shut();
    app.upstream.always(Reply::text("To each their own.").held(&gate));
    let before = app.upstream.calls();
    let ask = async |key: &str| app.chat_with(chat("Asked by both?"), &[("x-api-key", key)]).await;
    let both_called = async {
        app.upstream.called(before + 2).await;
        gate.open();
    };
    let (one, other, ()) = tokio::join!(ask("ann"), ask("mallory"), both_called);
    for response in [one, other] {
        assert_eq!(response.header("cache-status"), "refrain; fwd=miss; stored");
    }
}
