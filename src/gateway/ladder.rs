//! Nobody answered: the steps of the route's ladder, in the order in which the route declares them.
//!
//! The first step that has something answers, and the answer says which step it was and why. Nothing of it is stored.
//! A ladder asks no upstream and has little time of its own, since the caller has waited already.
//!
//! What the caller said of the cache holds here, too: `only-if-cached` wants the error, a bypass is given nothing from
//! the cache, `max-age` is the oldest answer that will do, and `max-stale` may go beyond what the route keeps. Whoever
//! asked for a fresh answer (`no-cache`) is given the last one after all, fresh or not, but nobody else's.

use std::sync::Arc;
use std::time::Duration;

use tokio::time::{Instant, timeout_at};

use super::generation::Job;
use super::outcome::{Answer, GatewayError, Outcome};
use super::texts::Patience;
use super::{Bill, Gateway, question};
use crate::cache::Hit;
use crate::chat::{CacheStatus, Degraded, Forward, OutputFormat, Source, Timing, ToolChoice};
use crate::config::LadderStep;
use crate::degrade;
use crate::quality;

/// How long the whole ladder may take.
const PATIENCE: Duration = Duration::from_millis(500);
/// Of that, how long store, index and embedder are waited for; the rest is for what can be made without them.
const PARTS_PATIENCE: Duration = Duration::from_millis(400);

/// What a step found.
enum Found {
    Entry(Hit),
    Text(String),
}

impl Gateway {
    /// Answers in place of a failure by the first step of the ladder that has something.
    ///
    /// # Errors
    /// The failure itself, where no step has anything, or it is not for the ladder to hide.
    pub(super) async fn descend(
        &self,
        job: &Job,
        error: GatewayError,
        timing: Timing,
    ) -> Result<Outcome, GatewayError> {
        let is_wanted = job.ask.may_degrade && !job.ask.directives.only_if_cached;
        let Some(reason) = error.reason_to_degrade().filter(|_| is_wanted) else { return Err(error) };
        let patience =
            Patience { parts_until: Instant::now() + PARTS_PATIENCE, ends: Instant::now() + PATIENCE };
        for step in &job.plan.route.degrade.ladder {
            if let Some(found) = self.step(*step, job, patience).await {
                let step = degrade::source_of(*step);
                self.telemetry.degraded(step.name());
                return Ok(self.degraded(job, step, found, reason, &error, timing));
            }
        }
        Err(error)
    }

    async fn step(&self, step: LadderStep, job: &Job, patience: Patience) -> Option<Found> {
        let Job { ask, plan, embedding, .. } = job;
        let settings = &plan.route.degrade;
        let expired_for = Duration::from_secs(plan.route.cache.stale_if_error_seconds);
        let task = ask.directives.task.as_deref();
        let text = match step {
            LadderStep::Stale | LadderStep::Nearest if plan.policy.is_bypass() => return None,
            LadderStep::Stale => {
                let question = question(ask, plan);
                let looking = self.cache.stale(&question, expired_for);
                return timeout_at(patience.parts_until, looking).await.ok()?.map(Found::Entry);
            }
            LadderStep::Nearest => {
                let question = question(ask, plan);
                let looking = self.cache.nearest(&question, expired_for, embedding.clone());
                return timeout_at(patience.parts_until, looking).await.ok()?.map(Found::Entry);
            }
            LadderStep::Extractive => {
                let embedder = self.cache.semantic().map(|tier| &**tier.embedder());
                let sentences = settings.extractive_sentences;
                self.texts.summary(&ask.request, task, sentences, embedder, patience).await?
            }
            LadderStep::Truncated => {
                self.texts.beginning(&ask.request, settings.truncate_chars, patience.ends).await?
            }
            LadderStep::Static => degrade::static_text(settings, task)?.to_owned(),
        };
        job.takes(&text).then_some(Found::Text(text))
    }

    fn degraded(
        &self,
        job: &Job,
        step: Source,
        found: Found,
        reason: Degraded,
        error: &GatewayError,
        timing: Timing,
    ) -> Outcome {
        let now = self.cache.now();
        let (attempts, was_asked) = match error {
            GatewayError::Upstream(failure) => (failure.attempts.clone(), !failure.attempts.is_empty()),
            GatewayError::Deadline(_) | GatewayError::Interrupted => (Vec::new(), true),
            GatewayError::UnknownModel { .. }
            | GatewayError::NoProvider
            | GatewayError::AiDisabled
            | GatewayError::NotForwarded
            | GatewayError::OnlyIfCached
            | GatewayError::Overloaded => (Vec::new(), false),
        };
        let ttl_seconds = match &found {
            Found::Entry(hit) => Some(hit.entry.ttl_seconds(now)),
            Found::Text(_) => None,
        };
        let cache_status = CacheStatus::Degraded {
            step,
            forward: job.forward(),
            was_asked,
            status: attempts.last().and_then(|last| last.result.parse().ok()),
            ttl_seconds,
        };
        let upstream = was_asked.then(|| job.began.elapsed().as_secs_f64() * 1e3);
        let outcome = Outcome {
            answer: Answer::Whole(Arc::default()),
            source: step,
            degraded: Some(reason),
            tier: None,
            key: job.key(),
            entry: None,
            similarity: None,
            cache_status,
            age_seconds: 0,
            ttl_seconds,
            provider: degrade::OURSELVES.to_owned(),
            model: degrade::model(step),
            attempts,
            quality: None,
            bill: Bill::of_ladder(),
            timing: Timing { upstream, ..timing },
        };
        match found {
            Found::Entry(Hit { entry, tier, similarity }) => Outcome {
                answer: Answer::Whole(Arc::new(degrade::signed(&entry.answer, step))),
                tier: Some(tier),
                entry: Some(entry.key),
                similarity,
                age_seconds: entry.age_seconds(now),
                provider: entry.provider.clone(),
                model: entry.answer.model.clone(),
                quality: entry.quality,
                ..outcome
            },
            Found::Text(text) => {
                let id = format!("{}-{}", degrade::OURSELVES, uuid::Uuid::now_v7());
                let choices = job.ask.request.choices();
                let answer = degrade::written(&text, step, choices, id, now.0.div_euclid(1_000));
                Outcome { answer: Answer::Whole(Arc::new(answer)), ..outcome }
            }
        }
    }
}

impl Job {
    fn forward(&self) -> Forward {
        if self.plan.policy.is_bypass() {
            Forward::Bypass
        } else if self.ask.directives.no_cache {
            Forward::Request
        } else {
            Forward::Miss
        }
    }

    /// Returns whether the caller could read this text as an answer: one who parses JSON, or waits for the call of a
    /// tool, is better served by an error.
    fn takes(&self, text: &str) -> bool {
        let request = &self.ask.request;
        let must_call = matches!(
            request.tool_choice,
            Some(ToolChoice::Required | ToolChoice::Function(_) | ToolChoice::Other(_))
        );
        let is_readable = match request.output_format {
            OutputFormat::Text | OutputFormat::Other(_) => true,
            OutputFormat::JsonObject | OutputFormat::JsonSchema(_) => quality::is_json(text),
        };
        is_readable && !must_call
    }
}
