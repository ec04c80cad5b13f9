//! Breakers: all of them written at once, found again after a restart.

use std::time::Duration;

use refrain::store::StoredBreaker;

use super::{NOW, Place, on_both};

on_both! {
    breakers_are_as_they_were_after_a_restart
    breakers_that_are_well_again_go
    breakers_stay_as_they_were_when_a_write_is_refused
}

fn breaker(upstream: &str, model: &str) -> StoredBreaker {
    StoredBreaker {
        upstream: upstream.into(),
        model: model.into(),
        open_until: Some(NOW),
        openings: 4,
        cooling_until: None,
    }
}

async fn breakers_are_as_they_were_after_a_restart(place: Place) {
    let store = place.open().await;
    assert_eq!(store.breakers().await.unwrap(), []);
    let cooling = StoredBreaker {
        open_until: None,
        openings: u32::MAX,
        cooling_until: Some(NOW.after(Duration::from_secs(60))),
        ..breaker("openai", "gpt-4o")
    };
    let all = vec![breaker("openai", "gpt-4o-mini"), cooling.clone(), breaker("anthropic", "gpt-4o")];
    store.put_breakers(all).await.unwrap();
    store.close().await;

    let by_name = [breaker("anthropic", "gpt-4o"), cooling, breaker("openai", "gpt-4o-mini")];
    assert_eq!(place.open().await.breakers().await.unwrap(), by_name);
}

async fn breakers_that_are_well_again_go(place: Place) {
    let store = place.open().await;
    store.put_breakers(vec![breaker("openai", "a"), breaker("openai", "b")]).await.unwrap();
    let later = StoredBreaker { openings: 5, ..breaker("openai", "b") };
    store.put_breakers(vec![later.clone(), breaker("openai", "c")]).await.unwrap();
    assert_eq!(store.breakers().await.unwrap(), [later, breaker("openai", "c")]);
    store.put_breakers(Vec::new()).await.unwrap();
    assert_eq!(store.breakers().await.unwrap(), []);
}

async fn breakers_stay_as_they_were_when_a_write_is_refused(place: Place) {
    let store = place.open().await;
    store.put_breakers(vec![breaker("openai", "a")]).await.unwrap();
    let twice = vec![breaker("openai", "b"), breaker("openai", "b")];
    assert_eq!(store.put_breakers(twice).await.unwrap_err().kind(), "refused");
    assert_eq!(store.breakers().await.unwrap(), [breaker("openai", "a")]);
    assert_eq!(store.health().await, Ok(()));
}
