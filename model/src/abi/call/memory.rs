//! Calls on memory: memfds and mappings.
//!
//! Mirrors: memfd_create(2), fcntl(2), fallocate(2), mmap(2). Errnos are listed if they matter to a
//! handoff; the simulated kernel also reproduces the order of the kernel's checks.

use super::{Access, Call};
use crate::abi::ids::{Fd, Va};
use serde::{Deserialize, Serialize};

/// A call on memory.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum MemoryCall {
    /// `memfd_create(name, MFD_CLOEXEC | MFD_ALLOW_SEALING)` → [`super::Reply::Fd`].
    Memfd {
        /// The name, shown as `/memfd:name`.
        name: String,
    },
    /// `ftruncate(fd, length)`. EBADF, EINVAL, EPERM (sealed).
    Truncate {
        /// A memfd.
        fd: Fd,
        /// The new length in bytes.
        length_bytes: u64,
    },
    /// `fcntl(fd, F_ADD_SEALS, F_SEAL_SHRINK | F_SEAL_GROW)`. EBADF, EINVAL, EPERM.
    SealSize {
        /// A memfd.
        fd: Fd,
    },
    /// `fcntl(fd, F_ADD_SEALS, seals)`. EBADF; EPERM (read-only, sealed), EINVAL (unknown seal, not
    /// a memfd), EBUSY (mapped writable, or pinned).
    AddSeals {
        /// A memfd.
        fd: Fd,
        /// The seals: `F_SEAL_SEAL` 1, `_SHRINK` 2, `_GROW` 4, `_WRITE` 8, `_FUTURE_WRITE` 16.
        seals: u32,
    },
    /// `open("/proc/self/fd/N", O_RDONLY | O_CLOEXEC)` → [`super::Reply::Fd`]: another open file
    /// description of the same memfd. ENOENT, ENXIO.
    ReopenReadOnly {
        /// A memfd.
        fd: Fd,
    },
    /// `fallocate(fd, PUNCH_HOLE | KEEP_SIZE, offset, length)`: replaces the file's pages there by
    /// new ones, even if a device has the old ones pinned. EBADF, EINVAL.
    PunchHole {
        /// A memfd.
        fd: Fd,
        /// Offset of the first byte.
        offset_bytes: u64,
        /// The length in bytes.
        length_bytes: u64,
    },
    /// `mmap(length, READ | WRITE, MAP_SHARED, fd, offset)` → [`super::Reply::Va`]; anonymous and
    /// private without a descriptor. EBADF, EINVAL, ENODEV, ENOMEM.
    Mmap {
        /// A memfd, or none.
        fd: Option<Fd>,
        /// Offset in the file.
        offset_bytes: u64,
        /// The length in bytes.
        length_bytes: u64,
    },
    /// `munmap(addr, length)`. EINVAL.
    Munmap {
        /// The first address.
        va: Va,
        /// The length in bytes.
        length_bytes: u64,
    },
}

impl MemoryCall {
    /// Returns the name of the system call or ioctl.
    pub fn name(&self) -> &'static str {
        match self {
            Self::Memfd { .. } => "memfd_create",
            Self::Truncate { .. } => "ftruncate",
            Self::SealSize { .. } | Self::AddSeals { .. } => "seal",
            Self::ReopenReadOnly { .. } => "reopen",
            Self::PunchHole { .. } => "punch hole",
            Self::Mmap { .. } => "mmap",
            Self::Munmap { .. } => "munmap",
        }
    }

    /// Returns the effect of the call, as determined by its arguments, regardless of its result.
    pub fn access(&self) -> Access {
        match self {
            Self::Memfd { .. }
            | Self::ReopenReadOnly { .. }
            | Self::Mmap { .. }
            | Self::Munmap { .. } => Access::Own,
            Self::Truncate { .. }
            | Self::SealSize { .. }
            | Self::AddSeals { .. }
            | Self::PunchHole { .. } => Access::Mutates,
        }
    }
}

impl MemoryCall {
    /// Returns an `mmap` of a memfd, or of anonymous memory.
    pub fn mmap(fd: Option<Fd>, offset_bytes: u64, length_bytes: u64) -> Call {
        Call::Memory(Self::Mmap { fd, offset_bytes, length_bytes })
    }

    /// Returns a `fallocate` that punches a hole.
    pub fn punch_hole(fd: Fd, offset_bytes: u64, length_bytes: u64) -> Call {
        Call::Memory(Self::PunchHole { fd, offset_bytes, length_bytes })
    }
}
