//! Are the answers to similar requests right, and what follows where they are not?
//!
//! A share of semantic hits is checked after they were served: the request is answered afresh, and the two answers are
//! compared. The work is the gateway's; here stands what is known of it: how many checks there may be (`budget`), whether
//! two answers say the same (`compare`, or a model by `judge`), what the last ones found (`window`), and which routes
//! answer equal requests only since too many were wrong, or a person said so. What is kept are counts; prompts and answers
//! only pass through.

mod budget;
pub mod compare;
pub mod judge;
mod window;

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use arc_swap::ArcSwap;
use tokio::sync::{Notify, Semaphore};
use tokio_util::sync::CancellationToken;

use crate::chat::UnixMillis;
use crate::store::{ExactReason, ExactRoute, Store, StoreError};
use crate::telemetry::{CheckedRoute, Events, Incident, Telemetry};

pub use budget::Place;
pub use compare::{Texts, Verdict};
pub use window::Counts;

use budget::Budget;
use window::Window;

/// What became of a check.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    Found(Verdict),
    /// There was no fresh answer, or nobody who could compare.
    Failed,
    /// It was not made at all.
    Skipped,
}

impl Outcome {
    /// Returns the metric label.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Found(Verdict::Same) => "same",
            Self::Found(Verdict::Different) => "different",
            Self::Found(Verdict::Unclear) => "unclear",
            Self::Failed => "failed",
            Self::Skipped => "skipped",
        }
    }
}

/// How a route came to answer equal requests only.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ExactOnly {
    pub since: UnixMillis,
    pub reason: ExactReason,
}

/// What is known of a route.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RouteReading {
    /// Its label: its alias, or `other`.
    pub route: Arc<str>,
    pub counts: Counts,
    /// `None` where similar requests are answered, as far as this switch goes.
    pub exact_only: Option<ExactOnly>,
}

/// What is known of every route; belongs to the process, so that it outlives a reload.
pub struct Checks {
    windows: Mutex<HashMap<Arc<str>, Window>>,
    /// Read by every request that memory does not answer; changed under the lock of the windows alone.
    exact: ArcSwap<HashMap<Arc<str>, ExactOnly>>,
    budget: Budget,
    store: Arc<Store>,
    /// One writer at a time, so that what was true later is written later.
    turn: Semaphore,
    changed: Notify,
    telemetry: Arc<Telemetry>,
    events: Events,
}

/// After how long a write of the switches that failed is tried again.
const AGAIN: Duration = Duration::from_secs(1);

impl Checks {
    /// Returns what is known when the process starts: the routes that the store names, and the counts that led to it.
    pub fn new(store: Arc<Store>, known: Vec<ExactRoute>, telemetry: Arc<Telemetry>, events: Events) -> Self {
        let (mut windows, mut exact) = (HashMap::new(), HashMap::new());
        for ExactRoute { route, since, reason, checked, different } in known {
            let route: Arc<str> = route.into();
            windows.insert(Arc::clone(&route), Window::of(Counts { checked, different }));
            exact.insert(route, ExactOnly { since, reason });
        }
        Self {
            windows: Mutex::new(windows),
            exact: ArcSwap::from_pointee(exact),
            budget: Budget::default(),
            store,
            turn: Semaphore::new(1),
            changed: Notify::new(),
            telemetry,
            events,
        }
    }

    /// Says once more which routes were switched off by checks, so that a restart does not make anybody forget it, and so
    /// that its end will be told, too.
    pub fn remind(&self) {
        for (route, exact) in &**self.exact.load() {
            if exact.reason == ExactReason::Checks {
                self.say_wrong(self.reading(route));
            }
        }
    }

    /// Returns how a route came to answer equal requests only, where it does.
    pub fn exact_only(&self, route: &str) -> Option<ExactOnly> {
        self.exact.load().get(route).copied()
    }

    /// Returns leave to make a check now, if the budget has any.
    pub fn begin(&self) -> Option<Place> {
        self.budget.take()
    }

    /// Takes in what became of a check. Where more of the route's hits are certain to be wrong than it allows, it answers
    /// equal requests only from now on.
    pub fn note(&self, route: &Arc<str>, outcome: Outcome, max_error_rate: Option<f64>, now: UnixMillis) {
        self.telemetry.semantic_checked(route, outcome.name());
        let is_different = match outcome {
            Outcome::Found(Verdict::Same) => false,
            Outcome::Found(Verdict::Different) => true,
            Outcome::Found(Verdict::Unclear) | Outcome::Failed | Outcome::Skipped => return,
        };
        let counts = {
            let mut windows = self.windows();
            let window = windows.entry(Arc::clone(route)).or_default();
            window.push(is_different);
            let counts = window.counts();
            let is_too_much = max_error_rate.is_some_and(|max| counts.exceed(max));
            if !is_too_much || !self.set(route, Some(ExactOnly { since: now, reason: ExactReason::Checks })) {
                return;
            }
            counts
        };
        let Counts { checked, different } = counts;
        tracing::warn!(
            route = &**route,
            checked,
            different,
            "too many answers to similar requests were wrong: the route answers equal ones only, until somebody \
             switches it back (`refrain semantic on`)"
        );
        self.say_wrong(self.reading(route));
        self.changed.notify_one();
    }

    /// Switches a route by a person's hand, and returns after that is written down. Switching it back forgets what was
    /// counted. The switch counts even where it could not be written, which is then tried again.
    ///
    /// # Errors
    /// The store's.
    pub async fn turn(&self, route: &Arc<str>, enabled: bool, now: UnixMillis) -> Result<(), StoreError> {
        let exact = (!enabled).then_some(ExactOnly { since: now, reason: ExactReason::Person });
        let has_changed = {
            let mut windows = self.windows();
            let has_changed = self.set(route, exact);
            if has_changed && enabled {
                windows.remove(route);
            }
            has_changed
        };
        if has_changed && enabled {
            tracing::info!(route = &**route, "the route answers similar requests again");
            self.events.say(Incident::SimilarAgain { route: Arc::clone(route) });
        } else if has_changed {
            tracing::warn!(route = &**route, "the route answers equal requests only, as somebody has said");
        }
        // Whoever says it a second time wants it written down, too.
        self.write_down().await.inspect_err(|_| self.changed.notify_one())
    }

    /// Returns what is known of these routes, in their order.
    pub fn readings(&self, routes: &[Arc<str>]) -> Vec<RouteReading> {
        routes.iter().map(|route| self.reading(route)).collect()
    }

    /// Returns what is known of a route.
    pub fn reading(&self, route: &Arc<str>) -> RouteReading {
        let counts = self.windows().get(route).map(Window::counts).unwrap_or_default();
        RouteReading { route: Arc::clone(route), counts, exact_only: self.exact_only(route) }
    }

    /// Puts into the metrics how these routes are, and no others.
    pub fn measure(&self, routes: &[Arc<str>]) {
        let reading = |RouteReading { route, counts, exact_only }| CheckedRoute {
            route,
            error_rate: counts.rate().map(|rate| rate.share),
            is_enabled: exact_only.is_none(),
        };
        self.telemetry.checked_routes_are(self.readings(routes).into_iter().map(reading).collect());
    }

    /// Writes the switches down whenever they change, until it is stopped.
    pub async fn keep(self: Arc<Self>, stop: CancellationToken) {
        loop {
            tokio::select! {
                biased;
                () = self.changed.notified() => {}
                () = stop.cancelled() => return,
            }
            while let Err(error) = self.write_down().await {
                tracing::warn!(%error, "which routes answer equal requests only could not be written down");
                if stop.run_until_cancelled(tokio::time::sleep(AGAIN)).await.is_none() {
                    return;
                }
            }
        }
    }

    async fn write_down(&self) -> Result<(), StoreError> {
        // Never closed.
        let _turn = self.turn.acquire().await;
        let stored = |route: &Arc<str>| {
            let RouteReading { route, counts: Counts { checked, different }, exact_only } =
                self.reading(route);
            let ExactOnly { since, reason } = exact_only?;
            Some(ExactRoute { route: route.to_string(), since, reason, checked, different })
        };
        let all = self.exact.load().keys().filter_map(stored).collect();
        self.store.put_exact_routes(all).await
    }

    /// Puts a switch where it is to stand, and returns whether it stood elsewhere. To be called under the lock of the
    /// windows.
    fn set(&self, route: &Arc<str>, exact: Option<ExactOnly>) -> bool {
        let before = self.exact.load();
        if before.contains_key(route) == exact.is_some() {
            return false;
        }
        let mut all = HashMap::clone(&before);
        match exact {
            Some(exact) => drop(all.insert(Arc::clone(route), exact)),
            None => drop(all.remove(route)),
        }
        self.exact.store(Arc::new(all));
        true
    }

    fn say_wrong(&self, RouteReading { route, counts: Counts { checked, different }, .. }: RouteReading) {
        self.events.say(Incident::WrongHits { route, checked, different });
    }

    fn windows(&self) -> MutexGuard<'_, HashMap<Arc<str>, Window>> {
        self.windows.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
