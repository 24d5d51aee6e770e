//! A protocol for VMM live update: one VMM process hands its passed-through devices to another.
//!
//! An old process owns an open iommufd, VFIO devices bound to it, mappings of guest RAM for their
//! DMA, and the eventfds of their interrupts. A new process, or the same process after an `execve`,
//! takes over these kernel objects while the devices keep running. The kernel contributes one call,
//! `IOMMU_IOAS_CHANGE_PROCESS`; the rest is a protocol between the two processes:
//!
//! * [`vm`]: the inventory that is handed over, and [`stream`], its transport;
//! * [`role::outgoing`] and [`role::incoming`]: the two roles, state machines that make one call
//!   per step;
//! * [`protocol`]: the order of their phases and every rollback, as tables;
//! * [`vm::blocker`]: the preconditions of a handoff, checked before anything is changed;
//! * [`protocol::measure`]: the ranking function that bounds the remaining steps of a role;
//! * [`vm::launch`]: the calls by which a VMM acquires these objects at startup;
//! * `variants`: other protocols, known bugs, and mutants.
//!
//! Below the roles is one boundary, [`abi::kernel::Kernel`]: every system call is a value
//! ([`abi::call::Call`]) that a simulated or a real kernel answers. Messages to the peer are calls,
//! too (`sendmsg`, `recvmsg`), so code that fails, records or replays calls covers all interaction.
//! Properties are evaluated on an [`abi::view::View`] only. [`text`] renders calls and views for
//! people.
//!
//! The modules import one another in one direction: `abi` < `vm` < `protocol` < `stream` < `role`.
//! `variants` depends on `protocol`, `trace` on `abi`; no module depends on `variants` or `trace`.
//!
//! `variants`, and the phases that only they use, are behind the feature `lab`, which is for model
//! checkers. A VMM leaves it off and embeds neither.
//!
//! This crate has no `unsafe`, no operating system, no clock, no thread and no I/O.
//!
//! # Example
//!
//! A VMM drives a role by making its calls, one at a time. This kernel refuses every call, so the
//! old process refuses the handoff, and its guest was never stopped:
//!
//! ```
//! use handoff_model::abi::call::{Call, CallResult};
//! use handoff_model::abi::errno::Errno;
//! use handoff_model::abi::ids::Fd;
//! use handoff_model::abi::kernel::Kernel;
//! use handoff_model::protocol::{Mode, Protocol};
//! use handoff_model::role::Role;
//! use handoff_model::role::outgoing::{Outgoing, OutgoingOutcome, OutgoingTransport};
//! use handoff_model::vm::{Descriptors, Vm};
//!
//! struct Refusing(Vec<Call>);
//!
//! impl Kernel for Refusing {
//!     fn call(&mut self, call: &Call) -> CallResult {
//!         self.0.push(call.clone());
//!         Err(Errno::EPERM)
//!     }
//! }
//!
//! let mut kernel = Refusing(Vec::new());
//! let protocol = Protocol::safe(Mode::Transfer);
//! let (vm, descriptors) = (Vm::default(), Descriptors::default());
//! let transport = OutgoingTransport::Transfer { socket: Fd(3), pidfd: Fd(4) };
//! let mut old = Outgoing::new(&protocol, &vm, &descriptors, transport);
//! while let Some(call) = old.next_call() {
//!     let answer = kernel.call(&call);
//!     if let Some(error) = old.complete(answer) {
//!         println!("{}: {error}", old.phase_name());
//!     }
//! }
//! assert_eq!(old.end(), Some(OutgoingOutcome::Refused));
//! assert!(!kernel.0.iter().any(|call| matches!(call, Call::Guest(_))));
//! ```

pub mod abi;
pub mod protocol;
pub mod role;
pub mod shared;
pub mod stream;
pub mod text;
pub mod trace;
#[cfg(feature = "lab")]
pub mod variants;
pub mod vm;
