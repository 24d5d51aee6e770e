//! What the two roles have in common: they are step machines.
//!
//! A role says which call it wants to make ([`Role::next_call`]) and is told the answer
//! ([`Role::complete`]); nothing else happens between. So whoever drives it, a checker or a VMM,
//! can interleave, fail or end it between any two calls, and only there. Its state is a plain
//! value.
//!
//! Both roles walk a script: for each phase of the protocol's table a list of calls, fixed as soon
//! as the inventory and the descriptors are known.

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

/// A step machine.
pub trait Role {
    /// Its phases.
    type Phase: Copy + Debug + Display;
    /// The ways in which it can end.
    type End: Copy + Eq + Hash + Debug;

    /// The call that it wants to make next; `None` when it has ended.
    fn next_call(&self) -> Option<Call>;
    /// Takes the answer to that call. What went wrong, if anything did, is told once, here.
    fn complete(&mut self, answer: CallResult) -> Option<StepError>;
    /// At most so much is left of it: each step makes it less, but one after which the same call is
    /// made again because there is more to come.
    fn remaining(&self) -> ProgressMeasure;
    /// Returns the present phase.
    fn phase(&self) -> Self::Phase;
    /// Returns the name of the present phase, for people.
    fn phase_name(&self) -> String {
        self.phase().to_string()
    }
    /// Returns how it ended; `None` while it goes on.
    fn end(&self) -> Option<Self::End>;
    /// Returns why the handoff did not happen, as soon as that is known.
    fn cause(&self) -> Option<Cause>;
    /// Returns true if it can be cancelled now.
    fn can_cancel(&self) -> bool {
        false
    }
    /// Cancels it: the role takes the way back from its present phase. Does nothing if that phase
    /// has none.
    fn cancel(&mut self) -> Option<StepError> {
        None
    }
    /// Returns true if the virtual machine may change now: between two phases, as under a VMM's
    /// lock.
    fn can_change(&self) -> bool {
        false
    }
    /// Informs the role that the VMM has armed interrupts while its guest runs
    /// ([`crate::vm::launch::arm`]). Nothing else may change after the first step: preconditions
    /// are judged once, and a VMM refuses to plug until the handoff is over, as QEMU does. A state
    /// that was cut stays as it was cut; returns true if it was. A table that cuts early notices
    /// this before the guest stops, or when it does.
    fn change(&mut self, _vm: &Vm, _descriptors: &Descriptors) -> bool {
        false
    }
}

/// What an observer of [`drive`] sees: each step twice.
#[derive(Debug)]
pub enum StepEvent<'a> {
    /// The call is about to be made.
    Calling(&'a Call),
    /// It was made, the role has taken the answer, and this went wrong.
    Returned(&'a Call, &'a CallResult, Option<&'a StepError>),
}

/// Runs a role to its end, telling an observer of every step.
///
/// [`ProcessCall::Exit`] and [`ProcessCall::Exec`] do not return on a real kernel; on a simulated
/// one the loop ends after them, for the caller is not that process any more.
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
