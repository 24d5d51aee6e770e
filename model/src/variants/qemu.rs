//! QEMU's CPR as merged: transfer since 10.1, exec since 10.2.
//!
//! ```text
//! transfer, old process                         on failure
//!   Preflight  Cut  Hand                        Part
//!   AwaitPrepared  Park  Stop                   Unpark  Part
//!   ProveOwnership  Save  Commit                Resume  Unpark  Part
//!   CloseVm  Completed                          goes on
//!   Unpark                                      Abort
//! transfer, new process
//!   AwaitDescriptors  ReadStream                Leave
//!   ProbeForReal                                goes on
//!   MapRam  MakeVm                              Unwind  Leave
//!   Prepared  AwaitCommit  TakeOver  Load       Leave
//!   Claim
//!   Run  Settle                                 goes on
//! exec, old process                             on failure
//!   Preflight  Cut                              End
//!   Park  Stop                                  Unpark
//!   ProveOwnership  Save                        Resume  Unpark
//!   CloseVm                                     goes on
//!   OpenWindow  Exec                            CloseWindow  Resume  Unpark
//!   Unpark                                      Abort
//! exec, new process
//!   ReadStream  CloseWindow                     Leave
//!   ProbeForReal                                goes on
//!   MapRam  MakeVm  TakeOver  Load  Claim       Leave
//!   Run  Settle                                 goes on
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
use crate::protocol::misreport::Slip;
use crate::protocol::phase::{InPhase, OutPhase};
use crate::protocol::{Mode, Protocol, Rule, firm, patient, rule};
use crate::vm::Dma;
use crate::vm::blocker::BlockerKind;

pub(super) const OUT: &[Rule<OutPhase>] = {
    use OutPhase as O;
    &[
        rule(O::Preflight, O::Cut, O::Part),
        rule(O::Cut, O::Hand, O::Part),
        rule(O::Hand, O::AwaitPrepared, O::Part),
        rule(O::AwaitPrepared, O::Park, O::Unpark),
        rule(O::Park, O::Stop, O::Unpark),
        rule(O::Stop, O::ProveOwnership, O::Unpark),
        rule(O::ProveOwnership, O::Save, O::Resume),
        rule(O::Save, O::Commit, O::Resume),
        rule(O::Commit, O::CloseVm, O::Resume),
        firm(O::CloseVm, O::Completed),
        firm(O::Completed, O::End),
        // How a failure ends. FAILED is notified after vm_start (fixed by 6f5bc070fd, not merged).
        firm(O::Resume, O::Unpark).rollback(),
        // An irqfd that is still there is EBUSY, and the notifier's failure an assertion.
        rule(O::Unpark, O::Part, O::Abort).rollback(),
        firm(O::Part, O::End).rollback(),
    ]
};

pub(super) const IN: &[Rule<InPhase>] = {
    use InPhase as I;
    &[
        rule(I::AwaitDescriptors, I::ReadStream, I::Leave),
        rule(I::ReadStream, I::ProbeForReal, I::Leave),
        // What the probe answers only decides about a blocker.
        patient(I::ProbeForReal, I::MapRam),
        rule(I::MapRam, I::MakeVm, I::Unwind),
        rule(I::MakeVm, I::Prepared, I::Unwind),
        rule(I::Prepared, I::AwaitCommit, I::Leave),
        rule(I::AwaitCommit, I::TakeOver, I::Leave),
        rule(I::TakeOver, I::Load, I::Leave),
        rule(I::Load, I::Claim, I::Leave),
        rule(I::Claim, I::Run, I::Leave).committed(),
        firm(I::Run, I::Settle).committed(),
        firm(I::Settle, I::End).committed(),
        patient(I::Unwind, I::Leave),
        firm(I::Leave, I::End),
    ]
};

const OUT_EXEC: &[Rule<OutPhase>] = {
    use OutPhase as O;
    &[
        rule(O::Preflight, O::Cut, O::End),
        rule(O::Cut, O::Park, O::End),
        rule(O::Park, O::Stop, O::Unpark),
        rule(O::Stop, O::ProveOwnership, O::Unpark),
        rule(O::ProveOwnership, O::Save, O::Resume),
        rule(O::Save, O::CloseVm, O::Resume),
        // It is done, and what cannot fail any more begins.
        firm(O::CloseVm, O::OpenWindow),
        rule(O::OpenWindow, O::Exec, O::CloseWindow).window(),
        rule(O::Exec, O::End, O::CloseWindow).window(),
        firm(O::CloseWindow, O::Resume).rollback().window(),
        patient(O::Resume, O::Unpark).rollback(),
        rule(O::Unpark, O::End, O::Abort).rollback(),
    ]
};

const IN_EXEC: &[Rule<InPhase>] = {
    use InPhase as I;
    &[
        rule(I::ReadStream, I::CloseWindow, I::Leave).window(),
        rule(I::CloseWindow, I::ProbeForReal, I::Leave).window(),
        patient(I::ProbeForReal, I::MapRam),
        rule(I::MapRam, I::MakeVm, I::Leave),
        rule(I::MakeVm, I::TakeOver, I::Leave),
        rule(I::TakeOver, I::Load, I::Leave),
        rule(I::Load, I::Claim, I::Leave),
        rule(I::Claim, I::Run, I::Leave).committed(),
        firm(I::Run, I::Settle).committed(),
        firm(I::Settle, I::End).committed(),
        firm(I::Leave, I::End).window(),
    ]
};

/// What the capability return-path changes: what fails or is done is told.
const ANSWERED: &[Edit] = {
    use {InPhase as I, OutPhase as O};
    &[
        Out(After(O::Commit, O::AwaitCommitted)),
        In(After(I::Claim, I::Committed)),
        In(New(firm(I::Refuse, I::Leave))),
        In(Undo(I::TakeOver, I::Refuse)),
        In(Undo(I::Load, I::Refuse)),
        In(Undo(I::Claim, I::Refuse)),
    ]
};

/// What QEMU learns only when it calls CHANGE_PROCESS in earnest, or never.
const UNJUDGED: &[Edit] = &[
    Waive(BlockerKind::MappedByAddress),
    Waive(BlockerKind::MemlockTooSmall),
    Waive(BlockerKind::ChargedToProcess),
    Waive(BlockerKind::ChargedToNobody),
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
    protocol: || transfer().edited(&[Edit::Slip(Slip::SpaceOfFirst)]),
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
