//! Which prompts did somebody say may share an answer, and which never?

use std::time::Duration;

use super::database::{Connection, Row, sql};
use super::writer::Write;
use super::{SCAN_TIMEOUT, Store, StoreError};
use crate::chat::{Fingerprint, TenantId, UnixMillis};

/// What somebody said of two requests.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PairVerdict {
    /// One answer serves both.
    Right,
    /// They must never answer each other.
    Wrong,
}

impl PairVerdict {
    /// Returns the word for it.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Right => "right",
            Self::Wrong => "wrong",
        }
    }
}

/// Two requests that somebody judged.
#[derive(Clone, PartialEq, Eq)]
pub struct JudgedPair {
    /// The keys, in either order.
    pub keys: (Fingerprint, Fingerprint),
    pub verdict: PairVerdict,
    /// Whose they are; `None` for those of older versions, as with all that follow.
    pub tenant: Option<TenantId>,
    /// What was asked, and the prompt whose answer was served, where they are known.
    pub asked: Option<String>,
    pub stored: Option<String>,
    pub at: Option<UnixMillis>,
}

/// Prompts may not reach a log.
impl std::fmt::Debug for JudgedPair {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Self { keys, verdict, .. } = self;
        f.debug_struct("JudgedPair").field("keys", keys).field("verdict", verdict).finish_non_exhaustive()
    }
}

/// How long reading all of them may take.
const PATIENCE: Duration = SCAN_TIMEOUT;

impl Store {
    /// Keeps what was said of a pair, for ever; the last verdict counts.
    pub async fn judge_pair(&self, pair: JudgedPair) -> Result<(), StoreError> {
        self.write(Write::JudgePair(Box::new(pair))).await.map(drop)
    }

    /// Returns all judged pairs, each once, the smaller key first.
    pub async fn judged_pairs(&self) -> Result<Vec<JudgedPair>, StoreError> {
        let all = sql("SELECT smaller, larger, verdict, tenant, asked, stored, at FROM judged_pairs \
             ORDER BY at, smaller, larger");
        self.read(all, PATIENCE).await?.iter().map(read_pair).collect()
    }
}

fn read_pair(row: &Row) -> Result<JudgedPair, StoreError> {
    let verdict: String = row.get("verdict")?;
    Ok(JudgedPair {
        keys: (row.digest("smaller")?, row.digest("larger")?),
        // What is not known to be right is not served.
        verdict: if verdict == PairVerdict::Right.name() { PairVerdict::Right } else { PairVerdict::Wrong },
        tenant: row.get::<Option<String>>("tenant")?.map(TenantId::new),
        asked: row.get("asked")?,
        stored: row.get("stored")?,
        at: row.get::<Option<i64>>("at")?.map(UnixMillis),
    })
}

/// Writes what was said of a pair over what was said before. What is not known now does not take away what was known.
pub(super) async fn put_judged_pair(
    connection: &mut Connection,
    pair: &JudgedPair,
) -> Result<(), StoreError> {
    let (one, other) = pair.keys;
    let (smaller, larger) = if one <= other { (one, other) } else { (other, one) };
    let statement = sql("INSERT INTO judged_pairs (smaller, larger, verdict, tenant, asked, stored, at) \
         VALUES ($1, $2, $3, $4, $5, $6, $7) ON CONFLICT (smaller, larger) DO UPDATE SET \
         verdict = excluded.verdict, tenant = coalesce(excluded.tenant, judged_pairs.tenant), \
         asked = coalesce(excluded.asked, judged_pairs.asked), \
         stored = coalesce(excluded.stored, judged_pairs.stored), at = excluded.at")
    .bind(smaller.as_bytes())
    .bind(larger.as_bytes())
    .bind(pair.verdict.name())
    .bind(pair.tenant.as_ref().map(TenantId::as_str))
    .bind(pair.asked.as_deref())
    .bind(pair.stored.as_deref())
    .bind(pair.at.map(|at| at.0));
    connection.execute(statement).await.map(drop)
}
