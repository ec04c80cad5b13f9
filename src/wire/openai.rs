//! OpenAI Chat Completions, both directions: as clients speak it to us, and as we speak it to upstreams.

pub use super::openai_request::{Encoding, encode_request, parse_request, show_request};
pub use super::openai_response::{decode_response, encode_error, encode_response};
pub use super::openai_stream::{ChunkDecoder, ChunkEncoder};
