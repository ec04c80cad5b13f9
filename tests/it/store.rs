//! One set of checks, run on both databases.

mod breakers;
mod durability;
mod entries;
mod exact_routes;
mod feedback;
mod jobs;
pub mod migration;
mod opening;
mod vectors;

use std::sync::Arc;
use std::time::Duration;

use refrain::chat::{
    ChatRequest, ChatResponse, Choice, Entry, Fingerprint, FinishReason, ModelAlias, Namespace, Owner, Part,
    Partition, SemanticKey, TenantId, UnixMillis, Usage,
};
use refrain::store::{NewEntry, Opened, Store, StoredVector};
use sqlx::{AssertSqlSafe, Connection, PgConnection, SqliteConnection};
use tempfile::TempDir;

use crate::support::postgres;

/// Makes a test on SQLite and one on PostgreSQL of each check.
macro_rules! on_both {
    ($($check:ident)*) => {
        mod sqlite {
            $(#[tokio::test]
            async fn $check() {
                super::$check(crate::store::Place::sqlite()).await;
            })*
        }
        mod postgres {
            $(#[tokio::test]
            async fn $check() {
                super::$check(crate::store::Place::postgres().await).await;
            })*
        }
    };
}
use on_both;

/// A moment that everything in these tests happens around.
const NOW: UnixMillis = UnixMillis(1_800_000_000_000);
const HOUR: Duration = Duration::from_secs(3600);

/// Where a store is, or will be.
struct Place {
    url: String,
    folder: Option<TempDir>,
}

impl Place {
    fn sqlite() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let url = format!("sqlite://{}", folder.path().join("data/refrain.db").display());
        Self { url, folder: Some(folder) }
    }

    async fn postgres() -> Self {
        Self { url: postgres::fresh_database().await, folder: None }
    }

    async fn open(&self) -> Store {
        Store::open(&self.url).await.unwrap().0
    }

    async fn opened(&self) -> (Store, Opened) {
        Store::open(&self.url).await.unwrap()
    }

    /// Runs a statement behind the store's back.
    async fn execute(&self, sqlite: &str, postgres: &str) {
        if self.folder.is_some() {
            let mut connection = SqliteConnection::connect(&self.url).await.unwrap();
            sqlx::raw_sql(AssertSqlSafe(sqlite)).execute(&mut connection).await.unwrap();
            connection.close().await.unwrap();
        } else {
            let mut connection = PgConnection::connect(&self.url).await.unwrap();
            sqlx::raw_sql(AssertSqlSafe(postgres)).execute(&mut connection).await.unwrap();
        }
    }

    /// Counts rows behind the store's back.
    async fn rows(&self, table: &str) -> i64 {
        let count = AssertSqlSafe(format!("SELECT count(*) FROM {table}"));
        if self.folder.is_some() {
            let mut connection = SqliteConnection::connect(&self.url).await.unwrap();
            sqlx::query_scalar(count).fetch_one(&mut connection).await.unwrap()
        } else {
            let mut connection = PgConnection::connect(&self.url).await.unwrap();
            sqlx::query_scalar(count).fetch_one(&mut connection).await.unwrap()
        }
    }
}

fn key(name: &str) -> Fingerprint {
    Fingerprint::from_bytes(*blake3::hash(name.as_bytes()).as_bytes())
}

fn owner(name: &str) -> Owner {
    Owner::from_bytes(*blake3::hash(name.as_bytes()).as_bytes())
}

/// An entry whose key and prompt say its name; it is fresh for an hour.
fn entry(name: &str) -> Entry {
    Entry {
        key: key(name),
        tenant: TenantId::new("acme"),
        namespace: Namespace::new("default"),
        user: None,
        model: ModelAlias::new("default"),
        request: Arc::new(ChatRequest::from_prompt(name)),
        answer: Arc::new(ChatResponse {
            id: format!("chatcmpl-{name}"),
            created: 1_800_000_000,
            model: "gpt-4o-mini".into(),
            choices: vec![Choice {
                content: vec![Part::Text(format!("the answer to {name}"))],
                finish: Some(FinishReason::Stop),
                ..Choice::default()
            }],
            usage: Some(Usage { prompt_tokens: 10, completion_tokens: 20, ..Usage::default() }),
            ..ChatResponse::default()
        }),
        provider: "openai".into(),
        limit: None,
        created_at: NOW,
        expires_at: NOW.after(HOUR),
        cost_usd: None,
        quality: Some(0.875),
        tags: Vec::new(),
        semantic: Some(SemanticKey::from_bytes([9; 32])),
    }
}

fn new(entry: Entry) -> NewEntry {
    NewEntry { entry: Arc::new(entry), owner: owner("acme"), vector: None, warmed: None }
}

fn vector(embedder: &str, first: f32) -> StoredVector {
    StoredVector {
        embedder: embedder.into(),
        partition: Partition::from_bytes([7; 32]),
        vector: Arc::from([first, -0.5, f32::MIN_POSITIVE]),
    }
}

fn sorted(mut keys: Vec<Fingerprint>) -> Vec<Fingerprint> {
    keys.sort_unstable();
    keys
}

fn keys(names: &[&str]) -> Vec<Fingerprint> {
    sorted(names.iter().map(|name| key(name)).collect())
}
