//! QEMU's CPR of a container with a type1 IOMMU: transfer since 10.1, exec since 10.2.
//!
//! ```text
//! transfer, old process                         on failure
//!   Preflight  Snapshot  SendFds                Disconnect
//!   AwaitPrepared  Park  Stop                   Unpark  RestoreVaddr  Disconnect
//!   Save  ReleaseVaddr  Commit                  Resume  Unpark  RestoreVaddr  Disconnect
//!   CloseVm  Completed                          goes on
//!   Unpark  RestoreVaddr                        Abort
//! transfer, new process
//!   AwaitDescriptors  ReadStream  MapRam        Leave
//!   MakeVm  Prepared  AwaitCommit  Load
//!   AssignIrqfds  MapVaddr
//!   Run  Cleanup                                goes on
//! exec, old process                             on failure
//!   Preflight  Snapshot                         End
//!   Park  Stop                                  Unpark  RestoreVaddr
//!   Save  ReleaseVaddr                          Resume  Unpark  RestoreVaddr
//!   CloseVm                                     goes on
//!   OpenWindow  Exec                            CloseWindow  Resume  Unpark  RestoreVaddr
//!   Unpark  RestoreVaddr                        Abort
//! exec, new process
//!   ReadStream  CloseWindow  MapRam  MakeVm     Leave
//!   Load  AssignIrqfds  MapVaddr
//!   Run  Cleanup                                goes on
//! ```
//!
//! What is as with an iommufd is the same rows ([`super::qemu`]). Different is how memory changes
//! hands. A mapping has an address in the process that owns it. The old process lets go of the
//! addresses, all of a container at once; for a while no mapping has one, and DMA goes on. The new
//! process gives each mapping its own, one by one, and the kernel compares address and length of
//! each with what is mapped. So there is a window, and a mixture of owners in the middle of it; but
//! there is also a way back.
//!
//! The container's state is the last of all that is saved and loaded. So addresses go when
//! everything else is saved, and come when interrupts are claimed. On the way back only those are
//! given again that went; one that cannot be given is the end of the process.
//!
//! Mirrors of QEMU 10.2: `hw/vfio/cpr-legacy.c`, `hw/vfio/container-legacy.c`, and what `qemu.rs`
//! mirrors. Not modelled: sections of the flat view that are no RAM block, RAM that is populated in
//! parts, vIOMMUs.

use super::Change::{After, Remove};
use super::Edit::{self, In, Out};
use super::{Variant, qemu};
use crate::protocol::phase::{InPhase, OutPhase};
use crate::protocol::{Mode, Protocol};
use crate::vm::Dma;

/// What is otherwise than with an iommufd, in either mode.
const BY_ADDRESS: &[Edit] = {
    use {InPhase as I, OutPhase as O};
    &[
        Out(Remove(O::ProveOwnership)),
        Out(After(O::Save, O::ReleaseVaddr)),
        // The first notifier gives the irqfds back, the second the addresses: the last one that was
        // registered is called first. What cannot be mapped is a hardware error to a VMM that runs
        // already.
        Out(After(O::Unpark, O::RestoreVaddr)),
        In(Remove(I::ProbeByChange)),
        In(Remove(I::ChangeOwner)),
        In(Remove(I::Unwind)),
        In(After(I::AssignIrqfds, I::MapVaddr)),
    ]
};

pub(super) const TRANSFER: Variant = Variant {
    id: "type1",
    dma: Dma::Type1,
    sentence: "a container's mappings lose their addresses and are given new ones, one by one, \
               and nobody answers the last word",
    protocol: || Protocol::of_tables(Mode::Transfer, qemu::OUT, qemu::IN).edited(BY_ADDRESS),
    ..qemu::TRANSFER
};

pub(super) const EXEC: Variant = Variant {
    mode: Mode::Exec,
    sentence: "a container's mappings lose their addresses before the execve and are given new \
               ones after it, and no new program can go back",
    source: qemu::EXEC.source,
    protocol: || qemu::exec().edited(BY_ADDRESS),
    unpromised: &[],
    ..TRANSFER
};
