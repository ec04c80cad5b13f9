//! Everything that needs more than pure code, in one binary.

mod transport;
