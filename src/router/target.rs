//! One model of one upstream: may it be asked now, and what is known of it?
//!
//! Limits, outages and slowness mostly befall one model and not all of a vendor, so this is what has a breaker and a
//! cooldown. What befalls the account, a key or a quota, is the upstream's ([`super::account_state`]).

use std::collections::VecDeque;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::time::Instant;

use super::breaker::{Admission, Breaker, Change, Settings, Verdict};
use super::clock::{unix_millis, wall};
use super::snapshot::{BreakerState, Condition, Percentiles};
use crate::chat::UnixMillis;
use crate::config::RetryConfig;
use crate::providers::{ProviderError, ProviderErrorKind};
use crate::store::StoredBreaker;

/// The first cooldown after a limit that came without a hint; it doubles with each one in a row.
const SOFT_COOLDOWN: Duration = Duration::from_secs(1);
const SOFT_COOLDOWN_MAX: Duration = Duration::from_secs(60);
/// The most by which chance shortens it.
const JITTER: f64 = 0.2;
/// How often one call passes although it should cool by our own guess, where nobody else is left.
const LAST_RESORT_EVERY: Duration = Duration::from_secs(1);
/// How long a model that is not there is left alone.
const MISSING: Duration = Duration::from_secs(300);
/// Calls that percentiles are taken over, and how old they may be.
const SAMPLES: usize = 256;
const SAMPLE_AGE: Duration = Duration::from_secs(600);

/// A model of an upstream.
#[derive(Debug)]
pub struct Target {
    pub model: Arc<str>,
    vitals: Mutex<Vitals>,
    in_flight: AtomicUsize,
    was_asked: AtomicBool,
}

#[derive(Debug, Default)]
struct Vitals {
    breaker: Breaker,
    cooling: Option<Cooling>,
    /// Limits without a hint, in a row.
    unhinted: u32,
    /// When one last passed although it should cool, since nobody else was left.
    last_resort: Option<Instant>,
    missing_until: Option<Instant>,
    consecutive_failures: u32,
    last_success: Option<(Instant, UnixMillis)>,
    samples: VecDeque<Sample>,
}

#[derive(Clone, Copy, Debug)]
struct Cooling {
    until: Instant,
    word: Word,
}

/// By whose word a target cools.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Word {
    /// The upstream asked for it.
    Given,
    /// It is reckoned from what the upstream says of its limits.
    Reckoned,
    /// It is our guess, which an answer refutes.
    Guessed,
}

#[derive(Clone, Copy, Debug)]
struct Sample {
    at: Instant,
    first_token: Duration,
    whole: Duration,
}

/// Why a target cannot be asked now.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Unavailable {
    /// It asked to be left alone, or is thought to want that; may be asked at that moment.
    /// Where it did not ask for it, that may be put aside when nobody else can be asked.
    Cooling { until: Instant, is_hinted: bool },
    /// The breaker is open, until that moment.
    Open { until: Instant },
    /// The model is not there, or the account is of no use.
    Parked { until: Instant },
}

impl Unavailable {
    /// Returns when it may be asked.
    pub const fn until(self) -> Instant {
        match self {
            Self::Cooling { until, .. } | Self::Open { until } | Self::Parked { until } => until,
        }
    }
}

/// What there is to say when a call has ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Judged {
    pub change: Change,
    /// Whether the model turned out not to be there, for the first time in a while.
    pub is_missing: bool,
}

/// What there is to say when a call has brought an answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Recovered {
    pub change: Change,
    /// Whether the model was thought not to be there, or its quota to be gone.
    pub is_back: bool,
}

impl Target {
    /// Returns a target of which nothing is known yet.
    pub fn new(model: &str) -> Self {
        Self {
            model: Arc::from(model),
            vitals: Mutex::default(),
            in_flight: AtomicUsize::new(0),
            was_asked: AtomicBool::new(false),
        }
    }

    /// Asks for leave to make a call.
    pub fn admit(self: &Arc<Self>, now: Instant) -> Result<Permit, Unavailable> {
        let mut vitals = self.vitals();
        vitals.unavailable_but_for_breaker(now)?;
        match vitals.breaker.admit(now) {
            Admission::Pass => Ok(self.permit(false)),
            Admission::Probe => Ok(self.permit(true)),
            Admission::Refuse(until) => Err(Unavailable::Open { until }),
        }
    }

    /// Asks for leave where nobody else can be asked: what was only guessed of it does not stand in the way, but one call
    /// at a time and not too often.
    pub fn admit_as_last_resort(self: &Arc<Self>, now: Instant) -> Result<Permit, Unavailable> {
        let mut vitals = self.vitals();
        let is_cooling = match vitals.unavailable_but_for_breaker(now) {
            Ok(()) => false,
            Err(Unavailable::Cooling { is_hinted: false, .. }) => true,
            Err(unavailable) => return Err(unavailable),
        };
        let next = vitals.last_resort.map(|last| last + LAST_RESORT_EVERY).filter(|next| now < *next);
        if let (true, Some(until)) = (is_cooling, next) {
            return Err(Unavailable::Cooling { until, is_hinted: false });
        }
        let is_probe = match vitals.breaker.admit_as_last_resort(now) {
            Admission::Pass => false,
            Admission::Probe => true,
            Admission::Refuse(until) => return Err(Unavailable::Open { until }),
        };
        vitals.last_resort = Some(now);
        Ok(self.permit(is_probe))
    }

    fn permit(self: &Arc<Self>, is_probe: bool) -> Permit {
        self.in_flight.fetch_add(1, Ordering::Relaxed);
        self.was_asked.store(true, Ordering::Relaxed);
        Permit { target: Arc::clone(self), is_probe, is_judged: false }
    }

    /// Returns why it could not be asked now, without asking for leave.
    pub fn unavailable(&self, now: Instant) -> Option<Unavailable> {
        let vitals = self.vitals();
        if let Err(unavailable) = vitals.unavailable_but_for_breaker(now) {
            return Some(unavailable);
        }
        let (until, _) = vitals.breaker.opened(now).filter(|_| !vitals.breaker.would_admit(now))?;
        Some(Unavailable::Open { until })
    }

    /// Returns whether somebody is finding out whether it is well, or soon may where nobody else is left.
    pub fn is_found_out(&self, now: Instant) -> bool {
        self.vitals().breaker.is_found_out(now)
    }

    /// Returns whether anybody ever asked it.
    pub fn was_asked(&self) -> bool {
        self.was_asked.load(Ordering::Relaxed)
    }

    /// Returns when it last answered.
    pub fn last_success(&self) -> Option<Instant> {
        self.vitals().last_success.map(|(at, _)| at)
    }

    /// Returns the middle of its first-token times of late; `None` where it was not asked of late.
    pub fn typical_first_token(&self, now: Instant) -> Option<Duration> {
        let mut times = self.vitals().recent(now, |sample| sample.first_token);
        times.sort_unstable();
        percentile(&times, 0.5)
    }

    /// Leaves it alone for as long as it takes to have room again, by what its own headers say.
    pub fn cool(&self, wait: Duration, now: Instant) {
        self.vitals().cool(now + wait, Word::Reckoned);
    }

    /// Returns whether it can be asked and nothing speaks against it.
    pub fn is_well(&self, now: Instant) -> bool {
        self.unavailable(now).is_none() && self.vitals().breaker.state(now) == BreakerState::Closed
    }

    /// Returns how it is.
    pub fn condition(&self, now: Instant) -> Condition {
        let is_well = self.is_well(now);
        let vitals = self.vitals();
        let cooling = vitals.cooling.filter(|cooling| now < cooling.until);
        let open_until = vitals.breaker.opened(now).map(|(until, _)| until).filter(|until| now < *until);
        Condition {
            is_healthy: is_well,
            breaker: vitals.breaker.state(now),
            open_until: open_until.map(|until| wall(until, now)),
            rate_limited_until: cooling.map(|cooling| wall(cooling.until, now)),
            consecutive_failures: vitals.consecutive_failures,
            last_success: vitals.last_success.map(|(_, at)| at),
            in_flight: self.in_flight.load(Ordering::Relaxed),
            latency_ms: percentiles(vitals.recent(now, |sample| sample.whole)),
            first_token_ms: percentiles(vitals.recent(now, |sample| sample.first_token)),
        }
    }

    /// Returns what of it should outlive the process; `None` where all is well.
    pub fn to_store(&self, upstream: &str, now: Instant) -> Option<StoredBreaker> {
        let vitals = self.vitals();
        let opened = vitals.breaker.opened(now);
        let cooling = vitals.cooling.filter(|cooling| now < cooling.until && cooling.word == Word::Given);
        if opened.is_none() && cooling.is_none() {
            return None;
        }
        Some(StoredBreaker {
            upstream: upstream.to_owned(),
            model: self.model.to_string(),
            open_until: opened.map(|(until, _)| wall(until, now)),
            openings: opened.map_or(0, |(_, openings)| openings),
            cooling_until: cooling.map(|cooling| wall(cooling.until, now)),
        })
    }

    /// Takes in what was saved, as far as the settings reach.
    pub fn restore(&self, stored: &StoredBreaker, now: Instant, settings: &Settings, retry: &RetryConfig) {
        let moment = |wall: UnixMillis| {
            let left = u64::try_from(wall.millis_since(unix_millis())).unwrap_or(0);
            // More than a day is no wait that anybody asked for.
            now + Duration::from_millis(left.min(86_400_000))
        };
        self.was_asked.store(true, Ordering::Relaxed);
        let mut vitals = self.vitals();
        if let Some(until) = stored.open_until {
            vitals.breaker = Breaker::restored(moment(until), stored.openings, now, settings);
        }
        if let Some(until) = stored.cooling_until {
            let cap = now + Duration::from_secs(retry.max_cooldown_seconds);
            vitals.cool(moment(until).min(cap), Word::Given);
        }
    }

    /// Nothing can be half done under this lock, so one who panicked leaves nothing to fear.
    fn vitals(&self) -> MutexGuard<'_, Vitals> {
        self.vitals.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Vitals {
    fn unavailable_but_for_breaker(&self, now: Instant) -> Result<(), Unavailable> {
        if let Some(until) = self.missing_until.filter(|until| now < *until) {
            return Err(Unavailable::Parked { until });
        }
        match self.cooling {
            Some(Cooling { until, word }) if now < until => {
                Err(Unavailable::Cooling { until, is_hinted: word == Word::Given })
            }
            _ => Ok(()),
        }
    }

    /// Of two cooldowns the longer one holds.
    fn cool(&mut self, until: Instant, word: Word) {
        match self.cooling {
            Some(cooling) if cooling.until >= until => {}
            _ => self.cooling = Some(Cooling { until, word }),
        }
    }

    fn recent(&self, now: Instant, time: impl Fn(&Sample) -> Duration) -> Vec<Duration> {
        let is_recent = |sample: &&Sample| now.duration_since(sample.at) < SAMPLE_AGE;
        self.samples.iter().filter(is_recent).map(time).collect()
    }
}

/// Leave to make one call. Dropping it without a verdict says nothing of the upstream, and gives a probe back.
#[derive(Debug)]
pub struct Permit {
    target: Arc<Target>,
    is_probe: bool,
    is_judged: bool,
}

impl Permit {
    /// Returns whether the call finds out whether the upstream is well again.
    pub const fn is_probe(&self) -> bool {
        self.is_probe
    }

    /// Says that the call has begun to bring an answer. A probe has found out then: nobody else need wait for its end.
    pub fn opened(&mut self, now: Instant, settings: &Settings) -> Change {
        if !std::mem::take(&mut self.is_probe) {
            return Change::None;
        }
        self.target.vitals().breaker.judge(true, Verdict::Success, now, settings)
    }

    /// Says that the call brought an answer, its first token and its last byte after so long.
    pub fn succeeded(
        mut self,
        first_token: Duration,
        whole: Duration,
        now: Instant,
        settings: &Settings,
    ) -> Recovered {
        let target = Arc::clone(&self.target);
        let mut vitals = target.vitals();
        vitals.consecutive_failures = 0;
        vitals.unhinted = 0;
        let is_back = vitals.missing_until.take().is_some();
        // What was only guessed is refuted.
        vitals.cooling = vitals.cooling.filter(|cooling| cooling.word != Word::Guessed);
        vitals.last_success = Some((now, unix_millis()));
        if vitals.samples.len() == SAMPLES {
            vitals.samples.pop_front();
        }
        vitals.samples.push_back(Sample { at: now, first_token, whole });
        self.is_judged = true;
        let change = vitals.breaker.judge(self.is_probe, Verdict::Success, now, settings);
        Recovered { change, is_back }
    }

    /// Says that the upstream answered, with something that says nothing of its health.
    pub fn heard(mut self, now: Instant, settings: &Settings) -> Change {
        let target = Arc::clone(&self.target);
        self.is_judged = true;
        target.vitals().breaker.judge(self.is_probe, Verdict::Neutral, now, settings)
    }

    /// Says how the call failed. `draw` in [0, 1) shortens what is waited for without a hint.
    pub fn failed(
        mut self,
        error: &ProviderError,
        draw: f64,
        now: Instant,
        settings: &Settings,
        retry: &RetryConfig,
    ) -> Judged {
        let target = Arc::clone(&self.target);
        let mut vitals = target.vitals();
        let is_counted = error.counts_against_breaker();
        if is_counted {
            vitals.consecutive_failures = vitals.consecutive_failures.saturating_add(1);
        }
        // A quota is of the account, which is left alone by itself, and forgets it when the configuration is loaded anew.
        let hint = error.wait_hint().filter(|_| error.kind != ProviderErrorKind::QuotaGone);
        if let Some(hint) = hint {
            let hint = hint.min(Duration::from_secs(retry.max_cooldown_seconds));
            vitals.cool(now + hint, Word::Given);
        } else if matches!(error.kind, ProviderErrorKind::RateLimited) || error.status == Some(529) {
            let doubled = SOFT_COOLDOWN.saturating_mul(1 << vitals.unhinted.min(16)).min(SOFT_COOLDOWN_MAX);
            vitals.unhinted = vitals.unhinted.saturating_add(1);
            vitals.cool(now + doubled.mul_f64(1.0 - JITTER * draw), Word::Guessed);
        }
        let is_missing = error.kind == ProviderErrorKind::ModelMissing;
        if is_missing || (error.kind == ProviderErrorKind::QuotaGone && error.is_of_model) {
            vitals.missing_until = Some(now + MISSING);
        }
        self.is_judged = true;
        let verdict = if is_counted { Verdict::Failure { draw } } else { Verdict::Neutral };
        Judged { change: vitals.breaker.judge(self.is_probe, verdict, now, settings), is_missing }
    }
}

impl Drop for Permit {
    fn drop(&mut self) {
        self.target.in_flight.fetch_sub(1, Ordering::Relaxed);
        if self.is_probe && !self.is_judged {
            self.target.vitals().breaker.give_back();
        }
    }
}

fn percentiles(mut times: Vec<Duration>) -> Option<Percentiles> {
    times.sort_unstable();
    let at = |share| percentile(&times, share).map(|time| time.as_secs_f64() * 1e3);
    Some(Percentiles { p50: at(0.5)?, p95: at(0.95)?, p99: at(0.99)? })
}

/// Returns the value below which this share of the sorted values lies (nearest rank).
fn percentile(sorted: &[Duration], share: f64) -> Option<Duration> {
    let rank = (sorted.len() as f64 * share).ceil() as usize;
    sorted.get(rank.saturating_sub(1)).copied()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::BreakerConfig;

    fn settings() -> Settings {
        Settings::of(&BreakerConfig::default())
    }

    fn fail(target: &Arc<Target>, error: &ProviderError, now: Instant) -> Judged {
        target.admit(now).unwrap().failed(error, 0.0, now, &settings(), &RetryConfig::default())
    }

    fn hinted(kind: ProviderErrorKind, seconds: u64) -> ProviderError {
        ProviderError { retry_after: Some(Duration::from_secs(seconds)), ..ProviderError::new(kind, "") }
    }

    #[test]
    fn a_hint_is_kept_to_and_capped_and_counts_against_nobody() {
        let target = Arc::new(Target::new("m"));
        let now = Instant::now();
        let ended = fail(&target, &hinted(ProviderErrorKind::RateLimited, 7_200), now);
        assert_eq!(ended.change, Change::None);
        let until = now + Duration::from_secs(3_600);
        let cooling = Unavailable::Cooling { until, is_hinted: true };
        assert_eq!(target.admit(now).unwrap_err(), cooling);
        assert_eq!(target.admit_as_last_resort(now).unwrap_err(), cooling, "it said so itself");
        assert!(target.admit(until).is_ok());
        assert_eq!(target.condition(now).consecutive_failures, 0);
    }

    #[test]
    fn limits_without_a_hint_cool_twice_as_long_each_time_until_it_answers() {
        let target = Arc::new(Target::new("m"));
        let mut now = Instant::now();
        for seconds in [1, 2, 4, 8, 16, 32, 60, 60] {
            fail(&target, &ProviderError::new(ProviderErrorKind::RateLimited, ""), now);
            let until = now + Duration::from_secs(seconds);
            assert_eq!(target.unavailable(now), Some(Unavailable::Cooling { until, is_hinted: false }));
            assert!(target.admit_as_last_resort(now).is_ok(), "it is only a guess");
            assert!(target.admit_as_last_resort(now).is_err(), "but not for everybody at once");
            now = until;
        }
        let moment = Duration::from_millis(5);
        target.admit(now).unwrap().succeeded(moment, moment, now, &settings());
        fail(&target, &ProviderError::new(ProviderErrorKind::RateLimited, ""), now);
        assert!(target.admit(now + Duration::from_secs(1)).is_ok());
    }

    #[test]
    fn a_permit_that_is_dropped_gives_its_probe_back() {
        let target = Arc::new(Target::new("m"));
        let now = Instant::now();
        for _ in 0..3 {
            fail(&target, &ProviderError::timeout("first token"), now);
        }
        assert!(matches!(target.admit(now), Err(Unavailable::Open { .. })));
        let later = now + Duration::from_secs(30);
        let probe = target.admit(later).unwrap();
        assert!(target.admit(later).is_err());
        assert_eq!(target.condition(later).in_flight, 1);
        drop(probe);
        assert_eq!(target.condition(later).in_flight, 0);
        assert!(target.admit(later).is_ok());
    }

    #[test]
    fn what_is_saved_comes_back() {
        let target = Arc::new(Target::new("m"));
        let now = Instant::now();
        assert_eq!(target.to_store("u", now), None);
        for _ in 0..3 {
            fail(&target, &ProviderError::timeout("first token"), now);
        }
        let stored = target.to_store("u", now).unwrap();
        let back = Arc::new(Target::new("m"));
        back.restore(&stored, now, &settings(), &RetryConfig::default());
        let Some(Unavailable::Open { until }) = back.unavailable(now) else { panic!("it should be open") };
        let seconds = until.duration_since(now).as_secs_f64();
        assert!((seconds - 30.0).abs() < 1.0, "{seconds}");
    }

    #[test]
    fn percentiles_are_those_of_late() {
        let target = Arc::new(Target::new("m"));
        let now = Instant::now();
        for millis in 1..=100 {
            let time = Duration::from_millis(millis);
            target.admit(now).unwrap().succeeded(time, time * 2, now, &settings());
        }
        let condition = target.condition(now);
        assert_eq!(condition.first_token_ms, Some(Percentiles { p50: 50.0, p95: 95.0, p99: 99.0 }));
        assert_eq!(condition.latency_ms.map(|times| times.p50), Some(100.0));
        assert_eq!(target.typical_first_token(now), Some(Duration::from_millis(50)));
        assert_eq!(target.typical_first_token(now + SAMPLE_AGE), None);
    }
}
