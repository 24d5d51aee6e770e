//! Calls about processes: their user, limits and capabilities, and how they begin and end.
//!
//! Mirrors: getrlimit(2), setresuid(2), capget(2), execve(2), pidfd_send_signal(2). Errnos are
//! listed if they matter to a handoff; the simulated kernel also reproduces the order of the
//! kernel's checks.

use super::Access;
use crate::abi::ids::{Fd, Uid};
use serde::{Deserialize, Serialize};

/// A call about a process.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ProcessCall {
    /// `getrlimit(RLIMIT_MEMLOCK)` → [`super::Reply::Memlock`].
    GetMemlock,
    /// `setrlimit(RLIMIT_MEMLOCK)`, soft and hard. EPERM to raise the hard limit without
    /// CAP_SYS_RESOURCE.
    SetMemlock {
        /// The limit in bytes; [`super::UNLIMITED`] for none.
        limit_bytes: u64,
    },
    /// `geteuid()` → [`super::Reply::Uid`].
    GetUid,
    /// `setresuid(uid, uid, uid)`: drops every capability unless `uid` is 0. EPERM.
    SetUid {
        /// The new user.
        uid: Uid,
    },
    /// `capget()`, the effective CAP_IPC_LOCK → [`super::Reply::Flag`].
    GetCapIpcLock,
    /// `capset()` without CAP_IPC_LOCK.
    DropCapIpcLock,
    /// `execve("/proc/self/fd/N")` of a program image: creates a new memory map and closes CLOEXEC
    /// descriptors; the others are inherited. Returns only if it fails. EBADF, ENOENT, EACCES,
    /// ENOMEM.
    Exec {
        /// The image.
        image: Fd,
    },
    /// `exit_group(status)`. Does not return.
    Exit {
        /// The exit status.
        status: u8,
    },
    /// `pidfd_send_signal(pidfd, SIGKILL)`. ESRCH if the process has exited, EPERM.
    Kill {
        /// A pidfd.
        pidfd: Fd,
    },
    /// `poll(pidfd, POLLIN)` without a timeout: returns when the process has exited and its
    /// descriptors are closed. EBADF.
    AwaitExit {
        /// A pidfd.
        pidfd: Fd,
    },
}

impl ProcessCall {
    /// Returns the name of the system call or ioctl.
    pub fn name(&self) -> &'static str {
        match self {
            Self::GetMemlock => "getrlimit",
            Self::SetMemlock { .. } => "setrlimit",
            Self::GetUid => "geteuid",
            Self::SetUid { .. } => "setresuid",
            Self::GetCapIpcLock => "capget",
            Self::DropCapIpcLock => "capset",
            Self::Exec { .. } => "execve",
            Self::Exit { .. } => "exit",
            Self::Kill { .. } => "kill",
            Self::AwaitExit { .. } => "poll pidfd",
        }
    }

    /// Returns the effect of the call, as determined by its arguments, regardless of its result.
    pub fn access(&self) -> Access {
        match self {
            Self::GetMemlock | Self::GetUid | Self::GetCapIpcLock | Self::AwaitExit { .. } => {
                Access::Reads
            }
            Self::SetMemlock { .. }
            | Self::SetUid { .. }
            | Self::DropCapIpcLock
            | Self::Exec { .. }
            | Self::Exit { .. } => Access::Own,
            Self::Kill { .. } => Access::Mutates,
        }
    }
}
