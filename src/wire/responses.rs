//! OpenAI Responses, the stateless subset, as clients speak it to us.
//!
//! No upstream of ours speaks it: a request becomes the one that Chat Completions would have spelled, and shares its
//! key and its entries. So whatever has no such form is refused by name and never dropped in silence: built-in tools,
//! files, templates, and all that needs something kept between requests (`previous_response_id`, `conversation`,
//! `item_reference`, `background`). Accepted and without effect are `store` (nothing is kept to be retrieved, and the
//! answer says so), `reasoning.summary` and `reasoning.encrypted_content` (no upstream gives them), `phase`, and the
//! reasoning items of earlier turns, which are sealed for OpenAI alone.

pub use super::responses_request::parse_request;
pub use super::responses_response::encode_response;
pub use super::responses_stream::EventEncoder;
