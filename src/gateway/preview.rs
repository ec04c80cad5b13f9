//! What would a request be, and what would it cost? Asks nobody.

use std::sync::Arc;
use std::time::Duration;

use super::{Ask, Gateway, GatewayError};
use crate::chat::Fingerprint;
use crate::config::Prices;
use crate::cost::{Counts, cost_usd, prompt_tokens};
use crate::router::Room;

/// A request as it would go now.
#[derive(Clone, Debug)]
pub struct Preview {
    pub key: Fingerprint,
    /// Why its answer would not be stored.
    pub refusal: Option<&'static str>,
    /// Whether it asks about now.
    pub is_volatile: bool,
    /// How long its answer would stay fresh.
    pub ttl: Duration,
    /// The upstream that would be asked first; `None` where there is none.
    pub upstream: Option<Arc<str>>,
    pub prompt_tokens: u64,
    /// The output limit, in tokens.
    pub limit: Option<u32>,
    prices: Option<Prices>,
}

impl Preview {
    /// Returns what an answer of so many tokens would cost, where the price is known.
    pub fn cost_usd(&self, completion_tokens: u64) -> Option<f64> {
        let counts =
            Counts { prompt: self.prompt_tokens, completion: completion_tokens, ..Counts::default() };
        self.prices.map(|prices| cost_usd(&prices, counts))
    }
}

impl Gateway {
    /// Tells what a request would be.
    ///
    /// # Errors
    /// Only for a model that is not known.
    pub fn preview(&self, ask: &Ask) -> Result<Preview, GatewayError> {
        let mut plan = self.plan(ask)?;
        plan.consider_the_prompt(&ask.request);
        let first = plan.route.chain.first();
        Ok(Preview {
            key: plan.key.fingerprint,
            refusal: plan.policy.write.err().map(crate::cache::Skip::name),
            is_volatile: plan.policy.is_volatile,
            ttl: plan.policy.ttl,
            upstream: first.map(|step| Arc::clone(&step.upstream.name)),
            prompt_tokens: prompt_tokens(&ask.request),
            limit: ask.request.limit.map(|limit| limit.tokens),
            prices: first.and_then(|step| step.prices()),
        })
    }

    /// Returns how much room an upstream has now; `None` for one that is not configured.
    pub fn room(&self, upstream: &str) -> Option<Room> {
        self.router.room(upstream)
    }

    /// Returns whether upstreams are asked at all.
    pub fn asks_upstreams(&self) -> bool {
        self.ai.is_on()
    }
}

#[cfg(test)]
impl Preview {
    /// Returns a request that can be stored and whose price nobody knows.
    pub fn for_tests(key: Fingerprint, ttl: Duration) -> Self {
        Self {
            key,
            refusal: None,
            is_volatile: false,
            ttl,
            upstream: Some("a".into()),
            prompt_tokens: 10,
            limit: None,
            prices: None,
        }
    }
}
