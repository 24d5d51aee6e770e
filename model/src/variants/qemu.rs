//! QEMU's CPR as merged: transfer since 10.1, exec since 10.2.
//!
//! ```text
//! transfer, old process                         on failure
//!   Preflight  Snapshot  SendFds                Disconnect
//!   AwaitPrepared  Park  Stop                   Unpark  Disconnect
//!   ProveOwnership  Save  Commit                Resume  Unpark  Disconnect
//!   CloseVm  Completed                          goes on
//!   Unpark                                      Abort
//! transfer, new process
//!   AwaitDescriptors  ReadStream                Leave
//!   ProbeByChange                               goes on
//!   MapRam  MakeVm                              Unwind  Leave
//!   Prepared  AwaitCommit  ChangeOwner  Load    Leave
//!   AssignIrqfds
//!   Run  Cleanup                                goes on
//! exec, old process                             on failure
//!   Preflight  Snapshot                         End
//!   Park  Stop                                  Unpark
//!   ProveOwnership  Save                        Resume  Unpark
//!   CloseVm                                     goes on
//!   OpenWindow  Exec                            CloseWindow  Resume  Unpark
//!   Unpark                                      Abort
//! exec, new process
//!   ReadStream  CloseWindow                     Leave
//!   ProbeByChange                               goes on
//!   MapRam  MakeVm  ChangeOwner  Load           Leave
//!   AssignIrqfds
//!   Run  Cleanup                                goes on
//! ```
//!
//! The guest runs until `Stop`, so the snapshot (`cpr_state_save`) is taken while it runs. If
//! `AwaitPrepared` fails, its undo assigns irqfds that were never deassigned. Without return-path,
//! the old process reaches `Completed` without an acknowledgement. `Unwind` detaches devices and
//! destroys HWPTs and IOASes.
//!
//! `Prepared` models the HUP on `cpr.sock`, on which the old process connects the main channel.
//! `Commit` models the main stream, which it writes next. If the new process dies before that, the
//! main channel cannot be connected.
//!
//! Mirrors of QEMU 10.2: `migration/migration.c` (`qmp_migrate`, `migration_connect`,
//! `migration_iteration_finish`), `migration/cpr.c`, `migration/cpr-transfer.c`,
//! `migration/cpr-exec.c`, `hw/vfio/cpr.c`, `hw/vfio/cpr-iommufd.c` and `hw/vfio/iommufd.c`. Not
//! modelled: a probe that fails only in the new process (it continues, and cannot load the stream),
//! the sections of the stream, notifiers of other devices.

use super::Change::{After, New, Undo};
use super::Edit::{self, In, Out, Waive};
use super::Variant;
use crate::protocol::misreport::Misreport;
use crate::protocol::phase::{InPhase, OutPhase};
use crate::protocol::{Mode, Protocol, Rule, best_effort, fallible, must_complete};
use crate::vm::Dma;
use crate::vm::blocker::BlockerKind;

pub(super) const OUT: &[Rule<OutPhase>] = {
    use OutPhase as O;
    &[
        fallible(O::Preflight, O::Snapshot, O::Disconnect),
        fallible(O::Snapshot, O::SendFds, O::Disconnect),
        fallible(O::SendFds, O::AwaitPrepared, O::Disconnect),
        fallible(O::AwaitPrepared, O::Park, O::Unpark),
        fallible(O::Park, O::Stop, O::Unpark),
        fallible(O::Stop, O::ProveOwnership, O::Unpark),
        fallible(O::ProveOwnership, O::Save, O::Resume),
        fallible(O::Save, O::Commit, O::Resume),
        fallible(O::Commit, O::CloseVm, O::Resume),
        must_complete(O::CloseVm, O::Completed),
        must_complete(O::Completed, O::End),
        // Rollback. FAILED is notified after vm_start (fixed by 6f5bc070fd, not merged).
        must_complete(O::Resume, O::Unpark).rollback(),
        // Assigning an irqfd twice fails with EBUSY, and the notifier's failure with an assertion.
        fallible(O::Unpark, O::Disconnect, O::Abort).rollback(),
        must_complete(O::Disconnect, O::End).rollback(),
    ]
};

pub(super) const IN: &[Rule<InPhase>] = {
    use InPhase as I;
    &[
        fallible(I::AwaitDescriptors, I::ReadStream, I::Leave),
        fallible(I::ReadStream, I::ProbeByChange, I::Leave),
        // The result of the probe only decides whether a blocker is added.
        best_effort(I::ProbeByChange, I::MapRam),
        fallible(I::MapRam, I::MakeVm, I::Unwind),
        fallible(I::MakeVm, I::Prepared, I::Unwind),
        fallible(I::Prepared, I::AwaitCommit, I::Leave),
        fallible(I::AwaitCommit, I::ChangeOwner, I::Leave),
        fallible(I::ChangeOwner, I::Load, I::Leave),
        fallible(I::Load, I::AssignIrqfds, I::Leave),
        fallible(I::AssignIrqfds, I::Run, I::Leave).committed(),
        must_complete(I::Run, I::Cleanup).committed(),
        must_complete(I::Cleanup, I::End).committed(),
        best_effort(I::Unwind, I::Leave),
        must_complete(I::Leave, I::End),
    ]
};

const OUT_EXEC: &[Rule<OutPhase>] = {
    use OutPhase as O;
    &[
        fallible(O::Preflight, O::Snapshot, O::End),
        fallible(O::Snapshot, O::Park, O::End),
        fallible(O::Park, O::Stop, O::Unpark),
        fallible(O::Stop, O::ProveOwnership, O::Unpark),
        fallible(O::ProveOwnership, O::Save, O::Resume),
        fallible(O::Save, O::CloseVm, O::Resume),
        // The migration is completed here; the steps that must not fail follow.
        must_complete(O::CloseVm, O::OpenWindow),
        fallible(O::OpenWindow, O::Exec, O::CloseWindow).window(),
        fallible(O::Exec, O::End, O::CloseWindow).window(),
        must_complete(O::CloseWindow, O::Resume).rollback().window(),
        best_effort(O::Resume, O::Unpark).rollback(),
        fallible(O::Unpark, O::End, O::Abort).rollback(),
    ]
};

const IN_EXEC: &[Rule<InPhase>] = {
    use InPhase as I;
    &[
        fallible(I::ReadStream, I::CloseWindow, I::Leave).window(),
        fallible(I::CloseWindow, I::ProbeByChange, I::Leave).window(),
        best_effort(I::ProbeByChange, I::MapRam),
        fallible(I::MapRam, I::MakeVm, I::Leave),
        fallible(I::MakeVm, I::ChangeOwner, I::Leave),
        fallible(I::ChangeOwner, I::Load, I::Leave),
        fallible(I::Load, I::AssignIrqfds, I::Leave),
        fallible(I::AssignIrqfds, I::Run, I::Leave).committed(),
        must_complete(I::Run, I::Cleanup).committed(),
        must_complete(I::Cleanup, I::End).committed(),
        must_complete(I::Leave, I::End).window(),
    ]
};

/// Changes by the capability return-path: the new process reports success and failure.
const ANSWERED: &[Edit] = {
    use {InPhase as I, OutPhase as O};
    &[
        Out(After(O::Commit, O::AwaitCommitted)),
        In(After(I::AssignIrqfds, I::Committed)),
        In(New(must_complete(I::Refuse, I::Leave))),
        In(Undo(I::ChangeOwner, I::Refuse)),
        In(Undo(I::Load, I::Refuse)),
        In(Undo(I::AssignIrqfds, I::Refuse)),
    ]
};

/// Preconditions that QEMU learns only from CHANGE_PROCESS itself, or never.
const UNJUDGED: &[Edit] = &[
    Waive(BlockerKind::MappedByAddress),
    Waive(BlockerKind::MemlockTooSmall),
    Waive(BlockerKind::ChargedToProcess),
    Waive(BlockerKind::Uncharged),
];

fn transfer() -> Protocol {
    Protocol::of_tables(Mode::Transfer, OUT, IN).edited(UNJUDGED)
}

pub(super) fn exec() -> Protocol {
    // The blockers of private RAM are registered for cpr-transfer only.
    let unjudged = Protocol::of_tables(Mode::Exec, OUT_EXEC, IN_EXEC).edited(UNJUDGED);
    unjudged.edited(&[Waive(BlockerKind::AnonymousRam)])
}

pub(super) const TRANSFER: Variant = Variant {
    id: "qemu-10.2",
    mode: Mode::Transfer,
    is_ours: false,
    kernel: None,
    dma: Dma::Iommufd,
    sentence: "the CPR state is saved while the guest runs, CHANGE_PROCESS itself is the probe, \
               and the commit is not acknowledged",
    source: "QEMU 10.2, cpr-transfer",
    protocol: transfer,
    unpromised: &[("FD-1", "the old QEMU keeps every descriptor until management terminates it")],
};

pub(super) const TRANSFER_10_1: Variant = Variant {
    id: "qemu-10.1",
    sentence: "as qemu-10.2, but the ioas_id is recorded only for the first device of each \
               container",
    source: "QEMU 10.1, cpr-transfer, before d59db04aed",
    protocol: || transfer().edited(&[Edit::Misreport(Misreport::SpaceOfFirst)]),
    ..TRANSFER
};

pub(super) const RETURN_PATH: Variant = Variant {
    id: "qemu-10.2-return-path",
    sentence: "as qemu-10.2, with the migration capability return-path: the new process \
               acknowledges the commit",
    protocol: || transfer().edited(ANSWERED),
    ..TRANSFER
};

pub(super) const EXEC: Variant = Variant {
    mode: Mode::Exec,
    sentence: "the CPR state is saved while the guest runs, KVM is closed before execvp, and \
               there is no rollback after it",
    source: "QEMU 10.2, cpr-exec",
    protocol: exec,
    unpromised: &[],
    ..TRANSFER
};
