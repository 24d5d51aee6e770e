//! Facts about the kernel, checked on the simulated kernel and on Linux.
//!
//! A [`Fact`] has a name, a sentence, and a function that sets up state on a [`Fixture`], makes
//! calls, and compares the answers and the visible state with the expected ones. The same facts are
//! always checked on the simulated kernel ([`SimulatedTarget`]), and on the kernel of a host
//! ([`HostTarget`](crate::target::host::HostTarget)) that is available for tests. A fact whose
//! [`Capability`] a target lacks is reported as skipped, never as passed.
//!
//! Every branch of the simulator that refuses a call must be reached by a fact: a test compares
//! [`SimulatedTarget::refusals`] with the source.

pub mod fixture;
pub mod rows;
pub mod structure;
pub mod untested;

pub use fixture::{FactResult, Fixture, Mismatch};

use crate::target::simulated::SimulatedTarget;
use crate::target::{Capability, Target};
use handoff_sim_kernel::Profile;
use std::fmt;

/// A fact about the kernel.
#[derive(Clone, Copy)]
pub struct Fact {
    /// Unique name, as `topic/fact`.
    pub name: &'static str,
    /// One clause that states the kernel's behaviour.
    pub sentence: &'static str,
    /// Capabilities that a target must have.
    pub needs: &'static [Capability],
    /// Sets up, makes the calls, and compares.
    pub run: fn(&mut Fixture<'_>) -> FactResult,
}

impl fmt::Debug for Fact {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Row").field("name", &self.name).finish_non_exhaustive()
    }
}

/// Returns a fact.
pub const fn row(
    name: &'static str,
    fact: &'static str,
    needs: &'static [Capability],
    run: fn(&mut Fixture<'_>) -> FactResult,
) -> Fact {
    Fact { name, sentence: fact, needs, run }
}

/// The verdict on a fact on a target.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// Every answer and all visible state were as expected.
    Agrees,
    /// An answer or visible state differed.
    Differs(Mismatch),
    /// The target lacks this capability.
    Skipped(String),
}

/// Checks a fact on a target, starting without processes.
pub fn run(row: &Fact, arm: &mut dyn Target) -> Verdict {
    if let Some(missing) = row.needs.iter().find_map(|need| arm.lacks(need)) {
        return Verdict::Skipped(missing);
    }
    arm.clear();
    let mut fixture = Fixture::new(arm);
    let done = (row.run)(&mut fixture);
    match fixture.error().map_or(done, Err) {
        Ok(()) => Verdict::Agrees,
        Err(mismatch) => Verdict::Differs(mismatch),
    }
}

/// Returns a simulated kernel of the release that the fact needs, or else the newest.
pub fn simulated_for(row: &Fact) -> SimulatedTarget {
    let release = row.needs.iter().find_map(|need| match need {
        Capability::Release(name) => Profile::by_name(name),
        _ => None,
    });
    release.map_or_else(SimulatedTarget::default, SimulatedTarget::new)
}
