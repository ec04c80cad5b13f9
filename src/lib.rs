//! Refrain: a semantic response cache server.

pub mod chat;
pub mod config;
pub mod providers;
pub mod single_flight;
pub mod transport;
pub mod wire;
