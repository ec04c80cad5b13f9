//! Refrain: a semantic response cache server.

pub mod app;
pub mod chat;
pub mod cli;
pub mod config;
pub mod providers;
pub mod single_flight;
pub mod store;
pub mod transport;
pub mod wire;
