//! The rows that a protocol is made of, and what else it is made of.

#[cfg(feature = "lab")]
use super::misreport::Slip;
use super::omission::Omitted;
use super::phase::{InPhase, OutPhase};
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

impl fmt::Display for Mode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::Transfer => "transfer",
            Self::Exec => "exec",
        })
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
}

/// Tries of a call in a row that must not give up.
pub const STUBBORN_TRIES: u8 = 3;

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
    pub waived: Vec<BlockerKind>,
    /// Where an answer leads the old process besides.
    pub outgoing_jumps: Vec<(OutPhase, OutPhase)>,
    /// The same of the new process.
    pub incoming_jumps: Vec<(InPhase, InPhase)>,
    /// What the old process tells wrong: nothing, but in variants with known bugs.
    #[cfg(feature = "lab")]
    pub slips: Vec<Slip>,
    /// Calls, answers and checks that are left out: none, but in a mutant.
    pub omitted: Omitted,
}

/// A row that can fail.
pub const fn rule<P>(phase: P, next: P, undo: P) -> Rule<P> {
    Rule { phase, next, undo: Some(undo), tries: 1 }
}

/// A row that goes on whatever happens.
pub const fn firm<P>(phase: P, next: P) -> Rule<P> {
    Rule { phase, next, undo: None, tries: STUBBORN_TRIES }
}

/// A row whose calls are made until they are answered as they should be, or whatever they are answered.
pub const fn patient<P>(phase: P, next: P) -> Rule<P> {
    Rule { phase, next, undo: None, tries: 1 }
}

/// Whether the old process tells the new one when what it has cut early is confirmed.
pub fn confirms(outgoing: &[Rule<OutPhase>]) -> bool {
    outgoing.iter().any(|rule| rule.phase == OutPhase::Confirm)
}

impl Protocol {
    /// The rows of the program that is executed when the new one could not take over: the same, but
    /// each call is tried again, and there is nothing left to fall back to. A guest whose memory is still
    /// owned by the dead, or does not look as the stream says, runs all the same: there is no other.
    #[must_use]
    pub fn last_resort(mut self) -> Self {
        if self.omitted.last_resort {
            return self;
        }
        for rule in &mut self.incoming {
            let goes_on = matches!(rule.phase, InPhase::Verify | InPhase::TakeOver);
            rule.undo = rule.undo.map(|_| InPhase::Leave).filter(|_| !goes_on);
            rule.tries = STUBBORN_TRIES;
        }
        self
    }
}
