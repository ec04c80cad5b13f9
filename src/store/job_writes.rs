//! The steps of a job, each one statement; see `jobs.rs`.

use super::StoreError;
use super::database::{Connection, Row, sql};
use super::jobs::{JobEnd, JobId, JobState};
use super::writer::Written;
use crate::chat::{TenantId, UnixMillis};

/// The most jobs kept that are over, whatever their age: results have no other bound on the room they take.
const KEPT: i64 = 100_000;
/// The most rows that one sweep removes.
const SWEPT: i64 = 1_024;

/// A step to be written.
pub(super) enum JobWrite {
    Add {
        id: JobId,
        tenant: TenantId,
        request: Vec<u8>,
        webhook: Option<String>,
        created_at: UnixMillis,
        expires_at: UnixMillis,
        queue: u32,
    },
    Claim {
        owner: String,
        now: UnixMillis,
    },
    Finish {
        id: JobId,
        owner: String,
        end: JobEnd,
        now: UnixMillis,
        expires_at: UnixMillis,
    },
    Release {
        id: JobId,
        owner: String,
        now: UnixMillis,
    },
    RequeueOfOthers {
        owner: String,
        now: UnixMillis,
    },
    RequeueLost {
        owner: String,
        that_run: Vec<JobId>,
        claimed_before: UnixMillis,
        now: UnixMillis,
    },
    Cancel {
        id: JobId,
        tenant: TenantId,
        now: UnixMillis,
        expires_at: UnixMillis,
    },
    Remove {
        id: JobId,
        tenant: TenantId,
    },
    Sweep {
        now: UnixMillis,
    },
}

/// A job that was claimed or cancelled.
#[derive(Debug)]
pub(super) struct TakenJob {
    pub(super) id: JobId,
    /// What is asked, of one that was claimed.
    pub(super) request: Option<Vec<u8>>,
    pub(super) webhook: Option<String>,
}

impl TakenJob {
    fn read(row: &Row) -> Result<Self, StoreError> {
        let id: String = row.get("id")?;
        let id = JobId::parse(&id).ok_or(StoreError::Unfit { reason: "a job's id is no UUID" })?;
        Ok(Self { id, request: row.get("request")?, webhook: row.get("webhook")? })
    }
}

impl JobWrite {
    pub(super) async fn apply(&self, connection: &mut Connection) -> Result<Written, StoreError> {
        let statement = match self {
            Self::Add { id, tenant, request, webhook, created_at, expires_at, queue } => sql(
                "INSERT INTO jobs (id, tenant, state, request, webhook, created_at, updated_at, expires_at) \
                     SELECT $1, $2, 'queued', $3, $4, $5, $5, $6 WHERE $7 > (SELECT count(*) FROM jobs \
                     WHERE tenant = $2 AND state IN ('queued', 'running') AND expires_at > $5)",
            )
            .bind(id.to_string().as_str())
            .bind(tenant.as_str())
            .bind(request.as_slice())
            .bind(webhook.as_deref())
            .bind(created_at.0)
            .bind(expires_at.0)
            .bind(i64::from(*queue)),
            Self::Claim { owner, now } => return claim(connection, owner, *now).await,
            Self::Finish { id, owner, end, now, expires_at } => {
                let (JobEnd::Done(result) | JobEnd::Failed(result)) = end;
                sql(
                    "UPDATE jobs SET state = $1, result = $2, owner = NULL, request = NULL, updated_at = $3, \
                     expires_at = $4 WHERE id = $5 AND state = 'running' AND owner = $6",
                )
                .bind(end.state().name())
                .bind(result.as_slice())
                .bind(now.0)
                .bind(expires_at.0)
                .bind(id.to_string().as_str())
                .bind(owner.as_str())
            }
            Self::Release { id, owner, now } => {
                sql("UPDATE jobs SET state = 'queued', owner = NULL, updated_at = $1 \
                     WHERE id = $2 AND state = 'running' AND owner = $3")
                .bind(now.0)
                .bind(id.to_string().as_str())
                .bind(owner.as_str())
            }
            Self::RequeueOfOthers { owner, now } => {
                sql("UPDATE jobs SET state = 'queued', owner = NULL, updated_at = $1 \
                     WHERE state = 'running' AND owner <> $2")
                .bind(now.0)
                .bind(owner.as_str())
            }
            Self::RequeueLost { owner, that_run, claimed_before, now } => {
                let mut statement = sql("UPDATE jobs SET state = 'queued', owner = NULL, updated_at = $1 \
                     WHERE state = 'running' AND owner = $2 AND updated_at < $3")
                .bind(now.0)
                .bind(owner.as_str())
                .bind(claimed_before.0);
                if !that_run.is_empty() {
                    statement.push(" AND id NOT IN ");
                    let ids: Vec<_> = that_run.iter().map(JobId::to_string).collect();
                    statement.push_list(ids.iter().map(String::as_str));
                }
                statement
            }
            Self::Cancel { id, tenant, now, expires_at } => {
                return cancel(connection, *id, tenant, *now, *expires_at).await;
            }
            Self::Remove { id, tenant } => {
                sql("DELETE FROM jobs WHERE id = $1 AND tenant = $2 AND state IN ('done', 'failed')")
                    .bind(id.to_string().as_str())
                    .bind(tenant.as_str())
            }
            Self::Sweep { now } => return sweep(connection, *now).await,
        };
        Ok(Written { rows: connection.execute(statement).await?, ..Written::default() })
    }
}

/// The state is asked for once more beside the choice, since another process may have made the same one.
async fn claim(connection: &mut Connection, owner: &str, now: UnixMillis) -> Result<Written, StoreError> {
    let statement = sql("UPDATE jobs SET state = 'running', owner = $1, updated_at = $2 \
         WHERE state = 'queued' AND id = (SELECT id FROM jobs AS waiting \
         WHERE waiting.state = 'queued' AND waiting.expires_at > $2 \
         ORDER BY (SELECT count(*) FROM jobs AS busy WHERE busy.tenant = waiting.tenant AND busy.state = 'running'), \
         waiting.created_at, waiting.id LIMIT 1) \
         RETURNING id, request, webhook")
    .bind(owner)
    .bind(now.0);
    let rows = connection.rows(statement).await?;
    Ok(Written { job: rows.first().map(TakenJob::read).transpose()?, ..Written::default() })
}

async fn cancel(
    connection: &mut Connection,
    id: JobId,
    tenant: &TenantId,
    now: UnixMillis,
    expires_at: UnixMillis,
) -> Result<Written, StoreError> {
    let statement = sql("UPDATE jobs SET state = 'cancelled', owner = NULL, request = NULL, updated_at = $1, \
         expires_at = $2 WHERE id = $3 AND tenant = $4 AND (state = 'running' OR (state = 'queued' AND expires_at > $1)) \
         RETURNING id, request, webhook")
    .bind(now.0)
    .bind(expires_at.0)
    .bind(id.to_string().as_str())
    .bind(tenant.as_str());
    let rows = connection.rows(statement).await?;
    Ok(Written { job: rows.first().map(TakenJob::read).transpose()?, ..Written::default() })
}

/// Removes some of what is too old or too much, and counts as rows those that were not over.
async fn sweep(connection: &mut Connection, now: UnixMillis) -> Result<Written, StoreError> {
    let too_many = sql("SELECT expires_at FROM jobs ORDER BY expires_at DESC LIMIT 1 OFFSET $1").bind(KEPT);
    let too_many: Option<i64> =
        connection.rows(too_many).await?.first().map(|row| row.get("expires_at")).transpose()?;
    let statement = sql("DELETE FROM jobs WHERE id IN (SELECT id FROM jobs \
         WHERE (expires_at <= $1 AND state <> 'running') OR (expires_at <= $2 AND state IN ('done', 'failed', 'cancelled')) ORDER BY expires_at LIMIT $3) \
         RETURNING state")
    .bind(now.0)
    .bind(too_many.unwrap_or(i64::MIN))
    .bind(SWEPT);
    let swept = connection.rows(statement).await?;
    let states = swept.iter().map(JobState::of).collect::<Result<Vec<_>, _>>()?;
    let unfinished = states.iter().filter(|state| !state.is_over()).count();
    Ok(Written { rows: unfinished as u64, has_more: states.len() as i64 >= SWEPT, ..Written::default() })
}
