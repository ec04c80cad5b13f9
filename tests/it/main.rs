//! Everything that needs real parts: databases, sockets, models.

mod store;
mod support;
