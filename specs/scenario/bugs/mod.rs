//! The catalog of known bugs of QEMU and Linux that affect a handoff, each with the scenario that
//! reproduces it.
//!
//! The letter gives the origin: Z for bugs of QEMU that were fixed or reported, K for bugs of the
//! kernel, L for bugs that were suspected from reading the code. (The kernel's hazards have an H.)
//!
//! An entry names the property that the bug breaks and the smallest scenario that shows it. The
//! violating run is not recorded; a check computes it. There are four kinds of entries:
//!
//! * A bug that a variant has needs no more than that variant. A bug that was fixed is planted as a
//!   [defect](handoff_model::variants::defects). If the cause lies inside the VMM (a list, a
//!   pointer), the defect models its effect on system calls: the process exits, or omits calls.
//! * A kernel bug is found on a simulated kernel that has it, by a check or, if no handoff triggers
//!   it, by a fact of the conformance suite or a model of the kernel's locks.
//! * A bug that no scenario can express is listed with the reason.
//! * A suspicion that turned out to be no bug is listed with the reason.

use crate::scenario::Scenario;
use crate::scenario::builder::ScenarioBuilder;

mod fixed;
mod kernel;
mod scenarios;
mod suspected;

/// A known bug.
#[derive(Debug)]
pub struct KnownBug {
    /// Letter and number, such as `Z01`.
    pub id: &'static str,
    /// The bug in at most 60 columns, for indexes.
    pub title: &'static str,
    /// The event in QEMU or Linux, in one sentence without a full stop.
    pub sentence: &'static str,
    /// The commits, mails, versions or functions in which the bug was seen.
    pub source: &'static str,
    /// The way in which the bug is found here.
    pub reproduction: Reproduction,
}

/// The way in which a bug is found here.
#[derive(Debug)]
pub enum Reproduction {
    /// A check of the scenario violates the property with this id.
    Checked(&'static str, fn() -> ScenarioBuilder),
    /// The named fact of the conformance suite fails on the named simulated kernel.
    Row(&'static str, &'static str),
    /// The named test in `sim-kernel/tests/locking` finds it in an interleaving within calls.
    LockModel(&'static str),
    /// The suspicion was refuted, for this reason.
    NotABug(&'static str),
    /// No scenario can express the bug, for this reason.
    OutOfScope(&'static str),
}

/// Returns every known bug, by letter (Z, K, L) and number.
pub fn all() -> impl Iterator<Item = &'static KnownBug> + Clone {
    fixed::FIXED.iter().chain(kernel::KERNEL).chain(suspected::SUSPECTED)
}

/// Returns the bug with this letter and number.
pub fn find(id: &str) -> Option<&'static KnownBug> {
    all().find(|known| known.id == id)
}

impl KnownBug {
    /// Returns the scenario that reproduces the bug; `None` if no check finds it.
    pub fn world(&self) -> Option<ScenarioBuilder> {
        let Reproduction::Checked(_, scenario) = self.reproduction else { return None };
        Some(scenario().name(self.id))
    }

    /// Returns the resolved scenario that reproduces the bug; `None` if no check finds it.
    pub fn scenario(&self) -> Option<Scenario> {
        Some(self.world()?.build().expect("the scenarios of the catalog are tested"))
    }
}

#[cfg(test)]
mod tests {
    use super::all;
    use std::collections::BTreeSet;

    #[test]
    fn titles_are_short_and_unique() {
        let mut titles = BTreeSet::new();
        for bug in all() {
            assert!(bug.title.len() <= 60, "{}: {}", bug.id, bug.title);
            assert!(titles.insert(bug.title), "{}: {}", bug.id, bug.title);
        }
    }
}
