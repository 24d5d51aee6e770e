//! QEMU's CPR of a container with a type1 IOMMU: transfer since 10.1, exec since 10.2.
//!
//! ```text
//! transfer, old process                                        on failure
//!   Preflight                                                  Part
//!   Cut  Hand  AwaitPrepared        (the guest runs)           Unpark (of what was never parked)  RestoreVaddr  Part
//!   Park  Stop                                                 Unpark  RestoreVaddr  Part
//!   Save  ReleaseVaddr  Commit      (the guest stands)         Resume  Unpark  RestoreVaddr  Part
//!   CloseVm  Completed              nobody has answered yet
//! transfer, new process
//!   AwaitDescriptors  ReadStream  MapRam  MakeVm               Leave
//!   Prepared  AwaitCommit  Load  Claim  MapVaddr  Run          Leave
//! ```
//!
//! What is as with an iommufd is the same rows ([`super::qemu`]). Different is how memory changes hands. A mapping has an address in the process
//! that owns it. The old process lets go of the addresses, all of a container at once; for a while no mapping has one, and DMA goes
//! on. The new process gives each mapping its own, one by one, and the kernel compares address and length of each with what
//! is mapped. So there is a window, and a mixture of owners in the middle of it; but there is also a way back.
//!
//! The container's state is the last of all that is saved and loaded. So addresses go when everything else is saved, and come
//! when interrupts are claimed. On the way back only those are given again that went; one that cannot be given is the end of the
//! process.
//!
//! Mirrors of QEMU 10.2: `hw/vfio/cpr-legacy.c`, `hw/vfio/container-legacy.c`, and what `qemu.rs` mirrors. Not modelled: sections of the flat view
//! that are no RAM block, RAM that is populated in parts, vIOMMUs.

use super::Variant;
use super::qemu;
use crate::protocol::phase::{InPhase, OutPhase};
use crate::protocol::{Mode, Rule, firm, rule};
use crate::vm::Dma;

/// The first notifier gives the irqfds back, the second the addresses: the last one that was registered is called first.
const ROWS_BACK: [Rule<OutPhase>; 3] = {
    use OutPhase as O;
    [
        qemu::ROWS_BACK[0],
        Rule { next: O::RestoreVaddr, ..qemu::ROWS_BACK[1] },
        // What cannot be mapped is a hardware error to a VMM that runs already.
        Rule { phase: O::RestoreVaddr, next: O::Part, undo: Some(O::Abort), tries: 1 },
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
        rule(O::Stop, O::Save, O::Unpark),
        rule(O::Save, O::ReleaseVaddr, O::Resume),
        rule(O::ReleaseVaddr, O::Commit, O::Resume),
        rule(O::Commit, O::CloseVm, O::Resume),
        firm(O::CloseVm, O::Completed),
        firm(O::Completed, O::End),
        ROWS_BACK[0],
        ROWS_BACK[1],
        ROWS_BACK[2],
        qemu::ROWS_BACK[2],
    ]
};

const IN: &[Rule<InPhase>] = {
    use InPhase as I;
    &[
        rule(I::AwaitDescriptors, I::ReadStream, I::Leave),
        rule(I::ReadStream, I::MapRam, I::Leave),
        rule(I::MapRam, I::MakeVm, I::Leave),
        rule(I::MakeVm, I::Prepared, I::Leave),
        rule(I::Prepared, I::AwaitCommit, I::Leave),
        rule(I::AwaitCommit, I::Load, I::Leave),
        rule(I::Load, I::Claim, I::Leave),
        rule(I::Claim, I::MapVaddr, I::Leave),
        rule(I::MapVaddr, I::Run, I::Leave),
        firm(I::Run, I::Settle),
        firm(I::Settle, I::End),
        firm(I::Leave, I::End),
    ]
};

const OUT_EXEC: &[Rule<OutPhase>] = &{
    use OutPhase as O;
    [
        rule(O::Preflight, O::Cut, O::End),
        rule(O::Cut, O::Park, O::End),
        rule(O::Park, O::Stop, O::Unpark),
        rule(O::Stop, O::Save, O::Unpark),
        rule(O::Save, O::ReleaseVaddr, O::Resume),
        rule(O::ReleaseVaddr, O::CloseVm, O::Resume),
        firm(O::CloseVm, O::OpenWindow),
        rule(O::OpenWindow, O::Exec, O::CloseWindow),
        rule(O::Exec, O::End, O::CloseWindow),
        firm(O::CloseWindow, O::Resume),
        Rule { tries: 1, ..ROWS_BACK[0] },
        ROWS_BACK[1],
        Rule { next: O::End, ..ROWS_BACK[2] },
    ]
};

const IN_EXEC: &[Rule<InPhase>] = {
    use InPhase as I;
    &[
        rule(I::ReadStream, I::CloseWindow, I::Leave),
        rule(I::CloseWindow, I::MapRam, I::Leave),
        rule(I::MapRam, I::MakeVm, I::Leave),
        rule(I::MakeVm, I::Load, I::Leave),
        rule(I::Load, I::Claim, I::Leave),
        rule(I::Claim, I::MapVaddr, I::Leave),
        rule(I::MapVaddr, I::Run, I::Leave),
        firm(I::Run, I::Settle),
        firm(I::Settle, I::End),
        firm(I::Leave, I::End),
    ]
};

pub(super) const TRANSFER: Variant = Variant {
    id: "type1",
    dma: Dma::Type1,
    sentence: "a container's mappings lose their addresses and are given new ones, one by one, and nobody answers the last word",
    outgoing: OUT,
    incoming: IN,
    waived: &[],
    ..qemu::TRANSFER
};

pub(super) const EXEC: Variant = Variant {
    mode: Mode::Exec,
    sentence: "a container's mappings lose their addresses before the execve and are given new ones after it, and no new program can go back",
    source: qemu::EXEC.source,
    outgoing: OUT_EXEC,
    incoming: IN_EXEC,
    waived: qemu::EXEC.waived,
    unpromised: &[],
    ..TRANSFER
};
