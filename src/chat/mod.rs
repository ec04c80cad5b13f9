//! What is asked and what is answered, whatever the wire format?
//!
//! The domain: no I/O, no clock. Everything below the edge speaks these types.

mod identity;

pub use identity::{EndUser, Fingerprint, ModelAlias, Namespace, Partition, TenantId};
