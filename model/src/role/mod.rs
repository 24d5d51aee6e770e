//! What the two roles have in common: they are step machines.
//!
//! A role says which call it wants to make ([`Role::next`]) and is told the answer
//! ([`Role::took`]); nothing else happens between. So whoever drives it, a checker or a VMM, can
//! interleave, fail or end it between any two calls, and only there. Its state is a plain value.
//!
//! Both roles walk a script: for each phase of the protocol's table a list of calls, fixed as soon
//! as the inventory and the descriptors are known.

mod calls;
mod failure;
pub mod incoming;
#[cfg(feature = "lab")]
mod lab;
pub mod outgoing;
mod walk;

use crate::abi::call::{Answer, Call, ProcessCall};
use crate::abi::kernel::Kernel;
use crate::protocol::measure::Left;
pub use failure::{Cause, Trouble};

/// A step machine.
pub trait Role {
    /// The call that it wants to make next; `None` when it has ended.
    fn next(&self) -> Option<Call>;
    /// Takes the answer to that call. What went wrong, if anything did, is told once, here.
    fn took(&mut self, answer: Answer) -> Option<Trouble>;
    /// Where it is, for people.
    fn phase_name(&self) -> String;
    /// At most so much is left of it: each step makes it less, but one after which the same call is made again because
    /// there is more to come.
    fn left(&self) -> Left;
}

/// What an observer of [`drive`] sees: each step twice.
#[derive(Debug)]
pub enum Seen<'a> {
    /// The call is about to be made.
    Before(&'a Call),
    /// It was made, the role has taken the answer, and this went wrong.
    After(&'a Call, &'a Answer, Option<&'a Trouble>),
}

/// Runs a role to its end, telling an observer of every step.
///
/// [`ProcessCall::Exit`] and [`ProcessCall::Exec`] do not return on a real kernel; on a simulated one the loop ends
/// after them, for the caller is not that process any more.
pub fn drive<R: Role>(
    role: &mut R,
    kernel: &mut impl Kernel,
    mut observe: impl FnMut(&mut R, Seen<'_>),
) {
    while let Some(call) = role.next() {
        observe(role, Seen::Before(&call));
        let answer = kernel.call(&call);
        let trouble = role.took(answer.clone());
        observe(role, Seen::After(&call, &answer, trouble.as_ref()));
        if answer.is_ok()
            && matches!(call, Call::Process(ProcessCall::Exit { .. } | ProcessCall::Exec { .. }))
        {
            return;
        }
    }
}
