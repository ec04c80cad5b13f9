//! The wall clock, for the few things here that need it: when an answer was made, where its vendor does not say, and
//! what is told to people or kept across a restart. Everything else is measured on the monotonic clock.

use std::time::{SystemTime, UNIX_EPOCH};

use tokio::time::Instant;

use crate::chat::UnixMillis;

/// Returns the seconds since the Unix epoch; 0 on a clock that stands before it.
pub(super) fn unix_seconds() -> i64 {
    unix_millis().0 / 1_000
}

/// Returns the present.
pub(super) fn unix_millis() -> UnixMillis {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    UnixMillis(i64::try_from(since.as_millis()).unwrap_or(i64::MAX))
}

/// Returns a moment of the monotonic clock as the wall clock will show it.
pub(super) fn wall(moment: Instant, now: Instant) -> UnixMillis {
    let present = unix_millis();
    let millis = |span: std::time::Duration| i64::try_from(span.as_millis()).unwrap_or(i64::MAX);
    match moment.checked_duration_since(now) {
        Some(ahead) => UnixMillis(present.0.saturating_add(millis(ahead))),
        None => UnixMillis(present.0.saturating_sub(millis(now.duration_since(moment)))),
    }
}
