//! The sandboxes that listen. One whose settings stay outlives a change of the configuration.

use std::sync::{Mutex, MutexGuard, PoisonError};

use anyhow::Context;
use tokio_util::task::TaskTracker;

use crate::config::{Config, ProviderConfig, ProviderKind, SandboxConfig, Secret};
use crate::http::{Sandbox, Shutdown};

/// Every sandbox of this process.
pub(super) struct Sandboxes {
    listening: Mutex<Vec<Listening>>,
    background: TaskTracker,
}

struct Listening {
    /// The provider's name.
    name: String,
    settings: SandboxConfig,
    base_url: String,
    key: Secret,
    end: Shutdown,
}

impl Listening {
    fn is_of(&self, provider: &ProviderConfig) -> bool {
        provider.kind == ProviderKind::Sandbox
            && (&provider.name, &provider.sandbox) == (&self.name, &self.settings)
    }

    fn reached(&self, provider: &ProviderConfig) -> ProviderConfig {
        ProviderConfig {
            base_url: Some(self.base_url.clone()),
            api_key: Some(self.key.clone()),
            ..provider.clone()
        }
    }
}

impl Sandboxes {
    /// Returns a place for sandboxes, whose listeners run in `background`.
    pub(super) fn new(background: TaskTracker) -> Self {
        Self { listening: Mutex::default(), background }
    }

    /// Returns the provider with the address and the key of its sandbox, which listens from now on.
    pub(super) async fn reach(&self, provider: &ProviderConfig) -> anyhow::Result<ProviderConfig> {
        if let Some(known) = self.listening().iter().find(|known| known.is_of(provider)) {
            return Ok(known.reached(provider));
        }
        let sandbox = Sandbox::bind(provider.sandbox).await.context("the sandbox cannot listen")?;
        let opened = Listening {
            name: provider.name.clone(),
            settings: provider.sandbox,
            base_url: sandbox.base_url(),
            key: sandbox.key(),
            end: Shutdown::default(),
        };
        self.background.spawn(sandbox.serve(opened.end.clone()));
        let reached = opened.reached(provider);
        self.listening().push(opened);
        Ok(reached)
    }

    /// Ends those that are none of this configuration, once they have answered what they were asked.
    pub(super) fn keep(&self, config: &Config) {
        self.listening().retain(|known| {
            let is_kept = config.providers.iter().any(|provider| known.is_of(provider));
            if !is_kept {
                known.end.drain();
            }
            is_kept
        });
    }

    /// Ends all of them at once.
    pub(super) fn cut(&self) {
        self.listening().drain(..).for_each(|known| known.end.cut());
    }

    fn listening(&self) -> MutexGuard<'_, Vec<Listening>> {
        self.listening.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
