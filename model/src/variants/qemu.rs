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
//! The guest runs until `Stop`, so the state is cut while it does. `AwaitPrepared` is undone by
//! giving irqfds back that were never taken away. Without a return path nobody has answered when
//! the old process reaches `Completed`. `Unwind` detaches and destroys.
//!
//! *Prepared* is the end of `cpr.sock`, at which the old process connects the main channel;
//! *Commit* is the main stream, which it then writes; a new process that dies before is a main
//! channel that cannot be connected.
//!
//! Mirrors of QEMU 10.2: `migration/migration.c` (`qmp_migrate`, `migration_connect`,
//! `migration_iteration_finish`), `migration/cpr.c`, `migration/cpr-transfer.c`,
//! `migration/cpr-exec.c`, `hw/vfio/cpr.c`, `hw/vfio/cpr-iommufd.c` and `hw/vfio/iommufd.c`. Not
//! modelled: a probe of the new process that fails alone (it goes on, and its stream cannot be
//! loaded), the stream's sections, notifiers of other devices.

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
        // How a failure ends. FAILED is notified after vm_start (fixed by 6f5bc070fd, not merged).
        must_complete(O::Resume, O::Unpark).rollback(),
        // An irqfd that is still there is EBUSY, and the notifier's failure an assertion.
        fallible(O::Unpark, O::Disconnect, O::Abort).rollback(),
        must_complete(O::Disconnect, O::End).rollback(),
    ]
};

pub(super) const IN: &[Rule<InPhase>] = {
    use InPhase as I;
    &[
        fallible(I::AwaitDescriptors, I::ReadStream, I::Leave),
        fallible(I::ReadStream, I::ProbeByChange, I::Leave),
        // What the probe answers only decides about a blocker.
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
        // It is done, and what cannot fail any more begins.
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

/// What the capability return-path changes: what fails or is done is told.
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

/// What QEMU learns only when it calls CHANGE_PROCESS in earnest, or never.
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
    // The blockers of RAM are registered for transfer only.
    let unjudged = Protocol::of_tables(Mode::Exec, OUT_EXEC, IN_EXEC).edited(UNJUDGED);
    unjudged.edited(&[Waive(BlockerKind::AnonymousRam)])
}

pub(super) const TRANSFER: Variant = Variant {
    id: "qemu-10.2",
    mode: Mode::Transfer,
    is_ours: false,
    kernel: None,
    dma: Dma::Iommufd,
    sentence: "state is cut while the guest runs, the real call is the probe, and nobody answers \
               the last word",
    source: "QEMU 10.2, cpr-transfer",
    protocol: transfer,
    unpromised: &[(
        "FD-1",
        "management ends the old QEMU, which keeps every descriptor until then",
    )],
};

pub(super) const TRANSFER_10_1: Variant = Variant {
    id: "qemu-10.1",
    sentence: "as qemu-10.2, and of several devices in one address space only the first is told \
               where it is attached",
    source: "QEMU 10.1, cpr-transfer, before d59db04aed",
    protocol: || transfer().edited(&[Edit::Misreport(Misreport::SpaceOfFirst)]),
    ..TRANSFER
};

pub(super) const RETURN_PATH: Variant = Variant {
    id: "qemu-10.2-return-path",
    sentence: "the same, with the migration capability return-path: the new process answers",
    protocol: || transfer().edited(ANSWERED),
    ..TRANSFER
};

pub(super) const EXEC: Variant = Variant {
    mode: Mode::Exec,
    sentence: "state is cut while the guest runs, KVM is closed before the execve, and no new \
               program can go back",
    source: "QEMU 10.2, cpr-exec",
    protocol: exec,
    unpromised: &[],
    ..TRANSFER
};
