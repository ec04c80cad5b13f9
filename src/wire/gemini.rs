//! Google Gemini's `generateContent`, as we speak it to upstreams; nobody speaks it to us.
//!
//! Sources: the types of Google's Python SDK (google-genai 3.3.0) and the pages of ai.google.dev on function calling,
//! thinking, thought signatures and compatibility with OpenAI, of autumn 2026.

pub use super::gemini_request::encode_request;
pub use super::gemini_response::{ChunkDecoder, decode_response};
