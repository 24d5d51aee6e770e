//! What can happen in a world.

use handoff_model::abi::errno::Errno;
use handoff_model::abi::ids::Pid;

/// Program images: what was running, and what shall.
pub(crate) const OLD_IMAGE: u8 = 0;
pub(crate) const NEW_IMAGE: u8 = 1;

/// The process that has the guest at the beginning.
pub const OLD: Pid = Pid(1);
/// The process that shall have it, by transfer.
pub const NEW: Pid = Pid(2);

/// One of the two processes. By exec there is only the old one.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Side {
    /// The process that has the guest at the beginning.
    Old,
    /// The other.
    New,
}

impl Side {
    /// Both.
    pub(crate) const BOTH: [Self; 2] = [Self::Old, Self::New];

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
    /// The guest's driver of the last device is loaded, and the old VMM arms its interrupt.
    Arm,
}

/// What sort of thing an action is, for counting.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// A call of the old process.
    OldCall,
    /// A call of the new process.
    NewCall,
    /// A call that fails.
    Failure,
    /// A kill.
    Kill,
    /// A death of the signal that the old process sent.
    Death,
    /// A cancel.
    Cancel,
    /// An interrupt, with its write to memory.
    Interrupt,
    /// The guest's taking of it.
    Taking,
    /// The guest's work.
    Work,
    /// An interrupt that is armed while the guest runs.
    Arming,
}

impl Kind {
    /// In words.
    pub fn describe(self) -> &'static str {
        match self {
            Self::OldCall => "a call of the old process",
            Self::NewCall => "a call of the new process",
            Self::Failure => "a call that fails",
            Self::Kill => "a kill",
            Self::Death => "a death of the old process's signal",
            Self::Cancel => "a cancel",
            Self::Interrupt => "an interrupt",
            Self::Taking => "an interrupt taken by the guest",
            Self::Work => "work of the guest",
            Self::Arming => "an interrupt armed at the guest's word",
        }
    }
}

impl Kind {
    /// All of them.
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

    /// Whether the environment disturbs the handoff by it.
    pub fn is_fault(self) -> bool {
        matches!(self, Self::Failure | Self::Kill | Self::Cancel)
    }
}

impl Action {
    /// What sort of thing it is.
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

    /// Whether the environment disturbs the handoff by it.
    pub fn is_fault(&self) -> bool {
        self.kind().is_fault()
    }
}
