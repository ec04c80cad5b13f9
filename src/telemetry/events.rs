//! What a person may have to hear of, said by whoever notices it and heard by whoever alerts.
//!
//! Saying never waits and never fails: where nobody listens, or too much is said at once, it is dropped and counted.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use tokio::sync::mpsc;

/// Something that happened to an upstream or a route. Names are those of the configuration.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Incident {
    BreakerOpened {
        upstream: Arc<str>,
        model: Arc<str>,
    },
    BreakerClosed {
        upstream: Arc<str>,
        model: Arc<str>,
    },
    /// The vendor does not take our key, or our account has no right to what was asked.
    KeyRefused {
        upstream: Arc<str>,
    },
    /// Nothing is left to spend.
    QuotaGone {
        upstream: Arc<str>,
    },
    /// A configured model is not there.
    ModelMissing {
        upstream: Arc<str>,
        model: Arc<str>,
    },
    /// A model that was not there, or whose quota was gone, answers again.
    ModelReturned {
        upstream: Arc<str>,
        model: Arc<str>,
    },
    /// It redirects us, or cannot prove who it is: following would hand the key to a stranger.
    Untrusted {
        upstream: Arc<str>,
    },
    /// An upstream that was parked answers again.
    Returned {
        upstream: Arc<str>,
    },
    /// No upstream can be asked.
    AllDown,
    /// After that, one can.
    SomeUp,
    /// So many of a route's checked semantic hits were wrong that it answers equal requests only.
    WrongHits {
        route: Arc<str>,
        checked: u64,
        different: u64,
    },
    /// After that, somebody has let it answer similar ones again.
    SimilarAgain {
        route: Arc<str>,
    },
}

/// Where incidents are said. Clones say into the same ear.
#[derive(Clone, Debug)]
pub struct Events(Arc<Ear>);

#[derive(Debug)]
struct Ear {
    sender: mpsc::Sender<Incident>,
    dropped: AtomicU64,
}

/// Incidents that wait to be heard.
const WAITING: usize = 1_024;

impl Events {
    /// Returns where to say incidents, and where to hear them.
    pub fn channel() -> (Self, mpsc::Receiver<Incident>) {
        let (sender, receiver) = mpsc::channel(WAITING);
        (Self(Arc::new(Ear { sender, dropped: AtomicU64::new(0) })), receiver)
    }

    /// Says an incident, and goes on.
    pub fn say(&self, incident: Incident) {
        if self.0.sender.try_send(incident).is_err() {
            self.0.dropped.fetch_add(1, Ordering::Relaxed);
        }
    }

    /// Returns how many were not heard.
    pub fn dropped(&self) -> u64 {
        self.0.dropped.load(Ordering::Relaxed)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_nobody_hears_is_counted() {
        let (events, mut heard) = Events::channel();
        events.say(Incident::AllDown);
        assert_eq!(heard.try_recv(), Ok(Incident::AllDown));
        drop(heard);
        events.say(Incident::SomeUp);
        assert_eq!(events.dropped(), 1);
    }
}
