//! Who is told of a job's end?
//!
//! Addresses stand in the configuration, and a caller says a name: nobody can have us call where they like. An address
//! is a secret, since many carry a token, and is never logged. Telling is a courtesy: it takes a bounded time beside
//! the work, and a message that does not get through is lost. What is true is told to whoever asks for the job.

use std::collections::BTreeMap;
use std::sync::Arc;

use serde_json::json;
use tokio::sync::Semaphore;
use tokio::time::{Instant, timeout_at};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::config::Secret;
use crate::store::{JobId, JobState};
use crate::transport::Transport;
use crate::webhook;

/// Messages under way at a time; beyond it they are dropped.
const UNDER_WAY: usize = 256;

/// The configured webhooks, by name.
pub struct Webhooks {
    addresses: BTreeMap<String, Secret>,
    transport: Arc<Transport>,
    tasks: TaskTracker,
    room: Arc<Semaphore>,
    give_up: CancellationToken,
}

impl Webhooks {
    /// Knows these addresses.
    pub fn new(addresses: BTreeMap<String, Secret>) -> Self {
        Self {
            addresses,
            transport: Arc::new(Transport::new()),
            tasks: TaskTracker::new(),
            room: Arc::new(Semaphore::new(UNDER_WAY)),
            give_up: CancellationToken::new(),
        }
    }

    /// Returns whether there is one of this name.
    pub fn knows(&self, name: &str) -> bool {
        self.addresses.contains_key(name)
    }

    /// Returns every name.
    pub fn names(&self) -> Vec<String> {
        self.addresses.keys().cloned().collect()
    }

    /// Tells the one of this name how a job ended, without waiting.
    pub(super) fn tell(&self, name: Option<&str>, id: JobId, state: JobState) {
        let Some(name) = name else { return };
        let Some(address) = self.addresses.get(name) else {
            tracing::warn!(job = %id, webhook = name, "the webhook of a job is not configured any more");
            return;
        };
        let Ok(room) = Arc::clone(&self.room).try_acquire_owned() else {
            tracing::warn!(job = %id, webhook = name, "too many messages are under way; this one is dropped");
            return;
        };
        let body = json!({"id": id.to_string(), "status": state.name()}).to_string();
        let (transport, address, name) = (Arc::clone(&self.transport), address.clone(), name.to_owned());
        let give_up = self.give_up.clone();
        self.tasks.spawn(async move {
            let _room = room;
            let sent = give_up.run_until_cancelled(webhook::post(&transport, &address, body)).await;
            if let Some(Err(error)) = sent {
                tracing::warn!(job = %id, webhook = name, %error, "a webhook cannot be told of a job's end");
            }
        });
    }

    /// Lets messages under way get through until `deadline`, and drops the rest.
    pub(super) async fn close(&self, deadline: Instant) {
        self.tasks.close();
        if timeout_at(deadline, self.tasks.wait()).await.is_err() {
            self.give_up.cancel();
            self.tasks.wait().await;
        }
    }
}
