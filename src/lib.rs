//! Refrain: a semantic response cache server.

pub mod config;
pub mod single_flight;
pub mod telemetry;
pub mod chat;
pub mod cost;
pub mod quality;
pub mod transport;
pub mod wire;
pub mod embed;
pub mod index;
pub mod providers;
pub mod store;
pub mod cache;
pub mod router;
pub mod gateway;
