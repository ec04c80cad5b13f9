//! Which generations go on without their callers, and what came of them?
//!
//! A job is queued, then running under the process that claimed it, then done, failed or cancelled. Each step is one
//! statement that names the step before it, so of two who want to take it one finds nothing to change: a job is claimed
//! by one process, and ends once. It lives until it expires, over or not.

use std::fmt;
use std::sync::Arc;

use uuid::Uuid;

use super::database::{Row, Statement, sql};
use super::job_record::{read_job_request, write_job_request};
use super::job_writes::{JobWrite, TakenJob};
use super::writer::{Write, Written};
use super::{READ_TIMEOUT, SCAN_TIMEOUT, Store, StoreError, unsigned};
use crate::chat::{ChatRequest, Directives, TenantId, UnixMillis};

/// The name of a job: 122 random bits, so that nobody meets another's by chance. It opens nothing without the tenant.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct JobId(Uuid);

impl JobId {
    /// Returns a name that was never given.
    pub fn random() -> Self {
        Self(Uuid::new_v4())
    }

    /// Parses a UUID; `None` for anything else.
    pub fn parse(text: &str) -> Option<Self> {
        Uuid::try_parse(text).ok().map(Self)
    }
}

impl fmt::Display for JobId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.hyphenated().fmt(f)
    }
}

/// How far a job has come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum JobState {
    Queued,
    Running,
    Done,
    Failed,
    Cancelled,
}

impl JobState {
    pub const ALL: [Self; 5] = [Self::Queued, Self::Running, Self::Done, Self::Failed, Self::Cancelled];

    /// Returns the word for it, in the table, to callers and as a label.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Queued => "queued",
            Self::Running => "running",
            Self::Done => "done",
            Self::Failed => "failed",
            Self::Cancelled => "cancelled",
        }
    }

    /// Returns whether nothing more will come of it.
    pub const fn is_over(self) -> bool {
        match self {
            Self::Queued | Self::Running => false,
            Self::Done | Self::Failed | Self::Cancelled => true,
        }
    }

    pub(super) fn of(row: &Row) -> Result<Self, StoreError> {
        let name: String = row.get("state")?;
        let known = Self::ALL.into_iter().find(|state| state.name() == name);
        known.ok_or(StoreError::Unfit { reason: "a job's state is not known" })
    }
}

/// What a job is to ask: all that decides over the answer, and for whose eyes it is.
#[derive(Clone, Debug, PartialEq)]
pub struct JobRequest {
    /// Kept without marks for a vendor's cache: they are for a call that follows at once.
    pub request: ChatRequest,
    pub directives: Directives,
    /// The caller's name for it, by which it may later give feedback.
    pub request_id: Arc<str>,
    /// Whether the answer may show keys and similarities.
    pub sees_internals: bool,
}

/// A job to be kept.
#[derive(Clone, Debug)]
pub struct NewJob {
    pub id: JobId,
    pub request: JobRequest,
    /// The configured name of whoever is to be told of its end.
    pub webhook: Option<String>,
    pub created_at: UnixMillis,
    pub expires_at: UnixMillis,
}

/// A job as its tenant sees it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StoredJob {
    pub id: JobId,
    pub state: JobState,
    pub created_at: UnixMillis,
    pub updated_at: UnixMillis,
    pub expires_at: UnixMillis,
    /// What came of it, as it was written by [`Store::finish_job`].
    pub result: Option<Vec<u8>>,
}

/// A job that was handed to a process to run.
#[derive(Clone, Debug, PartialEq)]
pub struct ClaimedJob {
    pub id: JobId,
    /// `None` if it is not in a form we know.
    pub request: Option<JobRequest>,
    pub webhook: Option<String>,
}

/// How a job ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum JobEnd {
    /// With this answer, in JSON.
    Done(Vec<u8>),
    /// With this error, in JSON.
    Failed(Vec<u8>),
}

impl JobEnd {
    /// Returns the state that it leaves a job in.
    pub const fn state(&self) -> JobState {
        match self {
            Self::Done(_) => JobState::Done,
            Self::Failed(_) => JobState::Failed,
        }
    }
}

impl Store {
    /// Queues a job unless so many of its tenant are queued or running, and returns whether it did. Returns after the
    /// commit.
    pub async fn add_job(&self, new: NewJob, queue: u32) -> Result<bool, StoreError> {
        let NewJob { id, request, webhook, created_at, expires_at } = new;
        let tenant = request.directives.tenant.clone();
        let request = write_job_request(request)?;
        let room = self.room(request.len())?;
        let add = JobWrite::Add { id, tenant, request, webhook, created_at, expires_at, queue };
        self.write_in(Write::Job(add), Some(room)).await.map(|written| written.rows > 0)
    }

    /// Returns a tenant's job that has not expired. One that runs does not expire before it ends.
    pub async fn job(
        &self,
        tenant: &TenantId,
        id: JobId,
        now: UnixMillis,
    ) -> Result<Option<StoredJob>, StoreError> {
        let rows = self.read(job(tenant, id, now), READ_TIMEOUT).await?;
        rows.first().map(|row| read_job(id, row)).transpose()
    }

    /// Hands a queued job to `owner`: of the tenant with the fewest jobs running, the oldest, so that nobody's thousand
    /// jobs keep another's one from being run. Returns `None` where none is queued, or another process was faster.
    pub async fn claim_job(&self, owner: &str, now: UnixMillis) -> Result<Option<ClaimedJob>, StoreError> {
        let claimed = self.write_job(JobWrite::Claim { owner: owner.to_owned(), now }).await?;
        Ok(claimed.job.map(|TakenJob { id, request, webhook }| ClaimedJob {
            id,
            request: request.and_then(|request| read_job_request(&request)),
            webhook,
        }))
    }

    /// Returns whether a job still runs under this owner.
    pub async fn owns_job(&self, id: JobId, owner: &str) -> Result<bool, StoreError> {
        let query = sql("SELECT id FROM jobs WHERE id = $1 AND state = 'running' AND owner = $2");
        let rows = self.read(query.bind(id.to_string().as_str()).bind(owner), READ_TIMEOUT).await?;
        Ok(!rows.is_empty())
    }

    /// Ends a job that runs under this owner, and returns whether it did: not where it was cancelled, or handed to
    /// another process meanwhile.
    pub async fn finish_job(
        &self,
        id: JobId,
        owner: &str,
        end: JobEnd,
        now: UnixMillis,
        expires_at: UnixMillis,
    ) -> Result<bool, StoreError> {
        let (JobEnd::Done(result) | JobEnd::Failed(result)) = &end;
        let room = self.room(result.len())?;
        let finish = JobWrite::Finish { id, owner: owner.to_owned(), end, now, expires_at };
        self.write_in(Write::Job(finish), Some(room)).await.map(|written| written.rows > 0)
    }

    /// Puts a job that runs under this owner back into the queue, and returns whether it did.
    pub async fn release_job(&self, id: JobId, owner: &str, now: UnixMillis) -> Result<bool, StoreError> {
        let release = JobWrite::Release { id, owner: owner.to_owned(), now };
        self.write_job(release).await.map(|written| written.rows > 0)
    }

    /// Puts all jobs that run under another owner back into the queue, and returns how many: those of a process that
    /// ended without putting them back. Where several processes share a database this is too much, since the others may
    /// live; a job is even then completed once, by whoever ends it first.
    pub async fn requeue_jobs_of_others(&self, owner: &str, now: UnixMillis) -> Result<u64, StoreError> {
        let requeue = JobWrite::RequeueOfOthers { owner: owner.to_owned(), now };
        self.write_job(requeue).await.map(|written| written.rows)
    }

    /// Puts those jobs back into the queue that this owner claimed before a moment and does not run, and returns how
    /// many: a claim may be committed too late for its owner to hear of it, and an end may fail to be written.
    pub async fn requeue_lost_jobs(
        &self,
        owner: &str,
        that_run: Vec<JobId>,
        claimed_before: UnixMillis,
        now: UnixMillis,
    ) -> Result<u64, StoreError> {
        let requeue = JobWrite::RequeueLost { owner: owner.to_owned(), that_run, claimed_before, now };
        self.write_job(requeue).await.map(|written| written.rows)
    }

    /// Cancels a tenant's job that is queued or running. Returns the name of its webhook, if it has one; `None` if there
    /// was nothing to cancel.
    pub async fn cancel_job(
        &self,
        tenant: &TenantId,
        id: JobId,
        now: UnixMillis,
        expires_at: UnixMillis,
    ) -> Result<Option<Option<String>>, StoreError> {
        let cancel = JobWrite::Cancel { id, tenant: tenant.clone(), now, expires_at };
        self.write_job(cancel).await.map(|written| written.job.map(|job| job.webhook))
    }

    /// Removes a tenant's job that is done or has failed, and returns whether it was there.
    pub async fn remove_job(&self, tenant: &TenantId, id: JobId) -> Result<bool, StoreError> {
        let remove = JobWrite::Remove { id, tenant: tenant.clone() };
        self.write_job(remove).await.map(|written| written.rows > 0)
    }

    /// Removes jobs that have expired, and the oldest of those that are over where too many are kept. Returns how many
    /// of them had not been over.
    pub async fn sweep_jobs(&self, now: UnixMillis) -> Result<u64, StoreError> {
        let mut unfinished = 0;
        loop {
            let swept = self.write_job(JobWrite::Sweep { now }).await?;
            unfinished += swept.rows;
            if !swept.has_more {
                return Ok(unfinished);
            }
        }
    }

    /// Returns how many jobs are kept in each state.
    pub async fn count_jobs(&self) -> Result<[(JobState, u64); JobState::ALL.len()], StoreError> {
        let query = sql("SELECT state, count(*) AS jobs FROM jobs GROUP BY state");
        let rows = self.read(query, SCAN_TIMEOUT).await?;
        let mut counts = JobState::ALL.map(|state| (state, 0));
        for row in &rows {
            let state = JobState::of(row)?;
            for (counted, jobs) in &mut counts {
                if *counted == state {
                    *jobs = unsigned(row.get("jobs")?);
                }
            }
        }
        Ok(counts)
    }

    async fn write_job(&self, write: JobWrite) -> Result<Written, StoreError> {
        self.write(Write::Job(write)).await
    }
}

fn job(tenant: &TenantId, id: JobId, now: UnixMillis) -> Statement {
    sql("SELECT state, created_at, updated_at, expires_at, result FROM jobs \
         WHERE id = $1 AND tenant = $2 AND (expires_at > $3 OR state = 'running')")
    .bind(id.to_string().as_str())
    .bind(tenant.as_str())
    .bind(now.0)
}

fn read_job(id: JobId, row: &Row) -> Result<StoredJob, StoreError> {
    Ok(StoredJob {
        id,
        state: JobState::of(row)?,
        created_at: UnixMillis(row.get("created_at")?),
        updated_at: UnixMillis(row.get("updated_at")?),
        expires_at: UnixMillis(row.get("expires_at")?),
        result: row.get("result")?,
    })
}
