//! The one way into the cache: policy and quality gate.

use std::sync::Arc;

use super::generation::Job;
use super::{Ask, Gateway};
use crate::cache::{Insertion, Skip, judge_answer, shares_with_similar};
use crate::chat::{ChatResponse, Entry};

impl Gateway {
    /// Takes an answer in, which cost so much, if it is fit to be kept.
    ///
    /// # Errors
    /// The first reason not to keep it.
    pub(super) fn admit(
        &self,
        job: &Job,
        answer: &Arc<ChatResponse>,
        provider: &str,
        cost_usd: Option<f64>,
    ) -> Result<Arc<Entry>, Skip> {
        let Job { ask: Ask { request, directives, .. }, plan, embedding, .. } = job;
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
            cost_usd,
            tags: directives.tags.clone(),
            semantic: plan.key.semantic.filter(|_| is_semantic),
        });
        self.cache.insert(Insertion { entry: Arc::clone(&entry), embedding: embedding.clone() });
        Ok(entry)
    }
}
