//! A store of an older version: brought up to date in one piece, and what it was is kept.

use std::fs;
use std::os::unix::fs::{DirBuilderExt, PermissionsExt};
use std::path::{Path, PathBuf};

use refrain::chat::Entry;
use refrain::store::{Opened, Store};
use sqlx::migrate::{Migration, MigrationType, Migrator};
use sqlx::sqlite::SqliteConnectOptions;
use sqlx::{ConnectOptions, Connection, PgConnection, SqlSafeStr, SqliteConnection};

use super::{Place, entry, key, new, on_both, opening::file};

on_both! {
    an_older_store_is_of_this_version_afterwards
    a_migration_that_fails_changes_nothing
}

impl Place {
    /// Makes a store as the first version made it.
    async fn first_version(&self) {
        macro_rules! first {
            ($folder:literal) => {{
                let text = include_str!(concat!("../../../migrations/", $folder, "/0001_entries.sql"));
                let only =
                    Migration::new(1, "entries".into(), MigrationType::Simple, text.into_sql_str(), false);
                Migrator::with_migrations(vec![only])
            }};
        }
        if self.folder.is_some() {
            let folder = file(self).parent().unwrap().to_owned();
            fs::DirBuilder::new().mode(0o700).create(folder).unwrap();
            let options = SqliteConnectOptions::new().filename(file(self)).create_if_missing(true);
            let mut connection = options.connect().await.unwrap();
            sqlx::query("PRAGMA application_id = 1919316590").execute(&mut connection).await.unwrap();
            first!("sqlite").run(&mut connection).await.unwrap();
            connection.close().await.unwrap();
        } else {
            let mut connection = PgConnection::connect(&self.url).await.unwrap();
            first!("postgres").run(&mut connection).await.unwrap();
        }
        let pair = "INSERT INTO blocked_pairs (smaller, larger) VALUES";
        self.execute(
            &format!("{pair} (zeroblob(32), zeroblob(32))"),
            &format!("{pair} (decode(repeat('00', 32), 'hex'), decode(repeat('00', 32), 'hex'))"),
        )
        .await;
    }
}

/// Returns the copies that were made of a store.
fn copies(place: &Place) -> Vec<PathBuf> {
    let beside = fs::read_dir(file(place).parent().unwrap()).unwrap();
    let is_copy = |path: &PathBuf| path.extension().is_some_and(|extension| extension == "bak");
    beside.map(|entry| entry.unwrap().path()).filter(is_copy).collect()
}

async fn an_older_store_is_of_this_version_afterwards(place: Place) {
    place.first_version().await;
    let (store, opened) = place.opened().await;
    assert_eq!(opened, Opened::Migrated { from: 1, copy: None }, "nothing in it was worth a copy");
    assert_eq!(store.judged_pairs().await.unwrap().len(), 1);
    store.put(new(entry("q"))).await.unwrap();
    assert_eq!(store.breakers().await.unwrap(), []);
    assert_eq!(store.exact_routes().await.unwrap(), []);
    store.close().await;
    assert_eq!(place.opened().await.1, Opened::Existing);
}

async fn a_migration_that_fails_changes_nothing(place: Place) {
    place.first_version().await;
    let in_the_way = "CREATE TABLE jobs (theirs BIGINT)";
    place.execute(in_the_way, in_the_way).await;
    // The column and the table that come before it must not stay.
    assert!(Store::open(&place.url).await.is_err());
    place.execute("DROP TABLE jobs", "DROP TABLE jobs").await;
    let (store, opened) = place.opened().await;
    assert_eq!(opened, Opened::Migrated { from: 1, copy: None });
    assert_eq!(store.judged_pairs().await.unwrap().len(), 1);
}

/// An entry as the first version kept it, which knew no quality.
fn old() -> Entry {
    Entry { quality: None, ..entry("q") }
}

/// Makes a file of the first version with one entry in it.
async fn with_an_entry() -> Place {
    let (place, newer) = (Place::sqlite(), Place::sqlite());
    let store = newer.open().await;
    store.put(new(old())).await.unwrap();
    store.close().await;
    place.first_version().await;
    let columns = "id, key, owner, tenant, namespace, end_user, model, provider, answer_model, created_at, \
                   expires_at, output_limit, completion_tokens, cost_usd, semantic_key, hits, last_hit, size, gain, \
                   worth, checksum, context, prompt, answer";
    let statement = format!(
        "ATTACH '{}' AS newer; INSERT INTO contexts SELECT * FROM newer.contexts; \
         INSERT INTO entries ({columns}) SELECT {columns} FROM newer.entries",
        file(&newer).display()
    );
    place.execute(&statement, "").await;
    place
}

/// Writes a file of the first version, with one entry in it.
pub async fn write_older_file(path: &Path) {
    let place = with_an_entry().await;
    fs::copy(file(&place), path).unwrap();
}

#[tokio::test]
async fn fault_93_a_file_with_entries_is_copied_before_it_is_changed() {
    let place = with_an_entry().await;
    let (store, opened) = place.opened().await;
    let Opened::Migrated { from: 1, copy: Some(copy) } = opened else { panic!("{opened:?}") };
    assert_eq!(store.get(&key("q")).await.unwrap(), Some(old()));
    store.close().await;

    assert_eq!(copies(&place), std::slice::from_ref(&copy));
    let name = copy.file_name().unwrap().to_str().unwrap();
    assert!(name.starts_with("refrain.db.v1-") && name.ends_with(".bak"), "{name}");
    assert_eq!(copy.metadata().unwrap().permissions().mode() & 0o777, 0o600);
    let mut old = SqliteConnection::connect(&format!("sqlite://{}", copy.display())).await.unwrap();
    let count = async |connection: &mut SqliteConnection, what: &'static str| {
        sqlx::query_scalar::<_, i64>(what).fetch_one(connection).await.unwrap()
    };
    assert_eq!(count(&mut old, "SELECT max(version) FROM _sqlx_migrations").await, 1);
    assert_eq!(count(&mut old, "SELECT count(*) FROM entries").await, 1);
    assert_eq!(count(&mut old, "SELECT count(*) FROM sqlite_schema WHERE name = 'jobs'").await, 0);
    old.close().await.unwrap();

    place.open().await.close().await;
    assert_eq!(copies(&place), [copy], "a store of this version is not copied");
}

#[tokio::test]
async fn a_copy_of_what_was_not_changed_is_not_kept() {
    let place = with_an_entry().await;
    place.execute("CREATE TABLE jobs (theirs BIGINT)", "").await;
    assert_eq!(Store::open(&place.url).await.err().unwrap().kind(), "unusable");
    assert!(copies(&place).is_empty());
}
