//! Feedback: requests remembered for a day, pairs of prompts that somebody judged.

use std::time::Duration;

use refrain::chat::{TenantId, UnixMillis};
use refrain::store::{JudgedPair, PairVerdict, RememberedRequest};

use super::{NOW, Place, key, on_both};

on_both! {
    a_request_is_recalled_at_once_and_after_a_restart
    of_equal_ids_the_latest_counts
    a_request_is_forgotten_after_a_day
    a_flood_of_requests_is_dropped_and_counted
    a_judged_pair_is_kept_once_with_the_last_verdict
    what_was_asked_of_anothers_entry_is_remembered
}

fn request(entry: Option<&str>, at: UnixMillis) -> RememberedRequest {
    RememberedRequest { request_key: key("asked"), entry_key: entry.map(key), prompt: None, at }
}

async fn a_request_is_recalled_at_once_and_after_a_restart(place: Place) {
    let (acme, other) = (TenantId::new("acme"), TenantId::new("other"));
    let store = place.open().await;
    let (hit, miss) = (request(Some("answered"), NOW), request(None, NOW));
    store.remember_request(&acme, "1", hit.clone());
    store.remember_request(&acme, "2", miss.clone());
    assert_eq!(store.recall_request(&acme, "1", NOW).await.unwrap(), Some(hit.clone()));
    store.close().await;

    let store = place.open().await;
    assert_eq!(store.recall_request(&acme, "1", NOW).await.unwrap(), Some(hit));
    assert_eq!(store.recall_request(&acme, "2", NOW).await.unwrap(), Some(miss));
    assert_eq!(store.recall_request(&acme, "3", NOW).await.unwrap(), None);
    assert_eq!(store.recall_request(&other, "1", NOW).await.unwrap(), None);
}

async fn of_equal_ids_the_latest_counts(place: Place) {
    let acme = TenantId::new("acme");
    for entry in ["first", "second"] {
        let store = place.open().await;
        store.remember_request(&acme, "same", request(Some("overwritten"), NOW));
        store.remember_request(&acme, "same", request(Some(entry), NOW));
        store.close().await;
    }
    let store = place.open().await;
    assert_eq!(store.recall_request(&acme, "same", NOW).await.unwrap(), Some(request(Some("second"), NOW)));
}

async fn a_request_is_forgotten_after_a_day(place: Place) {
    let acme = TenantId::new("acme");
    let day = Duration::from_secs(86_400);
    let store = place.open().await;
    store.remember_request(&acme, "1", request(None, NOW));
    let almost = UnixMillis(NOW.after(day).0 - 1);
    assert!(store.recall_request(&acme, "1", almost).await.unwrap().is_some());
    assert_eq!(store.recall_request(&acme, "1", NOW.after(day)).await.unwrap(), None);
    store.close().await;

    let store = place.open().await;
    assert!(store.recall_request(&acme, "1", almost).await.unwrap().is_some());
    assert_eq!(store.recall_request(&acme, "1", NOW.after(day)).await.unwrap(), None);
    store.sweep(almost, day).await.unwrap();
    assert_eq!(place.rows("requests").await, 1);
    store.sweep(NOW.after(day), day).await.unwrap();
    assert_eq!(place.rows("requests").await, 0);
}

async fn a_flood_of_requests_is_dropped_and_counted(place: Place) {
    let acme = TenantId::new("acme");
    let store = place.open().await;
    for number in 0..9000 {
        store.remember_request(&acme, &number.to_string(), request(None, NOW));
    }
    let dropped = store.stats().await.unwrap().requests_dropped;
    store.close().await;
    assert_eq!(dropped, 9000 - 2048);
    assert_eq!(place.rows("requests").await, 2048);
}

fn judged(one: &str, other: &str, verdict: PairVerdict) -> JudgedPair {
    let tenant = Some(TenantId::new("acme"));
    JudgedPair { keys: (key(one), key(other)), verdict, tenant, asked: None, stored: None, at: Some(NOW) }
}

async fn a_judged_pair_is_kept_once_with_the_last_verdict(place: Place) {
    let store = place.open().await;
    let texts = |pair| JudgedPair { asked: Some("asked".into()), stored: Some("stored".into()), ..pair };
    store.judge_pair(texts(judged("a", "b", PairVerdict::Wrong))).await.unwrap();
    store.judge_pair(judged("b", "a", PairVerdict::Right)).await.unwrap();
    store.judge_pair(judged("a", "c", PairVerdict::Wrong)).await.unwrap();
    let stats = store.stats().await.unwrap();
    assert_eq!((stats.blocked_pairs, stats.aliases), (1, 1));
    store.close().await;
    let store = place.open().await;
    let mut kept = store.judged_pairs().await.unwrap();
    kept.sort_by_key(|pair| pair.verdict == PairVerdict::Wrong);
    let ordered = |one: &str, other: &str| (key(one).min(key(other)), key(one).max(key(other)));
    let right = JudgedPair { keys: ordered("a", "b"), ..judged("a", "b", PairVerdict::Right) };
    let wrong = JudgedPair { keys: ordered("a", "c"), ..judged("a", "c", PairVerdict::Wrong) };
    // What was known of the prompts before is known still.
    assert_eq!(kept, [texts(right), wrong]);
}

async fn what_was_asked_of_anothers_entry_is_remembered(place: Place) {
    let (store, acme) = (place.open().await, TenantId::new("acme"));
    let hit = RememberedRequest { prompt: Some("How far is it?".into()), ..request(Some("entry"), NOW) };
    store.remember_request(&acme, "1", hit.clone());
    assert_eq!(store.recall_request(&acme, "1", NOW).await.unwrap(), Some(hit.clone()));
    store.close().await;
    assert_eq!(place.open().await.recall_request(&acme, "1", NOW).await.unwrap(), Some(hit));
}
