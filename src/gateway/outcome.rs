//! What the gateway hands back: an answer and its provenance, or a reason why there is none.

use std::sync::Arc;
use std::time::Duration;

use super::generation::LiveAnswer;
use super::{Bill, Plan};
use crate::cache::Hit;
use crate::chat::{Attempt, CacheStatus, ChatResponse, Fingerprint, Source, Tier, Timing, UnixMillis};
use crate::config::HOW_TO_GET_A_PROVIDER;
use crate::router::{ChainFailure, UnknownModel};

/// An answer and where it came from.
#[derive(Debug)]
pub struct Outcome {
    pub answer: Answer,
    pub source: Source,
    /// `None` for an answer from upstream.
    pub tier: Option<Tier>,
    /// The key of the request; `None` where it may not be cached and so has none.
    pub key: Option<Fingerprint>,
    /// The entry that answered, or that the answer became.
    pub entry: Option<Fingerprint>,
    /// Cosine similarity of a semantic hit.
    pub similarity: Option<f32>,
    pub cache_status: CacheStatus,
    /// Seconds since the answer was made.
    pub age_seconds: u64,
    /// Seconds of freshness left; `None` where the answer was not stored, or that is not known yet.
    pub ttl_seconds: Option<i64>,
    /// The upstream that wrote the answer.
    pub provider: String,
    /// The model as the vendor names it.
    pub model: String,
    /// The calls made for this answer; empty for a hit.
    pub attempts: Vec<Attempt>,
    /// What the answer is worth, in [0, 1]; `None` where nobody has looked, or it is still being written.
    pub quality: Option<f64>,
    /// Not known yet for an answer that is still being written.
    pub bill: Bill,
    pub timing: Timing,
}

/// The answer itself.
#[derive(Debug)]
pub enum Answer {
    Whole(Arc<ChatResponse>),
    /// Still being written; its first piece has come.
    Live(LiveAnswer),
}

/// Why there is no answer.
#[derive(Clone, Debug, thiserror::Error)]
pub enum GatewayError {
    #[error("the model `{asked}` is not known here; known are: {}", known.join(", "))]
    UnknownModel { asked: String, known: Vec<String> },
    #[error("no provider is configured: {HOW_TO_GET_A_PROVIDER}")]
    NoProvider,
    #[error("upstreams are switched off here; only what is cached is answered")]
    AiDisabled,
    #[error(
        "no such endpoint here; to have other /v1 paths passed on to a provider, set `[passthrough] provider` to its name"
    )]
    NotForwarded,
    #[error("nothing in the cache answers this request, and it asked for nothing else (only-if-cached)")]
    OnlyIfCached,
    #[error("no answer within {} ms", .0.as_millis())]
    Deadline(Duration),
    #[error("too much is under way; try again in a moment")]
    Overloaded,
    #[error("{}", .0.error)]
    Upstream(Arc<ChainFailure>),
    /// The task that worked on the answer is gone, by a panic or at shutdown.
    #[error("the generation was interrupted")]
    Interrupted,
}

impl From<UnknownModel> for GatewayError {
    fn from(UnknownModel { asked, known }: UnknownModel) -> Self {
        Self::UnknownModel { asked, known }
    }
}

impl Outcome {
    /// Returns the outcome of a hit.
    pub(super) fn of_hit(hit: Hit, plan: &Plan, now: UnixMillis, timing: Timing) -> Self {
        let Hit { entry, tier, similarity } = hit;
        let source = match tier {
            Tier::Memory | Tier::Store => Source::Exact,
            Tier::Semantic => Source::Semantic,
        };
        let ttl_seconds = entry.ttl_seconds(now);
        Self {
            answer: Answer::Whole(Arc::clone(&entry.answer)),
            source,
            tier: Some(tier),
            key: Some(plan.key.fingerprint),
            entry: Some(entry.key),
            similarity,
            cache_status: CacheStatus::Hit { ttl_seconds, detail: source },
            age_seconds: entry.age_seconds(now),
            ttl_seconds: Some(ttl_seconds),
            provider: entry.provider.clone(),
            model: entry.answer.model.clone(),
            attempts: Vec::new(),
            quality: entry.quality,
            bill: Bill::of_guest(entry.cost_usd),
            timing,
        }
    }
}
