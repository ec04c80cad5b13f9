//! Is our account with an upstream of any use?
//!
//! A key that is refused, or a quota that is gone, concerns all models of an upstream, and no retry mends it. It is left
//! alone until the configuration is loaded anew; but people mend keys and pay bills at the vendor's side too, so that
//! now and then one call finds out.

use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::time::Instant;

use super::snapshot::Parked;
use crate::providers::{ProviderError, ProviderErrorKind};

/// How often one call finds out whether all is well again.
const PROBE_EVERY: Duration = Duration::from_secs(60);

/// What is known of our account with one upstream.
#[derive(Debug, Default)]
pub struct AccountState(Mutex<Option<Parking>>);

#[derive(Clone, Copy, Debug)]
struct Parking {
    why: Parked,
    /// When the next call may find out.
    until: Instant,
}

impl AccountState {
    /// Returns until when nothing is asked; `None` where something may be.
    pub fn parked_until(&self, now: Instant) -> Option<Instant> {
        self.parking().map(|parking| parking.until).filter(|until| now < *until)
    }

    /// Takes the turn of the call that finds out, where the time has come for one; whoever comes after it is told to wait
    /// for the next turn. Where nothing is parked it does nothing.
    pub fn take_turn(&self, now: Instant) {
        if let Some(parking) = self.parking().as_mut() {
            parking.until = now + PROBE_EVERY;
        }
    }

    /// Returns why nothing is asked.
    pub fn parked(&self) -> Option<Parked> {
        self.parking().map(|parking| parking.why)
    }

    /// Takes in a failure. Returns why the upstream is left alone from now on, where that is news.
    pub fn failed(&self, error: &ProviderError, now: Instant) -> Option<Parked> {
        let why = match error.kind {
            ProviderErrorKind::BadKey => Parked::BadKey,
            ProviderErrorKind::QuotaGone if !error.is_of_model => Parked::QuotaGone,
            _ => return None,
        };
        let wait = error.wait_hint().unwrap_or(PROBE_EVERY).max(PROBE_EVERY);
        let before = self.parking().replace(Parking { why, until: now + wait });
        before.is_none_or(|parking| parking.why != why).then_some(why)
    }

    /// Takes in that it answered. Returns whether that is news.
    pub fn succeeded(&self) -> bool {
        self.parking().take().is_some()
    }

    fn parking(&self) -> MutexGuard<'_, Option<Parking>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_refused_key_parks_all_models_and_one_call_at_a_time_finds_out() {
        let state = AccountState::default();
        let now = Instant::now();
        let refused = ProviderError::new(ProviderErrorKind::BadKey, "");
        assert_eq!(state.failed(&ProviderError::timeout("token"), now), None);
        assert_eq!(state.parked_until(now), None);
        assert_eq!(state.failed(&refused, now), Some(Parked::BadKey));
        assert_eq!(state.failed(&refused, now), None, "no news");
        let turn = now + PROBE_EVERY;
        assert_eq!(state.parked_until(now), Some(turn));
        assert_eq!(state.parked_until(turn), None);
        state.take_turn(turn);
        assert_eq!(state.parked_until(turn), Some(turn + PROBE_EVERY));
        assert!(state.succeeded());
        assert!(!state.succeeded());
        assert_eq!(state.parked_until(now), None);
    }
}
