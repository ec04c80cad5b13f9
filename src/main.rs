//! The binary: the command line, and the only exit of the process.

use std::process::ExitCode;

use mimalloc::MiMalloc;

#[global_allocator]
static ALLOCATOR: MiMalloc = MiMalloc;

fn main() -> ExitCode {
    refrain::cli::run(std::env::args_os())
}
