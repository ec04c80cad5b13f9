//! What the gateway hands back: an answer and its provenance, or a reason why there is none.

use std::sync::Arc;
use std::time::Duration;

use super::generation::LiveAnswer;
use super::{Bill, Plan};
use crate::cache::Hit;
use crate::chat::{
    Attempt, CacheStatus, ChatResponse, Degraded, Fingerprint, Source, Tier, Timing, UnixMillis,
};
use crate::config::HOW_TO_GET_A_PROVIDER;
use crate::providers::ProviderErrorKind;
use crate::router::{ChainFailure, UnknownModel};

/// An answer and where it came from.
#[derive(Debug)]
pub struct Outcome {
    pub answer: Answer,
    pub source: Source,
    /// Why the ladder answered, where it did.
    pub degraded: Option<Degraded>,
    /// `None` for an answer that the cache did not have.
    pub tier: Option<Tier>,
    /// The key of the request; `None` where it may not be cached and so has none.
    pub key: Option<Fingerprint>,
    /// The entry that answered, or that the answer became.
    pub entry: Option<Fingerprint>,
    /// Cosine similarity to the prompt of another entry, where that answered.
    pub similarity: Option<f32>,
    pub cache_status: CacheStatus,
    /// Seconds since the answer was made.
    pub age_seconds: u64,
    /// Seconds of freshness left; `None` where the answer was not stored, or that is not known yet.
    pub ttl_seconds: Option<i64>,
    /// The upstream that wrote the answer; `refrain` where none did.
    pub provider: String,
    /// The model as the vendor names it; `refrain/…` and the step of the ladder where no model wrote the answer.
    pub model: String,
    /// The calls made for this answer, those in vain before the ladder included; empty for a hit.
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

impl GatewayError {
    /// Returns why the ladder may answer in its place; `None` where the caller is at fault, or asked for just this.
    pub(super) fn reason_to_degrade(&self) -> Option<Degraded> {
        Some(match self {
            Self::UnknownModel { .. } | Self::NotForwarded | Self::OnlyIfCached => return None,
            Self::NoProvider => Degraded::NoProvider,
            Self::AiDisabled => Degraded::AiDisabled,
            Self::Deadline(_) => Degraded::Deadline,
            Self::Overloaded => Degraded::Overloaded,
            Self::Interrupted => Degraded::Interrupted,
            Self::Upstream(failure) => {
                let ChainFailure { error, attempts, is_model_free, is_out_of_time, .. } = &**failure;
                match error.kind {
                    ProviderErrorKind::ModelMissing if *is_model_free => return None,
                    kind if kind.is_callers_fault() => return None,
                    ProviderErrorKind::Timeout if *is_out_of_time => Degraded::Deadline,
                    _ if attempts.is_empty() => Degraded::UpstreamsUnavailable,
                    _ => Degraded::AllUpstreamsFailed,
                }
            }
        })
    }
}

impl From<UnknownModel> for GatewayError {
    fn from(UnknownModel { asked, known }: UnknownModel) -> Self {
        Self::UnknownModel { asked, known }
    }
}

impl Outcome {
    /// Returns the outcome of a hit.
    pub(super) fn of_hit(hit: Hit, plan: &Plan, now: UnixMillis, timing: Timing) -> Self {
        let is_past = plan.is_revalidated(&hit, now);
        let Hit { entry, tier, similarity } = hit;
        let source = match tier {
            Tier::Memory | Tier::Store if is_past => Source::Stale,
            Tier::Memory | Tier::Store => Source::Exact,
            Tier::Semantic => Source::Semantic,
        };
        let ttl_seconds = entry.ttl_seconds(now);
        let cache_status = if is_past {
            CacheStatus::Revalidating { ttl_seconds }
        } else {
            CacheStatus::Hit { ttl_seconds, detail: source }
        };
        Self {
            answer: Answer::Whole(Arc::clone(&entry.answer)),
            source,
            degraded: None,
            tier: Some(tier),
            key: Some(plan.key.fingerprint),
            entry: Some(entry.key),
            similarity,
            cache_status,
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::providers::ProviderError;

    fn upstream(kind: ProviderErrorKind, calls: usize, is_model_free: bool) -> Option<Degraded> {
        let attempt = Attempt { upstream: "p/m".into(), result: "x".into() };
        let failure = ChainFailure {
            error: ProviderError::new(kind, ""),
            attempts: vec![attempt; calls],
            kinds: vec![kind; calls],
            retry_after: None,
            is_model_free,
            is_out_of_time: kind == ProviderErrorKind::Timeout,
        };
        GatewayError::Upstream(Arc::new(failure)).reason_to_degrade()
    }

    #[test]
    fn the_ladder_never_hides_the_callers_own_mistake() {
        use ProviderErrorKind as Kind;
        for kind in [Kind::BadRequest, Kind::ContextTooLong, Kind::ContentPolicy, Kind::Capability] {
            assert_eq!(upstream(kind, 1, false), None, "{kind:?}");
        }
        assert_eq!(upstream(Kind::ModelMissing, 1, true), None);
        assert_eq!(upstream(Kind::ModelMissing, 1, false), Some(Degraded::AllUpstreamsFailed));
        assert_eq!(GatewayError::OnlyIfCached.reason_to_degrade(), None);
    }

    #[test]
    fn whoever_was_asked_has_failed_and_whoever_could_not_be_was_unavailable() {
        let limited = |calls| upstream(ProviderErrorKind::RateLimited, calls, false);
        assert_eq!(limited(2), Some(Degraded::AllUpstreamsFailed));
        assert_eq!(limited(0), Some(Degraded::UpstreamsUnavailable));
        assert_eq!(upstream(ProviderErrorKind::Timeout, 1, false), Some(Degraded::Deadline));
        assert_eq!(GatewayError::Deadline(Duration::ZERO).reason_to_degrade(), Some(Degraded::Deadline));
    }
}
