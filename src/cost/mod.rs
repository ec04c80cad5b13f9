//! What does an answer cost, and how many tokens is a text?
//!
//! [`prices`] knows what a model costs, from the configuration or from the built-in list; [`tokens`] counts where a
//! vendor did not. What is not known stays unknown: a made-up zero would be counted as a saving.

pub mod prices;
pub mod tokens;

pub use prices::{Counts, cost_usd, default_model, prices_of};
