//! When is an upstream's model left alone?
//!
//! A circuit breaker without I/O, clock or chance: whoever asks brings the moment and, where a wait is drawn, the draw.
//! Closed passes, open refuses, half-open lets one probe through at a time. Calls that began before it opened say
//! nothing about it any more; only a probe closes it.

use std::collections::VecDeque;
use std::time::Duration;

use tokio::time::Instant;

use super::snapshot::BreakerState;
use crate::config::BreakerConfig;

/// Openings in a row that take the plain time; each one after them takes twice as long as the one before.
const PLAIN_OPENINGS: u32 = 3;
/// The most by which chance shortens a wait. It never lengthens one: the configured time is a promise.
const JITTER: f64 = 0.2;
/// Slots that the window is counted in.
const SLOTS: u32 = 12;
/// How long after it may be asked again an open breaker means something, while nobody asks.
const FORGOTTEN_AFTER: Duration = Duration::from_secs(600);
/// Where nobody else can be asked, an open breaker lets a call through all the same, and after each that fails the next
/// one later, up to the longest time: it may be wrong, and a caller who would get an error loses nothing by it. Three
/// failures in a row happen by chance where an upstream fails one call in seven and is asked a hundred times a second.
const LAST_RESORT_FIRST: Duration = Duration::from_millis(50);
const LAST_RESORT_MAX: Duration = Duration::from_secs(1);

/// The settings of all breakers.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Settings {
    failures: usize,
    window: Duration,
    failure_ratio: f64,
    min_calls: u32,
    open: Duration,
    open_max: Duration,
}

impl Settings {
    /// Returns the settings of a configuration that was validated.
    pub fn of(config: &BreakerConfig) -> Self {
        Self {
            failures: config.failures as usize,
            window: Duration::from_secs(config.window_seconds),
            failure_ratio: config.failure_ratio,
            min_calls: config.min_calls,
            open: Duration::from_secs(config.open_seconds),
            open_max: Duration::from_secs(config.max_open_seconds),
        }
    }

    /// Returns how long the breaker stays open, the nth time in a row; `draw` is in [0, 1).
    fn open_for(&self, openings: u32, draw: f64) -> Duration {
        let doublings = openings.saturating_sub(PLAIN_OPENINGS).min(31);
        let plain = self.open.saturating_mul(1 << doublings).min(self.open_max);
        plain.mul_f64(1.0 - JITTER * draw)
    }
}

/// What a breaker says to a call that is about to be made.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Admission {
    /// Closed: any number may pass.
    Pass,
    /// This one call may pass, and must say how it ended or that it was given up.
    Probe,
    /// Not now. At this moment a probe may pass, as far as is known.
    Refuse(Instant),
}

/// How a call that was let through ended.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Verdict {
    Success,
    /// The upstream answered, and with something that says nothing of its health: a limit, a caller's mistake.
    Neutral,
    /// A counted failure; `draw` in [0, 1) shortens the wait that it may cause.
    Failure {
        draw: f64,
    },
}

/// What a verdict changed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Change {
    None,
    Opened,
    Closed,
}

/// The breaker of one model of one upstream.
#[derive(Debug)]
pub struct Breaker {
    state: State,
    /// How often it opened in a row, without a window's time of health between.
    openings: u32,
    /// When it was last closed by a probe.
    closed_at: Option<Instant>,
    /// The last failures without a success between them, at most as many as open it.
    streak: VecDeque<Instant>,
    window: Window,
}

#[derive(Clone, Copy, Debug)]
enum State {
    Closed,
    Open { until: Instant, is_probing: bool, last_resort: LastResort },
}

/// The calls that passed before their time.
#[derive(Clone, Copy, Debug, Default)]
struct LastResort {
    last: Option<Instant>,
    failures: u32,
}

impl LastResort {
    /// Returns when the next one may pass.
    fn next(&self) -> Option<Instant> {
        let doubled = LAST_RESORT_FIRST.saturating_mul(1 << self.failures.saturating_sub(1).min(10));
        self.last.map(|last| last + doubled.min(LAST_RESORT_MAX))
    }
}

impl Default for Breaker {
    fn default() -> Self {
        Self {
            state: State::Closed,
            openings: 0,
            closed_at: None,
            streak: VecDeque::new(),
            window: Window::default(),
        }
    }
}

impl Breaker {
    /// Returns a breaker as it was saved: open until then, for the nth time in a row. What was saved is not trusted
    /// further than the settings reach.
    pub fn restored(until: Instant, openings: u32, now: Instant, settings: &Settings) -> Self {
        let until = until.min(now + settings.open_max);
        let state = State::Open { until, is_probing: false, last_resort: LastResort::default() };
        Self { state, openings, ..Self::default() }
    }

    /// Asks for leave to make a call.
    pub fn admit(&mut self, now: Instant) -> Admission {
        match &mut self.state {
            State::Closed => Admission::Pass,
            State::Open { until, .. } if now < *until => Admission::Refuse(*until),
            State::Open { is_probing: true, .. } => Admission::Refuse(now),
            State::Open { is_probing, .. } => {
                *is_probing = true;
                Admission::Probe
            }
        }
    }

    /// Asks for leave where nobody else can be asked: one call at a time, and not too often. The call is a probe.
    pub fn admit_as_last_resort(&mut self, now: Instant) -> Admission {
        match &mut self.state {
            State::Closed => Admission::Pass,
            State::Open { is_probing: true, .. } => Admission::Refuse(now + LAST_RESORT_FIRST),
            State::Open { is_probing, last_resort, .. } => {
                if let Some(next) = last_resort.next().filter(|next| now < *next) {
                    return Admission::Refuse(next);
                }
                (*is_probing, last_resort.last) = (true, Some(now));
                Admission::Probe
            }
        }
    }

    /// Returns whether somebody is finding out whether all is well, or soon may where nobody else is left.
    pub fn is_found_out(&self, now: Instant) -> bool {
        match &self.state {
            State::Closed => false,
            State::Open { is_probing, last_resort, .. } => {
                *is_probing || last_resort.next().is_none_or(|next| next <= now + 2 * LAST_RESORT_FIRST)
            }
        }
    }

    /// Returns whether a call would be let through.
    pub fn would_admit(&self, now: Instant) -> bool {
        match self.state {
            State::Closed => true,
            State::Open { until, is_probing, .. } => !is_probing && until <= now,
        }
    }

    /// Takes back the leave of a probe that ended without a verdict.
    pub fn give_back(&mut self) {
        if let State::Open { is_probing, .. } = &mut self.state {
            *is_probing = false;
        }
    }

    /// Takes in how a call ended.
    pub fn judge(&mut self, is_probe: bool, verdict: Verdict, now: Instant, settings: &Settings) -> Change {
        match (self.state, is_probe) {
            (State::Closed, _) => self.judge_closed(verdict, now, settings),
            (State::Open { until, .. }, true) => self.judge_probe(verdict, until, now, settings),
            (State::Open { .. }, false) => Change::None,
        }
    }

    fn judge_closed(&mut self, verdict: Verdict, now: Instant, settings: &Settings) -> Change {
        let draw = match verdict {
            Verdict::Success => {
                self.streak.clear();
                self.window.count(now, false, settings.window);
                return Change::None;
            }
            Verdict::Neutral => return Change::None,
            Verdict::Failure { draw } => draw,
        };
        self.window.count(now, true, settings.window);
        self.streak.push_back(now);
        while self.streak.len() > settings.failures {
            self.streak.pop_front();
        }
        let is_streak = self.streak.len() == settings.failures
            && self.streak.front().is_some_and(|first| now.duration_since(*first) <= settings.window);
        let (calls, failures) = self.window.sums(now, settings.window);
        let is_ratio =
            calls >= settings.min_calls && f64::from(failures) >= settings.failure_ratio * f64::from(calls);
        if !is_streak && !is_ratio {
            return Change::None;
        }
        let was_well_for = self.closed_at.map(|at| now.duration_since(at));
        if was_well_for.is_none_or(|well| well > settings.window) {
            self.openings = 0;
        }
        self.open(draw, now, settings);
        Change::Opened
    }

    fn judge_probe(&mut self, verdict: Verdict, until: Instant, now: Instant, settings: &Settings) -> Change {
        self.give_back();
        match verdict {
            Verdict::Success | Verdict::Neutral => {
                self.state = State::Closed;
                self.closed_at = Some(now);
                self.streak.clear();
                self.window = Window::default();
                Change::Closed
            }
            // A call as last resort came before its time, so its failure does not count against the upstream.
            Verdict::Failure { .. } if now < until => {
                if let State::Open { last_resort, .. } = &mut self.state {
                    last_resort.failures = last_resort.failures.saturating_add(1);
                }
                Change::None
            }
            Verdict::Failure { draw } => {
                self.open(draw, now, settings);
                Change::Opened
            }
        }
    }

    fn open(&mut self, draw: f64, now: Instant, settings: &Settings) {
        self.openings = self.openings.saturating_add(1);
        let until = now + settings.open_for(self.openings, draw);
        self.state = State::Open { until, is_probing: false, last_resort: LastResort::default() };
        self.streak.clear();
    }

    /// Returns its state in the usual words. One that nobody asked for long is taken for closed.
    pub fn state(&self, now: Instant) -> BreakerState {
        match self.opened(now) {
            None => BreakerState::Closed,
            Some((until, _)) if now < until => BreakerState::Open,
            Some(_) => BreakerState::HalfOpen,
        }
    }

    /// Returns until when it is open and how often in a row it opened; `None` when it is closed, or nobody has asked for
    /// long.
    pub fn opened(&self, now: Instant) -> Option<(Instant, u32)> {
        match self.state {
            State::Open { until, .. } if now < until + FORGOTTEN_AFTER => Some((until, self.openings)),
            State::Closed | State::Open { .. } => None,
        }
    }
}

/// Calls and failures of the last while, in slots.
#[derive(Debug, Default)]
struct Window {
    slots: VecDeque<Slot>,
}

#[derive(Clone, Copy, Debug)]
struct Slot {
    began: Instant,
    calls: u32,
    failures: u32,
}

impl Window {
    fn count(&mut self, now: Instant, is_failure: bool, window: Duration) {
        self.forget(now, window);
        let is_current = |slot: &&mut Slot| now.duration_since(slot.began) < window / SLOTS;
        let slot = match self.slots.back_mut().filter(is_current) {
            Some(slot) => slot,
            None => {
                self.slots.push_back(Slot { began: now, calls: 0, failures: 0 });
                self.slots.back_mut().expect("a slot was just put there")
            }
        };
        slot.calls += 1;
        slot.failures += u32::from(is_failure);
    }

    fn sums(&mut self, now: Instant, window: Duration) -> (u32, u32) {
        self.forget(now, window);
        self.slots
            .iter()
            .fold((0, 0), |(calls, failures), slot| (calls + slot.calls, failures + slot.failures))
    }

    fn forget(&mut self, now: Instant, window: Duration) {
        while self.slots.front().is_some_and(|slot| now.duration_since(slot.began) > window) {
            self.slots.pop_front();
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const FAILURE: Verdict = Verdict::Failure { draw: 0.0 };

    fn settings() -> Settings {
        Settings::of(&BreakerConfig::default())
    }

    fn seconds(seconds: f64) -> Duration {
        Duration::from_secs_f64(seconds)
    }

    /// A breaker and its clock.
    struct Bench {
        breaker: Breaker,
        began: Instant,
    }

    impl Bench {
        fn new() -> Self {
            Self { breaker: Breaker::default(), began: Instant::now() }
        }

        fn at(&self, at: f64) -> Instant {
            self.began + seconds(at)
        }

        /// Makes one call as anybody would, and returns what came of it; `None` where it was refused.
        fn call(&mut self, at: f64, verdict: Verdict) -> Option<Change> {
            let now = self.at(at);
            let is_probe = match self.breaker.admit(now) {
                Admission::Pass => false,
                Admission::Probe => true,
                Admission::Refuse(_) => return None,
            };
            Some(self.breaker.judge(is_probe, verdict, now, &settings()))
        }

        fn open_for(&self, at: f64) -> f64 {
            let (until, _) = self.breaker.opened(self.at(at)).unwrap();
            until.duration_since(self.at(at)).as_secs_f64()
        }
    }

    #[test]
    fn three_failures_in_a_minute_open_it_and_a_success_between_them_does_not() {
        let mut bench = Bench::new();
        assert_eq!(bench.call(0.0, FAILURE), Some(Change::None));
        assert_eq!(bench.call(1.0, FAILURE), Some(Change::None));
        assert_eq!(bench.call(2.0, Verdict::Success), Some(Change::None));
        assert_eq!(bench.call(3.0, FAILURE), Some(Change::None));
        assert_eq!(bench.call(4.0, Verdict::Neutral), Some(Change::None));
        assert_eq!(bench.call(64.0, FAILURE), Some(Change::None), "the first of the three is too old");
        assert_eq!(bench.call(65.0, FAILURE), Some(Change::None));
        assert_eq!(bench.call(66.0, FAILURE), Some(Change::Opened));
        assert_eq!(bench.call(66.1, Verdict::Success), None);
    }

    #[test]
    fn half_of_ten_calls_open_it() {
        let mut bench = Bench::new();
        for call in 0..9 {
            let verdict = if call % 2 == 0 { FAILURE } else { Verdict::Success };
            assert_eq!(bench.call(f64::from(call), verdict), Some(Change::None));
        }
        assert_eq!(bench.call(9.0, Verdict::Success), Some(Change::None), "only a failure opens it");
        assert_eq!(bench.call(10.0, FAILURE), Some(Change::Opened));
    }

    #[test]
    fn it_opens_for_longer_from_the_fourth_time_in_a_row_and_never_for_longer_than_the_cap() {
        let mut bench = Bench::new();
        let mut at = 0.0;
        for _ in 0..2 {
            bench.call(at, FAILURE);
        }
        let mut waits = Vec::new();
        for _ in 0..9 {
            assert_eq!(bench.call(at, FAILURE), Some(Change::Opened));
            waits.push(bench.open_for(at));
            at += bench.open_for(at);
        }
        assert_eq!(waits, [30.0, 30.0, 30.0, 60.0, 120.0, 240.0, 300.0, 300.0, 300.0]);
        assert_eq!(bench.call(at, Verdict::Success), Some(Change::Closed));
        // A relapse within the window counts on; after a window's time of health it begins anew.
        for again in [1.0, 2.0] {
            bench.call(at + again, FAILURE);
        }
        bench.call(at + 3.0, FAILURE);
        assert_eq!(bench.open_for(at + 3.0), 300.0);
        at += 3.0 + 300.0;
        assert_eq!(bench.call(at, Verdict::Success), Some(Change::Closed));
        for later in [61.0, 62.0, 63.0] {
            bench.call(at + later, FAILURE);
        }
        assert_eq!(bench.open_for(at + 63.0), 30.0);
    }

    #[test]
    fn one_probe_passes_at_a_time_and_one_that_was_given_up_is_given_back() {
        let mut bench = Bench::new();
        for at in 0..3 {
            bench.call(f64::from(at), FAILURE);
        }
        let now = bench.at(32.0);
        assert_eq!(bench.breaker.admit(now), Admission::Probe);
        assert_eq!(bench.breaker.admit(now), Admission::Refuse(now));
        bench.breaker.give_back();
        assert_eq!(bench.breaker.admit(now), Admission::Probe);
        let settings = settings();
        assert_eq!(bench.breaker.judge(false, Verdict::Success, now, &settings), Change::None, "a late one");
        assert_eq!(bench.breaker.judge(true, Verdict::Neutral, now, &settings), Change::Closed);
        assert_eq!(bench.breaker.admit(now), Admission::Pass);
    }

    #[test]
    fn as_last_resort_a_call_passes_and_the_next_one_later_each_time() {
        let mut bench = Bench::new();
        for at in 0..3 {
            bench.call(f64::from(at), FAILURE);
        }
        let mut now = bench.at(5.0);
        let (until, _) = bench.breaker.opened(now).unwrap();
        for wait_ms in [50, 100, 200, 400, 800, 1_000, 1_000] {
            assert_eq!(bench.breaker.admit_as_last_resort(now), Admission::Probe);
            assert!(bench.breaker.is_found_out(now));
            assert_eq!(bench.breaker.judge(true, FAILURE, now, &settings()), Change::None);
            assert_eq!(bench.breaker.opened(now), Some((until, 1)), "it came before its time");
            let next = now + Duration::from_millis(wait_ms);
            assert_eq!(bench.breaker.admit_as_last_resort(now), Admission::Refuse(next));
            now = next;
        }
        assert_eq!(bench.breaker.admit_as_last_resort(now), Admission::Probe);
        assert_eq!(bench.breaker.judge(true, Verdict::Success, now, &settings()), Change::Closed);
    }

    #[test]
    fn what_was_saved_is_not_trusted_beyond_the_cap() {
        let now = Instant::now();
        let settings = settings();
        let breaker = Breaker::restored(now + seconds(1e6), 7, now, &settings);
        assert_eq!(breaker.opened(now), Some((now + seconds(300.0), 7)));
        assert_eq!(breaker.state(now), BreakerState::Open);
        assert_eq!(breaker.state(now + seconds(300.0)), BreakerState::HalfOpen);
        assert_eq!(breaker.state(now + seconds(900.0)), BreakerState::Closed, "nobody has asked for long");
    }

    /// One step of somebody who uses a breaker.
    #[derive(Clone, Debug)]
    enum Act {
        Ask { is_last_resort: bool },
        End { which: usize, verdict: u8, draw: f64 },
        GiveUp { which: usize },
        Wait(f64),
    }

    fn acts() -> impl Strategy<Value = Vec<Act>> {
        let act = prop_oneof![
            4 => any::<bool>().prop_map(|is_last_resort| Act::Ask { is_last_resort }),
            4 => (any::<usize>(), 0..3_u8, 0.0..1.0).prop_map(|(which, verdict, draw)| Act::End { which, verdict, draw }),
            1 => any::<usize>().prop_map(|which| Act::GiveUp { which }),
            3 => (0.0..40.0).prop_map(Act::Wait),
        ];
        prop::collection::vec(act, 1..200)
    }

    proptest! {
        #[test]
        fn whatever_happens_at_most_one_probe_is_out_and_nobody_is_locked_out_for_good(acts in acts()) {
            let settings = settings();
            let mut breaker = Breaker::default();
            let mut now = Instant::now();
            let mut calls: Vec<bool> = Vec::new();
            for act in acts {
                match act {
                    Act::Ask { is_last_resort } => {
                        let was_closed = matches!(breaker.state, State::Closed);
                        let admission = if is_last_resort {
                            breaker.admit_as_last_resort(now)
                        } else {
                            breaker.admit(now)
                        };
                        match admission {
                            Admission::Pass => {
                                prop_assert!(was_closed);
                                calls.push(false);
                            }
                            Admission::Probe => calls.push(true),
                            Admission::Refuse(until) => {
                                prop_assert!(!was_closed);
                                prop_assert!(until <= now + settings.open_max);
                            }
                        }
                    }
                    Act::End { which, verdict, draw } if !calls.is_empty() => {
                        let is_probe = calls.swap_remove(which % calls.len());
                        let verdict = match verdict {
                            0 => Verdict::Success,
                            1 => Verdict::Neutral,
                            _ => Verdict::Failure { draw },
                        };
                        let before = breaker.opened(now);
                        let change = breaker.judge(is_probe, verdict, now, &settings);
                        if let (Some((until, _)), Change::Opened) = (breaker.opened(now), change) {
                            prop_assert!(until >= now + settings.open.mul_f64(0.8));
                            prop_assert!(until <= now + settings.open_max);
                        }
                        if !is_probe && before.is_some() {
                            prop_assert_eq!(breaker.opened(now), before, "only a probe changes an open one");
                        }
                    }
                    Act::GiveUp { which } if !calls.is_empty() => {
                        if calls.swap_remove(which % calls.len()) {
                            breaker.give_back();
                        }
                    }
                    Act::End { .. } | Act::GiveUp { .. } => {}
                    Act::Wait(time) => now += seconds(time),
                }
                // A breaker that has closed meanwhile has no use for a probe's verdict, and lets everybody through.
                if !matches!(breaker.state, State::Closed) {
                    prop_assert!(calls.iter().filter(|is_probe| **is_probe).count() <= 1);
                }
            }
            // Once nobody is under way and the longest wait has passed, somebody may always ask.
            for is_probe in calls {
                if is_probe {
                    breaker.give_back();
                }
            }
            now += settings.open_max;
            prop_assert!(breaker.would_admit(now));
            prop_assert!(!matches!(breaker.admit(now), Admission::Refuse(_)));
        }
    }

    /// A year of trouble in an instant: clients ask every tenth of a second, the upstream has outages. `seed` decides all.
    fn simulate(seed: u64) -> (u32, u32, f64) {
        use rand::rngs::StdRng;
        use rand::{Rng, SeedableRng};
        let mut chance = StdRng::seed_from_u64(seed);
        let mut bench = Bench::new();
        let (mut at, mut is_up, mut turns_at) = (0.0, true, 200.0);
        let (mut calls_while_down, mut asks_while_down, mut slowest_return) = (0, 0, 0.0_f64);
        let mut came_back: Option<f64> = None;
        while at < 20_000.0 {
            at += 0.1;
            if at >= turns_at {
                is_up = !is_up;
                turns_at = at + chance.random_range(60.0..400.0);
                came_back = is_up.then_some(at);
            }
            let verdict = if is_up { Verdict::Success } else { Verdict::Failure { draw: chance.random() } };
            let called = bench.call(at, verdict).is_some();
            if !is_up {
                asks_while_down += 1;
                calls_while_down += u32::from(called);
            }
            if called && let Some(since) = came_back.take() {
                slowest_return = slowest_return.max(at - since);
            }
        }
        (calls_while_down, asks_while_down, slowest_return)
    }

    #[test]
    fn an_upstream_that_is_down_is_hardly_asked_and_one_that_is_back_is_asked_soon() {
        for seed in 0..20 {
            let (calls, asks, slowest) = simulate(seed);
            assert!(calls * 100 < asks, "seed {seed}: {calls} calls of {asks}");
            assert!(slowest <= 300.0, "seed {seed}: it was left alone for {slowest} s after it was well");
        }
    }
}
