//! May an answer that was given before be given again?
//!
//! The rules are pure: no I/O, no clock, no configuration file.

pub mod decision;
pub mod guards;
pub mod volatile;
