//! Where a configuration came from, so that it can be loaded once more.

use std::fmt;
use std::sync::Arc;

use super::{Config, ConfigError, Environment, Flags, load};

/// Flags and environment of a configuration. Its `Debug` hides them: the environment holds every secret there is.
#[derive(Clone, Default)]
pub struct Origin(Option<Arc<(Flags, Environment)>>);

impl Origin {
    /// Keeps both. The flags name the file that was found, so that the next time it cannot be missing unnoticed.
    pub(super) fn new(flags: Flags, environment: Environment) -> Self {
        Self(Some(Arc::new((flags, environment))))
    }
}

impl fmt::Debug for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Origin(…)")
    }
}

impl Config {
    /// Reads the same file once more, under the same flags and environment.
    ///
    /// # Errors
    /// As [`load()`]; also where the file is gone, and where this configuration was never loaded from anything.
    pub fn load_again(&self) -> Result<Self, ConfigError> {
        match &self.origin.0 {
            Some(origin) => load(&origin.0, &origin.1),
            None => Err(ConfigError::Unreadable("it was not made from a file".to_owned())),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_same_file_is_read_again_and_missed_where_it_is_gone() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("refrain.toml");
        std::fs::write(&path, "cache.ttl_seconds = 60").unwrap();
        let path = path.to_str().unwrap();
        let environment = Environment::from([("REFRAIN_CONFIG", path), ("REFRAIN_API_KEY", "sk-1")]);
        let config = load(&Flags::default(), &environment).unwrap();
        std::fs::write(path, "cache.ttl_seconds = 61").unwrap();
        let again = config.load_again().unwrap();
        assert_eq!((config.cache.ttl_seconds, again.cache.ttl_seconds), (60, 61));
        assert_eq!(again.auth.environment_key, config.auth.environment_key);
        assert!(!format!("{again:?}").contains("sk-1"), "an environment holds secrets");
        std::fs::remove_file(path).unwrap();
        assert!(again.load_again().unwrap_err().to_string().contains(path));
        assert!(Config::default().load_again().is_err());
    }
}
