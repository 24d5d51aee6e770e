//! L: bugs that were suspected from reading the code of QEMU and Linux.

use super::KnownBug;
use super::scenarios::{
    NO_FAULTS, known, nic, not_a_bug, out_of_scope, qemu, qemu_exec, ram, two_spaces, type1_exec,
};

/// The bugs, in the order of their numbers.
pub(super) const SUSPECTED: &[KnownBug] = &[
    known(
        "L0",
        "New QEMU takes page ownership before the source commits",
        "The probe iommufd_change_process_capable is a real IOMMU_IOAS_CHANGE_PROCESS: the new \
         QEMU takes ownership of every page when it realizes its devices, while the guest runs in \
         the old one",
        "QEMU 10.1, 10.2: iommufd_change_process_capable",
        "OWN-2",
        qemu,
    ),
    known(
        "L1",
        "Failed realize in the new QEMU detaches live devices",
        "If the new QEMU fails to realize a device, its error path detaches the devices and \
         destroys the HWPTs and IOASes that the old QEMU still uses",
        "QEMU 10.1, 10.2: iommufd_cdev_attach, vfio_pci_finalize",
        "DEV-1",
        qemu,
    ),
    known(
        "L2",
        "FAILED without SETUP aborts the old QEMU",
        "If the update fails before the SETUP notifiers ran, the FAILED notifier assigns irqfds \
         that were never deassigned, KVM_IRQFD fails with EBUSY, and an assertion kills the old \
         QEMU",
        "QEMU 10.1, 10.2: vfio_cpr_pci_notifier, migration_call_notifiers",
        "VM-3",
        || qemu().kvm(),
    ),
    known(
        "L3",
        "Failed execvp after kvm_close kills the VM",
        "cpr-exec closes KVM before execvp; if execvp fails, the FAILED notifier uses kvm_state, \
         which is NULL, and QEMU dies of SIGSEGV",
        "QEMU 10.2: cpr_exec_cb",
        "VM-3",
        || qemu_exec().kvm().corruption("no-program"),
    ),
    known(
        "L4",
        "Failed memfd_create aborts cpr-exec",
        "If memfd_create fails, cpr_exec_unpersist_state asserts an environment variable that was \
         never set",
        "QEMU HEAD: cpr_exec_unpersist_state",
        "VM-3",
        || qemu_exec().defect("dies-of-no-memfd"),
    ),
    known(
        "L5",
        "cpr-exec accepts private RAM and loses it",
        "The blockers of private RAM are registered for cpr-transfer only, but cpr-exec skips RAM \
         as well: it accepts private guest RAM and loses it",
        "QEMU 10.2: ram_block_add_cpr_blocker, migrate_ram_is_ignored",
        "PRE-1",
        || qemu_exec().refused().ram([ram(0).anonymous()]),
    ),
    known(
        "L6",
        "Vectors enabled after cpr_state_save are lost",
        "cpr_state_save runs while the guest runs; the new QEMU does not know the eventfds of \
         vectors that the guest enables afterwards, and their interrupts are lost",
        "QEMU 10.1, 10.2: cpr_state_save while the guest runs",
        "IRQ-1",
        || qemu().kvm().devices([nic(0), nic(1).armed_later()]),
    ),
    known(
        "L7",
        "Vector enabled between SETUP and the stop is lost",
        "migration_stop_vm drops the BQL after the SETUP notifiers have deassigned the irqfds; a \
         vCPU enables a vector in between, and the old KVM consumes its interrupts",
        "QEMU 10.1, 10.2: migration_stop_vm",
        "IRQ-1",
        || qemu().defect("armed-while-stopping").kvm(),
    ),
    known(
        "L8",
        "cpr-exec does not flush the vGIC (same as Z10b)",
        "cpr-exec on ARM does not flush the pending interrupts of the vGIC, for whose notifier \
         only cpr-transfer is registered",
        "arm_gicv3_kvm",
        "IRQ-1",
        || qemu_exec().defect("saved-before-parked-by-exec").kvm(),
    ),
    known(
        "L9",
        "Two containers are merged into one",
        "same_device compares only st_dev, which is that of devtmpfs for every /dev/vfio/vfio, so \
         two containers of one address space are merged into one",
        "QEMU 10.1, 10.2: same_device",
        "FD-1",
        || two_spaces(type1_exec()).defect("containers-merged").fault_budget(NO_FAULTS),
    ),
    known(
        "L10",
        "Unknown iommufd id silently opens a new iommufd",
        "If the command line of the new QEMU names another iommufd id, cpr_open_fd does not find \
         the descriptor, opens /dev/iommu again, and reports no error",
        "QEMU 10.2: cpr_open_fd",
        "OWN-1",
        || qemu().defect("another-iommufd"),
    ),
    known(
        "L11",
        "Old QEMU is not fenced off after completion",
        "After completion the old QEMU keeps every descriptor, and cont, system_reset and \
         device_del there act on the devices of the new one",
        "QEMU 10.1, 10.2: cont, system_reset, device_del after completion",
        "FD-1",
        qemu,
    ),
    known(
        "L12",
        "Commit is not acknowledged without return-path",
        "Without return-path the new QEMU does not acknowledge: the old one completes and closes \
         KVM before the new one has taken ownership, and a later failure loses the VM",
        "QEMU 10.1, 10.2 without return-path",
        "VM-3",
        qemu,
    ),
    known(
        "L13",
        "Rollback does not reclaim page ownership",
        "No rollback path issues IOMMU_IOAS_CHANGE_PROCESS: after a failed update the pages belong \
         to a process that has exited",
        "QEMU 10.1, 10.2",
        "BACK-1",
        qemu,
    ),
    known(
        "L14",
        "BAR mapped as dma-buf makes every handoff fail",
        "CHANGE_PROCESS refuses a BAR that is mapped as dma-buf for peer-to-peer DMA, so every \
         handoff fails in pre_save, after the guest has stopped",
        "QEMU 11.0 on Linux 6.19 and later: iommufd_backend_map_file_dma of a dma-buf",
        "PRE-1",
        || qemu().defect("bars-mapped").refused().devices([nic(0).bar_iova(0x20_0000), nic(1)]),
    ),
    not_a_bug(
        "L15",
        "Failed post_load leaves dma_map overridden",
        "The error path of vfio_container_post_load leaves the class-wide dma_map handler \
         overridden",
        "QEMU 10.1, 10.2: vfio_container_post_load",
        "the new process exits there and maps nothing afterwards",
    ),
    known(
        "L16",
        "New QEMU does not verify the kernel's mappings",
        "The new QEMU suppresses map and unmap while incoming, and trusts that the kernel's \
         mappings are those of its command line; it never verifies them",
        "QEMU 10.2: map and unmap are held back, and nothing is verified",
        "TRUE-1",
        || qemu().corruption("mapping-elsewhere"),
    ),
    known(
        "L17",
        "New QEMU repeats mappings by address",
        "iommufd_backend_map_dma (IOMMU_IOAS_MAP) is not suppressed while incoming: the map fails, \
         realize fails, and the unwinding hits the old QEMU's devices (L1)",
        "QEMU 10.2: iommufd_backend_map_dma while incoming",
        "DEV-1",
        || qemu().defect("mapped-afresh"),
    ),
    known(
        "L18",
        "Vector without a KVM route makes every handoff fail",
        "A vector in use that has no KVM route (virq -1) makes the SETUP notifier fail, and so \
         every handoff",
        "QEMU 10.2: vfio_cpr_set_msi_virq",
        "DONE-1",
        || qemu().defect("no-route"),
    ),
    known(
        "L19",
        "Descriptors are inheritable from the save to the exec",
        "From cpr_exec_persist_state to execvp, every program that QEMU starts inherits the \
         environment variable and the memfd with the CPR state",
        "QEMU 10.2: cpr_exec_persist_state",
        "FD-2",
        || qemu_exec().defect("window-open-early"),
    ),
    not_a_bug(
        "L20",
        "Guest runs before incoming mode is cleared",
        "vm_start runs before the new QEMU clears its incoming mode",
        "QEMU 10.2: process_incoming_migration_bh",
        "a process is one thread here; in QEMU the BQL keeps the two apart, and no call is made \
         where it is dropped",
    ),
    out_of_scope(
        "L21",
        "Device file keeps the KVM of its first opener",
        "A device file holds a reference to the KVM of the process that opened it first, until the \
         file is closed",
        "Linux: vfio_device_get_kvm_safe",
        "no view shows what a mediated device does with its KVM; the protocol refuses a device \
         that needs one",
    ),
    known(
        "L22",
        "Mapping types are checked only after the stop",
        "QEMU learns only in pre_save, after the guest has stopped, whether every mapping can \
         change its process",
        "QEMU 10.1, 10.2: pre_save of iommufd",
        "PRE-1",
        || qemu().refused().ram([ram(0).by_address()]),
    ),
];
