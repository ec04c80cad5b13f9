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
use sqlx::postgres::PgConnectOptions;
use sqlx::sqlite::{SqliteConnectOptions, SqliteJournalMode, SqliteSynchronous};

use super::StoreError;
use super::database::{Connection, Target, sql};
use super::entries::only;
use super::migrate::{Found, migrate};

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
    /// A store of an older version, now of this one. What a SQLite file was before, where it held entries, lies under
    /// this name.
    Migrated { from: i64, copy: Option<PathBuf> },
    /// Something damaged, now under this name; a new store was begun.
    SetAside(PathBuf),
}

impl From<Found> for Opened {
    fn from(found: Found) -> Self {
        match found {
            Found::Empty => Self::Created,
            Found::Current => Self::Existing,
            Found::Older(from, copy) => Self::Migrated { from, copy },
        }
    }
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
    make_file(path).map_err(unusable)?;
    match prepare_sqlite(path).await {
        Ok((target, connection, found)) => Ok((target, connection, found.into())),
        Err(StoreError::Corrupt { .. }) => {
            let aside = set_aside(path).map_err(unusable)?;
            make_file(path).map_err(unusable)?;
            let (target, connection, _) = prepare_sqlite(path).await?;
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

/// Makes the file, where there is none, and its folder, both for their owner alone.
fn make_file(path: &Path) -> Result<(), Error> {
    if let Some(folder) = path.parent() {
        DirBuilder::new().recursive(true).mode(0o700).create(folder)?;
    }
    OpenOptions::new().create(true).append(true).mode(0o600).open(path).map(drop)
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
async fn prepare_sqlite(path: &Path) -> Result<(Target, Connection, Found), StoreError> {
    let options = sqlite_options(path);
    // The first look changes nothing: asking for a log would already write into a file that may not be ours.
    let (connection, ()) = checked(Target::Sqlite(options.clone()).connect().await?, async |connection| {
        check_version(connection).await?;
        check_ownership(connection, path).await?;
        check_pages(connection, path).await
    })
    .await?;
    connection.close().await?;
    let target = Target::Sqlite(options.journal_mode(SqliteJournalMode::Wal));
    let (connection, found) =
        checked(target.connect().await?, async |connection| migrate(connection, Some(path)).await).await?;
    Ok((target, connection, found))
}

/// Returns the connection if it passes, and what was found. Else it is closed now and not by a drop some time later: closing deletes the
/// log by its name, which after a renaming would be the new file's.
async fn checked<T>(
    mut connection: Connection,
    check: impl AsyncFnOnce(&mut Connection) -> Result<T, StoreError>,
) -> Result<(Connection, T), StoreError> {
    match check(&mut connection).await {
        Ok(found) => Ok((connection, found)),
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
    let stamp = stamp();
    let aside = beside(path, &format!(".damaged-{stamp}"));
    std::fs::rename(path, &aside)?;
    for suffix in ["-wal", "-shm"] {
        let renamed =
            std::fs::rename(beside(path, suffix), beside(path, &format!(".damaged-{stamp}{suffix}")));
        match renamed {
            Err(error) if error.kind() != ErrorKind::NotFound => return Err(error),
            _ => {}
        }
    }
    Ok(aside)
}

/// Returns the name of a file with more at its end.
pub(super) fn beside(path: &Path, suffix: &str) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(suffix);
    PathBuf::from(name)
}

/// Returns this moment as a part of a file's name.
pub(super) fn stamp() -> String {
    jiff::Timestamp::now().strftime("%Y%m%dT%H%M%S%3fZ").to_string()
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
    let found = migrate(&mut connection, None).await?;
    Ok((target, connection, found.into()))
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
