//! Known bugs of QEMU, as edits of its variants.
//!
//! Where the cause is a list, a pointer or a flag inside of the VMM, which no kernel sees, the edit
//! is what came of it: the process dies there, or does not make those calls.

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

/// All of them.
pub(super) const DEFECTS: &[Defect] = &[
    Defect {
        id: "dies-notifying",
        sentence: "the list of who is told that a handoff begins is broken, and to walk it is the \
                   end of the old process",
        source: "f3028b7d2d and 911bdd34ca: registered once a device instead of once a container; \
                 a wrong list head on unplug",
        breaks: "VM-3",
        edits: &[Out(Next(O::AwaitPrepared, O::Abort))],
        ..BUG
    },
    Defect {
        id: "dies-refusing",
        sentence: "a precondition that does not hold is an assertion, and no answer",
        source: "694b5a913d and c72d6ebaad: the same blocker registered twice; one that cannot be \
                 added is fatal",
        breaks: "VM-3",
        edits: &[Out(Undo(O::Preflight, O::Abort))],
        ..BUG
    },
    Defect {
        id: "ram-initialised-at-realize",
        sentence: "the new process initialises guest RAM that is preserved in place, while the \
                   guest runs",
        source: "b42f28111e, e56ba1878f, 8ffe0623a1: ROM, pflash, qxl",
        breaks: "DMA-1",
        edits: &[In(After(I::MapRam, I::WipeRam))],
        ..BUG
    },
    Defect {
        id: "not-mapped-again",
        sentence: "what only a write of the guest's would have mapped is not mapped in the new \
                   process",
        source: "9751377c3a: the sub-page BAR of a device",
        breaks: "DMA-1",
        edits: &[Omit(Mutation::Call(RolePhase::New(I::MapRam), "mmap"))],
        ..BUG
    },
    Defect {
        id: "not-parked",
        sentence: "KVM takes interrupts until it is closed, and what comes after the guest is \
                   saved goes with it",
        source: "322ee16824: interrupts between the two KVMs are lost",
        breaks: "IRQ-1",
        edits: &[Out(Remove(O::Park))],
        ..BUG
    },
    Defect {
        id: "saved-before-parked",
        sentence: "interrupts that KVM has are not in what is saved",
        source: "376cdd7e9c: pending interrupts of the vGIC are not flushed when it is done",
        breaks: "IRQ-1",
        edits: &[Out(After(O::Save, O::Park)), Out(Undo(O::Stop, O::Resume))],
        ..BUG
    },
    Defect {
        id: "saved-before-parked-by-exec",
        sentence: "interrupts that KVM has are not in what is saved",
        source: "arm_gicv3_kvm: the notifier is registered for transfer only (2025-10-06, not \
                 merged)",
        breaks: "IRQ-1",
        edits: &[Out(After(O::Save, O::Park)), Out(Undo(O::Stop, O::Resume))],
        ..BY_EXEC
    },
    Defect {
        id: "kvm-kept",
        sentence: "the old KVM has the eventfds, and the new one cannot take them",
        source: "7ed0919119: irq bypass consumer registration fails: -16",
        breaks: "VM-3",
        edits: &[Out(Remove(O::Park)), Out(Undo(O::Stop, O::Resume)), Out(Remove(O::CloseVm))],
        ..BUG
    },
    Defect {
        id: "dies-when-asked",
        sentence: "an old process that looks at what its KVM had after it was closed dies",
        source: "query-balloon with kvm_state NULL (2025-09-28, patch 6); 725ec89803: a ring \
                 whose memory is unmapped",
        breaks: "VM-3",
        edits: &[Out(Next(O::CloseVm, O::Abort)), Out(Undo(O::CloseVm, O::Abort))],
        ..BUG
    },
    Defect {
        id: "space-of-first",
        sentence: "the address space is noted of the first device of each, and the others are not \
                   found",
        source: "d59db04aed: cpr.ioas_id recorded only when the container is created",
        breaks: "DONE-1",
        edits: &[Edit::Misreport(Misreport::SpaceOfFirst)],
        ..BUG
    },
    Defect {
        id: "dies-realizing",
        sentence: "the new process dies of its second device",
        source: "8bf49fff0d: a container that is there already has its HWPT not linked again",
        breaks: "DONE-1",
        edits: &[In(Next(I::ProbeByChange, I::Leave)), In(Undo(I::ProbeByChange, I::Leave))],
        ..BUG
    },
    Defect {
        id: "dies-of-exec",
        sentence: "a program that cannot be executed is the end of the old one",
        source: "89471ef237 and ded3cf4aaf: the arguments are freed before the message; no \
                 command is given",
        breaks: "VM-3",
        edits: &[Out(Undo(O::Exec, O::Abort))],
        ..BY_EXEC
    },
    Defect {
        id: "state-not-there",
        sentence: "that the state could not be kept for the new program is not noticed",
        source: "6a65fdee8a: the result of setenv is ignored",
        breaks: "VM-3",
        edits: &[Omit(Mutation::Answer(RolePhase::Old(O::Snapshot), "pwrite"))],
        ..BY_EXEC
    },
    Defect {
        id: "kernel-unjudged",
        sentence: "nobody asks whether the kernel has IOMMU_IOAS_CHANGE_PROCESS",
        source: "3ca0a0ab05, fixed by 0e387bd1df: a boolean is read as an errno, and exec is not \
                 blocked",
        breaks: "PRE-1",
        edits: &[Waive(BlockerKind::KernelTooOld)],
        ..BY_EXEC
    },
    Defect {
        id: "zero-is-none",
        sentence: "a descriptor whose number is 0 counts as absent",
        source: "review of the first three versions: fd > 0",
        breaks: "DONE-1",
        edits: &[Edit::Misreport(Misreport::ZeroIsNone)],
        ..BUG
    },
    Defect {
        id: "dies-of-cut",
        sentence: "a state that cannot be cut leaves the old process with what it cannot clean up",
        source: "7e71439243: yank is not registered yet when cpr_state_save fails",
        breaks: "VM-3",
        edits: &[Out(Undo(O::Snapshot, O::Abort))],
        ..BUG
    },
    Defect {
        id: "failure-told-early",
        sentence: "that it failed is told before it is cleaned up, and who acts on that is the \
                   end of the old process",
        source: "d1ab9655fd: capabilities are changed between the state FAILED and the cleanup, \
                 which asserts them",
        breaks: "VM-3",
        edits: &[Out(Next(O::Unpark, O::Abort))],
        ..BUG
    },
    Defect {
        id: "attached-to-first",
        sentence: "the new process attaches every device to the first address space of its iommufd",
        source: "review of versions 3 and 4: a container is known by its iommufd alone",
        breaks: "DEV-1",
        edits: &[
            In(Undo(I::ProbeByChange, I::Unwind)),
            In(After(I::ProbeByChange, I::AttachToFirst)),
        ],
        ..BUG
    },
    Defect {
        id: "set-up-while-running",
        sentence: "the new process sets devices up while the guest runs in the old one",
        source: "tap and vhost, versions 3 and 4 (not merged): the state is saved before the \
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
        sentence: "what was never made cannot be taken back",
        source: "HEAD: an assertion in cpr_exec_unpersist_state where memfd_create fails",
        breaks: "VM-3",
        edits: &[Out(Undo(O::Snapshot, O::Abort))],
        ..BY_EXEC
    },
    Defect {
        id: "armed-while-stopping",
        sentence: "the guest arms its vectors again after its irqfds were taken away, and before \
                   it stops",
        source: "10.2: notifiers are called before migration_stop_vm, which lets go of the lock",
        breaks: "IRQ-1",
        edits: &[Out(Next(O::Park, O::Unpark)), Out(Next(O::Unpark, O::Stop))],
        ..BUG
    },
    Defect {
        id: "another-iommufd",
        sentence: "a name that is not found is no error, and the new process takes over an \
                   iommufd of its own",
        source: "10.2: cpr_open_fd opens /dev/iommu where the id on the command line is another",
        breaks: "OWN-1",
        edits: &[
            Omit(Mutation::Call(RolePhase::New(I::ProbeByChange), "IOMMU_IOAS_CHANGE_PROCESS")),
            Omit(Mutation::Call(RolePhase::New(I::ChangeOwner), "IOMMU_IOAS_CHANGE_PROCESS")),
        ],
        ..BUG
    },
    Defect {
        id: "mapped-afresh",
        sentence: "a mapping by address is made again by the new process, which fails and unwinds",
        source: "10.2: only map_file and unmap are held back while incoming",
        breaks: "DEV-1",
        edits: &[In(Undo(I::ProbeByChange, I::Unwind)), In(After(I::ProbeByChange, I::MapFresh))],
        ..BUG
    },
    Defect {
        id: "no-route",
        sentence: "a vector that has no route in KVM makes the beginning fail",
        source: "10.2: failed to disable msi vector, virq -1",
        breaks: "DONE-1",
        edits: &[Out(Next(O::AwaitPrepared, O::Unpark))],
        ..BUG
    },
    Defect {
        id: "bars-mapped",
        sentence: "BARs are mapped for peer-to-peer DMA, and nobody asks whether such a mapping \
                   can change its process",
        source: "QEMU 11.0 (8cfaf22668) on Linux 6.19 and later: BARs as dma-bufs",
        breaks: "PRE-1",
        edits: &[Waive(BlockerKind::BarMapped)],
        ..BUG
    },
    Defect {
        id: "window-open-early",
        sentence: "what the new program shall inherit can be inherited from when the state is cut",
        source: "10.2: the variable and the memfd are there for every program that is started \
                 until the exec",
        breaks: "FD-2",
        edits: &[
            Out(After(O::Snapshot, O::OpenWindow)),
            Out(Undo(O::OpenWindow, O::CloseWindow)),
            Out(Undo(O::CloseVm, O::CloseWindow)),
        ],
        ..BY_EXEC
    },
];
