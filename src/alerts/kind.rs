//! What an alert can be about, and the words for it.

use std::fmt::{self, Display};
use std::sync::Arc;

/// What is the matter.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Kind {
    /// A breaker is open.
    Breaker,
    KeyRefused,
    QuotaGone,
    ModelMissing,
    Untrusted,
    /// No upstream can be asked.
    AllDown,
    /// Too many of a route's answers come by fallback.
    FallbackRate,
    /// Too many of a route's requests get an error.
    ErrorRate,
    /// Too many of a route's semantic hits are wrong, so it serves equal requests only.
    WrongHits,
}

impl Kind {
    /// Returns its label in metrics and logs.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Breaker => "breaker",
            Self::KeyRefused => "key_refused",
            Self::QuotaGone => "quota_gone",
            Self::ModelMissing => "model_missing",
            Self::Untrusted => "untrusted",
            Self::AllDown => "all_down",
            Self::FallbackRate => "fallback_rate",
            Self::ErrorRate => "error_rate",
            Self::WrongHits => "wrong_hits",
        }
    }

    /// Returns whether it may be over as soon as another configuration is in force.
    pub const fn ends_with_configuration(self) -> bool {
        matches!(self, Self::KeyRefused | Self::QuotaGone | Self::ModelMissing | Self::Untrusted)
    }

    /// Returns whether whoever says the incident has logged it, too.
    pub const fn is_logged_already(self) -> bool {
        matches!(
            self,
            Self::Breaker
                | Self::KeyRefused
                | Self::QuotaGone
                | Self::ModelMissing
                | Self::AllDown
                | Self::WrongHits
        )
    }

    /// Returns whether it is about a route.
    pub const fn is_of_route(self) -> bool {
        matches!(self, Self::FallbackRate | Self::ErrorRate | Self::WrongHits)
    }
}

/// Whether it began or is over.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Turn {
    /// For a rate, with the share that was found.
    Bad(Option<f64>),
    Well,
}

/// One thing to be said.
#[derive(Clone, Debug, PartialEq)]
pub struct Alert {
    pub kind: Kind,
    /// An upstream, `upstream/model` or a route; empty where it is about all of them.
    pub subject: Arc<str>,
    pub turn: Turn,
}

impl Alert {
    /// Returns whether it says that something began.
    pub fn is_bad(&self) -> bool {
        matches!(self.turn, Turn::Bad(_))
    }
}

impl Display for Alert {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { kind, subject, turn } = self;
        let share = match turn {
            Turn::Bad(share) => share.unwrap_or(0.0) * 100.0,
            Turn::Well => 0.0,
        };
        match (kind, self.is_bad()) {
            (Kind::Breaker, true) => {
                write!(
                    f,
                    "the breaker of {subject} opened: it failed too often and is left alone for a while"
                )
            }
            (Kind::Breaker, false) => write!(f, "the breaker of {subject} closed: it answers again"),
            (Kind::KeyRefused, true) => {
                write!(
                    f,
                    "{subject} refuses our key, or our account may not do what was asked; see its api_key_env"
                )
            }
            (Kind::KeyRefused, false) => write!(f, "{subject} takes our key again"),
            (Kind::QuotaGone, true) => write!(f, "{subject} says that nothing is left to spend"),
            (Kind::QuotaGone, false) => write!(f, "{subject} lets us spend again"),
            (Kind::ModelMissing, true) => {
                write!(f, "{subject} does not exist there; correct the configuration's name of the model")
            }
            (Kind::ModelMissing, false) => write!(f, "{subject} exists again"),
            (Kind::Untrusted, true) => write!(
                f,
                "{subject} redirects us or cannot prove who it is, and is not given our key; see its base_url"
            ),
            (Kind::Untrusted, false) => write!(f, "{subject} proves again who it is"),
            (Kind::AllDown, true) => {
                write!(f, "no upstream can be asked; what is answered comes from the cache")
            }
            (Kind::AllDown, false) => write!(f, "an upstream can be asked again"),
            (Kind::FallbackRate, true) => {
                write!(f, "route {subject}: {share:.0} % of the answers came by fallback")
            }
            (Kind::FallbackRate, false) => write!(f, "route {subject}: few answers come by fallback again"),
            (Kind::ErrorRate, true) => {
                write!(f, "route {subject}: {share:.0} % of the requests got an error")
            }
            (Kind::ErrorRate, false) => write!(f, "route {subject}: few requests get an error again"),
            (Kind::WrongHits, true) => write!(
                f,
                "route {subject}: {share:.0} % of the checked answers to similar prompts were wrong; it answers equal ones \
                 only, until `refrain semantic on --model {subject}`"
            ),
            (Kind::WrongHits, false) => write!(f, "route {subject}: similar prompts are answered again"),
        }
    }
}
