//! The registry: every property, with its title, sentence, reason and severity.
//!
//! The order is the order of every report; a new property goes to the end of its group.

use super::{Kind, Property, Scope, Severity};
use super::{descriptors, guest, memory, ordering, ranking, restoration};

/// Every property, in the order of reports.
pub const PROPERTIES: &[Property] = &[
    Property {
        id: "OWN-1",
        title: "Page ownership follows the guest",
        sentence: "whenever the handoff is over, the living process that has the guest owns every \
                   mapping",
        reason: "the kernel cannot charge or limit pages whose owner has exited, and a later pin \
                 of them fails",
        severity: Severity::Leak,
        scope: Scope::Always,
        kind: Kind::Invariant(memory::owned_by_guest_owner),
        on_host: false,
    },
    Property {
        id: "OWN-2",
        title: "A running guest's process owns its pages",
        sentence: "while a guest runs, its process owns every mapping of its devices",
        reason: "another owner can exit, and then the guest runs on pages that the kernel can \
                 neither charge nor hand over",
        severity: Severity::Leak,
        scope: Scope::Always,
        kind: Kind::Invariant(memory::owned_while_running),
        on_host: false,
    },
    Property {
        id: "PIN-1",
        title: "Pages are pinned once",
        sentence: "no page of guest memory is pinned more often than before the update",
        reason: "the second pin is never released, so every update leaks memory",
        severity: Severity::Leak,
        scope: Scope::Always,
        kind: Kind::Invariant(memory::pinned_once),
        on_host: false,
    },
    Property {
        id: "PIN-2",
        title: "VmPin matches the pinned pages",
        sentence: "whenever the handoff is over, VmPin of each living process equals the number \
                   of pages that its mappings pin",
        reason: "a counter that has drifted stays wrong, and goes below zero when the pages are \
                 unmapped",
        severity: Severity::Leak,
        scope: Scope::Iommufd,
        kind: Kind::Invariant(memory::vm_pin_matches),
        on_host: false,
    },
    Property {
        id: "CHG-1",
        title: "Pinned pages are charged once",
        sentence: "whenever the handoff is over, each pinned page is charged exactly once, to an \
                   account of the process that has the guest, and the kernel's counters agree",
        reason: "an uncharged page evades the limit, and a double or stale charge makes the next \
                 pin fail",
        severity: Severity::Leak,
        scope: Scope::Charged,
        kind: Kind::Invariant(memory::charged_once),
        on_host: false,
    },
    Property {
        id: "DMA-1",
        title: "Devices reach only guest memory",
        sentence: "every page that a device can reach is pinned, and is the guest's memory at \
                   that address",
        reason: "DMA to a page that the kernel has given to another user corrupts it silently",
        severity: Severity::MemoryCorrupted,
        scope: Scope::Always,
        kind: Kind::Invariant(memory::reaches_guest_memory),
        on_host: false,
    },
    Property {
        id: "VA-1",
        title: "Mappings have a virtual address while the guest runs",
        sentence: "while a guest runs, every mapping has a virtual address",
        reason: "without one the kernel can neither pin nor read the mapped memory, no device can \
                 be added, and a second update cannot start",
        severity: Severity::DeviceDead,
        scope: Scope::Container,
        kind: Kind::Invariant(memory::addresses_known),
        on_host: false,
    },
    Property {
        id: "MAP-1",
        title: "IOVA mappings do not change",
        sentence: "each IOVA is mapped to the same pages before, during and after the update",
        reason: "the guest has programmed its devices with these addresses, and they are in use",
        severity: Severity::MemoryCorrupted,
        scope: Scope::Always,
        kind: Kind::Invariant(memory::same_map),
        on_host: false,
    },
    Property {
        id: "DEV-1",
        title: "Devices are not reset or detached",
        sentence: "no device is reset, disabled, detached or closed",
        reason: "the guest's driver does not expect it, and the device stops working for the \
                 guest",
        severity: Severity::DeviceDead,
        scope: Scope::Always,
        kind: Kind::Invariant(guest::devices_untouched),
        on_host: true,
    },
    Property {
        id: "VM-1",
        title: "At most one process runs the guest",
        sentence: "at most one process runs the guest",
        reason: "two copies of a guest write to the same memory, disks and network",
        severity: Severity::MemoryCorrupted,
        scope: Scope::Always,
        kind: Kind::Invariant(guest::one_guest),
        on_host: false,
    },
    Property {
        id: "VM-2",
        title: "The guest loses no progress",
        sentence: "a guest that runs continues from the furthest state it has reached",
        reason: "a guest that resumes from an older state has forgotten what its peers and disks \
                 have seen",
        severity: Severity::MemoryCorrupted,
        scope: Scope::Always,
        kind: Kind::Invariant(guest::no_progress_lost),
        on_host: false,
    },
    Property {
        id: "VM-3",
        title: "The guest survives",
        sentence: "whenever the handoff is over the guest runs, unless the process that had it \
                   was killed from outside",
        reason: "after any failed update, one process must be left that runs the guest",
        severity: Severity::GuestLost,
        scope: Scope::Always,
        kind: Kind::Invariant(guest::guest_survives),
        on_host: false,
    },
    Property {
        id: "IRQ-1",
        title: "No interrupt is lost",
        sentence: "every interrupt was delivered to a running guest, or is pending in the eventfd \
                   that the guest's process holds; under KVM it does not stay there once the \
                   handoff is over",
        reason: "a lost interrupt is a request that never completes",
        severity: Severity::DeviceDead,
        scope: Scope::Interrupts,
        kind: Kind::Invariant(guest::no_interrupt_lost),
        on_host: true,
    },
    Property {
        id: "IRQ-2",
        title: "Irqfds are assigned before the guest runs",
        sentence: "once the handoff has stopped the guest, no guest runs again before every \
                   interrupt has its irqfd",
        reason: "a guest that runs before the rollback is complete waits for interrupts that are \
                 never injected",
        severity: Severity::DeviceDead,
        scope: Scope::Kvm,
        kind: Kind::Invariant(guest::irqfds_before_running),
        on_host: false,
    },
    Property {
        id: "FD-1",
        title: "No descriptor is lost or leaked",
        sentence: "the process that has the guest holds each of its descriptors once, and \
                   whenever the handoff is over no other process holds any, or still exists; \
                   after the guest is lost no process holds any",
        reason: "a lost descriptor resets a device; a leaked one keeps the device and its memory \
                 for ever",
        severity: Severity::Leak,
        scope: Scope::Always,
        kind: Kind::Invariant(descriptors::descriptors_kept),
        on_host: true,
    },
    Property {
        id: "FD-2",
        title: "Descriptors are inheritable only around execve",
        sentence: "descriptors are inheritable only between the old program's last step and the \
                   new program's first",
        reason: "a helper that is forked and executed in between would inherit the devices",
        severity: Severity::Leak,
        scope: Scope::Always,
        kind: Kind::Invariant(descriptors::cloexec_outside_window),
        on_host: true,
    },
    Property {
        id: "READ-1",
        title: "The new process changes nothing before the commit",
        sentence: "the new process changes nothing before the old process allows the commit",
        reason: "until then the guest runs in the old process, or a rollback returns it there",
        severity: Severity::Untidy,
        scope: Scope::Transfer,
        kind: Kind::Invariant(ordering::only_reads),
        on_host: false,
    },
    Property {
        id: "BACK-1",
        title: "Rollback restores everything",
        sentence: "after a failed handoff the guest runs in the old process, with everything that \
                   it had",
        reason: "a failed update must cost no more than time",
        severity: Severity::DeviceDead,
        scope: Scope::Always,
        kind: Kind::Invariant(ordering::rolled_back_completely),
        on_host: false,
    },
    Property {
        id: "NEXT-1",
        title: "Every end state is an initial state",
        sentence: "whenever the handoff is over and the guest is alive, everything is as it was \
                   at the start, except which process has it",
        reason: "the next handoff starts in this state, so anything left behind accumulates",
        severity: Severity::Leak,
        scope: Scope::Always,
        kind: Kind::Invariant(restoration::restored),
        on_host: false,
    },
    Property {
        id: "PRE-1",
        title: "Impossible updates are refused before the guest stops",
        sentence: "an update that cannot succeed is refused before the guest stops",
        reason: "a precondition that is checked after the stop costs downtime, or the guest",
        severity: Severity::Untidy,
        scope: Scope::Refused,
        kind: Kind::Invariant(ordering::refused_before_stop),
        on_host: true,
    },
    Property {
        id: "TRUE-1",
        title: "Corrupt input is refused before any change",
        sentence: "corrupt input is refused before anything is changed, and the guest is not \
                   handed over",
        reason: "a wrong inventory surfaces at the next map, interrupt or update, when it is too \
                 late to refuse",
        severity: Severity::GuestLost,
        scope: Scope::Misled,
        kind: Kind::Invariant(ordering::corrupt_input_refused),
        on_host: false,
    },
    Property {
        id: "WHY-1",
        title: "A refusal gives its reason",
        sentence: "the old process learns why a fault-free handoff was refused",
        reason: "a report that the other process has exited gives the operator nothing to act on",
        severity: Severity::Untidy,
        scope: Scope::Denied,
        kind: Kind::Invariant(ordering::reason_given),
        on_host: false,
    },
    Property {
        id: "DONE-1",
        title: "A fault-free update succeeds",
        sentence: "a handoff in which no fault occurs succeeds",
        reason: "a protocol that refuses every update is safe and useless",
        severity: Severity::Untidy,
        scope: Scope::Possible,
        kind: Kind::Invariant(ordering::succeeds_without_faults),
        on_host: false,
    },
    Property {
        id: "END-1",
        title: "Every run terminates without deadlock",
        sentence: "every run terminates, and no process is left waiting",
        reason: "a handoff that hangs leaves the guest stopped",
        severity: Severity::GuestLost,
        scope: Scope::Always,
        kind: Kind::Termination,
        on_host: false,
    },
    Property {
        id: "END-2",
        title: "Every step lowers the ranking function",
        sentence: "every step lowers the ranking function, which depends on the state alone",
        reason: "it bounds every run from any state, under any scheduler, without a list of all \
                 states",
        severity: Severity::Untidy,
        scope: Scope::Always,
        kind: Kind::Action(ranking::EVERY_STEP_LOWERS_IT),
        on_host: false,
    },
    Property {
        id: "END-3",
        title: "A good end stays reachable",
        sentence: "from every reachable state some fault-free run leads to an end in which the \
                   guest runs, unless its process was killed from outside",
        reason: "a handoff that only a further fault can release is a trap",
        severity: Severity::GuestLost,
        scope: Scope::Always,
        kind: Kind::Possibility(guest::has_ended_well),
        on_host: false,
    },
    Property {
        id: "REF-1",
        title: "The protocol refines the abstract spec",
        sentence: "every transition is a stuttering step or an action of the abstract spec, and \
                   when the handoff is over the spec has no action left",
        reason: "results for the abstract spec, which two checkers prove over a few dozen states, \
                 then hold for the protocol on its kernel",
        severity: Severity::Untidy,
        scope: Scope::PassedThrough,
        kind: Kind::Refinement,
        on_host: false,
    },
];
