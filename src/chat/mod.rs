//! What is asked and what is answered, whatever the wire format?
//!
//! The domain: no I/O, no clock. Everything below the edge speaks these types.

mod answer;
mod canonical_json;
mod delta;
mod directives;
mod entry;
mod identity;
mod key;
mod part;
mod provenance;
mod request;
mod usd;

pub use answer::{ChatResponse, Choice, FinishReason, Usage};
pub use delta::{Assembly, Delta};
pub use directives::Directives;
pub use entry::{Entry, UnixMillis};
pub use identity::{EndUser, Fingerprint, ModelAlias, Namespace, Owner, Partition, SemanticKey, TenantId};
pub use key::{CANONICAL_VERSION, Key, KeyRules, NoUser, OwnerNames};
pub use part::{Image, ImageSource, Part, Reasoning, ToolCall};
pub use provenance::{Attempt, CacheStatus, Degraded, Forward, Source, Tier, Timing};
pub use request::{
    CacheMark, ChatRequest, Dialect, JsonSchema, LimitSpelling, MarkedPlace, Message, OutputFormat,
    OutputLimit, Role, Sampling, Tool, ToolChoice,
};
pub use usd::Usd;

#[cfg(test)]
pub(crate) use part::tests::any_part;
