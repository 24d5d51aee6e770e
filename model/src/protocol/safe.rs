//! The protocol that a VMM should use: its four tables, and the form that cuts the state early as
//! changes of them.
//!
//! ```text
//! transfer, old process                         on failure
//!   Preflight  Offer  AwaitReady                Part
//!   Stop                                        Resume  Part
//!   Park  Save  Cut  Hand  AwaitPrepared        Unpark  Resume  Part
//!   Commit  AwaitCommitted                      Revoke  Drain (or Release)  Dismiss
//!                                               AwaitGone  TakeBack  Unpark  Resume  Part
//!   Release                                     goes on
//! transfer, new process
//!   AwaitOffer                                  Leave
//!   Check                                       Refuse  Leave
//!   Ready                                       Leave
//!   AwaitDescriptors  ReadStream  Verify        Refuse  Leave
//!   MapRam  MakeVm  Load
//!   Prepared  AwaitCommit                       Leave
//!   TakeOver                                    Refuse  Leave
//!   Committed                                   AwaitFate (or Leave)  → Claim
//!   Claim  Run  Settle                          goes on
//!   AwaitFate                                   Leave
//! early, old process                            on failure
//!   Preflight  Offer  AwaitReady  Cut  Hand     Part
//!   AwaitAdopted
//!   Park  Save  Confirm  AwaitPrepared          Unpark  Resume  Part
//! early, new process
//!   AwaitDescriptors  ReadStream  Verify        Refuse  Leave
//!   MapRam  MakeVm
//!   Adopted  AwaitConfirm                       Leave
//!   Load                                        Refuse  Leave
//! exec, old process                             on failure
//!   Preflight                                   End
//!   Stop                                        Resume
//!   Park  Save  Cut                             Unpark  Resume
//!   OpenWindow  Exec                            CloseWindow  Unpark  Resume
//! exec, new process
//!   ReadStream                                  Fallback
//!   CloseWindow  Verify  MapRam  MakeVm  Load   OpenWindow  Fallback
//!   TakeOver
//!   Claim  Run  Settle                          goes on
//!   Fallback                                    Leave
//! ```
//!
//! The diagram is generated from the tables. A line lists phases that follow one another and,
//! beside them, the way back that a failure of any of them takes: "→" leads back to the phases of a
//! success, "or" is where an answer leads besides. Of the form that cuts the state early only the
//! rows that stand otherwise are shown.

use super::edit::{put_after, undo_by};
use super::omission::Omitted;
use super::phase::{InPhase, OutPhase};
use super::table::{Mode, Protocol, Rule, STUBBORN_TRIES, firm, patient, rule};

const OUT_TRANSFER: &[Rule<OutPhase>] = {
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
        patient(O::Drain, O::Dismiss).rollback(),
        firm(O::Dismiss, O::AwaitGone).rollback(),
        patient(O::AwaitGone, O::TakeBack).rollback(),
        firm(O::TakeBack, O::Unpark).rollback(),
        firm(O::Unpark, O::Resume).rollback(),
        firm(O::Resume, O::Part).rollback(),
        firm(O::Part, O::End).rollback(),
    ]
};

const OUT_EXEC: &[Rule<OutPhase>] = {
    use OutPhase as O;
    &[
        rule(O::Preflight, O::Stop, O::End),
        rule(O::Stop, O::Park, O::Resume),
        rule(O::Park, O::Save, O::Unpark),
        rule(O::Save, O::Cut, O::Unpark),
        rule(O::Cut, O::OpenWindow, O::Unpark),
        rule(O::OpenWindow, O::Exec, O::CloseWindow).window(),
        rule(O::Exec, O::End, O::CloseWindow).window(),
        firm(O::CloseWindow, O::Unpark).rollback().window(),
        firm(O::Unpark, O::Resume).rollback(),
        firm(O::Resume, O::End).rollback(),
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
        rule(I::MapRam, I::MakeVm, I::Refuse),
        rule(I::MakeVm, I::Load, I::Refuse),
        rule(I::Load, I::Prepared, I::Refuse),
        rule(I::Prepared, I::AwaitCommit, I::Leave),
        rule(I::AwaitCommit, I::TakeOver, I::Leave),
        rule(I::TakeOver, I::Committed, I::Refuse),
        rule(I::Committed, I::Claim, I::AwaitFate),
        // ECONNRESET may stand before the end of the stream.
        Rule { tries: STUBBORN_TRIES, ..rule(I::AwaitFate, I::Claim, I::Leave) },
        firm(I::Claim, I::Run).committed(),
        firm(I::Run, I::Settle).committed(),
        firm(I::Settle, I::End).committed(),
        patient(I::Refuse, I::Leave),
        firm(I::Leave, I::End),
    ]
};

const IN_EXEC: &[Rule<InPhase>] = {
    use InPhase as I;
    &[
        rule(I::ReadStream, I::CloseWindow, I::Fallback).window(),
        rule(I::CloseWindow, I::Verify, I::OpenWindow).window(),
        rule(I::Verify, I::MapRam, I::OpenWindow),
        rule(I::MapRam, I::MakeVm, I::OpenWindow),
        rule(I::MakeVm, I::Load, I::OpenWindow),
        rule(I::Load, I::TakeOver, I::OpenWindow),
        rule(I::TakeOver, I::Claim, I::OpenWindow),
        firm(I::Claim, I::Run).committed(),
        firm(I::Run, I::Settle).committed(),
        firm(I::Settle, I::End).committed(),
        firm(I::OpenWindow, I::Fallback).window(),
        Rule { tries: STUBBORN_TRIES, ..rule(I::Fallback, I::End, I::Leave).window() },
        firm(I::Leave, I::End).window(),
    ]
};

/// Where an answer leads the old process, besides what follows and what undoes: a commit that came
/// before the way back.
pub const OUT_JUMPS: &[(OutPhase, OutPhase)] = &[(OutPhase::Drain, OutPhase::Release)];

/// The same of the new process: an old one that did not take the commit, and lives.
pub const IN_JUMPS: &[(InPhase, InPhase)] = &[(InPhase::AwaitFate, InPhase::Leave)];

impl Protocol {
    /// The protocol that a VMM should use, in the form that cuts the state when the guest has
    /// stopped.
    pub fn safe(mode: Mode) -> Self {
        match mode {
            Mode::Transfer => Self::of_tables(mode, OUT_TRANSFER, IN_TRANSFER),
            Mode::Exec => Self::of_tables(mode, OUT_EXEC, IN_EXEC),
        }
    }

    /// The form that cuts the state before the guest stops, and confirms it after, by transfer.
    pub fn safe_early() -> Self {
        use {InPhase as I, OutPhase as O};
        let mut early = Self::safe(Mode::Transfer);
        put_after(&mut early.outgoing, O::AwaitReady, O::Cut);
        put_after(&mut early.outgoing, O::Cut, O::Hand);
        put_after(&mut early.outgoing, O::Hand, O::AwaitAdopted);
        put_after(&mut early.outgoing, O::Save, O::Confirm);
        put_after(&mut early.incoming, I::MakeVm, I::Adopted);
        undo_by(&mut early.incoming, I::Adopted, I::Leave);
        put_after(&mut early.incoming, I::Adopted, I::AwaitConfirm);
        early
    }

    /// A protocol that judges every precondition and leaves nothing out.
    pub(crate) fn of_tables(
        mode: Mode,
        outgoing: &[Rule<OutPhase>],
        incoming: &[Rule<InPhase>],
    ) -> Self {
        Self {
            mode,
            outgoing: outgoing.to_vec(),
            incoming: incoming.to_vec(),
            waived: Vec::new(),
            #[cfg(feature = "lab")]
            slips: Vec::new(),
            outgoing_jumps: OUT_JUMPS.to_vec(),
            incoming_jumps: IN_JUMPS.to_vec(),
            omitted: Omitted::NOTHING,
        }
    }
}
