//! The pointers in argument structures, by the names that traces use for them.

use crate::abi::request;
use iommufd_bindings as io;
use std::mem::offset_of;
use vfio_bindings::bindings::vfio;

/// Request, name and offset of each pointer. In `iommu_test_cmd` (`iommufd_test.h` in
/// `drivers/iommu/iommufd/`) the union begins at 16.
const POINTERS: &[(&str, &str, usize)] = &[
    ("IOMMU_GET_HW_INFO", "data_uptr", offset_of!(io::iommu_hw_info, data_uptr)),
    ("IOMMU_HWPT_ALLOC", "data_uptr", offset_of!(io::iommu_hwpt_alloc, data_uptr)),
    ("IOMMU_HWPT_INVALIDATE", "data_uptr", offset_of!(io::iommu_hwpt_invalidate, data_uptr)),
    ("IOMMU_HWPT_GET_DIRTY_BITMAP", "data", offset_of!(io::iommu_hwpt_get_dirty_bitmap, data)),
    (
        "IOMMU_IOAS_ALLOW_IOVAS",
        "allowed_iovas",
        offset_of!(io::iommu_ioas_allow_iovas, allowed_iovas),
    ),
    (
        "IOMMU_IOAS_IOVA_RANGES",
        "allowed_iovas",
        offset_of!(io::iommu_ioas_iova_ranges, allowed_iovas),
    ),
    ("IOMMU_VIOMMU_ALLOC", "data_uptr", 32),
    ("IOMMU_TEST_CMD", "access_rw.uptr", 32),
    ("IOMMU_TEST_CMD", "dirty.uptr", 48),
    (
        "VFIO_DEVICE_BIND_IOMMUFD",
        "token_uuid_ptr",
        offset_of!(vfio::vfio_device_bind_iommufd, out_devid) + 4,
    ),
    ("KVM_SET_DEVICE_ATTR", "addr", 16),
];

/// Returns the name of the pointer at an offset, or the offset in digits if it has none.
pub(super) fn name(request: u32, at: usize) -> String {
    let of = request::name(request);
    (POINTERS.iter())
        .find(|(request, _, offset)| Some(*request) == of && *offset == at)
        .map_or_else(|| at.to_string(), |(_, field, _)| (*field).to_owned())
}

/// Returns the offset of the pointer with a name; a name in digits is the offset itself.
pub(super) fn offset(request: u32, field: &str) -> Option<usize> {
    let of = request::name(request);
    (POINTERS.iter())
        .find(|(request, name, _)| Some(*request) == of && *name == field)
        .map(|(_, _, offset)| *offset)
        .or_else(|| field.parse().ok())
}
