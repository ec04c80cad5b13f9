//! Where a configuration came from, so that it can be loaded once more.

use std::fmt;
use std::sync::Arc;

use super::{Config, ConfigError, Environment, Flags, load};

/// Flags and environment of a configuration. Its `Debug` hides them: the environment holds every secret there is.
#[derive(Clone, Default)]
pub struct Origin(Option<Arc<(Flags, Environment)>>);

impl Origin {
    pub(super) fn new(flags: &Flags, environment: &Environment) -> Self {
        Self(Some(Arc::new((flags.clone(), environment.clone()))))
    }
}

impl fmt::Debug for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Origin(…)")
    }
}

impl Config {
    /// Reads the same file once more, under the same flags and environment: what has changed is the file, or which one is
    /// there.
    ///
    /// # Errors
    /// As [`load`]; and where this configuration was never loaded from anything.
    pub fn load_again(&self) -> Result<Self, ConfigError> {
        match &self.origin.0 {
            Some(origin) => load(&origin.0, &origin.1),
            None => Err(ConfigError::Unreadable("it was not made from a file".to_owned())),
        }
    }
}
