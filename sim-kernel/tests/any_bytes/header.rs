//! Rules for the header that all commands of iommufd share. They hold for any body:
//! * a header that is not mapped fails with `EFAULT`, a size below the first version's with
//!   `EINVAL`, before any other check;
//! * bytes beyond the structure that the kernel knows are accepted if they are zero, and fail with
//!   `E2BIG` if not;
//! * fields that a shorter version lacks are zero;
//! * the request is the number and the type together, and an unknown command fails with `ENOTTY`.

use super::calls::word;
use super::{IOMMUFD, busy, ioctl, outcome, structure};
use handoff_model::abi::argument::{Argument, IoctlOutcome};
use handoff_model::abi::errno::Errno;
use handoff_model::abi::request as nr;
use handoff_sim_kernel::Machine;
use iommufd_bindings as io;
use proptest::prelude::*;
use std::collections::BTreeSet;
use std::mem::size_of;

/// The commands of iommufd in 7.3: request, current size of the structure in bytes, first size.
const COMMANDS: &[(u32, usize, usize)] = &[
    (nr::IOMMU_DESTROY, size_of::<io::iommu_destroy>(), 8),
    (nr::IOMMU_FAULT_QUEUE_ALLOC, size_of::<io::iommu_fault_alloc>(), 16),
    (nr::IOMMU_GET_HW_INFO, size_of::<io::iommu_hw_info>(), 32),
    (nr::IOMMU_HWPT_ALLOC, size_of::<io::iommu_hwpt_alloc>(), 24),
    (nr::IOMMU_HWPT_GET_DIRTY_BITMAP, size_of::<io::iommu_hwpt_get_dirty_bitmap>(), 48),
    (nr::IOMMU_HWPT_INVALIDATE, size_of::<io::iommu_hwpt_invalidate>(), 32),
    (nr::IOMMU_HWPT_SET_DIRTY_TRACKING, size_of::<io::iommu_hwpt_set_dirty_tracking>(), 16),
    (nr::IOMMU_IOAS_ALLOC, size_of::<io::iommu_ioas_alloc>(), 12),
    (nr::IOMMU_IOAS_ALLOW_IOVAS, size_of::<io::iommu_ioas_allow_iovas>(), 24),
    (nr::IOMMU_IOAS_CHANGE_PROCESS, size_of::<io::iommu_ioas_change_process>(), 8),
    (nr::IOMMU_IOAS_COPY, size_of::<io::iommu_ioas_copy>(), 40),
    (nr::IOMMU_IOAS_IOVA_RANGES, size_of::<io::iommu_ioas_iova_ranges>(), 32),
    (nr::IOMMU_IOAS_MAP, size_of::<io::iommu_ioas_map>(), 40),
    (nr::IOMMU_IOAS_MAP_FILE, size_of::<io::iommu_ioas_map_file>(), 40),
    (nr::IOMMU_IOAS_UNMAP, size_of::<io::iommu_ioas_unmap>(), 24),
    (nr::IOMMU_OPTION, size_of::<io::iommu_option>(), 24),
    (nr::IOMMU_VFIO_IOAS, size_of::<io::iommu_vfio_ioas>(), 12),
    (nr::IOMMU_VDEVICE_ALLOC, size_of::<io::iommu_vdevice_alloc>(), 24),
    (nr::IOMMU_VEVENTQ_ALLOC, size_of::<io::iommu_veventq_alloc>(), 28),
    (nr::IOMMU_VIOMMU_ALLOC, size_of::<io::iommu_viommu_alloc>(), 24),
    (nr::IOMMU_HW_QUEUE_ALLOC, size_of::<io::iommu_hw_queue_alloc>(), 40),
    (nr::IOMMU_NOIOMMU_GET_PA, 40, 40),
    (nr::IOMMU_TEST_CMD, 72, 68),
];

/// Returns a structure of `length` bytes whose header says that it has `says` bytes.
fn headed(body: &[u8], says: usize, length: usize) -> Argument {
    let mut bytes = u32::try_from(says).expect("a small size").to_ne_bytes().to_vec();
    bytes.extend(body);
    bytes.resize(length, 0);
    structure(bytes)
}

/// Makes one call on a copy of the machine. Returns its outcome and the machine after it.
fn after(machine: &Machine, request: u32, argument: Argument) -> (IoctlOutcome, Machine) {
    let mut machine = machine.clone();
    let outcome = outcome(&mut machine, &ioctl(IOMMUFD, request, argument));
    (outcome, machine)
}

fn body() -> impl Strategy<Value = Vec<u8>> {
    let words = prop::collection::vec(word(), 24);
    words.prop_map(|words| words.iter().flat_map(|word| word.to_ne_bytes()).collect())
}

fn command() -> impl Strategy<Value = (u32, usize, usize)> {
    prop::sample::select(COMMANDS)
}

#[test]
fn the_table_names_every_command() {
    let named: BTreeSet<u32> = COMMANDS.iter().map(|(request, ..)| *request).collect();
    let all = nr::ALL.iter().filter(|(_, name)| name.starts_with("IOMMU_"));
    assert_eq!(named, all.map(|(request, _)| *request).collect());
}

#[test]
fn an_unknown_command_fails_with_enotty() {
    let machine = busy("7.3");
    let whole = || headed(&[], 72, 72);
    let rows = COMMANDS.iter().flat_map(|(request, ..)| {
        [request | 1 << 30, request | 1 << 31, request | 4 << 16, request ^ 1 << 8]
    });
    for request in rows.filter(|request| nr::name(*request).is_none()) {
        let (outcome, end) = after(&machine, request, whole());
        assert_eq!(outcome.errno(), Some(Errno::ENOTTY), "{request:#x}");
        assert_eq!(end, machine);
    }
}

proptest! {
    #![proptest_config(ProptestConfig {
        failure_persistence: None,
        ..ProptestConfig::default()
    })]

    #[test]
    fn a_short_header_fails_before_other_checks((request, _, min) in command(), body in body(),
                                                says in 0usize..68, there in 0usize..4) {
        let machine = busy("7.3");
        let (nowhere, end) = after(&machine, request, headed(&body, min, there));
        prop_assert_eq!(nowhere.errno(), Some(Errno::EFAULT));
        prop_assert_eq!(&end, &machine);
        let says = says % min;
        let (short, end) = after(&machine, request, headed(&body, says, 72));
        prop_assert_eq!(short.errno(), Some(Errno::EINVAL));
        prop_assert_eq!(&end, &machine);
    }

    #[test]
    fn memory_that_ends_early_is_a_fault((request, size, min) in command(), body in body(),
                                         missing in 1usize..60) {
        let machine = busy("7.3");
        let there = size - 1 - missing % (size - 4);
        let (outcome, end) = after(&machine, request, headed(&body, size.max(min), there));
        prop_assert_eq!(outcome.errno(), Some(Errno::EFAULT));
        prop_assert_eq!(&end, &machine);
    }

    #[test]
    fn unknown_trailing_bytes_must_be_zero((request, size, _) in command(),
                                           body in body(), more in 1usize..24,
                                           at in 0usize..24, byte in 1u8..) {
        let machine = busy("7.3");
        let body = &body[..size - 4];
        let known = after(&machine, request, headed(body, size, size));
        let mut longer = after(&machine, request, headed(body, size + more, size + more));
        // A command that writes its size back writes the caller's size.
        longer.0.bytes[..4].copy_from_slice(&known.0.bytes[..4]);
        longer.0.bytes.truncate(size);
        prop_assert_eq!(&longer, &known);
        let mut dirty = body.to_vec();
        dirty.resize(size - 4 + more, 0);
        dirty[size - 4 + at % more] = byte;
        let (outcome, end) = after(&machine, request, headed(&dirty, size + more, size + more));
        prop_assert_eq!(outcome.errno(), Some(Errno::E2BIG));
        prop_assert_eq!(&end, &machine);
    }

    #[test]
    fn fields_of_later_versions_are_zero((request, size, min) in command(), body in body(),
                                         cut in 0usize..16) {
        let machine = busy("7.3");
        let says = size - cut % (size - min + 1);
        let body = &body[..says - 4];
        let mut whole = after(&machine, request, headed(body, size, size));
        let mut shorter = after(&machine, request, headed(body, says, says));
        for outcome in [&mut whole.0, &mut shorter.0] {
            outcome.bytes.truncate(says);
            outcome.bytes.drain(..4);
        }
        prop_assert_eq!(&shorter, &whole);
    }
}
