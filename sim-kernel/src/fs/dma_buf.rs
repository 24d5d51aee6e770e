//! dma-bufs: memory of a device, as a file.
//!
//! MAP_FILE accepts one whose exporter shares it with iommufd: vfio-pci exports BARs, and the
//! kernel's selftests have an exporter, too. Its memory is neither pinned nor charged.
//! CHANGE_PROCESS refuses a context that maps one, and a dma-buf that its exporter has revoked can
//! no longer be mapped.
//!
//! Mirrors `drivers/dma-buf/dma-buf.c`.

use crate::fs::File;
use crate::machine::Machine;
use crate::syscall::SyscallResult;
use crate::value::FileId;
use handoff_model::abi::ids::{Fd, Pid};

/// A dma-buf.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) struct DmaBuf {
    pub(crate) length_bytes: u64,
    /// True if the exporter has revoked it.
    pub(crate) revoked: bool,
}

/// `O_CLOEXEC`.
const CLOEXEC: u32 = 0o2_000_000;

impl Machine {
    /// Returns the dma-buf of a file, if it is one (`dma_buf_get`).
    pub(crate) fn dma_buf(&self, file: FileId) -> Option<&DmaBuf> {
        self.files.dma_bufs.get(&file)
    }

    /// Revokes a dma-buf or makes it usable again. Returns true if the file is a dma-buf.
    pub(crate) fn revoke_dma_buf(&mut self, file: FileId, revoked: bool) -> bool {
        self.files.dma_bufs.get_mut(&file).map(|buffer| buffer.revoked = revoked).is_some()
    }

    /// Exports memory of a length in bytes to a process. Returns the descriptor of a new dma-buf.
    /// Fails with `EMFILE`.
    pub(crate) fn export_dma_buf(
        &mut self,
        pid: Pid,
        length_bytes: u64,
        open_flags: u32,
        fd: Option<Fd>,
    ) -> SyscallResult<Fd> {
        let (fd, file) = self.install_file(pid, File::DmaBuf, fd)?;
        self.files.dma_bufs.insert(file, DmaBuf { length_bytes, revoked: false });
        let slot = self.process_mut(pid).descriptors.get_mut(&fd).expect("a new descriptor");
        slot.cloexec = open_flags & CLOEXEC != 0;
        Ok(fd)
    }
}
