//! The real backend: `handoff_model::abi::kernel::Kernel` implemented with Linux system calls, and
//! observation of the host.
//!
//! | module | what it is |
//! |---|---|
//! | [`host`] | the kernel trait for the calling process: one system call per call |
//! | [`memory`] | the register of the process's mappings |
//! | [`socket`], [`spawn`] | the channel to a new process; starting that process |
//! | [`sysfs`], [`descriptors`], [`observe`] | reads devices, descriptor tables and a complete view |
//! | [`doctor`] | checks whether this host supports a handoff |
//! | [`clock`], [`recorder`] | records calls with their times |
//!
//! Requires Linux 6.13 for the handoff itself (`IOMMU_IOAS_MAP_FILE`, `IOMMU_IOAS_CHANGE_PROCESS`),
//! 6.6 for VFIO device files, 5.11 to spawn. On an older kernel, calls fail with that kernel's
//! errnos.
//!
//! Safety: all unsafe code is in `sys` and takes only numbers, or memory that it has mapped itself.
//! Descriptors are plain numbers without an owner: closing one is a call of the protocol, never a
//! destructor, because the last close of a device resets it.

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
