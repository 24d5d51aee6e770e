//! memfds: memory objects as files, their length, their seals and their holes.
//!
//! A file that is open read-only is a file kind of its own. That suffices, because mapping for a
//! device checks neither the open mode nor the seals.
//!
//! Mirrors `mm/memfd.c`, `fs/open.c`.

use crate::fs::{FILE_BYTES_MAX, File, TRANSFER_BYTES_MAX};
use crate::machine::{Machine, Placement};
use crate::mm::shmem::{ALL_SEALS, EXEC, FUTURE_WRITE, GROW, SEAL, SHRINK, WRITE, inode};
use crate::syscall::{Failure, SyscallResult, fail};
use crate::value::{FileId, MemoryId, Shared};
use handoff_model::abi::call::Reply;
use handoff_model::abi::errno::Errno;
use handoff_model::abi::ids::{Fd, Pid};

impl Machine {
    /// Returns true if a file, a mapping or a pin refers to it.
    pub(crate) fn is_memory_used(&self, id: MemoryId) -> bool {
        let open = self.is_any_open(&[File::Memfd(id), File::ReadOnlyMemfd(id)]);
        let mapped = || self.pids().any(|(_, p)| p.vmas.iter().any(|vma| vma.memory == id));
        let pinned = || self.contexts.iter().any(|(_, context)| context.pins(id));
        let in_container =
            || self.dmas().any(|(_, _, dma)| dma.pins.iter().any(|pin| pin.memory == id));
        open || mapped() || pinned() || in_container()
    }

    pub(crate) fn memory_of(&self, file: FileId) -> Option<MemoryId> {
        match *self.file(file) {
            File::Memfd(memory) | File::ReadOnlyMemfd(memory) => Some(memory),
            _ => None,
        }
    }

    /// Returns the memfd of a descriptor. Fails with `EBADF`, or with `otherwise` if it is no
    /// memfd.
    pub(crate) fn memfd_of(
        &self,
        pid: Pid,
        fd: Fd,
        otherwise: Failure,
    ) -> Result<MemoryId, Failure> {
        self.memory_of(self.usable(pid, fd)?).ok_or(otherwise)
    }

    /// Creates a memfd (`memfd_create`). Fails with `EMFILE`.
    pub(super) fn memfd(&mut self, pid: Pid, place: &Placement) -> SyscallResult {
        self.atomically(|machine| {
            let memory = machine.memories.insert(Shared::default());
            machine.install_new(pid, File::Memfd(memory), place.fd).map(Reply::Fd)
        })
    }

    /// Returns the inode and length (`shmem_getattr`).
    pub(crate) fn stat_memory(&self, id: MemoryId) -> Reply {
        Reply::Stat { inode: inode(id), length_bytes: self.memories.get(id).length_bytes }
    }

    /// Sets the length (`ftruncate`). A negative length is refused before the descriptor is
    /// checked; a file that cannot be truncated fails with `EINVAL`.
    pub(super) fn truncate(&mut self, pid: Pid, fd: Fd, length_bytes: u64) -> SyscallResult {
        if length_bytes > FILE_BYTES_MAX {
            return Err(fail(Errno::EINVAL));
        }
        let file = self.usable(pid, fd)?;
        let File::Memfd(memory) = *self.file(file) else { return Err(fail(Errno::EINVAL)) };
        self.memories.get_mut(memory).set_length(length_bytes)?;
        Ok(Reply::Done)
    }

    /// Adds the seals that fix a file's size ([`Self::add_seals`]).
    pub(super) fn seal_size(&mut self, pid: Pid, fd: Fd) -> SyscallResult {
        self.add_seals(pid, fd, SHRINK | GROW)
    }

    /// Adds seals (`memfd_add_seals`).
    ///
    /// # Errors
    ///
    /// In this order: `EPERM` (read-only), `EINVAL` (unknown seal, no memfd), `EPERM` (sealed
    /// against seals); `EBUSY` for a seal against writing while the memfd is mapped writable or
    /// pinned.
    pub(super) fn add_seals(&mut self, pid: Pid, fd: Fd, seals: u32) -> SyscallResult {
        let file = self.usable(pid, fd)?;
        if matches!(self.file(file), File::ReadOnlyMemfd(_)) {
            return Err(fail(Errno::EPERM));
        }
        if seals & !ALL_SEALS != 0 {
            return Err(fail(Errno::EINVAL));
        }
        let memory = self.memory_of(file).ok_or(fail(Errno::EINVAL))?;
        let old = self.memories.get(memory).seals;
        if old & SEAL != 0 {
            return Err(fail(Errno::EPERM));
        }
        let implied = if seals & EXEC == 0 { 0 } else { SHRINK | GROW | WRITE | FUTURE_WRITE };
        let new = old | seals | implied;
        if new & !old & WRITE != 0 {
            self.check_no_writer(memory)?;
        }
        self.memories.get_mut(memory).seals = new;
        Ok(Reply::Done)
    }

    /// Fails with `EBUSY` if the memory is mapped or pinned (`mapping_deny_writable`,
    /// `memfd_wait_for_pins`).
    fn check_no_writer(&self, memory: MemoryId) -> SyscallResult<()> {
        if self.pids().any(|(_, p)| p.vmas.iter().any(|vma| vma.memory == memory)) {
            return Err(fail(Errno::EBUSY));
        }
        if self.contexts.iter().any(|(_, context)| context.pins(memory)) {
            return Err(fail(Errno::EBUSY));
        }
        Ok(())
    }

    /// Opens a link of `/proc/self/fd` read-only.
    ///
    /// # Errors
    ///
    /// `ENOENT` without the descriptor. A file without a path belongs to root (`EACCES`) and cannot
    /// be opened by root either (`ENXIO`).
    pub(super) fn reopen_read_only(
        &mut self,
        pid: Pid,
        fd: Fd,
        place: &Placement,
    ) -> SyscallResult {
        let file = self.descriptor(pid, fd).map_err(|_| fail(Errno::ENOENT))?.file;
        if let Some(memory) = self.memory_of(file) {
            return self.install_new(pid, File::ReadOnlyMemfd(memory), place.fd).map(Reply::Fd);
        }
        match self.file(file) {
            File::Socket => Err(fail(Errno::ENXIO)),
            _ if self.process(pid).is_privileged() => Err(fail(Errno::ENXIO)),
            _ => Err(fail(Errno::EACCES)),
        }
    }

    /// Punches a hole (`vfs_fallocate`).
    ///
    /// # Errors
    ///
    /// `EINVAL` for an empty or negative range, `EBADF` if read-only, `ENODEV` for a file that is
    /// no memfd, `EFBIG`.
    pub(super) fn punch_hole(
        &mut self,
        pid: Pid,
        fd: Fd,
        offset_bytes: u64,
        length_bytes: u64,
    ) -> SyscallResult {
        let file = self.usable(pid, fd)?;
        if offset_bytes > FILE_BYTES_MAX || length_bytes == 0 || length_bytes > FILE_BYTES_MAX {
            return Err(fail(Errno::EINVAL));
        }
        if matches!(self.file(file), File::ReadOnlyMemfd(_)) {
            return Err(fail(Errno::EBADF));
        }
        let memory = self.memory_of(file).ok_or(fail(Errno::ENODEV))?;
        let end = offset_bytes + length_bytes;
        if end > FILE_BYTES_MAX {
            return Err(fail(Errno::EFBIG));
        }
        self.memories.get_mut(memory).punch(offset_bytes..end)?;
        Ok(Reply::Done)
    }

    /// Writes into a file, which grows unless it is sealed. Fails with `EPERM` if a seal forbids
    /// the write.
    pub(crate) fn write_memory(
        &mut self,
        memory: MemoryId,
        offset_bytes: u64,
        bytes: &[u8],
    ) -> SyscallResult {
        self.memories.get_mut(memory).write_at(offset_bytes, bytes).map(Reply::Length)
    }

    pub(crate) fn read_memory(
        &self,
        memory: MemoryId,
        offset_bytes: u64,
        length_bytes: u64,
    ) -> Vec<u8> {
        let memory = self.memories.get(memory);
        let rest = memory.length_bytes.saturating_sub(offset_bytes);
        let count = length_bytes.min(rest).min(TRANSFER_BYTES_MAX);
        memory.read(offset_bytes..offset_bytes + count)
    }
}
