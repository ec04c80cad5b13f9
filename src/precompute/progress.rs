//! How far is a run, and what came of it?

use std::collections::BTreeMap;
use std::sync::{Mutex, MutexGuard, PoisonError};

use serde::{Deserialize, Serialize};

/// How a run stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum State {
    /// Waiting for its window to open.
    Waiting,
    Running,
    /// Nothing is left to buy.
    Done,
    /// Stopped with work left: its window closed, or its budget is spent.
    Stopped,
    /// Somebody stopped it.
    Cancelled,
    /// It could not go on.
    Failed,
}

impl State {
    /// Returns the word for it.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Waiting => "waiting",
            Self::Running => "running",
            Self::Done => "done",
            Self::Stopped => "stopped",
            Self::Cancelled => "cancelled",
            Self::Failed => "failed",
        }
    }

    /// Returns whether nothing more will come.
    pub const fn is_over(self) -> bool {
        !matches!(self, Self::Waiting | Self::Running)
    }
}

/// What came of a run so far.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Report {
    pub state: State,
    /// Why it stopped or failed.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
    /// Answers that were to be bought.
    pub planned: usize,
    /// Bought for the first time, and anew.
    pub bought: usize,
    pub refreshed: usize,
    /// There already when their turn came.
    pub skipped: usize,
    /// Not bought, by the word for why.
    pub failed: BTreeMap<String, usize>,
    /// The first of those: which template, and which entry.
    pub failures: Vec<Failed>,
    pub spent_usd: f64,
    /// Answers whose cost is not known.
    pub unpriced: usize,
    pub tokens: u64,
    pub seconds: f64,
}

/// An answer that was not bought. No prompt stands here: reports are read by many.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Failed {
    pub template: String,
    pub key: String,
    pub reason: String,
}

/// Failures that a report names one by one.
const FAILURES_NAMED: usize = 20;

/// What came of one answer.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum End {
    Bought { is_refresh: bool, cost_usd: Option<f64>, tokens: u64 },
    Skipped,
    Failed(Failed),
}

impl End {
    /// Returns the metric label.
    pub const fn name(&self) -> &'static str {
        match self {
            Self::Bought { is_refresh: false, .. } => "bought",
            Self::Bought { is_refresh: true, .. } => "refreshed",
            Self::Skipped => "skipped",
            Self::Failed(_) => "failed",
        }
    }
}

impl Report {
    /// Returns the report of a run that has not begun.
    pub const fn new(planned: usize) -> Self {
        Self {
            state: State::Waiting,
            reason: None,
            planned,
            bought: 0,
            refreshed: 0,
            skipped: 0,
            failed: BTreeMap::new(),
            failures: Vec::new(),
            spent_usd: 0.0,
            unpriced: 0,
            tokens: 0,
            seconds: 0.0,
        }
    }

    /// Returns how many answers are no longer waited for.
    pub fn ended(&self) -> usize {
        self.bought + self.refreshed + self.skipped + self.failed.values().sum::<usize>()
    }

    /// Returns how many answers are left to be bought.
    pub fn left(&self) -> usize {
        self.planned.saturating_sub(self.ended())
    }

    fn add(&mut self, end: End) {
        match end {
            End::Bought { is_refresh, cost_usd, tokens } => {
                *(if is_refresh { &mut self.refreshed } else { &mut self.bought }) += 1;
                self.spent_usd += cost_usd.unwrap_or(0.0);
                self.unpriced += usize::from(cost_usd.is_none());
                self.tokens += tokens;
            }
            End::Skipped => self.skipped += 1,
            End::Failed(failed) => {
                *self.failed.entry(failed.reason.clone()).or_default() += 1;
                if self.failures.len() < FAILURES_NAMED {
                    self.failures.push(failed);
                }
            }
        }
    }
}

/// A report that many write to.
#[derive(Debug)]
pub(super) struct Progress(Mutex<Report>);

impl Progress {
    pub fn new(planned: usize) -> Self {
        Self(Mutex::new(Report::new(planned)))
    }

    pub fn add(&self, end: End) {
        self.report().add(end);
    }

    pub fn set(&self, state: State, reason: Option<String>, seconds: f64) {
        let mut report = self.report();
        (report.state, report.reason, report.seconds) = (state, reason, seconds);
    }

    pub fn replace(&self, report: Report) {
        *self.report() = report;
    }

    pub fn read(&self) -> Report {
        self.report().clone()
    }

    pub fn spent_usd(&self) -> f64 {
        self.report().spent_usd
    }

    fn report(&self) -> MutexGuard<'_, Report> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_report_counts_every_end_once_and_names_the_first_failures() {
        let progress = Progress::new(60);
        let bought = |is_refresh, cost_usd| End::Bought { is_refresh, cost_usd, tokens: 10 };
        progress.add(bought(false, Some(0.5)));
        progress.add(bought(true, None));
        progress.add(End::Skipped);
        for _ in 0..30 {
            let failed = Failed { template: "t".into(), key: "k".into(), reason: "quality".into() };
            progress.add(End::Failed(failed));
        }
        let report = progress.read();
        assert_eq!(
            (report.bought, report.refreshed, report.skipped, report.failed["quality"]),
            (1, 1, 1, 30)
        );
        assert_eq!((report.ended(), report.left(), report.failures.len()), (33, 27, 20));
        assert_eq!((report.spent_usd, report.unpriced, report.tokens), (0.5, 1, 20));
    }

    #[test]
    fn a_report_is_kept_as_json() {
        let report = Report { state: State::Stopped, reason: Some("the window".into()), ..Report::new(3) };
        let json = serde_json::to_string(&report).expect("JSON");
        assert!(json.contains(r#""state":"stopped""#), "{json}");
        assert_eq!(serde_json::from_str::<Report>(&json).expect("a report"), report);
    }
}
