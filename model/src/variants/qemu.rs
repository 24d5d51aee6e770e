//! QEMU's CPR as merged: transfer since 10.1, exec since 10.2.
//!
//! ```text
//! transfer, old process                                        on failure
//!   Preflight                                                  Part
//!   Cut  Hand  AwaitPrepared        (the guest runs)           Unpark (of what was never parked)  Part
//!   Park  Stop                                                 Unpark  Part
//!   ProveOwnership  Save  Commit    (the guest stands)         Resume  Unpark  Part
//!   CloseVm  Completed              without a return path nobody has answered yet
//! transfer, new process
//!   AwaitDescriptors  ReadStream                               Leave
//!   ProbeForReal  MapRam  MakeVm                               Unwind: detach, destroy; Leave
//!   Prepared  AwaitCommit  TakeOver  Load  Claim  Run          Leave
//! ```
//!
//! *Prepared* is the end of `cpr.sock`, at which the old process connects the main channel; *Commit* is the main stream, which
//! it then writes; a new process that dies before is a main channel that cannot be connected.
//!
//! Mirrors of QEMU 10.2: `migration/migration.c` (`qmp_migrate`, `migration_connect`, `migration_iteration_finish`),
//! `migration/cpr.c`, `migration/cpr-transfer.c`, `migration/cpr-exec.c`, `hw/vfio/cpr.c`, `hw/vfio/cpr-iommufd.c` and
//! `hw/vfio/iommufd.c`. Not modelled: a probe of the new process that fails alone (it goes on, and its stream cannot be
//! loaded), the stream's sections, notifiers of other devices.

use super::Variant;
use crate::protocol::misreport::Slip;
use crate::protocol::phase::{InPhase, OutPhase};
use crate::protocol::{Mode, Rule, firm, rule};
use crate::vm::Dma;
use crate::vm::blocker::BlockerKind;

/// How a failure ends, from where the old process's guest stands, and from where it does not.
pub(super) const ROWS_BACK: [Rule<OutPhase>; 3] = {
    use OutPhase as O;
    [
        // FAILED is notified after vm_start (fixed by 6f5bc070fd, not merged).
        firm(O::Resume, O::Unpark),
        // An irqfd that is still there is EBUSY, and the notifier's failure an assertion.
        Rule { phase: O::Unpark, next: O::Part, undo: Some(O::Abort), tries: 1 },
        firm(O::Part, O::End),
    ]
};

const OUT: &[Rule<OutPhase>] = &{
    use OutPhase as O;
    [
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
        ROWS_BACK[0],
        ROWS_BACK[1],
        ROWS_BACK[2],
    ]
};

const OUT_RETURN_PATH: &[Rule<OutPhase>] = &{
    use OutPhase as O;
    [
        rule(O::Preflight, O::Cut, O::Part),
        rule(O::Cut, O::Hand, O::Part),
        rule(O::Hand, O::AwaitPrepared, O::Part),
        rule(O::AwaitPrepared, O::Park, O::Unpark),
        rule(O::Park, O::Stop, O::Unpark),
        rule(O::Stop, O::ProveOwnership, O::Unpark),
        rule(O::ProveOwnership, O::Save, O::Resume),
        rule(O::Save, O::Commit, O::Resume),
        rule(O::Commit, O::AwaitCommitted, O::Resume),
        rule(O::AwaitCommitted, O::CloseVm, O::Resume),
        firm(O::CloseVm, O::Completed),
        firm(O::Completed, O::End),
        ROWS_BACK[0],
        ROWS_BACK[1],
        ROWS_BACK[2],
    ]
};

const IN: &[Rule<InPhase>] = {
    use InPhase as I;
    &[
        rule(I::AwaitDescriptors, I::ReadStream, I::Leave),
        rule(I::ReadStream, I::ProbeForReal, I::Leave),
        // What the probe answers only decides about a blocker.
        Rule { tries: 1, ..firm(I::ProbeForReal, I::MapRam) },
        rule(I::MapRam, I::MakeVm, I::Unwind),
        rule(I::MakeVm, I::Prepared, I::Unwind),
        rule(I::Prepared, I::AwaitCommit, I::Leave),
        rule(I::AwaitCommit, I::TakeOver, I::Leave),
        rule(I::TakeOver, I::Load, I::Leave),
        rule(I::Load, I::Claim, I::Leave),
        rule(I::Claim, I::Run, I::Leave),
        firm(I::Run, I::Settle),
        firm(I::Settle, I::End),
        Rule { tries: 1, ..firm(I::Unwind, I::Leave) },
        firm(I::Leave, I::End),
    ]
};

/// The same, and what fails or is done is told on the return path.
const IN_RETURN_PATH: &[Rule<InPhase>] = {
    use InPhase as I;
    &[
        rule(I::AwaitDescriptors, I::ReadStream, I::Leave),
        rule(I::ReadStream, I::ProbeForReal, I::Leave),
        Rule { tries: 1, ..firm(I::ProbeForReal, I::MapRam) },
        rule(I::MapRam, I::MakeVm, I::Unwind),
        rule(I::MakeVm, I::Prepared, I::Unwind),
        rule(I::Prepared, I::AwaitCommit, I::Leave),
        rule(I::AwaitCommit, I::TakeOver, I::Leave),
        rule(I::TakeOver, I::Load, I::Refuse),
        rule(I::Load, I::Claim, I::Refuse),
        rule(I::Claim, I::Committed, I::Refuse),
        rule(I::Committed, I::Run, I::Leave),
        firm(I::Run, I::Settle),
        firm(I::Settle, I::End),
        Rule { tries: 1, ..firm(I::Unwind, I::Leave) },
        firm(I::Refuse, I::Leave),
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
        rule(O::OpenWindow, O::Exec, O::CloseWindow),
        rule(O::Exec, O::End, O::CloseWindow),
        firm(O::CloseWindow, O::Resume),
        Rule { tries: 1, ..firm(O::Resume, O::Unpark) },
        rule(O::Unpark, O::End, O::Abort),
    ]
};

const IN_EXEC: &[Rule<InPhase>] = {
    use InPhase as I;
    &[
        rule(I::ReadStream, I::CloseWindow, I::Leave),
        rule(I::CloseWindow, I::ProbeForReal, I::Leave),
        Rule { tries: 1, ..firm(I::ProbeForReal, I::MapRam) },
        rule(I::MapRam, I::MakeVm, I::Leave),
        rule(I::MakeVm, I::TakeOver, I::Leave),
        rule(I::TakeOver, I::Load, I::Leave),
        rule(I::Load, I::Claim, I::Leave),
        rule(I::Claim, I::Run, I::Leave),
        firm(I::Run, I::Settle),
        firm(I::Settle, I::End),
        firm(I::Leave, I::End),
    ]
};

/// What QEMU learns only when it calls CHANGE_PROCESS in earnest, or never.
const UNJUDGED: &[BlockerKind] = &[
    BlockerKind::MappedByAddress,
    BlockerKind::MemlockTooSmall,
    BlockerKind::ChargedToProcess,
    BlockerKind::ChargedToNobody,
];

pub(super) const TRANSFER: Variant = Variant {
    id: "qemu-10.2",
    mode: Mode::Transfer,
    is_ours: false,
    kernel: None,
    dma: Dma::Iommufd,
    sentence: "state is cut while the guest runs, the real call is the probe, and nobody answers the last word",
    source: "QEMU 10.2, cpr-transfer",
    outgoing: OUT,
    incoming: IN,
    waived: UNJUDGED,
    slips: &[],
    unpromised: &[(
        "FD-1",
        "management ends the old QEMU, which keeps every descriptor until then",
    )],
};

pub(super) const TRANSFER_10_1: Variant = Variant {
    id: "qemu-10.1",
    sentence: "as qemu-10.2, and of several devices in one address space only the first is told where it is attached",
    source: "QEMU 10.1, cpr-transfer, before d59db04aed",
    slips: &[Slip::SpaceOfFirst],
    ..TRANSFER
};

pub(super) const RETURN_PATH: Variant = Variant {
    id: "qemu-10.2-return-path",
    sentence: "the same, with the migration capability return-path: the new process answers",
    outgoing: OUT_RETURN_PATH,
    incoming: IN_RETURN_PATH,
    ..TRANSFER
};

pub(super) const EXEC: Variant = Variant {
    mode: Mode::Exec,
    sentence: "state is cut while the guest runs, KVM is closed before the execve, and no new program can go back",
    source: "QEMU 10.2, cpr-exec",
    outgoing: OUT_EXEC,
    incoming: IN_EXEC,
    // The blockers of RAM are registered for transfer only.
    waived: &[
        BlockerKind::MappedByAddress,
        BlockerKind::MemlockTooSmall,
        BlockerKind::ChargedToProcess,
        BlockerKind::ChargedToNobody,
        BlockerKind::AnonymousRam,
    ],
    unpromised: &[],
    ..TRANSFER
};
