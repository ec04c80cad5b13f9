//! What can go wrong with the store, told so that a log may show it: never a value of a query, never a password.

use std::path::PathBuf;

use sqlx::migrate::MigrateError;

/// Why the store did not do what it was asked.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum StoreError {
    #[error("the store's queue is full")]
    Overloaded,
    #[error("the store did not answer in time")]
    Timeout,
    #[error("the store is closed")]
    Closed,
    #[error("the store's disk is full; free some space or lower cache.store_capacity_bytes")]
    Full,
    #[error("the store's disk failed (code {code})")]
    Io { code: String },
    #[error("the store's file is damaged (code {code})")]
    Corrupt { code: String },
    #[error("the store is locked by another process (code {code})")]
    Busy { code: String },
    #[error("the database cannot be reached: {reason}")]
    Unreachable { reason: String },
    #[error("store.url must begin with sqlite:// or postgres:// and be well formed")]
    Url,
    #[error(
        "the store was written by a newer version (migration {migration}); start that version or name another store"
    )]
    Newer { migration: i64 },
    #[error("{} is a database of another program; name another file in store.url", path.display())]
    Foreign { path: PathBuf },
    #[error("cannot use {}: {reason}", path.display())]
    Unusable { path: PathBuf, reason: String },
    #[error("SQLite {found} is older than 3.51.3, which mends a corruption of its log")]
    OldSqlite { found: String },
    #[error("a value cannot be stored: {reason}")]
    Unfit { reason: &'static str },
    #[error("the database refused a statement (code {code})")]
    Refused { code: String },
    #[error("the store's writer failed on this batch")]
    Panicked,
}

impl StoreError {
    /// Returns the metric label.
    pub const fn kind(&self) -> &'static str {
        match self {
            Self::Overloaded => "overloaded",
            Self::Timeout => "timeout",
            Self::Closed => "closed",
            Self::Full => "full",
            Self::Io { .. } => "io",
            Self::Corrupt { .. } => "corrupt",
            Self::Busy { .. } => "busy",
            Self::Unreachable { .. } => "unreachable",
            Self::Url => "url",
            Self::Newer { .. } => "newer",
            Self::Foreign { .. } => "foreign",
            Self::Unusable { .. } => "unusable",
            Self::OldSqlite { .. } => "old_sqlite",
            Self::Unfit { .. } => "unfit",
            Self::Refused { .. } => "refused",
            Self::Panicked => "panicked",
        }
    }

    /// Returns whether one row is to blame, so that the others of its batch may succeed without it.
    pub(super) const fn is_about_one_row(&self) -> bool {
        match self {
            Self::Unfit { .. } | Self::Refused { .. } | Self::Panicked => true,
            Self::Overloaded
            | Self::Timeout
            | Self::Closed
            | Self::Full
            | Self::Io { .. }
            | Self::Corrupt { .. }
            | Self::Busy { .. }
            | Self::Unreachable { .. }
            | Self::Url
            | Self::Newer { .. }
            | Self::Foreign { .. }
            | Self::Unusable { .. }
            | Self::OldSqlite { .. } => false,
        }
    }
}

impl From<sqlx::Error> for StoreError {
    /// Keeps the code of a database's error and drops its text, which may quote values.
    fn from(error: sqlx::Error) -> Self {
        match error {
            sqlx::Error::Database(error) => {
                let code = error.code().map_or_else(|| "none".to_owned(), Into::into);
                match error.try_downcast_ref::<sqlx::sqlite::SqliteError>() {
                    Some(_) => from_sqlite(code),
                    None => from_postgres(code),
                }
            }
            sqlx::Error::PoolTimedOut => Self::Timeout,
            sqlx::Error::PoolClosed => Self::Closed,
            sqlx::Error::Configuration(_) => Self::Url,
            sqlx::Error::Io(error) => Self::Unreachable { reason: error.kind().to_string() },
            sqlx::Error::Tls(_) => Self::Unreachable { reason: "TLS failed".to_owned() },
            sqlx::Error::Protocol(_) => {
                Self::Unreachable { reason: "it does not speak the protocol".to_owned() }
            }
            sqlx::Error::WorkerCrashed => Self::Panicked,
            sqlx::Error::Encode(_) => Self::Unfit { reason: "it does not fit its column" },
            _ => Self::Unfit { reason: "a column is not of the type that was asked for" },
        }
    }
}

/// Sorts SQLite's extended result codes by their primary one.
fn from_sqlite(code: String) -> StoreError {
    match code.parse::<i32>().map(|code| code & 0xff) {
        Ok(13) => StoreError::Full,
        Ok(10 | 14) => StoreError::Io { code },
        Ok(11 | 26) => StoreError::Corrupt { code },
        Ok(5 | 6) => StoreError::Busy { code },
        _ => StoreError::Refused { code },
    }
}

/// Sorts PostgreSQL's SQLSTATE codes by their class.
fn from_postgres(code: String) -> StoreError {
    match (code.as_str(), code.get(..2)) {
        ("53100", _) => StoreError::Full,
        ("57014" | "55P03", _) => StoreError::Timeout,
        (_, Some("08" | "28" | "3D" | "53" | "57")) => {
            StoreError::Unreachable { reason: format!("code {code}") }
        }
        (_, Some("58")) => StoreError::Io { code },
        (_, Some("XX")) => StoreError::Corrupt { code },
        _ => StoreError::Refused { code },
    }
}

impl From<MigrateError> for StoreError {
    fn from(error: MigrateError) -> Self {
        match error {
            MigrateError::VersionMissing(migration) => Self::Newer { migration },
            MigrateError::Execute(error) | MigrateError::ExecuteMigration(error, _) => error.into(),
            other => Self::Refused { code: format!("migration: {other}") },
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn extended_codes_are_sorted_by_their_primary_code() {
        assert_eq!(from_sqlite("13".into()).kind(), "full");
        assert_eq!(from_sqlite("1034".into()).kind(), "io"); // SQLITE_IOERR_FSYNC
        assert_eq!(from_sqlite("267".into()).kind(), "corrupt"); // SQLITE_CORRUPT_VTAB
        assert_eq!(from_sqlite("26".into()).kind(), "corrupt");
        assert_eq!(from_sqlite("2067".into()).kind(), "refused"); // SQLITE_CONSTRAINT_UNIQUE
        assert_eq!(from_postgres("53100".into()).kind(), "full");
        assert_eq!(from_postgres("57P03".into()).kind(), "unreachable");
        assert_eq!(from_postgres("22021".into()).kind(), "refused");
    }
}
