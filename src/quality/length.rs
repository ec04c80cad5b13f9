//! Is it neither nothing nor endless?

use super::Said;
use crate::chat::FinishReason;

/// The most that a token of prose, code or blanks comes to, in bytes: an answer beyond it is not the one that was
/// limited.
const TOKEN_BYTES_MAX: usize = 16;
/// The longest answer of a request without a limit, in bytes: a book is not asked for in one call.
const BYTES_MAX: usize = 256 * 1024;
/// Half of what was meant, for all we know.
const CUT: f64 = 0.5;

/// Looks at how much was said: 0 for nothing, one half for what was cut at the output limit or goes far beyond any. A
/// short answer is as good as a long one. Does not apply to one that only calls tools or shows something.
pub(super) fn look(said: &Said<'_>) -> Option<f64> {
    if said.text.trim().is_empty() {
        return (!said.says_otherwise()).then_some(0.0);
    }
    let limit = said.request.limit.map(|limit| limit.tokens as usize);
    let bytes_max = limit.map_or(BYTES_MAX, |tokens| tokens.saturating_mul(TOKEN_BYTES_MAX));
    let is_cut = said.choice.finish == Some(FinishReason::Length);
    Some(if is_cut || said.text.len() > bytes_max { CUT } else { 1.0 })
}
