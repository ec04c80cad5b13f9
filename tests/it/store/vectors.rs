//! Vectors: what the index is filled from.

use refrain::chat::{Entry, Fingerprint, UnixMillis};
use refrain::store::{Cursor, NewEntry, StoredPoint};

use super::{HOUR, NOW, Place, entry, key, keys, new, on_both, owner, sorted, vector};

on_both! {
    a_vector_comes_back_bit_for_bit
    vectors_of_two_embedders_never_mix
    a_fill_misses_nothing_written_meanwhile
    entries_without_a_vector_are_found_once
    a_vector_of_an_entry_that_went_is_not_stored
}

fn with_vector(entry: Entry, embedder: &str) -> NewEntry {
    NewEntry { vector: Some(vector(embedder, 0.25)), ..new(entry) }
}

async fn a_vector_comes_back_bit_for_bit(place: Place) {
    let store = place.open().await;
    store.put(with_vector(entry("q"), "minilm")).await.unwrap();
    store.put(with_vector(Entry { expires_at: NOW, ..entry("expired") }, "minilm")).await.unwrap();
    let page = store.vectors_after("minilm", Cursor::default(), 10, NOW).await.unwrap();
    let stored = vector("minilm", 0.25);
    let point = StoredPoint {
        key: key("q"),
        partition: stored.partition,
        owner: owner("acme"),
        expires_at: NOW.after(HOUR),
        vector: stored.vector.to_vec(),
    };
    assert_eq!(page.items, [point]);
    assert!(page.is_last);
    let all = store.vector_keys("minilm", Cursor::default(), 10).await.unwrap().items;
    assert_eq!(sorted(all), keys(&["q", "expired"]));
}

async fn vectors_of_two_embedders_never_mix(place: Place) {
    let store = place.open().await;
    store.put(with_vector(entry("q"), "old")).await.unwrap();
    let one = store.stats().await.unwrap().bytes;
    assert!(store.put_vector(key("q"), vector("new", 0.5)).await.unwrap());
    assert!(store.put_vector(key("q"), vector("new", 0.75)).await.unwrap(), "again, in place of the first");
    for (embedder, first) in [("old", 0.25), ("new", 0.75)] {
        let page = store.vectors_after(embedder, Cursor::default(), 10, NOW).await.unwrap();
        assert_eq!(page.items.len(), 1);
        assert_eq!(page.items[0].vector[0].to_bits(), f32::to_bits(first));
    }
    let stats = store.stats().await.unwrap();
    assert_eq!(stats.vectors, 2);
    assert_eq!(stats.bytes, one + 512 + 12, "the second vector counts, and once");
    store.remove(vec![key("q")]).await.unwrap();
    assert_eq!(store.stats().await.unwrap().vectors, 0);
}

async fn a_fill_misses_nothing_written_meanwhile(place: Place) {
    let store = place.open().await;
    let writing = async {
        for number in 0..200 {
            store.put(with_vector(entry(&format!("q{number}")), "minilm")).await.unwrap();
            if number % 5 == 0 {
                // Written again: its vector comes once more, later.
                store.put(with_vector(entry(&format!("q{}", number / 2)), "minilm")).await.unwrap();
            }
        }
    };
    let filling = async {
        let (mut seen, mut cursor) = (Vec::<Fingerprint>::new(), Cursor::default());
        while !seen.contains(&key("q199")) {
            let page = store.vectors_after("minilm", cursor, 7, NOW).await.unwrap();
            assert!(page.next >= cursor);
            cursor = page.next;
            seen.extend(page.items.iter().map(|point| point.key));
            tokio::task::yield_now().await;
        }
        seen
    };
    let ((), mut seen) = tokio::join!(writing, filling);
    seen.sort_unstable();
    seen.dedup();
    assert_eq!(seen.len(), 200);
}

async fn entries_without_a_vector_are_found_once(place: Place) {
    let store = place.open().await;
    for number in 0..10 {
        store.put(new(entry(&format!("bare{number}")))).await.unwrap();
        store.put(with_vector(entry(&format!("full{number}")), "minilm")).await.unwrap();
    }
    store.put(new(Entry { semantic: None, ..entry("exact only") })).await.unwrap();
    store.put(new(Entry { expires_at: UnixMillis(NOW.0 - 1), ..entry("expired") })).await.unwrap();
    let (mut found, mut cursor) = (Vec::new(), Cursor::default());
    loop {
        let page = store.without_vector("minilm", cursor, 4, NOW).await.unwrap();
        for entry in &page.items {
            assert!(store.put_vector(entry.key, vector("minilm", 0.5)).await.unwrap());
        }
        found.extend(
            page.items.into_iter().filter_map(|entry| entry.request.last_prompt().map(str::to_owned)),
        );
        cursor = page.next;
        if page.is_last {
            break;
        }
    }
    assert_eq!(found, (0..10).map(|number| format!("bare{number}")).collect::<Vec<_>>());
    let again = store.without_vector("minilm", Cursor::default(), 4, NOW).await.unwrap();
    assert_eq!(again.items, []);
    let other = store.without_vector("another", Cursor::default(), 100, NOW).await.unwrap();
    assert_eq!(other.items.len(), 20);
}

async fn a_vector_of_an_entry_that_went_is_not_stored(place: Place) {
    let store = place.open().await;
    assert!(!store.put_vector(key("nobody"), vector("minilm", 0.5)).await.unwrap());
    assert_eq!(place.rows("vectors").await, 0);
}
