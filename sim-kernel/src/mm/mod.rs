//! Memory: memory objects and memfds, their mappings in processes, and the accounting of pinned
//! pages.
//!
//! Other folders read and write memory objects, look up the mappings of a process, and charge and
//! uncharge an owner; the representation of pages and counters is private to this folder.
//!
//! Mirrors `mm/`.

mod accounting;
mod memfd;
mod shmem;
mod vma;

pub(crate) use accounting::{LockedCounters, Mode, Owner};
pub(crate) use shmem::{Memory, inode};
pub(crate) use vma::{BarVma, Vma};

use crate::machine::{Machine, Placement};
use crate::syscall::SyscallResult;
use handoff_model::abi::call::MemoryCall;
use handoff_model::abi::ids::Pid;

/// A memory map (`mm_struct`): the nth of a process.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) struct MmId {
    pub(crate) pid: Pid,
    pub(crate) generation: u8,
}

impl Machine {
    pub(crate) fn memory_call(
        &mut self,
        pid: Pid,
        call: &MemoryCall,
        place: &Placement,
    ) -> SyscallResult {
        match call {
            MemoryCall::Memfd { .. } => self.memfd(pid, place),
            MemoryCall::Truncate { fd, length_bytes } => self.truncate(pid, *fd, *length_bytes),
            MemoryCall::SealSize { fd } => self.seal_size(pid, *fd),
            MemoryCall::AddSeals { fd, seals } => self.add_seals(pid, *fd, *seals),
            MemoryCall::ReopenReadOnly { fd } => self.reopen_read_only(pid, *fd, place),
            MemoryCall::PunchHole { fd, offset_bytes, length_bytes } => {
                self.punch_hole(pid, *fd, *offset_bytes, *length_bytes)
            }
            MemoryCall::Mmap { fd, offset_bytes, length_bytes } => {
                self.mmap(pid, *fd, *offset_bytes, *length_bytes, place)
            }
            MemoryCall::Munmap { va, length_bytes } => self.munmap(pid, va.0, *length_bytes),
        }
    }
}
