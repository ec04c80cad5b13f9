//! How much is one upstream asked for at a time, and in a minute?
//!
//! Calls take a place first and wait in line for it, so that a burst never floods an upstream; then they are paced. Every
//! wait is bounded: by the length of the line, and by a moment after which somebody else is asked.

use std::num::NonZeroU32;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use governor::clock::{Clock, DefaultClock};
use governor::{DefaultDirectRateLimiter, Quota, RateLimiter};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::{Instant, sleep_until, timeout_at};

use crate::config::LimitsConfig;

/// The limits of one upstream.
#[derive(Debug)]
pub struct Limits {
    config: LimitsConfig,
    places: Arc<Semaphore>,
    waiting: AtomicUsize,
    queue: usize,
    requests: Option<DefaultDirectRateLimiter>,
    tokens: Option<(DefaultDirectRateLimiter, NonZeroU32)>,
    clock: DefaultClock,
    /// When the last one may go that waits for its turn: a small call that comes later does not overtake it.
    paced_until: Mutex<Instant>,
}

/// A place among the calls of an upstream, until it is dropped.
#[derive(Debug)]
pub struct Place {
    _permit: OwnedSemaphorePermit,
}

/// Why a call has no place.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Full {
    /// Too many wait already, or one did not come up in time.
    Line,
    /// The pace does not allow it before this time has passed.
    Pace(Duration),
}

impl Limits {
    /// Returns the limits of a configuration.
    pub fn of(config: &LimitsConfig) -> Self {
        let per_minute = |count: NonZeroU32| RateLimiter::direct(Quota::per_minute(count));
        Self {
            config: *config,
            places: Arc::new(Semaphore::new(config.concurrency)),
            waiting: AtomicUsize::new(0),
            queue: config.queue,
            requests: config.requests_per_minute.map(per_minute),
            tokens: config.tokens_per_minute.map(|count| (per_minute(count), count)),
            clock: DefaultClock::default(),
            paced_until: Mutex::new(Instant::now()),
        }
    }

    /// Returns what they were made of.
    pub fn config(&self) -> &LimitsConfig {
        &self.config
    }

    /// Returns places in all, places taken, and how many wait for one.
    pub fn load(&self) -> (usize, usize, usize) {
        let (all, free) = (self.config.concurrency, self.places.available_permits());
        (all, all.saturating_sub(free), self.waiting.load(Ordering::Relaxed))
    }

    /// Takes a place for a call of so many tokens, waiting for it no longer than `until`.
    ///
    /// Cancel safe: who leaves the line loses nothing but its turn.
    ///
    /// # Errors
    /// [`Full`], at once where waiting is of no use.
    pub async fn enter(&self, tokens: u64, until: Instant) -> Result<Place, Full> {
        let place = self.take_place(until).await?;
        self.wait_behind_others(until).await?;
        if let Some((limiter, most)) = &self.tokens {
            // A call of more than a minute's tokens waits for all of them, and not for ever.
            let tokens = u32::try_from(tokens).unwrap_or(u32::MAX);
            let tokens = NonZeroU32::new(tokens).unwrap_or(NonZeroU32::MIN).min(*most);
            self.pace(limiter, tokens, until).await?;
        }
        // Last, since a call that is refused for its tokens should not have used up a request.
        if let Some(limiter) = &self.requests {
            self.pace(limiter, NonZeroU32::MIN, until).await?;
        }
        Ok(place)
    }

    async fn take_place(&self, until: Instant) -> Result<Place, Full> {
        if let Ok(permit) = Arc::clone(&self.places).try_acquire_owned() {
            return Ok(Place { _permit: permit });
        }
        let Some(_turn) = Turn::take(&self.waiting, self.queue) else { return Err(Full::Line) };
        match timeout_at(until, Arc::clone(&self.places).acquire_owned()).await {
            Ok(Ok(permit)) => Ok(Place { _permit: permit }),
            // The semaphore is never closed, so this is the time.
            Ok(Err(_)) | Err(_) => Err(Full::Line),
        }
    }

    async fn wait_behind_others(&self, until: Instant) -> Result<(), Full> {
        let moment = *self.paced_until.lock().unwrap_or_else(PoisonError::into_inner);
        let wait = moment.saturating_duration_since(Instant::now());
        if moment > until {
            return Err(Full::Pace(wait));
        }
        if !wait.is_zero() {
            sleep_until(moment).await;
        }
        Ok(())
    }

    async fn pace(
        &self,
        limiter: &DefaultDirectRateLimiter,
        count: NonZeroU32,
        until: Instant,
    ) -> Result<(), Full> {
        loop {
            let wait = match limiter.check_n(count) {
                Ok(Ok(())) => return Ok(()),
                Ok(Err(not_until)) => not_until.wait_time_from(self.clock.now()),
                // Never asked for: the count is held below the burst.
                Err(_) => return Ok(()),
            };
            let moment = Instant::now() + wait;
            if moment > until {
                return Err(Full::Pace(wait));
            }
            {
                let mut paced_until = self.paced_until.lock().unwrap_or_else(PoisonError::into_inner);
                *paced_until = moment.max(*paced_until);
            }
            sleep_until(moment).await;
        }
    }
}

/// One place in the line, given back when it is dropped.
struct Turn<'a>(&'a AtomicUsize);

impl<'a> Turn<'a> {
    fn take(waiting: &'a AtomicUsize, most: usize) -> Option<Self> {
        let turn = Self(waiting);
        // The count is given back by the drop, also where it was one too many.
        (waiting.fetch_add(1, Ordering::Relaxed) < most).then_some(turn)
    }
}

impl Drop for Turn<'_> {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn limits(config: LimitsConfig) -> Limits {
        Limits::of(&config)
    }

    fn soon() -> Instant {
        Instant::now() + Duration::from_millis(20)
    }

    #[tokio::test]
    async fn a_call_waits_for_a_place_and_the_line_has_an_end() {
        let limits = limits(LimitsConfig { concurrency: 1, queue: 1, ..LimitsConfig::default() });
        let place = limits.enter(1, soon()).await.unwrap();
        let later = Instant::now() + Duration::from_secs(20);
        let (second, third) = tokio::join!(limits.enter(1, later), async {
            let third = limits.enter(1, later).await;
            drop(place);
            third
        });
        assert!(second.is_ok());
        assert_eq!(third.unwrap_err(), Full::Line);
        assert_eq!(limits.enter(1, soon()).await.unwrap_err(), Full::Line, "not in time");
        drop(second);
        assert!(limits.enter(1, soon()).await.is_ok());
        assert_eq!(limits.waiting.load(Ordering::Relaxed), 0);
    }

    #[tokio::test]
    async fn requests_and_tokens_are_paced_and_a_wait_that_is_too_long_is_told() {
        let two = NonZeroU32::new(2);
        let requests = limits(LimitsConfig { requests_per_minute: two, ..LimitsConfig::default() });
        for _ in 0..2 {
            requests.enter(1, soon()).await.unwrap();
        }
        let Err(Full::Pace(wait)) = requests.enter(1, soon()).await else { panic!("it should be paced") };
        assert!(wait > Duration::from_secs(25) && wait <= Duration::from_secs(30), "{wait:?}");

        let thousand = NonZeroU32::new(1_000);
        let tokens = limits(LimitsConfig { tokens_per_minute: thousand, ..LimitsConfig::default() });
        tokens.enter(900, soon()).await.unwrap();
        assert!(matches!(tokens.enter(200, soon()).await, Err(Full::Pace(_))));
        tokens.enter(50, soon()).await.unwrap();
        // More than there ever is: as much as there ever is.
        assert!(
            matches!(tokens.enter(1_000_000, soon()).await, Err(Full::Pace(wait)) if wait <= Duration::from_secs(60))
        );
    }

    #[tokio::test]
    async fn a_short_pace_is_waited_for() {
        let fast = NonZeroU32::new(6_000);
        let limits = limits(LimitsConfig { requests_per_minute: fast, ..LimitsConfig::default() });
        let until = Instant::now() + Duration::from_secs(20);
        for _ in 0..6_005 {
            limits.enter(1, until).await.unwrap();
        }
    }
}
