//! The rows of the zoo.

use super::Found::{Checked, Interleaved, Unsaid};
use super::{Known, World};
use handoff_model::protocol::Mode;

const RAM: &str = "[[ram]]\nname = \"ram0\"\npages = 1\niova = 0x100000\n";
const NIC: &str = "[[device]]\nname = \"nic0\"\n";
const SECOND: &str = "[[device]]\nname = \"nic1\"\n";
const APART: &str = "[[space]]\nname = \"left\"\n[[space]]\nname = \"right\"\n\
                     [[device]]\nname = \"nic0\"\nspace = \"left\"\n[[device]]\nname = \"nic1\"\nspace = \"right\"\n";
const BY_ADDRESS: &str = "map = \"address\"\n";
const ANONYMOUS: &str = "backing = \"anonymous\"\n";
const MDEV: &str = "[[device]]\nname = \"mdev0\"\nkind = \"mdev\"\nneeds_kvm = true\n";
const KVM: &str = "kvm = true";

/// QEMU by transfer, and one device.
const QEMU: World = World {
    mode: Mode::Transfer,
    variant: "qemu-10.2",
    defects: &[],
    head: "",
    tables: &[RAM, NIC],
};

/// The same by exec.
const EXEC: World = World { mode: Mode::Exec, ..QEMU };

const fn known(
    id: &'static str,
    sentence: &'static str,
    source: &'static str,
    property: &'static str,
    world: World,
) -> Known {
    Known { id, sentence, source, found: Checked(property, world) }
}

const fn unsaid(
    id: &'static str,
    sentence: &'static str,
    source: &'static str,
    why: &'static str,
) -> Known {
    Known { id, sentence, source, found: Unsaid(why) }
}

/// A bug that is planted.
const fn plant(world: World, defects: &'static [&'static str]) -> World {
    World { defects, ..world }
}

const fn head(world: World, head: &'static str) -> World {
    World { head, ..world }
}

const fn with(world: World, tables: &'static [&'static str]) -> World {
    World { tables, ..world }
}

/// All of them.
pub const ZOO: &[Known] = &[
    known(
        "Z01",
        "with a second device in a container the old process dies when its parts are told",
        "QEMU f3028b7d2d (2025-04)",
        "VM-3",
        with(plant(QEMU, &["dies-notifying"]), &[RAM, NIC, SECOND]),
    ),
    known(
        "Z02",
        "a precondition that two parts refuse is an assertion",
        "QEMU 694b5a913d (2025-03)",
        "VM-3",
        with(head(plant(QEMU, &["dies-refusing"]), "refused = true"), &[RAM, ANONYMOUS, NIC]),
    ),
    known(
        "Z03",
        "the new process writes the first content of ROM and video memory into the guest's",
        "QEMU b42f28111e, e56ba1878f, 8ffe0623a1 (2025-03)",
        "DMA-1",
        plant(QEMU, &["ram-initialised-at-realize"]),
    ),
    known(
        "Z07",
        "a mediated device that cannot follow ends the running VM",
        "QEMU c72d6ebaad (2025-06)",
        "VM-3",
        with(head(plant(QEMU, &["dies-refusing"]), "refused = true"), &[RAM, MDEV]),
    ),
    known(
        "Z08",
        "what was mapped because the guest once wrote a register is not mapped again",
        "QEMU 9751377c3a (2025-07)",
        "DMA-1",
        plant(QEMU, &["not-mapped-again"]),
    ),
    known(
        "Z09",
        "an interrupt between the old KVM and the new one is lost",
        "QEMU 322ee16824 (2025-07)",
        "IRQ-1",
        head(plant(QEMU, &["not-parked"]), KVM),
    ),
    known(
        "Z10",
        "interrupts that wait in the old KVM are not saved",
        "QEMU 376cdd7e9c (2025-08)",
        "IRQ-1",
        head(plant(QEMU, &["saved-before-parked"]), KVM),
    ),
    known(
        "Z10b",
        "the same by exec, for whose notifier nobody is registered",
        "arm_gicv3_kvm: cpr-exec support (2025-10-06, not merged)",
        "IRQ-1",
        head(plant(EXEC, &["saved-before-parked-by-exec"]), KVM),
    ),
    known(
        "Z11",
        "the old KVM keeps the eventfds, and the new one gets EBUSY",
        "QEMU 7ed0919119 (2025-07)",
        "VM-3",
        head(plant(QEMU, &["kvm-kept"]), KVM),
    ),
    unsaid(
        "Z12",
        "a ring of coalesced writes is left at an address that is gone",
        "QEMU 725ec89803 (2025-09)",
        "KVM's rings are in no world: they carry what the guest writes, and no device of this kind",
    ),
    known(
        "Z13",
        "asked about its guest after the handoff the old process dies",
        "QEMU series of 2025-09-28, patch 6",
        "VM-3",
        head(plant(QEMU, &["dies-when-asked"]), KVM),
    ),
    known(
        "Z17",
        "only the first device of a container works in the new process",
        "QEMU d59db04aed (2025-09)",
        "DONE-1",
        with(plant(QEMU, &["space-of-first"]), &[RAM, NIC, SECOND]),
    ),
    known(
        "Z18",
        "the new process dies of the second device of a container",
        "QEMU 8bf49fff0d (2025-09)",
        "DONE-1",
        with(plant(QEMU, &["dies-realizing"]), &[RAM, NIC, SECOND]),
    ),
    known(
        "Z19",
        "an execve that fails is told with arguments that are freed",
        "QEMU 89471ef237 (2025-10)",
        "VM-3",
        plant(EXEC, &["dies-of-exec"]),
    ),
    known(
        "Z20",
        "the new program does not find the state",
        "QEMU 6a65fdee8a (2025-10)",
        "VM-3",
        plant(EXEC, &["state-not-there"]),
    ),
    known(
        "Z21",
        "an exec without a command is the end of the VM",
        "QEMU ded3cf4aaf (2025-10)",
        "VM-3",
        head(plant(EXEC, &["dies-of-exec"]), "wrong = \"no-program\""),
    ),
    unsaid(
        "Z22",
        "the command to execute is never freed",
        "QEMU 881536e2a5 (2025-12)",
        "it is memory of the process alone, which no kernel and no guest sees",
    ),
    known(
        "Z23",
        "after a device was unplugged the old process dies when its parts are told",
        "QEMU 911bdd34ca (2025-11)",
        "VM-3",
        plant(QEMU, &["dies-notifying"]),
    ),
    known(
        "Z24",
        "on a kernel without IOMMU_IOAS_CHANGE_PROCESS exec is not refused",
        "QEMU 3ca0a0ab05 in 10.2.0, fixed by 0e387bd1df (2026-01)",
        "PRE-1",
        World {
            head: "refused = true\nkernel = \"6.12\"\nram = []",
            tables: &[NIC],
            ..plant(EXEC, &["kernel-unjudged"])
        },
    ),
    unsaid(
        "Z26",
        "the old process connects before the new one listens",
        "QEMU 430671f526, 8f87c87eca (2025-06)",
        "both ends of the channel are there from the beginning, as after that fix",
    ),
    known(
        "Z27",
        "a state that could not be cut cannot be cleaned up",
        "QEMU 7e71439243 (2026-01)",
        "VM-3",
        plant(QEMU, &["dies-of-cut"]),
    ),
    known(
        "Z28",
        "after a failure the guest runs before its interrupts are back",
        "6f5bc070fd (2026-01-26, not merged)",
        "IRQ-2",
        head(QEMU, KVM),
    ),
    unsaid(
        "Z29",
        "a socket's name that is left over keeps the next start from listening",
        "QEMU bfa07595eb (2025-09)",
        "channels have no names in a file system here",
    ),
    known(
        "Z30",
        "the new process attaches every device to the first address space of its iommufd",
        "review of versions 3 and 4 of the series",
        "DEV-1",
        with(plant(QEMU, &["attached-to-first"]), &[RAM, APART]),
    ),
    known(
        "Z31",
        "a descriptor whose number is 0 counts as absent",
        "review of versions 1 to 3 of the series",
        "DONE-1",
        plant(QEMU, &["zero-is-none"]),
    ),
    known(
        "Z32",
        "the new process sets devices up while the guest runs in the old one",
        "tap and vhost, versions 3 and 4 (2025-12, not merged)",
        "DEV-1",
        plant(QEMU, &["set-up-while-running"]),
    ),
    unsaid(
        "Z33",
        "management acts on a failure that is told before it is cleaned up",
        "d1ab9655fd (2026-02, posted)",
        "nobody but the two processes and the environment acts in a world",
    ),
    Known {
        id: "K6",
        sentence: "CHANGE_PROCESS looks through an area whose pages are not there yet",
        source: "Linux d616de490ec0 (2026-08)",
        found: Interleaved("without_d616de490ec0_a_map_under_way_is_looked_through"),
    },
    unsaid(
        "K7",
        "a MAP_FILE of a descriptor that is not open keeps its address space from being destroyed",
        "Linux 6.13 to 6.18, gone with 71db84a092c3",
        "no handoff maps a descriptor that is not open, and no simulated kernel is of those versions",
    ),
    unsaid(
        "K9",
        "a file that is given up while it is made is freed twice",
        "Linux 4e034bf045b1 (CVE-2025-39966)",
        "a file is made and given in one step here, and in the interleavings of locks no file is",
    ),
    known(
        "L0",
        "the probe is the real call: the ownership moves while the guest runs in the old process",
        "QEMU 10.1, 10.2: iommufd_change_process_capable",
        "OWN-2",
        QEMU,
    ),
    known(
        "L1",
        "a new process that fails detaches the devices and destroys the address spaces of the old one",
        "QEMU 10.1, 10.2: iommufd_cdev_attach, vfio_pci_finalize",
        "DEV-1",
        QEMU,
    ),
    known(
        "L2",
        "a handoff that fails before its beginning was told kills the old process",
        "QEMU 10.1, 10.2: vfio_cpr_pci_notifier, migration_call_notifiers",
        "VM-3",
        head(QEMU, KVM),
    ),
    known(
        "L3",
        "an execve that fails after KVM was closed kills the VM",
        "QEMU 10.2: cpr_exec_cb",
        "VM-3",
        head(EXEC, "kvm = true\nwrong = \"no-program\""),
    ),
    known(
        "L4",
        "where the memfd of the state cannot be made, an assertion fails",
        "QEMU HEAD: cpr_exec_unpersist_state",
        "VM-3",
        plant(EXEC, &["dies-of-no-memfd"]),
    ),
    known(
        "L5",
        "by exec private RAM is accepted and lost",
        "QEMU 10.2: ram_block_add_cpr_blocker, migrate_ram_is_ignored",
        "PRE-1",
        with(head(EXEC, "refused = true"), &[RAM, ANONYMOUS, NIC]),
    ),
    known(
        "L6",
        "what the guest arms after the state was cut is unknown to the new process",
        "QEMU 10.1, 10.2: cpr_state_save while the guest runs",
        "IRQ-1",
        head(plant(QEMU, &["vector-armed-later"]), KVM),
    ),
    known(
        "L7",
        "a vector that is armed between the notifiers and the stop is taken by the old KVM",
        "QEMU 10.1, 10.2: migration_stop_vm",
        "IRQ-1",
        head(plant(QEMU, &["armed-while-stopping"]), KVM),
    ),
    known(
        "L8",
        "as Z10b",
        "arm_gicv3_kvm",
        "IRQ-1",
        head(plant(EXEC, &["saved-before-parked-by-exec"]), KVM),
    ),
    known(
        "L10",
        "an iommufd of another name is a new one, silently",
        "QEMU 10.2: cpr_open_fd",
        "OWN-1",
        plant(QEMU, &["another-iommufd"]),
    ),
    known(
        "L11",
        "the old process is not fenced off when it is done",
        "QEMU 10.1, 10.2: cont, system_reset, device_del after completion",
        "FD-1",
        QEMU,
    ),
    known(
        "L12",
        "nobody acknowledges the commit: the old process lets go before the new one has taken over",
        "QEMU 10.1, 10.2 without return-path",
        "VM-3",
        QEMU,
    ),
    known("L13", "the way back never takes the ownership back", "QEMU 10.1, 10.2", "BACK-1", QEMU),
    known(
        "L14",
        "a BAR that is mapped for peer-to-peer DMA makes every handoff fail, after the stop",
        "QEMU 11.0 on Linux 6.19 and later: iommufd_backend_map_file_dma of a dma-buf",
        "PRE-1",
        with(
            head(plant(QEMU, &["bars-mapped"]), "refused = true"),
            &[RAM, NIC, "bar_iova = 0x200000\n", SECOND],
        ),
    ),
    known(
        "L16",
        "the new process believes that the kernel has what its command line says",
        "QEMU 10.2: map and unmap are held back, and nothing is verified",
        "TRUE-1",
        head(QEMU, "wrong = \"mapping-elsewhere\""),
    ),
    known(
        "L17",
        "a mapping by address is made again by the new process",
        "QEMU 10.2: iommufd_backend_map_dma while incoming",
        "DEV-1",
        plant(QEMU, &["mapped-afresh"]),
    ),
    known(
        "L18",
        "a vector that KVM has no route for makes every handoff fail",
        "QEMU 10.2: vfio_cpr_set_msi_virq",
        "DONE-1",
        plant(QEMU, &["no-route"]),
    ),
    known(
        "L19",
        "descriptors can be inherited from the cut to the execve",
        "QEMU 10.2: cpr_exec_persist_state",
        "FD-2",
        plant(EXEC, &["window-open-early"]),
    ),
    unsaid(
        "L20",
        "the guest runs before the new process has left its incoming mode",
        "QEMU 10.2: process_incoming_migration_bh",
        "a process is one thread here; in QEMU one lock keeps the two apart, and where it is let go no call is made",
    ),
    unsaid(
        "L21",
        "a device file keeps the KVM of the process that opened it first",
        "Linux: vfio_device_get_kvm_safe",
        "what a mediated device does with its KVM is in no view; the protocol refuses such a device",
    ),
    known(
        "L22",
        "whether mappings can change their process is learned after the stop",
        "QEMU 10.1, 10.2: pre_save of iommufd",
        "PRE-1",
        with(head(QEMU, "refused = true"), &[RAM, BY_ADDRESS, NIC]),
    ),
];
