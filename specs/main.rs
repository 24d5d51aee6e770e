//! The command `handoff`.

use mimalloc::MiMalloc;
use std::process::ExitCode;

/// A search takes and gives back memory all the time, on all cores.
#[global_allocator]
static ALLOCATOR: MiMalloc = MiMalloc;

/// A bug in this program, as sysexits(3) has it: the panic has told where.
const INTERNAL_ERROR: u8 = 70;

fn main() -> ExitCode {
    std::panic::catch_unwind(handoff_specs::cli::main).unwrap_or(ExitCode::from(INTERNAL_ERROR))
}
