//! What does an answer cost?
//!
//! [`prices`] knows what a model costs, from the configuration or from the built-in list. What is not known stays
//! unknown: a made-up zero would be counted as a saving.

pub mod prices;

pub use prices::{Counts, cost_usd, default_model, prices_of};
