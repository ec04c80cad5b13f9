//! Refrain: a semantic response cache server.

pub mod chat;
pub mod config;
pub mod store;
