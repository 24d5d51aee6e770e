//! Export of a BAR as a dma-buf, if the hardware supports peer-to-peer DMA.
//!
//! Absent: revocation (memory decoding disabled, reset), and all exports except of BAR 0 from its
//! start. No machine at hand has devices that can reach each other, so the kernel's errors there
//! were never observed; such a request fails as an unknown feature.
//!
//! Mirrors `drivers/vfio/pci/vfio_pci_dmabuf.c`.

use crate::machine::Machine;
use crate::syscall::SyscallResult;
use crate::vfio::feature::Feature;
use crate::vfio::pci::layout::BAR0_BYTES;
use handoff_model::abi::ids::PAGE_BYTES;
use std::mem::{offset_of, size_of};
use vfio_bindings::bindings::vfio::{vfio_device_feature_dma_buf, vfio_region_dma_range};

impl Machine {
    /// Returns the number of bytes of BAR 0 to export (`vfio_pci_core_feature_dma_buf`), or `None`
    /// unless the request is for whole pages from the start of BAR 0.
    pub(super) fn wanted_of_bar(feature: &Feature<'_>) -> Option<u64> {
        const HEAD: usize = size_of::<vfio_device_feature_dma_buf>();
        let data = feature.data(HEAD + size_of::<vfio_region_dma_range>()).ok()?;
        let length_bytes = data.u64(HEAD + offset_of!(vfio_region_dma_range, length));
        let is_plain = [
            data.u32(offset_of!(vfio_device_feature_dma_buf, nr_ranges)) == 1,
            data.u32(offset_of!(vfio_device_feature_dma_buf, flags)) == 0,
            data.u32(offset_of!(vfio_device_feature_dma_buf, region_index)) == 0,
            data.u64(HEAD + offset_of!(vfio_region_dma_range, offset)) == 0,
            length_bytes.is_multiple_of(PAGE_BYTES),
            (1..=BAR0_BYTES).contains(&length_bytes),
        ];
        (!feature.sets() && is_plain.iter().all(|is| *is)).then_some(length_bytes)
    }

    /// Exports the start of BAR 0 and returns the descriptor. Fails with `ENOMEM` or `EMFILE`.
    pub(super) fn export_bar(
        &mut self,
        feature: &Feature<'_>,
        length_bytes: u64,
    ) -> SyscallResult<u32> {
        self.allocate()?;
        let open_flags = feature.data(size_of::<vfio_device_feature_dma_buf>())?;
        let open_flags = open_flags.u32(offset_of!(vfio_device_feature_dma_buf, open_flags));
        let fd = self.export_dma_buf(feature.pid, length_bytes, open_flags, feature.place.fd)?;
        Ok(fd.0.cast_unsigned())
    }
}
