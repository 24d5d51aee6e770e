//! Exporting a BAR as a dma-buf, where the hardware lets other devices reach it.
//!
//! Absent: what takes a BAR back (memory decoding off, a reset), and all but the export of BAR 0
//! from its beginning: no machine at hand has devices that reach each other, so what the kernel
//! refuses there was never seen. It is told as a feature that is not there.
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
    /// How much of BAR 0 a caller of `vfio_pci_core_feature_dma_buf` wants exported: of whole pages
    /// from its beginning.
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

    /// Exports the beginning of BAR 0: → the descriptor. ENOMEM, EMFILE.
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
