//! The rules of a protocol table and the other parts of a [`Protocol`].

#[cfg(feature = "lab")]
use super::misreport::Misreport;
use super::mutation::Mutations;
use super::phase::{InPhase, OutPhase, RolePhase};
use crate::vm::blocker::BlockerKind;
use serde::{Deserialize, Serialize};
use std::fmt;

/// The transport of a handoff.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Mode {
    /// A new process; descriptors are sent over a socket.
    Transfer,
    /// The same process after an `execve`; descriptors are inherited.
    Exec,
}

impl Mode {
    /// Returns the name that scenarios use.
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

/// A rule of a protocol table.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Rule<P> {
    /// The phase that the rule is about.
    pub phase: P,
    /// The phase that follows when this one is complete.
    pub next: P,
    /// The phase that follows when a call fails for good, or on a cancel. `None`: the phase always
    /// completes.
    pub undo: Option<P>,
    /// Number of tries of a failing call, in total. Transient errnos have their own number of
    /// tries.
    pub tries: u8,
    /// True if the role is rolling back. Only a `Committed` that was sent before can still change
    /// that. Until `Revoke` is done the other process can commit, so the rule of `Revoke` is not
    /// marked.
    pub is_rollback: bool,
    /// True if descriptors may be inheritable: the phase lies between opening and closing the
    /// window around an `execve`.
    pub in_window: bool,
    /// True if the phase is past the point of no return: the guest belongs to the new process.
    pub is_committed: bool,
}

/// Number of tries of a call in a rule that always completes.
pub const RETRY_LIMIT: u8 = 3;

/// A protocol: the tables of both roles, and what they leave out. Each role begins with the first
/// rule of its table.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Protocol {
    /// The transport.
    pub mode: Mode,
    /// The old process's rules.
    pub outgoing: Vec<Rule<OutPhase>>,
    /// The new process's rules.
    pub incoming: Vec<Rule<InPhase>>,
    /// Preconditions that are not checked: none, except in variants with known bugs.
    pub skipped_preconditions: Vec<BlockerKind>,
    /// Additional transitions of the old process that an answer can cause.
    pub outgoing_jumps: Vec<(OutPhase, OutPhase)>,
    /// Additional transitions of the new process that an answer can cause.
    pub incoming_jumps: Vec<(InPhase, InPhase)>,
    /// Mistakes in the old process's snapshot: none, except in variants with known bugs.
    #[cfg(feature = "lab")]
    pub misreports: Vec<Misreport>,
    /// Calls, answers and checks that are left out: none, except in a mutant.
    pub mutations: Mutations,
}

/// Returns a rule whose failure leads to `undo`.
pub const fn fallible<P>(phase: P, next: P, undo: P) -> Rule<P> {
    row_of(phase, next, Some(undo), 1)
}

/// Returns a rule that always completes: a failing call is tried [`RETRY_LIMIT`] times, then
/// skipped.
pub const fn must_complete<P>(phase: P, next: P) -> Rule<P> {
    row_of(phase, next, None, RETRY_LIMIT)
}

/// Returns a rule that always completes and makes each call once: a failing call is skipped. The
/// role can still repeat a call until its answer is the awaited one.
pub const fn best_effort<P>(phase: P, next: P) -> Rule<P> {
    row_of(phase, next, None, 1)
}

const fn row_of<P>(phase: P, next: P, undo: Option<P>, tries: u8) -> Rule<P> {
    Rule { phase, next, undo, tries, is_rollback: false, in_window: false, is_committed: false }
}

impl<P: Copy> Rule<P> {
    /// Marks the rule as part of a rollback ([`Rule::is_rollback`]).
    #[must_use]
    pub const fn rollback(self) -> Self {
        Self { is_rollback: true, ..self }
    }

    /// Marks the rule as within the [window](Rule::in_window).
    #[must_use]
    pub const fn window(self) -> Self {
        Self { in_window: true, ..self }
    }

    /// Marks the rule as past the point of no return ([`Rule::is_committed`]).
    #[must_use]
    pub const fn committed(self) -> Self {
        Self { is_committed: true, ..self }
    }
}

/// Returns true if the table has a `Confirm`: the early variant, in which the old process confirms
/// the snapshot when the guest has stopped.
pub fn confirms(outgoing: &[Rule<OutPhase>]) -> bool {
    outgoing.iter().any(|rule| rule.phase == OutPhase::Confirm)
}

impl Protocol {
    /// Returns true if the old process is rolling back in a phase, or has ended.
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

    /// Returns true if a fault-free run of the role reaches the phase before the guest stops or, in
    /// the new process, before it learns that the guest has stopped.
    pub fn is_before_stop(&self, place: RolePhase) -> bool {
        match place {
            RolePhase::Old(phase) => comes_before(&self.outgoing, phase, OutPhase::Stop),
            RolePhase::New(phase) => comes_before(&self.incoming, phase, InPhase::AwaitConfirm),
        }
    }

    /// Returns the rules of the old program that `Fallback` executes after the new program failed:
    /// the same rules, but each call is retried, and every rollback leads to `Leave`. `Verify` and
    /// `ChangeOwner` cannot fail the takeover: a guest whose memory is still owned by a dead
    /// process, or differs from the stream, runs all the same, because no other copy of it exists.
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

/// Returns true if the table leads from its first rule to `phase` without a failure and without
/// passing `other`.
fn comes_before<P: Copy + PartialEq>(rows: &[Rule<P>], phase: P, other: P) -> bool {
    let next = |at: &Rule<P>| row(rows, at.next).copied();
    let succeeding = std::iter::successors(rows.first().copied(), next).take(rows.len());
    succeeding.map(|row| row.phase).take_while(|at| *at != other).any(|at| at == phase)
}
