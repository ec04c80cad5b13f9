//! How fast may it buy, so that live traffic feels nothing of it?
//!
//! Of what an upstream allows, a share; and where others wait there, or it is not well, nothing until that is over.

use std::collections::HashMap;
use std::num::NonZeroU32;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use governor::{DefaultDirectRateLimiter, Quota, RateLimiter};
use tokio::time::sleep;

use crate::router::Room;

/// How long somebody waits before he looks again whether others still need the upstream.
const BUSY_WAIT: Duration = Duration::from_millis(100);
/// The same for an upstream that is not well.
const UNWELL_WAIT: Duration = Duration::from_millis(1_000);

/// The pace of one run.
pub(super) struct Pace {
    share: f64,
    upstreams: Mutex<HashMap<Arc<str>, Arc<Lane>>>,
}

/// What a run takes of one upstream.
struct Lane {
    /// Paced by what the upstream allowed when the run came to it first.
    limiter: Option<DefaultDirectRateLimiter>,
    ours: AtomicUsize,
}

/// A call that a run may make, until it is dropped.
pub(super) struct Turn(Arc<Lane>);

impl Drop for Turn {
    fn drop(&mut self) {
        self.0.ours.fetch_sub(1, Ordering::Relaxed);
    }
}

/// Returns how many calls a minute a share of a limit is.
pub(super) fn per_minute(share: f64, limit: NonZeroU32) -> f64 {
    share * f64::from(limit.get())
}

impl Pace {
    /// Returns the pace that takes this share, in (0, 1], of every upstream's limits.
    pub fn new(share: f64) -> Self {
        Self { share, upstreams: Mutex::default() }
    }

    /// Waits until the run may ask this upstream; `room` says how much there is now.
    ///
    /// Cancel safe.
    pub async fn turn(&self, upstream: &Arc<str>, room: impl Fn() -> Option<Room>) -> Turn {
        let lane = self.lane(upstream, room().and_then(|room| room.requests_per_minute));
        // Before the look at the room, since this wait may be long.
        if let Some(limiter) = &lane.limiter {
            limiter.until_ready().await;
        }
        loop {
            let Some(room) = room() else { return lane.take() };
            if !room.is_well {
                sleep(UNWELL_WAIT).await;
                continue;
            }
            let ours = lane.ours.load(Ordering::Relaxed);
            if ours < self.places(room.places) && room.waiting == 0 && room.in_use < room.places {
                return lane.take();
            }
            sleep(BUSY_WAIT).await;
        }
    }

    /// Returns how many calls at a time are the run's share; at least one, or it would never end.
    fn places(&self, all: usize) -> usize {
        ((all as f64 * self.share) as usize).max(1)
    }

    fn lane(&self, upstream: &Arc<str>, limit: Option<NonZeroU32>) -> Arc<Lane> {
        let mut lanes = self.upstreams.lock().unwrap_or_else(PoisonError::into_inner);
        let lane = lanes.entry(Arc::clone(upstream)).or_insert_with(|| {
            let limiter = limit.and_then(|limit| {
                // Evenly, without a burst: a minute's share at once would be a flood.
                let apart = Duration::from_secs(60).div_f64(per_minute(self.share, limit));
                Quota::with_period(apart).map(RateLimiter::direct)
            });
            Arc::new(Lane { limiter, ours: AtomicUsize::new(0) })
        });
        Arc::clone(lane)
    }
}

impl Lane {
    fn take(self: Arc<Self>) -> Turn {
        self.ours.fetch_add(1, Ordering::Relaxed);
        Turn(self)
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::AtomicBool;

    use tokio::time::{Instant, timeout};

    use super::*;

    fn room() -> Room {
        Room { is_well: true, places: 4, in_use: 0, waiting: 0, requests_per_minute: None }
    }

    async fn is_let(pace: &Pace, room: Room) -> Option<Turn> {
        let upstream = Arc::from("a");
        timeout(Duration::from_millis(20), pace.turn(&upstream, || Some(room))).await.ok()
    }

    #[tokio::test]
    async fn of_the_places_it_takes_its_share_and_at_least_one() {
        let pace = Pace::new(0.5);
        let turns = [is_let(&pace, room()).await, is_let(&pace, room()).await];
        assert!(turns.iter().all(Option::is_some));
        assert!(is_let(&pace, room()).await.is_none(), "two of four are its share");
        drop(turns);
        assert!(is_let(&pace, room()).await.is_some());
        assert!(is_let(&Pace::new(0.01), room()).await.is_some());
    }

    #[tokio::test]
    async fn where_others_wait_or_the_upstream_is_unwell_it_waits() {
        let pace = Pace::new(1.0);
        for busy in
            [Room { waiting: 1, ..room() }, Room { in_use: 4, ..room() }, Room { is_well: false, ..room() }]
        {
            assert!(is_let(&pace, busy).await.is_none(), "{busy:?}");
        }
        let is_busy = AtomicBool::new(true);
        let upstream = Arc::from("a");
        let changing =
            || Some(Room { waiting: usize::from(is_busy.swap(false, Ordering::Relaxed)), ..room() });
        timeout(Duration::from_secs(20), pace.turn(&upstream, changing)).await.expect("its turn came");
    }

    #[tokio::test]
    async fn of_the_calls_a_minute_it_takes_its_share_evenly() {
        let pace = Pace::new(0.5);
        // Six thousand a minute, half of them: one every twenty milliseconds.
        let limited = Room { requests_per_minute: NonZeroU32::new(6_000), ..room() };
        let began = Instant::now();
        for _ in 0..4 {
            drop(pace.turn(&Arc::from("a"), || Some(limited)).await);
        }
        assert!(began.elapsed() >= Duration::from_millis(59), "{:?}", began.elapsed());
    }
}
