//! Known bugs of a kernel that a fact of the conformance suite reproduces.

use crate::scenario::bugs::{KnownBug, Reproduction};
use handoff_conformance::suite::{self, Mismatch, Verdict};
use handoff_conformance::target::simulated::SimulatedTarget;
use handoff_sim_kernel::Profile;

/// Runs the conformance fact that a bug breaks, on the simulated kernel that has the bug.
///
/// Returns how that kernel differs from the fact; `None` if it agrees, or if the bug has no fact.
pub fn mismatch(known: &KnownBug) -> Option<Mismatch> {
    let Reproduction::Row(name, kernel) = known.reproduction else { return None };
    let fact = suite::rows::all()
        .find(|fact| fact.name == name)
        .expect("the facts of the catalog are tested");
    let kernel = Profile::by_name(kernel).expect("the kernels of the catalog are tested");
    match suite::run(fact, &mut SimulatedTarget::new(kernel)) {
        Verdict::Differs(mismatch) => Some(mismatch),
        _ => None,
    }
}
