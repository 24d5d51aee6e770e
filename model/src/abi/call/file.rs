//! Calls on open files and descriptors that do not depend on the kind of file.
//!
//! Mirrors: the man pages of the system calls that each variant names. Errnos are listed if they
//! matter to a handoff; the simulated kernel also reproduces the order of the kernel's checks.

use super::{Access, Call};
use crate::abi::ids::Fd;
use serde::{Deserialize, Serialize};

/// A call on an open file or a descriptor.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum FileCall {
    /// `open(path, O_RDWR | O_CLOEXEC)` → [`super::Reply::Fd`]. ENOENT, EACCES, EMFILE.
    Open {
        /// The path: `/dev/iommu`, `/dev/vfio/devices/vfioN`, `/dev/vfio/vfio`, `/dev/vfio/N` or
        /// `/dev/kvm`.
        path: String,
    },
    /// `close(fd)`. EBADF. The last close of a bound device resets it
    /// (`vfio_df_device_last_close`).
    Close {
        /// The descriptor.
        fd: Fd,
    },
    /// `fcntl(fd, F_DUPFD_CLOEXEC)` → [`super::Reply::Fd`]. EBADF, EMFILE.
    Dup {
        /// The descriptor.
        fd: Fd,
    },
    /// `fcntl(fd, F_SETFD)`. EBADF. A property of the descriptor, not of the open file description.
    SetCloexec {
        /// The descriptor.
        fd: Fd,
        /// True to close it on `execve`, false to let it be inherited.
        on: bool,
    },
    /// `fcntl(fd, F_SETFL)` of O_NONBLOCK alone. EBADF. A property of the open file description: it
    /// affects every descriptor that shares it, in any process.
    SetNonblock {
        /// The descriptor.
        fd: Fd,
        /// True to return EAGAIN instead of waiting.
        on: bool,
    },
    /// `fstat(fd)` → [`super::Reply::Stat`]. EBADF.
    Stat {
        /// The descriptor.
        fd: Fd,
    },
    /// `pwrite(fd, bytes, offset)` → [`super::Reply::Length`]. EBADF, EFBIG, EPERM (sealed).
    WriteAt {
        /// A memfd or a device file.
        fd: Fd,
        /// Offset of the first byte.
        offset_bytes: u64,
        /// The bytes to write.
        #[serde(with = "crate::abi::hex")]
        bytes: Vec<u8>,
    },
    /// `pread(fd, length, offset)` → [`super::Reply::Bytes`], shorter at the end of the file.
    /// EBADF.
    ReadAt {
        /// A memfd or a device file.
        fd: Fd,
        /// Offset of the first byte.
        offset_bytes: u64,
        /// Maximum length in bytes.
        length_bytes: u64,
    },
    /// `eventfd2(0, EFD_CLOEXEC | EFD_NONBLOCK)` → [`super::Reply::Fd`].
    Eventfd,
    /// `read(fd)` of an eventfd → [`super::Reply::Count`]; resets the counter to zero. EAGAIN if it
    /// was zero; waits instead without O_NONBLOCK.
    ReadEvent {
        /// An eventfd.
        fd: Fd,
    },
    /// `write(fd, count)` of an eventfd: adds to its counter. EINVAL (all ones), EAGAIN (too much).
    WriteEvent {
        /// An eventfd.
        fd: Fd,
        /// The number to add.
        count: u64,
    },
    /// `read(fd, length)` of a queue of page faults or of a viommu's events →
    /// [`super::Reply::Bytes`], as many complete entries as fit. ESPIPE (not a multiple of a
    /// fault), EINVAL.
    Read {
        /// The queue.
        fd: Fd,
        /// Maximum length in bytes.
        length_bytes: u64,
    },
    /// `write(fd, bytes)` of responses to page faults → [`super::Reply::Length`]. ESPIPE (not a
    /// multiple of a response), EINVAL.
    Write {
        /// The queue.
        fd: Fd,
        /// The responses.
        #[serde(with = "crate::abi::hex")]
        bytes: Vec<u8>,
    },
}

impl FileCall {
    /// Returns the name of the system call or ioctl.
    pub fn name(&self) -> &'static str {
        match self {
            Self::Open { .. } => "open",
            Self::Close { .. } => "close",
            Self::Dup { .. } => "dup",
            Self::SetCloexec { .. } => "set CLOEXEC",
            Self::SetNonblock { .. } => "set O_NONBLOCK",
            Self::Stat { .. } => "fstat",
            Self::WriteAt { .. } => "pwrite",
            Self::ReadAt { .. } => "pread",
            Self::Eventfd => "eventfd",
            Self::ReadEvent { .. } => "read eventfd",
            Self::WriteEvent { .. } => "write eventfd",
            Self::Read { .. } => "read",
            Self::Write { .. } => "write",
        }
    }

    /// Returns the effect of the call, as determined by its arguments, regardless of its result.
    pub fn access(&self) -> Access {
        match self {
            Self::Stat { .. } | Self::ReadAt { .. } => Access::Reads,
            Self::Open { .. }
            | Self::Close { .. }
            | Self::Dup { .. }
            | Self::SetCloexec { .. }
            | Self::Eventfd => Access::Own,
            Self::SetNonblock { .. }
            | Self::WriteAt { .. }
            | Self::ReadEvent { .. }
            | Self::WriteEvent { .. }
            | Self::Read { .. }
            | Self::Write { .. } => Access::Mutates,
        }
    }
}

impl FileCall {
    /// Returns a `pread`.
    pub fn read_at(fd: Fd, offset_bytes: u64, length_bytes: u64) -> Call {
        Call::File(Self::ReadAt { fd, offset_bytes, length_bytes })
    }

    /// Returns a `pwrite`.
    pub fn write_at(fd: Fd, offset_bytes: u64, bytes: Vec<u8>) -> Call {
        Call::File(Self::WriteAt { fd, offset_bytes, bytes })
    }
}
