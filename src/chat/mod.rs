//! What is asked and what is answered, whatever the wire format?
//!
//! The domain: no I/O, no clock. Everything below the edge speaks these types.

mod answer;
mod directives;
mod entry;
mod identity;
mod key;
mod provenance;
mod request;

pub use answer::{Assembly, ChatResponse, Choice, Delta, FinishReason, Usage};
pub use directives::Directives;
pub use entry::{Entry, UnixMillis};
pub use identity::{EndUser, Fingerprint, ModelAlias, Namespace, Owner, Partition, SemanticKey, TenantId};
pub use key::{CANONICAL_VERSION, Key, KeyRules, NoUser, OwnerNames};
pub use provenance::{Attempt, CacheStatus, Source, Tier, Timing};
pub use request::{
    ChatRequest, Dialect, LimitSpelling, Message, OutputFormat, OutputLimit, Part, Role, Sampling, Tool,
    ToolCall, ToolChoice,
};
