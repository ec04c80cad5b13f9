//! Is anybody asked at all?

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use crate::telemetry::Telemetry;

/// The switch between the gateway and everybody it could ask. Turned off, the cache and the ladder are all there is.
///
/// It belongs to the process and not to a gateway, so that it outlives a reload; it is not written down anywhere, so
/// that a restart begins as the configuration says.
#[derive(Debug)]
pub struct AiSwitch {
    is_on: AtomicBool,
    telemetry: Arc<Telemetry>,
}

impl AiSwitch {
    /// Returns a switch in this position.
    pub fn new(is_on: bool, telemetry: Arc<Telemetry>) -> Self {
        telemetry.ai_enabled(is_on);
        if !is_on {
            tracing::warn!("AI is switched off: answers come from the cache and the ladder alone");
        }
        Self { is_on: AtomicBool::new(is_on), telemetry }
    }

    /// Returns whether upstreams are asked.
    pub fn is_on(&self) -> bool {
        self.is_on.load(Ordering::Relaxed)
    }

    /// Puts it into this position, from the next miss on, and returns whether it was in the other one.
    pub fn turn(&self, on: bool) -> bool {
        let has_changed = self.is_on.swap(on, Ordering::Relaxed) != on;
        if has_changed {
            self.telemetry.ai_enabled(on);
            if on {
                tracing::info!("AI is switched on: upstreams are asked again");
            } else {
                tracing::warn!("AI is switched off: answers come from the cache and the ladder alone");
            }
        }
        has_changed
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_says_whether_it_has_moved_and_shows_where_it_stands() {
        let telemetry = Arc::new(Telemetry::new());
        let switch = AiSwitch::new(true, Arc::clone(&telemetry));
        assert!(switch.is_on() && !switch.turn(true));
        assert!(telemetry.render().contains("refrain_ai_enabled 1"));
        assert!(switch.turn(false) && !switch.turn(false) && !switch.is_on());
        assert!(telemetry.render().contains("refrain_ai_enabled 0"));
    }
}
