//! The calls, answers and checks that a mutant of a protocol leaves out.
//!
//! In a protocol that a VMM uses, [`Mutations`] is empty. A role evaluates every check through
//! [`Mutations::require`], so the list of [checks](super::checks) is complete.

use super::checks::Check;
use super::phase::RolePhase;
use crate::abi::call::Call;

/// The parts of the roles that a protocol leaves out, besides rules and preconditions. Empty except
/// in a mutant.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub struct Mutations {
    /// Checks that are skipped.
    pub(crate) checks: Vec<Check>,
    /// Calls that are not made: phase and name of the call.
    pub(crate) calls: Vec<(RolePhase, &'static str)>,
    /// Calls whose errors are ignored: phase and name of the call.
    pub(crate) answers: Vec<(RolePhase, &'static str)>,
    /// True if [`Protocol::last_resort`](super::Protocol::last_resort) has no effect.
    pub(crate) last_resort: bool,
}

impl Mutations {
    /// The empty mutation: every check, call and answer counts.
    pub const NOTHING: Self =
        Self { checks: Vec::new(), calls: Vec::new(), answers: Vec::new(), last_resort: false };

    /// Returns the error `otherwise` unless the check holds or is skipped. Every check of a role
    /// goes through this function.
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

    /// Returns the calls of a phase without those that the mutant omits.
    pub(crate) fn remaining_calls(
        &self,
        place: impl Into<RolePhase>,
        mut calls: Vec<Call>,
    ) -> Vec<Call> {
        let place = place.into();
        calls.retain(|call| !self.calls.contains(&(place, call.name())));
        calls
    }

    /// Returns true if a phase continues after this call even if it failed.
    pub(crate) fn ignores(&self, place: RolePhase, call: &Call) -> bool {
        self.answers.contains(&(place, call.name()))
    }
}
