//! The tests that need real parts: servers, databases, sockets, models.

mod index;
mod support;
