//! What a VMM does to its own guest: its vCPUs and emulated devices, which no kernel knows.
//!
//! Mirrors: `vm_stop`, `qemu_savevm_state`, `vm_start` of QEMU 10.2. Errnos are listed where they
//! matter to a handoff; the order in which a kernel checks is kept in the simulated kernel.

use super::Access;
use crate::abi::ids::Fd;
use serde::{Deserialize, Serialize};

/// A call of a VMM on its guest.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum GuestCall {
    /// Bring every vCPU out of `KVM_RUN` and keep it out; emulated devices stop with it.
    Stop,
    /// Serialize vCPUs and emulated devices into a memfd.
    Save {
        /// Where to.
        fd: Fd,
    },
    /// Build a stopped guest from what [`Self::Save`] wrote; touches nothing but this process.
    /// EINVAL.
    Load {
        /// Where from.
        fd: Fd,
    },
    /// Let the vCPUs run.
    Start,
}

impl GuestCall {
    /// Returns the name of the system call or ioctl.
    pub fn name(&self) -> &'static str {
        match self {
            Self::Stop => "stop guest",
            Self::Save { .. } => "save guest",
            Self::Load { .. } => "load guest",
            Self::Start => "start guest",
        }
    }

    /// What the call touches, judged by its arguments, however it ends.
    pub fn access(&self) -> Access {
        match self {
            Self::Stop | Self::Load { .. } => Access::Own,
            Self::Save { .. } | Self::Start => Access::Mutates,
        }
    }
}
