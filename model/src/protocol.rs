//! The protocol as a table: for each phase, what follows and what a failure leads to.
//!
//! ```text
//! transfer, old process                                   on failure
//!   Preflight  Offer  AwaitReady                          Part                      (guest untouched)
//!   Stop  Save  Cut  Hand  AwaitPrepared                  Resume  Part              (nothing moved)
//!   Commit  AwaitCommitted                                Revoke  Drain  Dismiss  AwaitGone
//!                                                           TakeBack  Resume  Part  (taken back)
//!   Release                                               cannot fail: the guest is elsewhere
//! transfer, new process
//!   AwaitOffer  Check  Ready  AwaitDescriptors  ReadStream
//!   Verify  MapRam  Load  Prepared  AwaitCommit           Refuse  Leave             (nothing changed)
//!   TakeOver                                              Refuse  Leave             (the old one takes back)
//!   Committed                                             AwaitFate: leave, or run if the old one died
//!   Run  Settle
//! exec, old program                                       on failure
//!   Preflight                                             End
//!   Stop  Save  Cut                                       Resume
//!   OpenWindow  Exec                                      CloseWindow  Resume
//! exec, new program
//!   ReadStream  CloseWindow  Verify  MapRam  Load
//!   TakeOver  Run                                         OpenWindow  Fallback: the old program again,
//!                                                           by the same rows, with nowhere to fall
//!   Settle
//! ```
//!
//! Every row of a way back can be entered more than once and from a state in which there is nothing
//! to undo. Rows without an undo go on whatever happens: they try a few times and then skip the call.
//!
//! A variant or a known bug is this table with other rows ([`crate::defect`]); the roles have no
//! branch for one.

use crate::blocker::BlockerKind;
use crate::mutant::{Omission, Omitted};
use crate::phase::{InPhase, OutPhase};
use serde::{Deserialize, Serialize};

/// How the new program comes to life.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Mode {
    /// A new process; descriptors go over a socket.
    Transfer,
    /// The same process by `execve`; descriptors are inherited.
    Exec,
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
    /// Where an answer leads the old process besides: [`OUT_JUMPS`].
    pub outgoing_jumps: Vec<(OutPhase, OutPhase)>,
    /// The same of the new process: [`IN_JUMPS`].
    pub incoming_jumps: Vec<(InPhase, InPhase)>,
    /// Calls, answers and checks that are left out: none, but in a mutant.
    pub omitted: Omitted,
}

/// A row that can fail.
const fn rule<P>(phase: P, next: P, undo: P) -> Rule<P> {
    Rule { phase, next, undo: Some(undo), tries: 1 }
}

/// A row that goes on whatever happens.
const fn firm<P>(phase: P, next: P) -> Rule<P> {
    Rule { phase, next, undo: None, tries: STUBBORN_TRIES }
}

/// A row whose calls are made until they are answered as they should be, or whatever they are answered.
const fn patient<P>(phase: P, next: P) -> Rule<P> {
    Rule { phase, next, undo: None, tries: 1 }
}

const OUT_TRANSFER: &[Rule<OutPhase>] = {
    use OutPhase as O;
    &[
        rule(O::Preflight, O::Offer, O::Part),
        rule(O::Offer, O::AwaitReady, O::Part),
        rule(O::AwaitReady, O::Stop, O::Part),
        rule(O::Stop, O::Save, O::Resume),
        rule(O::Save, O::Cut, O::Resume),
        rule(O::Cut, O::Hand, O::Resume),
        rule(O::Hand, O::AwaitPrepared, O::Resume),
        rule(O::AwaitPrepared, O::Commit, O::Resume),
        rule(O::Commit, O::AwaitCommitted, O::Revoke),
        rule(O::AwaitCommitted, O::Release, O::Revoke),
        firm(O::Release, O::End),
        firm(O::Revoke, O::Drain),
        patient(O::Drain, O::Dismiss),
        firm(O::Dismiss, O::AwaitGone),
        patient(O::AwaitGone, O::TakeBack),
        firm(O::TakeBack, O::Resume),
        firm(O::Resume, O::Part),
        firm(O::Part, O::End),
    ]
};

const OUT_EXEC: &[Rule<OutPhase>] = {
    use OutPhase as O;
    &[
        rule(O::Preflight, O::Stop, O::End),
        rule(O::Stop, O::Save, O::Resume),
        rule(O::Save, O::Cut, O::Resume),
        rule(O::Cut, O::OpenWindow, O::Resume),
        rule(O::OpenWindow, O::Exec, O::CloseWindow),
        rule(O::Exec, O::End, O::CloseWindow),
        firm(O::CloseWindow, O::Resume),
        firm(O::Resume, O::End),
    ]
};

const IN_TRANSFER: &[Rule<InPhase>] = {
    use InPhase as I;
    &[
        rule(I::AwaitOffer, I::Check, I::Leave),
        rule(I::Check, I::Ready, I::Refuse),
        rule(I::Ready, I::AwaitDescriptors, I::Leave),
        rule(I::AwaitDescriptors, I::ReadStream, I::Refuse),
        rule(I::ReadStream, I::Verify, I::Refuse),
        rule(I::Verify, I::MapRam, I::Refuse),
        rule(I::MapRam, I::Load, I::Refuse),
        rule(I::Load, I::Prepared, I::Refuse),
        rule(I::Prepared, I::AwaitCommit, I::Leave),
        rule(I::AwaitCommit, I::TakeOver, I::Leave),
        rule(I::TakeOver, I::Committed, I::Refuse),
        rule(I::Committed, I::Run, I::AwaitFate),
        // ECONNRESET may stand before the end of the stream.
        Rule { tries: STUBBORN_TRIES, ..rule(I::AwaitFate, I::Run, I::Leave) },
        firm(I::Run, I::Settle),
        firm(I::Settle, I::End),
        patient(I::Refuse, I::Leave),
        firm(I::Leave, I::End),
    ]
};

const IN_EXEC: &[Rule<InPhase>] = {
    use InPhase as I;
    &[
        rule(I::ReadStream, I::CloseWindow, I::Fallback),
        rule(I::CloseWindow, I::Verify, I::OpenWindow),
        rule(I::Verify, I::MapRam, I::OpenWindow),
        rule(I::MapRam, I::Load, I::OpenWindow),
        rule(I::Load, I::TakeOver, I::OpenWindow),
        rule(I::TakeOver, I::Run, I::OpenWindow),
        firm(I::Run, I::Settle),
        firm(I::Settle, I::End),
        firm(I::OpenWindow, I::Fallback),
        Rule { tries: STUBBORN_TRIES, ..rule(I::Fallback, I::End, I::Leave) },
        firm(I::Leave, I::End),
    ]
};

/// Where an answer leads the old process, besides what follows and what undoes: a commit that came before the way back.
pub const OUT_JUMPS: &[(OutPhase, OutPhase)] = &[(OutPhase::Drain, OutPhase::Release)];

/// The same of the new process: an old one that did not take the commit, and lives.
pub const IN_JUMPS: &[(InPhase, InPhase)] = &[(InPhase::AwaitFate, InPhase::Leave)];

impl Protocol {
    /// The protocol that a VMM should use.
    pub fn safe(mode: Mode) -> Self {
        let (outgoing, incoming) = match mode {
            Mode::Transfer => (OUT_TRANSFER, IN_TRANSFER),
            Mode::Exec => (OUT_EXEC, IN_EXEC),
        };
        Self {
            mode,
            outgoing: outgoing.to_vec(),
            incoming: incoming.to_vec(),
            waived: Vec::new(),
            outgoing_jumps: OUT_JUMPS.to_vec(),
            incoming_jumps: IN_JUMPS.to_vec(),
            omitted: Omitted::NOTHING,
        }
    }

    /// The rows of the program that is executed when the new one could not take over: the same, but
    /// each call is tried again, and there is nothing left to fall back to. A guest whose memory is still
    /// owned by the dead, or does not look as the stream says, runs all the same: there is no other.
    #[must_use]
    pub fn last_resort(mut self) -> Self {
        if self.omitted.has(Omission::LastResort) {
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
