//! K: bugs of Linux that a handoff meets, and the kernels that have them.

use super::KnownBug;
use super::Reproduction::LockModel;
use super::scenarios::{UNDISTURBED, by_row, known, nic, type1, type1_exec};
use crate::scenario::builder::DeviceEntry;

/// In the order of their numbers.
pub(super) const KERNEL: &[KnownBug] = &[
    known(
        "K1",
        "a mapping that changes its owner leaves its charge behind",
        "Linux 5.12 to 6.2, fixed by 90fdd158a695",
        "CHG-1",
        || type1_exec().kernel("6.2"),
    ),
    by_row(
        "K2",
        "after an exec an unmap gives back what the new memory map was never charged",
        "Linux 5.12 to 6.2, fixed by 046eca5018f8 (CVE-2023-53171)",
        "type1/exec-unmap",
        "6.2",
    ),
    known(
        "K3",
        "nobody knows what a mapping was charged",
        "Linux 5.12 to 6.2, fixed by 18e292705ba2",
        "CHG-1",
        || type1().kernel("6.2").fault_budget(UNDISTURBED),
    ),
    known(
        "K4",
        "a mediated device may look at memory that has no address, and is not refused",
        "Linux ef3a3f6a294b: since 6.3 the kernel refuses it, after the stop",
        "PRE-1",
        || {
            type1()
                .defect("mdev-unjudged")
                .refused()
                .devices([nic(0), DeviceEntry::mdev("mdev0", false).interrupts(0)])
        },
    ),
    by_row(
        "K5",
        "the kernel waits for an address that nobody gives",
        "Linux 5.12 to 6.2, reverted by da4f1c2e1c9c, a5ac1f816563 and e592296cd6e1",
        "type1/nobody-waits",
        "6.2",
    ),
    KnownBug {
        id: "K6",
        sentence: "CHANGE_PROCESS looks through an area whose pages are not there yet",
        source: "Linux d616de490ec0 (2026-08)",
        reproduction: LockModel("without_d616de490ec0_a_map_under_way_is_looked_through"),
    },
    by_row(
        "K7",
        "a MAP_FILE of a descriptor that is not open keeps its address space from being destroyed",
        "Linux 6.13 to 6.18, gone with 71db84a092c3",
        "ioas/destroy-refused",
        "6.13",
    ),
    KnownBug {
        id: "K8",
        sentence: "an UNMAP stumbles over what is mapped while it is under way, and says EBUSY",
        source: "Linux, iommufd: Fix a race with concurrent allocation and unmap (2026)",
        reproduction: LockModel("an_unmap_that_begins_anew_stumbles_over_what_came_after_it"),
    },
    KnownBug {
        id: "K9",
        sentence: "an object that is given up while it is made is freed before the release of its \
                   file uses it",
        source: "Linux 4e034bf045b1 (CVE-2025-39966)",
        reproduction: LockModel(
            "without_4e034bf045b1_a_file_that_is_released_later_finds_its_object_freed",
        ),
    },
    by_row(
        "K10",
        "an iommufd in a container's place says ENOENT where nothing is unmapped",
        "Linux before 6.18 (and its stable branches): iommufd_vfio_unmap_dma, fixed by \
         afb47765f923",
        "compat/unmap",
        "6.13",
    ),
];
