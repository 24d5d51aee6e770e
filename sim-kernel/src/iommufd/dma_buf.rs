//! dma-bufs: memory of a device, as a file.
//!
//! MAP_FILE takes one where its exporter shares it with iommufd: vfio-pci exports BARs, and the kernel's own tests have an
//! exporter, too. Nothing of it is pinned or charged, it does not hold up CHANGE_PROCESS's other checks but
//! is refused there, and what the exporter revokes cannot be mapped any more.
//!
//! Absent: what takes a BAR back (memory decoding off, a reset), and all but the export of BAR 0 from its beginning: no machine at hand has
//! devices that reach each other, so what the kernel refuses there was never seen. It is told as a feature that is not there.
//!
//! Mirrors `drivers/vfio/pci/vfio_pci_dmabuf.c`, `struct iommufd_test_dma_buf` of `drivers/iommu/iommufd/selftest.c`, `drivers/dma-buf/dma-buf.c`.

use crate::fs::File;
use crate::iommufd::ioctl_table::Ucmd;
use crate::iommufd::selftest::UNION;
use crate::machine::Machine;
use crate::syscall::refusal::{Answered, refuse};
use crate::vfio::feature::Feature;
use crate::vfio::pci::region::BAR0_BYTES;
use handoff_model::errno::Errno;
use handoff_model::ids::{Fd, PAGE_BYTES, Pid};
use std::mem::{offset_of, size_of};
use vfio_bindings::bindings::vfio::{vfio_device_feature_dma_buf, vfio_region_dma_range};

/// A dma-buf.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) struct DmaBuf {
    pub(crate) length_bytes: u64,
    /// The exporter has taken it back.
    pub(crate) revoked: bool,
}

/// The longest that the tests export.
const LENGTH_BYTES_MAX: u64 = 512 * PAGE_BYTES;

impl Machine {
    /// `iommufd_test_dmabuf_get`: EINVAL (empty or too long), EMFILE; → the descriptor, or nothing (7.3).
    pub(crate) fn dma_buf_get(&mut self, ucmd: &mut Ucmd<'_>) -> Answered<()> {
        if !self.profile.maps_dma_bufs() {
            return Err(refuse(Errno::EOPNOTSUPP));
        }
        let length_bytes = u64::from(ucmd.cmd.u32(UNION)).next_multiple_of(PAGE_BYTES);
        if length_bytes == 0 || length_bytes > LENGTH_BYTES_MAX {
            return Err(refuse(Errno::EINVAL));
        }
        self.allocate()?;
        let fd = self.give(ucmd.pid, length_bytes, ucmd.cmd.u32(UNION + 4), ucmd.place.fd)?;
        if self.profile.tells_dma_buf() {
            ucmd.result = fd.0.cast_unsigned();
        }
        Ok(())
    }

    /// How much of BAR 0 a caller of `vfio_pci_core_feature_dma_buf` wants exported: of whole pages from its beginning.
    pub(crate) fn wanted_of_bar(feature: &Feature<'_>) -> Option<u64> {
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
    pub(crate) fn export_bar(&mut self, feature: &Feature<'_>, length_bytes: u64) -> Answered<u32> {
        self.allocate()?;
        let open_flags = feature.data(size_of::<vfio_device_feature_dma_buf>())?;
        let open_flags = open_flags.u32(offset_of!(vfio_device_feature_dma_buf, open_flags));
        let fd = self.give(feature.pid, length_bytes, open_flags, feature.place.fd)?;
        Ok(fd.0.cast_unsigned())
    }

    /// A new dma-buf, open in a process.
    fn give(
        &mut self,
        pid: Pid,
        length_bytes: u64,
        open_flags: u32,
        fd: Option<Fd>,
    ) -> Answered<Fd> {
        let file = File::DmaBuf(DmaBuf { length_bytes, revoked: false });
        let fd = self.install_new(pid, file, fd)?;
        let slot = self.process_mut(pid).descriptors.get_mut(&fd).expect("a new descriptor");
        slot.cloexec = open_flags & CLOEXEC != 0;
        Ok(fd)
    }

    /// `iommufd_test_dmabuf_revoke`: EBADF, EINVAL for what is no dma-buf.
    pub(crate) fn dma_buf_revoke(&mut self, ucmd: &mut Ucmd<'_>) -> Answered<()> {
        if !self.profile.maps_dma_bufs() {
            return Err(refuse(Errno::EOPNOTSUPP));
        }
        let file = self.usable(ucmd.pid, Fd(ucmd.cmd.u32(UNION).cast_signed()))?;
        let revoked = ucmd.cmd.u32(UNION + 4) != 0;
        match self.file_mut(file) {
            File::DmaBuf(buffer) => buffer.revoked = revoked,
            _ => return Err(refuse(Errno::EINVAL)),
        }
        Ok(())
    }
}

/// `O_CLOEXEC`.
const CLOEXEC: u32 = 0o2_000_000;
