//! The one way into the cache: policy and quality gate.

use std::sync::Arc;
use std::time::Duration;

use super::generation::Job;
use super::{Ask, Gateway};
use crate::cache::{Insertion, Skip, judge_answer, judge_worth, shares_with_similar};
use crate::chat::{ChatResponse, Entry};
use crate::quality::Worth;

/// A whole answer of one upstream.
pub(super) struct Written<'a> {
    pub answer: Arc<ChatResponse>,
    /// The upstream that wrote it.
    pub provider: &'a str,
    /// The model that it was asked for.
    pub model: &'a str,
    pub cost_usd: Option<f64>,
    pub worth: Worth,
}

impl Gateway {
    /// Takes an answer in, if it is fit to be kept.
    ///
    /// # Errors
    /// The first reason not to keep it.
    pub(super) fn admit(&self, job: &Job, written: Written<'_>) -> Result<Arc<Entry>, Skip> {
        let Job { ask: Ask { request, directives, warm, .. }, plan, embedding, .. } = job;
        let Written { answer, provider, model, cost_usd, worth } = written;
        plan.policy.write?;
        let route = &plan.route;
        if !route.is_interchangeable && route.is_other_model(model) {
            return Err(Skip::OtherModel);
        }
        judge_answer(request, &answer, &route.cache)?;
        judge_worth(worth, self.limits.quality.store_threshold)?;
        let ttl = if route.is_fallback(model) {
            plan.policy.ttl.min(Duration::from_secs(route.cache.fallback_ttl_seconds))
        } else {
            plan.policy.ttl
        };
        let created_at = self.cache.now();
        let is_semantic = plan.policy.is_semantic && shares_with_similar(&answer);
        let entry = Arc::new(Entry {
            key: plan.key.fingerprint,
            tenant: directives.tenant.clone(),
            namespace: directives.namespace.clone(),
            user: plan.user.clone(),
            model: route.alias.clone(),
            request: Arc::clone(request),
            answer,
            provider: provider.to_owned(),
            limit: request.limit.map(|limit| limit.tokens),
            created_at,
            expires_at: created_at.after(ttl),
            cost_usd,
            quality: Some(worth.score),
            tags: directives.tags.clone(),
            semantic: plan.key.semantic.filter(|_| is_semantic),
        });
        self.cache.insert(Insertion {
            entry: Arc::clone(&entry),
            embedding: embedding.clone(),
            warm: warm.clone(),
        });
        Ok(entry)
    }
}
