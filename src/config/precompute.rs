//! `[precompute]`: answers that are bought ahead of time.

use std::path::PathBuf;

use serde::Deserialize;

/// What is bought, when, and for how much.
#[derive(Clone, Debug, PartialEq, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct PrecomputeConfig {
    /// The lists that `schedule` buys. Default none.
    pub files: Vec<PathBuf>,
    /// The tenants whose own traffic is looked at besides: what it asked for most and what is about to expire is bought
    /// anew. Default none.
    pub from_traffic: Vec<String>,
    /// How many days back it is looked at. Default 7.
    pub traffic_days: u32,
    /// When the server buys them by itself, as cron writes it: minute, hour, day of month, month, day of week. Default
    /// never.
    pub schedule: Option<String>,
    /// The hours in which anything is bought, such as `01:00-05:00`. Default any.
    pub window: Option<String>,
    /// The time zone of both. Default `UTC`.
    pub time_zone: String,
    /// Answers that are bought at a time. Default 4.
    pub concurrency: usize,
    /// The share of every upstream's limits that may be used, in (0, 1]. Default 0.5.
    pub share_of_limit: f64,
    /// The most that one run may spend, in USD. Default unlimited.
    pub max_cost_usd: Option<f64>,
    /// The most answers that one run may buy. Default unlimited.
    pub max_items: Option<usize>,
    /// Entries with less time left than this are bought anew, but none in the first half of its life. Default 86,400 (a
    /// day: until the next night).
    pub refresh_within_seconds: u64,
}

impl Default for PrecomputeConfig {
    fn default() -> Self {
        Self {
            files: Vec::new(),
            from_traffic: Vec::new(),
            traffic_days: 7,
            schedule: None,
            window: None,
            time_zone: "UTC".to_owned(),
            concurrency: 4,
            share_of_limit: 0.5,
            max_cost_usd: None,
            max_items: None,
            refresh_within_seconds: 86_400,
        }
    }
}
