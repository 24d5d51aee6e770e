//! Layout of a device file: each region begins at its index times 2^40.
//!
//! Mirrors `VFIO_PCI_OFFSET_TO_INDEX` and similar macros of `include/linux/vfio_pci_core.h`.

/// `VFIO_PCI_CONFIG_REGION_INDEX`, `VFIO_PCI_VGA_REGION_INDEX`.
pub(in crate::vfio) const CONFIG_REGION: u32 = 7;
pub(super) const VGA_REGION: u32 = 8;

/// Size of BAR 0 in bytes.
pub(in crate::vfio) const BAR0_BYTES: u64 = 1 << 20;

/// `VFIO_PCI_OFFSET_SHIFT`.
const OFFSET_SHIFT: u32 = 40;

/// Returns the offset of a region in the device file (`VFIO_PCI_INDEX_TO_OFFSET`).
pub(in crate::vfio) const fn region_offset(index: u32) -> u64 {
    (index as u64) << OFFSET_SHIFT
}

/// Returns the region of an offset in the device file, and the offset within the region.
pub(in crate::vfio) fn region_of(offset_bytes: u64) -> (u64, u64) {
    (offset_bytes >> OFFSET_SHIFT, offset_bytes & (region_offset(1) - 1))
}
