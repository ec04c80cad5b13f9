//! Refrain: a semantic response cache server.

pub mod cache;
pub mod chat;
