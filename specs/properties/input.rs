//! Input and result of a predicate.

use super::Names;
use crate::scenario::expectation::Expected;
use handoff_model::abi::ids::Pid;
use handoff_model::abi::view::{FileRef, View};
use handoff_model::protocol::Mode;
use handoff_model::role::outgoing::OutgoingOutcome;
use std::collections::BTreeSet;

/// Returns [`Judgement::Fails`] with a sentence unless the condition holds.
macro_rules! must {
    ($condition:expr, $($words:tt)+) => {
        if !$condition {
            return crate::properties::Judgement::Fails(format!($($words)+));
        }
    };
}

pub(super) use must;

/// One state, as a predicate sees it.
#[derive(Debug)]
pub struct PropertyInput<'a> {
    /// View of the machine in this state.
    pub view: &'a View,
    /// View of the machine before the handoff.
    pub base: &'a View,
    /// Status of the handoff in this state.
    pub status: Status,
    /// Open files of the VM, each of which must be handed over exactly once.
    pub preserved: &'a BTreeSet<FileRef>,
    /// Names for the sentence of a violation.
    pub names: &'a Names,
}

/// Status of the handoff in one state.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[expect(clippy::struct_excessive_bools, reason = "independent facts, each queried by itself")]
pub struct Status {
    /// Mode of the handoff: transfer or exec.
    pub mode: Mode,
    /// The process that must have the guest; `None` once the guest exited with its process.
    pub guest_owner: Option<Pid>,
    /// True if that process was killed from outside.
    pub guest_owner_was_killed: bool,
    /// True if no role acts: the handoff is over, or has not started.
    pub quiescent: bool,
    /// Outcome for the old process, once its role has ended.
    pub outcome: Option<OutgoingOutcome>,
    /// True if the old program runs again after an exec.
    pub fell_back: bool,
    /// True if the guest was handed over to the new process or program.
    pub handed_over: bool,
    /// True if a fault occurred: a failed call, a kill, a cancel, or a change of the VM after its
    /// snapshot.
    pub faulted: bool,
    /// Outcome that the protocol must reach in this scenario without faults.
    pub expected: Expected,
    /// True if the old process rolls back without a reason from the new one, although no fault
    /// occurred.
    pub unexplained: bool,
    /// True if the new program acts after an exec.
    pub new_program: bool,
    /// True if the handoff is over and a process without the guest still exists.
    pub left_over: bool,
    /// True if the handoff has stopped the guest at some point.
    pub was_stopped: bool,
    /// True if the new process changed something before the commit was allowed.
    pub changed_early: bool,
    /// True if the old process has allowed the commit.
    pub commit_allowed: bool,
    /// Furthest progress that the guest has reached; `None` where progress is not counted.
    pub progress: Option<u64>,
    /// True if descriptors may be inheritable in this phase.
    pub window_open: bool,
    /// Eventfd of an interrupt that the guest armed while it ran.
    pub armed: Option<FileRef>,
}

/// Result of a predicate in one state.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Judgement {
    /// The antecedent does not hold here, so the property requires nothing.
    Vacuous,
    /// The property holds, and its antecedent does too.
    Holds,
    /// The property is violated, for this reason.
    Fails(String),
}
