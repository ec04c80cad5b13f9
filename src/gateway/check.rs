//! A semantic hit was handed out: now and then the request is answered afresh, to see whether the hit was right.
//!
//! Nobody waits for it, and it changes nothing of what was served. The fresh answer is made like that of any miss: it
//! flies with others who ask the same, and is kept under the request's own key where policy allows that. A check that
//! cannot be made now is not made later.

use std::sync::Arc;
use std::time::{Duration, Instant};

use tokio::time::Instant as Deadline;
use tracing::Instrument;

use super::generation::Job;
use super::outcome::Answer;
use super::{Ask, Gateway, Plan};
use crate::cache::Hit;
use crate::chat::{ChatResponse, Directives, Entry, Timing};
use crate::checks::{Outcome, Texts, Verdict, compare, judge};
use crate::embed::EmbedError;
use crate::router::Times;
use crate::single_flight::Wanted;

/// How long the judge may take.
const JUDGE_PATIENCE: Duration = Duration::from_secs(60);

impl Gateway {
    /// Has a hit checked if it is one of the share that is, and a check can be made now.
    pub(super) fn sample(self: &Arc<Self>, hit: &Hit, ask: &Ask, plan: &Plan) {
        let settings = &plan.route.cache.semantic;
        if rand::random::<f64>() >= settings.verify_sample_rate || !self.is_sampled(hit) {
            return;
        }
        let place = if self.may_check(ask, plan) { self.checks.begin() } else { None };
        let Some(place) = place else { return self.note(plan, Outcome::Skipped) };
        let (entry, job) = (Arc::clone(&hit.entry), Arc::new(check_of(ask, plan)));
        let gateway = Arc::clone(self);
        let span = tracing::info_span!("check", request_id = &*ask.request_id);
        let check = async move {
            let outcome = gateway.shutdown.run_until_cancelled(gateway.check(&entry, &job)).await;
            drop(place);
            if let Some(outcome) = outcome {
                gateway.note(&job.plan, outcome);
            }
        };
        self.tasks.spawn(check.instrument(span));
    }

    /// Returns whether a check would tell anything of the decision. An alias has no similarity: that it is right is a
    /// person's word, which no check overrules. An answer past its time, which the caller accepts, may differ by its age.
    fn is_sampled(&self, hit: &Hit) -> bool {
        hit.similarity.is_some() && hit.entry.is_fresh(self.cache.now())
    }

    /// Returns whether somebody may be asked, and whoever is needed can be: a check adds nothing to the troubles of an
    /// upstream, and what nobody will judge is not paid for.
    fn may_check(&self, ask: &Ask, plan: &Plan) -> bool {
        let is_left_alone = ask.directives.only_if_cached || plan.policy.write.is_err();
        let now = Deadline::now();
        let has_judge = || match &plan.route.cache.semantic.judge_model {
            Some(model) => self.router.resolve(Some(model)).is_ok_and(|route| route.is_well(now)),
            None => true,
        };
        !is_left_alone && self.ai.is_on() && plan.route.is_well(now) && has_judge()
    }

    fn note(&self, plan: &Plan, outcome: Outcome) {
        let route = &plan.route;
        self.checks.note(&route.label, outcome, route.cache.semantic.max_error_rate, self.cache.now());
    }

    async fn check(self: &Arc<Self>, served: &Entry, job: &Arc<Job>) -> Outcome {
        let fresh = match self.generate(job, false, Timing::default()).await.map(|outcome| outcome.answer) {
            Ok(Answer::Whole(fresh)) => fresh,
            Ok(Answer::Live(_)) | Err(_) => return Outcome::Failed,
        };
        self.compare(&served.answer, &fresh, job).await.map_or(Outcome::Failed, Outcome::Found)
    }

    /// Returns whether two answers to a request say the same, or `None` where whoever could tell has failed.
    async fn compare(&self, served: &ChatResponse, fresh: &ChatResponse, job: &Job) -> Option<Verdict> {
        let Some(texts) = Texts::of(served, fresh) else { return Some(Verdict::Unclear) };
        let judge = job.plan.route.cache.semantic.judge_model.as_deref();
        if let Some(verdict) = texts.by_words(judge.is_some()) {
            return Some(verdict);
        }
        match judge {
            Some(model) => self.ask_judge(model, &texts, job).await,
            None => match self.cosine(&texts).await? {
                Ok(cosine) => Some(compare::by_cosine(cosine)),
                Err(error) => {
                    tracing::debug!(%error, "two answers could not be compared");
                    None
                }
            },
        }
    }

    /// Asks past the cache: two questions to a judge are always alike, and mean different things.
    async fn ask_judge(&self, model: &str, texts: &Texts, job: &Job) -> Option<Verdict> {
        if !self.ai.is_on() {
            return None;
        }
        let route = self.router.resolve(Some(model)).ok()?;
        let prompt = job.ask.request.last_prompt().unwrap_or("");
        let request = Arc::new(judge::request(model, prompt, &texts.served, &texts.fresh));
        let ends = Deadline::now() + JUDGE_PATIENCE;
        let times =
            Times { first_token: ends, whole: ends, wanted: Wanted::until(ends), is_whole_wanted: true };
        let judged = self.router.generate(&route, &request, times, |_| true).await.ok()?;
        Some(judge::verdict(&judged.answer.text()))
    }

    async fn cosine(&self, texts: &Texts) -> Option<Result<f32, EmbedError>> {
        let embedder = self.cache.semantic()?.embedder();
        let [served, fresh] = texts.beginnings();
        let both = async { Ok(embedder.embed(served).await?.similarity(&embedder.embed(fresh).await?)) };
        Some(both.await)
    }
}

/// The request as it was asked. Nobody waits for it, so nobody's patience counts: it has the time of any other, so that
/// whoever joins it loses nothing.
fn check_of(ask: &Ask, plan: &Plan) -> Job {
    let ask = Ask {
        request: Arc::clone(&ask.request),
        directives: Directives { deadline: None, ..ask.directives.clone() },
        stream: false,
        request_id: Arc::clone(&ask.request_id),
        patience: None,
        may_degrade: false,
        warm: None,
    };
    Job::new(ask, plan.clone(), None, Instant::now())
}
