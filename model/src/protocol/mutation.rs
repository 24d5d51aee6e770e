//! What a mutant of a protocol leaves out of a role's calls, answers and checks.
//!
//! In a protocol that a VMM uses [`Mutations`] is empty. It is the one door through which a role
//! asks a check, so that the list of [checks](super::checks) is complete.

use super::checks::Check;
use super::phase::RolePhase;
use crate::abi::call::Call;

/// What a protocol leaves out besides rows and preconditions: nothing, but in a mutant.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub struct Mutations {
    /// Checks that are not asked.
    pub(crate) checks: Vec<Check>,
    /// Calls that are not made: in which phase, and their name.
    pub(crate) calls: Vec<(RolePhase, &'static str)>,
    /// Calls whose answer is not minded.
    pub(crate) answers: Vec<(RolePhase, &'static str)>,
    /// [`Protocol::last_resort`](super::Protocol::last_resort) changes nothing.
    pub(crate) last_resort: bool,
}

impl Mutations {
    /// Nothing.
    pub const NOTHING: Self =
        Self { checks: Vec::new(), calls: Vec::new(), answers: Vec::new(), last_resort: false };

    /// Asks a check: every one that a role makes is made here.
    pub fn require<E>(
        &self,
        check: Check,
        holds: bool,
        otherwise: impl FnOnce() -> E,
    ) -> Result<(), E> {
        if holds || self.skips(check) { Ok(()) } else { Err(otherwise()) }
    }

    pub(crate) fn skips(&self, check: Check) -> bool {
        self.checks.contains(&check)
    }

    /// The calls of a phase, without those that are not made.
    pub(crate) fn remaining_calls(
        &self,
        place: impl Into<RolePhase>,
        mut calls: Vec<Call>,
    ) -> Vec<Call> {
        let place = place.into();
        calls.retain(|call| !self.calls.contains(&(place, call.name())));
        calls
    }

    /// Whether a phase goes on whatever a call is answered.
    pub(crate) fn ignores(&self, place: RolePhase, call: &Call) -> bool {
        self.answers.contains(&(place, call.name()))
    }
}
