//! The protocol as a table: for each phase, what follows and what a failure leads to.
//!
//! ```text
//! transfer, old process                                   on failure
//!   Preflight  Offer  AwaitReady                          Part                      (guest untouched)
//!   Stop  Park  Save  Cut  Hand  AwaitPrepared            Unpark  Resume  Part      (nothing moved)
//!   Commit  AwaitCommitted                                Revoke  Drain  Dismiss  AwaitGone  TakeBack
//!                                                           Unpark  Resume  Part    (taken back)
//!   Release                                               cannot fail: the guest is elsewhere
//! transfer, new process
//!   AwaitOffer  Check  Ready  AwaitDescriptors  ReadStream
//!   Verify  MapRam  MakeVm  Load  Prepared  AwaitCommit   Refuse  Leave             (nothing changed)
//!   TakeOver                                              Refuse  Leave             (the old one takes back)
//!   Committed                                             AwaitFate: leave, or go on if the old one died
//!   Claim  Run  Settle                                    cannot fail: the guest is here
//! transfer with the state cut early, old process          on failure
//!   Preflight  Offer  AwaitReady  Cut  Hand  AwaitAdopted   Part                      (guest untouched)
//!   Stop  Park  Save  Confirm  AwaitPrepared                Unpark  Resume  Part      (nothing moved)
//!   and so on
//! exec, old program                                       on failure
//!   Preflight                                             End
//!   Stop  Park  Save  Cut                                 Unpark  Resume
//!   OpenWindow  Exec                                      CloseWindow  Unpark  Resume
//! exec, new program
//!   ReadStream  CloseWindow  Verify  MapRam  MakeVm
//!   Load  TakeOver                                        OpenWindow  Fallback: the old program again,
//!                                                           by the same rows, with nowhere to fall
//!   Claim  Run  Settle
//! ```
//!
//! Interrupts that KVM takes by irqfds are parked in their eventfds while the guest stands: what reaches a virtual machine
//! after it was saved is lost with it. For the same reason the new process claims them only when there is no way back
//! any more: an interrupt that has reached its virtual machine dies with it. Without KVM these phases are empty.
//!
//! Where the state is cut early, the new process has adopted and verified all of it before the guest stops, so that the guest
//! stands still for as many calls with a hundred mappings as with one; what is left of its size are two calls for each vector in
//! KVM, and one for each iommufd. If the virtual machine changes in between, that is found at the latest when the guest stands, and the
//! handoff is called off.
//!
//! Every row of a way back can be entered more than once and from a state in which there is nothing
//! to undo. Rows without an undo go on whatever happens: they try a few times and then skip the call.
//!
//! A variant or a known bug is this table with other rows ([`crate::variants::defects`]); the roles have no
//! branch for one.

pub mod checks;
pub mod measure;
pub mod misreport;
pub mod phase;

use crate::protocol::misreport::Slip;
use crate::protocol::phase::{InPhase, OutPhase};
use crate::variants::mutants::{Omission, Omitted};
use crate::variants::{self, Variant};
use crate::vm::blocker::BlockerKind;
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
    /// What the old process tells wrong: nothing, but in variants with known bugs.
    pub slips: Vec<Slip>,
    /// Calls, answers and checks that are left out: none, but in a mutant.
    pub omitted: Omitted,
}

/// A row that can fail.
pub(crate) const fn rule<P>(phase: P, next: P, undo: P) -> Rule<P> {
    Rule { phase, next, undo: Some(undo), tries: 1 }
}

/// A row that goes on whatever happens.
pub(crate) const fn firm<P>(phase: P, next: P) -> Rule<P> {
    Rule { phase, next, undo: None, tries: STUBBORN_TRIES }
}

/// A row whose calls are made until they are answered as they should be, or whatever they are answered.
pub(crate) const fn patient<P>(phase: P, next: P) -> Rule<P> {
    Rule { phase, next, undo: None, tries: 1 }
}

pub(crate) const OUT_TRANSFER: &[Rule<OutPhase>] = {
    use OutPhase as O;
    &[
        rule(O::Preflight, O::Offer, O::Part),
        rule(O::Offer, O::AwaitReady, O::Part),
        rule(O::AwaitReady, O::Stop, O::Part),
        rule(O::Stop, O::Park, O::Resume),
        rule(O::Park, O::Save, O::Unpark),
        rule(O::Save, O::Cut, O::Unpark),
        rule(O::Cut, O::Hand, O::Unpark),
        rule(O::Hand, O::AwaitPrepared, O::Unpark),
        rule(O::AwaitPrepared, O::Commit, O::Unpark),
        rule(O::Commit, O::AwaitCommitted, O::Revoke),
        rule(O::AwaitCommitted, O::Release, O::Revoke),
        firm(O::Release, O::End),
        firm(O::Revoke, O::Drain),
        patient(O::Drain, O::Dismiss),
        firm(O::Dismiss, O::AwaitGone),
        patient(O::AwaitGone, O::TakeBack),
        firm(O::TakeBack, O::Unpark),
        firm(O::Unpark, O::Resume),
        firm(O::Resume, O::Part),
        firm(O::Part, O::End),
    ]
};

/// The same, with the state cut before the guest stops, and confirmed after.
pub(crate) const OUT_EARLY: &[Rule<OutPhase>] = {
    use OutPhase as O;
    &[
        rule(O::Preflight, O::Offer, O::Part),
        rule(O::Offer, O::AwaitReady, O::Part),
        rule(O::AwaitReady, O::Cut, O::Part),
        rule(O::Cut, O::Hand, O::Part),
        rule(O::Hand, O::AwaitAdopted, O::Part),
        rule(O::AwaitAdopted, O::Stop, O::Part),
        rule(O::Stop, O::Park, O::Resume),
        rule(O::Park, O::Save, O::Unpark),
        rule(O::Save, O::Confirm, O::Unpark),
        rule(O::Confirm, O::AwaitPrepared, O::Unpark),
        rule(O::AwaitPrepared, O::Commit, O::Unpark),
        rule(O::Commit, O::AwaitCommitted, O::Revoke),
        rule(O::AwaitCommitted, O::Release, O::Revoke),
        firm(O::Release, O::End),
        firm(O::Revoke, O::Drain),
        patient(O::Drain, O::Dismiss),
        firm(O::Dismiss, O::AwaitGone),
        patient(O::AwaitGone, O::TakeBack),
        firm(O::TakeBack, O::Unpark),
        firm(O::Unpark, O::Resume),
        firm(O::Resume, O::Part),
        firm(O::Part, O::End),
    ]
};

pub(crate) const OUT_EXEC: &[Rule<OutPhase>] = {
    use OutPhase as O;
    &[
        rule(O::Preflight, O::Stop, O::End),
        rule(O::Stop, O::Park, O::Resume),
        rule(O::Park, O::Save, O::Unpark),
        rule(O::Save, O::Cut, O::Unpark),
        rule(O::Cut, O::OpenWindow, O::Unpark),
        rule(O::OpenWindow, O::Exec, O::CloseWindow),
        rule(O::Exec, O::End, O::CloseWindow),
        firm(O::CloseWindow, O::Unpark),
        firm(O::Unpark, O::Resume),
        firm(O::Resume, O::End),
    ]
};

pub(crate) const IN_TRANSFER: &[Rule<InPhase>] = {
    use InPhase as I;
    &[
        rule(I::AwaitOffer, I::Check, I::Leave),
        rule(I::Check, I::Ready, I::Refuse),
        rule(I::Ready, I::AwaitDescriptors, I::Leave),
        rule(I::AwaitDescriptors, I::ReadStream, I::Refuse),
        rule(I::ReadStream, I::Verify, I::Refuse),
        rule(I::Verify, I::MapRam, I::Refuse),
        rule(I::MapRam, I::MakeVm, I::Refuse),
        rule(I::MakeVm, I::Load, I::Refuse),
        rule(I::Load, I::Prepared, I::Refuse),
        rule(I::Prepared, I::AwaitCommit, I::Leave),
        rule(I::AwaitCommit, I::TakeOver, I::Leave),
        rule(I::TakeOver, I::Committed, I::Refuse),
        rule(I::Committed, I::Claim, I::AwaitFate),
        // ECONNRESET may stand before the end of the stream.
        Rule { tries: STUBBORN_TRIES, ..rule(I::AwaitFate, I::Claim, I::Leave) },
        firm(I::Claim, I::Run),
        firm(I::Run, I::Settle),
        firm(I::Settle, I::End),
        patient(I::Refuse, I::Leave),
        firm(I::Leave, I::End),
    ]
};

/// The same, with the state cut early.
pub(crate) const IN_EARLY: &[Rule<InPhase>] = {
    use InPhase as I;
    &[
        rule(I::AwaitOffer, I::Check, I::Leave),
        rule(I::Check, I::Ready, I::Refuse),
        rule(I::Ready, I::AwaitDescriptors, I::Leave),
        rule(I::AwaitDescriptors, I::ReadStream, I::Refuse),
        rule(I::ReadStream, I::Verify, I::Refuse),
        rule(I::Verify, I::MapRam, I::Refuse),
        rule(I::MapRam, I::MakeVm, I::Refuse),
        rule(I::MakeVm, I::Adopted, I::Refuse),
        rule(I::Adopted, I::AwaitConfirm, I::Leave),
        rule(I::AwaitConfirm, I::Load, I::Leave),
        rule(I::Load, I::Prepared, I::Refuse),
        rule(I::Prepared, I::AwaitCommit, I::Leave),
        rule(I::AwaitCommit, I::TakeOver, I::Leave),
        rule(I::TakeOver, I::Committed, I::Refuse),
        rule(I::Committed, I::Claim, I::AwaitFate),
        Rule { tries: STUBBORN_TRIES, ..rule(I::AwaitFate, I::Claim, I::Leave) },
        firm(I::Claim, I::Run),
        firm(I::Run, I::Settle),
        firm(I::Settle, I::End),
        patient(I::Refuse, I::Leave),
        firm(I::Leave, I::End),
    ]
};

pub(crate) const IN_EXEC: &[Rule<InPhase>] = {
    use InPhase as I;
    &[
        rule(I::ReadStream, I::CloseWindow, I::Fallback),
        rule(I::CloseWindow, I::Verify, I::OpenWindow),
        rule(I::Verify, I::MapRam, I::OpenWindow),
        rule(I::MapRam, I::MakeVm, I::OpenWindow),
        rule(I::MakeVm, I::Load, I::OpenWindow),
        rule(I::Load, I::TakeOver, I::OpenWindow),
        rule(I::TakeOver, I::Claim, I::OpenWindow),
        firm(I::Claim, I::Run),
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

/// Whether the old process tells the new one when what it has cut early is confirmed.
pub fn confirms(outgoing: &[Rule<OutPhase>]) -> bool {
    outgoing.iter().any(|rule| rule.phase == OutPhase::Confirm)
}

impl Protocol {
    /// The protocol that a VMM should use, in the form that cuts the state when the guest has stopped.
    pub fn safe(mode: Mode) -> Self {
        Self::of(variants::find("safe", mode).expect("it has both modes"))
    }

    /// The protocol of a variant.
    pub fn of(variant: &Variant) -> Self {
        Self {
            mode: variant.mode,
            outgoing: variant.outgoing.to_vec(),
            incoming: variant.incoming.to_vec(),
            waived: variant.waived.to_vec(),
            slips: variant.slips.to_vec(),
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
