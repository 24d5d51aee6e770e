//! What the two roles have in common: they are step machines.
//!
//! A role says which call it wants to make ([`Role::next`]) and is told the answer
//! ([`Role::took`]); nothing else happens between. So whoever drives it, a checker or a VMM, can
//! interleave, fail or end it between any two calls, and only there. Its state is a plain value.
//!
//! Both roles walk a script: for each phase of the protocol's table a list of calls, fixed as soon
//! as the inventory and the descriptors are known.

pub mod incoming;
pub mod outgoing;

use crate::abi::call::{Answer, Call, Reply, errno_of};
use crate::abi::errno::Errno;
use crate::abi::kernel::Kernel;
use crate::protocol::Rule;
use crate::protocol::measure::{Left, Table};
use crate::stream::{Damage, Flaw};
use crate::vm::blocker::Blocker;
use serde::{Deserialize, Serialize};
use std::fmt;

/// A step machine.
pub trait Role {
    /// The call that it wants to make next; `None` when it has ended.
    fn next(&self) -> Option<Call>;
    /// Takes the answer to that call. What went wrong, if anything did, is told once, here.
    fn took(&mut self, answer: Answer) -> Option<Trouble>;
    /// Where it is, for people.
    fn phase_name(&self) -> String;
    /// At most so much is left of it: each step makes it less, but one after which the same call is made again because
    /// there is more to come.
    fn left(&self) -> Left;
}

/// What an observer of [`drive`] sees: each step twice.
#[derive(Debug)]
pub enum Seen<'a> {
    /// The call is about to be made.
    Before(&'a Call),
    /// It was made, the role has taken the answer, and this went wrong.
    After(&'a Call, &'a Answer, Option<&'a Trouble>),
}

/// Runs a role to its end, telling an observer of every step.
///
/// [`Call::Exit`] and [`Call::Exec`] do not return on a real kernel; on a simulated one the loop ends
/// after them, for the caller is not that process any more.
pub fn drive<R: Role>(
    role: &mut R,
    kernel: &mut impl Kernel,
    mut observe: impl FnMut(&mut R, Seen<'_>),
) {
    while let Some(call) = role.next() {
        observe(role, Seen::Before(&call));
        let answer = kernel.call(&call);
        let trouble = role.took(answer.clone());
        observe(role, Seen::After(&call, &answer, trouble.as_ref()));
        if answer.is_ok() && matches!(call, Call::Exit { .. } | Call::Exec { .. }) {
            return;
        }
    }
}

/// What went wrong in a step.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Trouble {
    /// Preconditions that do not hold.
    #[error("{}", list(.0))]
    Blocked(Vec<Blocker>),
    /// The peer's reason.
    #[error("the new process refuses: {0}")]
    Refused(String),
    /// A call that failed.
    #[error("{call} failed: {errno} ({})", errno.text())]
    Call {
        /// Its name.
        call: String,
        /// Why.
        errno: Errno,
    },
    /// The other end of the channel was closed.
    #[error("the other process is gone")]
    PeerGone,
    /// Somebody asked for an end, or a deadline passed.
    #[error("cancelled")]
    Cancelled,
    /// A packet that is not a message.
    #[error("unreadable message: {0}")]
    Damaged(#[from] Damage),
    /// A message that was not due.
    #[error("unexpected message {0}")]
    Unexpected(String),
    /// The state was refused.
    #[error("the state is not usable: {0}")]
    Flawed(#[from] Flaw),
    /// The other process walks another form of the protocol.
    #[error(
        "the old process cuts the state {}, the new one waits for one that is cut {}; use the same form in both",
        when(*early),
        when(!early)
    )]
    OtherForm {
        /// The old process cuts it while the guest runs.
        early: bool,
    },
    /// The virtual machine has changed since its state was cut.
    #[error("the virtual machine has changed since its state was cut; try again")]
    Outdated,
    /// Descriptors were lost on the way (MSG_CTRUNC).
    #[error("descriptors were lost on the way: raise RLIMIT_NOFILE")]
    DescriptorsLost,
    /// The kernel and the inventory disagree.
    #[error("{what}: the inventory says {said}, the kernel {has}")]
    Mismatch {
        /// About what.
        what: String,
        /// One side.
        said: String,
        /// The other.
        has: String,
    },
}

fn when(early: bool) -> &'static str {
    if early { "while the guest runs" } else { "when the guest is stopped" }
}

fn list(blockers: &[Blocker]) -> String {
    blockers.iter().map(ToString::to_string).collect::<Vec<_>>().join("; ")
}

impl Trouble {
    /// A call that failed.
    pub(crate) fn call(call: &Call, errno: Errno) -> Self {
        Self::Call { call: call.name().to_owned(), errno }
    }

    /// The kernel has something else than `said`.
    pub(crate) fn mismatch(
        what: impl fmt::Display,
        said: impl fmt::Display,
        has: impl fmt::Display,
    ) -> Self {
        Self::Mismatch { what: what.to_string(), said: said.to_string(), has: has.to_string() }
    }

    /// The class that a role remembers.
    pub fn cause(&self) -> Cause {
        match self {
            Self::Blocked(_) => Cause::Blocked,
            Self::Refused(_) => Cause::Refused,
            Self::PeerGone => Cause::PeerGone,
            Self::Cancelled => Cause::Cancelled,
            _ => Cause::Failed,
        }
    }
}

/// Why a handoff did not happen.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Cause {
    /// A precondition of this side.
    Blocked,
    /// A precondition of the other side, or its failure.
    Refused,
    /// A call failed, or something was not as it should be.
    Failed,
    /// The other process ended.
    PeerGone,
    /// Somebody asked for it.
    Cancelled,
}

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

/// Whether the same call may well succeed a moment later: interrupted, or (CHANGE_PROCESS) an area in
/// transition in another thread.
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

/// How a message to or from the peer reads.
pub(crate) fn message_of(answer: &Answer, call: &Call) -> Result<crate::stream::Message, Trouble> {
    match answer {
        Ok(Reply::Message { bytes, .. }) if bytes.is_empty() => Err(Trouble::PeerGone),
        Ok(Reply::Message { bytes, .. }) => Ok(crate::stream::Message::from_bytes(bytes)?),
        Ok(other) => Err(Trouble::Unexpected(format!("{other:?}"))),
        Err(errno) => Err(Trouble::call(call, *errno)),
    }
}
