//! What is worth saying? A state machine: what happened comes in with its time, alerts come out. Reads no clock, does no
//! I/O.
//!
//! Of each matter (a kind and what it is about) the watch knows how it is and what was last said of it. A matter that
//! turns bad is told at once, unless it was told within the window already: then at the window's end, if it is bad still.
//! One that goes on being bad is told again ever more rarely, so that an alert that got lost does not stay lost. That it
//! is over is told at once, and only if it was told before. So a matter that flaps is told twice per window, and what was
//! said last of anything is true, at the latest a window after it last changed.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;
use std::time::Duration;

use super::kind::{Alert, Kind, Turn};
use super::window::Window;
use crate::telemetry::{Incident, Totals};

/// What is asked of the watch.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Settings {
    /// Over which rates are taken, and in which the same alert is said once.
    pub window: Duration,
    /// The share of a route's answers by fallback that is an alert.
    pub fallback_rate: f64,
    /// The share of a route's requests with an error that is an alert.
    pub error_rate: f64,
}

/// The state machine. Times are since any fixed moment.
#[derive(Debug)]
pub struct Watch {
    settings: Settings,
    matters: HashMap<(Kind, Arc<str>), Matter>,
    windows: HashMap<Arc<str>, Window>,
    /// Decided and not taken yet, oldest first, and when the oldest was decided.
    waiting: Vec<Alert>,
    waiting_since: Duration,
}

#[derive(Debug, Default)]
struct Matter {
    is_bad: bool,
    share: Option<f64>,
    /// Whether the last word on it was that it is bad.
    is_told: bool,
    /// When it was last told to be bad.
    told_at: Option<Duration>,
    /// How often it was told to be bad since it was last told to be well.
    times: u32,
}

/// Fewer requests in a window say nothing: one error of one request is no alert.
const REQUESTS_MIN: u64 = 20;
/// A rate that was over its line is well again below this share of it, so that one at the line does not flap.
const WELL_AGAIN: f64 = 0.75;
/// How long a first alert waits for others, which often come with it: models of one upstream, upstreams of one cloud.
const GATHER: Duration = Duration::from_millis(500);
/// The longest silence about something that goes on being bad, unless the window is longer.
const SILENCE_MAX: Duration = Duration::from_secs(3_600);
/// Matters and waiting alerts at a time; there are fewer upstreams, models and routes than this in any configuration.
const MATTERS_MAX: usize = 4_096;

impl Watch {
    /// Returns a watch that knows of nothing bad.
    pub fn new(settings: Settings) -> Self {
        Self {
            settings,
            matters: HashMap::new(),
            windows: HashMap::new(),
            waiting: Vec::new(),
            waiting_since: Duration::ZERO,
        }
    }

    /// Judges by these settings from now on. With them comes a new configuration, under which upstreams that were parked
    /// are asked again: what was said of their keys and models is forgotten, and said again where it is still so.
    pub fn set(&mut self, settings: Settings) {
        self.settings = settings;
        self.matters.retain(|(kind, _), _| !kind.ends_with_configuration());
    }

    /// Takes in what happened to an upstream or a route.
    pub fn hear(&mut self, incident: &Incident, now: Duration) {
        let model_of = |upstream: &str, model: &str| Arc::from(format!("{upstream}/{model}"));
        match incident {
            Incident::BreakerOpened { upstream, model } => {
                self.turn(Kind::Breaker, model_of(upstream, model), Turn::Bad(None), now);
            }
            Incident::BreakerClosed { upstream, model } => {
                self.turn(Kind::Breaker, model_of(upstream, model), Turn::Well, now);
            }
            Incident::KeyRefused { upstream } => {
                self.turn(Kind::KeyRefused, Arc::clone(upstream), Turn::Bad(None), now);
            }
            Incident::QuotaGone { upstream } => {
                self.turn(Kind::QuotaGone, Arc::clone(upstream), Turn::Bad(None), now);
            }
            Incident::ModelMissing { upstream, model } => {
                self.turn(Kind::ModelMissing, model_of(upstream, model), Turn::Bad(None), now);
            }
            Incident::ModelReturned { upstream, model } => {
                self.turn(Kind::ModelMissing, model_of(upstream, model), Turn::Well, now);
                // Who parks a whole account cannot have answered; so it was this model's quota.
                self.turn(Kind::QuotaGone, Arc::clone(upstream), Turn::Well, now);
            }
            Incident::Untrusted { upstream } => {
                self.turn(Kind::Untrusted, Arc::clone(upstream), Turn::Bad(None), now);
            }
            Incident::Returned { upstream } => {
                for kind in [Kind::KeyRefused, Kind::QuotaGone, Kind::Untrusted] {
                    self.turn(kind, Arc::clone(upstream), Turn::Well, now);
                }
            }
            Incident::AllDown => self.turn(Kind::AllDown, Arc::from(""), Turn::Bad(None), now),
            Incident::SomeUp => self.turn(Kind::AllDown, Arc::from(""), Turn::Well, now),
            Incident::WrongHits { route, checked, different } => {
                let share = *different as f64 / (*checked).max(1) as f64;
                self.turn(Kind::WrongHits, Arc::clone(route), Turn::Bad(Some(share)), now);
            }
            Incident::SimilarAgain { route } => {
                self.turn(Kind::WrongHits, Arc::clone(route), Turn::Well, now);
            }
        }
    }

    /// Takes in what was counted of every route so far; a route that is not there any more is forgotten.
    pub fn measure(&mut self, routes: &[(Arc<str>, Totals)], now: Duration) {
        let Settings { window: length, fallback_rate, error_rate } = self.settings;
        let known: HashSet<&Arc<str>> = routes.iter().map(|(route, _)| route).collect();
        self.windows.retain(|route, _| known.contains(route));
        self.matters.retain(|(kind, subject), _| !kind.is_of_route() || known.contains(subject));
        for (route, totals) in routes {
            let window = self.windows.entry(Arc::clone(route)).or_default();
            window.note(*totals, now, length);
            let Totals { requests, errors, generations, fallbacks } = window.counted();
            for (kind, part, whole, line) in [
                (Kind::FallbackRate, fallbacks, generations, fallback_rate),
                (Kind::ErrorRate, errors, requests, error_rate),
            ] {
                let turn = self.judge(kind, route, part, whole, line);
                self.turn(kind, Arc::clone(route), turn, now);
            }
        }
    }

    fn judge(&self, kind: Kind, route: &Arc<str>, part: u64, whole: u64, line: f64) -> Turn {
        let share = if whole == 0 { 0.0 } else { part as f64 / whole as f64 };
        let was_bad = self.matters.get(&(kind, Arc::clone(route))).is_some_and(|matter| matter.is_bad);
        let is_bad =
            if was_bad { share >= line * WELL_AGAIN } else { whole >= REQUESTS_MIN && share >= line };
        if is_bad { Turn::Bad(Some(share)) } else { Turn::Well }
    }

    /// Says what had to wait for the end of its window, and forgets what is long over. To be called every second or so.
    pub fn pass(&mut self, now: Duration) {
        let window = self.settings.window;
        let mut due = Vec::new();
        self.matters.retain(|(kind, subject), matter| {
            if matter.is_bad && !matter.is_told && !matter.is_quiet(window, now) {
                matter.tell_bad(now);
                due.push(Alert { kind: *kind, subject: Arc::clone(subject), turn: Turn::Bad(matter.share) });
            }
            matter.is_bad || matter.is_told || matter.is_quiet(window, now)
        });
        due.into_iter().for_each(|alert| self.say(alert, now));
    }

    /// Returns what is to be said now, all of it at once; empty where there is nothing, or more may come any moment.
    pub fn take(&mut self, now: Duration) -> Vec<Alert> {
        if self.waiting.is_empty() || now < self.waiting_since + GATHER {
            return Vec::new();
        }
        std::mem::take(&mut self.waiting)
    }

    fn turn(&mut self, kind: Kind, subject: Arc<str>, turn: Turn, now: Duration) {
        let key = (kind, subject);
        let is_known = self.matters.contains_key(&key);
        if !is_known && (turn == Turn::Well || self.matters.len() >= MATTERS_MAX) {
            return;
        }
        let subject = Arc::clone(&key.1);
        let matter = self.matters.entry(key).or_default();
        match turn {
            Turn::Bad(share) => {
                (matter.is_bad, matter.share) = (true, share);
                if matter.is_quiet(self.settings.window, now) {
                    return;
                }
                matter.tell_bad(now);
            }
            Turn::Well => {
                matter.is_bad = false;
                if !std::mem::take(&mut matter.is_told) {
                    return;
                }
                matter.times = 0;
            }
        }
        self.say(Alert { kind, subject, turn }, now);
    }

    fn say(&mut self, alert: Alert, now: Duration) {
        if self.waiting.is_empty() {
            self.waiting_since = now;
        }
        if self.waiting.len() < MATTERS_MAX {
            self.waiting.push(alert);
        }
    }
}

impl Matter {
    fn tell_bad(&mut self, now: Duration) {
        self.is_told = true;
        self.told_at = Some(now);
        self.times = self.times.saturating_add(1);
    }

    /// Returns whether it was told to be bad so lately that it is not told again: within the window, and while it goes on
    /// being bad twice as long each time.
    fn is_quiet(&self, window: Duration, now: Duration) -> bool {
        let doubled = window.saturating_mul(1 << self.times.saturating_sub(1).min(16));
        let silence = doubled.min(SILENCE_MAX.max(window));
        self.told_at.is_some_and(|told_at| now < told_at + silence)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const SETTINGS: Settings =
        Settings { window: Duration::from_secs(300), fallback_rate: 0.2, error_rate: 0.1 };

    fn at(seconds: u64) -> Duration {
        Duration::from_secs(seconds)
    }

    fn opened(upstream: &str) -> Incident {
        Incident::BreakerOpened { upstream: upstream.into(), model: "m".into() }
    }

    fn closed(upstream: &str) -> Incident {
        Incident::BreakerClosed { upstream: upstream.into(), model: "m".into() }
    }

    /// Everything said by then, in short.
    fn said(watch: &mut Watch, seconds: u64) -> Vec<String> {
        watch.pass(at(seconds));
        let alerts = watch.take(at(seconds) + GATHER);
        let short = |alert: &Alert| {
            let sign = if alert.is_bad() { '-' } else { '+' };
            format!("{sign}{} {}", alert.kind.name(), alert.subject)
        };
        alerts.iter().map(short).collect()
    }

    #[test]
    fn a_burst_is_taken_at_once_and_not_before_it_is_over() {
        let mut watch = Watch::new(SETTINGS);
        for upstream in ["a", "b", "c"] {
            watch.hear(&opened(upstream), at(1));
            assert_eq!(watch.take(at(1)), []);
        }
        assert_eq!(said(&mut watch, 1), ["-breaker a/m", "-breaker b/m", "-breaker c/m"]);
        assert_eq!(said(&mut watch, 2), [""; 0]);
    }

    #[test]
    fn what_flaps_is_told_once_per_window_and_its_end_once() {
        let mut watch = Watch::new(SETTINGS);
        for second in 0..100 {
            watch.hear(&opened("a"), at(second));
            watch.hear(&closed("a"), at(second));
        }
        assert_eq!(said(&mut watch, 100), ["-breaker a/m", "+breaker a/m"]);
        watch.hear(&opened("a"), at(110));
        assert_eq!(said(&mut watch, 299), [""; 0]);
        assert_eq!(said(&mut watch, 300), ["-breaker a/m"]);
    }

    #[test]
    fn what_goes_on_is_told_ever_more_rarely() {
        let mut watch = Watch::new(SETTINGS);
        let mut told = Vec::new();
        for second in 0..20_000 {
            watch.hear(&opened("a"), at(second));
            if !said(&mut watch, second).is_empty() {
                told.push(second);
            }
        }
        assert_eq!(told, [0, 300, 900, 2_100, 4_500, 8_100, 11_700, 15_300, 18_900]);
    }

    #[test]
    fn an_upstream_that_returns_recovers_from_what_it_was_parked_for() {
        let mut watch = Watch::new(SETTINGS);
        watch.hear(&Incident::KeyRefused { upstream: "a".into() }, at(0));
        watch.hear(&Incident::QuotaGone { upstream: "b".into() }, at(0));
        watch.hear(&Incident::AllDown, at(0));
        assert_eq!(said(&mut watch, 0), ["-key_refused a", "-quota_gone b", "-all_down "]);
        watch.hear(&Incident::Returned { upstream: "a".into() }, at(1));
        watch.hear(&Incident::SomeUp, at(1));
        assert_eq!(said(&mut watch, 1), ["+key_refused a", "+all_down "]);
    }

    #[test]
    fn a_new_configuration_is_judged_anew_where_it_may_have_mended_something() {
        let mut watch = Watch::new(SETTINGS);
        watch.hear(&Incident::KeyRefused { upstream: "a".into() }, at(0));
        watch.hear(&opened("a"), at(0));
        assert_eq!(said(&mut watch, 0), ["-key_refused a", "-breaker a/m"]);
        watch.set(SETTINGS);
        watch.hear(&Incident::KeyRefused { upstream: "a".into() }, at(1));
        watch.hear(&opened("a"), at(1));
        assert_eq!(said(&mut watch, 1), ["-key_refused a"]);
    }

    #[test]
    fn a_model_that_is_there_again_is_told_and_its_quota_with_it() {
        let mut watch = Watch::new(SETTINGS);
        let (upstream, model): (Arc<str>, Arc<str>) = ("a".into(), "m".into());
        watch.hear(&Incident::ModelMissing { upstream: "a".into(), model: "m".into() }, at(0));
        watch.hear(&Incident::QuotaGone { upstream: "a".into() }, at(0));
        assert_eq!(said(&mut watch, 0), ["-model_missing a/m", "-quota_gone a"]);
        watch.hear(&Incident::ModelReturned { upstream, model }, at(60));
        assert_eq!(said(&mut watch, 60), ["+model_missing a/m", "+quota_gone a"]);
    }

    #[test]
    fn a_route_with_wrong_hits_is_told_until_somebody_switches_it_back() {
        let mut watch = Watch::new(SETTINGS);
        let route: Arc<str> = "fast".into();
        watch.hear(&Incident::SimilarAgain { route: Arc::clone(&route) }, at(0));
        assert_eq!(said(&mut watch, 0), [""; 0]);
        watch.hear(&Incident::WrongHits { route: Arc::clone(&route), checked: 40, different: 12 }, at(1));
        watch.pass(at(1));
        let [alert] = &watch.take(at(1) + GATHER)[..] else { panic!("one alert") };
        assert!(alert.to_string().starts_with("route fast: 30 % of the checked answers"), "{alert}");
        watch.hear(&Incident::SimilarAgain { route }, at(2));
        assert_eq!(said(&mut watch, 2), ["+wrong_hits fast"]);
    }

    /// What a route counts after so many requests, of which so many went wrong.
    fn counted(requests: u64, wrong: u64) -> [(Arc<str>, Totals); 1] {
        let totals = Totals { requests, errors: wrong, generations: requests, fallbacks: 0 };
        [("fast".into(), totals)]
    }

    #[test]
    fn a_rate_is_told_at_its_line_and_its_end_well_below_it() {
        let mut watch = Watch::new(SETTINGS);
        watch.measure(&counted(0, 0), at(0));
        watch.measure(&counted(REQUESTS_MIN - 1, REQUESTS_MIN - 1), at(1));
        assert_eq!(said(&mut watch, 1), [""; 0], "few requests say nothing");
        watch.measure(&counted(200, 19), at(2));
        assert_eq!(said(&mut watch, 2), [""; 0], "just below the line");
        watch.measure(&counted(200, 20), at(3));
        assert_eq!(said(&mut watch, 3), ["-error_rate fast"]);
        watch.measure(&counted(210, 20), at(4));
        assert_eq!(said(&mut watch, 4), [""; 0], "it must be well below");
        watch.measure(&counted(300, 20), at(5));
        assert_eq!(said(&mut watch, 5), ["+error_rate fast"]);
        watch.measure(&counted(400, 120), at(6));
        watch.measure(&[], at(7));
        assert_eq!(said(&mut watch, 400), [""; 0], "nothing is said of a route that is gone");
    }

    #[derive(Clone, Debug)]
    enum Step {
        Happens(Incident),
        Passes,
    }

    fn step() -> impl Strategy<Value = (u64, Step)> {
        let name = prop_oneof![Just("a"), Just("b")];
        let happens = (name, 0..7_u8).prop_map(|(upstream, what)| {
            let (upstream, model): (Arc<str>, Arc<str>) = (upstream.into(), "m".into());
            Step::Happens(match what {
                0 => Incident::BreakerOpened { upstream, model },
                1 => Incident::BreakerClosed { upstream, model },
                2 => Incident::KeyRefused { upstream },
                3 => Incident::QuotaGone { upstream },
                4 => Incident::Returned { upstream },
                5 => Incident::AllDown,
                _ => Incident::SomeUp,
            })
        });
        let step = prop_oneof![3 => happens, 1 => Just(Step::Passes)];
        (prop_oneof![Just(0), 0..60_u64, 0..1_000_u64], step)
    }

    /// Whether a matter is bad, as the incidents tell it; `None` where this one says nothing of it.
    fn truth(incident: &Incident, kind: Kind, subject: &str) -> Option<bool> {
        let of = |name: &Arc<str>| subject.split('/').next() == Some(name);
        match (incident, kind) {
            (Incident::BreakerOpened { upstream, .. }, Kind::Breaker) if of(upstream) => Some(true),
            (Incident::BreakerClosed { upstream, .. }, Kind::Breaker) if of(upstream) => Some(false),
            (Incident::KeyRefused { upstream }, Kind::KeyRefused) if of(upstream) => Some(true),
            (Incident::QuotaGone { upstream }, Kind::QuotaGone) if of(upstream) => Some(true),
            (Incident::Returned { upstream }, Kind::KeyRefused | Kind::QuotaGone) if of(upstream) => {
                Some(false)
            }
            (Incident::AllDown, Kind::AllDown) => Some(true),
            (Incident::SomeUp, Kind::AllDown) => Some(false),
            _ => None,
        }
    }

    const MATTERS: [(Kind, &str); 7] = [
        (Kind::Breaker, "a/m"),
        (Kind::Breaker, "b/m"),
        (Kind::KeyRefused, "a"),
        (Kind::KeyRefused, "b"),
        (Kind::QuotaGone, "a"),
        (Kind::QuotaGone, "b"),
        (Kind::AllDown, ""),
    ];

    proptest! {
        #[test]
        fn nothing_is_told_twice_in_a_window_and_the_last_word_is_true(
            steps in prop::collection::vec(step(), 0..200)
        ) {
            let mut watch = Watch::new(SETTINGS);
            let mut now = Duration::ZERO;
            let mut heard = Vec::new();
            let mut told: Vec<(Duration, Alert)> = Vec::new();
            for (seconds, step) in steps {
                now += at(seconds);
                match step {
                    Step::Happens(incident) => {
                        watch.hear(&incident, now);
                        heard.push(incident);
                    }
                    Step::Passes => watch.pass(now),
                }
                told.extend(watch.take(now + GATHER).into_iter().map(|alert| (now, alert)));
            }
            now += SETTINGS.window;
            watch.pass(now);
            told.extend(watch.take(now + GATHER).into_iter().map(|alert| (now, alert)));

            for (kind, subject) in MATTERS {
                let of_it: Vec<_> =
                    told.iter().filter(|(_, alert)| alert.kind == kind && &*alert.subject == subject).collect();
                let bad: Vec<_> = of_it.iter().filter(|(_, alert)| alert.is_bad()).map(|(at, _)| *at).collect();
                for pair in bad.windows(2) {
                    prop_assert!(pair[1] - pair[0] >= SETTINGS.window, "{kind:?} {subject}: {bad:?}");
                }
                let words: Vec<_> = of_it.iter().map(|(_, alert)| alert.is_bad()).collect();
                prop_assert!(words.first() != Some(&false) && !words.windows(2).any(|pair| pair == [false, false]));
                let is_bad = heard.iter().rev().find_map(|incident| truth(incident, kind, subject));
                prop_assert_eq!(words.last().copied().unwrap_or(false), is_bad.unwrap_or(false), "{:?} {}", kind, subject);
            }
            watch.pass(now + SILENCE_MAX * 2);
            let open = watch.matters.values().filter(|matter| matter.is_bad).count();
            prop_assert_eq!(watch.matters.len(), open, "what is long over is forgotten");
        }
    }
}
