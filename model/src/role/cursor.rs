//! The position of a role in its table, and how an answer moves it.

use super::failure::StepError;
use crate::abi::call::{Call, CallResult, errno_of};
use crate::abi::errno::Errno;
use crate::protocol::Rule;
use crate::protocol::checks::Check;
use crate::protocol::measure::{ProgressMeasure, Table};
use crate::protocol::mutation::Mutations;
use crate::protocol::phase::RolePhase;

/// The effect of an answer on the position of a role.
pub(crate) enum Transition {
    /// Continue with the next call of the phase, or with the next phase.
    Next,
    /// Make the same call again: more input may follow.
    Repeat,
    /// Continue at the target of the phase's jump.
    Jump,
    /// The call failed, or its answer was rejected.
    Failed(StepError),
}

impl From<Result<(), StepError>> for Transition {
    fn from(checked: Result<(), StepError>) -> Self {
        checked.map_or_else(Self::Failed, |()| Self::Next)
    }
}

impl Transition {
    /// Returns the error of a failure.
    pub(crate) fn error(self) -> Option<StepError> {
        match self {
            Self::Failed(error) => Some(error),
            Self::Next | Self::Repeat | Self::Jump => None,
        }
    }

    /// Returns the transition of a call without further checks: success or failure.
    pub(crate) fn of(call: &Call, answer: &CallResult) -> Self {
        errno_of(answer).map_or(Self::Next, |errno| Self::Failed(StepError::call(call, errno)))
    }
}

impl Mutations {
    /// Returns the transition after applying the mutations: `Next` if the check behind the failure
    /// is skipped, or the answer of the call is ignored.
    pub(crate) fn verdict(
        &self,
        place: impl Into<RolePhase>,
        call: &Call,
        verdict: Transition,
    ) -> Transition {
        let check = match &verdict {
            Transition::Next | Transition::Jump => return verdict,
            Transition::Failed(StepError::PeerGone) => Some(Check::PeerThere),
            Transition::Failed(StepError::Refused(_)) => Some(Check::NotRefused),
            Transition::Failed(StepError::Unexpected(_) | StepError::Cancelled) => Some(Check::Due),
            Transition::Failed(_) | Transition::Repeat => None,
        };
        let is_checked = check.is_none_or(|check| !self.skips(check));
        let is_minded = !self.ignores(place.into(), call);
        if is_checked && is_minded { verdict } else { Transition::Next }
    }
}

/// Returns true if a retry of the call is likely to succeed: it was interrupted, or
/// (CHANGE_PROCESS) another thread is changing an area.
fn is_transient(error: &StepError) -> bool {
    matches!(error, StepError::Call { errno, .. } if errno.is_transient())
}

impl Errno {
    /// Returns true if the roles retry a call that fails with this errno.
    pub fn is_transient(self) -> bool {
        matches!(self, Self::EINTR | Self::EBUSY | Self::EAGAIN)
    }
}

/// Number of tries of a call whose errno is transient, in total.
const TRANSIENT_TRIES: u8 = 3;

/// The position of a role: the phase, the index of its call, and the tries of that call so far.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Cursor<P> {
    pub(crate) phase: P,
    pub(crate) at: u32,
    tries: u8,
}

/// The result of moving a [`Cursor`].
pub(crate) enum Advance {
    /// The role stayed in its phase, at the same or the next call.
    Within,
    /// The role left its phase, by success or failure.
    Left,
}

impl<P: Copy + PartialEq> Cursor<P> {
    pub(crate) fn begin(rules: &[Rule<P>]) -> Self {
        Self { phase: rules[0].phase, at: 0, tries: 0 }
    }

    pub(crate) fn rule<'a>(&self, rules: &'a [Rule<P>]) -> Option<&'a Rule<P>> {
        rules.iter().find(|rule| rule.phase == self.phase)
    }

    pub(crate) fn jump(&mut self, phase: P) {
        *self = Self { phase, at: 0, tries: 0 };
    }

    /// Moves by a transition; `calls` is the number of calls of the present phase.
    pub(crate) fn advance(
        &mut self,
        table: &Table<P>,
        calls: usize,
        verdict: &Transition,
    ) -> Advance {
        let Some(rule) = self.rule(&table.rules) else { return Advance::Within };
        match (verdict, table.jump(self.phase)) {
            (Transition::Repeat, _) => self.tries = 0,
            (Transition::Jump, Some(phase)) => {
                self.jump(phase);
                return Advance::Left;
            }
            (Transition::Failed(error), _) => {
                self.tries += 1;
                let allowed = if is_transient(error) { TRANSIENT_TRIES } else { rule.tries };
                if self.tries >= allowed {
                    return match rule.undo {
                        Some(undo) => {
                            self.jump(undo);
                            Advance::Left
                        }
                        None => self.pass(rule.next, calls),
                    };
                }
            }
            (Transition::Next | Transition::Jump, _) => return self.pass(rule.next, calls),
        }
        Advance::Within
    }

    /// Returns the remaining steps; `calls` is the number of calls of the present phase.
    pub(crate) fn remaining(&self, table: &Table<P>, calls: usize) -> ProgressMeasure {
        let tries = self.rule(&table.rules).map_or(0, |rule| rule.tries.max(TRANSIENT_TRIES));
        let calls = u32::try_from(calls).expect("calls are few");
        ProgressMeasure {
            phases: table.height(self.phase),
            calls: calls.saturating_sub(self.at),
            tries: tries.saturating_sub(self.tries),
        }
    }

    fn pass(&mut self, next: P, calls: usize) -> Advance {
        self.at += 1;
        self.tries = 0;
        if (self.at as usize) < calls {
            return Advance::Within;
        }
        self.jump(next);
        Advance::Left
    }
}
