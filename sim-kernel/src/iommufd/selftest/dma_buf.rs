//! The dma-bufs that the kernel's selftests export and revoke.
//!
//! Mirrors `struct iommufd_test_dma_buf` of `drivers/iommu/iommufd/selftest.c`.

use crate::iommufd::ioctl_table::Ucmd;
use crate::iommufd::selftest::UNION;
use crate::machine::Machine;
use crate::syscall::{SyscallResult, fail};
use handoff_model::abi::errno::Errno;
use handoff_model::abi::ids::{Fd, PAGE_BYTES};

/// Maximum length of an exported dma-buf in bytes.
const LENGTH_BYTES_MAX: u64 = 512 * PAGE_BYTES;

impl Machine {
    /// Exports a dma-buf and returns its descriptor, or 0 since 7.3 (`iommufd_test_dmabuf_get`).
    /// Fails with `EINVAL` (empty or too long), `EMFILE`.
    pub(super) fn dma_buf_get(&mut self, ucmd: &mut Ucmd<'_>) -> SyscallResult<()> {
        if !self.profile.maps_dma_bufs() {
            return Err(fail(Errno::EOPNOTSUPP));
        }
        let length_bytes = u64::from(ucmd.cmd.u32(UNION)).next_multiple_of(PAGE_BYTES);
        if length_bytes == 0 || length_bytes > LENGTH_BYTES_MAX {
            return Err(fail(Errno::EINVAL));
        }
        self.allocate()?;
        let flags = ucmd.cmd.u32(UNION + 4);
        let fd = self.export_dma_buf(ucmd.pid, length_bytes, flags, ucmd.place.fd)?;
        if self.profile.reports_dma_buf() {
            ucmd.result = fd.0.cast_unsigned();
        }
        Ok(())
    }

    /// Revokes a dma-buf or makes it usable again (`iommufd_test_dmabuf_revoke`). Fails with
    /// `EBADF`, or with `EINVAL` if it is no dma-buf.
    pub(super) fn dma_buf_revoke(&mut self, ucmd: &mut Ucmd<'_>) -> SyscallResult<()> {
        if !self.profile.maps_dma_bufs() {
            return Err(fail(Errno::EOPNOTSUPP));
        }
        let file = self.usable(ucmd.pid, Fd(ucmd.cmd.u32(UNION).cast_signed()))?;
        let is_one = self.revoke_dma_buf(file, ucmd.cmd.u32(UNION + 4) != 0);
        if is_one { Ok(()) } else { Err(fail(Errno::EINVAL)) }
    }
}
