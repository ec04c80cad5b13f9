//! A case, as it was read from its file.

use std::ops::RangeInclusive;
use std::time::Duration;

use serde_json::Value;

use crate::support::faults::{Door, Format, Script};
use crate::vendors::client::Client;

/// A fault, and what is to come of it.
#[derive(Debug, Default)]
pub struct Case {
    /// How the callers ask; the whole case is played once for each.
    pub modes: Vec<Mode>,
    /// Settings of the server, as lines of its configuration.
    pub config: String,
    pub upstreams: Vec<Upstream>,
    pub routes: Vec<Route>,
    pub seeds: Vec<Seed>,
    /// What is done and looked at, in this order, each with its line.
    pub acts: Vec<(usize, Act)>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mode {
    Whole,
    Stream,
}

#[derive(Debug)]
pub struct Upstream {
    pub name: String,
    pub format: Format,
    pub door: Door,
    /// Where it is said to be, where that is not the address of a fault server.
    pub address: Option<String>,
    /// Lines of its table in the configuration.
    pub config: String,
    /// What it answers, by model.
    pub scripts: Vec<(String, Script)>,
}

#[derive(Debug, Default)]
pub struct Route {
    pub model: String,
    pub chain: Vec<String>,
    pub config: String,
}

/// A request that was answered well before anything went wrong.
#[derive(Debug)]
pub struct Seed {
    pub prompt: String,
    /// Whether its answer is still fresh.
    pub is_fresh: bool,
}

#[derive(Debug)]
pub enum Act {
    Ask(Ask),
    /// Asks one prompt after the other until the upstream was asked so often; each is answered.
    AskUntil {
        upstream: String,
        times: usize,
    },
    Asked {
        upstream: String,
        times: RangeInclusive<usize>,
    },
    /// How long it was left alone before one of its calls, counted from one.
    Paused {
        upstream: String,
        call: usize,
        time: RangeInclusive<Duration>,
    },
    /// Whether it is said to be healthy.
    Healthy {
        upstream: String,
        is_healthy: bool,
    },
    Metric {
        series: String,
        value: RangeInclusive<f64>,
    },
    /// Somebody hears of it.
    Alert(String),
    /// How many answers are kept in memory.
    Entries(u64),
}

/// A request.
#[derive(Debug)]
pub struct Ask {
    pub client: Client,
    /// `None` for a prompt that nothing else asks.
    pub prompt: Option<String>,
    /// `None` for the first route.
    pub model: Option<String>,
    pub headers: Vec<(String, String)>,
    pub fields: Vec<(String, Value)>,
    /// How many more bytes the prompt has.
    pub padding: usize,
    pub looks: Vec<Look>,
}

/// Something to be seen of a response.
#[derive(Debug)]
pub struct Look {
    pub line: usize,
    /// `None` for both.
    pub mode: Option<Mode>,
    pub sight: Sight,
}

#[derive(Debug)]
pub enum Sight {
    Status(u16),
    Text(String),
    AnyText,
    Refused(String),
    Called(String, String),
    By(String),
    Attempts(Vec<Attempt>),
    Source(String),
    Header(String, Held),
    Kept(bool),
    Error {
        code: Option<String>,
        message: Option<String>,
        param: Option<String>,
    },
    /// A stream that says this, and then that it was broken off. `None` for the first half of what was due.
    Breaks {
        code: String,
        said: Option<String>,
    },
    Finish(String),
    Usage(u64, u64),
    Within(Duration),
    NotBefore(Duration),
    /// What the body has, and has not, as it stands.
    Says(String),
    NeverSays(String),
}

/// What the value of a header must be.
#[derive(Debug)]
pub enum Held {
    Absent,
    Is(String),
    Has(String),
    Within(RangeInclusive<f64>),
}

/// One of `x-upstream-attempts`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Attempt {
    /// Any of these.
    pub any_of: Vec<String>,
    /// Whether it may be left out.
    pub is_optional: bool,
}
