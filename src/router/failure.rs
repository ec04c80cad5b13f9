//! Why is there no answer, when nobody has one?

use std::time::Duration;

use tokio::time::Instant;

use super::Step;
use super::target::Unavailable;
use crate::chat;
use crate::providers::{ProviderError, ProviderErrorKind};

/// Why there is no answer.
#[derive(Debug)]
pub enum Failure {
    /// The time was over before anybody was asked.
    TimedOut,
    Upstream(ChainFailure),
}

/// The failure of every upstream that was asked, or the reasons why nobody was.
#[derive(Debug)]
pub struct ChainFailure {
    /// The one to report: the caller's own mistake where the first upstream saw one, else the last failure.
    pub error: ProviderError,
    pub attempts: Vec<chat::Attempt>,
    /// How each upstream failed that was called.
    pub kinds: Vec<ProviderErrorKind>,
    /// The shortest time after which one of them can be asked, as far as is known.
    pub retry_after: Option<Duration>,
    /// Whether the model that is missing was named freely by the caller.
    pub is_model_free: bool,
    /// Whether the time was over before somebody answered.
    pub is_out_of_time: bool,
}

impl ChainFailure {
    /// Builds the failure of a call that was made to nobody, since who could be asked cannot be before this time has passed.
    pub(super) fn of_nobody(wait: Duration) -> Self {
        let error = ProviderError::new(ProviderErrorKind::Overloaded, "no upstream can be asked now");
        Self {
            error,
            attempts: Vec::new(),
            kinds: Vec::new(),
            retry_after: Some(wait),
            is_model_free: false,
            is_out_of_time: false,
        }
    }

    /// Builds the failure of a call that was made to one upstream only.
    pub(super) fn of_one(upstream: String, error: ProviderError, is_model_free: bool) -> Self {
        let attempt = chat::Attempt { upstream, result: error.attempt_label() };
        Self {
            attempts: vec![attempt],
            kinds: vec![error.kind],
            retry_after: error.wait_hint(),
            is_model_free,
            is_out_of_time: false,
            error,
        }
    }
}

/// Which of the failures along a chain is reported.
///
/// Only the first upstream that was asked may blame the caller: a later one may just not understand the request's shape.
/// What could not even be put to an upstream is reported where nobody was asked.
#[derive(Debug, Default)]
pub(super) struct Blame {
    /// The error, and whether the caller named its model freely.
    asked: Option<(ProviderError, bool)>,
    unsendable: Option<(ProviderError, bool)>,
    /// How each upstream failed that was asked.
    kinds: Vec<ProviderErrorKind>,
    /// The shortest time after which one of them can be asked.
    retry_after: Option<Duration>,
    /// Whether somebody was not asked because it could not be, now.
    is_somebody_unavailable: bool,
    is_out_of_time: bool,
}

impl Blame {
    pub const fn is_first_asked(&self) -> bool {
        self.asked.is_none()
    }

    pub fn unsendable(&mut self, error: ProviderError, step: &Step) {
        self.unsendable.get_or_insert((error, step.is_free));
    }

    /// Notes that an upstream could not be asked before that moment.
    pub fn unavailable(&mut self, why: Unavailable, now: Instant) {
        self.limited(why.until().saturating_duration_since(now));
    }

    /// Notes that an upstream could not be asked before this time has passed.
    pub fn limited(&mut self, wait: Duration) {
        self.is_somebody_unavailable = true;
        // A zero is no moment that anybody knows: it only means that somebody else is finding out.
        let wait = Some(wait).filter(|wait| !wait.is_zero());
        self.retry_after = [self.retry_after, wait].into_iter().flatten().min();
    }

    /// Returns how the first upstream failed that was asked.
    pub fn first_kind(&self) -> Option<ProviderErrorKind> {
        self.kinds.first().copied()
    }

    pub fn out_of_time(&mut self) {
        self.is_out_of_time = true;
    }

    pub fn failed(&mut self, error: ProviderError, step: &Step) {
        self.kinds.push(error.kind);
        self.retry_after = [self.retry_after, error.wait_hint()].into_iter().flatten().min();
        self.asked = match self.asked.take() {
            Some(earlier) if earlier.0.kind.is_callers_fault() || error.kind.is_callers_fault() => {
                Some(earlier)
            }
            _ => Some((error, step.is_free)),
        };
    }

    /// Reports this failure, whatever came before.
    pub fn on(self, error: ProviderError, step: &Step, attempts: Vec<chat::Attempt>) -> ChainFailure {
        let Self { mut kinds, retry_after, is_out_of_time, .. } = self;
        kinds.push(error.kind);
        ChainFailure { error, attempts, kinds, retry_after, is_model_free: step.is_free, is_out_of_time }
    }

    /// Reports what weighs most.
    pub fn settled(self, attempts: Vec<chat::Attempt>) -> ChainFailure {
        let Self { asked, unsendable, kinds, retry_after, is_somebody_unavailable, is_out_of_time } = self;
        let unavailable = is_somebody_unavailable.then(|| {
            (ProviderError::new(ProviderErrorKind::Overloaded, "no upstream can be asked now"), false)
        });
        // The gateway asks for no generation along an empty chain.
        let nobody =
            || (ProviderError::new(ProviderErrorKind::ModelMissing, "the route has no upstream"), false);
        let (error, is_model_free) = asked.or(unavailable).or(unsendable).unwrap_or_else(nobody);
        ChainFailure { error, attempts, kinds, retry_after, is_model_free, is_out_of_time }
    }
}

/// The largest declared window that the request did not fit into; a model whose window is declared to be no larger need
/// not be asked.
#[derive(Debug, Default)]
pub(super) struct TooSmall(Option<u64>);

impl TooSmall {
    pub fn has(&self, step: &Step) -> bool {
        step.context_window().is_some_and(|window| Some(window) <= self.0)
    }

    pub fn learn(&mut self, step: &Step, error: &ProviderError) {
        if error.kind == ProviderErrorKind::ContextTooLong {
            self.0 = self.0.max(step.context_window());
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::config::{ModelConfig, ProviderConfig, ProviderKind};
    use crate::providers::OpenAi;
    use crate::router::Upstream;

    fn step(context_window: Option<u64>) -> Step {
        let models = vec![ModelConfig { context_window, ..ModelConfig::named("m") }];
        let config =
            ProviderConfig { models: Some(models), ..ProviderConfig::named("any", ProviderKind::OpenAi) };
        let provider = Arc::new(OpenAi::official(&config).unwrap());
        Step { upstream: Arc::new(Upstream::new(&config, provider)), model: "m".to_owned(), is_free: false }
    }

    #[test]
    fn a_window_is_too_small_when_one_no_smaller_was() {
        let mut too_small = TooSmall::default();
        assert!(!too_small.has(&step(Some(1))) && !too_small.has(&step(None)));
        too_small.learn(&step(Some(8)), &ProviderError::new(ProviderErrorKind::ServerError, ""));
        assert!(!too_small.has(&step(Some(1))));
        let too_long = ProviderError::new(ProviderErrorKind::ContextTooLong, "");
        for refused in [None, Some(8), Some(4), None] {
            too_small.learn(&step(refused), &too_long);
        }
        assert!(too_small.has(&step(Some(4))) && too_small.has(&step(Some(8))));
        assert!(!too_small.has(&step(Some(9))) && !too_small.has(&step(None)));
    }

    #[test]
    fn who_could_not_be_asked_weighs_less_than_who_failed_and_more_than_what_could_not_be_said() {
        let error = |kind| ProviderError::new(kind, "");
        let step = step(None);
        let mut blame = Blame::default();
        blame.unsendable(error(ProviderErrorKind::Capability), &step);
        blame.limited(Duration::from_secs(7));
        blame.limited(Duration::ZERO);
        assert_eq!(blame.retry_after, Some(Duration::from_secs(7)));
        let mut failed = Blame::default();
        failed.limited(Duration::from_secs(7));
        failed.failed(error(ProviderErrorKind::ServerError), &step);
        let (nobody, somebody) = (blame.settled(Vec::new()), failed.settled(Vec::new()));
        assert_eq!((nobody.error.kind, nobody.kinds.len()), (ProviderErrorKind::Overloaded, 0));
        assert_eq!(somebody.error.kind, ProviderErrorKind::ServerError);
    }
}
