//! Everything that needs more than one module's own functions: real models, sockets, databases.

mod embed;
mod fetch;
