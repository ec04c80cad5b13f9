//! Refrain: a semantic response cache server.

pub mod chat;
pub mod cli;
pub mod config;
pub mod single_flight;
pub mod store;
