//! The wall clock, as far as it may be trusted.

use std::sync::atomic::{AtomicI64, Ordering};
use std::time::SystemTime;

use crate::chat::UnixMillis;

/// A wall clock that never runs backwards within a process: an entry that was once expired stays so, even when
/// somebody sets the machine's clock back. Only lives of entries are measured with it; timeouts use a monotonic clock.
#[derive(Debug)]
pub struct WallClock {
    seen: AtomicI64,
}

impl Default for WallClock {
    fn default() -> Self {
        Self { seen: AtomicI64::new(i64::MIN) }
    }
}

impl WallClock {
    /// Returns the latest moment seen so far.
    pub fn now(&self) -> UnixMillis {
        let machine = SystemTime::now()
            .duration_since(SystemTime::UNIX_EPOCH)
            .map_or(0, |since| i64::try_from(since.as_millis()).unwrap_or(i64::MAX));
        UnixMillis(self.seen.fetch_max(machine, Ordering::Relaxed).max(machine))
    }
}
