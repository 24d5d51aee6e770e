//! The abstract spec of a handoff: 52 states by transfer, 13 by exec, without calls, messages or
//! phases. Read this page first.
//!
//! A guest, the pages that its devices access, and the devices themselves move from one program to
//! another. Either may be killed at any time, and the old one may start a rollback at any time
//! before the commit. An [`AbstractState`] contains all that matters: which programs exist, where
//! the guest is and whether it runs, who owns the pages, whether the devices work, and the
//! decision. A [`SpecAction`] is a transition. The design follows from four rules:
//!
//! * **There is one decision.** In transfer mode it is the commit of the new VMM: before it the
//!   guest belongs to the old VMM, after it to the new one. The old VMM allows the commit once,
//!   with the guest stopped, and can revoke that only by rolling back: the new VMM does not commit
//!   while the old one lives and rolls back. In exec mode only one program exists at a time: taking
//!   the pages is the decision.
//! * **The guest runs where its pages are owned.** So the new VMM takes ownership before it
//!   commits, and the old VMM, after it has allowed the commit, reclaims the pages only when the
//!   new one has exited and cannot take them any more.
//! * **Devices work while a process holds them.** So the old VMM passes them on before it allows
//!   the commit, possibly while its guest still runs, and exits only after the commit.
//! * **No process is left over.** Without a commit the new VMM exits, and the old one runs the
//!   guest; after it the old one exits. If the old VMM dies during its rollback, a new VMM that is
//!   allowed to commit may do so, because no other process runs the guest.
//!
//! Two checkers verify this: the one here, and SPIN on `abstract.pml`, which has the same actions.
//! The property `REF-1` states that the protocol refines it: each transition of the protocol
//! stutters or is one action, possibly followed by the start of the old VMM's rollback
//! ([`crate::spec::refinement`]).

mod model;
pub mod refinement;

pub use model::AbstractSpec;

use crate::state::action::Side;
use handoff_model::protocol::Mode;
use std::fmt;

/// The status of a program.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Life {
    /// The program runs and takes part.
    Here,
    /// The program runs and is rolling back.
    GivesUp,
    /// The program does not run: not yet, or it has exited.
    Gone,
    /// The program was killed from outside.
    Killed,
}

/// A program's copy of the guest. An outdated copy, or one that the program may not run, is
/// [`Self::Absent`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Guest {
    /// No usable copy.
    Absent,
    /// An up-to-date copy, stopped.
    Stopped,
    /// The guest, running.
    Runs,
}

/// The decision where the guest belongs.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Decision {
    /// The guest belongs to the old VMM.
    Undecided,
    /// The guest belongs to the old VMM, which has allowed the new one to commit.
    CommitAllowed,
    /// The guest belongs to the new VMM.
    Committed,
}

impl fmt::Display for Decision {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Undecided => "undecided",
            Self::CommitAllowed => "commit allowed",
            Self::Committed => "committed",
        })
    }
}

/// One of the two programs.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Participant {
    /// The program's status.
    pub life: Life,
    /// The program's copy of the guest.
    pub guest: Guest,
    /// True if it keeps the devices open as long as it lives.
    pub holds: bool,
}

/// A state of the abstract spec.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct AbstractState {
    /// The program that owns the guest at the beginning.
    pub old: Participant,
    /// The program that receives it.
    pub new: Participant,
    /// The owner of all pages; `None` if the owner is dead, or each program owns some.
    pub owner: Option<Side>,
    /// True if the devices reach the guest's memory, and the guest receives their interrupts.
    pub works: bool,
    /// The decision.
    pub decision: Decision,
}

/// The agent of an action.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum By {
    /// One of the programs: an enabled action eventually happens.
    Program,
    /// The environment: an enabled action may never happen.
    Outside,
}

/// An action of the abstract spec.
#[derive(Clone, Copy, Debug)]
pub struct SpecAction {
    /// The action's name.
    pub name: &'static str,
    /// The action's agent.
    pub by: By,
    /// The precondition, in words.
    pub when: &'static str,
    /// The precondition.
    pub enabled: fn(&AbstractState) -> bool,
    /// The effect.
    pub effect: fn(&mut AbstractState),
}

use Decision::{CommitAllowed, Committed, Undecided};
use Guest::{Absent, Runs, Stopped};
use Life::{GivesUp, Gone, Here, Killed};
use Side::{New, Old};

impl Participant {
    const ABSENT: Self = Self { life: Gone, guest: Absent, holds: false };

    /// Returns true if it runs.
    pub fn is_here(self) -> bool {
        matches!(self.life, Here | GivesUp)
    }

    /// Returns true if it runs and is not rolling back.
    fn is_willing(self) -> bool {
        self.life == Here
    }
}

impl SpecAction {
    fn next(&self, mut it: AbstractState) -> AbstractState {
        (self.effect)(&mut it);
        it
    }
}

impl AbstractState {
    /// Returns the initial state. In exec mode the new program does not run yet.
    pub fn begin(mode: Mode) -> Self {
        let life = if mode == Mode::Exec { Gone } else { Here };
        Self {
            old: Participant { life: Here, guest: Runs, holds: true },
            new: Participant { life, ..Participant::ABSENT },
            owner: Some(Old),
            works: true,
            decision: Undecided,
        }
    }

    /// Ends a program, and everything that only it keeps alive.
    fn die(&mut self, side: Side, life: Life) {
        let ended = Participant { life, ..Participant::ABSENT };
        *(if side == Old { &mut self.old } else { &mut self.new }) = ended;
        self.owner = self.owner.filter(|owner| *owner != side);
        self.works &= self.old.holds || self.new.holds;
    }

    /// Returns the program that must have the guest.
    pub fn guest_owner(&self) -> Side {
        if self.decision == Committed || self.old.life == Gone { New } else { Old }
    }

    fn party(&self, side: Side) -> Participant {
        if side == Old { self.old } else { self.new }
    }
}

const fn action(
    name: &'static str,
    when: &'static str,
    enabled: fn(&AbstractState) -> bool,
    effect: fn(&mut AbstractState),
) -> SpecAction {
    SpecAction { name, by: By::Program, when, enabled, effect }
}

const fn outside(
    name: &'static str,
    enabled: fn(&AbstractState) -> bool,
    effect: fn(&mut AbstractState),
) -> SpecAction {
    SpecAction { name, by: By::Outside, when: "it is alive", enabled, effect }
}

const GIVE_UP: SpecAction = action(
    "the old VMM starts its rollback",
    "the new VMM has not committed",
    |it| it.old.is_willing() && it.decision != Committed,
    |it| it.old.life = GivesUp,
);
const STOP: SpecAction = action(
    "the old VMM stops the guest",
    "it is not rolling back",
    |it| it.old.is_willing() && it.old.guest == Runs,
    |it| it.old.guest = Stopped,
);
const RESUME: SpecAction = action(
    "the old VMM resumes the guest",
    "it is rolling back and owns the pages, and the new VMM has exited if the commit was allowed",
    |it| {
        let is_alone = it.decision == Undecided || !it.new.is_here();
        it.old.life == GivesUp && it.old.guest == Stopped && it.owner == Some(Old) && is_alone
    },
    |it| it.old.guest = Runs,
);
const TAKE_BACK: SpecAction = action(
    "the old VMM reclaims the pages",
    "it is rolling back and has the guest, and the new VMM has exited",
    |it| {
        let has_it = it.old.life == GivesUp && it.old.guest == Stopped;
        has_it && it.owner != Some(Old) && !it.new.is_here()
    },
    |it| it.owner = Some(Old),
);
const RUN: SpecAction = action(
    "the new VMM runs the guest",
    "it has committed",
    |it| it.new.is_here() && it.decision == Committed && it.new.guest == Stopped,
    |it| it.new.guest = Runs,
);
const KILL_OLD: SpecAction =
    outside("the old VMM is killed", |it| it.old.is_here(), |it| it.die(Old, Killed));
const KILL_NEW: SpecAction =
    outside("the new VMM is killed", |it| it.new.is_here(), |it| it.die(New, Killed));

/// The actions in transfer mode.
pub const TRANSFER: &[SpecAction] = &[
    GIVE_UP,
    STOP,
    action(
        "the old VMM passes the devices to the new VMM",
        "it has the guest",
        |it| it.old.is_willing() && it.old.guest != Absent && it.new.is_here() && !it.new.holds,
        |it| it.new.holds = true,
    ),
    action(
        "the old VMM allows the commit",
        "the guest is stopped, and the new VMM holds the devices and a copy of the guest",
        |it| {
            it.old.is_willing()
                && it.old.guest == Stopped
                && it.new.holds
                && it.decision == Undecided
        },
        |it| (it.decision, it.new.guest) = (CommitAllowed, Stopped),
    ),
    action(
        "the new VMM takes ownership of some pages",
        "the commit is allowed",
        |it| it.new.is_here() && it.decision == CommitAllowed && it.owner == Some(Old),
        |it| it.owner = None,
    ),
    action(
        "the new VMM takes ownership of the pages",
        "the commit is allowed",
        |it| it.new.is_here() && it.decision == CommitAllowed && it.owner != Some(New),
        |it| it.owner = Some(New),
    ),
    action(
        "the new VMM commits",
        "the commit is allowed, it owns the pages, and the old VMM is not rolling back",
        |it| {
            let may_commit =
                it.new.is_here() && it.decision == CommitAllowed && it.old.life != GivesUp;
            may_commit && it.owner == Some(New) && it.new.guest == Stopped
        },
        |it| {
            it.decision = Committed;
            if it.old.guest == Stopped {
                it.old.guest = Absent;
            }
        },
    ),
    RUN,
    action(
        "the new VMM exits",
        "it has not committed",
        |it| it.new.is_here() && it.decision != Committed,
        |it| it.die(New, Gone),
    ),
    TAKE_BACK,
    RESUME,
    action(
        "the old VMM closes the devices",
        "the new VMM has committed",
        |it| it.old.holds && it.decision == Committed,
        |it| (it.old.holds, it.works) = (false, it.works && it.new.holds),
    ),
    action(
        "the old VMM exits",
        "the new VMM has committed",
        |it| it.old.is_here() && it.decision == Committed,
        |it| it.die(Old, Gone),
    ),
    KILL_OLD,
    KILL_NEW,
];

/// The actions in exec mode. There is one process, which runs one program at a time.
pub const EXEC: &[SpecAction] = &[
    GIVE_UP,
    STOP,
    action(
        "the old program executes the new one",
        "the guest is stopped",
        |it| it.old.is_willing() && it.old.guest == Stopped,
        |it| {
            it.new = Participant { life: Here, holds: true, ..Participant::ABSENT };
            it.die(Old, Gone);
        },
    ),
    action(
        "the new program loads the guest",
        "it has started",
        |it| it.new.is_here() && it.decision == Undecided && it.new.guest == Absent,
        |it| it.new.guest = Stopped,
    ),
    action(
        "the new program takes ownership of the pages, which commits",
        "it has loaded the guest",
        |it| it.new.is_here() && it.decision == Undecided && it.new.guest == Stopped,
        |it| (it.owner, it.decision) = (Some(New), Committed),
    ),
    RUN,
    action(
        "the new program executes the old one again",
        "it has not committed",
        |it| it.new.is_here() && it.decision == Undecided,
        |it| {
            it.old = Participant { life: GivesUp, holds: true, ..Participant::ABSENT };
            it.die(New, Gone);
        },
    ),
    action(
        "the old program loads the guest",
        "it runs again",
        |it| it.old.life == GivesUp && it.old.guest == Absent,
        |it| it.old.guest = Stopped,
    ),
    TAKE_BACK,
    RESUME,
    KILL_OLD,
    KILL_NEW,
];

/// An invariant: a name, and a predicate of a state and of whether the spec has terminated there.
pub type Invariant = (&'static str, fn(&AbstractState, bool) -> bool);

/// All invariants: at most one program runs the guest; the one that runs it owns its pages; while
/// the program that must have it lives, its devices reach it; when the spec has terminated it runs,
/// unless that program was killed from outside; and then no other process is left.
pub const INVARIANTS: &[Invariant] = &[
    ("one_guest", |it, _| !(it.old.guest == Runs && it.new.guest == Runs)),
    ("owned", |it, _| {
        [Old, New].iter().all(|s| it.party(*s).guest != Runs || it.owner == Some(*s))
    }),
    ("dma", |it, _| it.works || !it.party(it.guest_owner()).is_here()),
    ("runs", |it, at_rest| {
        let owner = it.party(it.guest_owner());
        !at_rest || owner.guest == Runs || owner.life == Killed
    }),
    ("fenced", |it, at_rest| !(at_rest && it.old.is_here() && it.new.is_here())),
];
