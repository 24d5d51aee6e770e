//! What can happen in a world.

use crate::world::{NEW, OLD};
use handoff_model::errno::Errno;
use handoff_model::ids::Pid;

/// One of the two processes. By exec there is only the old one.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Side {
    /// The process that has the guest at the beginning.
    Old,
    /// The other.
    New,
}

impl Side {
    /// Its process.
    pub fn pid(self) -> Pid {
        match self {
            Self::Old => OLD,
            Self::New => NEW,
        }
    }
}

/// One thing that can happen.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Action {
    /// A role makes its next call.
    Step(Side),
    /// A role's next call fails, without having done anything.
    Fail(Side, Errno),
    /// A process is killed.
    Kill(Side),
    /// The new process dies of the signal that the old one has sent.
    Die,
    /// Somebody calls it off.
    Cancel,
    /// A device writes to guest memory and raises an interrupt.
    Raise(u8),
    /// The guest takes a device's interrupt.
    Take(Side, u8),
    /// The guest works on.
    Work(Side),
}

impl Action {
    /// Whether the environment disturbs the handoff by it.
    pub fn is_fault(&self) -> bool {
        matches!(self, Self::Fail(..) | Self::Kill(_) | Self::Cancel)
    }
}
