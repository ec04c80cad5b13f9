//! How does each wire format spell a request, an answer, a piece of one and an error?
//!
//! One file per dialect and direction, bytes on one side and the domain's types on the other; no I/O. What a caller
//! sent is judged strictly here and nowhere else; what an upstream sent is read leniently, since every vendor's
//! server bends its own format.

pub mod anthropic;
mod anthropic_conversation;
mod anthropic_count;
mod anthropic_message;
mod anthropic_request;
mod anthropic_response;
mod anthropic_stream_in;
mod anthropic_stream_out;
mod anthropic_thread;
mod anthropic_tool;
mod anthropic_usage;
pub mod controls;
mod data_url;
mod failure;
mod fields;
mod foreign;
pub mod gemini;
mod gemini_request;
mod gemini_response;
mod gemini_turns;
#[cfg(test)]
mod golden;
pub mod json;
pub mod native;
pub mod openai;
mod openai_call;
mod openai_marks;
mod openai_message;
mod openai_request;
mod openai_response;
mod openai_stream;
mod openai_stream_calls;
mod openai_usage;
mod reader;
pub mod responses;
mod responses_echo;
mod responses_events;
mod responses_fields;
mod responses_input;
mod responses_item;
mod responses_request;
mod responses_response;
mod responses_stream;
pub mod sse;

use serde_json::{Map, Value};

use crate::chat::ChatRequest;
pub use controls::BodyControls;
pub use failure::{AnswerError, ErrorBody, Inexpressible};
pub use json::JsonError;
pub use reader::{AnswerReader, Format};

/// The most messages a request may have.
pub const MESSAGES_MAX: usize = 2_048;

/// What a body asked for: the request, how the answer is to be delivered, and what the body said about the cache.
#[derive(Clone, Debug, PartialEq)]
pub struct Asked {
    pub request: ChatRequest,
    pub delivery: Delivery,
    pub cache: BodyControls,
    /// The service type, such as `summary`; only the native dialect has a field for it.
    pub task: Option<String>,
}

/// How the answer is to be delivered. Not part of the request: one entry serves every way.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Delivery {
    pub stream: bool,
    /// Whether a stream is to end with the usage.
    pub include_usage: bool,
    /// Fields of the request that the answer repeats, where the dialect does so (OpenAI Responses).
    pub echo: Map<String, Value>,
}

/// What is wrong with a caller's body.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum WireError {
    /// It is not JSON that we take; says where.
    #[error(transparent)]
    Json(#[from] JsonError),
    /// A field has a wrong type or value.
    #[error("`{field}` {reason}")]
    Field {
        /// The field's path, such as `messages[1].content`.
        field: String,
        reason: String,
    },
    /// A field refers to something that is not there.
    #[error("`{field}` {reason}")]
    NotKept {
        field: String,
        reason: &'static str,
        /// What the dialect calls it.
        code: &'static str,
    },
}

impl WireError {
    /// Returns the path of the field at fault, if it is a field.
    pub fn param(&self) -> Option<&str> {
        match self {
            Self::Json(_) => None,
            Self::Field { field, .. } | Self::NotKept { field, .. } => Some(field),
        }
    }
}

/// An error as a client sees it; each dialect has its own shape for it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ErrorShape<'a> {
    /// The status of the response, or the one it would have had, had its headers not been sent already.
    pub status: u16,
    pub message: &'a str,
    /// The class of the error, such as `invalid_request_error`.
    pub kind: &'a str,
    /// The field at fault.
    pub param: Option<&'a str>,
    /// The error itself, such as `context_length_exceeded`.
    pub code: Option<&'a str>,
}
