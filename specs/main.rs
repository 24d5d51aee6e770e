//! The command `handoff`.

use mimalloc::MiMalloc;
use std::process::ExitCode;

/// The allocator of the command, because a search allocates and frees memory on all cores.
#[global_allocator]
static ALLOCATOR: MiMalloc = MiMalloc;

/// The exit code for a panic, which is a bug in this program: `EX_SOFTWARE` of sysexits(3).
const INTERNAL_ERROR: u8 = 70;

fn main() -> ExitCode {
    std::panic::catch_unwind(handoff_specs::cli::main).unwrap_or(ExitCode::from(INTERNAL_ERROR))
}
