//! Refrain: a semantic response cache server.

pub mod chat;
pub mod config;
pub mod gateway;
pub mod http;
pub mod providers;
pub mod single_flight;
pub mod store;
pub mod telemetry;
pub mod transport;
pub mod wire;
