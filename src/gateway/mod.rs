//! What happens to a request, from beginning to end?
//!
//! [`Gateway::answer`] tells the whole story: plan it (resolve the name, judge by policy, key), look it up, and only
//! then have it generated, once however many ask; and where nobody answers, go down the route's ladder. Everything else
//! in this folder serves that story or explains it.

mod admit;
mod bill;
mod check;
mod curate;
mod explain;
mod feedback;
mod forward;
mod generation;
mod ladder;
mod outcome;
mod preview;
mod refresh;
mod shared;
mod switch;
mod texts;

use std::sync::Arc;
use std::time::{Duration, Instant};

use tokio::time::{Instant as Deadline, timeout_at};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::cache::volatile::Volatility;
use crate::cache::{Accepts, Cache, Hit, Lookup, Policy, Question, Warm};
use crate::chat::{ChatRequest, Directives, EndUser, Key, OwnerNames, Tier, Timing, UnixMillis};
use crate::checks::Checks;
use crate::config::{CacheMode, Config, OnDisconnect, QualityConfig};
use crate::router::{Route, Router};
use crate::store::RememberedRequest;
use crate::telemetry::Telemetry;

pub use bill::Bill;
pub use curate::{AiHealth, EmbedderHealth, ListedModel, RouteError, Stats};
pub use explain::{Candidate, Explanation, LayerReading, PolicyReading, Stranger, TierReading};
pub use feedback::{About, Done, FeedbackError, RequestName, Verdict};
pub use generation::{Conclusion, LiveAnswer};
pub use outcome::{Answer, GatewayError, Outcome};
pub use preview::Preview;
pub use shared::Shared;
pub use switch::AiSwitch;

use generation::{Flights, Job};
use texts::Texts;

/// The way of every request.
pub struct Gateway {
    cache: Arc<Cache>,
    router: Arc<Router>,
    ai: Arc<AiSwitch>,
    checks: Arc<Checks>,
    flights: Flights,
    limits: Limits,
    texts: Texts,
    telemetry: Arc<Telemetry>,
    /// Generations and checks under way: they outlive the callers that began them.
    tasks: TaskTracker,
    /// Cancelled when the time to finish is over.
    shutdown: CancellationToken,
}

/// How long things may take, what becomes of what nobody waits for, and what is worth keeping.
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    /// To the first byte of a stream, to the last byte of anything else.
    pub deadline: Duration,
    /// A whole stream.
    pub stream: Duration,
    pub on_disconnect: OnDisconnect,
    pub quality: QualityConfig,
}

impl Limits {
    /// Returns the limits of a configuration.
    pub fn of(config: &Config) -> Self {
        let Config { server, quality, .. } = config;
        Self {
            deadline: Duration::from_millis(server.request_timeout_ms),
            stream: Duration::from_secs(server.max_stream_seconds),
            on_disconnect: server.on_disconnect,
            quality: *quality,
        }
    }

    /// Returns how long a request may take, whatever its caller would like.
    fn deadline_of(&self, ask: &Ask) -> Duration {
        ask.patience.unwrap_or(self.deadline)
    }

    /// Returns how long a request is waited for.
    fn wait_of(&self, ask: &Ask) -> Duration {
        let longest = self.deadline_of(ask);
        ask.directives.deadline.map_or(longest, |asked| asked.min(longest))
    }
}

/// Different questions under way at a time; beyond it a caller is told to come back.
const FLIGHTS_MAX: usize = 4_096;

/// A request and all that came with it.
#[derive(Clone, Debug)]
pub struct Ask {
    pub request: Arc<ChatRequest>,
    pub directives: Directives,
    /// Whether the caller wants the answer piece by piece.
    pub stream: bool,
    /// The caller's name for this request, by which it may later give feedback.
    pub request_id: Arc<str>,
    /// How long it may take where nobody waits; `None` takes the server's deadline.
    pub patience: Option<Duration>,
    /// Whether the route's ladder may answer where nobody else does.
    pub may_degrade: bool,
    /// Who has the answer bought ahead of time: then nothing similar will do, and it waits for the commit.
    pub warm: Option<Arc<Warm>>,
}

/// What is to be done with a request, decided without asking anybody.
#[derive(Clone)]
struct Plan {
    route: Arc<Route>,
    policy: Policy,
    key: Key,
    /// The end user the answer belongs to, with scope `user`.
    user: Option<EndUser>,
}

impl Plan {
    /// Reads what the prompt asks for, which only a request that memory cannot answer needs.
    fn consider_the_prompt(&mut self, request: &ChatRequest) {
        if request.last_prompt().is_some_and(|prompt| Volatility::of(prompt).is_volatile()) {
            self.policy = self.policy.of_volatile(&self.route.cache);
        }
    }

    /// Returns how long after its expiry an equal entry is handed out while a fresh answer is made. Who may not write
    /// has none made, and so waits for an answer of its own.
    fn grace(&self) -> Duration {
        match self.policy.write {
            Ok(()) => Duration::from_secs(self.route.cache.stale_while_revalidate_seconds),
            Err(_) => Duration::ZERO,
        }
    }

    /// Returns whether a hit is past its time and in the time of grace.
    fn is_revalidated(&self, hit: &Hit, now: UnixMillis) -> bool {
        hit.tier != Tier::Semantic
            && !hit.entry.is_fresh(now)
            && now < hit.entry.expires_at.after(self.grace())
    }
}

impl Gateway {
    /// Puts the parts together.
    pub fn new(shared: Shared, router: Arc<Router>, limits: Limits) -> Self {
        let Shared { cache, ai, checks, telemetry, tasks, shutdown } = shared;
        let (flights, texts) = (Flights::new(FLIGHTS_MAX), Texts::default());
        Self { cache, router, ai, checks, flights, limits, texts, telemetry, tasks, shutdown }
    }

    /// Answers a request from the cache or, where that has nothing, from a provider.
    ///
    /// Dropping the future ends this caller's wait and nothing else: a generation that can be stored is finished in
    /// the background where [`OnDisconnect`] says so.
    ///
    /// # Errors
    /// [`GatewayError`]; the cache alone never causes one but [`GatewayError::OnlyIfCached`].
    pub async fn answer(self: &Arc<Self>, ask: Ask) -> Result<Outcome, GatewayError> {
        let (tenant, request_id) = (ask.directives.tenant.clone(), Arc::clone(&ask.request_id));
        let (request, is_warm) = (Arc::clone(&ask.request), ask.warm.is_some());
        let outcome = self.journey(ask).await?;
        if is_warm {
            // Nobody was spared a call, and nobody will judge the answer by this name.
            return Ok(outcome);
        }
        if let Some(saved) = outcome.bill.saved_usd {
            self.telemetry.saved(saved);
        }
        if let Some(key) = outcome.key {
            let entry = match &outcome.answer {
                Answer::Whole(_) => outcome.entry,
                Answer::Live(live) => live.becomes(),
            };
            let is_anothers = outcome.tier == Some(Tier::Semantic);
            let prompt = is_anothers.then(|| request.last_prompt()).flatten().map(Arc::from);
            let answered =
                RememberedRequest { request_key: key, entry_key: entry, prompt, at: self.cache.now() };
            self.cache.remember_request(&tenant, &request_id, answered);
        }
        Ok(outcome)
    }

    async fn journey(self: &Arc<Self>, ask: Ask) -> Result<Outcome, GatewayError> {
        let plan = self.plan(&ask)?;
        let mut timing = Timing::default();
        if plan.policy.read != CacheMode::Off
            && let Some(hit) = self.cache.recall(&question(&ask, &plan), &mut timing)
        {
            return Ok(self.hand_out(hit, &ask, &plan, timing));
        }
        // Boxed, so that the hit above does not carry the room for all that may come after it.
        Box::pin(self.beyond_memory(ask, plan, timing)).await
    }

    async fn beyond_memory(
        self: &Arc<Self>,
        ask: Ask,
        mut plan: Plan,
        mut timing: Timing,
    ) -> Result<Outcome, GatewayError> {
        let limit = self.limits.wait_of(&ask);
        let deadline = Deadline::now() + limit;
        self.narrow(&mut plan, &ask.request);
        let mut embedding = None;
        if plan.policy.read != CacheMode::Off {
            let look_up = timeout_at(deadline, self.cache.look_up(&question(&ask, &plan), &mut timing)).await;
            match look_up {
                Ok(Lookup::Hit(hit)) => {
                    if hit.tier == Tier::Semantic {
                        self.sample(&hit, &ask, &plan);
                    }
                    return Ok(self.hand_out(hit, &ask, &plan, timing));
                }
                Ok(Lookup::Miss(miss)) => embedding = miss.embedding,
                Err(_) => {}
            }
        }
        let job = Arc::new(Job::new(ask, plan, embedding, Instant::now()));
        let generated = if Deadline::now() < deadline {
            timeout_at(deadline, self.ask_upstream(&job, timing)).await
        } else {
            Ok(Err(GatewayError::Deadline(limit)))
        };
        match generated.unwrap_or(Err(GatewayError::Deadline(limit))) {
            Ok(outcome) => Ok(outcome),
            Err(error) => self.descend(&job, error, timing).await,
        }
    }

    async fn ask_upstream(self: &Arc<Self>, job: &Arc<Job>, timing: Timing) -> Result<Outcome, GatewayError> {
        if job.ask.directives.only_if_cached {
            return Err(GatewayError::OnlyIfCached);
        }
        if job.plan.route.chain.is_empty() {
            return Err(GatewayError::NoProvider);
        }
        self.generate(job, job.ask.stream, timing).await
    }

    /// Answers by an entry; one that is past its time is made anew in the background.
    fn hand_out(self: &Arc<Self>, hit: Hit, ask: &Ask, plan: &Plan, timing: Timing) -> Outcome {
        let now = self.cache.now();
        if plan.is_revalidated(&hit, now) {
            self.refresh(&hit.entry, ask, plan);
        }
        Outcome::of_hit(hit, plan, now, timing)
    }

    /// Applies what only a request that memory cannot answer needs: what its prompt asks for, and how its route's switch
    /// stands.
    fn narrow(&self, plan: &mut Plan, request: &ChatRequest) {
        plan.consider_the_prompt(request);
        if self.checks.exact_only(&plan.route.label).is_some() {
            plan.policy = plan.policy.of_exact_route();
        }
    }

    fn plan(&self, ask: &Ask) -> Result<Plan, GatewayError> {
        let Ask { request, directives, .. } = ask;
        let route = self.router.resolve(request.model.as_deref())?;
        let user = route.key_rules.user_of(request);
        let mut policy = Policy::of_request(request, directives, &route.cache, user.is_ok());
        if ask.warm.is_some() {
            policy.read = policy.read.min(CacheMode::Exact);
        }
        let user = user.unwrap_or(None);
        let (tenant, namespace) = (&directives.tenant, &directives.namespace);
        let owner = OwnerNames { tenant, user: user.as_ref(), namespace };
        let key = route.key_rules.key(request, &route.alias, owner);
        Ok(Plan { route, policy, key, user })
    }
}

fn question<'a>(ask: &'a Ask, plan: &'a Plan) -> Question<'a> {
    Question {
        request: &ask.request,
        tenant: &ask.directives.tenant,
        namespace: &ask.directives.namespace,
        model: &plan.route.alias,
        key: &plan.key,
        rules: &plan.route.key_rules,
        read: plan.policy.read,
        accepts: Accepts { max_age: ask.directives.max_age, max_stale: ask.directives.max_stale },
        grace: plan.grace(),
        threshold: ask.directives.threshold,
        settings: &plan.route.cache.semantic,
    }
}
