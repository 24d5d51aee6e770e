//! `pread` and `pwrite`, by the kind of the file.
//!
//! Mirrors `fs/read_write.c`.

use crate::fs::File;
use crate::machine::Machine;
use crate::syscall::{SyscallResult, fail};
use handoff_model::abi::call::Reply;
use handoff_model::abi::errno::Errno;
use handoff_model::abi::ids::{Fd, Pid};

/// The maximum length of a file in bytes (`MAX_LFS_FILESIZE`).
pub(crate) const FILE_BYTES_MAX: u64 = i64::MAX as u64;

/// The maximum number of bytes that one read or write moves (`MAX_RW_COUNT`).
pub(crate) const TRANSFER_BYTES_MAX: u64 = 0x7fff_f000;

/// Returns true if a transfer ends beyond the highest offset (`rw_verify_area`).
fn ends_beyond(offset_bytes: u64, length_bytes: u64) -> bool {
    offset_bytes.saturating_add(length_bytes) > FILE_BYTES_MAX
}

impl Machine {
    /// Writes at an offset (`pwrite`). A negative offset is refused before the descriptor is
    /// checked; a file without offsets fails with `ESPIPE`.
    pub(super) fn write_at(
        &mut self,
        pid: Pid,
        fd: Fd,
        offset_bytes: u64,
        bytes: &[u8],
    ) -> SyscallResult {
        if offset_bytes > FILE_BYTES_MAX {
            return Err(fail(Errno::EINVAL));
        }
        let file = self.usable(pid, fd)?;
        match *self.file(file) {
            File::ReadOnlyMemfd(_) => Err(fail(Errno::EBADF)),
            File::Memfd(_) if bytes.is_empty() => Ok(Reply::Length(0)),
            File::Memfd(_) | File::Device(_) if ends_beyond(offset_bytes, bytes.len() as u64) => {
                Err(fail(Errno::EINVAL))
            }
            File::Memfd(memory) => self.write_memory(memory, offset_bytes, bytes),
            File::Device(device) => {
                self.write_device(file, device, offset_bytes, bytes).map(Reply::Length)
            }
            File::Iommufd(_) | File::Kvm => Err(fail(Errno::EINVAL)),
            File::Group(_)
            | File::Container(_)
            | File::Eventfd
            | File::Socket
            | File::Pidfd(_)
            | File::Image(_)
            | File::MockAccess(_)
            | File::DmaBuf
            | File::Queue(_)
            | File::Vm(_)
            | File::Vcpu(_)
            | File::KvmVfio(_)
            | File::Migration(_) => Err(fail(Errno::ESPIPE)),
        }
    }

    /// Reads at an offset (`pread`), less at the end of the file.
    pub(super) fn read_at(
        &self,
        pid: Pid,
        fd: Fd,
        offset_bytes: u64,
        length_bytes: u64,
    ) -> SyscallResult {
        if offset_bytes > FILE_BYTES_MAX {
            return Err(fail(Errno::EINVAL));
        }
        let file = self.usable(pid, fd)?;
        match *self.file(file) {
            File::Memfd(_) | File::ReadOnlyMemfd(_) | File::Device(_)
                if ends_beyond(offset_bytes, length_bytes.min(TRANSFER_BYTES_MAX)) =>
            {
                Err(fail(Errno::EINVAL))
            }
            File::Memfd(memory) | File::ReadOnlyMemfd(memory) => {
                Ok(Reply::Bytes(self.read_memory(memory, offset_bytes, length_bytes)))
            }
            File::Device(device) => {
                self.read_device(file, device, offset_bytes, length_bytes).map(Reply::Bytes)
            }
            File::Iommufd(_) | File::Kvm => Err(fail(Errno::EINVAL)),
            File::Group(_)
            | File::Container(_)
            | File::Eventfd
            | File::Socket
            | File::Pidfd(_)
            | File::Image(_)
            | File::MockAccess(_)
            | File::DmaBuf
            | File::Queue(_)
            | File::Vm(_)
            | File::Vcpu(_)
            | File::KvmVfio(_)
            | File::Migration(_) => Err(fail(Errno::ESPIPE)),
        }
    }
}
