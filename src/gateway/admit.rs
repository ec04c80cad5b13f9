//! The one way into the cache: policy and quality gate, whoever brings the answer.

use std::sync::Arc;

use super::generation::Job;
use super::{Ask, Gateway, GatewayError, Plan};
use crate::cache::{Insertion, Skip, judge_answer, shares_with_similar};
use crate::chat::{ChatResponse, Entry};
use crate::embed::Embedding;

impl Gateway {
    /// Takes in an answer that came another way than through [`Gateway::answer`], such as a batch interface, under the
    /// same rules.
    ///
    /// # Errors
    /// Why the request cannot be planned, or, inside, why the answer is not kept.
    pub fn admit(
        &self,
        ask: &Ask,
        answer: Arc<ChatResponse>,
        provider: &str,
    ) -> Result<Result<Arc<Entry>, Skip>, GatewayError> {
        let mut plan = self.plan(ask)?;
        plan.consider_the_prompt(&ask.request);
        Ok(self.admit_planned(ask, &plan, &answer, provider, None))
    }

    pub(super) fn admit_generated(
        &self,
        job: &Job,
        answer: &Arc<ChatResponse>,
        provider: &str,
    ) -> Result<Arc<Entry>, Skip> {
        self.admit_planned(&job.ask, &job.plan, answer, provider, job.embedding.clone())
    }

    fn admit_planned(
        &self,
        ask: &Ask,
        plan: &Plan,
        answer: &Arc<ChatResponse>,
        provider: &str,
        embedding: Option<Embedding>,
    ) -> Result<Arc<Entry>, Skip> {
        let Ask { request, directives, .. } = ask;
        plan.policy.write?;
        judge_answer(request, answer, &plan.route.cache)?;
        let created_at = self.cache.now();
        let is_semantic = plan.policy.is_semantic && shares_with_similar(answer);
        let entry = Arc::new(Entry {
            key: plan.key.fingerprint,
            tenant: directives.tenant.clone(),
            namespace: directives.namespace.clone(),
            user: plan.user.clone(),
            model: plan.route.alias.clone(),
            request: Arc::clone(request),
            answer: Arc::clone(answer),
            provider: provider.to_owned(),
            limit: request.limit.map(|limit| limit.tokens),
            created_at,
            expires_at: created_at.after(plan.policy.ttl),
            cost_usd: None,
            tags: directives.tags.clone(),
            semantic: plan.key.semantic.filter(|_| is_semantic),
        });
        self.cache.insert(Insertion { entry: Arc::clone(&entry), embedding });
        Ok(entry)
    }
}
