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
//! The steps that are the same as with an iommufd have the same rules ([`super::qemu`]). Memory
//! changes its owner differently. A mapping has a virtual address (vaddr) in the process that owns
//! it. The old process invalidates the vaddrs of a container, all at once; DMA continues meanwhile.
//! The new process then sets the vaddr of each mapping, one by one, and the kernel compares IOVA
//! and length with the existing mapping. So there is a window without vaddrs, and a mixture of
//! owners within it; but a rollback exists.
//!
//! The container's state is saved and loaded last. So vaddrs are invalidated after everything else
//! is saved, and set again after the irqfds are assigned. Rollback restores only the vaddrs that
//! were invalidated; if one cannot be restored, the process aborts.
//!
//! Mirrors of QEMU 10.2: `hw/vfio/cpr-legacy.c`, `hw/vfio/container-legacy.c`, and what `qemu.rs`
//! mirrors. Not modelled: sections of the flat view that are no RAM block, partially populated RAM,
//! vIOMMUs.

use super::Change::{After, Remove};
use super::Edit::{self, In, Out};
use super::{Variant, qemu};
use crate::protocol::phase::{InPhase, OutPhase};
use crate::protocol::{Mode, Protocol};
use crate::vm::Dma;

/// Differences from the variants with an iommufd, in both modes.
const BY_ADDRESS: &[Edit] = {
    use {InPhase as I, OutPhase as O};
    &[
        Out(Remove(O::ProveOwnership)),
        Out(After(O::Save, O::ReleaseVaddr)),
        // One notifier assigns the irqfds, the next restores the vaddrs: notifiers are called in
        // reverse order of registration. A failed map is hw_error in a VMM that already runs.
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
    sentence: "the vaddrs of a container's mappings are invalidated and set again one by one, and \
               the commit is not acknowledged",
    protocol: || Protocol::of_tables(Mode::Transfer, qemu::OUT, qemu::IN).edited(BY_ADDRESS),
    ..qemu::TRANSFER
};

pub(super) const EXEC: Variant = Variant {
    mode: Mode::Exec,
    sentence: "the vaddrs of a container's mappings are invalidated before execvp and set again \
               after it, and there is no rollback after execvp",
    source: qemu::EXEC.source,
    protocol: || qemu::exec().edited(BY_ADDRESS),
    unpromised: &[],
    ..TRANSFER
};
