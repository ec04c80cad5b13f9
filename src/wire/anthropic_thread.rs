//! Message threads: conversations that Anthropic keeps for some minutes, so that a request says only what is new.
//!
//! None is kept here. An answer out of a cache belongs to no thread, nor does one of another vendor, and what a request
//! leaves unsaid is missing from its fingerprint. A thread is best effort: no answer says whether it was kept, and who
//! goes on with one must be able to send the whole conversation when that fails (Claude's documentation, "Message
//! threads"). So a wish to begin one is heard and not passed on, and going on with one fails as it does at Anthropic
//! when its time is over. The tool runners of the SDKs, which begin threads unasked, then do without.

use serde_json::Value;

use super::WireError;
use super::fields::Path;

/// How the name of the beta feature begins; a date follows.
pub const THREADS_BETA: &str = "message-threads-";
/// Anthropic's code for a thread that it has not, or no more.
pub(super) const THREAD_NOT_FOUND: &str = "thread_not_found";

/// Reads the field `thread`, of which nothing is kept.
pub(super) fn read_thread(value: Value, at: &Path<'_>) -> Result<(), WireError> {
    let fields = at.object(value)?;
    match fields.get("type").and_then(Value::as_str) {
        Some("create") => Ok(()),
        Some("continue") => Err(WireError::NotKept {
            field: at.to_string(),
            reason: "goes on from an answer that no thread was kept of; send the whole conversation",
            code: THREAD_NOT_FOUND,
        }),
        _ => Err(at.field("type").error("must be one of `create`, `continue`")),
    }
}
