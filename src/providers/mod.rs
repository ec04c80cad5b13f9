//! What is there to know of each vendor?
//!
//! Where its endpoint is, how a caller proves who it is, what its errors mean. Wire formats are in `wire`, sockets in
//! `transport`, and when to try again or elsewhere is decided by the router, from the classes in [`error`].

pub mod anthropic;
pub mod azure;
mod base;
mod classes;
pub mod error;
pub mod gemini;
pub mod openai;
pub mod quota;
mod stream;
pub mod wait;

use http::{HeaderMap, header};

use crate::chat::ChatRequest;
use crate::transport::{Outgoing, Url};
use crate::wire::Format;
pub use anthropic::Anthropic;
pub use azure::Azure;
pub use base::InvalidUpstream;
pub use classes::{failed, refused};
pub use error::{ProviderError, ProviderErrorKind, TransportFault};
pub use gemini::Gemini;
pub use openai::OpenAi;
pub use stream::StreamDecoder;

/// Knowledge of one vendor, as one upstream of ours is configured.
pub trait Provider: Send + Sync {
    /// Returns the format of its answers.
    fn format(&self) -> Format;

    /// Builds the call that asks for this answer.
    ///
    /// # Errors
    /// [`ProviderErrorKind::Capability`] when the request asks for what the vendor's format cannot express.
    fn prepare(&self, request: &ChatRequest, model: &str, stream: bool) -> Result<Outgoing, ProviderError>;

    /// Builds the call that asks how many tokens this request has; `None` for a vendor that is not asked.
    ///
    /// # Errors
    /// As [`Provider::prepare`].
    fn prepare_count(&self, request: &ChatRequest, model: &str) -> Result<Option<Outgoing>, ProviderError> {
        let _ = (request, model);
        Ok(None)
    }

    /// Returns where another call of this vendor goes, and the headers that prove who calls. `path` is what stands
    /// behind `/v1/` at our own door, with its query: `embeddings?a=b`.
    ///
    /// # Errors
    /// When that is no path.
    fn forward(&self, path: &str) -> Result<(Url, HeaderMap), ProviderError>;
}

/// Returns whether a response is an event stream. Some servers answer whole although a stream was asked for.
pub fn is_event_stream(headers: &HeaderMap) -> bool {
    let content_type = headers.get(header::CONTENT_TYPE).map_or(b"".as_slice(), |value| value.as_bytes());
    content_type.get(..17).is_some_and(|start| start.eq_ignore_ascii_case(b"text/event-stream"))
}
