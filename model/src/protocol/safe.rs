//! The protocol that a VMM should use: its four tables, and the early variant as edits of them.
//!
//! ```text
//! transfer, old process                         on failure
//!   Preflight  Offer  AwaitReady                Disconnect
//!   Stop                                        Resume  Disconnect
//!   Park  Save  Snapshot  SendFds               Unpark  Resume  Disconnect
//!   AwaitPrepared
//!   Commit  AwaitCommitted                      Revoke  Drain (or Release)  TerminatePeer
//!                                               AwaitGone  ReclaimOwnership  Unpark
//!                                               Resume  Disconnect
//!   Release                                     goes on
//! transfer, new process
//!   AwaitOffer                                  Leave
//!   Check                                       Refuse  Leave
//!   Ready                                       Leave
//!   AwaitDescriptors  ReadStream  Verify        Refuse  Leave
//!   MapRam  MakeVm  Load
//!   Prepared  AwaitCommit                       Leave
//!   ChangeOwner                                 Refuse  Leave
//!   Committed                                   ResolveInDoubt (or Leave)  → AssignIrqfds
//!   AssignIrqfds  Run  Cleanup                  goes on
//!   ResolveInDoubt                              Leave
//! early, old process                            on failure
//!   Preflight  Offer  AwaitReady  Snapshot      Disconnect
//!   SendFds  AwaitAdopted
//!   Park  Save  Confirm  AwaitPrepared          Unpark  Resume  Disconnect
//! early, new process
//!   AwaitDescriptors  ReadStream  Verify        Refuse  Leave
//!   MapRam  MakeVm
//!   Adopted  AwaitConfirm                       Leave
//!   Load                                        Refuse  Leave
//! exec, old process                             on failure
//!   Preflight                                   End
//!   Stop                                        Resume
//!   Park  Save  Snapshot                        Unpark  Resume
//!   OpenWindow  Exec                            CloseWindow  Unpark  Resume
//! exec, new process
//!   ReadStream                                  Fallback
//!   CloseWindow  Verify  MapRam  MakeVm  Load   OpenWindow  Fallback
//!   ChangeOwner
//!   AssignIrqfds  Run  Cleanup                  goes on
//!   Fallback                                    Leave
//! ```
//!
//! The diagram is generated from the tables. A line lists consecutive phases and, in the second
//! column, the rollback that a failure of any of them takes. "→" returns to phases of the success
//! path, "or" names another phase that an answer can lead to, "goes on" means that the phases
//! cannot fail. Of the early variant only the differing rules are shown.

use super::edit::{put_after, undo_by};
use super::mutation::Mutations;
use super::phase::{InPhase, OutPhase};
use super::table::{Mode, Protocol, RETRY_LIMIT, Rule, best_effort, fallible, must_complete};

const OUT_TRANSFER: &[Rule<OutPhase>] = {
    use OutPhase as O;
    &[
        fallible(O::Preflight, O::Offer, O::Disconnect),
        fallible(O::Offer, O::AwaitReady, O::Disconnect),
        fallible(O::AwaitReady, O::Stop, O::Disconnect),
        fallible(O::Stop, O::Park, O::Resume),
        fallible(O::Park, O::Save, O::Unpark),
        fallible(O::Save, O::Snapshot, O::Unpark),
        fallible(O::Snapshot, O::SendFds, O::Unpark),
        fallible(O::SendFds, O::AwaitPrepared, O::Unpark),
        fallible(O::AwaitPrepared, O::Commit, O::Unpark),
        fallible(O::Commit, O::AwaitCommitted, O::Revoke),
        fallible(O::AwaitCommitted, O::Release, O::Revoke),
        must_complete(O::Release, O::End),
        must_complete(O::Revoke, O::Drain),
        best_effort(O::Drain, O::TerminatePeer).rollback(),
        must_complete(O::TerminatePeer, O::AwaitGone).rollback(),
        best_effort(O::AwaitGone, O::ReclaimOwnership).rollback(),
        must_complete(O::ReclaimOwnership, O::Unpark).rollback(),
        must_complete(O::Unpark, O::Resume).rollback(),
        must_complete(O::Resume, O::Disconnect).rollback(),
        must_complete(O::Disconnect, O::End).rollback(),
    ]
};

const OUT_EXEC: &[Rule<OutPhase>] = {
    use OutPhase as O;
    &[
        fallible(O::Preflight, O::Stop, O::End),
        fallible(O::Stop, O::Park, O::Resume),
        fallible(O::Park, O::Save, O::Unpark),
        fallible(O::Save, O::Snapshot, O::Unpark),
        fallible(O::Snapshot, O::OpenWindow, O::Unpark),
        fallible(O::OpenWindow, O::Exec, O::CloseWindow).window(),
        fallible(O::Exec, O::End, O::CloseWindow).window(),
        must_complete(O::CloseWindow, O::Unpark).rollback().window(),
        must_complete(O::Unpark, O::Resume).rollback(),
        must_complete(O::Resume, O::End).rollback(),
    ]
};

const IN_TRANSFER: &[Rule<InPhase>] = {
    use InPhase as I;
    &[
        fallible(I::AwaitOffer, I::Check, I::Leave),
        fallible(I::Check, I::Ready, I::Refuse),
        fallible(I::Ready, I::AwaitDescriptors, I::Leave),
        fallible(I::AwaitDescriptors, I::ReadStream, I::Refuse),
        fallible(I::ReadStream, I::Verify, I::Refuse),
        fallible(I::Verify, I::MapRam, I::Refuse),
        fallible(I::MapRam, I::MakeVm, I::Refuse),
        fallible(I::MakeVm, I::Load, I::Refuse),
        fallible(I::Load, I::Prepared, I::Refuse),
        fallible(I::Prepared, I::AwaitCommit, I::Leave),
        fallible(I::AwaitCommit, I::ChangeOwner, I::Leave),
        fallible(I::ChangeOwner, I::Committed, I::Refuse),
        fallible(I::Committed, I::AssignIrqfds, I::ResolveInDoubt),
        // ECONNRESET can precede the end of the stream.
        Rule { tries: RETRY_LIMIT, ..fallible(I::ResolveInDoubt, I::AssignIrqfds, I::Leave) },
        must_complete(I::AssignIrqfds, I::Run).committed(),
        must_complete(I::Run, I::Cleanup).committed(),
        must_complete(I::Cleanup, I::End).committed(),
        best_effort(I::Refuse, I::Leave),
        must_complete(I::Leave, I::End),
    ]
};

const IN_EXEC: &[Rule<InPhase>] = {
    use InPhase as I;
    &[
        fallible(I::ReadStream, I::CloseWindow, I::Fallback).window(),
        fallible(I::CloseWindow, I::Verify, I::OpenWindow).window(),
        fallible(I::Verify, I::MapRam, I::OpenWindow),
        fallible(I::MapRam, I::MakeVm, I::OpenWindow),
        fallible(I::MakeVm, I::Load, I::OpenWindow),
        fallible(I::Load, I::ChangeOwner, I::OpenWindow),
        fallible(I::ChangeOwner, I::AssignIrqfds, I::OpenWindow),
        must_complete(I::AssignIrqfds, I::Run).committed(),
        must_complete(I::Run, I::Cleanup).committed(),
        must_complete(I::Cleanup, I::End).committed(),
        must_complete(I::OpenWindow, I::Fallback).window(),
        Rule { tries: RETRY_LIMIT, ..fallible(I::Fallback, I::End, I::Leave).window() },
        must_complete(I::Leave, I::End).window(),
    ]
};

/// Jumps of the old process: `Drain` finds a `Committed` that was sent before the receiving side
/// was shut down, so the handoff has succeeded.
pub const OUT_JUMPS: &[(OutPhase, OutPhase)] = &[(OutPhase::Drain, OutPhase::Release)];

/// Jumps of the new process: `ResolveInDoubt` finds the old process alive, so the new one leaves.
pub const IN_JUMPS: &[(InPhase, InPhase)] = &[(InPhase::ResolveInDoubt, InPhase::Leave)];

impl Protocol {
    /// Returns the protocol that a VMM should use, with the snapshot taken after the guest has
    /// stopped.
    pub fn safe(mode: Mode) -> Self {
        match mode {
            Mode::Transfer => Self::of_tables(mode, OUT_TRANSFER, IN_TRANSFER),
            Mode::Exec => Self::of_tables(mode, OUT_EXEC, IN_EXEC),
        }
    }

    /// Returns the early variant, by transfer: the snapshot is taken before the guest stops, and
    /// confirmed after.
    pub fn safe_early() -> Self {
        use {InPhase as I, OutPhase as O};
        let mut early = Self::safe(Mode::Transfer);
        put_after(&mut early.outgoing, O::AwaitReady, O::Snapshot);
        put_after(&mut early.outgoing, O::Snapshot, O::SendFds);
        put_after(&mut early.outgoing, O::SendFds, O::AwaitAdopted);
        put_after(&mut early.outgoing, O::Save, O::Confirm);
        put_after(&mut early.incoming, I::MakeVm, I::Adopted);
        undo_by(&mut early.incoming, I::Adopted, I::Leave);
        put_after(&mut early.incoming, I::Adopted, I::AwaitConfirm);
        early
    }

    /// Returns a protocol with these tables that checks every precondition.
    pub(crate) fn of_tables(
        mode: Mode,
        outgoing: &[Rule<OutPhase>],
        incoming: &[Rule<InPhase>],
    ) -> Self {
        Self {
            mode,
            outgoing: outgoing.to_vec(),
            incoming: incoming.to_vec(),
            skipped_preconditions: Vec::new(),
            #[cfg(feature = "lab")]
            misreports: Vec::new(),
            outgoing_jumps: OUT_JUMPS.to_vec(),
            incoming_jumps: IN_JUMPS.to_vec(),
            mutations: Mutations::NOTHING,
        }
    }
}
