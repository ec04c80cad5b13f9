//! Entries: stored, found, replaced, selected, removed.

use std::sync::Arc;
use std::time::Duration;

use refrain::chat::{
    EndUser, Entry, Message, ModelAlias, Namespace, OutputLimit, Role, TenantId, UnixMillis,
};
use refrain::store::{NewEntry, Selection, Touch};
use serde_json::json;

use super::{HOUR, NOW, Place, entry, key, keys, new, on_both, owner, sorted, vector};

on_both! {
    an_entry_comes_back_as_it_was_written
    the_entry_of_another_key_is_not_found
    a_second_put_replaces_all_but_the_hits
    what_requests_share_is_stored_once_and_goes_with_the_last
    every_condition_selects_and_they_add_up
    a_prefix_has_no_wildcards
    a_list_is_read_page_by_page
    the_selected_are_removed_and_no_others
    stale_entries_outlive_their_expiry_for_a_while
    a_full_store_loses_the_expired_then_what_saves_least
    a_row_that_was_changed_on_the_disk_is_absent
}

async fn an_entry_comes_back_as_it_was_written(place: Place) {
    let store = place.open().await;
    let mut written = entry("q");
    let mut request = (*written.request).clone();
    request.messages.insert(0, Message::text(Role::System, "be brief"));
    request.sampling.temperature = Some(0.1 + 0.2);
    request.unknown.insert("odd".into(), json!({"deep": [1, null, "é\u{0}"]}));
    request.carried.insert("metadata".into(), json!({"a": "b"}));
    request.limit =
        Some(OutputLimit { tokens: 7, spelling: refrain::chat::LimitSpelling::MaxCompletionTokens });
    written.request = Arc::new(request);
    written.user = Some(EndUser::new("ann"));
    written.limit = Some(u32::MAX);
    written.cost_usd = Some(0.000_052_3);
    written.tags = vec!["b".into(), "a".into()];
    written.semantic = None;
    store.put(new(written.clone())).await.unwrap();
    assert_eq!(store.get(&written.key).await.unwrap(), Some(written.clone()));

    store.close().await;
    let store = place.open().await;
    assert_eq!(store.get(&written.key).await.unwrap(), Some(written));
    assert_eq!(store.stats().await.unwrap().damaged, 0);
}

async fn the_entry_of_another_key_is_not_found(place: Place) {
    let store = place.open().await;
    store.put(new(entry("a"))).await.unwrap();
    store.put(new(entry("b"))).await.unwrap();
    assert_eq!(store.get(&key("c")).await.unwrap(), None);
    let found = store.get_many(&keys(&["a", "b", "c"])).await.unwrap();
    assert_eq!(sorted(found.iter().map(|entry| entry.key).collect()), keys(&["a", "b"]));
    assert_eq!(store.get_many(&[]).await.unwrap(), Vec::new());
}

async fn a_second_put_replaces_all_but_the_hits(place: Place) {
    let store = place.open().await;
    let first = Entry { tags: vec!["old".into()], ..entry("q") };
    let with_vector = NewEntry { vector: Some(vector("minilm", 0.1)), ..new(first) };
    store.put(with_vector).await.unwrap();
    store.touch(vec![Touch { key: key("q"), hits: 3, last_hit: NOW }]).await.unwrap();

    let second =
        Entry { tags: vec!["new".into()], provider: "anthropic".into(), quality: None, ..entry("q") };
    store.put(new(second.clone())).await.unwrap();
    assert_eq!(store.get(&key("q")).await.unwrap(), Some(second));
    assert_eq!(place.rows("vectors").await, 0);
    assert_eq!(place.rows("tags").await, 1);
    let found = store.find(&Selection::default(), 10, None).await.unwrap().items;
    assert_eq!((found.len(), found[0].hits, found[0].last_hit), (1, 3, Some(NOW)));
}

async fn what_requests_share_is_stored_once_and_goes_with_the_last(place: Place) {
    let store = place.open().await;
    for name in ["a", "b"] {
        store.put(new(entry(name))).await.unwrap();
    }
    assert_eq!(place.rows("contexts").await, 1);
    assert_eq!(store.remove(vec![key("a"), key("nobody")]).await.unwrap(), 1);
    assert_eq!(place.rows("contexts").await, 1);
    assert_eq!(store.remove(vec![key("b")]).await.unwrap(), 1);
    assert_eq!(place.rows("contexts").await, 0);
    assert_eq!(store.stats().await.unwrap().bytes, 0);
}

async fn every_condition_selects_and_they_add_up(place: Place) {
    let store = place.open().await;
    let entries = [
        Entry { tenant: TenantId::new("other"), ..entry("tenant") },
        Entry { namespace: Namespace::new("fr"), ..entry("namespace") },
        Entry { user: Some(EndUser::new("ann")), ..entry("user") },
        Entry { model: ModelAlias::new("fast"), ..entry("model") },
        Entry { tags: vec!["news".into(), "sport".into()], ..entry("tag") },
        Entry { created_at: UnixMillis(NOW.0 - 1000), ..entry("old") },
        Entry { expires_at: NOW, ..entry("expired") },
    ];
    for one in entries {
        store.put(new(one)).await.unwrap();
    }
    let all = Selection::default();
    let cases = [
        (Selection { key: Some(key("user")), ..all.clone() }, vec!["user"]),
        (Selection { tenant: Some(TenantId::new("other")), ..all.clone() }, vec!["tenant"]),
        (Selection { namespace: Some(Namespace::new("fr")), ..all.clone() }, vec!["namespace"]),
        (Selection { user: Some(EndUser::new("ann")), ..all.clone() }, vec!["user"]),
        (Selection { model: Some(ModelAlias::new("fast")), ..all.clone() }, vec!["model"]),
        (Selection { tag: Some("sport".into()), ..all.clone() }, vec!["tag"]),
        (Selection { tag: Some("spor".into()), ..all.clone() }, vec![]),
        (Selection { prompt_prefix: Some("t".into()), ..all.clone() }, vec!["tenant", "tag"]),
        (Selection { older_than: Some(NOW), ..all.clone() }, vec!["old"]),
        (
            Selection { fresh_at: Some(NOW), ..all.clone() },
            vec!["tenant", "namespace", "user", "model", "tag", "old"],
        ),
        (
            Selection { prompt_prefix: Some("t".into()), tenant: Some(TenantId::new("acme")), ..all.clone() },
            vec!["tag"],
        ),
    ];
    for (selection, expected) in cases {
        let found = store.find(&selection, 100, None).await.unwrap();
        assert!(found.is_last);
        let found = sorted(found.items.iter().map(|summary| summary.key).collect());
        assert_eq!(found, keys(&expected), "{selection:?}");
        assert_eq!(store.count(&selection).await.unwrap(), expected.len() as u64, "{selection:?}");
    }
    assert_eq!(store.count(&all).await.unwrap(), 7);
}

async fn a_prefix_has_no_wildcards(place: Place) {
    let store = place.open().await;
    for name in ["100% sure", "100 sure", "a_b", "axb", "Émile", "émile"] {
        store.put(new(entry(name))).await.unwrap();
    }
    for (prefix, count) in [("100%", 1), ("%", 0), ("a_", 1), ("É", 1), ("A", 0), ("'", 0), ("", 6)] {
        let selection = Selection { prompt_prefix: Some(prefix.into()), ..Selection::default() };
        assert_eq!(store.count(&selection).await.unwrap(), count, "{prefix}");
    }
}

async fn a_list_is_read_page_by_page(place: Place) {
    let store = place.open().await;
    let names: Vec<String> = (0..7).map(|number| format!("q{number}")).collect();
    for name in &names {
        store.put(new(entry(name))).await.unwrap();
    }
    let (mut prompts, mut after) = (Vec::new(), None);
    loop {
        let page = store.find(&Selection::default(), 3, after).await.unwrap();
        prompts.extend(page.items.into_iter().filter_map(|summary| summary.prompt));
        after = Some(page.next);
        if page.is_last {
            break;
        }
    }
    prompts.reverse();
    assert_eq!(prompts, names);
}

async fn the_selected_are_removed_and_no_others(place: Place) {
    let store = place.open().await;
    let puts = (0..600).map(|number| {
        let tags = vec![if number % 2 == 0 { "even" } else { "odd" }.to_owned()];
        store.put(new(Entry { tags, ..entry(&format!("q{number}")) }))
    });
    for put in futures_util::future::join_all(puts).await {
        put.unwrap();
    }
    let even = Selection { tag: Some("even".into()), ..Selection::default() };
    assert_eq!(store.remove_selected(&even).await.unwrap().len(), 300, "more than one batch");
    assert_eq!(store.count(&even).await.unwrap(), 0);
    assert_eq!(store.count(&Selection::default()).await.unwrap(), 300);
    assert_eq!(place.rows("tags").await, 300);
}

async fn stale_entries_outlive_their_expiry_for_a_while(place: Place) {
    let store = place.open().await;
    store.put(new(entry("q"))).await.unwrap();
    let expiry = NOW.after(HOUR);
    let week = Duration::from_secs(7 * 86_400);
    assert_eq!(store.sweep(expiry.after(HOUR), week).await.unwrap(), []);
    assert!(store.get(&key("q")).await.unwrap().is_some_and(|entry| !entry.is_fresh(expiry)));
    assert_eq!(store.sweep(expiry.after(week), week).await.unwrap(), [key("q")]);
    assert_eq!(store.get(&key("q")).await.unwrap(), None);
}

async fn a_full_store_loses_the_expired_then_what_saves_least(place: Place) {
    let store = place.open().await;
    let cost = |name: &str, cost_usd: f64| new(Entry { cost_usd: Some(cost_usd), ..entry(name) });
    store.put(cost("cheap but asked for", 0.001)).await.unwrap();
    store.touch(vec![Touch { key: key("cheap but asked for"), hits: 50, last_hit: NOW }]).await.unwrap();
    store.put(cost("cheap", 0.001)).await.unwrap();
    store.put(cost("dear", 0.01)).await.unwrap();
    store
        .put(new(Entry { cost_usd: Some(10.0), expires_at: NOW, ..entry("dear but expired") }))
        .await
        .unwrap();

    let mut went = Vec::new();
    loop {
        let bytes = store.stats().await.unwrap().bytes;
        if bytes == 0 {
            break;
        }
        assert_eq!(store.evict(bytes, NOW).await.unwrap(), [], "it fits");
        let evicted = store.evict(bytes - 1, NOW).await.unwrap();
        assert_eq!(evicted.len(), 1);
        assert!(store.stats().await.unwrap().bytes <= (bytes - 1) / 100 * 95);
        went.extend(evicted);
    }
    let names = ["dear but expired", "cheap", "dear", "cheap but asked for"];
    assert_eq!(went, names.map(key));
}

async fn a_row_that_was_changed_on_the_disk_is_absent(place: Place) {
    let store = place.open().await;
    for name in ["a", "b", "c"] {
        store.put(NewEntry { owner: owner(name), ..new(entry(name)) }).await.unwrap();
    }
    place
        .execute(
            "UPDATE entries SET answer = CAST(replace(CAST(answer AS TEXT), 'answer to', 'Answer to') AS BLOB) WHERE prompt = 'a';
             UPDATE entries SET tenant = 'other' WHERE prompt = 'b';",
            "UPDATE entries SET answer = convert_to(replace(convert_from(answer, 'UTF8'), 'answer to', 'Answer to'), 'UTF8') WHERE prompt = 'a';
             UPDATE entries SET tenant = 'other' WHERE prompt = 'b';",
        )
        .await;
    let found = store.get_many(&keys(&["a", "b", "c"])).await.unwrap();
    assert_eq!(found, [entry("c")]);
    assert_eq!(store.stats().await.unwrap().damaged, 2);
    // Writes keep their order, so after this one the removals are done.
    store.touch(Vec::new()).await.unwrap();
    assert_eq!(place.rows("entries").await, 1);
}
