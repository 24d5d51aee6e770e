//! The actions of the transition system, and the processes that take them.

use handoff_model::abi::errno::Errno;
use handoff_model::abi::ids::Pid;

/// Program images: the running one and the one to execute.
pub(crate) const OLD_IMAGE: u8 = 0;
pub(crate) const NEW_IMAGE: u8 = 1;

/// The process that owns the guest at the beginning.
pub const OLD: Pid = Pid(1);
/// The process that receives the guest in transfer mode.
pub const NEW: Pid = Pid(2);

/// One of the two processes. In exec mode only the old one exists.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Side {
    /// The process that owns the guest at the beginning.
    Old,
    /// The other process.
    New,
}

impl Side {
    /// Both sides.
    pub(crate) const BOTH: [Self; 2] = [Self::Old, Self::New];

    /// Returns its process.
    pub fn pid(self) -> Pid {
        match self {
            Self::Old => OLD,
            Self::New => NEW,
        }
    }
}

/// A transition.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Action {
    /// A role makes its next call.
    Step(Side),
    /// A role's next call fails without any effect.
    Fail(Side, Errno),
    /// A process is killed.
    Kill(Side),
    /// The new process dies of the SIGKILL that the old one has sent.
    Die,
    /// The handoff is cancelled.
    Cancel,
    /// A device writes to guest memory and raises an interrupt.
    Raise(u8),
    /// The guest takes a device's interrupt.
    Take(Side, u8),
    /// The guest takes a step.
    Work(Side),
    /// The guest loads its driver for the last device, and the old VMM arms the device's interrupt.
    Arm,
}

/// The kind of an action, for statistics.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// A call of the old process.
    OldCall,
    /// A call of the new process.
    NewCall,
    /// A failing call.
    Failure,
    /// A kill.
    Kill,
    /// The new process's death from the old process's SIGKILL.
    Death,
    /// A cancellation.
    Cancel,
    /// An interrupt, with the device's write to memory.
    Interrupt,
    /// An interrupt that the guest takes.
    Taking,
    /// A step of the guest.
    Work,
    /// An interrupt that is armed while the guest runs.
    Arming,
}

impl Kind {
    /// Returns a noun phrase for the kind.
    pub fn describe(self) -> &'static str {
        match self {
            Self::OldCall => "a call of the old VMM",
            Self::NewCall => "a call of the new VMM",
            Self::Failure => "a failing call",
            Self::Kill => "a kill",
            Self::Death => "a death by the old VMM's SIGKILL",
            Self::Cancel => "a cancellation",
            Self::Interrupt => "an interrupt",
            Self::Taking => "an interrupt taken by the guest",
            Self::Work => "a step of the guest",
            Self::Arming => "an interrupt armed by the guest",
        }
    }
}

impl Kind {
    /// All kinds.
    pub const ALL: [Self; 10] = [
        Self::OldCall,
        Self::NewCall,
        Self::Failure,
        Self::Kill,
        Self::Death,
        Self::Cancel,
        Self::Interrupt,
        Self::Taking,
        Self::Work,
        Self::Arming,
    ];

    /// Returns true if it is a fault: it disturbs the handoff.
    pub fn is_fault(self) -> bool {
        matches!(self, Self::Failure | Self::Kill | Self::Cancel)
    }
}

impl Action {
    /// Returns its kind.
    pub fn kind(&self) -> Kind {
        match self {
            Self::Step(Side::Old) => Kind::OldCall,
            Self::Step(Side::New) => Kind::NewCall,
            Self::Fail(..) => Kind::Failure,
            Self::Kill(_) => Kind::Kill,
            Self::Die => Kind::Death,
            Self::Cancel => Kind::Cancel,
            Self::Raise(_) => Kind::Interrupt,
            Self::Take(..) => Kind::Taking,
            Self::Work(_) => Kind::Work,
            Self::Arm => Kind::Arming,
        }
    }

    /// Returns true if it is a fault: it disturbs the handoff.
    pub fn is_fault(&self) -> bool {
        self.kind().is_fault()
    }
}
