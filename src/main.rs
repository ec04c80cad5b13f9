//! The binary: the command line, and the only exit of the process.

use std::process::ExitCode;

use mimalloc::MiMalloc;

#[global_allocator]
static ALLOCATOR: MiMalloc = MiMalloc;

fn main() -> ExitCode {
    give_memory_back_at_once();
    refrain::cli::run(std::env::args_os())
}

/// Loading a model needs 60 MB for a moment and then nothing of it any more. By default the allocator keeps what is
/// free until the same thread asks again, which a thread that only embeds may never do.
#[expect(unsafe_code, reason = "the allocator's own setting has no safe door")]
fn give_memory_back_at_once() {
    /// `mi_option_purge_delay` in the `mimalloc.h` of mimalloc 3: milliseconds.
    const PURGE_DELAY: libmimalloc_sys::mi_option_t = 15;
    // SAFETY: sets a number that the allocator reads atomically whenever it frees a page.
    unsafe { libmimalloc_sys::mi_option_set(PURGE_DELAY, 0) };
}
