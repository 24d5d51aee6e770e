//! The handoff of passed-through devices from one VMM process to another, written once.
//!
//! An old process owns an open iommufd, VFIO devices bound to it, mappings of guest RAM for their
//! DMA, and the eventfds of their interrupts. A new process, or the same process with a new
//! program, takes all of it over while the devices go on. The kernel helps with one call,
//! `IOMMU_IOAS_CHANGE_PROCESS`; everything else is a protocol between the two, and that is here:
//!
//! * [`vm`]: the inventory, what is handed over, and [`stream`], how it crosses;
//! * [`role::outgoing`] and [`role::incoming`]: the two roles, step machines that make one call a
//!   step;
//! * [`protocol`]: the order of their phases and every way back, as a table;
//! * [`vm::blocker`]: what makes a handoff impossible, known before anything is touched;
//! * [`protocol::measure`]: how much of a role is left, which every step makes less;
//! * [`vm::launch`]: how a VMM comes to own all that in the first place;
//! * `variants`: other protocols, known ways to get it wrong, and mutants.
//!
//! Below the roles is one boundary, [`abi::kernel::Kernel`]: every system call is a value
//! ([`abi::call::Call`]) that a simulated or a real kernel answers. Messages to the peer are calls,
//! too (`sendmsg`, `recvmsg`), so that whatever fails, records or replays calls has them all.
//! Judgement looks at a [`abi::view::View`] and at nothing else. [`text`] renders calls and views
//! for people.
//!
//! The modules import one another in one direction: `abi` < `vm` < `protocol` < `stream` < `role`.
//! `variants` stands on `protocol`, `trace` on `abi`, and nothing on these two.
//!
//! `variants`, and what the roles have only for its sake, is behind the feature `lab`, which is for
//! checkers: a VMM embeds neither other protocols nor their phases.
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
