//! Refrain: a semantic response cache server.

pub mod chat;
pub mod config;
pub mod single_flight;
pub mod telemetry;
