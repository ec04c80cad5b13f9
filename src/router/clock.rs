//! The wall clock, for the one thing here that needs it: when an answer was made, where its vendor does not say.

use std::time::{SystemTime, UNIX_EPOCH};

/// Returns the seconds since the Unix epoch; 0 on a clock that stands before it.
pub(super) fn unix_seconds() -> i64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    i64::try_from(since.as_secs()).unwrap_or(i64::MAX)
}
