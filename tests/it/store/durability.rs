//! The writer: many in one commit, none harmed by another, none lost that was answered.

use std::sync::Arc;

use futures_util::future::join_all;
use refrain::chat::{Entry, Part, TenantId};
use refrain::store::{Selection, StoreError};
use sqlx::{Connection, PgConnection};

use super::{Place, entry, key, new, on_both};

on_both! {
    one_bad_row_harms_no_other_of_its_batch
    a_full_queue_says_so_at_once
    a_queue_is_full_of_bytes_too
    what_waits_at_the_close_is_committed
    a_closed_store_says_so
}

async fn one_bad_row_harms_no_other_of_its_batch(place: Place) {
    let store = place.open().await;
    place
        .execute(
            "CREATE TRIGGER refuse BEFORE INSERT ON entries WHEN NEW.tenant = 'refused' \
             BEGIN SELECT RAISE(ABORT, 'refused'); END",
            "ALTER TABLE entries ADD CHECK (tenant <> 'refused')",
        )
        .await;
    let puts = (0..50).map(|number| {
        let tenant = TenantId::new(if number == 25 { "refused" } else { "acme" });
        store.put(new(Entry { tenant, ..entry(&format!("q{number}")) }))
    });
    let refused: Vec<_> = join_all(puts).await.into_iter().filter_map(Result::err).collect();
    assert_eq!(refused.iter().map(StoreError::kind).collect::<Vec<_>>(), ["refused"]);
    assert_eq!(store.count(&Selection::default()).await.unwrap(), 49);
    assert_eq!(store.health().await, Ok(()));
}

async fn a_full_queue_says_so_at_once(place: Place) {
    let store = place.open().await;
    // The writer shares this thread, so it takes nothing until all of these have been queued or refused.
    let written = join_all((0..1500).map(|number| store.put(new(entry(&format!("q{number}")))))).await;
    let overloaded = written.iter().filter(|it| **it == Err(StoreError::Overloaded)).count();
    assert_eq!(overloaded, 1500 - 1024);
    assert_eq!(store.count(&Selection::default()).await.unwrap(), 1024);
}

async fn a_queue_is_full_of_bytes_too(place: Place) {
    let store = place.open().await;
    let puts = (0..8).map(|number| {
        let mut large = entry(&format!("q{number}"));
        let mut answer = (*large.answer).clone();
        answer.choices[0].content = vec![Part::Text("x".repeat(10 << 20))];
        large.answer = Arc::new(answer);
        store.put(new(large))
    });
    let written = join_all(puts).await;
    assert_eq!(written.iter().filter(|it| **it == Err(StoreError::Overloaded)).count(), 2);
    assert_eq!(store.put(new(entry("later"))).await, Ok(()), "there is room again");
}

async fn what_waits_at_the_close_is_committed(place: Place) {
    let store = Arc::new(place.open().await);
    let puts =
        join_all(
            (0..300).map(|number| {
                let store = Arc::clone(&store);
                async move {
                    store.put(new(entry(&format!("q{number}")))).await.map(|()| key(&format!("q{number}")))
                }
            }),
        );
    let (written, ()) = tokio::join!(puts, store.close());
    let written: Vec<_> = written.into_iter().map(Result::unwrap).collect();
    let store = place.open().await;
    assert_eq!(store.get_many(&written).await.unwrap().len(), 300);
}

async fn a_closed_store_says_so(place: Place) {
    let store = place.open().await;
    store.close().await;
    store.close().await;
    assert_eq!(store.put(new(entry("q"))).await, Err(StoreError::Closed));
    assert_eq!(store.get(&key("q")).await, Err(StoreError::Closed));
    assert_eq!(store.health().await, Err(StoreError::Closed));
}

#[tokio::test]
async fn a_server_that_hangs_up_is_called_again() {
    let place = Place::postgres().await;
    let store = place.open().await;
    store.put(new(entry("before"))).await.unwrap();
    let mut connection = PgConnection::connect(&place.url).await.unwrap();
    sqlx::query("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE application_name = 'refrain' AND datname = current_database()")
        .execute(&mut connection)
        .await
        .unwrap();
    store.put(new(entry("after"))).await.unwrap();
    assert_eq!(store.count(&Selection::default()).await.unwrap(), 2);
    assert_eq!(store.health().await, Ok(()));
}
