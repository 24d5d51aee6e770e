//! Memory: memory objects and memfds, where processes map them, and who is charged for pinned
//! pages.
//!
//! Other folders read and write memory objects, look up what a process maps, and charge and
//! uncharge an owner; how pages are kept and counters change is private to this folder.
//!
//! Mirrors `mm/`.

mod accounting;
mod memfd;
mod shmem;
mod vma;

pub(crate) use accounting::{Books, Mode, Owner};
pub(crate) use shmem::{Memory, inode};
pub(crate) use vma::{BarVma, Vma};

use handoff_model::abi::ids::Pid;

/// A memory map (`mm_struct`): the nth of a process.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) struct MmId {
    pub(crate) pid: Pid,
    pub(crate) generation: u8,
}
