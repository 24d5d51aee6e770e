//! RFC V1 of "Live update: iommufd", with which this project began.
//!
//! ```text
//! exec, old process                             on failure
//!   Preflight                                   End
//!   Stop  Save  Snapshot                        Resume
//!   OpenWindow  Exec                            CloseWindow  Resume
//! exec, new process
//!   ReadStream  CloseWindow  MapRam  MakeVm     Leave
//!   Load  TakeAddresses  AssignIrqfds
//!   Run  Cleanup                                goes on
//! ```
//!
//! Guest RAM is mapped by address, so after the execve the address of every mapping is invalid
//! until the new program reports the new address of each RAM block. Irqfds are not parked: the old
//! KVM ends with the old program, and from then on interrupts stay in their eventfds.
//!
//! Mirrors "Live update: iommufd", RFC V1 (2024-07-20), and "Live update: vfio", V1 (2024-07-09),
//! which it needs. Not modelled: ids that cross as those of descriptors and late in the stream
//! (here they are in the inventory), and the `reused` flags of single objects.

use super::Edit::{self, Waive};
use super::Variant;
use crate::protocol::phase::{InPhase, OutPhase};
use crate::protocol::{Mode, Protocol, Rule, best_effort, fallible, must_complete};
use crate::vm::Dma;
use crate::vm::blocker::BlockerKind;

const OUT: &[Rule<OutPhase>] = {
    use OutPhase as O;
    &[
        fallible(O::Preflight, O::Stop, O::End),
        fallible(O::Stop, O::Save, O::Resume),
        fallible(O::Save, O::Snapshot, O::Resume),
        fallible(O::Snapshot, O::OpenWindow, O::Resume),
        fallible(O::OpenWindow, O::Exec, O::CloseWindow).window(),
        fallible(O::Exec, O::End, O::CloseWindow).window(),
        must_complete(O::CloseWindow, O::Resume).rollback().window(),
        best_effort(O::Resume, O::End).rollback(),
    ]
};

const IN: &[Rule<InPhase>] = {
    use InPhase as I;
    &[
        fallible(I::ReadStream, I::CloseWindow, I::Leave).window(),
        fallible(I::CloseWindow, I::MapRam, I::Leave).window(),
        fallible(I::MapRam, I::MakeVm, I::Leave),
        fallible(I::MakeVm, I::Load, I::Leave),
        fallible(I::Load, I::TakeAddresses, I::Leave),
        fallible(I::TakeAddresses, I::AssignIrqfds, I::Leave),
        fallible(I::AssignIrqfds, I::Run, I::Leave).committed(),
        must_complete(I::Run, I::Cleanup).committed(),
        must_complete(I::Cleanup, I::End).committed(),
        must_complete(I::Leave, I::End).window(),
    ]
};

const UNJUDGED: &[Edit] = &[
    Waive(BlockerKind::MappedByAddress),
    Waive(BlockerKind::MemlockTooSmall),
    Waive(BlockerKind::ChargedToProcess),
    Waive(BlockerKind::Uncharged),
];

pub(super) const EXEC: Variant = Variant {
    id: "rfc-v1",
    mode: Mode::Exec,
    is_ours: false,
    kernel: Some("rfc-v1"),
    dma: Dma::Iommufd,
    sentence: "RAM is mapped by address, the new program reports the new address of each block to \
               CHANGE_PROCESS, and there is no rollback after the execve",
    source: "Live update: iommufd, RFC V1 (2024-07-20)",
    protocol: || Protocol::of_tables(Mode::Exec, OUT, IN).edited(UNJUDGED),
    unpromised: &[],
};
