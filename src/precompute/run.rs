//! Buying what was planned, and no longer than it is allowed.

use std::sync::Arc;
use std::time::Duration;

use futures_util::stream::{self, StreamExt as _};
use jiff::Timestamp;
use rand::Rng as _;
use tokio::time::{Instant, MissedTickBehavior, interval, sleep};
use tokio_util::sync::CancellationToken;

use super::pace::Pace;
use super::plan::{Asked, Item};
use super::progress::{End, Failed, Progress, Report, State};
use super::{ReadLine, Rules, Wanted, Window, asked_again};
use crate::cache::{Fate, WallClock, Warm};
use crate::chat::{CacheStatus, ChatResponse, Source};
use crate::gateway::{Answer, Ask, Gateway, GatewayError, Outcome};
use crate::store::{Store, StoreError, StoredRun, Warmed};
use crate::telemetry::Telemetry;

/// How long the right to buy lasts without being renewed, and how often it is.
pub(super) const LEASE: Duration = Duration::from_secs(60);
const RENEWAL: Duration = Duration::from_secs(15);
/// The most that starts are apart, so that not all ask in the same moment.
const JITTER: Duration = Duration::from_millis(500);
/// How long an answer that is there may take to its commit.
const COMMIT_PATIENCE: Duration = Duration::from_secs(30);
/// Attempts at an answer that upstreams fail.
const ATTEMPTS: usize = 3;
/// Attempts at an answer that is not worth keeping.
const QUALITY_ATTEMPTS: usize = 2;

/// A run under way.
pub(super) struct Run {
    pub id: Arc<str>,
    pub store: Arc<Store>,
    pub gateway: Arc<arc_swap::ArcSwap<Gateway>>,
    pub telemetry: Arc<Telemetry>,
    pub read: ReadLine,
    pub rules: Rules,
    pub share: f64,
    pub concurrency: usize,
    pub window: Option<Window>,
    /// How long one answer may take.
    pub patience: Duration,
    pub began: Timestamp,
    pub progress: Arc<Progress>,
    pub cancel: CancellationToken,
    pub shutdown: CancellationToken,
}

/// Why a run ends before its list does.
enum Stop {
    WindowClosed,
    BudgetSpent,
    Cancelled,
    Shutdown,
    LeaseLost,
    AiOff,
    /// The store takes no answer, by the word for why.
    Unwritten(&'static str),
}

impl Stop {
    fn state(&self) -> (State, Option<String>) {
        let (state, reason) = match self {
            Self::WindowClosed => (State::Stopped, "the window closed; the next run goes on from here"),
            Self::BudgetSpent => (State::Stopped, "max_cost_usd is reached"),
            Self::Cancelled => (State::Cancelled, "somebody stopped it"),
            Self::Shutdown => (State::Stopped, "the server is going down; the next run goes on from here"),
            Self::LeaseLost => (State::Failed, "another run has taken over"),
            Self::AiOff => (State::Stopped, "upstreams are switched off"),
            Self::Unwritten(kind) => {
                return (State::Failed, Some(format!("the store takes no answers ({kind})")));
            }
        };
        (state, Some(reason.to_owned()))
    }
}

impl Run {
    /// Buys what was planned, writes down how it stands every now and then, and gives the right to buy back at the end.
    pub async fn carry_out(self, items: Vec<Item>) {
        let began = Instant::now();
        let stop = self.open(began).await;
        let stop = match stop {
            Some(stop) => Some(stop),
            None => {
                self.progress.set(State::Running, None, 0.0);
                tokio::select! {
                    stop = self.buy_all(items) => stop,
                    stop = self.ended(began) => Some(stop),
                }
            }
        };
        let (state, reason) = stop.map_or((State::Done, None), |stop| stop.state());
        let seconds = began.elapsed().as_secs_f64();
        let report = Report { state, reason, seconds, ..self.progress.read() };
        if let Err(error) = self.write_down(&report).await {
            tracing::warn!(run = &*self.id, %error, "the report of a run could not be written");
        }
        if let Err(error) = self.store.drop_lease(&self.id).await {
            tracing::warn!(run = &*self.id, %error, "the lease of a run could not be given back; it expires");
        }
        // Last, so that whoever sees the end of it can begin the next one.
        self.progress.replace(report.clone());
        tracing::info!(
            run = &*self.id,
            state = report.state.name(),
            bought = report.bought,
            refreshed = report.refreshed,
            skipped = report.skipped,
            failed = report.failed.values().sum::<usize>(),
            spent_usd = report.spent_usd,
            "precompute"
        );
    }

    /// Waits for the window to open.
    async fn open(&self, began: Instant) -> Option<Stop> {
        let window = self.window.as_ref()?;
        let opens = window.opens(Timestamp::now());
        let wait = Duration::try_from(opens.duration_since(Timestamp::now())).unwrap_or_default();
        tokio::select! {
            () = sleep(wait) => None,
            stop = self.given_up(began) => Some(stop),
        }
    }

    /// Returns when the run must end whatever it is at.
    async fn ended(&self, began: Instant) -> Stop {
        let closes = self.window.as_ref().and_then(|window| window.closes(Timestamp::now()));
        let closing = async {
            match closes {
                Some(closes) => {
                    let left =
                        Duration::try_from(closes.duration_since(Timestamp::now())).unwrap_or_default();
                    sleep(left).await;
                }
                None => std::future::pending().await,
            }
        };
        tokio::select! {
            () = closing => Stop::WindowClosed,
            stop = self.given_up(began) => stop,
        }
    }

    /// Renews the lease and writes the report down until somebody or something ends the run.
    async fn given_up(&self, began: Instant) -> Stop {
        let mut renewal = interval(RENEWAL);
        renewal.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let mut last_renewed = Instant::now();
        loop {
            tokio::select! {
                _ = renewal.tick() => {}
                () = self.cancel.cancelled() => return Stop::Cancelled,
                () = self.shutdown.cancelled() => return Stop::Shutdown,
            }
            let report = self.progress.read();
            self.progress.set(report.state, report.reason, began.elapsed().as_secs_f64());
            let now = WallClock::default().now();
            match self.store.take_lease(&self.id, now, now.after(LEASE)).await {
                Ok(true) => last_renewed = Instant::now(),
                Ok(false) => return Stop::LeaseLost,
                // A store that is away for a moment is no reason, one that is away for as long as the lease lasts is.
                Err(_) if last_renewed.elapsed() < LEASE => {}
                Err(_) => return Stop::LeaseLost,
            }
            if let Err(error) = self.write_down(&self.progress.read()).await {
                tracing::debug!(run = &*self.id, %error, "how a run stands could not be written");
            }
        }
    }

    async fn write_down(&self, report: &Report) -> Result<(), StoreError> {
        let run = StoredRun {
            id: self.id.to_string(),
            state: report.state.name().to_owned(),
            began_at: crate::chat::UnixMillis(self.began.as_millisecond()),
            updated_at: WallClock::default().now(),
            report: serde_json::to_vec(report).unwrap_or_default(),
        };
        self.store.put_run(run).await
    }

    /// Buys everything, some at a time; returns why it ended early.
    async fn buy_all(&self, items: Vec<Item>) -> Option<Stop> {
        let pace = Pace::new(self.share);
        let mut ends =
            stream::iter(items).map(|item| self.buy(item, &pace)).buffer_unordered(self.concurrency);
        while let Some(end) = ends.next().await {
            match end {
                Ok(end) => {
                    self.telemetry.precomputed(end.name());
                    self.progress.add(end);
                }
                Err(stop) => return Some(stop),
            }
        }
        None
    }

    async fn buy(&self, item: Item, pace: &Pace) -> Result<End, Stop> {
        let spent = self.progress.spent_usd();
        let most = self.rules.max_cost_usd;
        if most.is_some_and(|most| spent + item.cost_usd.unwrap_or(0.0) > most) {
            return Err(Stop::BudgetSpent);
        }
        let apart = rand::rng().random_range(Duration::ZERO..JITTER);
        sleep(apart).await;
        let mut quality = 0;
        let mut attempt = 0;
        loop {
            attempt += 1;
            let gateway = self.gateway.load_full();
            if !gateway.asks_upstreams() {
                return Err(Stop::AiOff);
            }
            let _turn = match &item.upstream {
                Some(upstream) => Some(pace.turn(upstream, || gateway.room(upstream)).await),
                None => None,
            };
            let warm = Warmed { run: Arc::clone(&self.id), template: Arc::clone(&item.template) };
            let warm = Arc::new(Warm::new(warm));
            match self.ask(&gateway, &item, &warm).await {
                Ok(outcome) if outcome.source == Source::Exact => return Ok(End::Skipped),
                Ok(outcome) => match self.fate(&outcome, &warm, &item).await {
                    Fate::Stored => return Ok(bought(&outcome, &item)),
                    // Each further answer would be paid for and lost as well.
                    Fate::Unwritten(reason) => return Err(Stop::Unwritten(reason)),
                    Fate::Unfit(reason) => {
                        quality += 1;
                        if quality >= QUALITY_ATTEMPTS {
                            return Ok(failed(&item, reason));
                        }
                    }
                },
                Err(error) if attempt >= ATTEMPTS || is_final(&error) => {
                    return Ok(failed(&item, reason_of(&error)));
                }
                // The pace waits until the upstream is well.
                Err(_) => {}
            }
        }
    }

    async fn ask(
        &self,
        gateway: &Arc<Gateway>,
        item: &Item,
        warm: &Arc<Warm>,
    ) -> Result<Outcome, GatewayError> {
        let (request, mut directives) = match &item.asked {
            // It was read once, when it was planned.
            Asked::Line(line) => match (self.read)(line) {
                Ok(Wanted { request, directives, .. }) => (Arc::new(request), directives),
                Err(_) => return Err(GatewayError::Interrupted),
            },
            Asked::Entry(key) => match self.store.get(key).await {
                Ok(Some(entry)) => asked_again(&entry),
                // Removed meanwhile: then nobody is to have it.
                Ok(None) | Err(_) => return Err(GatewayError::OnlyIfCached),
            },
        };
        directives.no_cache = item.is_refresh;
        let ask = Ask {
            request,
            directives,
            stream: false,
            request_id: Arc::clone(&self.id),
            patience: Some(self.patience),
            may_degrade: false,
            warm: Some(Arc::clone(warm)),
        };
        gateway.answer(ask).await
    }

    /// Returns whether the answer is on the disk.
    async fn fate(&self, outcome: &Outcome, warm: &Warm, item: &Item) -> Fate {
        let is_theirs = matches!(outcome.cache_status, CacheStatus::Miss { collapsed: true, .. });
        if !is_theirs {
            return warm.fate(COMMIT_PATIENCE).await.unwrap_or(Fate::Unwritten("no_commit"));
        }
        // Live traffic was having the same answer made: it is theirs, and as good.
        for _ in 0..20 {
            if matches!(self.store.get(&item.key).await, Ok(Some(_))) {
                return Fate::Stored;
            }
            sleep(Duration::from_millis(250)).await;
        }
        Fate::Unwritten("no_commit")
    }
}

fn bought(outcome: &Outcome, item: &Item) -> End {
    let tokens = match &outcome.answer {
        Answer::Whole(answer) => tokens_of(answer),
        Answer::Live(_) => 0,
    };
    End::Bought { is_refresh: item.is_refresh, cost_usd: outcome.bill.cost_usd, tokens }
}

fn tokens_of(answer: &ChatResponse) -> u64 {
    answer.usage.as_ref().map_or(0, |usage| usage.prompt_tokens + usage.completion_tokens)
}

fn failed(item: &Item, reason: &str) -> End {
    End::Failed(Failed {
        template: item.template.to_string(),
        key: item.key.to_string(),
        reason: reason.to_owned(),
    })
}

/// Returns whether asking again would be of no use.
fn is_final(error: &GatewayError) -> bool {
    match error {
        GatewayError::Upstream(failure) => failure.error.kind.is_callers_fault(),
        GatewayError::Overloaded | GatewayError::Deadline(_) | GatewayError::Interrupted => false,
        _ => true,
    }
}

fn reason_of(error: &GatewayError) -> &'static str {
    match error {
        GatewayError::Upstream(failure) => failure.error.kind.name(),
        GatewayError::Deadline(_) => "deadline",
        GatewayError::Overloaded => "overloaded",
        GatewayError::Interrupted => "interrupted",
        GatewayError::AiDisabled => "ai_disabled",
        GatewayError::NoProvider => "no_provider",
        GatewayError::UnknownModel { .. } => "unknown_model",
        GatewayError::OnlyIfCached => "removed",
        GatewayError::NotForwarded => "not_asked",
    }
}
