//! Opening: what is there, what is damaged, what is not ours.

use std::fs;
use std::net::TcpListener;
use std::os::unix::fs::PermissionsExt;
use std::path::PathBuf;

use refrain::store::{Opened, Selection, Store, StoreError};

use super::{Place, entry, key, new, on_both};

on_both! {
    a_store_is_made_and_found_again
    a_store_of_a_newer_version_is_refused
}

async fn a_store_is_made_and_found_again(place: Place) {
    let (store, opened) = place.opened().await;
    assert_eq!(opened, Opened::Created);
    assert_eq!(store.health().await, Ok(()));
    store.close().await;
    assert_eq!(place.opened().await.1, Opened::Existing);
}

async fn a_store_of_a_newer_version_is_refused(place: Place) {
    place.open().await.close().await;
    place
        .execute(
            "INSERT INTO _sqlx_migrations (version, description, success, checksum, execution_time) VALUES (999, 'later', 1, x'00', 0)",
            "INSERT INTO _sqlx_migrations (version, description, success, checksum, execution_time) VALUES (999, 'later', true, '\\x00', 0)",
        )
        .await;
    let error = Store::open(&place.url).await.err().unwrap();
    assert_eq!(error, StoreError::Newer { migration: 999 });
    assert!(error.to_string().contains("newer version"));
    assert_eq!(place.rows("entries").await, 0, "it is still there");
}

pub(super) fn file(place: &Place) -> PathBuf {
    PathBuf::from(place.url.strip_prefix("sqlite://").unwrap())
}

#[tokio::test]
async fn the_file_and_its_folder_are_for_the_owner_alone() {
    let place = Place::sqlite();
    let store = place.open().await;
    store.put(new(entry("q"))).await.unwrap();
    let mode = |path: PathBuf| path.metadata().unwrap().permissions().mode() & 0o777;
    let path = file(&place);
    assert_eq!(mode(path.parent().unwrap().into()), 0o700);
    assert_eq!(mode(path.clone()), 0o600);
    assert_eq!(mode(path.with_extension("db-wal")), 0o600);
}

#[tokio::test]
async fn fault_80_a_file_that_is_no_database_is_set_aside() {
    let place = Place::sqlite();
    let path = file(&place);
    fs::create_dir_all(path.parent().unwrap()).unwrap();
    let text = "this was never a database, but it is long enough to have a header ".repeat(100);
    fs::write(&path, &text).unwrap();
    let (store, opened) = place.opened().await;
    let Opened::SetAside(aside) = opened else { panic!("{opened:?}") };
    assert_eq!(fs::read_to_string(aside).unwrap(), text);
    store.put(new(entry("q"))).await.unwrap();
    assert_eq!(store.get(&key("q")).await.unwrap(), Some(entry("q")));
}

#[tokio::test]
async fn fault_80_a_store_with_damaged_pages_is_set_aside() {
    let place = Place::sqlite();
    let store = place.open().await;
    for number in 0..50 {
        store.put(new(entry(&format!("q{number}")))).await.unwrap();
    }
    store.close().await;
    let path = file(&place);
    let mut bytes = fs::read(&path).unwrap();
    // All but the first page, which holds the header and the schema.
    for byte in &mut bytes[4096..] {
        *byte ^= 0x5a;
    }
    fs::write(&path, &bytes).unwrap();
    let (store, opened) = place.opened().await;
    let Opened::SetAside(aside) = opened else { panic!("{opened:?}") };
    assert_eq!(fs::read(aside).unwrap(), bytes, "nothing of it is lost");
    assert_eq!(store.count(&Selection::default()).await.unwrap(), 0);
    store.put(new(entry("q"))).await.unwrap();
}

#[tokio::test]
async fn the_database_of_another_program_is_left_alone() {
    let place = Place::sqlite();
    place.open().await.close().await;
    place.execute("PRAGMA application_id = 1", "").await;
    let before = fs::read(file(&place)).unwrap();
    let error = Store::open(&place.url).await.err().unwrap();
    assert_eq!(error, StoreError::Foreign { path: file(&place) });
    assert_eq!(fs::read(file(&place)).unwrap(), before);
}

#[tokio::test]
async fn a_place_that_cannot_be_used_is_named() {
    let file = tempfile::NamedTempFile::new().unwrap();
    let path = file.path().join("refrain.db");
    let error = Store::open(&format!("sqlite://{}", path.display())).await.err().unwrap();
    assert_eq!(error.kind(), "unusable");
    assert!(error.to_string().contains(&path.display().to_string()), "{error}");
    let error = Store::open("mysql://localhost/refrain").await.err().unwrap();
    assert_eq!(error, StoreError::Url);
}

#[tokio::test]
async fn a_server_that_is_down_is_a_clear_error_without_the_password() {
    let port = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
    let error = Store::open(&format!("postgres://ann:geheim@127.0.0.1:{port}/refrain")).await.err().unwrap();
    assert_eq!(error.kind(), "unreachable");
    assert!(!format!("{error} {error:?}").contains("geheim"));
}
