//! dma-bufs: memory of a device, as a file.
//!
//! MAP_FILE takes one where its exporter shares it with iommufd; the kernel's own tests have such an
//! exporter. Nothing of it is pinned or charged, it does not hold up CHANGE_PROCESS's other checks but
//! is refused there, and what the exporter revokes cannot be mapped any more.
//!
//! Mirrors `struct iommufd_test_dma_buf` of `drivers/iommu/iommufd/selftest.c`, `drivers/dma-buf/dma-buf.c`.

use crate::file::File;
use crate::machine::Machine;
use crate::mock::UNION;
use crate::refusal::{Answered, refuse};
use crate::ucmd::Ucmd;
use handoff_model::errno::Errno;
use handoff_model::ids::{Fd, PAGE_BYTES};

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
        let cloexec = ucmd.cmd.u32(UNION + 4) & CLOEXEC != 0;
        let file = File::DmaBuf(DmaBuf { length_bytes, revoked: false });
        let fd = self.install_new(ucmd.pid, file, ucmd.place.fd)?;
        let slot = self.process_mut(ucmd.pid).descriptors.get_mut(&fd).expect("a new descriptor");
        slot.cloexec = cloexec;
        if self.profile.tells_dma_buf() {
            ucmd.result = fd.0.cast_unsigned();
        }
        Ok(())
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
