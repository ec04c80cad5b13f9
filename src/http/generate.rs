//! `POST /v1/generate`, our own format.

use std::sync::Arc;

use axum::extract::{Request, State};
use axum::response::Response;

use super::state::AppState;
use super::{generation, jobs, prefer};
use crate::chat::{ChatResponse, Dialect, FinishReason};
use crate::gateway::{Answer, Conclusion, Outcome};
use crate::wire::native::{NativeAnswer, NativeCache};

/// Answers a request in our own format, or promises to.
pub(super) async fn generate(State(state): State<Arc<AppState>>, request: Request) -> Response {
    if prefer::responds_async(request.headers()) {
        return jobs::accept(state, request).await;
    }
    generation::answer(Dialect::Native, state, request).await
}

/// Returns an outcome in our own format without its text, as a stream is summed up; what only the end of a stream
/// tells is added by [`conclude`].
pub(super) fn answer_of(outcome: &Outcome, sees_internals: bool, latency_ms: f64) -> NativeAnswer {
    let mut answer = NativeAnswer {
        source: outcome.source.name().to_owned(),
        model: outcome.model.clone(),
        provider: outcome.provider.clone(),
        cache: NativeCache {
            key: outcome.key.filter(|_| sees_internals).map(|key| key.to_string()),
            entry: outcome.entry.filter(|_| sees_internals).map(|entry| entry.to_string()),
            tier: outcome.tier.map(|tier| tier.name().to_owned()),
            similarity: outcome.similarity.filter(|_| sees_internals).map(four_digits),
            age_seconds: outcome.source.is_from_cache().then_some(outcome.age_seconds),
            ttl_seconds: outcome.ttl_seconds,
        },
        quality: outcome.quality.map(hundredths),
        degraded: outcome.degraded.map(|reason| reason.name().to_owned()),
        latency_ms: hundredths(latency_ms),
        cost_usd: outcome.bill.cost_usd,
        saved_usd: outcome.bill.saved_usd,
        ..NativeAnswer::default()
    };
    if let Answer::Whole(whole) = &outcome.answer {
        say(&mut answer, whole);
    }
    answer
}

/// Adds what a stream has told by its end. `key` is `null` for whoever must not see it, and then so is `entry`.
pub(super) fn conclude(summary: &mut NativeAnswer, conclusion: &Conclusion) {
    say(summary, &conclusion.answer);
    summary.cache.entry =
        conclusion.entry.filter(|_| summary.cache.key.is_some()).map(|entry| entry.to_string());
    summary.cache.ttl_seconds = conclusion.ttl_seconds;
    summary.quality = Some(hundredths(conclusion.quality));
    summary.latency_ms = hundredths(conclusion.latency_ms);
    summary.cost_usd = conclusion.bill.cost_usd;
    summary.saved_usd = conclusion.bill.saved_usd;
}

fn say(summary: &mut NativeAnswer, answer: &ChatResponse) {
    summary.id.clone_from(&answer.id);
    let finish = answer.choices.first().and_then(|choice| choice.finish.as_ref());
    summary.finish_reason = finish.map(FinishReason::name).map(str::to_owned);
    summary.usage.clone_from(&answer.usage);
}

fn hundredths(value: f64) -> f64 {
    (value * 1e2).round() / 1e2
}

fn four_digits(cosine: f32) -> f64 {
    (f64::from(cosine) * 1e4).round() / 1e4
}
