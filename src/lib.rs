//! Refrain: a semantic response cache server.

pub mod cache;
pub mod chat;
pub mod config;
pub mod cost;
pub mod embed;
pub mod gateway;
pub mod index;
pub mod providers;
pub mod quality;
pub mod router;
pub mod single_flight;
pub mod store;
pub mod telemetry;
pub mod transport;
pub mod wire;
