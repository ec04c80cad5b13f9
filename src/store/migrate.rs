//! How does a store of an older version become one of this version?
//!
//! All migrations that it lacks run in one transaction: whenever the process ends, the store is of the old version or of
//! the new one. A SQLite file that holds entries is copied first. A PostgreSQL database is not: whoever runs one has
//! `pg_dump`, and backups of their own.

use std::fs::{File, OpenOptions};
use std::io::Error;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use sqlx::migrate::{Migration, MigrationType, Migrator};
use sqlx::{Connection as _, SqlSafeStr, SqlStr};

use super::StoreError;
use super::database::{Connection, sql};
use super::entries::only;
use super::open::{beside, stamp};

/// Held while a PostgreSQL database is migrated, so that of several processes one does it ("refrain" in ASCII).
const MIGRATION_LOCK: i64 = 0x0072_6566_7261_696e;

/// What a store was when it was found.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Found {
    Empty,
    Current,
    /// Of this older version. Where a copy of it was made, it has this name.
    Older(i64, Option<PathBuf>),
}

/// Brings the tables up to date. `file` is where a SQLite database lies. A database of a newer version is refused and
/// left as it is.
pub(super) async fn migrate(connection: &mut Connection, file: Option<&Path>) -> Result<Found, StoreError> {
    let migrator = migrator(connection);
    let latest = migrator.iter().map(|migration| migration.version).max().unwrap_or(0);
    let found = match version(connection).await? {
        0 => Found::Empty,
        from if from < latest => {
            let copy = match file {
                Some(file) if holds_entries(connection).await? => Some(copy(connection, file, from).await?),
                _ => None,
            };
            Found::Older(from, copy)
        }
        _ => Found::Current,
    };
    let run = run(connection, &migrator).await;
    if let (Err(_), Found::Older(_, Some(copy))) = (&run, &found) {
        // The store is as it was, and the next start makes another copy.
        let _ = std::fs::remove_file(copy);
    }
    run.map(|()| found)
}

/// Runs all of them in one transaction, or none.
async fn run(connection: &mut Connection, migrator: &Migrator) -> Result<(), StoreError> {
    match connection {
        Connection::Sqlite(connection) => {
            // The write lock at once, so that it cannot fail for it half way.
            let mut transaction = connection.begin_with("BEGIN IMMEDIATE").await?;
            migrator.run(&mut *transaction).await?;
            transaction.commit().await?;
        }
        Connection::Postgres(connection) => {
            let mut transaction = connection.begin().await?;
            let lock = sqlx::query("SELECT pg_advisory_xact_lock($1)").bind(MIGRATION_LOCK);
            lock.execute(&mut *transaction).await?;
            migrator.run(&mut *transaction).await?;
            transaction.commit().await?;
        }
    }
    Ok(())
}

/// Returns the migrations of a database, numbered as the files are; never edited once released.
fn migrator(connection: &Connection) -> Migrator {
    macro_rules! migrations {
        ($folder:literal) => {
            vec![
                migration(
                    1,
                    "entries",
                    include_str!(concat!("../../migrations/", $folder, "/0001_entries.sql")).into_sql_str(),
                ),
                migration(
                    2,
                    "resilience",
                    include_str!(concat!("../../migrations/", $folder, "/0002_resilience.sql"))
                        .into_sql_str(),
                ),
                migration(
                    3,
                    "feedback",
                    include_str!(concat!("../../migrations/", $folder, "/0003_feedback.sql")).into_sql_str(),
                ),
                migration(
                    4,
                    "exact_routes",
                    include_str!(concat!("../../migrations/", $folder, "/0004_exact_routes.sql"))
                        .into_sql_str(),
                ),
                migration(
                    5,
                    "precompute",
                    include_str!(concat!("../../migrations/", $folder, "/0005_precompute.sql"))
                        .into_sql_str(),
                ),
            ]
        };
    }
    let mut migrator = Migrator::with_migrations(match connection {
        Connection::Sqlite(_) => migrations!("sqlite"),
        Connection::Postgres(_) => migrations!("postgres"),
    });
    // Its own lock is let go before the transaction around it is committed; ours is not.
    migrator.set_locking(false);
    migrator
}

fn migration(version: i64, description: &'static str, text: SqlStr) -> Migration {
    Migration::new(version, description.into(), MigrationType::Simple, text, false)
}

/// Returns the number of the last migration that a database has seen, 0 where it has seen none.
async fn version(connection: &mut Connection) -> Result<i64, StoreError> {
    let tables = match connection {
        Connection::Sqlite(_) => {
            "SELECT count(*) AS tables FROM sqlite_schema WHERE name = '_sqlx_migrations'"
        }
        Connection::Postgres(_) => {
            "SELECT count(*) AS tables FROM pg_tables \
             WHERE schemaname = current_schema() AND tablename = '_sqlx_migrations'"
        }
    };
    if only(&connection.rows(sql(tables)).await?)?.get::<i64>("tables")? == 0 {
        return Ok(0);
    }
    let last = sql("SELECT coalesce(max(version), 0) AS version FROM _sqlx_migrations");
    only(&connection.rows(last).await?)?.get("version")
}

async fn holds_entries(connection: &mut Connection) -> Result<bool, StoreError> {
    Ok(!connection.rows(sql("SELECT id FROM entries LIMIT 1")).await?.is_empty())
}

/// Copies a SQLite database as it is now to a file beside it, readable by its owner alone, and returns the copy's name.
async fn copy(connection: &mut Connection, file: &Path, version: i64) -> Result<PathBuf, StoreError> {
    let copy = beside(file, &format!(".v{version}-{}.bak", stamp()));
    let unusable =
        |reason: String| StoreError::Unusable { path: copy.clone(), reason: format!("no backup: {reason}") };
    tracing::info!(copy = %copy.display(), "copying the store before it is brought up to date");
    // SQLite takes an empty file for one that is not there, and would not make one for the owner alone.
    OpenOptions::new()
        .write(true)
        .create_new(true)
        .mode(0o600)
        .open(&copy)
        .map_err(|error| unusable(error.kind().to_string()))?;
    let name = copy.to_str().ok_or_else(|| unusable("its name is no text".to_owned()))?;
    let copied = match connection.execute(sql("VACUUM INTO $1").bind(name)).await {
        Ok(_) => sync(&copy).map_err(|error| error.kind().to_string()),
        Err(error) => Err(error.to_string()),
    };
    copied.map_err(|reason| {
        // Half a copy is worse than none.
        let _ = std::fs::remove_file(&copy);
        unusable(reason)
    })?;
    Ok(copy)
}

/// Waits until a file and its name have reached the disk, which SQLite does not do for what it copies.
fn sync(file: &Path) -> Result<(), Error> {
    File::open(file)?.sync_all()?;
    match file.parent() {
        Some(folder) => File::open(folder)?.sync_all(),
        None => Ok(()),
    }
}
