//! The ioctls of KVM that a handoff makes.
//!
//! Mirrors: `include/uapi/linux/kvm.h` of Linux 7.3. Errnos are listed where they matter to a
//! handoff; the order in which a kernel checks is kept in the simulated kernel.

use super::{Access, Call};
use crate::abi::ids::Fd;
use serde::{Deserialize, Serialize};

/// An ioctl of KVM.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum KvmCall {
    /// `KVM_CREATE_VM`, of the default type → [`super::Reply::Fd`]. ENOMEM.
    CreateVm {
        /// `/dev/kvm`.
        kvm: Fd,
    },
    /// `KVM_CREATE_IRQCHIP`. EIO (not its maker), EEXIST, EINVAL (there is a vCPU).
    CreateIrqchip {
        /// The virtual machine.
        vm: Fd,
    },
    /// `KVM_IRQFD`: signals of an eventfd become interrupts of a virtual machine, or no longer do.
    /// Assigning: EBUSY where the eventfd has an irqfd (before 6.17: in the same VM), EBADF, EIO.
    /// Taking away what is not there succeeds.
    Irqfd {
        /// The virtual machine.
        vm: Fd,
        /// The eventfd.
        eventfd: Fd,
        /// Which interrupt of the virtual machine.
        gsi: u32,
        /// Or take it away.
        assign: bool,
    },
}

impl KvmCall {
    /// Returns the name of the system call or ioctl.
    pub fn name(&self) -> &'static str {
        match self {
            Self::CreateVm { .. } => "KVM_CREATE_VM",
            Self::CreateIrqchip { .. } => "KVM_CREATE_IRQCHIP",
            Self::Irqfd { .. } => "KVM_IRQFD",
        }
    }

    /// What the call touches, judged by its arguments, however it ends.
    pub fn access(&self) -> Access {
        match self {
            Self::CreateVm { .. } | Self::CreateIrqchip { .. } => Access::Own,
            Self::Irqfd { .. } => Access::Mutates,
        }
    }
}

impl KvmCall {
    /// Returns a `KVM_IRQFD`.
    pub fn irqfd(vm: Fd, eventfd: Fd, gsi: u32, assign: bool) -> Call {
        Call::Kvm(Self::Irqfd { vm, eventfd, gsi, assign })
    }
}
