//! The tests that need real parts: servers, databases, sockets, models. One binary, so that it links once.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on has failed")]
#![expect(
    clippy::disallowed_methods,
    reason = "the tasks of a test end with it, and it may look for its tools"
)]

mod admin;
mod ai_switch;
mod alerts;
mod aliases;
mod bad_input;
mod bench_stream;
mod chains;
mod checks;
mod cli;
mod costs;
mod embed;
mod exact;
mod examples;
mod fakes;
mod faults;
mod fetch;
mod flight;
mod forwarding;
mod health_ai;
mod index;
mod index_edge;
mod index_server;
mod jobs;
mod key_limits;
mod keyless;
mod keys;
mod ladder;
mod layering;
mod lifecycle;
mod listener;
mod passthrough;
mod precompute;
mod quality;
mod reload;
mod revalidation;
mod semantic;
mod store;
mod storing;
mod streams;
mod support;
mod threads;
mod tiers_down;
mod transport;
mod traps;
mod upstream_errors;
mod vendors;
