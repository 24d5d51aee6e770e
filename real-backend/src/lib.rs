//! The handoff on Linux: `handoff_model::abi::kernel::Kernel` made of real system calls, and eyes
//! on the host that runs it.
//!
//! | module | what it is |
//! |---|---|
//! | [`host`] | the kernel trait for the calling process, one system call a call |
//! | [`memory`] | what the process has mapped through it |
//! | [`socket`], [`spawn`] | the channel to a new process, and the new process |
//! | [`sysfs`], [`descriptors`], [`observe`] | reading the host: devices, descriptors, a whole view |
//! | [`doctor`] | whether this host can do a handoff at all |
//! | [`clock`], [`recorder`] | when calls were made, and which |
//!
//! Needs Linux 6.13 for the handoff itself (`IOMMU_IOAS_MAP_FILE`, `IOMMU_IOAS_CHANGE_PROCESS`),
//! 6.6 for VFIO device files, 5.11 to spawn. On an older kernel calls fail as that kernel fails
//! them.
//!
//! Safety: all unsafe code is in `sys`, and takes numbers or memory that it has mapped itself.
//! Descriptors are numbers, not owners: closing is a call of the protocol, never a destructor,
//! because the last close of a device resets it.

pub mod clock;
pub mod descriptors;
pub mod doctor;
pub mod host;
pub mod observe;
mod process;
pub mod recorder;
pub mod socket;
pub mod spawn;
mod sys;
pub mod sysfs;

pub use sys::memory;
