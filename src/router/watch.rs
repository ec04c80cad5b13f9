//! What do calls tell of the upstreams, who hears of it, and what is kept of it?
//!
//! Every call's end comes through here. What changes is logged once, said to whoever alerts, and noted for the store;
//! what only concerns one request is not.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use http::HeaderMap;
use tokio::sync::Notify;
use tokio::time::Instant;

use super::breaker::{Change, Settings};
use super::generate::takes;
use super::snapshot::{Parked, Room, UpstreamHealth};
use super::target::Permit;
use super::{Router, Step, Upstream};
use crate::chat::ChatRequest;
use crate::config::{BreakerConfig, RetryConfig};
use crate::providers::{ProviderError, ProviderErrorKind, quota};
use crate::store::StoredBreaker;
use crate::telemetry::{Events, Incident};

/// Cooldowns shorter than this are not worth a write: they are over before a restart is.
const WORTH_KEEPING: Duration = Duration::from_secs(5);

/// The longest that an upstream is left alone by what its headers say of its room: it is only reckoned.
const ROOM_MAX: Duration = Duration::from_secs(60);

/// Where changes of upstreams go.
#[derive(Debug)]
pub(super) struct Watch {
    events: Events,
    settings: Settings,
    retry: RetryConfig,
    /// Says that what the store has of the breakers is no longer true.
    changed: Notify,
    is_all_down: AtomicBool,
}

impl Watch {
    pub fn new(events: Events, breaker: &BreakerConfig, retry: RetryConfig) -> Self {
        let settings = Settings::of(breaker);
        Self { events, settings, retry, changed: Notify::new(), is_all_down: AtomicBool::new(false) }
    }
}

impl Router {
    /// Returns how every upstream is, in the order of the configuration.
    pub fn health(&self) -> Vec<UpstreamHealth> {
        let now = Instant::now();
        self.routes.upstreams.iter().map(|upstream| upstream.health(now)).collect()
    }

    /// Returns how much room an upstream has now; `None` for one that is not configured.
    pub fn room(&self, upstream: &str) -> Option<Room> {
        let upstream = self.routes.upstreams.iter().find(|known| *known.name == *upstream)?;
        let limits = upstream.limits();
        let (places, in_use, waiting) = limits.load();
        Some(Room {
            is_well: upstream.health(Instant::now()).is_healthy(),
            places,
            in_use,
            waiting,
            requests_per_minute: limits.config().requests_per_minute,
        })
    }

    /// Returns whether no upstream can be asked at all.
    pub fn is_all_down(&self) -> bool {
        let now = Instant::now();
        let upstreams = &self.routes.upstreams;
        !upstreams.is_empty() && upstreams.iter().all(|upstream| upstream.is_down(now))
    }

    /// Waits until something changed that [`Router::breakers`] tells. Changes that come while nobody waits are not lost.
    ///
    /// Cancel safe.
    pub async fn changed(&self) {
        self.watch.changed.notified().await;
    }

    /// Returns what is to be known of the upstreams after a restart.
    pub fn breakers(&self) -> Vec<StoredBreaker> {
        let now = Instant::now();
        let of_upstream = |upstream: &Arc<Upstream>| {
            let stored = |target: &Arc<super::target::Target>| target.to_store(&upstream.name, now);
            upstream.targets().iter().filter_map(stored).collect::<Vec<_>>()
        };
        self.routes.upstreams.iter().flat_map(of_upstream).collect()
    }

    /// Takes in what was known before the restart. What is not configured any more is left out.
    pub fn restore(&self, breakers: &[StoredBreaker]) {
        let now = Instant::now();
        for stored in breakers {
            let upstream = self.routes.upstreams.iter().find(|upstream| *upstream.name == *stored.upstream);
            if let Some(upstream) = upstream {
                upstream.target(&stored.model).restore(stored, now, &self.watch.settings, &self.watch.retry);
            }
        }
    }

    /// Takes over what another router knows of the upstreams that both have: breakers and cooldowns, and not what it
    /// thinks of keys and accounts, which may be others now.
    pub fn inherit(&self, from: &Self) {
        for upstream in &self.routes.upstreams {
            // At another address there is another server.
            let is_same =
                |old: &&Arc<Upstream>| old.name == upstream.name && old.base_url == upstream.base_url;
            if let Some(old) = from.routes.upstreams.iter().find(is_same) {
                upstream.inherit(old);
            }
        }
        self.watch.is_all_down.store(from.watch.is_all_down.load(Ordering::Relaxed), Ordering::Relaxed);
    }

    /// Takes in that a call has begun to bring an answer.
    pub(super) fn opened(&self, step: &Step, permit: &mut Permit) {
        self.note(step, permit.opened(Instant::now(), &self.watch.settings));
    }

    /// Takes in that a call brought an answer.
    pub(super) fn answered(&self, step: &Step, permit: Permit, first_token: Duration, took: Duration) {
        let recovered = permit.succeeded(first_token, took, Instant::now(), &self.watch.settings);
        self.account_answered(&step.upstream);
        if recovered.is_back {
            let (upstream, model) = (Arc::clone(&step.upstream.name), Arc::from(step.model.as_str()));
            tracing::info!(
                upstream = &*upstream,
                model = &*model,
                "a model that was left alone answers again"
            );
            self.say(Incident::ModelReturned { upstream, model });
        }
        self.note(step, recovered.change);
        if self.watch.is_all_down.load(Ordering::Relaxed) {
            self.check_all();
        }
    }

    /// Takes in that our account with an upstream is good for something.
    pub(super) fn account_answered(&self, upstream: &Upstream) {
        let was_untrusted = upstream.is_untrusted.swap(false, Ordering::Relaxed);
        if upstream.account.succeeded() || was_untrusted {
            tracing::info!(upstream = &*upstream.name, "an upstream that was left alone answers again");
            self.say(Incident::Returned { upstream: Arc::clone(&upstream.name) });
            self.check_all();
        }
    }

    /// Takes in what a failure says of our account with an upstream.
    pub(super) fn account_failed(&self, upstream: &Upstream, error: &ProviderError) {
        let name = || Arc::clone(&upstream.name);
        if let Some(why) = upstream.account.failed(error, Instant::now()) {
            tracing::error!(upstream = &*upstream.name, why = why.name(), "an upstream is left alone");
            self.say(match why {
                Parked::BadKey => Incident::KeyRefused { upstream: name() },
                Parked::QuotaGone => Incident::QuotaGone { upstream: name() },
            });
            self.check_all();
        }
        if error.is_untrusted() && !upstream.is_untrusted.swap(true, Ordering::Relaxed) {
            tracing::error!(
                upstream = &*upstream.name,
                "an upstream cannot prove who it is, or redirects us"
            );
            self.say(Incident::Untrusted { upstream: name() });
        }
    }

    /// Takes in that a call failed.
    pub(super) fn failed(&self, step: &Step, permit: Permit, error: &ProviderError) {
        let now = Instant::now();
        // A model that the caller named freely is missing by the caller's mistake, and says nothing of the upstream.
        if step.is_free && error.kind == ProviderErrorKind::ModelMissing {
            let change = permit.heard(now, &self.watch.settings);
            return self.note(step, change);
        }
        let ended = permit.failed(error, rand::random(), now, &self.watch.settings, &self.watch.retry);
        // What a freely named model is refused for may be about that model alone.
        if !(step.is_free && error.status == Some(403)) {
            self.account_failed(&step.upstream, error);
        }
        if error.kind == ProviderErrorKind::QuotaGone && error.is_of_model {
            let (upstream, model) = (Arc::clone(&step.upstream.name), &step.model);
            tracing::error!(upstream = &*upstream, model, "the quota of a model is used up");
            self.say(Incident::QuotaGone { upstream });
        }
        if ended.is_missing {
            let (upstream, model) = (Arc::clone(&step.upstream.name), Arc::from(step.model.as_str()));
            tracing::error!(upstream = &*upstream, model = &*model, "a configured model is not there");
            self.say(Incident::ModelMissing { upstream, model });
        }
        if error.wait_hint().is_some_and(|wait| wait >= WORTH_KEEPING) {
            self.watch.changed.notify_one();
            self.check_all();
        }
        self.note(step, ended.change);
    }

    /// Learns from the headers of an answer how much room its limits leave.
    pub(super) fn learn_room(&self, step: &Step, request: &ChatRequest, headers: &HeaderMap) {
        if let Some(wait) = quota::wait_for_room(headers, takes(request)) {
            step.target().cool(wait.min(ROOM_MAX), Instant::now());
        }
    }

    fn note(&self, step: &Step, change: Change) {
        let (upstream, model) = (Arc::clone(&step.upstream.name), Arc::from(step.model.as_str()));
        match change {
            Change::None => return,
            Change::Opened => {
                tracing::warn!(upstream = &*upstream, model = &*model, "the breaker opened");
                self.say(Incident::BreakerOpened { upstream, model });
            }
            Change::Closed => {
                tracing::info!(upstream = &*upstream, model = &*model, "the breaker closed");
                self.say(Incident::BreakerClosed { upstream, model });
            }
        }
        self.watch.changed.notify_one();
        self.check_all();
    }

    /// Says when nobody can be asked any more, and when somebody can again.
    fn check_all(&self) {
        let is_down = self.is_all_down();
        if self.watch.is_all_down.swap(is_down, Ordering::Relaxed) != is_down {
            if is_down {
                tracing::error!("no upstream can be asked");
            } else {
                tracing::info!("an upstream can be asked again");
            }
            self.say(if is_down { Incident::AllDown } else { Incident::SomeUp });
        }
    }

    fn say(&self, incident: Incident) {
        self.watch.events.say(incident);
    }
}
