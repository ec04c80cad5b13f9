//! How is a database opened, and what if it is not as we left it?
//!
//! A file that is damaged or no database is set aside under another name, never deleted, and a new one is begun: the
//! cache may be empty, but the server starts. A file of a newer version or of another program is refused: it is well,
//! only not ours to touch.

use std::fs::{DirBuilder, OpenOptions};
use std::io::{Error, ErrorKind};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::str::FromStr;
use std::time::Duration;

use sqlx::ConnectOptions;
use sqlx::migrate::{Migration, MigrationType, Migrator};
use sqlx::postgres::PgConnectOptions;
use sqlx::sqlite::{SqliteConnectOptions, SqliteJournalMode, SqliteSynchronous};
use sqlx::{SqlSafeStr, SqlStr};

use super::StoreError;
use super::database::{Connection, Target, sql};
use super::entries::only;

/// Marks a SQLite file as ours ("rfrn"), for `file` and for us.
const APPLICATION_ID: i64 = 0x7266_726e;
/// The first SQLite without the corruption when two processes reset the log at once.
const OLDEST_SQLITE: [u32; 3] = [3, 51, 3];
/// Files up to this size are checked page by page at start, which takes about a second. Beyond it the checksum of
/// each row must do.
const QUICK_CHECK_BYTES: u64 = 256 << 20;
/// How long a connection waits for a lock.
const BUSY_TIMEOUT: Duration = Duration::from_secs(5);

/// What was found where the store should be.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Opened {
    /// A store, as it was left.
    Existing,
    /// Nothing; a new store was begun.
    Created,
    /// Something damaged, now under this name; a new store was begun.
    SetAside(PathBuf),
}

/// Opens the database that the URL names and brings its tables up to date.
pub(super) async fn open(url: &str) -> Result<(Target, Connection, Opened), StoreError> {
    if let Some(path) = url.strip_prefix("sqlite://").filter(|path| !path.is_empty()) {
        open_sqlite(Path::new(path)).await
    } else if url.starts_with("postgres://") || url.starts_with("postgresql://") {
        open_postgres(url).await
    } else {
        Err(StoreError::Url)
    }
}

async fn open_sqlite(path: &Path) -> Result<(Target, Connection, Opened), StoreError> {
    let unusable =
        |error: Error| StoreError::Unusable { path: path.into(), reason: error.kind().to_string() };
    let was_there = make_file(path).map_err(unusable)?;
    match prepare_sqlite(path).await {
        Ok((target, connection)) => {
            Ok((target, connection, if was_there { Opened::Existing } else { Opened::Created }))
        }
        Err(StoreError::Corrupt { .. }) => {
            let aside = set_aside(path).map_err(unusable)?;
            make_file(path).map_err(unusable)?;
            let (target, connection) = prepare_sqlite(path).await?;
            Ok((target, connection, Opened::SetAside(aside)))
        }
        Err(StoreError::Io { code } | StoreError::Busy { code } | StoreError::Refused { code }) => {
            Err(StoreError::Unusable {
                path: path.into(),
                reason: format!("SQLite answers with code {code}"),
            })
        }
        Err(error) => Err(error),
    }
}

/// Makes the file, readable by its owner alone, and its folder. Returns whether there was something in it.
fn make_file(path: &Path) -> Result<bool, Error> {
    if let Some(folder) = path.parent() {
        DirBuilder::new().recursive(true).mode(0o700).create(folder)?;
    }
    let file = OpenOptions::new().create(true).append(true).mode(0o600).open(path)?;
    Ok(file.metadata()?.len() > 0)
}

/// Returns the options of every connection. `synchronous = FULL` makes a commit survive a loss of power;
/// memory-mapped reads stay off, since a disk error in them would be a signal, not an error.
fn sqlite_options(path: &Path) -> SqliteConnectOptions {
    SqliteConnectOptions::new()
        .filename(path)
        .synchronous(SqliteSynchronous::Full)
        .busy_timeout(BUSY_TIMEOUT)
        .foreign_keys(true)
        .pragma("trusted_schema", "OFF")
        .pragma("cell_size_check", "ON")
        .pragma("mmap_size", "0")
        .pragma("journal_size_limit", "67108864")
        .disable_statement_logging()
}

/// Looks whether the file is ours and sound, and brings its tables up to date.
async fn prepare_sqlite(path: &Path) -> Result<(Target, Connection), StoreError> {
    let options = sqlite_options(path);
    // The first look changes nothing: asking for a log would already write into a file that may not be ours.
    checked(Target::Sqlite(options.clone()).connect().await?, async |connection| {
        check_version(connection).await?;
        check_ownership(connection, path).await?;
        check_pages(connection, path).await
    })
    .await?
    .close()
    .await?;
    let target = Target::Sqlite(options.journal_mode(SqliteJournalMode::Wal));
    let connection = checked(target.connect().await?, migrate).await?;
    Ok((target, connection))
}

/// Returns the connection if it passes. Else it is closed now and not by a drop some time later: closing deletes the
/// log by its name, which after a renaming would be the new file's.
async fn checked(
    mut connection: Connection,
    check: impl AsyncFnOnce(&mut Connection) -> Result<(), StoreError>,
) -> Result<Connection, StoreError> {
    match check(&mut connection).await {
        Ok(()) => Ok(connection),
        Err(error) => {
            connection.close().await.ok();
            Err(error)
        }
    }
}

async fn check_version(connection: &mut Connection) -> Result<(), StoreError> {
    let rows = connection.rows(sql("SELECT sqlite_version() AS version")).await?;
    let found: String = only(&rows)?.get("version")?;
    let numbers: Vec<u32> = found.split('.').map_while(|number| number.parse().ok()).collect();
    if numbers.as_slice() < OLDEST_SQLITE.as_slice() { Err(StoreError::OldSqlite { found }) } else { Ok(()) }
}

async fn check_ownership(connection: &mut Connection, path: &Path) -> Result<(), StoreError> {
    let mark = connection.rows(sql("PRAGMA application_id")).await?;
    let tables = connection.rows(sql("SELECT count(*) AS tables FROM sqlite_schema")).await?;
    match (only(&mark)?.get::<i64>("application_id")?, only(&tables)?.get::<i64>("tables")?) {
        (APPLICATION_ID, _) => Ok(()),
        (0, 0) => {
            let mut mark = sql("PRAGMA application_id = ");
            mark.push(&APPLICATION_ID.to_string());
            connection.execute(mark).await.map(drop)
        }
        _ => Err(StoreError::Foreign { path: path.into() }),
    }
}

async fn check_pages(connection: &mut Connection, path: &Path) -> Result<(), StoreError> {
    if path.metadata().is_ok_and(|file| file.len() > QUICK_CHECK_BYTES) {
        return Ok(());
    }
    let verdict = connection.rows(sql("PRAGMA quick_check(1)")).await?;
    match only(&verdict)?.get::<String>("quick_check")?.as_str() {
        "ok" => Ok(()),
        _ => Err(StoreError::Corrupt { code: "quick_check".to_owned() }),
    }
}

/// Renames the file and its log, and returns the new name.
fn set_aside(path: &Path) -> Result<PathBuf, Error> {
    let stamp = jiff::Timestamp::now().strftime("%Y%m%dT%H%M%S%3fZ").to_string();
    let beside = |suffix: &str| {
        let mut name = path.as_os_str().to_owned();
        name.push(suffix);
        PathBuf::from(name)
    };
    let aside = beside(&format!(".damaged-{stamp}"));
    std::fs::rename(path, &aside)?;
    for suffix in ["-wal", "-shm"] {
        let renamed = std::fs::rename(beside(suffix), beside(&format!(".damaged-{stamp}{suffix}")));
        match renamed {
            Err(error) if error.kind() != ErrorKind::NotFound => return Err(error),
            _ => {}
        }
    }
    Ok(aside)
}

async fn open_postgres(url: &str) -> Result<(Target, Connection, Opened), StoreError> {
    let options = PgConnectOptions::from_str(url)
        .map_err(|_| StoreError::Url)?
        .application_name("refrain")
        .options([
            ("statement_timeout", "30s"),
            ("lock_timeout", "5s"),
            ("idle_in_transaction_session_timeout", "60s"),
        ])
        .disable_statement_logging();
    let address = format!("{}:{}", options.get_host(), options.get_port());
    let target = Target::Postgres(options);
    let mut connection = target.connect().await.map_err(|error| match error {
        StoreError::Unreachable { reason } => {
            StoreError::Unreachable { reason: format!("{address}: {reason}") }
        }
        other => other,
    })?;
    let tables = connection
        .rows(sql("SELECT count(*) AS tables FROM pg_tables WHERE schemaname = current_schema() AND tablename = 'entries'"))
        .await?;
    let was_there = only(&tables)?.get::<i64>("tables")? > 0;
    migrate(&mut connection).await?;
    Ok((target, connection, if was_there { Opened::Existing } else { Opened::Created }))
}

/// Runs the migrations that the database has not seen yet.
async fn migrate(connection: &mut Connection) -> Result<(), StoreError> {
    /// Numbered as the files are; never edited once released.
    macro_rules! migrations {
        ($folder:literal) => {
            Migrator::with_migrations(vec![
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
            ])
        };
    }
    match connection {
        Connection::Sqlite(connection) => migrations!("sqlite").run(&mut **connection).await?,
        Connection::Postgres(connection) => migrations!("postgres").run(&mut **connection).await?,
    }
    Ok(())
}

fn migration(version: i64, description: &'static str, text: SqlStr) -> Migration {
    Migration::new(version, description.into(), MigrationType::Simple, text, false)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_connection_is_as_durable_as_sqlite_can_be() {
        let folder = tempfile::tempdir().unwrap();
        let url = format!("sqlite://{}", folder.path().join("refrain.db").display());
        let (_, mut connection, _) = open(&url).await.unwrap();
        let rows = connection.rows(sql("PRAGMA journal_mode")).await.unwrap();
        assert_eq!(rows[0].get("journal_mode"), Ok("wal".to_owned()));
        for (pragma, name, value) in [
            ("PRAGMA synchronous", "synchronous", 2),
            ("PRAGMA foreign_keys", "foreign_keys", 1),
            ("PRAGMA trusted_schema", "trusted_schema", 0),
            ("PRAGMA cell_size_check", "cell_size_check", 1),
            ("PRAGMA application_id", "application_id", APPLICATION_ID),
            ("PRAGMA journal_size_limit", "journal_size_limit", 64 << 20),
            ("PRAGMA busy_timeout", "timeout", 5000),
        ] {
            assert_eq!(connection.rows(sql(pragma)).await.unwrap()[0].get(name), Ok(value), "{pragma}");
        }
        // No row where memory-mapped reads are compiled out altogether.
        let mapped = connection.rows(sql("PRAGMA mmap_size")).await.unwrap();
        assert!(mapped.iter().all(|row| row.get("mmap_size") == Ok(0_i64)));
    }
}
