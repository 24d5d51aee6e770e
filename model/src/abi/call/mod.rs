//! Every system call that a handoff makes, as data.
//!
//! A [`Call`] is the request of a process, a [`Reply`] the result of a successful call, and a
//! [`CallResult`] either a reply or an [`Errno`]. Because calls are values, code that knows nothing
//! of the protocol can record, replay, count and compare them, and make them fail, on either
//! kernel.
//!
//! Each call declares what it affects ([`Call::access`]). The rule that the new process only reads
//! until it has received `Commit` is evaluated from that alone.
//!
//! Mirrors: `include/uapi/linux/iommufd.h` and `include/uapi/linux/vfio.h` of Linux 7.3, and the
//! system calls of their man pages. Errnos are listed if they matter to a handoff; the simulated
//! kernel also reproduces the order of the kernel's checks.

mod container;
mod device;
mod file;
mod guest;
mod iommufd;
mod kvm;
mod memory;
mod process;
mod reply;
mod socket;

use crate::abi::argument::Ioctl;
use crate::abi::errno::Errno;
use crate::abi::ids::{Fd, Pid};
pub use container::ContainerCall;
pub use device::DeviceCall;
pub use file::FileCall;
pub use guest::GuestCall;
pub use iommufd::IommufdCall;
pub use kvm::KvmCall;
pub use memory::MemoryCall;
pub use process::ProcessCall;
pub use reply::{CallResult, FDS_PER_MESSAGE_MAX, MESSAGE_BYTES_MAX, Reply, Rights, UNLIMITED};
use serde::{Deserialize, Serialize};
pub use socket::SocketCall;
use std::fmt;

/// A system call with its arguments, by the subsystem that answers it.
///
/// A new call is a variant of one of these enums. Code that answers, encodes, fails or describes
/// calls matches them without a wildcard, so the compiler reports every place that must handle it.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Call {
    /// A call on an open file or a descriptor.
    File(FileCall),
    /// A call on memory.
    Memory(MemoryCall),
    /// A call about a process.
    Process(ProcessCall),
    /// A call on a unix socket.
    Socket(SocketCall),
    /// A call of a VMM on its guest.
    Guest(GuestCall),
    /// An ioctl of iommufd.
    Iommufd(IommufdCall),
    /// An ioctl of a VFIO device file.
    Device(DeviceCall),
    /// An ioctl of a VFIO group or container.
    Container(ContainerCall),
    /// An ioctl of KVM.
    Kvm(KvmCall),
    /// Any ioctl on any file, as bytes → [`Reply::Ioctl`], even if it fails: the bytes that the
    /// kernel left in the argument are part of the answer.
    Ioctl {
        /// The file.
        fd: Fd,
        /// The request and its argument.
        ioctl: Ioctl,
    },
}

/// Formats the call without the name of its subsystem.
impl fmt::Debug for Call {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::File(call) => call.fmt(f),
            Self::Memory(call) => call.fmt(f),
            Self::Process(call) => call.fmt(f),
            Self::Socket(call) => call.fmt(f),
            Self::Guest(call) => call.fmt(f),
            Self::Iommufd(call) => call.fmt(f),
            Self::Device(call) => call.fmt(f),
            Self::Container(call) => call.fmt(f),
            Self::Kvm(call) => call.fmt(f),
            Self::Ioctl { fd, ioctl } => {
                f.debug_struct("Ioctl").field("fd", fd).field("ioctl", ioctl).finish()
            }
        }
    }
}

/// The effect of a call.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Access {
    /// Changes no state.
    Reads,
    /// Changes only the calling process: its memory map, its descriptors, its own guest, messages
    /// to its peer.
    Own,
    /// Changes state that other processes with the same descriptors see.
    Mutates,
}

impl Call {
    /// Returns the name of the system call or ioctl.
    pub fn name(&self) -> &'static str {
        match self {
            Self::File(call) => call.name(),
            Self::Memory(call) => call.name(),
            Self::Process(call) => call.name(),
            Self::Socket(call) => call.name(),
            Self::Guest(call) => call.name(),
            Self::Iommufd(call) => call.name(),
            Self::Device(call) => call.name(),
            Self::Container(call) => call.name(),
            Self::Kvm(call) => call.name(),
            Self::Ioctl { ioctl, .. } => {
                crate::abi::request::name(ioctl.request).unwrap_or("ioctl")
            }
        }
    }

    /// Returns the effect of the call, as determined by its arguments, regardless of its result.
    pub fn access(&self) -> Access {
        match self {
            Self::File(call) => call.access(),
            Self::Memory(call) => call.access(),
            Self::Process(call) => call.access(),
            Self::Socket(call) => call.access(),
            Self::Guest(call) => call.access(),
            Self::Iommufd(call) => call.access(),
            Self::Device(call) => call.access(),
            Self::Container(call) => call.access(),
            Self::Kvm(call) => call.access(),
            Self::Ioctl { .. } => Access::Mutates,
        }
    }
}

/// Returns the errno of a failed call. An ioctl as bytes always has a reply, which contains the
/// errno.
pub fn errno_of(answer: &CallResult) -> Option<Errno> {
    match answer {
        Err(errno) => Some(*errno),
        Ok(Reply::Ioctl(outcome)) => outcome.errno(),
        Ok(_) => None,
    }
}

impl Call {
    /// Returns the answer of a kernel that rejects the call and changes nothing.
    pub fn refused(&self, errno: Errno) -> CallResult {
        match self {
            Self::Ioctl { ioctl, .. } => Ok(Reply::Ioctl(ioctl.argument.untouched(Err(errno)))),
            _ => Err(errno),
        }
    }
}

/// A completed call with its process and answer: the unit of a trace.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct CompletedCall {
    /// The calling process.
    pub pid: Pid,
    /// The call.
    pub call: Call,
    /// The answer. For [`ProcessCall::Exec`] and [`ProcessCall::Exit`] that succeeded it is
    /// [`Reply::Done`].
    pub answer: CallResult,
}

impl CompletedCall {
    /// Returns the errno if the call failed.
    pub fn errno(&self) -> Option<Errno> {
        errno_of(&self.answer)
    }
}
