//! Does the simulated kernel answer as Linux does? One suite, two arms.
//!
//! A [`Row`] is a fact about the kernel: a name, a sentence, and a function that sets something up
//! on a [`Bench`], makes calls, and says what must come back and what must be seen then. The same
//! rows run on the simulated kernel ([`Simulated`]), always, and on the kernel of a host
//! ([`Real`](crate::target::host::Real)) where there is one to spare. A row that one arm cannot run
//! says what it [`Need`]s; it is told as skipped, never as passed.
//!
//! Every branch of the simulator that refuses something must be reached by a row: the test that
//! says so compares [`Simulated::refusals`] with the source.

pub mod bench;
pub mod rows;
pub mod structure;
pub mod untested;

pub use bench::{Bench, Done, Mismatch};

use crate::target::simulated::Simulated;
use crate::target::{Arm, Need};
use handoff_sim_kernel::Profile;
use std::fmt;

/// A fact about the kernel.
#[derive(Clone, Copy)]
pub struct Row {
    /// Unique; `topic/what`.
    pub name: &'static str,
    /// The fact, as a sentence.
    pub fact: &'static str,
    /// What it takes to run it.
    pub needs: &'static [Need],
    /// Sets up, calls, and compares.
    pub run: fn(&mut Bench<'_>) -> Done,
}

impl fmt::Debug for Row {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Row").field("name", &self.name).finish_non_exhaustive()
    }
}

/// A row of a table.
pub const fn row(
    name: &'static str,
    fact: &'static str,
    needs: &'static [Need],
    run: fn(&mut Bench<'_>) -> Done,
) -> Row {
    Row { name, fact, needs, run }
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
pub fn run(row: &Row, arm: &mut dyn Arm) -> Verdict {
    if let Some(missing) = row.needs.iter().find_map(|need| arm.lacks(need)) {
        return Verdict::Skipped(missing);
    }
    arm.clear();
    let mut bench = Bench::new(arm);
    let done = (row.run)(&mut bench);
    match bench.trouble().map_or(done, Err) {
        Ok(()) => Verdict::Agrees,
        Err(mismatch) => Verdict::Differs(mismatch),
    }
}

/// The simulated kernel that a row is about: the newest, where it does not say.
pub fn simulated_for(row: &Row) -> Simulated {
    let release = row.needs.iter().find_map(|need| match need {
        Need::Release(name) => Profile::by_name(name),
        _ => None,
    });
    release.map_or_else(Simulated::default, Simulated::new)
}
