//! An entry past its time was handed out: a fresh answer is made in the background.
//!
//! One refresh per entry, however many are given the old answer: it flies like any miss, under the key of the entry's
//! own request, so that whoever cannot take the old answer joins it. Callers may come and go meanwhile.

use std::sync::Arc;
use std::time::Instant;

use tokio::time::Instant as Deadline;
use tracing::Instrument;

use super::generation::Job;
use super::{Ask, Gateway, Plan};
use crate::chat::{Directives, Entry};
use crate::single_flight::Role;

impl Gateway {
    /// Has the entry's own request answered anew, unless somebody is at it, this caller wants nobody asked, or there is
    /// nobody to ask.
    pub(super) fn refresh(self: &Arc<Self>, entry: &Arc<Entry>, ask: &Ask, plan: &Plan) {
        if ask.directives.only_if_cached || plan.route.chain.is_empty() || !self.ai.is_on() {
            return;
        }
        let job = Arc::new(refresh_of(entry, ask, plan));
        let wanted = Deadline::now() + self.limits.deadline;
        let Ok(Role::Leader(leader, follower)) = self.flights.join(job.flight_key(), wanted) else { return };
        // Another refresh may have landed since the entry was read.
        if self.cache.is_fresh_in_memory(&entry.key) {
            return;
        }
        let span = tracing::info_span!("refresh", request_id = &*ask.request_id);
        let flight = Arc::clone(self).lead(leader, job);
        let followed = async move {
            flight.await;
            // Kept until now, so that the flight is not given up for want of anybody who waits.
            drop(follower);
        };
        self.tasks.spawn(followed.instrument(span));
    }
}

/// The request is the entry's own, with the limit it was written under, so that a caller with a tighter one cannot cut
/// the answer of all others. How long it lives is the present caller's wish; labels are nobody's to lose; and nobody
/// waits, so nobody's patience counts.
fn refresh_of(entry: &Entry, ask: &Ask, plan: &Plan) -> Job {
    let mut tags = entry.tags.clone();
    tags.extend(ask.directives.tags.iter().filter(|tag| !entry.tags.contains(tag)).cloned());
    let ask = Ask {
        request: Arc::clone(&entry.request),
        directives: Directives { tags, deadline: None, ..ask.directives.clone() },
        stream: false,
        request_id: Arc::clone(&ask.request_id),
        patience: None,
        may_degrade: false,
        warm: None,
    };
    let mut plan = plan.clone();
    plan.consider_the_prompt(&ask.request);
    Job::new(ask, plan, None, Instant::now())
}
