//! One configured upstream.

use std::collections::HashSet;
use std::sync::{Arc, PoisonError, RwLock};

use super::Step;
use crate::config::{ModelConfig, ProviderConfig, ProviderKind, Timeouts};
use crate::cost::Tariff;
use crate::providers::Provider;

/// A vendor's protocol at an address, with what is configured and what was learned of it.
pub struct Upstream {
    pub name: String,
    pub kind: ProviderKind,
    pub provider: Arc<dyn Provider>,
    /// The models it may be asked for; `None` for any.
    pub models: Option<Vec<ModelConfig>>,
    pub timeouts: Timeouts,
    /// What its models cost. A price is looked up when an answer is there: names are resolved for hits, too.
    pub(super) tariff: Tariff,
    /// Models that said they cannot stream.
    whole_only: RwLock<HashSet<String>>,
}

impl std::fmt::Debug for Upstream {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Upstream").field("name", &self.name).finish_non_exhaustive()
    }
}

impl Upstream {
    /// Puts configuration and knowledge of the vendor together.
    pub fn new(config: &ProviderConfig, provider: Arc<dyn Provider>) -> Self {
        Self {
            name: config.name.clone(),
            kind: config.kind,
            provider,
            models: config.models.clone(),
            timeouts: config.timeouts,
            tariff: Tariff::of(config),
            whole_only: RwLock::default(),
        }
    }

    /// Returns what is configured of a model.
    fn listed(&self, model: &str) -> Option<&ModelConfig> {
        self.models.iter().flatten().find(|known| known.name == model)
    }

    /// Returns whether the model stands in its list.
    pub(super) fn lists(&self, model: &str) -> bool {
        self.listed(model).is_some()
    }

    /// Returns how many tokens prompt and answer of the model may have together, where that is configured.
    pub(super) fn context_window(&self, model: &str) -> Option<u64> {
        self.listed(model)?.context_window
    }

    /// Returns the step that asks this upstream for this model, if it may be asked for it.
    pub(super) fn step(self: &Arc<Self>, model: &str) -> Option<Step> {
        if model.is_empty() || (self.models.is_some() && !self.lists(model)) {
            return None;
        }
        Some(Step { upstream: Arc::clone(self), model: model.to_owned(), is_free: self.models.is_none() })
    }

    /// Returns whether the model can be asked to stream, as far as is known.
    pub(super) fn streams(&self, model: &str) -> bool {
        let is_configured_whole = self.listed(model).is_some_and(|known| !known.stream);
        let learned = self.whole_only.read().unwrap_or_else(PoisonError::into_inner);
        !is_configured_whole && !learned.contains(model)
    }

    /// Remembers that the model cannot stream.
    pub(super) fn learn_whole_only(&self, model: &str) {
        let mut learned = self.whole_only.write().unwrap_or_else(PoisonError::into_inner);
        // Names come from callers where any model may be named: the list stays small.
        if learned.len() < 1_024 {
            learned.insert(model.to_owned());
        }
    }
}
