//! The fault server with many clients, as drills have them.

use futures_util::future::join_all;

use super::chain::Plan;
use crate::support::faults::{Reply, Script};
use crate::support::reply::answer_to;

const CLIENTS: usize = 30;
const REQUESTS: usize = 10;

#[tokio::test]
async fn many_clients_hear_nothing_of_failures_here_and_there() {
    let chain = Plan::default().start().await;
    chain.primary.on("m", Script::to_some(150, Reply::fail(500)));
    chain.primary.forget();
    let client = async |client: usize| {
        for request in 0..REQUESTS {
            let prompt = format!("What does client {client} ask as number {request}?");
            let response = chain.ask(&prompt).await;
            assert_eq!((response.status, response.answer()), (200, answer_to(&prompt)));
        }
    };
    join_all((0..CLIENTS).map(client)).await;
    let (primary, backup) = (chain.primary.calls(), chain.backup.calls());
    assert!(backup > 0, "none of {primary} calls failed");
    assert!((primary + backup) * 10 <= CLIENTS * REQUESTS * 13, "{primary} and {backup} calls");
    assert!(chain.primary.connections() <= 2 * CLIENTS, "{} connections", chain.primary.connections());
    assert!(chain.primary.heard().is_empty());
}

#[tokio::test]
async fn what_was_asked_is_remembered() {
    let chain = Plan::default().start().await;
    chain.ask("What is a bight?").await;
    chain.primary.on("m", Script::once([Reply::fail(500)]));
    chain.ask("What is a fjord?").await;
    let heard = chain.primary.heard();
    let prompts: Vec<_> = heard.iter().map(|heard| heard.prompt.as_str()).collect();
    assert_eq!(prompts, ["What is a bight?", "What is a fjord?", "What is a fjord?"]);
    for heard in &heard {
        assert_eq!((heard.model.as_str(), heard.streams, heard.connection), ("m", true, 0));
        assert_eq!(heard.body["messages"][0]["content"], heard.prompt);
    }
    assert!(heard.is_sorted_by_key(|heard| heard.at));
    assert_eq!(chain.backup.calls(), 0);
}
