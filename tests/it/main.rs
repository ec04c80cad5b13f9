//! Everything that needs more than one module: one binary, so that it links once.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

mod cli;
mod examples;
mod store;
mod support;
mod transport;
