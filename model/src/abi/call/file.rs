//! Open files and descriptors: what is done to a file by its number, whatever it is a file of.
//!
//! Mirrors: the man pages of the system calls that each names. Errnos are listed where they matter
//! to a handoff; the order in which a kernel checks is kept in the simulated kernel.

use super::{Access, Call};
use crate::abi::ids::Fd;
use serde::{Deserialize, Serialize};

/// A call on an open file or a descriptor.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum FileCall {
    /// `open(path, O_RDWR | O_CLOEXEC)` → [`super::Reply::Fd`]. ENOENT, EACCES, EMFILE.
    Open {
        /// `/dev/iommu`, `/dev/vfio/devices/vfioN`, `/dev/vfio/vfio` or `/dev/vfio/N`.
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
        /// Close it at `execve`, or let it be inherited.
        on: bool,
    },
    /// `fcntl(fd, F_SETFL)` of O_NONBLOCK alone. EBADF. A property of the open file description:
    /// whoever shares it, in whatever process, waits no more, or waits again.
    SetNonblock {
        /// The descriptor.
        fd: Fd,
        /// EAGAIN instead of waiting.
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
        /// First byte.
        offset_bytes: u64,
        /// What to write.
        #[serde(with = "crate::abi::hex")]
        bytes: Vec<u8>,
    },
    /// `pread(fd, length, offset)` → [`super::Reply::Bytes`], shorter at the end of the file.
    /// EBADF.
    ReadAt {
        /// A memfd or a device file.
        fd: Fd,
        /// First byte.
        offset_bytes: u64,
        /// At most so many.
        length_bytes: u64,
    },
    /// `eventfd2(0, EFD_CLOEXEC | EFD_NONBLOCK)` → [`super::Reply::Fd`].
    Eventfd,
    /// `read(fd)` of an eventfd → [`super::Reply::Count`], and the counter is zero. EAGAIN when it
    /// was; without O_NONBLOCK it waits.
    ReadEvent {
        /// An eventfd.
        fd: Fd,
    },
    /// `write(fd, count)` of an eventfd: adds to its counter. EINVAL (all ones), EAGAIN (too much).
    WriteEvent {
        /// An eventfd.
        fd: Fd,
        /// How much.
        count: u64,
    },
    /// `read(fd, length)` of a queue of page faults or of a viommu's events →
    /// [`super::Reply::Bytes`], as many whole ones as fit. ESPIPE (not whole faults), EINVAL.
    Read {
        /// The queue.
        fd: Fd,
        /// At most so many.
        length_bytes: u64,
    },
    /// `write(fd, bytes)` of answers to page faults → [`super::Reply::Length`]. ESPIPE (not whole
    /// answers), EINVAL.
    Write {
        /// The queue.
        fd: Fd,
        /// The answers.
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

    /// What the call touches, judged by its arguments, however it ends.
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
