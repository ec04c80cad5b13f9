//! How does an entry lie in its table, and how does it come back whole?

use std::sync::Arc;

use super::database::{Connection, Row, Statement, sql};
use super::eviction::gain;
use super::precompute::{Warmed, mark};
use super::vectors::StoredVector;
use super::{Cursor, StoreError, record};
use crate::chat::{EndUser, Entry, Fingerprint, ModelAlias, Namespace, Owner, TenantId, UnixMillis};

/// What a row takes beside its texts: columns of fixed size, indexes, the page's share. Measured on SQLite.
const ROW_BYTES: usize = 640;

/// The most values in one `IN (…)`.
pub(super) const LIST_LENGTH: usize = 256;

/// An entry to be stored.
#[derive(Clone, Debug)]
pub struct NewEntry {
    pub entry: Arc<Entry>,
    /// Who may see it.
    pub owner: Owner,
    /// The vector of its prompt, where that is known already.
    pub vector: Option<StoredVector>,
    /// Who had it bought ahead of time, if anybody.
    pub warmed: Option<Warmed>,
}

/// An entry in the form of its columns, made by the caller's task so that the writer only writes.
pub(super) struct EncodedEntry {
    entry: Arc<Entry>,
    owner: Owner,
    vector: Option<StoredVector>,
    warmed: Option<Warmed>,
    context: Vec<u8>,
    digest: [u8; 32],
    prompt: Option<String>,
    answer: Vec<u8>,
    checksum: [u8; 32],
}

impl EncodedEntry {
    pub(super) fn new(new: NewEntry) -> Result<Self, StoreError> {
        let NewEntry { entry, owner, vector, warmed } = new;
        if [entry.cost_usd, entry.quality].into_iter().flatten().any(|number| !number.is_finite()) {
            // SQLite would store it as absent, and the row would not be what was sealed.
            return Err(StoreError::Unfit { reason: "its cost or quality is not a number" });
        }
        let record::SplitRequest { context, prompt } = record::write_request(&entry.request)?;
        let answer = record::write_answer(&entry.answer, &entry.tags)?;
        let digest = *blake3::hash(&context).as_bytes();
        let checksum = checksum(&entry, &owner, &digest, prompt.as_deref(), &answer);
        Ok(Self { entry, owner, vector, warmed, context, digest, prompt, answer, checksum })
    }

    /// Returns the bytes it takes while it waits to be written.
    pub(super) fn weight(&self) -> usize {
        let vector = self.vector.as_ref().map_or(0, StoredVector::size);
        self.context.len() + self.prompt.as_ref().map_or(0, String::len) + self.answer.len() + vector
    }

    /// Stores the entry in place of the one that was under its key. That one's hits stay: they say how much the key
    /// is asked for, whoever wrote the answer.
    #[expect(clippy::too_many_lines, reason = "a third of them bind one column each")]
    pub(super) async fn put(&self, connection: &mut Connection) -> Result<(), StoreError> {
        let Entry { key, tenant, namespace, user, model, provider, limit, .. } = &*self.entry;
        let is_new_context = connection
            .execute(
                sql("INSERT INTO contexts (digest, body, size) VALUES ($1, $2, $3) ON CONFLICT (digest) DO NOTHING")
                    .bind(&self.digest)
                    .bind(self.context.as_slice())
                    .bind(integer(self.context.len())),
            )
            .await?
            > 0;
        let replaced = connection
            .rows(
                sql("DELETE FROM entries WHERE key = $1 RETURNING hits, last_hit, context")
                    .bind(key.as_bytes()),
            )
            .await?;
        let (hits, last_hit): (i64, Option<i64>) = match replaced.first() {
            Some(row) => (row.get("hits")?, row.get("last_hit")?),
            None => (0, None),
        };
        let completion_tokens = self.entry.answer.usage.as_ref().map(|usage| usage.completion_tokens);
        let own = ROW_BYTES
            + self.answer.len()
            + self.prompt.as_ref().map_or(0, String::len)
            + self.vector.as_ref().map_or(0, StoredVector::size);
        // The first entry of a context carries its bytes, the others share it for nothing.
        let freed = own + if is_new_context { self.context.len() } else { 0 };
        let gain = gain(self.entry.cost_usd, completion_tokens, &self.entry.answer.text(), freed);
        let statement = sql(
            "INSERT INTO entries (key, owner, tenant, namespace, end_user, model, provider, answer_model, \
             created_at, expires_at, output_limit, completion_tokens, cost_usd, semantic_key, hits, last_hit, size, \
             gain, worth, checksum, context, prompt, answer, quality) \
             VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14, $15, $16, $17, $18, \
             (SELECT floor FROM eviction) + ($15 + 1) * $18, $19, $20, $21, $22, $23) \
             RETURNING id",
        )
        .bind(key.as_bytes())
        .bind(self.owner.as_bytes())
        .bind(tenant.as_str())
        .bind(namespace.as_str())
        .bind(user.as_ref().map(EndUser::as_str))
        .bind(model.as_str())
        .bind(provider.as_str())
        .bind(self.entry.answer.model.as_str())
        .bind(self.entry.created_at.0)
        .bind(self.entry.expires_at.0)
        .bind(limit.map(i64::from))
        .bind(completion_tokens.map(integer))
        .bind(self.entry.cost_usd)
        .bind(self.entry.semantic.as_ref().map(|key| key.as_bytes().as_slice()))
        .bind(hits)
        .bind(last_hit)
        .bind(integer(own))
        .bind(gain)
        .bind(&self.checksum)
        .bind(&self.digest)
        .bind(self.prompt.as_deref())
        .bind(self.answer.as_slice())
        .bind(self.entry.quality);
        let id: i64 = only(&connection.rows(statement).await?)?.get("id")?;
        for tag in &self.entry.tags {
            connection
                .execute(
                    sql("INSERT INTO tags (entry, tag) VALUES ($1, $2) ON CONFLICT DO NOTHING")
                        .bind(id)
                        .bind(tag.as_str()),
                )
                .await?;
        }
        if let Some(vector) = &self.vector {
            vector.insert(connection, id).await?;
        }
        if let Some(warmed) = &self.warmed {
            let Entry { key, created_at, cost_usd, .. } = &*self.entry;
            connection.execute(mark(key, warmed, *created_at, *cost_usd, hits)).await?;
        }
        remove_unused_contexts(connection, &replaced).await.map(drop)
    }
}

/// Begins a query for whole entries, which [`read_entry`] understands.
macro_rules! select_entries {
    ($rest:literal) => {
        concat!(
            "SELECT e.id, e.key, e.owner, e.tenant, e.namespace, e.end_user, e.model, e.provider, e.created_at, \
             e.expires_at, e.output_limit, e.cost_usd, e.quality, e.semantic_key, e.checksum, e.context, e.prompt, e.answer, c.body \
             FROM entries e JOIN contexts c ON c.digest = e.context ",
            $rest
        )
    };
}
pub(super) use select_entries;

/// Returns the query for the entries of these keys.
pub(super) fn by_keys(keys: &[Fingerprint]) -> Statement {
    if let [key] = keys {
        return sql(select_entries!("WHERE e.key = $1")).bind(key.as_bytes());
    }
    let mut statement = sql(select_entries!("WHERE e.key IN "));
    statement.push_list(keys.iter().map(Fingerprint::as_bytes));
    statement
}

/// Returns the query for the keys of all entries, in the order in which they were written.
pub(super) fn keys_of_entries(after: Cursor, limit: u32) -> Statement {
    sql("SELECT id AS place, key FROM entries WHERE id > $1 ORDER BY id LIMIT $2")
        .bind(after.0)
        .bind(i64::from(limit))
}

/// What a row turned out to be.
pub(super) enum Stored {
    Sound(Box<Entry>),
    /// Its bytes are not those that were written.
    Damaged(Fingerprint),
}

/// Reads a row of [`select_entries`]. SQLite does not notice a bit that flipped on the disk; the checksum does.
pub(super) fn read_entry(row: &Row) -> Result<Stored, StoreError> {
    let key: Fingerprint = row.digest("key")?;
    let (context, answer): (Vec<u8>, Vec<u8>) = (row.get("body")?, row.get("answer")?);
    let prompt: Option<String> = row.get("prompt")?;
    let digest = *blake3::hash(&context).as_bytes();
    let Some(request) = record::read_request(&context, prompt.clone()) else {
        return Ok(Stored::Damaged(key));
    };
    let Some((response, tags)) = record::read_answer(&answer) else { return Ok(Stored::Damaged(key)) };
    let entry = Entry {
        key,
        tenant: TenantId::new(row.get::<String>("tenant")?),
        namespace: Namespace::new(row.get::<String>("namespace")?),
        user: row.get::<Option<String>>("end_user")?.map(EndUser::new),
        model: ModelAlias::new(row.get::<String>("model")?),
        request: Arc::new(request),
        answer: Arc::new(response),
        provider: row.get("provider")?,
        limit: row.get::<Option<i64>>("output_limit")?.and_then(|limit| u32::try_from(limit).ok()),
        created_at: UnixMillis(row.get("created_at")?),
        expires_at: UnixMillis(row.get("expires_at")?),
        cost_usd: row.get("cost_usd")?,
        quality: row.get("quality")?,
        tags,
        semantic: row.optional_digest("semantic_key")?,
    };
    let owner = row.digest("owner")?;
    let sum: Vec<u8> = row.get("checksum")?;
    if sum == checksum(&entry, &owner, &digest, prompt.as_deref(), &answer) {
        Ok(Stored::Sound(Box::new(entry)))
    } else {
        Ok(Stored::Damaged(key))
    }
}

/// Returns the digest of all that a row says and no write ever changes.
fn checksum(
    entry: &Entry,
    owner: &Owner,
    context: &[u8; 32],
    prompt: Option<&str>,
    answer: &[u8],
) -> [u8; 32] {
    let Entry {
        key,
        tenant,
        namespace,
        user,
        model,
        request: _, // In `context` and `prompt`.
        answer: _,  // In the parameter of this name, with the tags.
        provider,
        limit,
        created_at,
        expires_at,
        cost_usd,
        quality,
        tags: _,
        semantic,
    } = entry;
    let mut hasher = blake3::Hasher::new_derive_key("refrain stored entry");
    let mut feed = |bytes: &[u8]| {
        hasher.update(&(bytes.len() as u64).to_le_bytes());
        hasher.update(bytes);
    };
    feed(key.as_bytes());
    feed(owner.as_bytes());
    for text in [tenant.as_str(), namespace.as_str(), model.as_str(), provider] {
        feed(text.as_bytes());
    }
    for text in [user.as_ref().map(EndUser::as_str), prompt] {
        feed(&[u8::from(text.is_some())]);
        feed(text.unwrap_or("").as_bytes());
    }
    feed(&created_at.0.to_le_bytes());
    feed(&expires_at.0.to_le_bytes());
    feed(&limit.map_or([0xff; 8], |limit| u64::from(limit).to_le_bytes()));
    feed(&cost_usd.map_or([0xff; 8], |cost| cost.to_bits().to_le_bytes()));
    // Entries of before have none, and the digest that was made without it.
    if let Some(quality) = quality {
        feed(&quality.to_bits().to_le_bytes());
    }
    feed(semantic.as_ref().map_or(b"".as_slice(), |key| key.as_bytes()));
    feed(context);
    feed(answer);
    *hasher.finalize().as_bytes()
}

/// What was removed.
#[derive(Debug, Default)]
pub(super) struct Removed {
    pub(super) keys: Vec<Fingerprint>,
    /// What they took, the contexts with it that nobody shares any more.
    pub(super) bytes: i64,
}

/// Removes entries with all that hangs on them.
pub(super) async fn remove_entries(connection: &mut Connection, ids: &[i64]) -> Result<Removed, StoreError> {
    if ids.is_empty() {
        return Ok(Removed::default());
    }
    let mut statement = sql("DELETE FROM entries WHERE id IN ");
    statement.push_list(ids.iter().copied());
    statement.push(" RETURNING key, context, size");
    let rows = connection.rows(statement).await?;
    let keys = rows.iter().map(|row| row.digest("key")).collect::<Result<_, _>>()?;
    let bytes = sum_of_sizes(&rows)? + remove_unused_contexts(connection, &rows).await?;
    Ok(Removed { keys, bytes })
}

fn sum_of_sizes(rows: &[Row]) -> Result<i64, StoreError> {
    rows.iter().map(|row| row.get::<i64>("size")).sum()
}

/// Removes the entries of these keys, and returns those that were there.
pub(super) async fn remove_keys(
    connection: &mut Connection,
    keys: &[Fingerprint],
) -> Result<Vec<Fingerprint>, StoreError> {
    let mut removed = Vec::new();
    for some in keys.chunks(LIST_LENGTH) {
        let mut statement = sql("SELECT id FROM entries WHERE key IN ");
        statement.push_list(some.iter().map(Fingerprint::as_bytes));
        let ids = ids(&connection.rows(statement).await?)?;
        removed.extend(remove_entries(connection, &ids).await?.keys);
    }
    Ok(removed)
}

/// Returns the column `id` of every row.
pub(super) fn ids(rows: &[Row]) -> Result<Vec<i64>, StoreError> {
    rows.iter().map(|row| row.get("id")).collect()
}

/// Removes those contexts of entries just removed that no other entry shares, and returns what they took.
async fn remove_unused_contexts(connection: &mut Connection, removed: &[Row]) -> Result<i64, StoreError> {
    if removed.is_empty() {
        return Ok(0);
    }
    let contexts: Vec<Vec<u8>> = removed.iter().map(|row| row.get("context")).collect::<Result<_, _>>()?;
    let mut statement = sql("DELETE FROM contexts WHERE digest IN ");
    statement.push_list(contexts.iter().map(Vec::as_slice));
    statement.push(" AND NOT EXISTS (SELECT 1 FROM entries WHERE context = digest) RETURNING size");
    sum_of_sizes(&connection.rows(statement).await?)
}

/// Hits of one entry since they were last written down.
#[derive(Clone, Copy, Debug)]
pub struct Touch {
    pub key: Fingerprint,
    pub hits: u32,
    pub last_hit: UnixMillis,
}

/// Adds hits to an entry, if it is still there.
pub(super) async fn touch(connection: &mut Connection, touch: &Touch) -> Result<(), StoreError> {
    let statement = sql("UPDATE entries SET hits = hits + $2, \
         last_hit = CASE WHEN last_hit > $3 THEN last_hit ELSE $3 END, \
         worth = (SELECT floor FROM eviction) + (hits + $2 + 1) * gain WHERE key = $1")
    .bind(touch.key.as_bytes())
    .bind(i64::from(touch.hits))
    .bind(touch.last_hit.0);
    connection.execute(statement).await.map(drop)
}

/// Returns the one row of a query that has one.
pub(super) fn only(rows: &[Row]) -> Result<&Row, StoreError> {
    rows.first().ok_or(StoreError::Unfit { reason: "a query that always has a row had none" })
}

/// Returns a count as the databases' integer.
pub(super) fn integer(count: impl TryInto<i64>) -> i64 {
    count.try_into().unwrap_or(i64::MAX)
}
