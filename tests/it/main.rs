//! The tests that need real parts: servers, databases, sockets, models.

mod index;
mod index_edge;
mod index_server;
mod layering;
mod store;
mod support;
mod transport;
