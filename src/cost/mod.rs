//! What does an answer cost, and how many tokens is a text?
//!
//! [`prices`] knows what a model costs, from the configuration or from the built-in list; [`tokens`] counts where a
//! vendor did not; [`usage`] does both for a whole generation. What is not known stays unknown: a made-up zero would be
//! counted as a saving.

pub mod prices;
pub mod tokens;
pub mod usage;

pub use prices::{Counts, Tariff, cost_usd, default_model};
pub use usage::{cost_of, estimated, prompt_tokens};
