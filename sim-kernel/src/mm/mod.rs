//! Memory: memory objects and memfds, where processes map them, and who is charged for pinned pages.

pub(crate) mod accounting;
pub(crate) mod memfd;
pub(crate) mod shmem;
pub(crate) mod vma;

use handoff_model::ids::Pid;

/// A memory map (`mm_struct`): the nth of a process.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) struct MmId {
    pub(crate) pid: Pid,
    pub(crate) generation: u8,
}
