//! Z: bugs of QEMU that were fixed, or reported with a fix, and the commit or mail of each.

use super::KnownBug;
use super::scenarios::{
    CANCEL_ONLY, NO_FAULTS, known, nic, out_of_scope, qemu, qemu_exec, ram, two_spaces, type1,
};
use crate::scenario::builder::DeviceEntry;

/// The bugs, in the order of their numbers.
pub(super) const FIXED: &[KnownBug] = &[
    known(
        "Z01",
        "Second device in a container corrupts the notifier list",
        "QEMU registers the CPR notifier of a container once per device; with two devices in a \
         container the notifier list is corrupt, and the old QEMU crashes when it calls the \
         notifiers",
        "QEMU f3028b7d2d (2025-04)",
        "VM-3",
        || qemu().defect("dies-notifying").devices([nic(0), nic(1)]),
    ),
    known(
        "Z02",
        "Blocker that is registered twice fails an assertion",
        "The same migration blocker is registered twice (SEV-SNP guests), and QEMU dies of an \
         assertion instead of refusing the update",
        "QEMU 694b5a913d (2025-03)",
        "VM-3",
        || qemu().defect("dies-refusing").refused().ram([ram(0).anonymous()]),
    ),
    known(
        "Z03",
        "New QEMU overwrites preserved ROM, pflash and qxl memory",
        "While it realizes its devices, the new QEMU writes the initial contents of ROM, pflash \
         and qxl memory into guest memory that is preserved in place",
        "QEMU b42f28111e, e56ba1878f, 8ffe0623a1 (2025-03)",
        "DMA-1",
        || qemu().defect("ram-initialised-at-realize"),
    ),
    known(
        "Z04",
        "Old QEMU crashes after it restores virtual addresses",
        "Recovery restores the vaddrs of a container, then puts a saved function pointer back that \
         only the target had set; the old QEMU calls NULL and dies of SIGSEGV",
        "QEMU e8c1128bf9 (2025-06)",
        "VM-3",
        || type1().defect("dies-restored").fault_budget(CANCEL_ONLY),
    ),
    known(
        "Z05",
        "Only the first of several containers works after load",
        "The new QEMU overrides the class-wide dma_map handler once per container and saves the \
         override as the original; only the first container gets new vaddrs",
        "QEMU 924c3ccb31 (2025-06)",
        "VA-1",
        || two_spaces(type1()).defect("first-container-only").fault_budget(NO_FAULTS),
    ),
    out_of_scope(
        "Z06",
        "Unwinding a container that was never created crashes",
        "If /dev/vfio/vfio cannot be opened, the error path unwinds a container that was never \
         created, and QEMU dies of SIGSEGV",
        "QEMU abc6249d42 (2025-06)",
        "it happens at startup, where nothing is handed over",
    ),
    known(
        "Z07",
        "Hotplug of a mediated device aborts the running VM",
        "The CPR blocker of a mediated device is added with error_fatal, so hotplugging one aborts \
         the running VM",
        "QEMU c72d6ebaad (2025-06)",
        "VM-3",
        || qemu().defect("dies-refusing").refused().devices([DeviceEntry::mdev("mdev0", true)]),
    ),
    known(
        "Z08",
        "Sub-page BAR is not mapped after CPR",
        "The mapping of a sub-page BAR is a side effect of the guest's writes to config space, \
         which never recur in the new QEMU, so the BAR is not mapped after the update",
        "QEMU 9751377c3a (2025-07)",
        "DMA-1",
        || qemu().defect("not-mapped-again"),
    ),
    known(
        "Z09",
        "VFIO interrupt is lost between the two KVM instances",
        "An interrupt that arrives after the old KVM instance is destroyed and before the new one \
         attaches is dropped; the fix deassigns the irqfds first, so that interrupts stay in the \
         eventfds",
        "QEMU 322ee16824 (2025-07)",
        "IRQ-1",
        || qemu().defect("not-parked").kvm(),
    ),
    known(
        "Z10",
        "Pending vGIC interrupts are not saved (ARM)",
        "On ARM, interrupts that are pending in the vGIC of the old KVM are not flushed to guest \
         RAM at the end of the migration, and are lost",
        "QEMU 376cdd7e9c (2025-08)",
        "IRQ-1",
        || qemu().defect("saved-before-parked").kvm(),
    ),
    known(
        "Z10b",
        "cpr-exec does not save pending vGIC interrupts (ARM)",
        "As Z10, by cpr-exec: the notifier that flushes the vGIC is registered for cpr-transfer \
         only",
        "arm_gicv3_kvm: cpr-exec support (2025-10-06, not merged)",
        "IRQ-1",
        || qemu_exec().defect("saved-before-parked-by-exec").kvm(),
    ),
    known(
        "Z11",
        "Old KVM keeps the eventfds, and the new KVM gets EBUSY",
        "The old KVM still holds the irqbypass consumer token of each eventfd, the new KVM cannot \
         register (\"irq bypass consumer registration fails: -16\"), and the guest has no network \
         after CPR",
        "QEMU 7ed0919119 (2025-07)",
        "VM-3",
        || qemu().defect("kvm-kept").kvm(),
    ),
    known(
        "Z12",
        "Coalesced MMIO ring dangles after kvm_close (x86)",
        "kvm_close assumes a wrong page offset of the coalesced MMIO ring on x86 and leaves a \
         dangling pointer to it; the old QEMU crashes if it uses the ring again",
        "QEMU 725ec89803 (2025-09)",
        "VM-3",
        || qemu().defect("dies-when-asked").kvm(),
    ),
    known(
        "Z13",
        "query-balloon after the handoff crashes the old QEMU",
        "After completion kvm_state is NULL, but the old QEMU still answers QMP: query-balloon \
         kills it with SIGSEGV",
        "QEMU series of 2025-09-28, patch 6",
        "VM-3",
        || qemu().defect("dies-when-asked").kvm(),
    ),
    out_of_scope(
        "Z14",
        "Container failure without an Error crashes QEMU",
        "If a container cannot be set up, no Error is set, and the code at the fail label crashes",
        "QEMU 36cd81dc13 (2025-08)",
        "the new process exits at that call with or without the bug; only the message in its log \
         differs",
    ),
    known(
        "Z15",
        "Recovery remaps unpopulated parts of virtio-mem",
        "Recovery restores the vaddrs of whole memory sections, including unpopulated parts of \
         virtio-mem that were never mapped",
        "QEMU 5a78db7f80 (2025-09)",
        "VM-3",
        || type1().defect("sections-restored").ram([ram(0), ram(1)]).fault_budget(CANCEL_ONLY),
    ),
    known(
        "Z16",
        "Assertion for the new QEMU fails in the old one",
        "A function that recovery shares with the new QEMU asserts that the process is incoming, \
         so the old QEMU aborts during rollback",
        "QEMU 9423094896 (2025-09)",
        "VM-3",
        || type1().defect("dies-restoring").fault_budget(CANCEL_ONLY),
    ),
    known(
        "Z17",
        "Only the first device of a container works",
        "cpr.ioas_id is recorded only when a container is created, so only the first device of a \
         container works in the new QEMU",
        "QEMU d59db04aed (2025-09)",
        "DONE-1",
        || qemu().defect("space-of-first").devices([nic(0), nic(1)]),
    ),
    known(
        "Z18",
        "Second device of a container crashes the new QEMU",
        "For a container that already exists the new QEMU does not link the HWPT again, and the \
         second device of the container kills it with SIGSEGV",
        "QEMU 8bf49fff0d (2025-09)",
        "DONE-1",
        || qemu().defect("dies-realizing").devices([nic(0), nic(1)]),
    ),
    known(
        "Z19",
        "Failed execvp uses freed arguments",
        "After a failed execvp the error message is formatted from an argv that was already freed",
        "QEMU 89471ef237 (2025-10)",
        "VM-3",
        || qemu_exec().defect("dies-of-exec"),
    ),
    known(
        "Z20",
        "New QEMU does not find the CPR state",
        "The result of setenv is ignored; if it fails, the new QEMU does not find the CPR state, \
         and the VM is lost",
        "QEMU 6a65fdee8a (2025-10)",
        "VM-3",
        || qemu_exec().defect("state-not-there"),
    ),
    known(
        "Z21",
        "cpr-exec without a command crashes QEMU",
        "QEMU does not check that cpr-exec-command is set, and crashes when it executes the empty \
         command",
        "QEMU ded3cf4aaf (2025-10)",
        "VM-3",
        || qemu_exec().defect("dies-of-exec").corruption("no-program"),
    ),
    out_of_scope(
        "Z22",
        "cpr-exec command is never freed",
        "The memory of cpr_exec_command is never freed",
        "QEMU 881536e2a5 (2025-12)",
        "a leak inside the process is visible neither to the kernel nor to the guest",
    ),
    known(
        "Z23",
        "Unplugging a device corrupts the notifier lists",
        "migration_remove_notifier assigns the wrong list head; after a device was unplugged, the \
         notifier and blocker lists are corrupt, and the old QEMU crashes when it walks them",
        "QEMU 911bdd34ca (2025-11)",
        "VM-3",
        || qemu().defect("dies-notifying"),
    ),
    known(
        "Z24",
        "Missing CHANGE_PROCESS does not block cpr-exec",
        "The probe inverts a boolean and ORs the cpr-transfer mode with itself: on a kernel \
         without IOMMU_IOAS_CHANGE_PROCESS no iommufd device can be used, and cpr-exec is not \
         blocked",
        "QEMU 3ca0a0ab05 in 10.2.0, fixed by 0e387bd1df (2026-01)",
        "PRE-1",
        || qemu_exec().defect("kernel-unjudged").refused().kernel("6.12").ram([]),
    ),
    known(
        "Z25",
        "New QEMU sets O_NONBLOCK for the old QEMU, too",
        "The new QEMU sets O_NONBLOCK on the descriptors that it receives; the flag is in the \
         shared open file description, so it changes for the old QEMU, which still uses them",
        "QEMU 7bc2cbe330 (2025-09)",
        "READ-1",
        || type1().defect("nonblocking-received"),
    ),
    out_of_scope(
        "Z26",
        "Old QEMU connects before the new one listens",
        "The old QEMU may connect before the new one listens, and the update then fails; the fix \
         passes the new QEMU a socket that already listens",
        "QEMU 430671f526, 8f87c87eca (2025-06)",
        "both ends of the channel exist from the start here, as after the fix",
    ),
    known(
        "Z27",
        "Cleanup fails after a failed cpr_state_save",
        "If cpr_state_save fails, the yank instance is not registered yet, and the old QEMU cannot \
         clean up",
        "QEMU 7e71439243 (2026-01)",
        "VM-3",
        || qemu().defect("dies-of-cut"),
    ),
    known(
        "Z28",
        "Guest resumes before its irqfds are restored",
        "After a failure the FAILED notifiers run in the cleanup bottom half, after vm_start: the \
         vCPUs run before irqfds and vaddrs are restored",
        "6f5bc070fd (2026-01-26, not merged)",
        "IRQ-2",
        || qemu().kvm(),
    ),
    out_of_scope(
        "Z29",
        "Stale cpr.sock breaks the next start",
        "cpr.sock is not removed after a failure, and the next QEMU cannot listen on it",
        "QEMU bfa07595eb (2025-09)",
        "channels have no names in a file system here",
    ),
    known(
        "Z30",
        "New QEMU attaches every device to the first IOAS",
        "The new QEMU identifies a container by its iommufd instead of by ioas_id, and attaches \
         every device to the first container of the iommufd",
        "review of versions 3 and 4 of the series",
        "DEV-1",
        || two_spaces(qemu()).defect("attached-to-first"),
    ),
    known(
        "Z31",
        "Descriptor 0 counts as absent",
        "The code tests fd > 0, so a descriptor with the number 0 counts as absent",
        "review of versions 1 to 3 of the series",
        "DONE-1",
        || qemu().defect("zero-is-none"),
    ),
    known(
        "Z32",
        "New QEMU sets devices up while the guest still runs",
        "The CPR state is saved before the guest stops, so the new QEMU initializes devices while \
         the guest runs in the old one (VHOST_SET_OWNER fails with EBUSY)",
        "tap and vhost, versions 3 and 4 (2025-12, not merged)",
        "DEV-1",
        || qemu().defect("set-up-while-running"),
    ),
    known(
        "Z33",
        "FAILED is published before the cleanup has finished",
        "The state FAILED is visible before the cleanup has finished; management changes \
         capabilities in between, and an assertion kills the old QEMU",
        "d1ab9655fd (2026-02, posted)",
        "VM-3",
        || qemu().defect("failure-told-early"),
    ),
];
