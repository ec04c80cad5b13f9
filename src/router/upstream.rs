//! One configured upstream.

use std::collections::{HashMap, HashSet};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError, RwLock};

use arc_swap::ArcSwap;
use tokio::time::Instant;

use super::Step;
use super::account_state::AccountState;
use super::budget::RetryBudget;
use super::limits::Limits;
use super::snapshot::{Condition, UpstreamHealth};
use super::target::{Permit, Target, Unavailable};
use crate::config::{Capability, ModelConfig, ProviderConfig, ProviderKind, Timeouts};
use crate::cost::Tariff;
use crate::providers::Provider;

/// A vendor's protocol at an address, with what is configured and what was learned of it.
pub struct Upstream {
    pub name: Arc<str>,
    pub kind: ProviderKind,
    pub provider: Arc<dyn Provider>,
    /// The models it may be asked for; `None` for any.
    pub models: Option<Vec<ModelConfig>>,
    pub timeouts: Timeouts,
    /// What its models cost. A price is looked up when an answer is there: names are resolved for hits, too.
    pub(super) tariff: Tariff,
    limits: ArcSwap<Limits>,
    pub(super) account: AccountState,
    budget: Mutex<RetryBudget>,
    /// Retries that are waited for or made.
    retries: Arc<AtomicUsize>,
    targets: RwLock<HashMap<String, Arc<Target>>>,
    /// Where it is configured to answer.
    pub(super) base_url: Option<String>,
    /// Whether it could not prove who it is when it was last asked.
    pub(super) is_untrusted: AtomicBool,
    /// Models that said they cannot stream.
    whole_only: RwLock<HashSet<String>>,
    /// Whether it was told of that one of its models answers whole although asked to stream.
    pub(super) is_whole_told: AtomicBool,
}

/// Models of one upstream that something is remembered of. Where any model may be named, names come from callers; the
/// ones beyond this share what is known of them.
const TARGETS_MAX: usize = 1_024;
/// The name that those share; no model is called so.
const OTHERS: &str = "*";

/// A retry under way.
#[derive(Debug)]
pub(super) struct Retry(Arc<AtomicUsize>);

impl Drop for Retry {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
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
            name: Arc::from(config.name.as_str()),
            kind: config.kind,
            provider,
            models: config.models.clone(),
            timeouts: config.timeouts,
            tariff: Tariff::of(config),
            limits: ArcSwap::from_pointee(Limits::of(&config.limits)),
            account: AccountState::default(),
            budget: Mutex::default(),
            retries: Arc::default(),
            targets: RwLock::default(),
            base_url: config.base_url.clone(),
            is_untrusted: AtomicBool::new(false),
            whole_only: RwLock::default(),
            is_whole_told: AtomicBool::new(false),
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

    /// Returns whether the model is declared to be able to do this.
    pub(super) fn declares(&self, model: &str, capability: Capability) -> bool {
        self.listed(model).is_some_and(|known| known.declares(capability))
    }

    /// Returns whether the model is declared to be unable to do this.
    pub(super) fn lacks(&self, model: &str, capability: Capability) -> bool {
        self.listed(model).is_some_and(|known| known.lacks(capability))
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
        if learned.len() < TARGETS_MAX {
            learned.insert(model.to_owned());
        }
    }

    /// Returns what is known of one of its models.
    pub(super) fn target(&self, model: &str) -> Arc<Target> {
        let known = self.targets.read().unwrap_or_else(PoisonError::into_inner).get(model).map(Arc::clone);
        if let Some(known) = known {
            return known;
        }
        let mut targets = self.targets.write().unwrap_or_else(PoisonError::into_inner);
        let name = if targets.len() < TARGETS_MAX { model } else { OTHERS };
        let target = targets.entry(name.to_owned()).or_insert_with(|| Arc::new(Target::new(name)));
        Arc::clone(target)
    }

    /// Returns the limits that calls keep to.
    pub(super) fn limits(&self) -> Arc<Limits> {
        self.limits.load_full()
    }

    /// Returns every model that something is known of.
    pub(super) fn targets(&self) -> Vec<Arc<Target>> {
        let targets = self.targets.read().unwrap_or_else(PoisonError::into_inner);
        targets.values().map(Arc::clone).collect()
    }

    /// Takes over what another one of the same name knows of its models: its breakers and cooldowns, and its limits where
    /// they are still the same, places and pace with them; not its account, which may have another key now.
    pub(super) fn inherit(&self, from: &Self) {
        let known = from.targets.read().unwrap_or_else(PoisonError::into_inner).clone();
        *self.targets.write().unwrap_or_else(PoisonError::into_inner) = known;
        let limits = from.limits.load_full();
        if limits.config() == self.limits.load().config() {
            self.limits.store(limits);
        }
    }

    /// Asks for leave to call a model.
    pub(super) fn admit(&self, model: &str, now: Instant) -> Result<Permit, Unavailable> {
        self.check_account(now)?;
        let permit = self.target(model).admit(now)?;
        self.account.take_turn(now);
        Ok(permit)
    }

    /// Asks for leave where nobody else can be asked.
    pub(super) fn admit_as_last_resort(&self, model: &str, now: Instant) -> Result<Permit, Unavailable> {
        self.check_account(now)?;
        let permit = self.target(model).admit_as_last_resort(now)?;
        self.account.take_turn(now);
        Ok(permit)
    }

    fn check_account(&self, now: Instant) -> Result<(), Unavailable> {
        self.account.parked_until(now).map_or(Ok(()), |until| Err(Unavailable::Parked { until }))
    }

    /// Returns why a model could not be called now.
    pub(super) fn unavailable(&self, model: &str, now: Instant) -> Option<Unavailable> {
        self.check_account(now).err().or_else(|| self.target(model).unavailable(now))
    }

    /// Counts a call that is no retry.
    pub(super) fn count_request(&self, now: Instant) {
        self.budget.lock().unwrap_or_else(PoisonError::into_inner).request(now);
    }

    /// Takes a retry from the budget, if there is one; it is under way until the result is dropped.
    pub(super) fn take_retry(&self, now: Instant, ratio: f64) -> Option<Retry> {
        let mut budget = self.budget.lock().unwrap_or_else(PoisonError::into_inner);
        // Counted under the lock, so that no two see the same number.
        if !budget.retry(now, ratio, self.retries.load(Ordering::Relaxed)) {
            return None;
        }
        self.retries.fetch_add(1, Ordering::Relaxed);
        Some(Retry(Arc::clone(&self.retries)))
    }

    /// Returns whether nothing is known to be well of the models that were asked for. One that may be probed is not well
    /// before it has answered.
    pub(super) fn is_down(&self, now: Instant) -> bool {
        let targets = self.targets();
        let mut asked = targets.iter().filter(|target| target.was_asked()).peekable();
        let are_all_down = asked.peek().is_some() && asked.all(|target| !target.is_well(now));
        self.account.parked().is_some() || are_all_down
    }

    /// Returns how it is.
    pub(super) fn health(&self, now: Instant) -> UpstreamHealth {
        let condition = |target: Arc<Target>| (target.model.to_string(), target.condition(now));
        let mut models: Vec<_> = self.targets().into_iter().map(condition).collect();
        models.sort_by(|(one, _), (other, _)| one.cmp(other));
        let overall = Condition::of_all(models.iter().map(|(_, condition)| condition));
        UpstreamHealth { name: self.name.to_string(), parked: self.account.parked(), overall, models }
    }
}
