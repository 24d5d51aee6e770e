//! The real backend: `handoff_model::abi::kernel::Kernel` implemented with Linux system calls, and
//! observation of the host.
//!
//! | module | what it is |
//! |---|---|
//! | [`host`] | the kernel trait for the calling process: one system call per call |
//! | [`memory`] | the register of the process's mappings |
//! | [`socket`], [`spawn`] | the channel to a new process; starting that process |
//! | [`sysfs`], [`descriptors`], [`observe`] | read devices, descriptors and a complete view |
//! | [`doctor`] | checks whether this host supports a handoff |
//! | [`clock`], [`recorder`] | records calls with their times |
//!
//! Requires Linux 6.13 for the handoff itself (`IOMMU_IOAS_MAP_FILE`, `IOMMU_IOAS_CHANGE_PROCESS`),
//! 6.6 for VFIO device files, 5.11 to spawn. On an older kernel, calls fail with that kernel's
//! errnos.
//!
//! # Example
//!
//! The old process starts the new one, hands the VM over, and learns how it ended:
//!
//! ```no_run
//! use handoff_model::abi::errno::Errno;
//! use handoff_model::abi::ids::Fd;
//! use handoff_model::protocol::{Mode, Protocol};
//! use handoff_model::role::outgoing::{Outgoing, OutgoingOutcome, OutgoingTransport};
//! use handoff_model::role::{Role, StepEvent, drive};
//! use handoff_model::vm::{Descriptors, Vm};
//! use handoff_real_backend::host::{Guest, Host};
//! use handoff_real_backend::memory::Memory;
//! use handoff_real_backend::{socket, spawn};
//! use std::os::fd::IntoRawFd;
//!
//! fn hand_over(
//!     vm: &Vm,
//!     descriptors: &Descriptors,
//!     memory: Memory,
//!     guest: Box<dyn Guest>,
//! ) -> Result<Option<OutgoingOutcome>, Errno> {
//!     let (socket, peer) = socket::pair()?;
//!     let argv = ["my-vmm".into(), "--incoming".into()];
//!     let new = spawn::spawn("/usr/bin/my-vmm".as_ref(), &argv, peer)?;
//!     let (socket, pidfd) = (Fd(socket.into_raw_fd()), Fd(new.pidfd.into_raw_fd()));
//!     let transport = OutgoingTransport::Transfer { socket, pidfd };
//!     let protocol = Protocol::safe(Mode::Transfer);
//!     let mut old = Outgoing::new(&protocol, vm, descriptors, transport);
//!     let mut host = Host::new(Vec::new(), memory, guest);
//!     drive(&mut old, &mut host, |old, event| {
//!         if let StepEvent::Returned(_, _, Some(error)) = event {
//!             eprintln!("{}: {error}", old.phase_name());
//!         }
//!     });
//!     Ok(old.end())
//! }
//! ```
//!
//! # Safety
//!
//! All unsafe code is in `sys`, and takes numbers or memory that it has mapped itself.
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
