//! Known bugs of a kernel, found again by a fact of the conformance suite.

use crate::scenario::bugs::{KnownBug, Reproduction};
use handoff_conformance::suite::{self, Mismatch, Verdict};
use handoff_conformance::target::simulated::SimulatedTarget;
use handoff_sim_kernel::Profile;

/// Runs the conformance row that a bug breaks, on the simulated kernel that has the bug.
///
/// Returns how that kernel differs from Linux; `None` if it agrees, or if no row is about this bug.
pub fn mismatch(known: &KnownBug) -> Option<Mismatch> {
    let Reproduction::Row(name, kernel) = known.reproduction else { return None };
    let row = suite::rows::all().find(|row| row.name == name).expect("the zoo's rows are tested");
    let kernel = Profile::by_name(kernel).expect("the zoo's kernels are tested");
    match suite::run(row, &mut SimulatedTarget::new(kernel)) {
        Verdict::Differs(mismatch) => Some(mismatch),
        _ => None,
    }
}
