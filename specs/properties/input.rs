//! What a predicate sees of one state, and what it answers.

use crate::scenario::expectation::Expected;
use handoff_model::abi::ids::Pid;
use handoff_model::abi::view::{FileRef, View};
use handoff_model::protocol::Mode;
use handoff_model::role::outgoing::OutgoingOutcome;
use std::collections::BTreeSet;

/// Fails with a sentence unless the condition holds.
macro_rules! must {
    ($condition:expr, $($words:tt)+) => {
        if !$condition {
            return crate::properties::Judgement::Fails(format!($($words)+));
        }
    };
}

pub(super) use must;

/// A moment to judge.
#[derive(Debug)]
pub struct PropertyInput<'a> {
    /// What can be seen.
    pub view: &'a View,
    /// What could be seen before the handoff.
    pub base: &'a View,
    /// Where the handoff is.
    pub status: Status,
    /// The open files that must be handed over, each exactly once.
    pub preserved: &'a BTreeSet<FileRef>,
}

/// Where the handoff is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[expect(clippy::struct_excessive_bools, reason = "independent facts, each asked by itself")]
pub struct Status {
    /// By transfer or by exec.
    pub mode: Mode,
    /// The process that must have the virtual machine; `None` once it died with its process.
    pub guest_owner: Option<Pid>,
    /// That process was killed from outside.
    pub guest_owner_was_killed: bool,
    /// Nothing is under way.
    pub quiescent: bool,
    /// How it ended for the old process, where it has ended there.
    pub outcome: Option<OutgoingOutcome>,
    /// By exec: the old program runs again.
    pub fell_back: bool,
    /// It happened: the guest is with the new process, or the new program.
    pub handed_over: bool,
    /// A call was failed, a process killed, or it was called off; or the virtual machine changed
    /// after its state was cut.
    pub faulted: bool,
    /// What the protocol must make of it.
    pub expected: Expected,
    /// The old process goes back without having been told why, though nothing has disturbed either.
    pub unexplained: bool,
    /// By exec: the new program acts.
    pub new_program: bool,
    /// Nothing is under way, and a process that has not the guest lives on.
    pub left_over: bool,
    /// The handoff has stopped the guest at some time.
    pub was_stopped: bool,
    /// The new process changed something before it was allowed to.
    pub changed_early: bool,
    /// The new process has been allowed to change things.
    pub commit_allowed: bool,
    /// How far the guest has ever come; `None` where that is not counted.
    pub progress: Option<u64>,
    /// Descriptors may be inheritable now.
    pub window_open: bool,
    /// The eventfd of an interrupt that was armed while the guest ran.
    pub armed: Option<FileRef>,
}

/// What a property says of a moment.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Judgement {
    /// It has nothing to say here.
    Vacuous,
    /// It holds, and could have failed.
    Holds,
    /// It does not hold; why.
    Fails(String),
}
