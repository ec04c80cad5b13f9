//! The binary: the command line, and the only exit of the process.

use std::process::ExitCode;

fn main() -> ExitCode {
    refrain::cli::run(std::env::args_os())
}
