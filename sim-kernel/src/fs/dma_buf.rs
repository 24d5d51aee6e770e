//! dma-bufs: memory of a device, as a file.
//!
//! MAP_FILE takes one where its exporter shares it with iommufd: vfio-pci exports BARs, and the
//! kernel's own tests have an exporter, too. Nothing of it is pinned or charged, it does not hold
//! up CHANGE_PROCESS's other checks but is refused there, and what the exporter revokes cannot be
//! mapped any more.
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
    /// The exporter has taken it back.
    pub(crate) revoked: bool,
}

/// `O_CLOEXEC`.
const CLOEXEC: u32 = 0o2_000_000;

impl Machine {
    /// `dma_buf_get`: `None` for what is none.
    pub(crate) fn dma_buf(&self, file: FileId) -> Option<&DmaBuf> {
        self.files.dma_bufs.get(&file)
    }

    /// Revokes a dma-buf or makes it usable again; → whether the file is a dma-buf.
    pub(crate) fn revoke_dma_buf(&mut self, file: FileId, revoked: bool) -> bool {
        self.files.dma_bufs.get_mut(&file).map(|buffer| buffer.revoked = revoked).is_some()
    }

    /// Exports so many bytes to a process: → the descriptor of a new dma-buf. EMFILE.
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
