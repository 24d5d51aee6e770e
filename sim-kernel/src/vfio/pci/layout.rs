//! Where the regions of a device lie in its file: each begins at its index times 2^40.
//!
//! Mirrors `VFIO_PCI_OFFSET_TO_INDEX` and its like of `include/linux/vfio_pci_core.h`.

/// `VFIO_PCI_CONFIG_REGION_INDEX`, `VFIO_PCI_VGA_REGION_INDEX`.
pub(in crate::vfio) const CONFIG_REGION: u32 = 7;
pub(super) const VGA_REGION: u32 = 8;

/// How long BAR 0 is.
pub(in crate::vfio) const BAR0_BYTES: u64 = 1 << 20;

/// `VFIO_PCI_OFFSET_SHIFT`.
const OFFSET_SHIFT: u32 = 40;

/// Where a region begins in the device file (`VFIO_PCI_INDEX_TO_OFFSET`).
pub(in crate::vfio) const fn region_offset(index: u32) -> u64 {
    (index as u64) << OFFSET_SHIFT
}

/// The region of an offset, and where in it.
pub(in crate::vfio) fn region_of(offset_bytes: u64) -> (u64, u64) {
    (offset_bytes >> OFFSET_SHIFT, offset_bytes & (region_offset(1) - 1))
}
