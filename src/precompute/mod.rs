//! Tomorrow's answers, bought tonight, once.

mod window;

pub use window::{Window, WindowError, zone_of};
