//! Is ONNX Runtime loaded, and from where?

use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};

use ort::environment::Environment;

use super::LoadError;

/// A process has one ONNX Runtime. It is kept for good: once the last handle is gone, another can never be made.
static LOADED: Mutex<Option<(PathBuf, Environment)>> = Mutex::new(None);

/// Loads ONNX Runtime from a shared library, or returns what was loaded from there before.
///
/// # Errors
/// When the library cannot be loaded, is too old, or this process has already loaded another one.
pub(super) fn load(library: &Path) -> Result<Environment, LoadError> {
    let failed = |reason: String| LoadError::Runtime { path: library.to_owned(), reason };
    let mut loaded = LOADED.lock().unwrap_or_else(PoisonError::into_inner);
    if let Some((path, environment)) = &*loaded {
        return match path == library {
            true => Ok(environment.clone()),
            false => Err(failed(format!("{} is already loaded", path.display()))),
        };
    }
    let environment = ort::init_from(library)
        .map_err(|error| failed(error.to_string()))?
        .with_name("refrain")
        .with_telemetry(false)
        .build()
        .map_err(|error| failed(error.to_string()))?;
    *loaded = Some((library.to_owned(), environment.clone()));
    Ok(environment)
}
