//! Does the simulated kernel answer as Linux does? One suite, two arms.
//!
//! A [`Fact`] is a fact about the kernel: a name, a sentence, and a function that sets something up
//! on a [`Fixture`], makes calls, and says what must come back and what must be seen then. The same
//! rows run on the simulated kernel ([`SimulatedTarget`]), always, and on the kernel of a host
//! ([`HostTarget`](crate::target::host::HostTarget)) where there is one to spare. A row that one
//! arm cannot run says what it [`Capability`]s; it is told as skipped, never as passed.
//!
//! Every branch of the simulator that refuses something must be reached by a row: the test that
//! says so compares [`SimulatedTarget::refusals`] with the source.

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
    /// Unique; `topic/what`.
    pub name: &'static str,
    /// The fact, as a sentence.
    pub sentence: &'static str,
    /// What it takes to run it.
    pub needs: &'static [Capability],
    /// Sets up, calls, and compares.
    pub run: fn(&mut Fixture<'_>) -> FactResult,
}

impl fmt::Debug for Fact {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Row").field("name", &self.name).finish_non_exhaustive()
    }
}

/// A row of a table.
pub const fn row(
    name: &'static str,
    fact: &'static str,
    needs: &'static [Capability],
    run: fn(&mut Fixture<'_>) -> FactResult,
) -> Fact {
    Fact { name, sentence: fact, needs, run }
}

/// What became of a row on an arm.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// Everything came back and was seen as the row says.
    Agrees,
    /// Something did not.
    Differs(Mismatch),
    /// The arm cannot run it, for want of this.
    Skipped(String),
}

/// Runs a row on an arm, from nothing.
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

/// The simulated kernel that a row is about: the newest, where it does not say.
pub fn simulated_for(row: &Fact) -> SimulatedTarget {
    let release = row.needs.iter().find_map(|need| match need {
        Capability::Release(name) => Profile::by_name(name),
        _ => None,
    });
    release.map_or_else(SimulatedTarget::default, SimulatedTarget::new)
}
