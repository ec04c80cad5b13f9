//! Is ONNX Runtime loaded, and from where?

use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};

use fastembed::ExecutionProviderDispatch;
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
    give_large_blocks_back();
    let environment = ort::init_from(library)
        .map_err(|error| failed(error.to_string()))?
        .with_name("refrain")
        .with_telemetry(false)
        .build()
        .map_err(|error| failed(error.to_string()))?;
    *loaded = Some((library.to_owned(), environment.clone()));
    Ok(environment)
}

/// Runs models on the processor, without the runtime's own memory pool.
///
/// The pool keeps what the longest text so far needed, per instance and for good: 136 MB instead of 109 MB for two
/// instances after some texts of 256 tokens. Without it those take 36 ms instead of 31, short ones as long as before.
pub(super) fn cpu() -> ExecutionProviderDispatch {
    ort::ep::CPU::default().with_arena_allocator(false).build()
}

/// Keeps glibc from hoarding what opening a model needs for a moment.
///
/// The first large block that is freed teaches glibc to cut later ones from its heaps, up to 32 MB, and a heap
/// shrinks only from its end. Setting the limit, to its own default, switches this off: two instances start at
/// 107 MB instead of 151 MB. Other allocators give large blocks back by themselves.
fn give_large_blocks_back() {
    #[cfg(all(target_os = "linux", target_env = "gnu"))]
    #[expect(unsafe_code, reason = "glibc's own setting has no safe door")]
    {
        const DEFAULT_MMAP_THRESHOLD: libc::c_int = 128 * 1024;
        // SAFETY: mallopt takes two integers, no pointers, and glibc guards its parameters with the allocator's lock.
        unsafe { libc::mallopt(libc::M_MMAP_THRESHOLD, DEFAULT_MMAP_THRESHOLD) };
    }
}
