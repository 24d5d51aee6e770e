//! The rows that a protocol is made of, and what else it is made of.

#[cfg(feature = "lab")]
use super::misreport::Misreport;
use super::mutation::Mutations;
use super::phase::{InPhase, OutPhase, RolePhase};
use crate::vm::blocker::BlockerKind;
use serde::{Deserialize, Serialize};
use std::fmt;

/// How the new program comes to life.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Mode {
    /// A new process; descriptors go over a socket.
    Transfer,
    /// The same process by `execve`; descriptors are inherited.
    Exec,
}

impl Mode {
    /// Returns its name, as scenarios spell it.
    pub fn name(self) -> &'static str {
        match self {
            Self::Transfer => "transfer",
            Self::Exec => "exec",
        }
    }
}

impl fmt::Display for Mode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.name())
    }
}

/// A row of the table.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Rule<P> {
    /// The phase.
    pub phase: P,
    /// What follows when it is done.
    pub next: P,
    /// What follows when a call of it fails for good, or on a cancel. `None`: it cannot be left.
    pub undo: Option<P>,
    /// How often a call that fails is tried in all. Transient errnos have tries of their own.
    pub tries: u8,
    /// The role has given up; only a commit that was sent before can still change its mind. Until
    /// `Revoke` is done the other process can still commit, so that row is none of these.
    pub is_rollback: bool,
    /// Descriptors may be inheritable: the phase lies between the opening and the closing of the
    /// window around an `execve`.
    pub in_window: bool,
    /// The point of no return lies behind: the guest is the new process's.
    pub is_committed: bool,
}

/// Tries of a call in a row that must not give up.
pub const RETRY_LIMIT: u8 = 3;

/// Both roles' tables. Each begins with its first row.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Protocol {
    /// How the new program comes to life.
    pub mode: Mode,
    /// The old process's rows.
    pub outgoing: Vec<Rule<OutPhase>>,
    /// The new process's rows.
    pub incoming: Vec<Rule<InPhase>>,
    /// Preconditions that are not judged: none, but in variants with known bugs.
    pub skipped_preconditions: Vec<BlockerKind>,
    /// Where an answer leads the old process besides.
    pub outgoing_jumps: Vec<(OutPhase, OutPhase)>,
    /// The same of the new process.
    pub incoming_jumps: Vec<(InPhase, InPhase)>,
    /// What the old process tells wrong: nothing, but in variants with known bugs.
    #[cfg(feature = "lab")]
    pub misreports: Vec<Misreport>,
    /// Calls, answers and checks that are left out: none, but in a mutant.
    pub mutations: Mutations,
}

/// A row that can fail.
pub const fn fallible<P>(phase: P, next: P, undo: P) -> Rule<P> {
    row_of(phase, next, Some(undo), 1)
}

/// A row that goes on whatever happens.
pub const fn must_complete<P>(phase: P, next: P) -> Rule<P> {
    row_of(phase, next, None, RETRY_LIMIT)
}

/// A row whose calls are made until they are answered as they should be, or whatever they are
/// answered.
pub const fn best_effort<P>(phase: P, next: P) -> Rule<P> {
    row_of(phase, next, None, 1)
}

const fn row_of<P>(phase: P, next: P, undo: Option<P>, tries: u8) -> Rule<P> {
    Rule { phase, next, undo, tries, is_rollback: false, in_window: false, is_committed: false }
}

impl<P: Copy> Rule<P> {
    /// This row as one of the way back ([`Rule::is_rollback`]).
    #[must_use]
    pub const fn rollback(self) -> Self {
        Self { is_rollback: true, ..self }
    }

    /// This row as one within the [window](Rule::in_window).
    #[must_use]
    pub const fn window(self) -> Self {
        Self { in_window: true, ..self }
    }

    /// This row as one behind the point of no return ([`Rule::is_committed`]).
    #[must_use]
    pub const fn committed(self) -> Self {
        Self { is_committed: true, ..self }
    }
}

/// Whether the old process tells the new one when what it has cut early is confirmed.
pub fn confirms(outgoing: &[Rule<OutPhase>]) -> bool {
    outgoing.iter().any(|rule| rule.phase == OutPhase::Confirm)
}

impl Protocol {
    /// Returns true if the old process has given up in a phase, or has nothing more to do.
    pub fn is_rollback(&self, phase: OutPhase) -> bool {
        phase == OutPhase::End || row(&self.outgoing, phase).is_some_and(|row| row.is_rollback)
    }

    /// Returns true if the new process is past the point of no return in a phase.
    pub fn is_committed(&self, phase: InPhase) -> bool {
        row(&self.incoming, phase).is_some_and(|row| row.is_committed)
    }

    /// Returns true if descriptors may be inheritable in a phase.
    pub fn in_window(&self, place: RolePhase) -> bool {
        match place {
            RolePhase::Old(phase) => row(&self.outgoing, phase).is_some_and(|row| row.in_window),
            RolePhase::New(phase) => row(&self.incoming, phase).is_some_and(|row| row.in_window),
        }
    }

    /// Returns true if a role that succeeds is in a phase before the guest stops or, in the new
    /// process, before it learns that the guest has stopped.
    pub fn is_before_stop(&self, place: RolePhase) -> bool {
        match place {
            RolePhase::Old(phase) => comes_before(&self.outgoing, phase, OutPhase::Stop),
            RolePhase::New(phase) => comes_before(&self.incoming, phase, InPhase::AwaitConfirm),
        }
    }

    /// The rows of the program that is executed when the new one could not take over: the same, but
    /// each call is tried again, and there is nothing left to fall back to. A guest whose memory is
    /// still owned by the dead, or does not look as the stream says, runs all the same: there is no
    /// other.
    #[must_use]
    pub fn last_resort(mut self) -> Self {
        if self.mutations.last_resort {
            return self;
        }
        for rule in &mut self.incoming {
            let goes_on = matches!(rule.phase, InPhase::Verify | InPhase::ChangeOwner);
            rule.undo = rule.undo.map(|_| InPhase::Leave).filter(|_| !goes_on);
            rule.tries = RETRY_LIMIT;
        }
        self
    }
}

fn row<P: Copy + PartialEq>(rows: &[Rule<P>], phase: P) -> Option<&Rule<P>> {
    rows.iter().find(|row| row.phase == phase)
}

/// Whether a table leads from its first row to a phase without a failure, and not by way of
/// another.
fn comes_before<P: Copy + PartialEq>(rows: &[Rule<P>], phase: P, other: P) -> bool {
    let next = |at: &Rule<P>| row(rows, at.next).copied();
    let succeeding = std::iter::successors(rows.first().copied(), next).take(rows.len());
    succeeding.map(|row| row.phase).take_while(|at| *at != other).any(|at| at == phase)
}
