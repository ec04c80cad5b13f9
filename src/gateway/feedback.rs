//! Somebody says that an answer was wrong, or right.
//!
//! What is said is about two prompts: the one that was asked, and the one whose answer was served. `wrong` keeps them
//! apart for ever, `right` lets one answer serve both, whatever the layers of the decision say.

use std::sync::Arc;

use super::Gateway;
use crate::chat::{Entry, Fingerprint, TenantId};
use crate::store::{JudgedPair, PairVerdict, RememberedRequest, StoreError};

/// What the feedback is about: a request, an entry, or both.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum About {
    /// A request and the entry that answered it.
    Request(RequestName),
    /// An entry.
    Entry(Fingerprint),
    /// A request and an entry, whatever answered it.
    Pair(RequestName, Fingerprint),
}

/// How a request is named.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum RequestName {
    /// By the id that its answer carried.
    Id(String),
    /// By its key.
    Key(Fingerprint),
}

pub use crate::store::PairVerdict as Verdict;

/// What was done about it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Done {
    pub removed: u64,
    /// Whether the two prompts will never match again.
    pub pair_blocked: bool,
    /// Whether the answer to the one serves the other from now on.
    pub alias: bool,
}

/// Why nothing was done.
#[derive(Debug, thiserror::Error)]
pub enum FeedbackError {
    #[error(
        "nothing is known of it; requests are remembered for 24 hours, and entries until they are removed"
    )]
    Unknown,
    #[error("{0}")]
    Unsupported(&'static str),
    #[error(transparent)]
    Store(#[from] StoreError),
}

/// A request, and what is known of it.
struct Asked {
    key: Fingerprint,
    entry: Option<Fingerprint>,
    prompt: Option<Arc<str>>,
}

impl Gateway {
    /// Acts on feedback. With a tenant, only what is its own is touched.
    ///
    /// `wrong`: the entry that answered goes, and if it was another request's, the two never match again. After a miss,
    /// the entry that the request itself wrote goes. `right`: the answer of the entry serves the request, too.
    ///
    /// # Errors
    /// [`FeedbackError`]; for `Unknown` and `Unsupported` nothing was changed.
    pub async fn feedback(
        &self,
        tenant: Option<&TenantId>,
        about: About,
        verdict: Verdict,
    ) -> Result<Done, FeedbackError> {
        let is_by_id = matches!(about, About::Request(RequestName::Id(_)));
        let (asked, entry) = match about {
            About::Request(name) => {
                let asked = self.asked(tenant, name).await?;
                let entry = asked.entry;
                (Some(asked), entry)
            }
            About::Entry(entry) => (None, Some(entry)),
            About::Pair(name, entry) => (Some(self.asked(tenant, name).await?), Some(entry)),
        };
        let Some(entry) = entry else {
            return match verdict {
                // Its answer was not stored, so there is nothing to take away.
                Verdict::Wrong => Ok(Done::default()),
                Verdict::Right => Err(NO_ENTRY),
            };
        };
        let stored = self.cache.entry(&entry).await?;
        let is_foreign = stored.as_ref().zip(tenant).is_some_and(|(stored, tenant)| stored.tenant != *tenant);
        if is_foreign {
            return Err(FeedbackError::Unknown);
        }
        match verdict {
            Verdict::Wrong => self.part(asked, entry, stored, is_by_id).await,
            Verdict::Right => self.join(asked, stored).await,
        }
    }

    async fn asked(&self, tenant: Option<&TenantId>, name: RequestName) -> Result<Asked, FeedbackError> {
        let id = match name {
            RequestName::Id(id) => id,
            RequestName::Key(key) => return Ok(Asked { key, entry: Some(key), prompt: None }),
        };
        let default = TenantId::new("default");
        let found = self.cache.recall_request(tenant.unwrap_or(&default), &id).await?;
        let RememberedRequest { request_key, entry_key, prompt, at: _ } =
            found.ok_or(FeedbackError::Unknown)?;
        Ok(Asked { key: request_key, entry: entry_key, prompt })
    }

    async fn part(
        &self,
        asked: Option<Asked>,
        entry: Fingerprint,
        stored: Option<Arc<Entry>>,
        is_by_id: bool,
    ) -> Result<Done, FeedbackError> {
        let pair = asked.filter(|asked| asked.key != entry);
        let pair_blocked = pair.is_some();
        if let Some(asked) = pair {
            self.judge(asked, entry, stored.as_deref(), PairVerdict::Wrong).await?;
        }
        let removed = self.cache.remove(&[entry], "feedback").await?;
        if removed == 0 && !pair_blocked && !is_by_id {
            return Err(FeedbackError::Unknown);
        }
        Ok(Done { removed, pair_blocked, alias: false })
    }

    async fn join(&self, asked: Option<Asked>, stored: Option<Arc<Entry>>) -> Result<Done, FeedbackError> {
        let (Some(asked), stored) = (asked, stored.ok_or(FeedbackError::Unknown)?) else {
            return Err(NO_REQUEST);
        };
        if asked.key == stored.key {
            return Err(NO_ENTRY);
        }
        let own = self.cache.entry(&asked.key).await?;
        let is_apart = own.is_some_and(|own| own.semantic != stored.semantic || own.tenant != stored.tenant);
        if is_apart || stored.semantic.is_none() {
            return Err(APART);
        }
        self.judge(asked, stored.key, Some(&stored), PairVerdict::Right).await?;
        Ok(Done { alias: true, ..Done::default() })
    }

    async fn judge(
        &self,
        asked: Asked,
        entry: Fingerprint,
        stored: Option<&Entry>,
        verdict: PairVerdict,
    ) -> Result<(), FeedbackError> {
        let of_entry = |entry: &Entry| entry.request.last_prompt().map(str::to_owned);
        let asked_prompt = match asked.prompt {
            Some(prompt) => Some(prompt.to_string()),
            None => self.cache.entry(&asked.key).await?.as_deref().and_then(of_entry),
        };
        let pair = JudgedPair {
            keys: (asked.key, entry),
            verdict,
            tenant: stored.map(|stored| stored.tenant.clone()),
            asked: asked_prompt,
            stored: stored.and_then(of_entry),
            at: Some(self.cache.now()),
        };
        Ok(self.cache.judge_pair(pair).await?)
    }

    /// Returns everything that was said of pairs, of one tenant or of all.
    ///
    /// # Errors
    /// The store's.
    pub async fn judged_pairs(&self, tenant: Option<&TenantId>) -> Result<Vec<JudgedPair>, StoreError> {
        let mut pairs = self.cache.store().judged_pairs().await?;
        pairs.retain(|pair| tenant.is_none() || pair.tenant.as_ref() == tenant);
        Ok(pairs)
    }
}

const NO_REQUEST: FeedbackError = FeedbackError::Unsupported(
    "`right` is about a request and an entry: name the request too, by `request_id` or `key`",
);
const NO_ENTRY: FeedbackError = FeedbackError::Unsupported(
    "the request was not answered by another's entry: name the `entry` whose answer serves it too",
);
const APART: FeedbackError = FeedbackError::Unsupported(
    "the two differ in more than their last prompt, so the answer to one is never served for the other",
);
