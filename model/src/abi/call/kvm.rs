//! The ioctls of KVM that a handoff makes.
//!
//! Mirrors: `include/uapi/linux/kvm.h` of Linux 7.3. Errnos are listed if they matter to a handoff;
//! the simulated kernel also reproduces the order of the kernel's checks.

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
    /// `KVM_CREATE_IRQCHIP`. EIO (created by another process), EEXIST, EINVAL (a vCPU exists).
    CreateIrqchip {
        /// The virtual machine.
        vm: Fd,
    },
    /// `KVM_IRQFD`: makes signals of an eventfd interrupts of a virtual machine, or stops that.
    /// When assigning: EBUSY if the eventfd has an irqfd (before 6.17: in the same VM), EBADF, EIO.
    /// Deassigning an irqfd that does not exist succeeds.
    Irqfd {
        /// The virtual machine.
        vm: Fd,
        /// The eventfd.
        eventfd: Fd,
        /// The interrupt of the virtual machine.
        gsi: u32,
        /// True to assign, false to deassign.
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

    /// Returns the effect of the call, as determined by its arguments, regardless of its result.
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
