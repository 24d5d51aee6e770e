//! The operations of a VMM on its own guest: vCPUs and emulated devices, which no kernel knows.
//!
//! Mirrors: `vm_stop`, `qemu_savevm_state`, `vm_start` of QEMU 10.2. Errnos are listed if they
//! matter to a handoff.

use super::Access;
use crate::abi::ids::Fd;
use serde::{Deserialize, Serialize};

/// An operation of a VMM on its guest.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum GuestCall {
    /// Takes every vCPU out of `KVM_RUN` and keeps it out; emulated devices stop with it.
    Stop,
    /// Serialises vCPUs and emulated devices into a memfd.
    Save {
        /// The memfd to write.
        fd: Fd,
    },
    /// Builds a stopped guest from the output of [`Self::Save`]; affects only this process. EINVAL.
    Load {
        /// The memfd to read.
        fd: Fd,
    },
    /// Lets the vCPUs run.
    Start,
}

impl GuestCall {
    /// Returns the name of the operation.
    pub fn name(&self) -> &'static str {
        match self {
            Self::Stop => "stop guest",
            Self::Save { .. } => "save guest",
            Self::Load { .. } => "load guest",
            Self::Start => "start guest",
        }
    }

    /// Returns the effect of the call, as determined by its arguments, regardless of its result.
    pub fn access(&self) -> Access {
        match self {
            Self::Stop | Self::Load { .. } => Access::Own,
            Self::Save { .. } | Self::Start => Access::Mutates,
        }
    }
}
