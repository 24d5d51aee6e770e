//! L: bugs that were suspected when the code of QEMU and Linux was read.

use super::KnownBug;
use super::scenarios::{
    UNDISTURBED, apart, known, nic, qemu, qemu_exec, ram, refuted, type1_exec, unsaid,
};

/// In the order of their numbers.
pub(super) const SUSPECTED: &[KnownBug] = &[
    known(
        "L0",
        "the probe is the real call: the ownership moves while the guest runs in the old process",
        "QEMU 10.1, 10.2: iommufd_change_process_capable",
        "OWN-2",
        qemu,
    ),
    known(
        "L1",
        "a new process that fails detaches the devices and destroys the address spaces of the old \
         one",
        "QEMU 10.1, 10.2: iommufd_cdev_attach, vfio_pci_finalize",
        "DEV-1",
        qemu,
    ),
    known(
        "L2",
        "a handoff that fails before its beginning was told kills the old process",
        "QEMU 10.1, 10.2: vfio_cpr_pci_notifier, migration_call_notifiers",
        "VM-3",
        || qemu().kvm(),
    ),
    known(
        "L3",
        "an execve that fails after KVM was closed kills the VM",
        "QEMU 10.2: cpr_exec_cb",
        "VM-3",
        || qemu_exec().kvm().corruption("no-program"),
    ),
    known(
        "L4",
        "where the memfd of the state cannot be made, an assertion fails",
        "QEMU HEAD: cpr_exec_unpersist_state",
        "VM-3",
        || qemu_exec().defect("dies-of-no-memfd"),
    ),
    known(
        "L5",
        "by exec private RAM is accepted and lost",
        "QEMU 10.2: ram_block_add_cpr_blocker, migrate_ram_is_ignored",
        "PRE-1",
        || qemu_exec().refused().ram([ram(0).anonymous()]),
    ),
    known(
        "L6",
        "what the guest arms after the state was cut is unknown to the new process",
        "QEMU 10.1, 10.2: cpr_state_save while the guest runs",
        "IRQ-1",
        || qemu().kvm().devices([nic(0), nic(1).armed_later()]),
    ),
    known(
        "L7",
        "a vector that is armed between the notifiers and the stop is taken by the old KVM",
        "QEMU 10.1, 10.2: migration_stop_vm",
        "IRQ-1",
        || qemu().defect("armed-while-stopping").kvm(),
    ),
    known("L8", "as Z10b", "arm_gicv3_kvm", "IRQ-1", || {
        qemu_exec().defect("saved-before-parked-by-exec").kvm()
    }),
    known("L9", "two containers are taken for one", "QEMU 10.1, 10.2: same_device", "FD-1", || {
        apart(type1_exec()).defect("containers-merged").fault_budget(UNDISTURBED)
    }),
    known(
        "L10",
        "an iommufd of another name is a new one, silently",
        "QEMU 10.2: cpr_open_fd",
        "OWN-1",
        || qemu().defect("another-iommufd"),
    ),
    known(
        "L11",
        "the old process is not fenced off when it is done",
        "QEMU 10.1, 10.2: cont, system_reset, device_del after completion",
        "FD-1",
        qemu,
    ),
    known(
        "L12",
        "nobody acknowledges the commit: the old process lets go before the new one has taken over",
        "QEMU 10.1, 10.2 without return-path",
        "VM-3",
        qemu,
    ),
    known("L13", "the way back never takes the ownership back", "QEMU 10.1, 10.2", "BACK-1", qemu),
    known(
        "L14",
        "a BAR that is mapped for peer-to-peer DMA makes every handoff fail, after the stop",
        "QEMU 11.0 on Linux 6.19 and later: iommufd_backend_map_file_dma of a dma-buf",
        "PRE-1",
        || qemu().defect("bars-mapped").refused().devices([nic(0).bar_iova(0x20_0000), nic(1)]),
    ),
    refuted(
        "L15",
        "where a container cannot be loaded its way of mapping stays overridden",
        "QEMU 10.1, 10.2: vfio_container_post_load",
        "the new process ends there, and maps nothing any more",
    ),
    known(
        "L16",
        "the new process believes that the kernel has what its command line says",
        "QEMU 10.2: map and unmap are held back, and nothing is verified",
        "TRUE-1",
        || qemu().corruption("mapping-elsewhere"),
    ),
    known(
        "L17",
        "a mapping by address is made again by the new process",
        "QEMU 10.2: iommufd_backend_map_dma while incoming",
        "DEV-1",
        || qemu().defect("mapped-afresh"),
    ),
    known(
        "L18",
        "a vector that KVM has no route for makes every handoff fail",
        "QEMU 10.2: vfio_cpr_set_msi_virq",
        "DONE-1",
        || qemu().defect("no-route"),
    ),
    known(
        "L19",
        "descriptors can be inherited from the cut to the execve",
        "QEMU 10.2: cpr_exec_persist_state",
        "FD-2",
        || qemu_exec().defect("window-open-early"),
    ),
    refuted(
        "L20",
        "the guest runs before the new process has left its incoming mode",
        "QEMU 10.2: process_incoming_migration_bh",
        "a process is one thread here; in QEMU one lock keeps the two apart, and where it is let \
         go no call is made",
    ),
    unsaid(
        "L21",
        "a device file keeps the KVM of the process that opened it first",
        "Linux: vfio_device_get_kvm_safe",
        "what a mediated device does with its KVM is in no view; the protocol refuses such a \
         device",
    ),
    known(
        "L22",
        "whether mappings can change their process is learned after the stop",
        "QEMU 10.1, 10.2: pre_save of iommufd",
        "PRE-1",
        || qemu().refused().ram([ram(0).by_address()]),
    ),
];
