//! What is there to know of each vendor?
//!
//! Where its endpoint is, how a caller proves who it is, what its errors mean. Wire formats are in `wire`, sockets in
//! `transport`, and when to try again or elsewhere is decided by the router, from the classes in [`error`].

pub mod error;
pub mod openai;
mod stream;
pub mod wait;

use http::{HeaderMap, StatusCode, header};

use crate::chat::{ChatRequest, ChatResponse};
use crate::transport::Outgoing;
pub use error::{ProviderError, ProviderErrorKind, TransportFault};
pub use openai::{InvalidUpstream, OpenAi};
pub use stream::StreamDecoder;

/// Knowledge of one vendor, as one upstream of ours is configured.
pub trait Provider: Send + Sync {
    /// Builds the call that asks for this answer.
    ///
    /// # Errors
    /// When the request asks for what the vendor cannot express.
    fn prepare(&self, request: &ChatRequest, model: &str, stream: bool) -> Result<Outgoing, ProviderError>;

    /// Reads a whole answer, from a body that came with status 200.
    ///
    /// # Errors
    /// When it is no answer, or an error in disguise.
    fn decode(&self, body: &[u8]) -> Result<ChatResponse, ProviderError>;

    /// Begins to read a streamed answer of so many choices.
    fn decode_stream(&self, choices: u32) -> StreamDecoder;

    /// Says what a response with any other status means.
    fn classify(&self, status: StatusCode, headers: &HeaderMap, body: &[u8]) -> ProviderError;
}

/// Returns whether a response is an event stream. Some servers answer whole although a stream was asked for.
pub fn is_event_stream(headers: &HeaderMap) -> bool {
    let content_type = headers.get(header::CONTENT_TYPE).map_or(b"".as_slice(), |value| value.as_bytes());
    content_type.get(..17).is_some_and(|start| start.eq_ignore_ascii_case(b"text/event-stream"))
}
