//! Somebody says that an answer was wrong.

use super::Gateway;
use crate::chat::{Fingerprint, TenantId};
use crate::store::StoreError;

/// What the feedback is about.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum About {
    /// A request, by the id that its answer carried.
    Request(String),
    /// A request, by its key.
    Key(Fingerprint),
    /// An entry.
    Entry(Fingerprint),
}

/// What is said.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    Wrong,
    Right,
}

/// What was done about it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Removed {
    pub removed: u64,
    /// Whether the two prompts will never match again.
    pub pair_blocked: bool,
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

impl Gateway {
    /// Acts on feedback: the entry that answered goes, and if it was another request's, the two never match again.
    /// After a miss, the entry that the request itself wrote goes. With a tenant, only what is its own is touched.
    ///
    /// # Errors
    /// [`FeedbackError`]; for `Unknown` and `Unsupported` nothing was changed.
    pub async fn feedback(
        &self,
        tenant: Option<&TenantId>,
        about: About,
        verdict: Verdict,
    ) -> Result<Removed, FeedbackError> {
        if verdict == Verdict::Right {
            return Err(FeedbackError::Unsupported(
                "the verdict `right` is not supported in this version; send `wrong`",
            ));
        }
        let is_request = matches!(about, About::Request(_));
        let (request, entry) = match about {
            About::Request(id) => {
                let default = TenantId::new("default");
                let found = self.cache.recall_request(tenant.unwrap_or(&default), &id).await?;
                match found.ok_or(FeedbackError::Unknown)? {
                    (request, Some(entry)) => (Some(request), entry),
                    // Its answer was not stored, so there is nothing to take away.
                    (_, None) => return Ok(Removed { removed: 0, pair_blocked: false }),
                }
            }
            About::Key(key) => (Some(key), key),
            About::Entry(key) => (None, key),
        };
        let stored = self.cache.entry(&entry).await?;
        let is_foreign = stored.as_ref().zip(tenant).is_some_and(|(stored, tenant)| stored.tenant != *tenant);
        if is_foreign {
            return Err(FeedbackError::Unknown);
        }
        let pair = request.filter(|request| *request != entry);
        if let Some(request) = pair {
            self.cache.block_pair(request, entry).await?;
        }
        let removed = self.cache.remove(&[entry], "feedback").await?;
        if removed == 0 && pair.is_none() && !is_request {
            return Err(FeedbackError::Unknown);
        }
        Ok(Removed { removed, pair_blocked: pair.is_some() })
    }
}
