//! A place in a table, and how an answer moves it.

use super::failure::Trouble;
use crate::abi::call::{Answer, Call, errno_of};
use crate::abi::errno::Errno;
use crate::protocol::Rule;
use crate::protocol::checks::Check;
use crate::protocol::measure::{Left, Table};
use crate::protocol::omission::Omitted;
use crate::protocol::phase::Place;

/// What a phase makes of an answer.
pub(crate) enum Verdict {
    /// On with the next call of the phase, or the next phase.
    Next,
    /// The same call again: there is more to come.
    Again,
    /// Straight to where the table has a jump to.
    Jump,
    /// It failed.
    Trouble(Trouble),
}

impl From<Result<(), Trouble>> for Verdict {
    fn from(checked: Result<(), Trouble>) -> Self {
        checked.map_or_else(Self::Trouble, |()| Self::Next)
    }
}

impl Verdict {
    /// What went wrong.
    pub(crate) fn trouble(self) -> Option<Trouble> {
        match self {
            Self::Trouble(trouble) => Some(trouble),
            Self::Next | Self::Again | Self::Jump => None,
        }
    }

    /// The usual reading: success or failure.
    pub(crate) fn of(call: &Call, answer: &Answer) -> Self {
        errno_of(answer).map_or(Self::Next, |errno| Self::Trouble(Trouble::call(call, errno)))
    }
}

impl Omitted {
    /// What a phase makes of an answer, where it minds it.
    pub(crate) fn verdict(
        &self,
        place: impl Into<Place>,
        call: &Call,
        verdict: Verdict,
    ) -> Verdict {
        let check = match &verdict {
            Verdict::Next | Verdict::Jump => return verdict,
            Verdict::Trouble(Trouble::PeerGone) => Some(Check::PeerThere),
            Verdict::Trouble(Trouble::Refused(_)) => Some(Check::NotRefused),
            Verdict::Trouble(Trouble::Unexpected(_) | Trouble::Cancelled) => Some(Check::Due),
            Verdict::Trouble(_) | Verdict::Again => None,
        };
        let is_checked = check.is_none_or(|check| !self.skips(check));
        let is_minded = !self.ignores(place.into(), call);
        if is_checked && is_minded { verdict } else { Verdict::Next }
    }
}

/// Whether the same call may well succeed a moment later: interrupted, or (CHANGE_PROCESS) an area
/// in transition in another thread.
fn is_transient(trouble: &Trouble) -> bool {
    matches!(trouble, Trouble::Call { errno: Errno::EINTR | Errno::EBUSY | Errno::EAGAIN, .. })
}

/// How often a call is tried when its errno is transient.
const TRANSIENT_TRIES: u8 = 3;

/// A place in a table: which phase, which call of it, and how often that was tried.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Walk<P> {
    pub(crate) phase: P,
    pub(crate) at: u32,
    tries: u8,
}

/// Where a walk went.
pub(crate) enum Went {
    /// It stayed in its phase, perhaps at the next call.
    Within,
    /// It left the phase, by success or failure.
    Left,
}

impl<P: Copy + PartialEq> Walk<P> {
    pub(crate) fn begin(rules: &[Rule<P>]) -> Self {
        Self { phase: rules[0].phase, at: 0, tries: 0 }
    }

    pub(crate) fn rule<'a>(&self, rules: &'a [Rule<P>]) -> Option<&'a Rule<P>> {
        rules.iter().find(|rule| rule.phase == self.phase)
    }

    pub(crate) fn jump(&mut self, phase: P) {
        *self = Self { phase, at: 0, tries: 0 };
    }

    /// Moves on by a verdict; `calls` is how many the present phase has.
    pub(crate) fn advance(&mut self, table: &Table<P>, calls: usize, verdict: &Verdict) -> Went {
        let Some(rule) = self.rule(&table.rules) else { return Went::Within };
        match (verdict, table.jump(self.phase)) {
            (Verdict::Again, _) => self.tries = 0,
            (Verdict::Jump, Some(phase)) => {
                self.jump(phase);
                return Went::Left;
            }
            (Verdict::Trouble(trouble), _) => {
                self.tries += 1;
                let allowed = if is_transient(trouble) { TRANSIENT_TRIES } else { rule.tries };
                if self.tries >= allowed {
                    return match rule.undo {
                        Some(undo) => {
                            self.jump(undo);
                            Went::Left
                        }
                        None => self.pass(rule.next, calls),
                    };
                }
            }
            (Verdict::Next | Verdict::Jump, _) => return self.pass(rule.next, calls),
        }
        Went::Within
    }

    /// How much of it is left; `calls` is how many the present phase has.
    pub(crate) fn left(&self, table: &Table<P>, calls: usize) -> Left {
        let tries = self.rule(&table.rules).map_or(0, |rule| rule.tries.max(TRANSIENT_TRIES));
        let calls = u32::try_from(calls).expect("calls are few");
        Left {
            phases: table.height(self.phase),
            calls: calls.saturating_sub(self.at),
            tries: tries.saturating_sub(self.tries),
        }
    }

    fn pass(&mut self, next: P, calls: usize) -> Went {
        self.at += 1;
        self.tries = 0;
        if (self.at as usize) < calls {
            return Went::Within;
        }
        self.jump(next);
        Went::Left
    }
}
