//! What is an answer worth?
//!
//! Pure looks at a text. [`defect()`] names what makes an answer no answer at all, so that the chain tries the next
//! upstream: it is slow to judge, since a false alarm buys a second answer. [`score()`] weighs what the softer looks say,
//! one file each, into one number, which decides over no more than a place in the cache. None of them takes a short
//! answer for a bad one, and all that they cost is linear in the answer.

#[cfg(test)]
mod cases;
mod defect;
mod encoding;
mod endless;
mod integrity;
mod json;
mod keywords;
mod length;
mod refusal;
mod repetition;
mod said;
mod schema;
mod score;

pub use defect::{Defect, defect};
pub use endless::is_endless;
pub use json::is_json;
pub use refusal::is_refusal;
pub use score::{Worth, score};

use said::Said;
