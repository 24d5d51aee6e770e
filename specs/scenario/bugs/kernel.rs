//! K: bugs of Linux that affect a handoff, and the releases that have them.

use super::KnownBug;
use super::Reproduction::LockModel;
use super::scenarios::{NO_FAULTS, by_fact, known, nic, type1, type1_exec};
use crate::scenario::builder::DeviceEntry;

/// The bugs, in the order of their numbers.
pub(super) const KERNEL: &[KnownBug] = &[
    known(
        "K1",
        "Exec leaves the locked_vm charge behind",
        "After exec, or fork and exec, VFIO_DMA_MAP_FLAG_VADDR changes the owner of a mapping but \
         does not move its charge: locked_vm of the new mm is 0",
        "Linux 5.12 to 6.2, fixed by 90fdd158a695",
        "CHG-1",
        || type1_exec().kernel("6.2"),
    ),
    by_fact(
        "K2",
        "locked_vm underflows at unmap after exec",
        "Unmap subtracts from task->mm, which after exec is not the mm that was charged, and \
         locked_vm underflows",
        "Linux 5.12 to 6.2, fixed by 046eca5018f8 (CVE-2023-53171)",
        "type1/exec-unmap",
        "6.2",
    ),
    known(
        "K3",
        "locked_vm is not tracked per mapping",
        "type1 does not record locked_vm per vfio_dma, so a new owner's share cannot be computed \
         or moved",
        "Linux 5.12 to 6.2, fixed by 18e292705ba2",
        "CHG-1",
        || type1().kernel("6.2").fault_budget(NO_FAULTS),
    ),
    known(
        "K4",
        "Late refusal of VFIO_UPDATE_VADDR with a mediated device",
        "While vaddrs are invalid, a mediated device in the container would block kernel threads; \
         since 6.3 the kernel refuses VFIO_UPDATE_VADDR for such a container, but a VMM that does \
         not check in advance learns so only after the guest has stopped",
        "Linux ef3a3f6a294b: since 6.3 the kernel refuses it, after the stop",
        "PRE-1",
        || {
            type1()
                .defect("mdev-unjudged")
                .refused()
                .devices([nic(0), DeviceEntry::mdev("mdev0", false).interrupts(0)])
        },
    ),
    by_fact(
        "K5",
        "Kernel waits forever for a new vaddr",
        "A caller that needs a vaddr waits in the kernel until user space supplies one, possibly \
         forever",
        "Linux 5.12 to 6.2, reverted by da4f1c2e1c9c, a5ac1f816563 and e592296cd6e1",
        "type1/nobody-waits",
        "6.2",
    ),
    KnownBug {
        id: "K6",
        title: "CHANGE_PROCESS dereferences an area without pages",
        sentence: "iommufd_ioas_change_process races with iopt_map_file_pages: it walks an area \
                   whose pages pointer is still NULL",
        source: "Linux d616de490ec0 (2026-08)",
        reproduction: LockModel("without_d616de490ec0_a_map_under_way_is_looked_through"),
    },
    by_fact(
        "K7",
        "Failed MAP_FILE leaks a reference to the IOAS",
        "If fget fails with EBADF, iommufd_ioas_map_file returns without putting the IOAS, which \
         then cannot be destroyed any more",
        "Linux 6.13 to 6.18, gone with 71db84a092c3",
        "ioas/destroy-refused",
        "6.13",
    ),
    KnownBug {
        id: "K8",
        title: "UNMAP fails with EBUSY on a concurrent mapping",
        sentence: "After dropping its lock, UNMAP restarts at the beginning of its range, finds an \
                   area that another thread maps meanwhile, and fails with EBUSY",
        source: "Linux, iommufd: Fix a race with concurrent allocation and unmap (2026)",
        reproduction: LockModel("an_unmap_that_begins_anew_stumbles_over_what_came_after_it"),
    },
    KnownBug {
        id: "K9",
        title: "Aborted object is freed before its file is released",
        sentence: "If the allocation of an object with a file is aborted, the object is freed \
                   before the asynchronous release of its file, which still uses it",
        source: "Linux 4e034bf045b1 (CVE-2025-39966)",
        reproduction: LockModel(
            "without_4e034bf045b1_a_file_that_is_released_later_finds_its_object_freed",
        ),
    },
    by_fact(
        "K10",
        "Compat UNMAP of an empty range fails with ENOENT",
        "An iommufd that serves as a container fails VFIO_IOMMU_UNMAP_DMA of an empty range with \
         ENOENT; type1 succeeds",
        "Linux before 6.18 (and its stable branches): iommufd_vfio_unmap_dma, fixed by \
         afb47765f923",
        "compat/unmap",
        "6.13",
    ),
];
