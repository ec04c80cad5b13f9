//! Who buys answers ahead of time, what came of it, and was it worth it?

use std::collections::HashMap;
use std::sync::Arc;

use super::database::{Connection, Row, Statement, sql};
use super::entries::LIST_LENGTH;
use super::writer::Write;
use super::{READ_TIMEOUT, SCAN_TIMEOUT, Store, StoreError};
use crate::chat::{Fingerprint, TenantId, UnixMillis};

/// That an entry was bought ahead of time, written in its own commit: it is there with its mark or not at all.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Warmed {
    /// The run that bought it.
    pub run: Arc<str>,
    /// The template that asked for it.
    pub template: Arc<str>,
}

/// What decides whether an entry need be bought.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Shelf {
    pub expires_at: UnixMillis,
    /// The output limit it was written under.
    pub limit: Option<u32>,
    pub completion_tokens: Option<u64>,
    pub hits: u64,
}

/// A run, as it is kept.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StoredRun {
    pub id: String,
    pub state: String,
    pub began_at: UnixMillis,
    pub updated_at: UnixMillis,
    /// What came of it, as JSON.
    pub report: Vec<u8>,
}

/// What became of the entries that a template had bought.
#[derive(Clone, Debug, PartialEq)]
pub struct WarmedStats {
    pub template: String,
    /// Bought, whether they are still there or not.
    pub bought: u64,
    /// Still there, and hit at least once since.
    pub used: u64,
    /// Hits since, of those that are still there.
    pub hits: u64,
    /// What they cost, where that is known.
    pub spent_usd: f64,
    /// What those hits would have cost.
    pub saved_usd: f64,
}

/// How long it is remembered that an entry was bought ahead of time.
const REMEMBERED_MILLIS: i64 = 90 * 24 * 3_600_000;
/// Runs that are kept.
const RUNS_KEPT: i64 = 100;

/// Something to be written about runs.
pub(super) enum PrecomputeWrite {
    TakeLease { run: String, now: UnixMillis, until: UnixMillis },
    DropLease { run: String },
    ClearLease,
    PutRun(StoredRun),
}

impl Store {
    /// Takes the right to buy ahead of time until a moment, or renews it, and returns whether it is this run's now. It is
    /// another's until that one gives it back or its time is over.
    pub async fn take_lease(
        &self,
        run: &str,
        now: UnixMillis,
        until: UnixMillis,
    ) -> Result<bool, StoreError> {
        let take = PrecomputeWrite::TakeLease { run: run.to_owned(), now, until };
        self.write(Write::Precompute(take)).await.map(|written| written.rows > 0)
    }

    /// Gives the right back, if it is this run's.
    pub async fn drop_lease(&self, run: &str) -> Result<(), StoreError> {
        self.write(Write::Precompute(PrecomputeWrite::DropLease { run: run.to_owned() })).await.map(drop)
    }

    /// Takes the right to buy from whoever had it, where this process alone writes to the store: whoever had it is gone.
    pub async fn clear_lease(&self) -> Result<(), StoreError> {
        if !self.readers.are_of_one_process() {
            return Ok(());
        }
        self.write(Write::Precompute(PrecomputeWrite::ClearLease)).await.map(drop)
    }

    /// Writes down how a run stands. The oldest beyond a hundred go.
    pub async fn put_run(&self, run: StoredRun) -> Result<(), StoreError> {
        self.write(Write::Precompute(PrecomputeWrite::PutRun(run))).await.map(drop)
    }

    /// Returns a run.
    pub async fn precompute_run(&self, id: &str) -> Result<Option<StoredRun>, StoreError> {
        let one = sql("SELECT id, state, began_at, updated_at, report FROM precompute_runs WHERE id = $1");
        self.read(one.bind(id), READ_TIMEOUT).await?.first().map(read_run).transpose()
    }

    /// Returns the last runs, the newest first.
    pub async fn precompute_runs(&self, limit: u32) -> Result<Vec<StoredRun>, StoreError> {
        let last = sql("SELECT id, state, began_at, updated_at, report FROM precompute_runs \
             ORDER BY began_at DESC, id LIMIT $1");
        self.read(last.bind(i64::from(limit)), READ_TIMEOUT).await?.iter().map(read_run).collect()
    }

    /// Returns the keys of a tenant's entries that were hit since one moment and expire before another, those first whose
    /// hits saved the most.
    pub async fn asked_most(
        &self,
        tenant: &TenantId,
        hit_since: UnixMillis,
        expires_before: UnixMillis,
        limit: u32,
    ) -> Result<Vec<Fingerprint>, StoreError> {
        // Where the cost is not known, the number of hits decides among those.
        let query = sql("SELECT key FROM entries WHERE tenant = $1 AND last_hit >= $2 AND expires_at < $3 \
             ORDER BY hits * coalesce(cost_usd, 0.001) DESC, hits DESC, id LIMIT $4")
        .bind(tenant.as_str())
        .bind(hit_since.0)
        .bind(expires_before.0)
        .bind(i64::from(limit));
        self.read(query, SCAN_TIMEOUT).await?.iter().map(|row| row.digest("key")).collect()
    }

    /// Returns of these keys what decides whether they need be bought; those without an entry are left out.
    pub async fn shelves(&self, keys: &[Fingerprint]) -> Result<HashMap<Fingerprint, Shelf>, StoreError> {
        let mut found = HashMap::with_capacity(keys.len());
        for some in keys.chunks(LIST_LENGTH) {
            let mut query = sql(
                "SELECT key, expires_at, output_limit, completion_tokens, hits FROM entries WHERE key IN ",
            );
            query.push_list(some.iter().map(Fingerprint::as_bytes));
            for row in &self.read(query, SCAN_TIMEOUT).await? {
                found.insert(row.digest("key")?, read_shelf(row)?);
            }
        }
        Ok(found)
    }

    /// Returns for every template what became of what it had bought, by name.
    pub async fn warmed(&self) -> Result<Vec<WarmedStats>, StoreError> {
        let query = sql("SELECT w.template, count(*) AS bought, \
             count(CASE WHEN e.hits > w.hits_before THEN 1 END) AS used, \
             CAST(coalesce(sum(e.hits - w.hits_before), 0) AS BIGINT) AS hits, \
             coalesce(sum(w.cost_usd), 0.0) AS spent, \
             coalesce(sum((e.hits - w.hits_before) * e.cost_usd), 0.0) AS saved \
             FROM warmed w LEFT JOIN entries e ON e.key = w.key GROUP BY w.template ORDER BY w.template");
        self.read(query, SCAN_TIMEOUT).await?.iter().map(read_stats).collect()
    }
}

fn read_run(row: &Row) -> Result<StoredRun, StoreError> {
    Ok(StoredRun {
        id: row.get("id")?,
        state: row.get("state")?,
        began_at: UnixMillis(row.get("began_at")?),
        updated_at: UnixMillis(row.get("updated_at")?),
        report: row.get("report")?,
    })
}

fn read_shelf(row: &Row) -> Result<Shelf, StoreError> {
    let tokens: Option<i64> = row.get("completion_tokens")?;
    Ok(Shelf {
        expires_at: UnixMillis(row.get("expires_at")?),
        limit: row.get::<Option<i64>>("output_limit")?.and_then(|limit| u32::try_from(limit).ok()),
        completion_tokens: tokens.and_then(|tokens| u64::try_from(tokens).ok()),
        hits: u64::try_from(row.get::<i64>("hits")?).unwrap_or(0),
    })
}

fn read_stats(row: &Row) -> Result<WarmedStats, StoreError> {
    let count = |name| Ok::<_, StoreError>(u64::try_from(row.get::<i64>(name)?).unwrap_or(0));
    Ok(WarmedStats {
        template: row.get("template")?,
        bought: count("bought")?,
        used: count("used")?,
        hits: count("hits")?,
        spent_usd: row.get("spent")?,
        saved_usd: row.get("saved")?,
    })
}

/// Marks the entry that is being put under this key.
pub(super) fn mark(
    key: &Fingerprint,
    warmed: &Warmed,
    at: UnixMillis,
    cost_usd: Option<f64>,
    hits: i64,
) -> Statement {
    sql("INSERT INTO warmed (key, run, template, at, cost_usd, hits_before) VALUES ($1, $2, $3, $4, $5, $6) \
         ON CONFLICT (key) DO UPDATE SET run = excluded.run, template = excluded.template, at = excluded.at, \
         cost_usd = excluded.cost_usd, hits_before = excluded.hits_before")
    .bind(key.as_bytes())
    .bind(&*warmed.run)
    .bind(&*warmed.template)
    .bind(at.0)
    .bind(cost_usd)
    .bind(hits)
}

impl PrecomputeWrite {
    /// Returns how many rows it changed.
    pub(super) async fn apply(&self, connection: &mut Connection) -> Result<u64, StoreError> {
        match self {
            Self::TakeLease { run, now, until } => {
                let take = sql("INSERT INTO precompute_lease (id, run, until) VALUES (1, $1, $2) \
                     ON CONFLICT (id) DO UPDATE SET run = excluded.run, until = excluded.until \
                     WHERE precompute_lease.run = excluded.run OR precompute_lease.until <= $3");
                connection.execute(take.bind(run.as_str()).bind(until.0).bind(now.0)).await
            }
            Self::DropLease { run } => {
                connection
                    .execute(sql("DELETE FROM precompute_lease WHERE run = $1").bind(run.as_str()))
                    .await
            }
            Self::ClearLease => connection.execute(sql("DELETE FROM precompute_lease")).await,
            Self::PutRun(run) => {
                let put = sql("INSERT INTO precompute_runs (id, state, began_at, updated_at, report) \
                     VALUES ($1, $2, $3, $4, $5) ON CONFLICT (id) DO UPDATE SET state = excluded.state, \
                     updated_at = excluded.updated_at, report = excluded.report")
                .bind(run.id.as_str())
                .bind(run.state.as_str())
                .bind(run.began_at.0)
                .bind(run.updated_at.0)
                .bind(run.report.as_slice());
                let rows = connection.execute(put).await?;
                let old = sql("DELETE FROM precompute_runs WHERE id IN (SELECT id FROM precompute_runs \
                     ORDER BY began_at DESC, id LIMIT 1000000 OFFSET $1)");
                connection.execute(old.bind(RUNS_KEPT)).await?;
                let forgotten = sql("DELETE FROM warmed WHERE at < $1");
                connection.execute(forgotten.bind(run.updated_at.0 - REMEMBERED_MILLIS)).await?;
                Ok(rows)
            }
        }
    }
}
