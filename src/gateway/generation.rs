//! A miss: one leader per question has the answer generated, everybody who asks meanwhile follows it.
//!
//! The leader runs in a tracked task of its own and owns the write, so a caller who hangs up ends only its own wait.
//! The flight's key holds what decides over the answer and its storing: fingerprint, output limit, refresh or not,
//! stored or not. A bypass joins nobody.

use std::sync::Arc;
use std::time::Instant;

use tokio::time::Instant as Deadline;
use tracing::Instrument;

use super::admit::Written;
use super::outcome::{Answer, GatewayError, Outcome};
use super::{Ask, Bill, Gateway, Plan, question};
use crate::cache::{Fate, Skip};
use crate::chat::{Attempt, CacheStatus, ChatResponse, Delta, Entry, Fingerprint, Source, Timing};
use crate::config::{CacheMode, OnDisconnect};
use crate::embed::Embedding;
use crate::quality::Worth;
use crate::router::{Event, Failure, Generation, Opened, Times, Whole};
use crate::single_flight::{Ending, Follower, Full, Leader, Role, SingleFlight};
use crate::telemetry::Telemetry;

pub(super) type Flights = SingleFlight<FlightKey, Piece, Arc<Generated>, GatewayError>;
pub(super) type Leading = Leader<FlightKey, Piece, Arc<Generated>, GatewayError>;
type Following = Follower<Piece, Arc<Generated>, GatewayError>;

/// What requests must have in common to share a generation.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) struct FlightKey {
    fingerprint: Fingerprint,
    limit: Option<u32>,
    is_refresh: bool,
    is_stored: bool,
}

/// What a leader hands to its followers.
#[derive(Clone, Debug)]
pub(super) enum Piece {
    /// The first piece: an upstream has begun to answer.
    Opened(Arc<Opened>),
    Delta(Arc<Delta>),
}

/// A whole answer from upstream.
#[derive(Debug)]
pub(super) struct Generated {
    answer: Arc<ChatResponse>,
    /// The upstream that wrote it.
    provider: String,
    attempts: Vec<Attempt>,
    /// The entry it became, if it was fit to be one.
    entry: Option<Arc<Entry>>,
    cost_usd: Option<f64>,
    /// In [0, 1].
    quality: f64,
}

impl Generated {
    fn bill(&self, collapsed: bool) -> Bill {
        if collapsed { Bill::of_guest(self.cost_usd) } else { Bill::of_leader(self.cost_usd) }
    }
}

/// All that a leader's task needs.
pub(super) struct Job {
    pub(super) ask: Ask,
    pub(super) plan: Plan,
    /// The prompt's embedding, where the look-up got that far.
    pub(super) embedding: Option<Embedding>,
    /// When the look-up had ended.
    pub(super) began: Instant,
}

impl Job {
    pub(super) fn new(ask: Ask, plan: Plan, embedding: Option<Embedding>, began: Instant) -> Self {
        Self { ask, plan, embedding, began }
    }

    pub(super) fn flight_key(&self) -> FlightKey {
        FlightKey {
            fingerprint: self.plan.key.fingerprint,
            limit: self.ask.request.limit.map(|limit| limit.tokens),
            is_refresh: self.ask.directives.no_cache,
            is_stored: self.plan.policy.write.is_ok(),
        }
    }
}

impl Gateway {
    /// Has the answer generated, or waits for the one who is at it already.
    pub(super) async fn generate(
        self: &Arc<Self>,
        job: &Arc<Job>,
        stream: bool,
        timing: Timing,
    ) -> Result<Outcome, GatewayError> {
        if !self.ai.is_on() {
            return Err(GatewayError::AiDisabled);
        }
        match self.take_part(job, stream, timing).await {
            // The leader was cancelled in the moment we joined, or fell: its failure is not ours, so we ask once more.
            Err(GatewayError::Interrupted) => self.take_part(job, stream, timing).await,
            result => result,
        }
    }

    async fn take_part(
        self: &Arc<Self>,
        job: &Arc<Job>,
        stream: bool,
        timing: Timing,
    ) -> Result<Outcome, GatewayError> {
        let wanted = Deadline::now() + self.limits.wait_of(&job.ask);
        let role = if job.plan.policy.is_bypass() {
            self.flights.alone(wanted)
        } else {
            self.flights.join(job.flight_key(), wanted).map_err(|Full| GatewayError::Overloaded)?
        };
        let (mut follower, collapsed) = match role {
            Role::Leader(leader, follower) => {
                // Somebody else's flight may have landed between our look and our start. Its answer went into memory
                // before it left the register, so one more look is enough never to pay twice.
                if job.plan.policy.read != CacheMode::Off
                    && let Some(hit) = self.cache.recall_again(&question(&job.ask, &job.plan))
                {
                    return Ok(Outcome::of_hit(hit, &job.plan, self.cache.now(), timing));
                }
                // What upstreams do for it is logged under the id of the request that began it.
                let span = tracing::info_span!("generation", request_id = &*job.ask.request_id);
                self.tasks.spawn(Arc::clone(self).lead(leader, Arc::clone(job)).instrument(span));
                (follower, false)
            }
            Role::Follower(follower) => (follower, true),
        };
        self.telemetry.flights(self.flights.len());
        if stream && let Some(Piece::Opened(opened)) = follower.next().await {
            let followed = collapsed.then(|| Arc::clone(&self.telemetry));
            return Ok(job.outcome_of_stream(follower, &opened, followed, timing));
        }
        let ending = follower.ending().await;
        if collapsed {
            self.telemetry.followed(ending_name(&ending));
        }
        match ending {
            Ending::Done(generated) | Ending::NotCacheable(generated) => {
                Ok(job.outcome_of_whole(&generated, collapsed, timing))
            }
            Ending::Failed(error) => Err(error),
            Ending::TimedOut => Err(GatewayError::Deadline(self.limits.deadline_of(&job.ask))),
            Ending::Vanished => Err(GatewayError::Interrupted),
        }
    }

    /// The leader's task.
    pub(super) async fn lead(self: Arc<Self>, leader: Leading, job: Arc<Job>) {
        let began = Deadline::now();
        let times = Times {
            first_token: began + self.limits.deadline_of(&job.ask),
            whole: began + self.limits.stream,
            wanted: leader.wanted(),
            is_whole_wanted: !job.ask.stream,
        };
        let cancels_when_left =
            self.limits.on_disconnect == OnDisconnect::Cancel || job.plan.policy.write.is_err();
        let generation = self.router.generate(&job.plan.route, &job.ask.request, times, |event| {
            match event {
                Event::Opened(origin) => leader.push(Piece::Opened(Arc::new(origin))),
                Event::Delta(delta) => leader.push(Piece::Delta(Arc::new(delta))),
                Event::Withdrawn => return leader.withdraw(),
            }
            true
        });
        let result = tokio::select! {
            result = generation => result,
            () = leader.abandoned(), if cancels_when_left => return,
            () = self.shutdown.cancelled() => return,
        };
        let ending = match result {
            Ok(generation) => self.conclude(&job, generation),
            Err(Failure::TimedOut) => Ending::TimedOut,
            Err(Failure::Upstream(failure)) => Ending::Failed(GatewayError::Upstream(Arc::new(failure))),
        };
        leader.end(ending);
        self.telemetry.flights(self.flights.len());
    }

    fn conclude(&self, job: &Job, generation: Generation) -> Ending<Arc<Generated>, GatewayError> {
        let Generation { answer, whole, provider, model, attempts, cost_usd } = generation;
        let route = &job.plan.route;
        self.telemetry.rates().generated(&route.label, route.is_stand_in(&provider, &model));
        let answer = Arc::new(answer);
        let worth_of = |answer| Worth::of(&job.ask.request, answer, &self.limits.quality.weights);
        let worth = worth_of(&answer);
        self.telemetry.quality(worth.score);
        let written =
            |answer, cost_usd, worth| Written { answer, provider: &provider, model: &model, cost_usd, worth };
        let entry = match whole {
            Whole::Itself(own_cost_usd) => self.admit(job, written(Arc::clone(&answer), own_cost_usd, worth)),
            Whole::Other(own, cost_usd) => {
                let worth = worth_of(&own);
                self.admit(job, written(Arc::new(*own), cost_usd, worth))
            }
            Whole::Nothing => Err(Skip::Spliced),
        };
        let quality = worth.score;
        let generated = |entry| Arc::new(Generated { answer, provider, attempts, entry, cost_usd, quality });
        match entry {
            Ok(entry) => Ending::Done(generated(Some(entry))),
            Err(skip) => {
                if let Some(warm) = &job.ask.warm {
                    warm.settle(Fate::Unfit(skip.name()));
                }
                self.telemetry.write_skipped(skip.name());
                Ending::NotCacheable(generated(None))
            }
        }
    }
}

impl Job {
    fn cache_status(&self, stored: Option<bool>, collapsed: bool) -> CacheStatus {
        if self.plan.policy.is_bypass() {
            CacheStatus::Bypass
        } else if self.ask.directives.no_cache && !collapsed {
            CacheStatus::Refresh { stored }
        } else {
            CacheStatus::Miss { stored, collapsed }
        }
    }

    pub(super) fn key(&self) -> Option<Fingerprint> {
        (!self.plan.policy.is_bypass()).then_some(self.plan.key.fingerprint)
    }

    fn outcome_of_whole(&self, generated: &Generated, collapsed: bool, timing: Timing) -> Outcome {
        let Generated { answer, provider, attempts, entry, cost_usd: _, quality } = generated;
        let entry = entry.as_deref();
        Outcome {
            answer: Answer::Whole(Arc::clone(answer)),
            source: Source::Upstream,
            degraded: None,
            tier: None,
            key: self.key(),
            entry: entry.map(|entry| entry.key),
            similarity: None,
            cache_status: self.cache_status(Some(entry.is_some()), collapsed),
            age_seconds: 0,
            ttl_seconds: entry.map(|entry| entry.ttl_seconds(entry.created_at)),
            provider: provider.clone(),
            model: answer.model.clone(),
            attempts: attempts.clone(),
            quality: Some(*quality),
            bill: generated.bill(collapsed),
            timing: Timing { upstream: Some(self.began.elapsed().as_secs_f64() * 1e3), ..timing },
        }
    }

    fn outcome_of_stream(
        &self,
        follower: Following,
        opened: &Opened,
        followed: Option<Arc<Telemetry>>,
        timing: Timing,
    ) -> Outcome {
        Outcome {
            cache_status: self.cache_status(None, followed.is_some()),
            answer: Answer::Live(LiveAnswer {
                follower,
                followed,
                conclusion: None,
                began: self.began,
                becomes: self.plan.policy.write.is_ok().then_some(self.plan.key.fingerprint),
            }),
            source: Source::Upstream,
            degraded: None,
            tier: None,
            key: self.key(),
            // Not known before the end. Where it becomes an entry, it lies under the request's own key.
            entry: None,
            similarity: None,
            age_seconds: 0,
            ttl_seconds: None,
            provider: opened.provider.clone(),
            model: opened.model.clone(),
            attempts: opened.attempts.clone(),
            quality: None,
            bill: Bill::default(),
            timing,
        }
    }
}

/// An answer under way.
#[derive(Debug)]
pub struct LiveAnswer {
    follower: Following,
    /// Where the ending is to be counted, for a caller who follows another's generation.
    followed: Option<Arc<Telemetry>>,
    conclusion: Option<Conclusion>,
    began: Instant,
    /// The key of the entry that it will become if it turns out fit to be one.
    becomes: Option<Fingerprint>,
}

/// What is known of a streamed answer once it has ended.
#[derive(Clone, Debug)]
pub struct Conclusion {
    pub answer: Arc<ChatResponse>,
    /// The entry it became.
    pub entry: Option<Fingerprint>,
    pub ttl_seconds: Option<i64>,
    /// In [0, 1].
    pub quality: f64,
    pub bill: Bill,
    /// Milliseconds from the end of the look-up to the end of the answer.
    pub latency_ms: f64,
}

impl LiveAnswer {
    /// Returns the next piece; `None` when the answer is complete. After an error nothing follows.
    ///
    /// Cancellation safe.
    pub async fn next(&mut self) -> Option<Result<Delta, GatewayError>> {
        loop {
            match self.follower.next().await {
                Some(Piece::Delta(delta)) => return Some(Ok(Delta::clone(&delta))),
                Some(Piece::Opened(_)) => {}
                None => break,
            }
        }
        let ending = self.follower.ending().await;
        let followed = self.followed.take();
        if let Some(telemetry) = &followed {
            telemetry.followed(ending_name(&ending));
        }
        match ending {
            Ending::Done(generated) | Ending::NotCacheable(generated) => {
                let bill = generated.bill(followed.is_some());
                if let (Some(telemetry), Some(saved)) = (followed, bill.saved_usd) {
                    telemetry.saved(saved);
                }
                let entry = generated.entry.as_deref();
                self.conclusion = Some(Conclusion {
                    answer: Arc::clone(&generated.answer),
                    entry: entry.map(|entry| entry.key),
                    ttl_seconds: entry.map(|entry| entry.ttl_seconds(entry.created_at)),
                    quality: generated.quality,
                    bill,
                    latency_ms: self.began.elapsed().as_secs_f64() * 1e3,
                });
                None
            }
            Ending::Failed(error) => Some(Err(error)),
            Ending::TimedOut => Some(Err(GatewayError::Deadline(self.began.elapsed()))),
            Ending::Vanished => Some(Err(GatewayError::Interrupted)),
        }
    }

    /// Returns the key of the entry that it will become if it turns out fit to be one.
    pub(super) fn becomes(&self) -> Option<Fingerprint> {
        self.becomes
    }

    /// Returns how it ended, once [`LiveAnswer::next`] has returned `None`.
    pub fn conclusion(&self) -> Option<&Conclusion> {
        self.conclusion.as_ref()
    }
}

fn ending_name<R, E>(ending: &Ending<R, E>) -> &'static str {
    match ending {
        Ending::Done(_) => "done",
        Ending::NotCacheable(_) => "not_cacheable",
        Ending::Failed(_) => "failed",
        Ending::TimedOut => "timed_out",
        Ending::Vanished => "vanished",
    }
}
