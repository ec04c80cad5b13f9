//! `[jobs]`: generations in the background.

use std::collections::BTreeMap;

use serde::Deserialize;

use super::Secret;

/// Background generations (`Prefer: respond-async` on `/v1/generate`).
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct JobsConfig {
    /// Jobs that run at a time. Default 4.
    pub concurrency: usize,
    /// Jobs of one tenant that wait or run; beyond it a new one is refused with 429. Default 1,000.
    pub queue: u32,
    /// Seconds that a result is kept. Default 86,400 (a day).
    pub result_ttl_seconds: u64,
    /// Where the end of a job may be posted to: a name that callers say in `x-job-webhook`, and the environment variable
    /// with its address. Default: none.
    pub webhooks: BTreeMap<String, String>,
    /// The addresses themselves, read from the variables when the configuration is loaded.
    #[serde(skip)]
    pub webhook_urls: BTreeMap<String, Secret>,
}

impl Default for JobsConfig {
    fn default() -> Self {
        Self {
            concurrency: 4,
            queue: 1_000,
            result_ttl_seconds: 86_400,
            webhooks: BTreeMap::new(),
            webhook_urls: BTreeMap::new(),
        }
    }
}
