//! How is SQL said once, and understood by both databases?
//!
//! sqlx's types are per database, and its `Any` driver hides the options that the durability of SQLite hangs on. So
//! this file has the one `match` over the two; every query text beyond it exists once, with `$1` placeholders, and
//! speaks the four types below.

use std::borrow::Cow;
use std::time::Duration;

use sqlx::postgres::{PgConnectOptions, PgPool, PgPoolOptions, PgRow};
use sqlx::sqlite::{SqliteConnectOptions, SqlitePool, SqlitePoolOptions, SqliteRow};
use sqlx::{
    AssertSqlSafe, ConnectOptions, Connection as _, PgConnection, Postgres, Row as _, Sqlite,
    SqliteConnection,
};

use super::StoreError;

/// Connections that only read.
const READERS: u32 = 4;
/// The longest wait for a connection, new or from the pool.
pub(super) const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);

/// Where the database is and how it is opened.
#[derive(Clone)]
pub(super) enum Target {
    Sqlite(SqliteConnectOptions),
    Postgres(PgConnectOptions),
}

impl Target {
    /// Opens a connection of its own, for the writer.
    pub(super) async fn connect(&self) -> Result<Connection, StoreError> {
        let connecting = async {
            Ok(match self {
                Self::Sqlite(options) => Connection::Sqlite(Box::new(options.connect().await?)),
                Self::Postgres(options) => Connection::Postgres(Box::new(options.connect().await?)),
            })
        };
        tokio::time::timeout(CONNECT_TIMEOUT, connecting)
            .await
            .map_err(|_| StoreError::Unreachable { reason: "connecting timed out".to_owned() })?
    }

    /// Makes the pool of readers, without connecting yet.
    pub(super) fn readers(&self) -> Readers {
        match self {
            Self::Sqlite(options) => Readers::Sqlite(
                SqlitePoolOptions::new()
                    .max_connections(READERS)
                    .acquire_timeout(CONNECT_TIMEOUT)
                    // A file does not hang up.
                    .test_before_acquire(false)
                    .idle_timeout(None)
                    .max_lifetime(None)
                    .connect_lazy_with(options.clone().pragma("query_only", "ON")),
            ),
            Self::Postgres(options) => Readers::Postgres(
                PgPoolOptions::new()
                    .max_connections(READERS)
                    .acquire_timeout(CONNECT_TIMEOUT)
                    .connect_lazy_with(options.clone().options([("default_transaction_read_only", "on")])),
            ),
        }
    }
}

/// One statement with its values.
pub(super) struct Statement {
    sql: Cow<'static, str>,
    values: Vec<Value>,
}

/// Starts a statement from its text.
pub(super) fn sql(text: &'static str) -> Statement {
    Statement { sql: Cow::Borrowed(text), values: Vec::new() }
}

impl Statement {
    /// Gives the next placeholder of the text its value.
    pub(super) fn bind(mut self, value: impl Into<Value>) -> Self {
        self.values.push(value.into());
        self
    }

    /// Continues the text. Only with texts of this crate: values are bound.
    pub(super) fn push(&mut self, text: &str) {
        self.sql.to_mut().push_str(text);
    }

    /// Continues the text with a placeholder and gives it its value.
    pub(super) fn push_value(&mut self, value: impl Into<Value>) {
        self.values.push(value.into());
        let placeholder = format!("${}", self.values.len());
        self.push(&placeholder);
    }

    /// Continues the text with `(…, …)` of values.
    pub(super) fn push_list<V: Into<Value>>(&mut self, values: impl IntoIterator<Item = V>) {
        for (at, value) in values.into_iter().enumerate() {
            self.push(if at == 0 { "(" } else { ", " });
            self.push_value(value);
        }
        self.push(")");
    }
}

/// A value of one of the types that both databases have. An absent one still has its type: PostgreSQL asks for it.
pub(super) enum Value {
    Int(Option<i64>),
    Real(Option<f64>),
    Text(Option<String>),
    Blob(Option<Vec<u8>>),
}

/// Lets plain values be bound: each is one of the four types, and so is an option of it.
macro_rules! value {
    ($($from:ty => $kind:ident $convert:expr;)*) => {$(
        impl From<$from> for Value {
            fn from(value: $from) -> Self {
                Self::$kind(Some($convert(value)))
            }
        }
        impl From<Option<$from>> for Value {
            fn from(value: Option<$from>) -> Self {
                Self::$kind(value.map($convert))
            }
        }
    )*};
}

value! {
    i64 => Int std::convert::identity;
    f64 => Real std::convert::identity;
    &str => Text str::to_owned;
    &[u8] => Blob <[u8]>::to_vec;
    &[u8; 32] => Blob |bytes: &[u8; 32]| bytes.to_vec();
}

/// Prepares the statement for whichever database the executor is of. Texts made at run time are not worth a place
/// in the cache of prepared statements.
macro_rules! run {
    ($statement:ident, $method:ident, $executor:expr) => {{
        let Statement { sql, values } = $statement;
        let is_static = matches!(sql, Cow::Borrowed(_));
        // Only texts of this crate and placeholders are ever pushed; values are always bound.
        let mut query = sqlx::query(AssertSqlSafe(sql)).persistent(is_static);
        for value in values {
            query = match value {
                Value::Int(value) => query.bind(value),
                Value::Real(value) => query.bind(value),
                Value::Text(value) => query.bind(value),
                Value::Blob(value) => query.bind(value),
            };
        }
        query.$method($executor).await?
    }};
}

/// The pool that all reads share.
pub(super) enum Readers {
    Sqlite(SqlitePool),
    Postgres(PgPool),
}

impl Readers {
    /// Returns all rows of a query.
    pub(super) async fn rows(&self, statement: Statement) -> Result<Vec<Row>, StoreError> {
        Ok(match self {
            Self::Sqlite(pool) => run!(statement, fetch_all, pool).into_iter().map(Row::Sqlite).collect(),
            Self::Postgres(pool) => run!(statement, fetch_all, pool).into_iter().map(Row::Postgres).collect(),
        })
    }

    /// Returns whether this process alone writes to the database.
    pub(super) const fn are_of_one_process(&self) -> bool {
        match self {
            Self::Sqlite(_) => true,
            Self::Postgres(_) => false,
        }
    }

    /// Closes every connection, waiting for those in use.
    pub(super) async fn close(&self) {
        match self {
            Self::Sqlite(pool) => pool.close().await,
            Self::Postgres(pool) => pool.close().await,
        }
    }
}

/// The writer's connection.
pub(super) enum Connection {
    Sqlite(Box<SqliteConnection>),
    Postgres(Box<PgConnection>),
}

impl Connection {
    /// Returns all rows of a query.
    pub(super) async fn rows(&mut self, statement: Statement) -> Result<Vec<Row>, StoreError> {
        Ok(match self {
            Self::Sqlite(connection) => {
                run!(statement, fetch_all, &mut **connection).into_iter().map(Row::Sqlite).collect()
            }
            Self::Postgres(connection) => {
                run!(statement, fetch_all, &mut **connection).into_iter().map(Row::Postgres).collect()
            }
        })
    }

    /// Returns how many rows a statement changed.
    pub(super) async fn execute(&mut self, statement: Statement) -> Result<u64, StoreError> {
        Ok(match self {
            Self::Sqlite(connection) => run!(statement, execute, &mut **connection).rows_affected(),
            Self::Postgres(connection) => run!(statement, execute, &mut **connection).rows_affected(),
        })
    }

    /// Begins a transaction. In SQLite it takes the write lock at once, so that it cannot fail for it half way.
    pub(super) async fn begin(&mut self) -> Result<(), StoreError> {
        let text = match self {
            Self::Sqlite(_) => "BEGIN IMMEDIATE",
            Self::Postgres(_) => "BEGIN",
        };
        self.execute(sql(text)).await.map(drop)
    }

    pub(super) async fn commit(&mut self) -> Result<(), StoreError> {
        self.execute(sql("COMMIT")).await.map(drop)
    }

    pub(super) async fn roll_back(&mut self) -> Result<(), StoreError> {
        self.execute(sql("ROLLBACK")).await.map(drop)
    }

    /// Closes the connection in good order; SQLite's log is folded into its file first.
    pub(super) async fn close(mut self) -> Result<(), StoreError> {
        if let Self::Sqlite(_) = self {
            self.rows(sql("PRAGMA wal_checkpoint(TRUNCATE)")).await?;
        }
        match self {
            Self::Sqlite(connection) => connection.close().await?,
            Self::Postgres(connection) => connection.close().await?,
        }
        Ok(())
    }
}

/// A row of either database.
pub(super) enum Row {
    Sqlite(SqliteRow),
    Postgres(PgRow),
}

impl Row {
    /// Returns the value of a column.
    pub(super) fn get<T>(&self, column: &str) -> Result<T, StoreError>
    where
        T: for<'r> sqlx::Decode<'r, Sqlite> + sqlx::Type<Sqlite>,
        T: for<'r> sqlx::Decode<'r, Postgres> + sqlx::Type<Postgres>,
    {
        Ok(match self {
            Self::Sqlite(row) => row.try_get(column)?,
            Self::Postgres(row) => row.try_get(column)?,
        })
    }

    /// Returns the digest in a column of 32 bytes that may be null.
    pub(super) fn optional_digest<D>(&self, column: &str) -> Result<Option<D>, StoreError>
    where
        D: for<'b> TryFrom<&'b [u8]>,
    {
        match self.get::<Option<Vec<u8>>>(column)? {
            Some(_) => self.digest(column).map(Some),
            None => Ok(None),
        }
    }

    /// Returns the digest in a column of 32 bytes.
    pub(super) fn digest<D>(&self, column: &str) -> Result<D, StoreError>
    where
        D: for<'b> TryFrom<&'b [u8]>,
    {
        let bytes: Vec<u8> = self.get(column)?;
        D::try_from(&bytes).map_err(|_| StoreError::Unfit { reason: "a digest is not 32 bytes long" })
    }
}
