//! What is an answer worth?
//!
//! Pure looks at a text. [`defect`] names what makes an answer no answer at all, so that the chain tries the next
//! upstream: it is slow to judge, since a false alarm buys a second answer. No look takes a short answer for a bad one.

mod defect;
mod encoding;
mod endless;
mod json;
mod refusal;
mod schema;

pub use defect::{Defect, defect};
pub use endless::is_endless;
pub use json::is_json;
pub use refusal::is_refusal;
