//! The roles of a handoff: the old process ([`outgoing`]) and the new process ([`incoming`]).
//!
//! A role is a state machine without I/O. [`Role::next_call`] returns the system call that the
//! process makes next; the caller makes it, on a simulated or a real kernel, and passes the answer
//! to [`Role::complete`]. Messages to the peer are calls, too (`sendmsg`, `recvmsg`). [`drive`] is
//! that loop.
//!
//! **Invariant:** a step makes exactly one call, and a role does nothing between two steps. So
//! whoever drives it, a model checker or a VMM, can interleave it with other processes, make a call
//! fail, or kill the process between any two calls, and at no other point. A role is a plain value,
//! which can be cloned, compared and hashed.
//!
//! ```text
//!    inventory + descriptors
//!             │
//!             ▼
//!    script: the calls of each phase ───── next_call ────► kernel
//!                                                            │
//!    cursor: next call or phase,   ◄── judge: success, ◄── complete
//!    retry or undo, by the rules       failure, repeat
//!    of the protocol's table           or jump
//! ```
//!
//! Most of a script is fixed as soon as the inventory and the descriptors are known: for the old
//! process from the beginning, for the new process once it has read the stream. A few calls depend
//! on earlier answers. The order of the phases, and every rollback, is data ([`crate::protocol`]).
//!
//! On a kernel on which every call fails, the new process leaves:
//!
//! ```
//! use handoff_model::abi::call::{Call, CallResult};
//! use handoff_model::abi::errno::Errno;
//! use handoff_model::abi::ids::Fd;
//! use handoff_model::abi::kernel::Kernel;
//! use handoff_model::protocol::{Mode, Protocol};
//! use handoff_model::role::incoming::{Incoming, IncomingOutcome, IncomingTransport};
//! use handoff_model::role::{Role, drive};
//!
//! struct Broken;
//!
//! impl Kernel for Broken {
//!     fn call(&mut self, _: &Call) -> CallResult {
//!         Err(Errno::EIO)
//!     }
//! }
//!
//! let protocol = Protocol::safe(Mode::Transfer);
//! let mut role = Incoming::new(&protocol, IncomingTransport::Transfer { socket: Fd(3) });
//! drive(&mut role, &mut Broken, |role, event| println!("{}: {event:?}", role.phase()));
//! assert_eq!(role.end(), Some(IncomingOutcome::Left));
//! ```

mod calls;
mod cursor;
mod failure;
pub mod incoming;
#[cfg(feature = "lab")]
mod lab;
pub mod outgoing;

use crate::abi::call::{Call, CallResult, ProcessCall};
use crate::abi::kernel::Kernel;
use crate::protocol::measure::ProgressMeasure;
use crate::vm::{Descriptors, Vm};
pub use failure::{Cause, StepError};
use std::fmt::{Debug, Display};
use std::hash::Hash;

/// A state machine that makes one system call per step.
pub trait Role {
    /// The phases of the role.
    type Phase: Copy + Debug + Display;
    /// The possible outcomes.
    type End: Copy + Eq + Hash + Debug;

    /// Returns the call to make next; `None` when the role has ended.
    fn next_call(&self) -> Option<Call>;
    /// Takes the answer to that call and advances. Returns the error, if there is one; each error
    /// is returned once, here.
    fn complete(&mut self, answer: CallResult) -> Option<StepError>;
    /// Returns an upper bound on the remaining steps. It decreases with each step, except when a
    /// call is repeated to receive more data.
    fn remaining(&self) -> ProgressMeasure;
    /// Returns the present phase.
    fn phase(&self) -> Self::Phase;
    /// Returns the name of the present phase, for people.
    fn phase_name(&self) -> String {
        self.phase().to_string()
    }
    /// Returns the outcome; `None` until the role has ended.
    fn end(&self) -> Option<Self::End>;
    /// Returns why the handoff failed, as soon as that is known.
    fn cause(&self) -> Option<Cause>;
    /// Returns true if the role can be cancelled now.
    fn can_cancel(&self) -> bool {
        false
    }
    /// Cancels the handoff: the role starts the rollback of its present phase. Has no effect if
    /// that phase has none.
    fn cancel(&mut self) -> Option<StepError> {
        None
    }
    /// Returns true if the virtual machine may change now: before the first call of a phase, as
    /// under a VMM's lock.
    fn can_change(&self) -> bool {
        false
    }
    /// Informs the role that the VMM has armed interrupts while its guest runs
    /// ([`crate::vm::launch::arm`]). Nothing else may change after the first step: preconditions
    /// are checked once, and a VMM refuses hotplug until the handoff is over, as QEMU does.
    ///
    /// A snapshot that was already taken is not updated; returns true if there is one. The early
    /// variant detects the outdated snapshot before or when the guest stops, and rolls back.
    fn change(&mut self, _vm: &Vm, _descriptors: &Descriptors) -> bool {
        false
    }
}

/// An event that [`drive`] reports: two for each step.
#[derive(Debug)]
pub enum StepEvent<'a> {
    /// The call is about to be made.
    Calling(&'a Call),
    /// The call has returned and the role has taken the answer, with this error if there was one.
    Returned(&'a Call, &'a CallResult, Option<&'a StepError>),
}

/// Runs a role until it ends, and reports every step to `observe`.
///
/// [`ProcessCall::Exit`] and [`ProcessCall::Exec`] do not return on a real kernel. On a simulated
/// one the loop ends after they succeed, because the caller is no longer that process.
pub fn drive<R: Role>(
    role: &mut R,
    kernel: &mut impl Kernel,
    mut observe: impl FnMut(&mut R, StepEvent<'_>),
) {
    while let Some(call) = role.next_call() {
        observe(role, StepEvent::Calling(&call));
        let answer = kernel.call(&call);
        let error = role.complete(answer.clone());
        observe(role, StepEvent::Returned(&call, &answer, error.as_ref()));
        if answer.is_ok()
            && matches!(call, Call::Process(ProcessCall::Exit { .. } | ProcessCall::Exec { .. }))
        {
            return;
        }
    }
}
