//! The command `writ`: reads the command line, runs one command, gives its exit code.

use std::process::ExitCode;

/// The whole token path allocates a little; this allocator does it cheaper.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> ExitCode {
    writ::cli::run()
}
