//! The account of one answer: what it took and what it cost.
//!
//! A call that brought words is in it, also where they broke off: those are estimated. What a vendor may have billed for
//! calls that failed without a word, nobody tells.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::Semaphore;
use tokio::task::spawn_blocking;
use tokio::time::timeout;

use super::generate::Event;
use super::{Router, Step};
use crate::chat::{ChatRequest, ChatResponse, Delta, Usage};
use crate::cost;
use crate::telemetry::Tokens;

/// Answers that are counted at a time. A thread that counts takes 3 MB, and long texts some tenths of a second.
const COUNTS_MAX: usize = 2;
/// How long the end of an answer waits for its count; nearly always some microseconds, and 0.1 s for the first one.
const PATIENCE: Duration = Duration::from_secs(2);

/// Counts the tokens of answers whose vendor did not, off the async threads and a few at a time.
#[derive(Debug)]
pub(super) struct Counter(Arc<Semaphore>);

impl Default for Counter {
    fn default() -> Self {
        Self(Arc::new(Semaphore::new(COUNTS_MAX)))
    }
}

impl Counter {
    /// Returns an estimate, or `None` where there was none in time: an answer is worth more than its count.
    ///
    /// Cancel safe; a count that has begun ends by itself.
    async fn count(&self, request: &Arc<ChatRequest>, answer: &ChatResponse) -> Option<Usage> {
        let (request, answer) = (Arc::clone(request), answer.clone());
        self.run(move || cost::estimated(&request, &answer)).await
    }

    /// Returns an estimate of a request alone, or `None` where there was none in time.
    pub(super) async fn prompt(&self, request: &Arc<ChatRequest>) -> Option<u64> {
        let request = Arc::clone(request);
        self.run(move || cost::prompt_tokens(&request)).await
    }

    async fn run<T: Send + 'static>(&self, count: impl FnOnce() -> T + Send + 'static) -> Option<T> {
        let counting = async {
            let permit = Arc::clone(&self.0).acquire_owned().await.ok()?;
            let counting = spawn_blocking(move || {
                let counted = count();
                drop(permit);
                counted
            });
            counting.await.ok()
        };
        timeout(PATIENCE, counting).await.ok().flatten()
    }
}

impl Router {
    /// Settles the account of an answer, or of what came of one: has its tokens counted where the vendor did not, handing
    /// them on as the last piece, and returns what it cost in USD as far as that is known.
    pub(super) async fn settle(
        &self,
        step: &Step,
        request: &Arc<ChatRequest>,
        answer: &mut ChatResponse,
        sink: &mut (impl FnMut(Event) -> bool + Send),
    ) -> Option<f64> {
        if answer.usage.is_none() {
            answer.usage = self.counter.count(request, answer).await;
            if let Some(usage) = answer.usage.clone() {
                sink(Event::Delta(Delta::Usage(usage)));
            }
        }
        let usage = answer.usage.as_ref()?;
        self.telemetry.tokens(&step.upstream.name, step.model_label(), tokens_of(usage));
        let cost_usd = cost::cost_of(&step.upstream.tariff, &step.model, usage)?;
        self.telemetry.spent(cost_usd);
        Some(cost_usd)
    }
}

fn tokens_of(usage: &Usage) -> Tokens {
    let Usage {
        prompt_tokens,
        completion_tokens,
        cached_tokens,
        cache_write_tokens,
        reasoning_tokens,
        is_estimated: _,
        unknown: _,
    } = usage;
    Tokens {
        prompt: *prompt_tokens,
        completion: *completion_tokens,
        cached: cached_tokens.unwrap_or(0),
        cache_write: cache_write_tokens.unwrap_or(0),
        reasoning: reasoning_tokens.unwrap_or(0),
    }
}
