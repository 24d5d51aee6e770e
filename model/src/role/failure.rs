//! Why a step or a handoff failed.

use crate::abi::call::Call;
use crate::abi::errno::Errno;
use crate::stream::{CorruptFrame, InvalidState};
use crate::vm::blocker::Blocker;
use serde::{Deserialize, Serialize};
use std::fmt;

/// What went wrong in a step.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum StepError {
    /// Preconditions that do not hold.
    #[error("{}", list(.0))]
    Blocked(Vec<Blocker>),
    /// The peer's reason.
    #[error("the new process refuses: {0}")]
    Refused(String),
    /// A call that failed.
    #[error("{call} failed: {errno} ({})", errno.text())]
    Call {
        /// Its name.
        call: String,
        /// Why.
        errno: Errno,
    },
    /// The other end of the channel was closed.
    #[error("the other process is gone")]
    PeerGone,
    /// Somebody asked for an end, or a deadline passed.
    #[error("cancelled")]
    Cancelled,
    /// A packet that is not a message.
    #[error("unreadable message: {0}")]
    CorruptFrame(#[from] CorruptFrame),
    /// A message that was not due.
    #[error("unexpected message {0}")]
    Unexpected(String),
    /// The state was refused.
    #[error("the state is not usable: {0}")]
    InvalidState(#[from] InvalidState),
    /// The other process walks another form of the protocol.
    #[error(
        "the old process cuts the state {}, the new one waits for one that is cut {}; use the \
         same form in both",
        when(*early),
        when(!early)
    )]
    OtherForm {
        /// The old process cuts it while the guest runs.
        early: bool,
    },
    /// The virtual machine has changed since its state was cut.
    #[error("the virtual machine has changed since its state was cut; try again")]
    Outdated,
    /// Descriptors were lost on the way (MSG_CTRUNC).
    #[error("descriptors were lost on the way: raise RLIMIT_NOFILE")]
    DescriptorsLost,
    /// The kernel and the inventory disagree.
    #[error("{what}: the inventory says {said}, the kernel {has}")]
    Mismatch {
        /// About what.
        what: String,
        /// One side.
        said: String,
        /// The other.
        has: String,
    },
}

fn when(early: bool) -> &'static str {
    if early { "while the guest runs" } else { "when the guest is stopped" }
}

fn list(blockers: &[Blocker]) -> String {
    blockers.iter().map(ToString::to_string).collect::<Vec<_>>().join("; ")
}

impl StepError {
    /// A call that failed.
    pub(crate) fn call(call: &Call, errno: Errno) -> Self {
        Self::Call { call: call.name().to_owned(), errno }
    }

    /// The kernel has something else than `said`.
    pub(crate) fn mismatch(
        what: impl fmt::Display,
        said: impl fmt::Display,
        has: impl fmt::Display,
    ) -> Self {
        Self::Mismatch { what: what.to_string(), said: said.to_string(), has: has.to_string() }
    }

    /// The class that a role remembers.
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

/// Why a handoff did not happen.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Cause {
    /// A precondition of this side.
    Blocked,
    /// A precondition of the other side, or its failure.
    Refused,
    /// A call failed, or something was not as it should be.
    Failed,
    /// The other process ended.
    PeerGone,
    /// Somebody asked for it.
    Cancelled,
}
