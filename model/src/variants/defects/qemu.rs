//! Known bugs of QEMU with an iommufd, as edits of its variants.
//!
//! If the cause is a list, a pointer or a flag inside the VMM, the edit models its effect on system
//! calls: the process exits at that point, or omits calls.

use super::Defect;
use crate::protocol::Mode;
use crate::protocol::misreport::Misreport;
use crate::protocol::phase::{InPhase as I, OutPhase as O, RolePhase};
use crate::variants::Change::{After, Next, Remove, Undo};
use crate::variants::Edit::{self, In, Omit, Out, Waive};
use crate::variants::mutants::Mutation;
use crate::vm::blocker::BlockerKind;

const BUG: Defect = Defect {
    id: "",
    sentence: "",
    source: "",
    variant: "qemu-10.2",
    mode: Mode::Transfer,
    breaks: "",
    edits: &[],
};

const BY_EXEC: Defect = Defect { mode: Mode::Exec, ..BUG };

/// Every defect of QEMU's variants with an iommufd.
pub(super) const DEFECTS: &[Defect] = &[
    Defect {
        id: "dies-notifying",
        sentence: "the old process dies when it calls the notifiers of the handoff, whose list is \
                   corrupt",
        source: "f3028b7d2d and 911bdd34ca: a notifier registered once per device instead of once \
                 per container; a wrong list head on unplug",
        breaks: "VM-3",
        edits: &[Out(Next(O::AwaitPrepared, O::Abort))],
        ..BUG
    },
    Defect {
        id: "dies-refusing",
        sentence: "the old process dies of an assertion when it should refuse the handoff",
        source: "694b5a913d and c72d6ebaad: the same blocker registered twice; a blocker added \
                 with error_fatal",
        breaks: "VM-3",
        edits: &[Out(Undo(O::Preflight, O::Abort))],
        ..BUG
    },
    Defect {
        id: "ram-initialised-at-realize",
        sentence: "while the guest runs, the new process initializes guest RAM that is preserved \
                   in place",
        source: "b42f28111e, e56ba1878f, 8ffe0623a1: ROM, pflash, qxl",
        breaks: "DMA-1",
        edits: &[In(After(I::MapRam, I::WipeRam))],
        ..BUG
    },
    Defect {
        id: "not-mapped-again",
        sentence: "the new process does not map memory that only a guest's config write would map",
        source: "9751377c3a: the sub-page BAR of a device",
        breaks: "DMA-1",
        edits: &[Omit(Mutation::Call(RolePhase::New(I::MapRam), "mmap"))],
        ..BUG
    },
    Defect {
        id: "not-parked",
        sentence: "the irqfds stay assigned until KVM is closed, which drops interrupts that \
                   arrive after the guest was saved",
        source: "322ee16824: interrupts between the two KVM instances are lost",
        breaks: "IRQ-1",
        edits: &[Out(Remove(O::Park))],
        ..BUG
    },
    Defect {
        id: "saved-before-parked",
        sentence: "the guest is saved before its irqfds are deassigned, so interrupts pending in \
                   KVM are not saved",
        source: "376cdd7e9c: pending interrupts of the vGIC are not flushed at completion",
        breaks: "IRQ-1",
        edits: &[Out(After(O::Save, O::Park)), Out(Undo(O::Stop, O::Resume))],
        ..BUG
    },
    Defect {
        id: "saved-before-parked-by-exec",
        sentence: "the guest is saved before its irqfds are deassigned, so interrupts pending in \
                   KVM are not saved",
        source: "arm_gicv3_kvm: the notifier is registered for transfer only (2025-10-06, not \
                 merged)",
        breaks: "IRQ-1",
        edits: &[Out(After(O::Save, O::Park)), Out(Undo(O::Stop, O::Resume))],
        ..BY_EXEC
    },
    Defect {
        id: "kvm-kept",
        sentence: "the old KVM keeps its irqfds, so the new one cannot assign them",
        source: "7ed0919119: irq bypass consumer registration fails: -16",
        breaks: "VM-3",
        edits: &[Out(Remove(O::Park)), Out(Undo(O::Stop, O::Resume)), Out(Remove(O::CloseVm))],
        ..BUG
    },
    Defect {
        id: "dies-when-asked",
        sentence: "the old process dies when it uses its KVM state after closing KVM",
        source: "query-balloon with kvm_state NULL (2025-09-28, patch 6); 725ec89803: a ring whose \
                 memory is unmapped",
        breaks: "VM-3",
        edits: &[Out(Next(O::CloseVm, O::Abort)), Out(Undo(O::CloseVm, O::Abort))],
        ..BUG
    },
    Defect {
        id: "space-of-first",
        sentence: "the stream records the IOAS only of the first device in each; the others are \
                   not found",
        source: "d59db04aed: cpr.ioas_id recorded only when the container is created",
        breaks: "DONE-1",
        edits: &[Edit::Misreport(Misreport::SpaceOfFirst)],
        ..BUG
    },
    Defect {
        id: "dies-realizing",
        sentence: "the new process dies when it realizes its second device",
        source: "8bf49fff0d: an existing container's HWPT is not linked again",
        breaks: "DONE-1",
        edits: &[In(Next(I::ProbeByChange, I::Leave)), In(Undo(I::ProbeByChange, I::Leave))],
        ..BUG
    },
    Defect {
        id: "dies-of-exec",
        sentence: "the old process dies if execve fails",
        source: "89471ef237 and ded3cf4aaf: the arguments are freed before the error message; no \
                 command is set",
        breaks: "VM-3",
        edits: &[Out(Undo(O::Exec, O::Abort))],
        ..BY_EXEC
    },
    Defect {
        id: "state-not-there",
        sentence: "the old process does not notice that it could not store the state for the new \
                   program",
        source: "6a65fdee8a: the result of setenv is ignored",
        breaks: "VM-3",
        edits: &[Omit(Mutation::Answer(RolePhase::Old(O::Snapshot), "pwrite"))],
        ..BY_EXEC
    },
    Defect {
        id: "kernel-unjudged",
        sentence: "the old process does not check that the kernel has IOMMU_IOAS_CHANGE_PROCESS",
        source: "3ca0a0ab05, fixed by 0e387bd1df: a boolean is read as an errno, and exec is not \
                 blocked",
        breaks: "PRE-1",
        edits: &[Waive(BlockerKind::KernelTooOld)],
        ..BY_EXEC
    },
    Defect {
        id: "zero-is-none",
        sentence: "a descriptor with the number 0 counts as absent",
        source: "review of the first three versions: fd > 0",
        breaks: "DONE-1",
        edits: &[Edit::Misreport(Misreport::ZeroIsNone)],
        ..BUG
    },
    Defect {
        id: "dies-of-cut",
        sentence: "the old process dies if it cannot write the snapshot",
        source: "7e71439243: yank is not registered yet when cpr_state_save fails",
        breaks: "VM-3",
        edits: &[Out(Undo(O::Snapshot, O::Abort))],
        ..BUG
    },
    Defect {
        id: "failure-told-early",
        sentence: "the old process reports a failure before it has cleaned up, and dies when \
                   management reacts",
        source: "d1ab9655fd: management changes capabilities between the state FAILED and the \
                 cleanup, which asserts them",
        breaks: "VM-3",
        edits: &[Out(Next(O::Unpark, O::Abort))],
        ..BUG
    },
    Defect {
        id: "attached-to-first",
        sentence: "the new process attaches every device to the first IOAS of its iommufd",
        source: "review of versions 3 and 4: a container is identified by its iommufd alone",
        breaks: "DEV-1",
        edits: &[
            In(Undo(I::ProbeByChange, I::Unwind)),
            In(After(I::ProbeByChange, I::AttachToFirst)),
        ],
        ..BUG
    },
    Defect {
        id: "set-up-while-running",
        sentence: "the new process resets devices while the guest runs in the old one",
        source: "tap and vhost, versions 3 and 4 (not merged): the CPR state is saved before the \
                 guest stops",
        breaks: "DEV-1",
        edits: &[
            In(Undo(I::ProbeByChange, I::Unwind)),
            In(After(I::ProbeByChange, I::ResetDevices)),
        ],
        ..BUG
    },
    Defect {
        id: "dies-of-no-memfd",
        sentence: "the old process dies if it cannot create the memfd of the snapshot",
        source: "HEAD: an assertion in cpr_exec_unpersist_state if memfd_create fails",
        breaks: "VM-3",
        edits: &[Out(Undo(O::Snapshot, O::Abort))],
        ..BY_EXEC
    },
    Defect {
        id: "armed-while-stopping",
        sentence: "after its irqfds were deassigned, and before it stops, the guest enables its \
                   vectors again",
        source: "10.2: the SETUP notifiers run before migration_stop_vm, which drops the BQL",
        breaks: "IRQ-1",
        edits: &[Out(Next(O::Park, O::Unpark)), Out(Next(O::Unpark, O::Stop))],
        ..BUG
    },
    Defect {
        id: "another-iommufd",
        sentence: "the new process opens a new iommufd instead of reporting an unknown name, and \
                   changes the owner of that one",
        source: "10.2: cpr_open_fd opens /dev/iommu if the id on the command line is another",
        breaks: "OWN-1",
        edits: &[
            Omit(Mutation::Call(RolePhase::New(I::ProbeByChange), "IOMMU_IOAS_CHANGE_PROCESS")),
            Omit(Mutation::Call(RolePhase::New(I::ChangeOwner), "IOMMU_IOAS_CHANGE_PROCESS")),
        ],
        ..BUG
    },
    Defect {
        id: "mapped-afresh",
        sentence: "the new process repeats a mapping by address, fails, and unwinds the old \
                   process's objects",
        source: "10.2: only map_file and unmap are suppressed while incoming",
        breaks: "DEV-1",
        edits: &[In(Undo(I::ProbeByChange, I::Unwind)), In(After(I::ProbeByChange, I::MapFresh))],
        ..BUG
    },
    Defect {
        id: "no-route",
        sentence: "a vector without a route in KVM makes the handoff fail at its start",
        source: "10.2: failed to disable msi vector, virq -1",
        breaks: "DONE-1",
        edits: &[Out(Next(O::AwaitPrepared, O::Unpark))],
        ..BUG
    },
    Defect {
        id: "bars-mapped",
        sentence: "BARs are mapped for peer-to-peer DMA, and the old process does not check \
                   whether such mappings can change their process",
        source: "QEMU 11.0 (8cfaf22668) on Linux 6.19 and later: BARs as dma-bufs",
        breaks: "PRE-1",
        edits: &[Waive(BlockerKind::BarMapped)],
        ..BUG
    },
    Defect {
        id: "window-open-early",
        sentence: "descriptors are inheritable from the snapshot on, not only during the execve",
        source: "10.2: programs that are started until the exec inherit the environment variable \
                 and the memfd",
        breaks: "FD-2",
        edits: &[
            Out(After(O::Snapshot, O::OpenWindow)),
            Out(Undo(O::OpenWindow, O::CloseWindow)),
            Out(Undo(O::CloseVm, O::CloseWindow)),
        ],
        ..BY_EXEC
    },
];
