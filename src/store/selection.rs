//! Which entries does an operator mean?

use super::database::{Row, Statement, sql};
use super::{Cursor, StoreError};
use crate::chat::{EndUser, Fingerprint, ModelAlias, Namespace, TenantId, UnixMillis};

/// Conditions on entries; all that are given must hold, and none given means every entry.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Selection {
    pub key: Option<Fingerprint>,
    pub tenant: Option<TenantId>,
    pub namespace: Option<Namespace>,
    pub user: Option<EndUser>,
    pub model: Option<ModelAlias>,
    pub tag: Option<String>,
    /// The beginning of the last prompt, letter for letter.
    pub prompt_prefix: Option<String>,
    /// Made before this moment.
    pub older_than: Option<UnixMillis>,
    /// Still fresh at this moment; `None` takes expired entries too.
    pub fresh_at: Option<UnixMillis>,
}

impl Selection {
    /// Continues a query on `entries e` with these conditions.
    fn push_to(&self, statement: &mut Statement) {
        let Self { key, tenant, namespace, user, model, tag, prompt_prefix, older_than, fresh_at } = self;
        if let Some(key) = key {
            statement.push(" AND e.key = ");
            statement.push_value(key.as_bytes());
        }
        let texts = [
            (" AND e.tenant = ", tenant.as_ref().map(TenantId::as_str)),
            (" AND e.namespace = ", namespace.as_ref().map(Namespace::as_str)),
            (" AND e.end_user = ", user.as_ref().map(EndUser::as_str)),
            (" AND e.model = ", model.as_ref().map(ModelAlias::as_str)),
        ];
        for (condition, text) in texts {
            if let Some(text) = text {
                statement.push(condition);
                statement.push_value(text);
            }
        }
        if let Some(tag) = tag {
            statement.push(" AND e.id IN (SELECT entry FROM tags WHERE tag = ");
            statement.push_value(tag.as_str());
            statement.push(")");
        }
        if let Some(prefix) = prompt_prefix {
            // Not LIKE: it has wildcards, and the two databases disagree about upper and lower case.
            statement.push(" AND substr(e.prompt, 1, length(");
            statement.push_value(prefix.as_str());
            statement.push(")) = ");
            statement.push_value(prefix.as_str());
        }
        let times = [(" AND e.created_at < ", older_than), (" AND e.expires_at > ", fresh_at)];
        for (condition, time) in times {
            if let Some(time) = time {
                statement.push(condition);
                statement.push_value(time.0);
            }
        }
    }

    /// Returns the query for how many there are.
    pub(super) fn count(&self) -> Statement {
        let mut statement = sql("SELECT count(*) AS count FROM entries e WHERE 1 = 1");
        self.push_to(&mut statement);
        statement
    }

    /// Returns the query for their ids up to and including one, at most so many.
    pub(super) fn ids(&self, up_to: i64, limit: i64) -> Statement {
        let mut statement = sql("SELECT e.id FROM entries e WHERE e.id <= $1").bind(up_to);
        self.push_to(&mut statement);
        statement.push(" ORDER BY e.id LIMIT ");
        statement.push_value(limit);
        statement
    }

    /// Returns the query for their summaries, the last written first, below the cursor.
    pub(super) fn summaries(&self, below: Option<Cursor>, limit: i64) -> Statement {
        let mut statement = sql(
            "SELECT e.id AS place, e.key, e.tenant, e.namespace, e.end_user, e.model, e.provider, e.answer_model, \
             e.prompt, e.created_at, e.expires_at, e.completion_tokens, e.cost_usd, e.semantic_key IS NOT NULL AS semantic, e.hits, e.last_hit, \
             e.size FROM entries e WHERE e.id < $1",
        )
        .bind(below.map_or(i64::MAX, |cursor| cursor.0));
        self.push_to(&mut statement);
        statement.push(" ORDER BY e.id DESC LIMIT ");
        statement.push_value(limit);
        statement
    }
}

/// What an operator sees of an entry; the answer itself is not loaded.
#[derive(Clone, Debug, PartialEq)]
pub struct EntrySummary {
    pub key: Fingerprint,
    pub tenant: TenantId,
    pub namespace: Namespace,
    pub user: Option<EndUser>,
    pub model: ModelAlias,
    pub provider: String,
    /// The model as the vendor names it.
    pub answer_model: String,
    /// The last prompt, where it is plain text.
    pub prompt: Option<String>,
    pub created_at: UnixMillis,
    pub expires_at: UnixMillis,
    pub completion_tokens: Option<u64>,
    pub cost_usd: Option<f64>,
    pub is_semantic: bool,
    /// Times it was served, as far as they have been written down.
    pub hits: u64,
    pub last_hit: Option<UnixMillis>,
    /// Bytes it takes in the store, its vectors with it, a shared context not.
    pub size_bytes: u64,
}

/// Reads a row of [`Selection::summaries`].
pub(super) fn read_summary(row: &Row) -> Result<EntrySummary, StoreError> {
    let unsigned = |column| -> Result<Option<u64>, StoreError> {
        Ok(row.get::<Option<i64>>(column)?.and_then(|number| u64::try_from(number).ok()))
    };
    Ok(EntrySummary {
        key: row.digest("key")?,
        tenant: TenantId::new(row.get::<String>("tenant")?),
        namespace: Namespace::new(row.get::<String>("namespace")?),
        user: row.get::<Option<String>>("end_user")?.map(EndUser::new),
        model: ModelAlias::new(row.get::<String>("model")?),
        provider: row.get("provider")?,
        answer_model: row.get("answer_model")?,
        prompt: row.get("prompt")?,
        created_at: UnixMillis(row.get("created_at")?),
        expires_at: UnixMillis(row.get("expires_at")?),
        completion_tokens: unsigned("completion_tokens")?,
        cost_usd: row.get("cost_usd")?,
        is_semantic: row.get("semantic")?,
        hits: unsigned("hits")?.unwrap_or(0),
        last_hit: row.get::<Option<i64>>("last_hit")?.map(UnixMillis),
        size_bytes: unsigned("size")?.unwrap_or(0),
    })
}
