//! The series that this project begins with, as it was posted.
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
//! Guest RAM is mapped by address, so after the execve every mapping leads nowhere until the new
//! program has said where each block of RAM is now. Irqfds are not parked: KVM ends with the old
//! program, and from then on eventfds keep what comes.
//!
//! Mirrors "Live update: iommufd", RFC V1 (2024-07-20), and "Live update: vfio", V1 (2024-07-09),
//! which it needs. Not modelled: the ids that are carried as those of descriptors and late in the
//! stream (here they are in the inventory), flags of single objects that say whether they were
//! there before.

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
    sentence: "mappings by address, each of which the new program tells where it is now, and no \
               way back after the execve",
    source: "Live update: iommufd, RFC V1 (2024-07-20)",
    protocol: || Protocol::of_tables(Mode::Exec, OUT, IN).edited(UNJUDGED),
    unpromised: &[],
};
