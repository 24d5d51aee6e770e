//! Errors of a step, and causes of a failed handoff.

use crate::abi::call::Call;
use crate::abi::errno::Errno;
use crate::stream::{CorruptFrame, InvalidState};
use crate::vm::blocker::Blocker;
use serde::{Deserialize, Serialize};
use std::fmt;

/// The error of a step.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum StepError {
    /// A precondition does not hold.
    #[error("{}", list(.0))]
    Blocked(Vec<Blocker>),
    /// The new process refused, for this reason.
    #[error("the new process refused: {0}")]
    Refused(String),
    /// A call failed.
    #[error("{call} failed: {errno} ({})", errno.text())]
    Call {
        /// The name of the call.
        call: String,
        /// The errno.
        errno: Errno,
    },
    /// The other process closed its end of the channel.
    #[error("the other process closed the channel")]
    PeerGone,
    /// The caller or the peer cancelled the handoff.
    #[error("cancelled")]
    Cancelled,
    /// A packet that is not a valid message.
    #[error("invalid message: {0}")]
    CorruptFrame(#[from] CorruptFrame),
    /// A message or reply that is not expected in this phase.
    #[error("unexpected message or reply: {0}")]
    Unexpected(String),
    /// The received state is invalid.
    #[error("invalid state: {0}")]
    InvalidState(#[from] InvalidState),
    /// The two processes use different variants of the protocol.
    #[error(
        "the old process takes the snapshot {}, the new process expects it {}; use the same \
         protocol variant in both",
        when(*early),
        when(!early)
    )]
    OtherForm {
        /// True if the old process takes the snapshot while the guest runs.
        early: bool,
    },
    /// The virtual machine changed after its snapshot was taken.
    #[error("the virtual machine changed after its snapshot was taken; try again")]
    Outdated,
    /// Descriptors were lost in transfer (MSG_CTRUNC).
    #[error("descriptors were lost in transfer: raise RLIMIT_NOFILE")]
    DescriptorsLost,
    /// The kernel's state differs from the inventory.
    #[error("{what}: the inventory has {said}, the kernel has {has}")]
    Mismatch {
        /// The object, or its attribute, that differs.
        what: String,
        /// The value in the inventory.
        said: String,
        /// The value that the kernel reports.
        has: String,
    },
}

fn when(early: bool) -> &'static str {
    if early { "while the guest runs" } else { "after the guest has stopped" }
}

fn list(blockers: &[Blocker]) -> String {
    blockers.iter().map(ToString::to_string).collect::<Vec<_>>().join("; ")
}

impl StepError {
    /// Returns the error of a failed call.
    pub(crate) fn call(call: &Call, errno: Errno) -> Self {
        Self::Call { call: call.name().to_owned(), errno }
    }

    /// Returns the error for an object whose value is `said` in the inventory and `has` in the
    /// kernel.
    pub(crate) fn mismatch(
        what: impl fmt::Display,
        said: impl fmt::Display,
        has: impl fmt::Display,
    ) -> Self {
        Self::Mismatch { what: what.to_string(), said: said.to_string(), has: has.to_string() }
    }

    /// Returns the class of the error, which the role stores.
    pub fn cause(&self) -> Cause {
        match self {
            Self::Blocked(_) => Cause::Blocked,
            Self::Refused(_) => Cause::Refused,
            Self::PeerGone => Cause::PeerGone,
            Self::Cancelled => Cause::Cancelled,
            _ => Cause::Failed,
        }
    }
}

/// The reason for which a handoff failed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Cause {
    /// A precondition of this side does not hold.
    Blocked,
    /// The other side refused: a precondition does not hold there, or it failed.
    Refused,
    /// A call failed, or its answer was rejected.
    Failed,
    /// The other process closed the channel or exited.
    PeerGone,
    /// The handoff was cancelled.
    Cancelled,
}
