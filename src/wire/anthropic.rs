//! Anthropic Messages, both directions: as clients speak it to us, and as we speak it to upstreams.

pub use super::anthropic_count::{decode_count, encode_count, write_count};
pub use super::anthropic_request::{encode_request, parse_count, parse_request};
pub use super::anthropic_response::{decode_response, encode_error, encode_response};
pub use super::anthropic_stream_in::EventDecoder;
pub use super::anthropic_stream_out::EventEncoder;
pub use super::anthropic_thread::THREADS_BETA;
